"""Tanuki: two complete machine-learning systems, shop and animals, on one small platform."""

from importlib.metadata import version

__version__ = version("tanuki")
