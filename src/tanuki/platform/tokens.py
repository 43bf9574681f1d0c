"""API tokens: what a program shows instead of a password, and what it may do with it."""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, or_, select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform.accounts import (
    Account,
    AccountGrant,
    AccountToken,
    Person,
    account,
    as_grants,
    digest,
    person,
)
from tanuki.platform.database.types import Utc

SCOPES = (
    "read",
    "write",
    "moderate",
)  # look; change what is one's own; decide about others' things
MOST = 50  # an account's tokens
USED_STEP = timedelta(minutes=10)  # how exact a token's last use is kept


def scopes_for(who: Person) -> tuple[str, ...]:
    """What this person's tokens may be for."""
    return tuple(scope for scope in SCOPES if scope != "moderate" or who.has("moderator"))


def add_token(
    db: Session,
    name: str,
    label: str,
    *,
    scopes: Iterable[str] = ("read",),
    now: datetime,
    days: int | None = None,
) -> str:
    """A new API token for an account; it is shown this once. Every token reads, whatever else it is for."""
    owner = account(db, name)
    label = label.strip()
    if not 1 <= len(label) <= 60:
        raise UserError("A token needs a name of 1 to 60 characters that says what uses it.")
    if days is not None and not 1 <= days <= 3650:
        raise UserError("A token lasts 1 to 3650 days; found %(days)s.", days=days)
    wanted = {"read", *scopes}
    for scope in sorted(wanted.difference(SCOPES)):
        raise UserError(
            "%(scope)s is not what a token can be for; expected %(known)s.",
            scope=scope,
            known=", ".join(SCOPES),
        )
    who = person(db, owner.name)
    if who is None:
        raise Conflict("%(name)s is disabled.", name=owner.name)
    if not wanted.issubset(scopes_for(who)):
        raise NotAllowed("Only a moderator's token may moderate.")
    if (
        db.scalar(
            select(func.count()).select_from(AccountToken).where(AccountToken.name == owner.name)
        )
        or 0
    ) >= MOST:
        raise Conflict(
            "There are %(most)s tokens already; revoke one that is not used any more.", most=MOST
        )
    token = f"tanuki_{secrets.token_urlsafe(32)}"
    kept = " ".join(scope for scope in SCOPES if scope in wanted)
    expires = None if days is None else now + timedelta(days=days)
    db.add(
        AccountToken(
            digest=digest(token),
            name=owner.name,
            label=label,
            scopes=kept,
            created_at=now,
            expires_at=expires,
        )
    )
    db.flush()
    return token


def tokens_of(db: Session, who: Person) -> list[AccountToken]:
    """A person's API tokens, newest first."""
    mine = select(AccountToken).where(AccountToken.name == who.name)
    return list(
        db.scalars(mine.order_by(AccountToken.created_at.desc(), AccountToken.label).limit(MOST))
    )


def revoke_token(db: Session, who: Person, token_digest: str) -> None:
    """End one of a person's own API tokens."""
    found = db.get(AccountToken, token_digest)
    if found is None or found.name != who.name:
        raise NotFound("There is no such token.")
    db.delete(found)
    db.flush()


def person_of_token(db: Session, token: str, now: datetime) -> Person | None:
    """Whose program shows that API token, with what it is for, if it has not ended and the account is open."""
    found = bearer(db, token, now)
    return found[0] if found else None


def bearer(db: Session, token: str, now: datetime) -> tuple[Person, bool] | None:
    """The same, and whether the token's last use was noted long enough ago to be noted again. One query: every call asks this."""
    rows = db.execute(of_token(), {"digest": digest(token), "now": now}).all()
    if not rows:
        return None
    name, display, scopes, used = rows[0][:4]
    who = Person(name, display, as_grants(row[4:] for row in rows), frozenset(scopes.split()))
    return who, used is None or now - used > USED_STEP


@cache
def of_token() -> Select[*tuple[Any, ...]]:
    """An account by a token's digest, a row for each grant."""
    asked = select(
        Account.name,
        Account.display,
        AccountToken.scopes,
        AccountToken.last_used_at,
        AccountGrant.role,
        AccountGrant.scope,
    )
    joined = asked.join(AccountToken, AccountToken.name == Account.name).outerjoin(
        AccountGrant, AccountGrant.name == Account.name
    )
    lasts = or_(
        AccountToken.expires_at.is_(None), AccountToken.expires_at > bindparam("now", type_=Utc)
    )
    return joined.where(
        AccountToken.digest == bindparam("digest"), lasts, Account.disabled_at.is_(None)
    )


def note_token_use(db: Session, token: str, now: datetime) -> None:
    """Note that a token was used now."""
    found = db.get(AccountToken, digest(token))
    if found is not None:
        found.last_used_at = now
