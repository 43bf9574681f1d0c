"""Values that are remembered for one database session, because every part of a page asks for them.

They live in `Session.info` and end with the session, so nothing has to be reset.
"""

from typing import Generic, TypeVar

from sqlalchemy.orm import Session

K = TypeVar("K")
V = TypeVar("V")


class SessionCache(Generic[K, V]):
    """A dictionary per session, under a name of its own in the session's info."""

    def __init__(self, name: str) -> None:
        self.name = f"tanuki_{name}"

    def entries(self, db: Session) -> dict[K, V]:
        """The dictionary of this session, empty at first."""
        entries: dict[K, V] = db.info.setdefault(self.name, {})
        return entries

    def clear(self, db: Session) -> None:
        db.info.pop(self.name, None)
