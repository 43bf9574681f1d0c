"""The rate limit of searches by photo, which pages and API count together."""

from datetime import datetime

from sqlalchemy.orm import Session

from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person

SEARCHES_PER_HOUR = 300
"""Searches by photo of one person: each costs as much as computing a post's embedding."""


def count_search(db: Session, person: Person, *, now: datetime) -> None:
    """Count one more search by photo. Raises TooMany after SEARCHES_PER_HOUR."""
    rate_limit.count_use(
        db, person.name, rate_limit.RateLimit("picture searches", SEARCHES_PER_HOUR, 3600), now
    )
