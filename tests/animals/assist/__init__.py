"""Tests: assist."""
