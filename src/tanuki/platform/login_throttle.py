"""Login throttle: after some failed attempts a name and an address must wait, longer and longer."""

from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import TooMany
from tanuki.platform.database.engine import Base

FREE_ATTEMPTS = {"name": 5, "address": 20}  # before the first wait; an office shares one address
FIRST_WAIT = timedelta(seconds=15)  # doubles with each further failure
MAX_WAIT = timedelta(minutes=15)
MAX_DOUBLINGS = 10  # beyond it the wait is the longest in any case
ATTEMPTS_EXPIRE_AFTER = timedelta(hours=2)


class LoginAttempts(Base):
    """Recent failed attempts of a name or of an address. The key is a digest."""

    __tablename__ = "login_attempts"

    key: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_failed_at: Mapped[datetime]


def require_login_allowed(db: Session, name: str, address: str, now: datetime) -> None:
    """Raises TooMany while the name or the address has to wait. Locks both counters."""
    keys = {attempt_key("name", name): "name", attempt_key("address", address): "address"}
    statement = select(LoginAttempts).where(LoginAttempts.key.in_(keys)).with_for_update()
    wait = max(
        (
            remaining_wait(attempts, FREE_ATTEMPTS[keys[attempts.key]], now)
            for attempts in db.scalars(statement)
        ),
        default=timedelta(),
    )
    if wait > timedelta():
        raise TooMany(
            "There were too many attempts to sign in. Please try again in %(seconds)s seconds.",
            seconds=int(wait.total_seconds()) + 1,
        )


def remaining_wait(attempts: LoginAttempts, free: int, now: datetime) -> timedelta:
    """The wait that is left; it doubles with each failure after the free ones."""
    if attempts.failures < free or now - attempts.last_failed_at > ATTEMPTS_EXPIRE_AFTER:
        return timedelta()
    doublings = min(attempts.failures - free, MAX_DOUBLINGS)
    return attempts.last_failed_at + min(FIRST_WAIT * (1 << doublings), MAX_WAIT) - now


def record_failed_login(db: Session, name: str, address: str, now: datetime) -> None:
    """Count a failed attempt for the name and for the address."""
    for key in (attempt_key("name", name), attempt_key("address", address)):
        attempts = db.get(LoginAttempts, key)
        if attempts is None:
            db.merge(LoginAttempts(key=key, failures=1, last_failed_at=now))
            continue
        expired = now - attempts.last_failed_at > ATTEMPTS_EXPIRE_AFTER
        attempts.failures = 1 if expired else attempts.failures + 1
        attempts.last_failed_at = now


def reset_login_attempts(db: Session, name: str) -> None:
    """Forget the failures of a name. Those of the address stay counted."""
    db.execute(delete(LoginAttempts).where(LoginAttempts.key == attempt_key("name", name)))


def delete_old_login_attempts(db: Session, now: datetime) -> None:
    db.execute(
        delete(LoginAttempts).where(LoginAttempts.last_failed_at < now - ATTEMPTS_EXPIRE_AFTER)
    )


def attempt_key(kind: str, value: str) -> str:
    """What attempts are counted under; neither names nor addresses are stored."""
    counted = network_of(value) if kind == "address" else value
    return f"{kind}:{sha256(counted.encode()).hexdigest()}"


def network_of(address: str) -> str:
    """The part of an address that its user cannot choose freely.

    A home has one IPv4 address, but a whole IPv6 network of 64 bits.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
