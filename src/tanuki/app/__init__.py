"""Composition: the only package that knows both systems; chooses engines, starts processes."""
