"""What the benchmarks share: reporting, timing, sample data."""
