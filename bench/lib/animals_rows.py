"""Rows of many members and photos, written directly: without passwords and without image files."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.orm import Session

from tanuki.animals.tables import Member, Photo
from tanuki.platform.accounts import Account


def insert_members(db: Session, names: Mapping[int, str], now: datetime) -> None:
    """Members by id, with accounts that nobody can sign in to."""
    account = {
        "password_hash": "-",
        "password_changed_at": now,
        "created_at": now,
        "created_by": "bench",
    }
    db.execute(
        insert(Account),
        [{"name": name, "display_name": name, **account} for name in names.values()],
    )
    db.execute(
        insert(Member),
        [
            {"id": id_, "name": name, "display": name, "pseudonym": name, "joined_at": now}
            for id_, name in names.items()
        ],
    )


def insert_photos(db: Session, digests: Iterable[str], now: datetime) -> None:
    """Photos of one pixel."""
    photo = {
        "width": 1,
        "height": 1,
        "bytes": 1,
        "colour": "#000000",
        "source": "jpeg",
        "added_at": now,
    }
    db.execute(insert(Photo), [{"digest": digest, **photo} for digest in digests])
