"""Composition: the only package that knows both systems. It chooses engines and starts processes."""
