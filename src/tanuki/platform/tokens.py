"""API tokens: what a program shows instead of a password, and what it may do with it."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
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
    digest_token,
    find_person,
    grants_from_rows,
    load_account,
)
from tanuki.platform.database.types import Utc

# read: see what the owner sees; write: change what is the owner's; moderate: decide about others.
TOKEN_SCOPES = ("read", "write", "moderate")
MAX_TOKENS_PER_ACCOUNT = 50
MAX_LABEL_CHARS = 60
MAX_TOKEN_DAYS = 3650
LAST_USE_PRECISION = timedelta(minutes=10)  # of a token's last use: not every call writes a row


@dataclass(frozen=True)
class NewToken:
    """A token to create. Every token may read. Without days it never expires."""

    label: str
    scopes: Iterable[str] = ("read",)
    days: int | None = None


def allowed_token_scopes(person: Person) -> tuple[str, ...]:
    """The scopes that this person may give a token."""
    return tuple(
        scope for scope in TOKEN_SCOPES if scope != "moderate" or person.has_role("moderator")
    )


def create_token(db: Session, name: str, new: NewToken, now: datetime) -> str:
    """Create an API token for an account. Returns it; only its digest is stored."""
    account = load_account(db, name)
    label = new.label.strip()
    if not 1 <= len(label) <= MAX_LABEL_CHARS:
        raise UserError("A token needs a name of 1 to 60 characters that says what uses it.")
    if new.days is not None and not 1 <= new.days <= MAX_TOKEN_DAYS:
        raise UserError("A token lasts 1 to 3650 days, not %(days)s.", days=new.days)
    scopes = {"read", *new.scopes}
    for scope in sorted(scopes.difference(TOKEN_SCOPES)):
        raise UserError(
            "%(scope)s is not a scope of a token. Expected one of %(known)s.",
            scope=scope,
            known=", ".join(TOKEN_SCOPES),
        )
    owner = find_person(db, account.name)
    if owner is None:
        raise Conflict("%(name)s is disabled.", name=account.name)
    if not scopes.issubset(allowed_token_scopes(owner)):
        raise NotAllowed("Only a moderator's token may moderate.")
    statement = select(func.count()).select_from(AccountToken)
    if (
        db.scalar(statement.where(AccountToken.name == account.name)) or 0
    ) >= MAX_TOKENS_PER_ACCOUNT:
        raise Conflict(
            "There are %(most)s tokens already. Please revoke one that is no longer used.",
            most=MAX_TOKENS_PER_ACCOUNT,
        )
    token = f"tanuki_{secrets.token_urlsafe(32)}"
    db.add(
        AccountToken(
            digest=digest_token(token),
            name=account.name,
            label=label,
            scopes=" ".join(scope for scope in TOKEN_SCOPES if scope in scopes),
            created_at=now,
            expires_at=None if new.days is None else now + timedelta(days=new.days),
        )
    )
    db.flush()
    return token


def load_tokens(db: Session, person: Person) -> list[AccountToken]:
    """A person's API tokens, newest first."""
    statement = (
        select(AccountToken)
        .where(AccountToken.name == person.name)
        .order_by(AccountToken.created_at.desc(), AccountToken.label)
        .limit(MAX_TOKENS_PER_ACCOUNT)
    )
    return list(db.scalars(statement))


def revoke_token(db: Session, person: Person, token_digest: str) -> None:
    """End one of a person's own API tokens. Raises NotFound for another's."""
    token = db.get(AccountToken, token_digest)
    if token is None or token.name != person.name:
        raise NotFound("There is no such token.")
    db.delete(token)
    db.flush()


def find_token_person(db: Session, token: str, now: datetime) -> Person | None:
    """The owner of a token that has not expired and whose account is not disabled."""
    authenticated = authenticate_token(db, token, now)
    return authenticated[0] if authenticated else None


def authenticate_token(db: Session, token: str, now: datetime) -> tuple[Person, bool] | None:
    """The same person, and whether the token's last use is due to be stored again.

    Every call of the API asks this, so it is one query.
    """
    rows = db.execute(token_query(), {"digest": digest_token(token), "now": now}).all()
    if not rows:
        return None
    name, display_name, scopes, last_used_at = rows[0][:4]
    grants = grants_from_rows(row[4:] for row in rows)
    person = Person(name, display_name, grants, frozenset(scopes.split()))
    return person, last_used_at is None or now - last_used_at > LAST_USE_PRECISION


@cache
def token_query() -> Select[*tuple[Any, ...]]:
    """An account by the digest of an API token, a row for each grant."""
    not_expired = or_(
        AccountToken.expires_at.is_(None), AccountToken.expires_at > bindparam("now", type_=Utc)
    )
    return (
        select(
            Account.name,
            Account.display_name,
            AccountToken.scopes,
            AccountToken.last_used_at,
            AccountGrant.role,
            AccountGrant.scope,
        )
        .join(AccountToken, AccountToken.name == Account.name)
        .outerjoin(AccountGrant, AccountGrant.name == Account.name)
        .where(
            AccountToken.digest == bindparam("digest"), not_expired, Account.disabled_at.is_(None)
        )
    )


def save_token_use(db: Session, token: str, now: datetime) -> None:
    """Store that a token was used now."""
    row = db.get(AccountToken, digest_token(token))
    if row is not None:
        row.last_used_at = now
