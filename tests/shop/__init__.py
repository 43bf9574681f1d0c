"""Tests: shop."""
