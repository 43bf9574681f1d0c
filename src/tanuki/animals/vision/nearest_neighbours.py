"""Exact nearest neighbours by cosine: every query is compared with every vector."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

MAX_PRODUCTS = 4_000_000
"""Cosines computed by one matrix product: bounds the memory of a search."""


def find_nearest(vectors: Vectors, queries: Vectors, k: int) -> tuple[NDArray[np.intp], Vectors]:
    """Positions in `vectors` and cosines of each query's k nearest, the nearest first.

    Both are arrays of queries × min(k, number of vectors). All vectors have length 1.
    """
    k = min(k, len(vectors))
    positions = np.empty((len(queries), k), dtype=np.intp)
    cosines = np.empty((len(queries), k), dtype=np.float32)
    rows_per_product = max(1, MAX_PRODUCTS // max(1, len(vectors)))
    for start in range(0, len(queries), rows_per_product):
        rows = slice(start, start + rows_per_product)
        scores = queries[rows] @ vectors.T
        nearest = (
            np.argpartition(scores, -k, axis=1)[:, -k:]
            if k < len(vectors)
            else np.tile(np.arange(k), (len(scores), 1))
        )
        order = np.argsort(-np.take_along_axis(scores, nearest, axis=1), axis=1, kind="stable")
        positions[rows] = np.take_along_axis(nearest, order, axis=1)
        cosines[rows] = np.take_along_axis(scores, positions[rows], axis=1)
    return positions, cosines


def find_other_nearest(vectors: Vectors, k: int) -> NDArray[np.intp]:
    """Positions of each vector's k nearest other vectors. There must be more than k vectors."""
    positions, _ = find_nearest(vectors, vectors, k + 1)
    own = positions == np.arange(len(vectors))[:, None]
    # Among more than k equal vectors a row may lack its own position: then its last one goes.
    own[~own.any(axis=1), -1] = True
    return np.asarray(positions[~own].reshape(len(vectors), k), np.intp)
