"""Embeddings of imaginary pictures from a seed: categories, breeds within them, pictures around."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tanuki.animals.similarity import index
from tanuki.animals.similarity.dataset import ImageSet
from tanuki.animals.similarity.index import BuildOptions, SimilarityIndex
from tanuki.animals.similarity.recall_evaluation import Candidate
from tanuki.animals.vision.nearest_neighbours import Vectors

CATEGORY_SHARES = {"cat": 0.45, "dog": 0.35, "bird": 0.14, "sea": 0.05, "small": 0.01}
BREEDS_PER_CATEGORY = 40


def make_images(
    count: int, *, dimension: int = 48, seed: int = 1, encoder_version: str = "1"
) -> ImageSet:
    random = np.random.default_rng(seed)
    category = random.choice(len(CATEGORY_SHARES), count, p=list(CATEGORY_SHARES.values()))
    categories, breeds = (
        random.normal(size=(len(CATEGORY_SHARES), dimension)),
        random.normal(size=(len(CATEGORY_SHARES) * BREEDS_PER_CATEGORY, dimension)) * 0.8,
    )
    vectors = (
        categories[category]
        + breeds[category * BREEDS_PER_CATEGORY + random.integers(0, BREEDS_PER_CATEGORY, count)]
        + random.normal(size=(count, dimension)) * 0.4
    )
    return ImageSet(
        encoder_version,
        np.arange(1, count + 1, dtype=np.int64) * 3,
        normalise(vectors.astype(np.float16).astype(np.float32)),
        [f"digest-{n}" for n in range(count)],
        [list(CATEGORY_SHARES)[number] for number in category],
        random.random(count).astype(np.float32),
        random.integers(0, 2**63, count).astype(np.uint64),
    )


def normalise(vectors: Vectors) -> Vectors:
    """Vectors of length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slice_images(images: ImageSet, first: int, last: int) -> ImageSet:
    return take_images(images, np.arange(first, min(last, len(images))))


def shuffle_images(images: ImageSet, seed: int) -> ImageSet:
    """The same images in another order, from which ScaNN learns another tree."""
    return take_images(images, np.random.default_rng(seed).permutation(len(images)))


def take_images(images: ImageSet, positions: Any) -> ImageSet:
    return ImageSet(
        images.encoder_version,
        images.ids[positions],
        images.vectors[positions],
        [images.digests[position] for position in positions],
        [images.categories[position] for position in positions],
        images.lightness[positions],
        images.phash[positions],
    )


def build_candidate(images: ImageSet, folder: Path, **changes: Any) -> Candidate:
    """An index with its pictures; `changes` as for build_index."""
    build_index(images, folder, **changes)
    return Candidate(SimilarityIndex(folder), images)


def build_index(
    images: ImageSet,
    folder: Path,
    *,
    vectors: Any = None,
    ids: Any = None,
    max_features_id: int | None = None,
    exact_below: int = index.EXACT_BELOW,
) -> dict[str, Any]:
    """The files of an index of images; `vectors` and `ids` replace those of the images."""
    indexed = images
    if vectors is not None or ids is not None:
        indexed = replace(
            images,
            vectors=images.vectors if vectors is None else vectors,
            ids=images.ids if ids is None else ids,
            categories=images.categories if vectors is None else [],
        )
    newest_id = int(images.ids[-1]) if max_features_id is None else max_features_id
    return index.build_index(indexed, folder, newest_id, BuildOptions(exact_below=exact_below))
