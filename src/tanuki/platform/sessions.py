"""Sessions: signing up, signing in and out, and who a session's token belongs to."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, delete, select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform import login_throttle, passwords, rate_limit
from tanuki.platform.accounts import (
    OFFICIAL_NAMES,
    Account,
    AccountGrant,
    AccountSession,
    NewUser,
    Person,
    add_user,
    digest_token,
    grants_from_rows,
    normalize_display_name,
    normalize_name,
    validate_name,
)
from tanuki.platform.database.types import Utc
from tanuki.platform.rate_limit import RateLimit

SIGN_UPS_PER_ADDRESS = RateLimit("sign-up", max_uses=10, window_seconds=3600)
DEFAULT_SESSION_DAYS = 14
MAX_SESSIONS_LISTED = 100


@dataclass(frozen=True)
class Credentials:
    """What somebody signs in with, and the address that they come from."""

    name: str
    password: str
    address: str


def sign_up(
    db: Session,
    credentials: Credentials,
    now: datetime,
    *,
    display_name: str = "",
    days: int = DEFAULT_SESSION_DAYS,
) -> str:
    """Create a member's account. Returns the token of their first session.

    Raises UserError for what nobody can have. Raises TooMany after too many attempts from one
    address: without that limit anybody could find out which names exist. The attempt is counted
    before the name is looked up, so commit also after an error.
    """
    name = validate_name(credentials.name)
    if re.sub(r"[._-]|\d+$", "", name) in OFFICIAL_NAMES:
        raise UserError(
            "%(name)s would be taken for somebody official. Please choose another name.", name=name
        )
    normalize_display_name(display_name, name)
    passwords.validate_password(credentials.password, name)
    network = login_throttle.network_of(credentials.address)
    rate_limit.count_use(db, network, SIGN_UPS_PER_ADDRESS, now)
    user = NewUser(name, [("member", None)], display_name, credentials.password)
    add_user(db, user, now, actor=name)
    return create_session(db, name, now=now, days=days)


def sign_in(
    db: Session, credentials: Credentials, now: datetime, *, days: int = DEFAULT_SESSION_DAYS
) -> str | None:
    """A new session's token, or None when name and password do not fit.

    Raises TooMany while the name or the address has to wait. A failed attempt is counted, so commit
    also when the result is None. An unknown name takes as long as a wrong password.
    """
    name, address = normalize_name(credentials.name), credentials.address
    login_throttle.require_login_allowed(db, name, address, now)
    account = db.get(Account, name)
    password_hash = account.password_hash if account else passwords.unmatchable_hash()
    fits = passwords.verify_password(password_hash, credentials.password)
    if account is None or not fits or account.disabled_at is not None:
        login_throttle.record_failed_login(db, name, address, now)
        return None
    if passwords.needs_rehash(account.password_hash):
        account.password_hash = passwords.hash_password(credentials.password)
    login_throttle.reset_login_attempts(db, name)
    login_throttle.delete_old_login_attempts(db, now)
    db.execute(delete(AccountSession).where(AccountSession.expires_at <= now))
    return create_session(db, name, now=now, days=days)


def create_session(db: Session, name: str, *, now: datetime, days: int) -> str:
    """Start a session for somebody who has proved who they are. Returns its token."""
    token = secrets.token_urlsafe(32)
    db.add(
        AccountSession(
            digest=digest_token(token),
            name=name,
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
    )
    db.flush()
    return token


def sign_out(db: Session, token: str) -> None:
    """End one session."""
    db.execute(delete(AccountSession).where(AccountSession.digest == digest_token(token)))


def load_sessions(db: Session, person: Person, now: datetime) -> list[AccountSession]:
    """A person's sessions that have not expired, newest first."""
    statement = (
        select(AccountSession)
        .where(AccountSession.name == person.name, AccountSession.expires_at > now)
        .order_by(AccountSession.created_at.desc())
        .limit(MAX_SESSIONS_LISTED)
    )
    return list(db.scalars(statement))


def find_session_person(db: Session, token: str, now: datetime) -> Person | None:
    """The person of a session that has not expired and whose account is not disabled."""
    session = load_session_person(db, token, now)
    return session[0] if session else None


def load_session_person(
    db: Session, token: str, now: datetime
) -> tuple[Person, str | None, str | None] | None:
    """The same person, with the language and theme that they chose.

    Every page asks this. So it is one query for columns only, whose statement is built once.
    """
    rows = db.execute(session_query(), {"digest": digest_token(token), "now": now}).all()
    if not rows:
        return None
    name, display_name, lang, theme = rows[0][:4]
    return Person(name, display_name, grants_from_rows(row[4:] for row in rows)), lang, theme


@cache
def session_query() -> Select[*tuple[Any, ...]]:
    """An account by the digest of a session's token, a row for each grant."""
    return (
        select(
            Account.name,
            Account.display_name,
            Account.lang,
            Account.theme,
            AccountGrant.role,
            AccountGrant.scope,
        )
        .join(AccountSession, AccountSession.name == Account.name)
        .outerjoin(AccountGrant, AccountGrant.name == Account.name)
        .where(
            AccountSession.digest == bindparam("digest"),
            AccountSession.expires_at > bindparam("now", type_=Utc),
            Account.disabled_at.is_(None),
        )
    )
