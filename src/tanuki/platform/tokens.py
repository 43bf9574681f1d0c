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
    load_account,
    grants_from_rows,
    digest_token,
    find_person,
)
from tanuki.platform.database.types import Utc

TOKEN_SCOPES = (
    "read",
    "write",
    "moderate",
)  # look; change what is one's own; decide about others' things
MAX_TOKENS_PER_ACCOUNT = 50  # an account's tokens
LAST_USE_PRECISION = timedelta(minutes=10)  # how exact a token's last use is kept


def allowed_token_scopes(who: Person) -> tuple[str, ...]:
    """What this person's tokens may be for."""
    return tuple(scope for scope in TOKEN_SCOPES if scope != "moderate" or who.has_role("moderator"))


def create_token(
    db: Session,
    name: str,
    label: str,
    *,
    scopes: Iterable[str] = ("read",),
    now: datetime,
    days: int | None = None,
) -> str:
    """A new API token for an account; it is shown this once. Every token reads, whatever else it is for."""
    owner = load_account(db, name)
    label = label.strip()
    if not 1 <= len(label) <= 60:
        raise UserError("A token needs a name of 1 to 60 characters that says what uses it.")
    if days is not None and not 1 <= days <= 3650:
        raise UserError("A token lasts 1 to 3650 days; found %(days)s.", days=days)
    wanted = {"read", *scopes}
    for scope in sorted(wanted.difference(TOKEN_SCOPES)):
        raise UserError(
            "%(scope)s is not what a token can be for; expected %(known)s.",
            scope=scope,
            known=", ".join(TOKEN_SCOPES),
        )
    who = find_person(db, owner.name)
    if who is None:
        raise Conflict("%(name)s is disabled.", name=owner.name)
    if not wanted.issubset(allowed_token_scopes(who)):
        raise NotAllowed("Only a moderator's token may moderate.")
    if (
        db.scalar(
            select(func.count()).select_from(AccountToken).where(AccountToken.name == owner.name)
        )
        or 0
    ) >= MAX_TOKENS_PER_ACCOUNT:
        raise Conflict(
            "There are %(most)s tokens already; revoke one that is not used any more.", most=MAX_TOKENS_PER_ACCOUNT
        )
    token = f"tanuki_{secrets.token_urlsafe(32)}"
    kept = " ".join(scope for scope in TOKEN_SCOPES if scope in wanted)
    expires = None if days is None else now + timedelta(days=days)
    db.add(
        AccountToken(
            digest=digest_token(token),
            name=owner.name,
            label=label,
            scopes=kept,
            created_at=now,
            expires_at=expires,
        )
    )
    db.flush()
    return token


def load_tokens(db: Session, who: Person) -> list[AccountToken]:
    """A person's API tokens, newest first."""
    mine = select(AccountToken).where(AccountToken.name == who.name)
    return list(
        db.scalars(mine.order_by(AccountToken.created_at.desc(), AccountToken.label).limit(MAX_TOKENS_PER_ACCOUNT))
    )


def revoke_token(db: Session, who: Person, token_digest: str) -> None:
    """End one of a person's own API tokens."""
    found = db.get(AccountToken, token_digest)
    if found is None or found.name != who.name:
        raise NotFound("There is no such token.")
    db.delete(found)
    db.flush()


def find_token_person(db: Session, token: str, now: datetime) -> Person | None:
    """Whose program shows that API token, with what it is for, if it has not ended and the account is open."""
    found = authenticate_token(db, token, now)
    return found[0] if found else None


def authenticate_token(db: Session, token: str, now: datetime) -> tuple[Person, bool] | None:
    """The same, and whether the token's last use was noted long enough ago to be noted again. One query: every call asks this."""
    rows = db.execute(token_query(), {"digest": digest_token(token), "now": now}).all()
    if not rows:
        return None
    name, display, scopes, used = rows[0][:4]
    who = Person(name, display, grants_from_rows(row[4:] for row in rows), frozenset(scopes.split()))
    return who, used is None or now - used > LAST_USE_PRECISION


@cache
def token_query() -> Select[*tuple[Any, ...]]:
    """An account by a token's digest, a row for each grant."""
    asked = select(
        Account.name,
        Account.display_name,
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


def save_token_use(db: Session, token: str, now: datetime) -> None:
    """Note that a token was used now."""
    found = db.get(AccountToken, digest_token(token))
    if found is not None:
        found.last_used_at = now
