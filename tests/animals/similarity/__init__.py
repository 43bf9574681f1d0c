"""Tests: similarity."""
