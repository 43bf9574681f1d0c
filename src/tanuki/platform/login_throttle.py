"""How guessing passwords is slowed: after a few failed tries a name and an address have to wait, longer and longer."""

from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import TooMany
from tanuki.platform.database.engine import Base

FREE_ATTEMPTS = {
    "name": 5,
    "address": 20,
}  # failed tries before the waiting begins; an office shares one address
FIRST_WAIT = timedelta(seconds=15)  # doubles with each further failure
MAX_WAIT = timedelta(minutes=15)
ATTEMPTS_EXPIRE_AFTER = timedelta(hours=2)


class LoginAttempts(Base):
    """How often signing in failed lately, for a name and for an address; both only as digests."""

    __tablename__ = "account_try"

    key: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_failed_at: Mapped[datetime]


def require_login_allowed(db: Session, name: str, address: str, now: datetime) -> None:
    """Raises TooMany while the name or the address has to wait."""
    kinds = {attempt_key(kind, value): kind for kind, value in (("name", name), ("address", address))}
    tries = db.scalars(select(LoginAttempts).where(LoginAttempts.key.in_(kinds)).with_for_update())
    wait = max((remaining_wait(each, FREE_ATTEMPTS[kinds[each.key]], now) for each in tries), default=timedelta())
    if wait > timedelta():
        raise TooMany(
            "Too many tries to sign in; try again in %(seconds)s seconds.",
            seconds=int(wait.total_seconds()) + 1,
        )


def remaining_wait(tries: LoginAttempts, grace: int, now: datetime) -> timedelta:
    """How long to wait still: nothing within the grace, then twice as long after each failure."""
    if tries.failures < grace or now - tries.last_failed_at > ATTEMPTS_EXPIRE_AFTER:
        return timedelta()
    wait = min(FIRST_WAIT * (1 << min(tries.failures - grace, 10)), MAX_WAIT)
    return tries.last_failed_at + wait - now


def record_failed_login(db: Session, name: str, address: str, now: datetime) -> None:
    """Count a failed try of the name and of the address; what is long past is forgotten."""
    for each in (attempt_key("name", name), attempt_key("address", address)):
        tries = db.get(LoginAttempts, each)
        if tries is None:
            db.merge(LoginAttempts(key=each, failures=1, last_at=now))
            continue
        tries.failures = 1 if now - tries.last_failed_at > ATTEMPTS_EXPIRE_AFTER else tries.failures + 1
        tries.last_failed_at = now


def reset_login_attempts(db: Session, name: str) -> None:
    """Let a name begin anew; the address stays counted."""
    db.execute(delete(LoginAttempts).where(LoginAttempts.key == attempt_key("name", name)))


def delete_old_login_attempts(db: Session, now: datetime) -> None:
    """Take away what is long past."""
    db.execute(delete(LoginAttempts).where(LoginAttempts.last_failed_at < now - ATTEMPTS_EXPIRE_AFTER))


def attempt_key(kind: str, value: str) -> str:
    """What tries are counted under: no name and no address is kept."""
    return f"{kind}:{sha256((network_of(value) if kind == 'address' else value).encode()).hexdigest()}"


def network_of(address: str) -> str:
    """Where somebody comes from, as far as it is not their own choice: a home has one IPv4 address, but a whole IPv6 network of them."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
