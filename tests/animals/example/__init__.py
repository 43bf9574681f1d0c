"""Tests: example."""
