"""Tests: animals."""
