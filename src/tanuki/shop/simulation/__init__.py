"""Closed-loop simulation of ordering policies; README.md lists the files in order."""
