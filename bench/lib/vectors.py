"""Vectors of length 1 for benchmarks of nearest neighbours."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

CATEGORIES, BREEDS = 40, 1_000
VECTORS_PER_CENTRE = 100
VECTORS_PER_BATCH = 50_000


def generate_image_like(count: int, dimension: int = 128, seed: int = 1) -> Vectors:
    """Vectors like embeddings of photos: of categories, and of breeds within these.

    They vary more along a few directions than along others.
    """
    chance = np.random.default_rng(seed)
    spread = (1 / np.sqrt(1 + np.arange(dimension))).astype(np.float32)

    def draw(rows: int) -> Vectors:
        return chance.normal(size=(rows, dimension)).astype(np.float32) * spread

    categories = draw(CATEGORIES)
    breeds = categories[chance.integers(0, CATEGORIES, BREEDS)] + 0.7 * draw(BREEDS)
    return generate_in_batches(
        count, dimension, lambda rows: breeds[chance.integers(0, BREEDS, rows)] + 0.6 * draw(rows)
    )


def generate_clustered(count: int, dimension: int = 128, seed: int = 2) -> Vectors:
    """About a hundred vectors around each of many centres."""
    chance = np.random.default_rng(seed)

    def draw(rows: int) -> Vectors:
        return chance.normal(size=(rows, dimension)).astype(np.float32)

    centres = draw(max(1, count // VECTORS_PER_CENTRE))
    return generate_in_batches(
        count,
        dimension,
        lambda rows: centres[chance.integers(0, len(centres), rows)] + 0.7 * draw(rows),
    )


def generate_in_batches(count: int, dimension: int, generate: Callable[[int], Vectors]) -> Vectors:
    """Normalised vectors of `generate(rows)`, in batches, which bounds the memory."""
    vectors = np.empty((count, dimension), np.float32)
    for first in range(0, count, VECTORS_PER_BATCH):
        rows = min(VECTORS_PER_BATCH, count - first)
        vectors[first : first + rows] = normalise_vectors(generate(rows))
    return vectors


def normalise_vectors(vectors: Vectors) -> Vectors:
    """The vectors, scaled to length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / lengths, dtype=np.float32)
