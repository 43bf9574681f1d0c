"""Closed-loop simulation: a simulated chain in which ordering policies are compared."""
