"""Benchmarks: each file measures one claim beside a named peer."""
