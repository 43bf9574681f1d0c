"""Who people are and what they may do: names, passwords, roles, sessions, API tokens. Keeps no e-mail and no address of anybody."""

import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import ForeignKey, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import Conflict, NotAllowed, NotFound, TooMany, UserError
from tanuki.platform.db import Base

ROLES = ("analyst", "manager", "operator", "admin")
SCOPED = ("manager",)  # these roles are held for something: a manager's store
RESERVED = ("tanuki", "command line")  # names that the system itself signs with
PASSWORD_LENGTH = 10
PASSWORD_LONGEST = 1_000  # hashing must not become the attack
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
GRACE = {"name": 5, "address": 20}  # failed tries before the waiting begins; an office shares one address
FIRST_WAIT = timedelta(seconds=15)  # doubles with each further failure
LONGEST_WAIT = timedelta(minutes=15)
FORGET_TRIES = timedelta(hours=2)
TOKEN_USED_STEP = timedelta(minutes=10)  # how exact a token's last use is kept


class Account(Base):
    """A person who may sign in."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(primary_key=True)
    display: Mapped[str]
    password_hash: Mapped[str]
    password_changed_at: Mapped[datetime]
    lang: Mapped[str | None]
    theme: Mapped[str | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    disabled_at: Mapped[datetime | None]
    disabled_by: Mapped[str | None]


class AccountGrant(Base):
    """A role of a person, everywhere (scope empty) or for one store."""

    __tablename__ = "account_grant"

    name: Mapped[str] = mapped_column(ForeignKey("account.name"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True, default="")
    granted_at: Mapped[datetime]
    granted_by: Mapped[str]


class AccountSession(Base):
    """A signed-in browser. Only the digest of its token is kept."""

    __tablename__ = "account_session"

    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("account.name"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class AccountToken(Base):
    """A token for programs. Only its digest is kept."""

    __tablename__ = "account_token"

    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("account.name"), index=True)
    label: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class AccountTry(Base):
    """How often signing in failed lately, for a name and for an address; both only as digests."""

    __tablename__ = "account_try"

    key: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime]


@dataclass(frozen=True)
class Person:
    """Somebody who does something, with the roles they hold: (role, scope) where scope None means everywhere."""

    name: str
    display: str
    grants: frozenset[tuple[str, str | None]]

    def has(self, *roles: str) -> bool:
        """Whether they hold one of the roles, wherever it is for. An admin holds all."""
        return any(role in roles or role == "admin" for role, _ in self.grants)

    def scopes(self, role: str) -> frozenset[str]:
        """What they hold a role for, such as a manager's stores."""
        return frozenset(scope for held, scope in self.grants if held == role and scope is not None)


COMMAND_LINE = Person("command line", "Command line", frozenset({("admin", None)}))
SYSTEM = Person("tanuki", "Tanuki", frozenset({("admin", None)}))


def require(person: Person, *roles: str) -> None:
    """Refuse a person who holds none of the roles."""
    if not person.has(*roles):
        raise NotAllowed("This needs the role %(roles)s; ask an administrator for it.", roles=" / ".join(roles))


# ---- accounts ------------------------------------------------------------------------------------------------------


def add_user(
    db: Session,
    name: str,
    *,
    display: str = "",
    grants: Iterable[tuple[str, str | None]],
    now: datetime,
    password: str | None = None,
    by: str = COMMAND_LINE.name,
) -> str:
    """Make an account and give its password, generated when none is given."""
    name = as_name(name)
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UserError(
            "%(name)s cannot be a user's name; expected 2 to 40 lower-case letters, digits, dots, dashes or underlines, beginning with a letter or digit.",
            name=name,
        )
    if db.get(Account, name) is not None:
        raise Conflict("There is already a user %(name)s.", name=name)
    wanted = checked_grants(grants)
    password = secrets.token_urlsafe(12) if password is None else password
    check_password(password, name)
    hashed = hasher().hash(as_password(password))
    db.add(
        Account(name=name, display=display.strip() or name, password_hash=hashed, password_changed_at=now, created_at=now, created_by=by)
    )
    db.flush()
    db.add_all(AccountGrant(name=name, role=role, scope=scope, granted_at=now, granted_by=by) for role, scope in wanted)
    db.flush()
    return password


