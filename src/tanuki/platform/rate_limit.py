"""Rate limits: so many uses in a time window, counted in the transaction of the use itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from math import ceil

from sqlalchemy import case, delete
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import TooMany
from tanuki.i18n import msgid
from tanuki.platform.database.engine import Base
from tanuki.platform.database.upsert import insert_for

COUNTED_USES = "tanuki_counted_uses"  # key of a session's info: the uses of its transaction
EXCEEDED = msgid("That was too often. Please try again in %(seconds)s seconds.")


class RateLimitCounter(Base):
    """The uses in a window that ends at `expires_at`. The key is a digest of who and what."""

    __tablename__ = "rate_limit_counter"

    key: Mapped[str] = mapped_column(primary_key=True)
    uses: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True)
class RateLimit:
    """At most `max_uses` in `window_seconds`; the window begins with the first use."""

    name: str
    max_uses: int
    window_seconds: int


@dataclass(frozen=True)
class RateLimitState:
    """A limit after a use: what remains until the window ends."""

    limit: RateLimit
    remaining: int
    reset_seconds: int


class RateLimitExceeded(TooMany):
    """More uses than the limit allows. Page 429."""

    def __init__(self, state: RateLimitState) -> None:
        super().__init__(EXCEEDED, seconds=state.reset_seconds)
        self.state = state


def count_use(db: Session, subject: str, limit: RateLimit, now: datetime) -> RateLimitState:
    """Count one more use by `subject`: a name or an address, of which only a digest is stored.

    Raises RateLimitExceeded when the limit was reached already. The caller's rollback, which that
    causes, also takes the refused use back.
    """
    window = timedelta(seconds=limit.window_seconds)
    first = insert_for(db, RateLimitCounter).values(
        key=counter_key(subject, limit.name), uses=1, expires_at=now + window
    )
    expired = RateLimitCounter.expires_at <= now
    statement = first.on_conflict_do_update(
        index_elements=[RateLimitCounter.key],
        set_={
            "uses": case((expired, 1), else_=RateLimitCounter.uses + 1),
            "expires_at": case(
                (expired, first.excluded.expires_at), else_=RateLimitCounter.expires_at
            ),
        },
    ).returning(RateLimitCounter.uses, RateLimitCounter.expires_at)
    uses, expires_at = db.execute(statement).one()
    state = RateLimitState(
        limit,
        remaining=max(0, limit.max_uses - uses),
        reset_seconds=max(1, ceil((expires_at - now).total_seconds())),
    )
    if uses > limit.max_uses:
        raise RateLimitExceeded(state)
    db.info.setdefault(COUNTED_USES, []).append(state)
    return state


def counted_limits(db: Session) -> list[RateLimitState]:
    """The limits that this session has counted against, for the response's headers."""
    return list(db.info.get(COUNTED_USES, ()))


def delete_expired_counters(db: Session, now: datetime) -> None:
    db.execute(delete(RateLimitCounter).where(RateLimitCounter.expires_at <= now))


def counter_key(subject: str, limit_name: str) -> str:
    """The digest that stands for somebody and a limit."""
    return sha256(f"{limit_name}\0{subject}".encode()).hexdigest()
