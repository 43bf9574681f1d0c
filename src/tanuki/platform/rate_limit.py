"""How often somebody may do something: so many times within a while, counted in the transaction of what they do."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from math import ceil

from sqlalchemy import case, delete
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import TooMany
from tanuki.platform.database.engine import Base
from tanuki.platform.database.upsert import insert_for

SPENT = "tanuki_limits"  # in a session's info: what this transaction has used


class RateLimit(Base):
    """How often somebody has done something in a while that ends at `until`. Who and what are a digest: nobody can be read from this."""

    __tablename__ = "rate_limit"

    key: Mapped[str] = mapped_column(primary_key=True)
    used: Mapped[int]
    until: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True)
class Left:
    """What is left: `left` of `most` times for the next `seconds`, of a while of `window` seconds."""

    what: str
    most: int
    window: int
    left: int
    seconds: int


def use(db: Session, who: str, what: str, *, now: datetime, most: int, seconds: int) -> Left:
    """Count one more time; the while begins with the first. Raises TooMany when there were `most` already.

    What is rolled back does not count. `who` is whatever is limited: a name, an address; only a digest of it is kept.
    """
    first = insert_for(db, RateLimit).values(
        key=key(who, what), used=1, until=now + timedelta(seconds=seconds)
    )
    over = RateLimit.until <= now
    again = first.on_conflict_do_update(
        index_elements=[RateLimit.key],
        set_={
            "used": case((over, 1), else_=RateLimit.used + 1),
            "until": case((over, first.excluded.until), else_=RateLimit.until),
        },
    )
    used, until = db.execute(again.returning(RateLimit.used, RateLimit.until)).one()
    spent = Left(
        what, most, seconds, max(0, most - used), max(1, ceil((until - now).total_seconds()))
    )
    if used > most:
        raise TooMany("That was too often; try again in %(seconds)s seconds.", **asdict(spent))
    db.info.setdefault(SPENT, []).append(spent)
    return spent


def spent(db: Session) -> list[Left]:
    """What this session has used: for saying so to whom it concerns."""
    return list(db.info.get(SPENT, ()))


def reached(refusal: TooMany) -> Left | None:
    """Which limit a refusal is about, if it is one of these."""
    if refusal.values.keys() != Left.__dataclass_fields__.keys():
        return None
    return Left(**refusal.values)  # type: ignore[arg-type]


def forget(db: Session, now: datetime) -> None:
    """Take away what no longer counts."""
    db.execute(delete(RateLimit).where(RateLimit.until <= now))


def key(who: str, what: str) -> str:
    """What is kept instead of a name."""
    return sha256(f"{what}\0{who}".encode()).hexdigest()
