"""The published pictures as an index is made from them, tried and judged: their looks in one version of the eyes, at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tanuki.animals.similarity.index import Ids, Vectors
from tanuki.animals.tables import ImageFeatures, Post

AT_ONCE = 5_000  # looks read at once


@dataclass(frozen=True)
class Pictures:
    """One line a picture, in the order of the looks' ids."""

    eyes: str
    ids: Ids  # of the looks
    vectors: Vectors
    digests: list[str]
    category: list[str]  # of a post that has it
    light: NDArray[np.float32]
    phash: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each picture stands."""
        return {digest: place for place, digest in enumerate(self.digests)}


def published(db: Session, eyes: str) -> Pictures:
    """Every picture that a published post has and the eyes have looked at: what the gate asks for."""
    kinds = (
        select(Post.photo, func.min(Post.category))
        .where(Post.state == "published")
        .group_by(Post.photo)
    )
    return read(db, eyes, {row[0]: row[1] for row in db.execute(kinds)}, others=False)


def every(db: Session, eyes: str) -> Pictures:
    """Every picture that the eyes have looked at: what an index is made from. A post that is held or hidden now may be shown tomorrow, and is then found at once."""
    kinds = select(Post.photo, func.min(Post.category)).group_by(Post.photo)
    return read(db, eyes, {row[0]: row[1] for row in db.execute(kinds)}, others=True)


def read(db: Session, eyes: str, kinds: dict[str, str], *, others: bool) -> Pictures:
    """The looks of these pictures, and of all others, if they are wanted, too."""
    wanted = (
        select(ImageFeatures.id, ImageFeatures.digest, ImageFeatures.embedding, ImageFeatures.lightness, ImageFeatures.phash)
        .where(ImageFeatures.encoder_version == eyes)
        .order_by(ImageFeatures.id)
    )
    ids, digests, parts, light, phash = [], [], [], [], []
    for look_id, digest, embedding, brightness, hashed in db.execute(
        wanted, execution_options={"yield_per": AT_ONCE}
    ):
        if others or digest in kinds:
            ids.append(look_id)
            digests.append(digest)
            parts.append(embedding)
            light.append(brightness)
            phash.append(int(hashed, 16))
    return Pictures(
        eyes,
        np.array(ids, dtype=np.int64),
        unit_rows(parts),
        digests,
        [kinds.get(digest, "") for digest in digests],
        np.array(light, dtype=np.float32),
        np.array(phash, dtype=np.uint64),
    )


def unit_rows(kept: Sequence[bytes]) -> Vectors:
    """Embeddings as looks keep them, one a row."""
    if not kept:
        return np.empty((0, 0), dtype=np.float32)
    return unit(
        np.frombuffer(b"".join(kept), dtype="<f2").astype(np.float32).reshape(len(kept), -1)
    )


def unit(vectors: Vectors) -> Vectors:
    """Vectors of length 1: as they are kept they are so but for the rounding."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True) if len(vectors) else vectors
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)
