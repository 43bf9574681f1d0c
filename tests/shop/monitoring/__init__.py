"""Tests: monitoring."""