def checked_grants(grants: Iterable[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """Grants as they are kept, each once. Raises UserError for an unknown role, or a scope missing or too many."""
    wanted = sorted({(role, scope or "") for role, scope in grants})
    for role, scope in wanted:
        if role not in ROLES:
            raise UserError("%(role)s is not a role; expected one of %(known)s.", role=role, known=", ".join(ROLES))
        if (role in SCOPED) != bool(scope):
            raise UserError("A manager needs at least one store, and only managers have stores.")
    if not wanted:
        raise UserError("A user needs at least one role; expected one of %(known)s.", known=", ".join(ROLES))
    return wanted


def users(db: Session) -> list[tuple[Account, frozenset[tuple[str, str | None]]]]:
    """Every account with its grants, by name."""
    grants: dict[str, set[tuple[str, str | None]]] = {}
    for grant in db.scalars(select(AccountGrant)):
        grants.setdefault(grant.name, set()).add((grant.role, grant.scope or None))
    return [(account, frozenset(grants.get(account.name, ()))) for account in db.scalars(select(Account).order_by(Account.name))]


def account(db: Session, name: str) -> Account:
    """The account of that name."""
    found = db.get(Account, as_name(name))
    if found is None:
        raise NotFound("There is no user %(name)s.", name=name)
    return found


def person(db: Session, name: str) -> Person | None:
    """The person of that name, or None when there is none or they are disabled."""
    found = db.get(Account, name)
    if found is None or found.disabled_at is not None:
        return None
    held = db.scalars(select(AccountGrant).where(AccountGrant.name == name))
    return Person(name, found.display, frozenset((grant.role, grant.scope or None) for grant in held))


def disable(db: Session, name: str, *, now: datetime, by: str = COMMAND_LINE.name) -> None:
    """Shut an account: nobody signs in with it, its sessions and tokens end. What the person did stays."""
    found = account(db, name)
    found.disabled_at, found.disabled_by = now, by
    sign_out_everywhere(db, found.name)
    db.execute(delete(AccountToken).where(AccountToken.name == found.name))


def enable(db: Session, name: str) -> None:
    """Open a disabled account again."""
    found = account(db, name)
    found.disabled_at = found.disabled_by = None


def set_password(db: Session, name: str, *, now: datetime, password: str | None = None) -> str:
    """Give an account a new password, generated when none is given, and end its sessions."""
    found = account(db, name)
    password = secrets.token_urlsafe(12) if password is None else password
    check_password(password, found.name)
    found.password_hash, found.password_changed_at = hasher().hash(as_password(password)), now
    sign_out_everywhere(db, found.name)
    forget_tries(db, found.name)
    return password


def change_password(db: Session, who: Person, old: str, new: str, *, now: datetime, keep: str = "") -> None:
    """A person's own change; it needs the old password and ends every session except the one whose token is `keep`."""
    found = account(db, who.name)
    if not password_fits(found.password_hash, old):
        raise UserError("The old password is not right.")
    check_password(new, found.name)
    found.password_hash, found.password_changed_at = hasher().hash(as_password(new)), now
    sign_out_everywhere(db, found.name, keep=keep)


def check_password(password: str, name: str) -> None:
    """Refuse a password that is too short, absurdly long, or the name."""
    if not PASSWORD_LENGTH <= len(password) <= PASSWORD_LONGEST:
        raise UserError("A password needs at least %(length)s characters.", length=PASSWORD_LENGTH)
    if as_name(password) == name:
        raise UserError("The password must not be the name.")


def prefer(db: Session, who: Person, *, lang: str | None = None, theme: str | None = None) -> None:
    """Remember a person's language or theme."""
    found = account(db, who.name)
    found.lang = lang or found.lang
    found.theme = theme or found.theme


def preferences(db: Session, who: Person) -> tuple[str | None, str | None]:
    """A person's language and theme, where they chose one."""
    found = account(db, who.name)
    return found.lang, found.theme


# ---- signing in ----------------------------------------------------------------------------------------------------


def sign_in(db: Session, name: str, password: str, *, address: str, now: datetime, days: int = 14) -> str | None:
    """A new session's token, or None when name and password do not fit; the try is then counted, so commit either way.

    Raises TooMany while the name or the address has to wait. Takes as long for a name that does not exist as for one that does.
    """
    name = as_name(name)
    keys = {kind: f"{kind}:{digest(value)}" for kind, value in (("name", name), ("address", address))}
    tries = {each.key: each for each in db.scalars(select(AccountTry).where(AccountTry.key.in_(keys.values())).with_for_update())}
    wait = max((left(tries[key], GRACE[kind], now) for kind, key in keys.items() if key in tries), default=timedelta())
    if wait > timedelta():
        raise TooMany("Too many tries to sign in; try again in %(seconds)s seconds.", seconds=int(wait.total_seconds()) + 1)
    found = db.get(Account, name)
    fits = password_fits(found.password_hash if found else unknown_hash(), password)
    if found is None or not fits or found.disabled_at is not None:
        for key in keys.values():
            count(db, tries.get(key), key, now)
        return None
    if hasher().check_needs_rehash(found.password_hash):
        found.password_hash = hasher().hash(as_password(password))
    forget_tries(db, name)
    db.execute(delete(AccountTry).where(AccountTry.last_at < now - FORGET_TRIES))
    db.execute(delete(AccountSession).where(AccountSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    db.add(AccountSession(digest=digest(token), name=name, created_at=now, expires_at=now + timedelta(days=days)))
    db.flush()
    return token


def left(tries: AccountTry, grace: int, now: datetime) -> timedelta:
    """How long to wait still: nothing within the grace, then twice as long after each failure."""
    if tries.failures < grace or now - tries.last_at > FORGET_TRIES:
        return timedelta()
    wait = min(FIRST_WAIT * (1 << min(tries.failures - grace, 10)), LONGEST_WAIT)
    return tries.last_at + wait - now


def count(db: Session, tries: AccountTry | None, key: str, now: datetime) -> None:
    """Count a failed try; what is long past is forgotten."""
    if tries is None:
        db.merge(AccountTry(key=key, failures=1, last_at=now))
        return
    tries.failures = 1 if now - tries.last_at > FORGET_TRIES else tries.failures + 1
    tries.last_at = now


def forget_tries(db: Session, name: str) -> None:
    """Let a name begin anew; the address stays counted."""
    db.execute(delete(AccountTry).where(AccountTry.key == f"name:{digest(name)}"))


def sign_out(db: Session, token: str) -> None:
    """End one session."""
    db.execute(delete(AccountSession).where(AccountSession.digest == digest(token)))


def sign_out_everywhere(db: Session, name: str, *, keep: str = "") -> None:
    """End every session of an account, except the one whose token is `keep`."""
    db.execute(delete(AccountSession).where(AccountSession.name == name, AccountSession.digest != digest(keep)))


def sessions(db: Session, who: Person, now: datetime) -> list[AccountSession]:
    """A person's sessions that have not ended, newest first."""
    mine = select(AccountSession).where(AccountSession.name == who.name, AccountSession.expires_at > now)
    return list(db.scalars(mine.order_by(AccountSession.created_at.desc()).limit(100)))


def person_of_session(db: Session, token: str, now: datetime) -> Person | None:
    """Who is signed in with that token, if the session has not ended and the account is open."""
    found = db.get(AccountSession, digest(token))
    return person(db, found.name) if found is not None and found.expires_at > now else None


# ---- API tokens ----------------------------------------------------------------------------------------------------


def add_token(db: Session, name: str, label: str, *, now: datetime, days: int | None = None) -> str:
    """A new API token for an account; it is shown this once."""
    owner = account(db, name)
    label = label.strip()
    if not 1 <= len(label) <= 60:
        raise UserError("A token needs a name of 1 to 60 characters that says what uses it.")
    if days is not None and not 1 <= days <= 3650:
        raise UserError("A token lasts 1 to 3650 days; found %(days)s.", days=days)
    token = f"tanuki_{secrets.token_urlsafe(32)}"
    expires = None if days is None else now + timedelta(days=days)
    db.add(AccountToken(digest=digest(token), name=owner.name, label=label, created_at=now, expires_at=expires))
    db.flush()
    return token


def tokens(db: Session, who: Person) -> list[AccountToken]:
    """A person's API tokens, newest first."""
    mine = select(AccountToken).where(AccountToken.name == who.name)
    return list(db.scalars(mine.order_by(AccountToken.created_at.desc(), AccountToken.label).limit(100)))


def revoke_token(db: Session, who: Person, token_digest: str) -> None:
    """End one of a person's own API tokens."""
    found = db.get(AccountToken, token_digest)
    if found is None or found.name != who.name:
        raise NotFound("There is no such token.")
    db.delete(found)
    db.flush()


def person_of_token(db: Session, token: str, now: datetime) -> Person | None:
    """Whose program shows that API token, if it has not ended and the account is open."""
    found = db.get(AccountToken, digest(token))
    if found is None or (found.expires_at is not None and found.expires_at <= now):
        return None
    return person(db, found.name)


def token_use_due(db: Session, token: str, now: datetime) -> bool:
    """Whether a token's last use was noted long enough ago to be noted again."""
    found = db.get(AccountToken, digest(token))
    return found is not None and (found.last_used_at is None or now - found.last_used_at > TOKEN_USED_STEP)


def note_token_use(db: Session, token: str, now: datetime) -> None:
    """Note that a token was used now."""
    found = db.get(AccountToken, digest(token))
    if found is not None:
        found.last_used_at = now


# ---- secrets -------------------------------------------------------------------------------------------------------


def as_name(text: str) -> str:
    """A name as it is kept, however it was typed: full-width letters and capitals are the same."""
    return unicodedata.normalize("NFKC", text).strip().lower()


def as_password(text: str) -> str:
    """A password as it is hashed: the same characters typed on another keyboard are the same password."""
    return unicodedata.normalize("NFKC", text)


def digest(token: str) -> str:
    """What is kept of a random token. Tokens are long and random, so a plain digest cannot be guessed back."""
    return sha256(token.encode()).hexdigest()


@cache
def hasher() -> PasswordHasher:
    """Argon2id with the library's current parameters; older hashes are renewed at sign-in."""
    return PasswordHasher()


@cache
def unknown_hash() -> str:
    """A hash that no password fits, checked when there is no such name so that it takes as long."""
    return hasher().hash(secrets.token_urlsafe(32))


def password_fits(hashed: str, password: str) -> bool:
    """Whether the password is the one that was hashed."""
    try:
        return hasher().verify(hashed, as_password(password[:PASSWORD_LONGEST]))
    except VerifyMismatchError:
        return False
