"""The audit trail: who did what to whom, in a chain of digests, so that nobody changes, removes or swaps an entry unnoticed.

It proves that the entries are what was written as long as nobody rewrites all that follows, with the head. To notice that, too, compare
with an older head: the log of the hourly chores has them.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import JSON, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.platform.database.engine import Base
from tanuki.platform.database.upsert import insert_or_ignore

HEAD = 1  # there is one head
CHECKED_AT_ONCE = 1_000


class TrailEntry(Base):
    """Something that somebody did. `about` names what it was done to, such as post:12."""

    __tablename__ = "trail_entry"

    id: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False
    )  # 1, 2, 3 … without a gap
    at: Mapped[datetime]
    by: Mapped[str]
    what: Mapped[str]
    about: Mapped[str] = mapped_column(index=True)
    values: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous: Mapped[str]  # the digest of the entry before
    digest: Mapped[str]


class TrailHead(Base):
    """How long the chain is and its last digest, so that a missing end is noticed; locked while an entry is added."""

    __tablename__ = "trail_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entries: Mapped[int]
    digest: Mapped[str]


def add(
    db: Session, *, by: str, what: str, about: str, values: Mapping[str, Any], now: datetime
) -> TrailEntry:
    """Put something on record, in the transaction that does it. Others wait with theirs until it ends. `values` must be JSON."""
    insert_or_ignore(db, TrailHead, id=HEAD, entries=0, digest="")
    last = db.get_one(TrailHead, HEAD, with_for_update=True, populate_existing=True)
    plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    made = TrailEntry(
        id=last.entries + 1,
        at=now.astimezone(UTC),
        by=by,
        what=what,
        about=about,
        values=plain,
        previous=last.digest,
    )
    made.digest = digest(made)
    db.add(made)
    last.entries, last.digest = made.id, made.digest
    db.flush()
    return made


def entries(
    db: Session, about: str | None = None, before: int | None = None, limit: int = 50
) -> list[TrailEntry]:
    """Entries, newest first: all or those about one thing, from before an entry on."""
    wanted = select(TrailEntry).order_by(TrailEntry.id.desc()).limit(limit)
    if about is not None:
        wanted = wanted.where(TrailEntry.about == about)
    if before is not None:
        wanted = wanted.where(TrailEntry.id < before)
    return list(db.scalars(wanted))


def check(db: Session) -> int | None:
    """The first entry that is missing or not as it was written, or None when the whole chain holds."""
    previous, expected = "", 1
    in_order = (
        select(TrailEntry)
        .order_by(TrailEntry.id)
        .limit(CHECKED_AT_ONCE)
        .execution_options(populate_existing=True)
    )
    while some := db.scalars(in_order.where(TrailEntry.id >= expected)).all():
        for entry in some:
            if (entry.id, entry.previous, entry.digest) != (expected, previous, digest(entry)):
                return expected
            previous, expected = entry.digest, expected + 1
    return None if head(db) == (expected - 1, previous) else expected


def head(db: Session) -> tuple[int, str]:
    """How many entries there are, and the digest of the last."""
    found = db.get(TrailHead, HEAD, populate_existing=True)
    return (0, "") if found is None else (found.entries, found.digest)


def digest(entry: TrailEntry) -> str:
    """The digest of all that an entry says, and of the one before it."""
    said = [
        entry.id,
        entry.at.astimezone(UTC).isoformat(),
        entry.by,
        entry.what,
        entry.about,
        entry.values,
        entry.previous,
    ]
    return sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
