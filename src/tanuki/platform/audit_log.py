"""Audit log: who did what to whom, as a hash chain that shows changed, missing or swapped entries.

The chain proves that the entries are as they were written, as long as nobody rewrites all later
entries and the head as well. To notice that too, compare with an older head: the hourly
maintenance writes each hour's head into the log file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import JSON, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.platform.database.engine import Base
from tanuki.platform.database.upsert import insert_or_ignore

HEAD_ID = 1  # the table of heads has one row
ENTRIES_PER_QUERY = 1_000


class AuditLogEntry(Base):
    """One action. `target` names what it was done to, such as post:12."""

    __tablename__ = "audit_log_entry"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1, 2, 3 …, no gaps
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    target: Mapped[str] = mapped_column(index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous_digest: Mapped[str]
    digest: Mapped[str]


class AuditLogHead(Base):
    """The number of entries and the last digest: they show a missing end. Locked by each append."""

    __tablename__ = "audit_log_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entries: Mapped[int]
    digest: Mapped[str]


@dataclass(frozen=True)
class AuditedAction:
    """Something that an actor did to a target. `details` must be JSON."""

    actor: str
    action: str
    target: str
    details: Mapping[str, object]


def append_entry(db: Session, action: AuditedAction, now: datetime) -> AuditLogEntry:
    """Record an action in the transaction that does it. Other appends wait until that ends."""
    insert_or_ignore(db, AuditLogHead, id=HEAD_ID, entries=0, digest="")
    head = db.get_one(AuditLogHead, HEAD_ID, with_for_update=True, populate_existing=True)
    details: dict[str, Any] = json.loads(json.dumps(dict(action.details)))
    entry = AuditLogEntry(
        id=head.entries + 1,
        at=now.astimezone(UTC),
        actor=action.actor,
        action=action.action,
        target=action.target,
        details=details,
        previous_digest=head.digest,
    )
    entry.digest = compute_digest(entry)
    db.add(entry)
    head.entries, head.digest = entry.id, entry.digest
    db.flush()
    return entry


def load_entries(
    db: Session, target: str | None = None, before: int | None = None, limit: int = 50
) -> list[AuditLogEntry]:
    """Entries, newest first: all or those about a target, with ids below `before`."""
    statement = select(AuditLogEntry).order_by(AuditLogEntry.id.desc()).limit(limit)
    if target is not None:
        statement = statement.where(AuditLogEntry.target == target)
    if before is not None:
        statement = statement.where(AuditLogEntry.id < before)
    return list(db.scalars(statement))


def find_broken_entry(db: Session) -> int | None:
    """The first id that is missing or not as it was written; None when the chain is whole."""
    previous, expected = "", 1
    statement = (
        select(AuditLogEntry)
        .order_by(AuditLogEntry.id)
        .limit(ENTRIES_PER_QUERY)
        .execution_options(populate_existing=True)
    )
    while entries := db.scalars(statement.where(AuditLogEntry.id >= expected)).all():
        for entry in entries:
            if (entry.id, entry.previous_digest, entry.digest) != (
                expected,
                previous,
                compute_digest(entry),
            ):
                return expected
            previous, expected = entry.digest, expected + 1
    return None if load_head(db) == (expected - 1, previous) else expected


def load_head(db: Session) -> tuple[int, str]:
    """The number of entries and the digest of the last one."""
    head = db.get(AuditLogHead, HEAD_ID, populate_existing=True)
    return (0, "") if head is None else (head.entries, head.digest)


def compute_digest(entry: AuditLogEntry) -> str:
    """SHA-256 of all columns of an entry, including the digest of the entry before it."""
    columns = [
        entry.id,
        entry.at.astimezone(UTC).isoformat(),
        entry.actor,
        entry.action,
        entry.target,
        entry.details,
        entry.previous_digest,
    ]
    return sha256(json.dumps(columns, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
