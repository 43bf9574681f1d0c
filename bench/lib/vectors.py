"""Vectors of length 1 for benchmarks of nearest neighbours."""

from collections.abc import Callable

import numpy as np


def make_image_like(count: int, dimension: int = 128, seed: int = 1) -> np.ndarray:
    """Categories, breeds, pictures; with the uneven variance of directions of embeddings."""
    drawn = np.random.default_rng(seed)
    spread = (1 / np.sqrt(1 + np.arange(dimension))).astype(np.float32)
    kinds = drawn.normal(size=(40, dimension)).astype(np.float32) * spread
    races = (
        kinds[drawn.integers(0, 40, 1_000)]
        + 0.7 * drawn.normal(size=(1_000, dimension)).astype(np.float32) * spread
    )
    return in_parts(
        count,
        dimension,
        lambda n: (
            races[drawn.integers(0, 1_000, n)]
            + 0.6 * drawn.normal(size=(n, dimension)).astype(np.float32) * spread
        ),
    )


def clustered(count: int, dimension: int = 128, seed: int = 2) -> np.ndarray:
    """About a hundred vectors around each of many centres."""
    drawn = np.random.default_rng(seed)
    centres = drawn.normal(size=(max(1, count // 100), dimension)).astype(np.float32)
    return in_parts(
        count,
        dimension,
        lambda n: (
            centres[drawn.integers(0, len(centres), n)]
            + 0.7 * drawn.normal(size=(n, dimension)).astype(np.float32)
        ),
    )


def in_parts(count: int, dimension: int, some: Callable[[int], np.ndarray]) -> np.ndarray:
    """Vectors of length 1, made some at a time."""
    made = np.empty((count, dimension), np.float32)
    for first in range(0, count, 50_000):
        made[first : first + 50_000] = unit(some(min(50_000, count - first)))
    return made


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32
    )
