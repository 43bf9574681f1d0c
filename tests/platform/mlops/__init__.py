"""Tests: mlops."""
