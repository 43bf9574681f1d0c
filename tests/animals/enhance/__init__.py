"""Tests: enhance."""
