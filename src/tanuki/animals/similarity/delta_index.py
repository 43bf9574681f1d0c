"""Features that are newer than the index: kept in memory and searched exactly.

With them a new post is among the results a moment after it was published.
"""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals.similarity.dataset import FEATURES_PER_FETCH, Ids
from tanuki.animals.tables import ImageFeatures
from tanuki.animals.vision.embeddings import decode_embeddings
from tanuki.animals.vision.nearest_neighbours import Vectors, find_nearest
from tanuki.platform.resources import Resources

COMMIT_DELAY = timedelta(minutes=1)
"""On PostgreSQL a smaller id may become visible after a larger one, at most by this much."""
MAX_DELTA_INDEXES = 3
"""Of the live index, its challenger, and the one before."""
INITIAL_ROWS, GROWTH_FACTOR = 256, 2


class DeltaIndex:
    """The features of one encoder version with an id above `after`. Threads may share it."""

    def __init__(self, encoder_version: str, after: int) -> None:
        self.encoder_version = encoder_version
        self.count = 0
        self._settled_id = after  # no id up to this one can appear any more
        self._unsettled_ids: set[int] = set()  # above it, and read already
        self._ids: Ids = np.empty(0, dtype=np.int64)
        self._vectors: Vectors = np.empty((0, 0), dtype=np.float32)
        self._lock = threading.Lock()

    def refresh(self, db: Session, now: datetime) -> None:
        """Read the features that were added since the last time: one small query if none were."""
        with self._lock:
            rows = db.execute(
                select(ImageFeatures.id, ImageFeatures.at).where(
                    ImageFeatures.encoder_version == self.encoder_version,
                    ImageFeatures.id > self._settled_id,
                )
            ).all()
            new = sorted(row.id for row in rows if row.id not in self._unsettled_ids)
            for start in range(0, len(new), FEATURES_PER_FETCH):
                stored = db.execute(
                    select(ImageFeatures.id, ImageFeatures.embedding)
                    .where(ImageFeatures.id.in_(new[start : start + FEATURES_PER_FETCH]))
                    .order_by(ImageFeatures.id)
                )
                for features_id, embedding in stored:
                    self._add(features_id, decode_embeddings([embedding])[0])
            delay = timedelta(0) if ids_appear_in_order(db) else COMMIT_DELAY
            self._settled_id = max(
                (row.id for row in rows if row.at < now - delay), default=self._settled_id
            )
            self._unsettled_ids = {
                features_id for features_id in self._unsettled_ids if features_id > self._settled_id
            }

    def _add(self, features_id: int, vector: Vectors) -> None:
        if self.count == len(self._ids):
            rows = max(INITIAL_ROWS, GROWTH_FACTOR * self.count)
            ids = np.empty(rows, dtype=np.int64)
            vectors = np.empty((rows, len(vector)), dtype=np.float32)
            if self.count:
                ids[: self.count], vectors[: self.count] = self._ids, self._vectors
            self._ids, self._vectors = ids, vectors
        self._ids[self.count], self._vectors[self.count] = features_id, vector
        self._unsettled_ids.add(features_id)
        self.count += 1

    def search(self, query: Vectors, k: int) -> list[tuple[int, float]]:
        """Ids and cosines of the k nearest, the nearest first."""
        with self._lock:
            ids, vectors = self._ids[: self.count], self._vectors[: self.count]
        if not len(ids):
            return []
        [positions], [cosines] = find_nearest(vectors, query[None, :], k)
        return list(zip(ids[positions].tolist(), cosines.tolist(), strict=True))


class DeltaIndexes:
    """The delta indexes of this process, the last used ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: OrderedDict[tuple[str, int], DeltaIndex] = OrderedDict()

    def get(self, encoder_version: str, after: int) -> DeltaIndex:
        key = (encoder_version, after)
        with self._lock:
            delta = self._indexes.setdefault(key, DeltaIndex(encoder_version, after))
            self._indexes.move_to_end(key)
            while len(self._indexes) > MAX_DELTA_INDEXES:
                self._indexes.popitem(last=False)
        return delta


def get_delta_index(res: Resources, encoder_version: str, after: int) -> DeltaIndex:
    """What this process holds of the features that are newer than `after`."""
    return res.process_cache.get(DeltaIndexes, DeltaIndexes).get(encoder_version, after)


def find_settled_id(db: Session, encoder_version: str, now: datetime) -> int:
    """The largest id of features below which no other can appear any more.

    An index that has all features up to this id needs a delta index only for those above it.
    """
    newest = (
        select(ImageFeatures.id)
        .where(ImageFeatures.encoder_version == encoder_version)
        .order_by(ImageFeatures.id.desc())
        .limit(1)
    )
    if not ids_appear_in_order(db):
        newest = newest.where(ImageFeatures.at < now - COMMIT_DELAY)
    return db.scalar(newest) or 0


def ids_appear_in_order(db: Session) -> bool:
    """SQLite has one writer at a time, so a smaller id never becomes visible later."""
    return db.get_bind().dialect.name == "sqlite"
