"""Looks that are newer than an index, kept in memory and compared one by one: what was posted a moment ago is found as well as what was there before."""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals.similarity.dataset import unit_rows
from tanuki.animals.similarity.index import Ids, Vectors
from tanuki.animals.tables import ImageFeatures

LATE = timedelta(
    minutes=1
)  # PostgreSQL may show a look after one that has a larger id; by then it has shown all that are older
AT_ONCE = 5_000  # looks read at once
KEPT = 3  # indexes whose newer looks are kept: the live one, its challenger, and the one before
BOTH = 2  # a store that is full becomes so many times as large


class Fresh:
    """The looks of one version of the eyes with an id above `after`. Threads may share it."""

    def __init__(self, eyes: str, after: int) -> None:
        self.eyes, self.certain = eyes, after
        self.turn = threading.Lock()
        self.known: set[int] = set()
        self.ids: Ids = np.empty(0, dtype=np.int64)
        self.matrix: Vectors = np.empty((0, 0), dtype=np.float32)
        self.count = 0

    def top_up(self, db: Session, now: datetime) -> None:
        """Read the looks that came since it was asked for the last time; one small query when there are none."""
        with self.turn:
            listed = db.execute(
                select(ImageFeatures.id, ImageFeatures.at).where(ImageFeatures.encoder_version == self.eyes, ImageFeatures.id > self.certain)
            ).all()
            new = sorted(look_id for look_id, _ in listed if look_id not in self.known)
            for first in range(0, len(new), AT_ONCE):
                part = select(ImageFeatures.id, ImageFeatures.embedding).where(
                    ImageFeatures.id.in_(new[first : first + AT_ONCE])
                )
                for look_id, kept in db.execute(part.order_by(ImageFeatures.id)):
                    self.put(look_id, unit_rows([kept])[0])
            late = (
                timedelta(0) if db.get_bind().dialect.name == "sqlite" else LATE
            )  # SQLite has one writer: a smaller id never comes later
            self.certain = max(
                (look_id for look_id, at in listed if at < now - late), default=self.certain
            )
            self.known = {look_id for look_id in self.known if look_id > self.certain}

    def put(self, look_id: int, vector: Vectors) -> None:
        """One more row."""
        if self.count == len(self.ids):
            room = max(256, BOTH * self.count)
            ids, matrix = (
                np.empty(room, dtype=np.int64),
                np.empty((room, len(vector)), dtype=np.float32),
            )
            ids[: self.count], matrix[: self.count] = (
                self.ids[: self.count],
                self.matrix[: self.count] if self.count else 0,
            )
            self.ids, self.matrix = ids, matrix
        self.ids[self.count], self.matrix[self.count] = look_id, vector
        self.known.add(look_id)
        self.count += 1

    def find(self, query: Vectors, k: int) -> list[tuple[int, float]]:
        """Ids and likenesses of the k nearest, the nearest first."""
        with self.turn:
            ids, matrix = self.ids[: self.count], self.matrix[: self.count]
        if not len(ids):
            return []
        scores = matrix @ query
        some: NDArray[np.intp] = (
            np.argpartition(scores, -k)[-k:] if k < len(ids) else np.arange(len(ids))
        )
        some = some[np.argsort(-scores[some], kind="stable")]
        return list(zip(ids[some].tolist(), scores[some].tolist(), strict=True))


_kept: OrderedDict[tuple[str, str, int], Fresh] = OrderedDict()
_turn = threading.Lock()


def newer(database: str, eyes: str, after: int) -> Fresh:
    """The store of this process for the looks of a database that are newer than an index."""
    with _turn:
        found = _kept.setdefault((database, eyes, after), Fresh(eyes, after))
        _kept.move_to_end((database, eyes, after))
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found


def as_of(db: Session, eyes: str, now: datetime) -> int:
    """The largest id of a look below which no other can appear any more: an index that has all of those need not be asked about them again."""
    wanted = select(ImageFeatures.id).where(ImageFeatures.encoder_version == eyes).order_by(ImageFeatures.id.desc()).limit(1)
    if (
        db.get_bind().dialect.name != "sqlite"
    ):  # SQLite has one writer: a smaller id never comes later
        wanted = wanted.where(ImageFeatures.at < now - LATE)
    return db.scalar(wanted) or 0
