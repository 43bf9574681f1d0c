"""Tests: forecasting."""
