"""The pictures that an index is built from and evaluated on: features of one encoder version."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tanuki.animals.tables import ImageFeatures, Post, PostState
from tanuki.animals.vision.embeddings import decode_embeddings
from tanuki.animals.vision.nearest_neighbours import Vectors

Ids = NDArray[np.int64]

FEATURES_PER_FETCH = 5_000


@dataclass(frozen=True)
class ImageSet:
    """A row for each picture, in the order of the ids of its features.

    ids: of ImageFeatures. vectors: embeddings of length 1. categories: of a post with this picture;
    "" if there is none.
    """

    encoder_version: str
    ids: Ids
    vectors: Vectors
    digests: list[str]
    categories: list[str]
    lightness: NDArray[np.float32]
    phash: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def positions(self) -> dict[str, int]:
        """The row of each digest."""
        return {digest: position for position, digest in enumerate(self.digests)}


def load_published_images(db: Session, encoder_version: str) -> ImageSet:
    """The pictures of published posts that have features: what the gate evaluates on."""
    categories = (
        select(Post.photo, func.min(Post.category))
        .where(Post.state == PostState.PUBLISHED)
        .group_by(Post.photo)
    )
    rows = db.execute(categories).all()
    return load_images(db, encoder_version, {row[0]: row[1] for row in rows}, others=False)


def load_all_images(db: Session, encoder_version: str) -> ImageSet:
    """All pictures that have features: what an index is built from.

    A post that is held or hidden now may be visible tomorrow, and is then in the results at once.
    """
    rows = db.execute(select(Post.photo, func.min(Post.category)).group_by(Post.photo)).all()
    return load_images(db, encoder_version, {row[0]: row[1] for row in rows}, others=True)


def load_images(
    db: Session, encoder_version: str, categories: dict[str, str], *, others: bool
) -> ImageSet:
    """The pictures with a category, by digest; all others, too, if `others`."""
    rows = db.execute(
        select(
            ImageFeatures.id,
            ImageFeatures.digest,
            ImageFeatures.embedding,
            ImageFeatures.lightness,
            ImageFeatures.phash,
        )
        .where(ImageFeatures.encoder_version == encoder_version)
        .order_by(ImageFeatures.id),
        execution_options={"yield_per": FEATURES_PER_FETCH},
    )
    ids, digests, embeddings, lightness, phash = [], [], [], [], []
    for features_id, digest, embedding, mean, picture_hash in rows:
        if others or digest in categories:
            ids.append(features_id)
            digests.append(digest)
            embeddings.append(embedding)
            lightness.append(mean)
            phash.append(int(picture_hash, 16))
    return ImageSet(
        encoder_version,
        np.array(ids, dtype=np.int64),
        decode_embeddings(embeddings),
        digests,
        [categories.get(digest, "") for digest in digests],
        np.array(lightness, dtype=np.float32),
        np.array(phash, dtype=np.uint64),
    )
