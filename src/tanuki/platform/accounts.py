"""Who people are and what they may do: accounts and roles, signing up, signing in, leaving. Keeps no e-mail and no address of anybody."""

import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

from sqlalchemy import ForeignKey, Select, bindparam, delete, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform import login_throttle, passwords, rate_limit
from tanuki.platform.database.engine import Base
from tanuki.platform.database.types import Utc

ROLES = ("member", "moderator", "analyst", "manager", "operator", "admin")
SCOPED_ROLES = ("manager",)  # these roles are held for something: a manager's store
RESERVED_NAMES = ("tanuki", "command line")  # names that the system itself signs with
OFFICIALS = """admin administrator anonymous api deleted everybody everyone help info me mod moderator moderators nobody null official operator
    owner root security staff support system tanuki team undefined unknown webmaster you"""
OFFICIAL_NAMES = frozenset(
    OFFICIALS.split()
)  # people would take these for us, or for nobody in particular; who signs up cannot have them
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
MAX_DISPLAY_NAME_CHARS = 40
JOINER_CHARS = "\u200c\u200d"  # not seen, but they make one emoji of several, and words in some scripts
BLANK_CHARS = "\u115f\u1160\u2800\u3164\uffa0"  # seen as nothing, although they are letters and signs
SIGN_UP_LIMIT = 10  # an hour, from one address


class Account(Base):
    """A person who may sign in."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(primary_key=True)
    display_name: Mapped[str]
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
    expires_at: Mapped[datetime] = mapped_column(index=True)


class AccountToken(Base):
    """A token for programs. Only its digest is kept."""

    __tablename__ = "account_token"

    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("account.name"), index=True)
    label: Mapped[str]
    scopes: Mapped[str] = mapped_column(
        server_default="read write"
    )  # what it is for, words of tokens.SCOPES
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class DeletedAccountName(Base):
    """The name of somebody who left, as a digest: it is not given to anybody again."""

    __tablename__ = "account_gone"

    digest: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


@dataclass(frozen=True)
class Person:
    """Somebody who does something, with the roles they hold: (role, scope) where scope None means everywhere.

    `allowed` is what the API token that they use is for; None when they are here themselves, who may do everything that is theirs.
    """

    name: str
    display_name: str
    grants: frozenset[tuple[str, str | None]]
    token_scopes: frozenset[str] | None = None

    def has_role(self, *roles: str) -> bool:
        """Whether they hold one of the roles, wherever it is for. An admin holds all; an API token moderates only when it was made to."""
        wanted = {role for role in roles if role != "moderator" or self.may_use("moderate")}
        return bool(wanted) and any(role in wanted or role == "admin" for role, _ in self.grants)

    def may_use(self, scope: str) -> bool:
        """Whether they are here themselves, or with an API token that is for this."""
        return self.token_scopes is None or scope in self.token_scopes

    def role_scopes(self, role: str) -> frozenset[str]:
        """What they hold a role for, such as a manager's stores."""
        return frozenset(scope for held, scope in self.grants if held == role and scope is not None)


COMMAND_LINE = Person("command line", "Command line", frozenset({("admin", None)}))
SYSTEM = Person("tanuki", "Tanuki", frozenset({("admin", None)}))


def require_role(person: Person, *roles: str) -> None:
    """Refuse a person who holds none of the roles, or an API token that is not for it."""
    if person.has_role(*roles):
        return
    if replace(person, allowed=None).has_role(*roles):
        raise NotAllowed("This API token may not moderate; make one that may on the account page.")
    raise NotAllowed(
        "This needs the role %(roles)s; ask an administrator for it.", roles=" / ".join(roles)
    )


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
    name = validate_name(name)
    shown = normalize_display_name(display, name)
    wanted = validate_grants(grants)
    password = passwords.generate_password() if password is None else password
    passwords.validate_password(password, name)
    if is_name_taken(db, name):
        raise Conflict("There is already a user %(name)s.", name=name)
    kept = passwords.hash_password(password)
    try:
        with db.begin_nested():
            db.add(
                Account(
                    name=name,
                    display=shown,
                    password_hash=kept,
                    password_changed_at=now,
                    created_at=now,
                    created_by=by,
                )
            )
    except IntegrityError as faster:
        raise Conflict("There is already a user %(name)s.", name=name) from faster
    db.add_all(
        AccountGrant(name=name, role=role, scope=scope, granted_at=now, granted_by=by)
        for role, scope in wanted
    )
    db.flush()
    return password


def validate_name(text: str) -> str:
    """A name as it is kept. Raises UserError for one that nobody can have."""
    name = normalize_name(text)
    if not NAME_PATTERN.fullmatch(name) or name in RESERVED_NAMES:
        raise UserError(
            "%(name)s cannot be a user's name; expected 2 to 40 lower-case letters, digits, dots, dashes or underlines, beginning with a letter or digit.",
            name=name,
        )
    return name


def is_name_taken(db: Session, name: str) -> bool:
    """Whether somebody has that name, or had it and left."""
    if db.get(Account, name) is not None:
        return True
    anybody_left = db.scalar(select(exists().select_from(DeletedAccountName)))
    return bool(anybody_left) and db.get(DeletedAccountName, passwords.digest_name(name)) is not None


def normalize_display_name(text: str, name: str) -> str:
    """The name that others see, however it was typed; the name itself when left out. Raises UserError for what cannot be seen, or is too long."""
    shown = " ".join(unicodedata.normalize("NFC", text).split())
    unseen = any(
        each in BLANK_CHARS
        or (unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co") and each not in JOINER_CHARS)
        for each in shown
    )
    if unseen or len(shown) > MAX_DISPLAY_NAME_CHARS:
        raise UserError(
            "A shown name has up to %(longest)s characters, all of which can be seen.",
            longest=MAX_DISPLAY_NAME_CHARS,
        )
    return shown or name


def validate_grants(grants: Iterable[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """Grants as they are kept, each once. Raises UserError for an unknown role, or a scope missing or too many."""
    wanted = sorted({(role, scope or "") for role, scope in grants})
    for role, scope in wanted:
        if role not in ROLES:
            raise UserError(
                "%(role)s is not a role; expected one of %(known)s.",
                role=role,
                known=", ".join(ROLES),
            )
        if (role in SCOPED_ROLES) != bool(scope):
            raise UserError("A manager needs at least one store, and only managers have stores.")
    if not wanted:
        raise UserError(
            "A user needs at least one role; expected one of %(known)s.", known=", ".join(ROLES)
        )
    return wanted


def grant_role(
    db: Session,
    name: str,
    role: str,
    scope: str | None = None,
    *,
    now: datetime,
    by: str = COMMAND_LINE.name,
) -> None:
    """Give an account a role, everywhere or for one store; one that it has already stays as it is."""
    [(role, held_for)] = validate_grants([(role, scope)])
    found = load_account(db, name)
    if db.get(AccountGrant, (found.name, role, held_for)) is None:
        db.add(
            AccountGrant(name=found.name, role=role, scope=held_for, granted_at=now, granted_by=by)
        )
        db.flush()


def revoke_role(db: Session, name: str, role: str, scope: str | None = None) -> None:
    """Take a role from an account. Its last role stays: who should do nothing any more is disabled."""
    found = load_account(db, name)
    held = list(
        db.scalars(select(AccountGrant).where(AccountGrant.name == found.name).with_for_update())
    )
    gone = next((each for each in held if (each.role, each.scope) == (role, scope or "")), None)
    if gone is None:
        raise NotFound("%(name)s does not have that role.", name=found.name)
    validate_grants((each.role, each.scope) for each in held if each is not gone)
    db.delete(gone)
    db.flush()


def load_grants(db: Session, name: str) -> frozenset[tuple[str, str | None]]:
    """What an account was given, also while it is disabled."""
    return frozenset(
        (account_grant.role, account_grant.scope or None)
        for account_grant in db.scalars(select(AccountGrant).where(AccountGrant.name == name))
    )


def load_accounts(db: Session) -> list[tuple[Account, frozenset[tuple[str, str | None]]]]:
    """Every account with its grants, by name."""
    grants: dict[str, set[tuple[str, str | None]]] = {}
    for grant in db.scalars(select(AccountGrant)):
        grants.setdefault(grant.name, set()).add((grant.role, grant.scope or None))
    return [
        (account, frozenset(grants.get(account.name, ())))
        for account in db.scalars(select(Account).order_by(Account.name))
    ]


def load_account(db: Session, name: str) -> Account:
    """The account of that name."""
    found = db.get(Account, normalize_name(name))
    if found is None:
        raise NotFound("There is no user %(name)s.", name=name)
    return found


def find_person(db: Session, name: str) -> Person | None:
    """The person of that name, or None when there is none or they are disabled."""
    asked = select(Account.display_name, AccountGrant.role, AccountGrant.scope).outerjoin(
        AccountGrant, AccountGrant.name == Account.name
    )
    rows = db.execute(asked.where(Account.name == name, Account.disabled_at.is_(None))).all()
    return Person(name, rows[0].display, grants_from_rows(row[1:] for row in rows)) if rows else None


def disable_account(db: Session, name: str, *, now: datetime, by: str = COMMAND_LINE.name) -> None:
    """Shut an account: nobody signs in with it, its sessions and tokens end. What the person did stays."""
    found = load_account(db, name)
    found.disabled_at, found.disabled_by = now, by
    delete_sessions(db, found.name)
    db.execute(delete(AccountToken).where(AccountToken.name == found.name))


def enable_account(db: Session, name: str) -> None:
    """Open a disabled account again."""
    found = load_account(db, name)
    found.disabled_at = found.disabled_by = None


def set_password(db: Session, name: str, *, now: datetime, password: str | None = None) -> str:
    """Give an account a new password, generated when none is given, and end its sessions."""
    found = load_account(db, name)
    password = passwords.generate_password() if password is None else password
    passwords.validate_password(password, found.name)
    found.password_hash, found.password_changed_at = passwords.hash_password(password), now
    delete_sessions(db, found.name)
    login_throttle.reset_login_attempts(db, found.name)
    return password


def change_password(
    db: Session, who: Person, old: str, new: str, *, now: datetime, keep: str = ""
) -> None:
    """A person's own change; it needs the old password and ends every session except the one whose token is `keep`."""
    found = load_account(db, who.name)
    if not passwords.verify_password(found.password_hash, old):
        raise UserError("The old password is not right.")
    passwords.validate_password(new, found.name)
    found.password_hash, found.password_changed_at = passwords.hash_password(new), now
    delete_sessions(db, found.name, keep=keep)


def save_preferences(db: Session, who: Person, *, lang: str | None = None, theme: str | None = None) -> None:
    """Remember a person's language or theme."""
    found = load_account(db, who.name)
    found.lang = lang or found.lang
    found.theme = theme or found.theme


def load_preferences(db: Session, who: Person) -> tuple[str | None, str | None]:
    """A person's language and theme, where they chose one."""
    found = load_account(db, who.name)
    return found.lang, found.theme


# ---- signing up and leaving ----------------------------------------------------------------------------------------


def sign_up(
    db: Session,
    name: str,
    password: str,
    *,
    display: str = "",
    address: str,
    now: datetime,
    days: int = 14,
) -> str:
    """A new member's account, and the token of their first session.

    What cannot be is refused before anything is written but the count of tries from that address, so commit either way:
    otherwise anybody could ask without end which names there are. Raises TooMany when there were too many tries.
    """
    name = validate_name(name)
    if re.sub(r"[._-]|\d+$", "", name) in OFFICIAL_NAMES:
        raise UserError(
            "%(name)s would be taken for somebody official; choose another name.", name=name
        )
    normalize_display_name(display, name)
    passwords.validate_password(password, name)
    rate_limit.use(
        db, login_throttle.network_of(address), "sign-up", now=now, most=SIGN_UP_LIMIT, seconds=3600
    )
    add_user(
        db, name, display=display, grants=[("member", None)], now=now, password=password, by=name
    )
    return create_session(db, name, now=now, days=days)


def delete_own_account(db: Session, who: Person, password: str | None, *, now: datetime) -> None:
    """Take an account away for good, with its roles, sessions and tokens. Only a digest of the name stays, so that nobody else is taken for them.

    Whatever else hangs on the account is taken away before. It needs the password; None is for who took care of that, never for an API token.
    """
    require_may_leave(db, who, password)
    found = load_account(db, who.name)
    delete_sessions(db, found.name)
    login_throttle.reset_login_attempts(db, found.name)
    for table in (AccountToken, AccountGrant):
        db.execute(delete(table).where(table.name == found.name))
    db.delete(found)
    db.add(DeletedAccountName(digest=passwords.digest_name(found.name), at=now))
    db.flush()


def require_may_leave(db: Session, who: Person, password: str | None) -> None:
    """Refuse to take an account away without its password, or while it is the last administrator's. Until the end nobody signs in with it."""
    found = db.get(Account, who.name, with_for_update=True)
    if found is None:
        raise NotFound("There is no user %(name)s.", name=who.name)
    if password is None and who.token_scopes is not None:
        raise NotAllowed("An API token cannot do this without the password.")
    if password is not None and not passwords.verify_password(found.password_hash, password):
        raise UserError("The password is not right.")
    admins = select(AccountGrant.name).join(Account, Account.name == AccountGrant.name)
    admins = admins.where(AccountGrant.role == "admin", Account.disabled_at.is_(None))
    if set(db.scalars(admins.order_by(AccountGrant.name).with_for_update(of=AccountGrant))) == {
        found.name
    }:
        raise Conflict("You are the last administrator; make somebody else one before you leave.")


# ---- signing in ----------------------------------------------------------------------------------------------------


def sign_in(
    db: Session, name: str, password: str, *, address: str, now: datetime, days: int = 14
) -> str | None:
    """A new session's token, or None when name and password do not fit; the try is then counted, so commit either way.

    Raises TooMany while the name or the address has to wait. Takes as long for a name that does not exist as for one that does.
    """
    name = normalize_name(name)
    login_throttle.require_login_allowed(db, name, address, now)
    found = db.get(Account, name)
    fits = passwords.verify_password(found.password_hash if found else passwords.unmatchable_hash(), password)
    if found is None or not fits or found.disabled_at is not None:
        login_throttle.record_failed_login(db, name, address, now)
        return None
    if passwords.needs_rehash(found.password_hash):
        found.password_hash = passwords.hash_password(password)
    login_throttle.reset_login_attempts(db, name)
    login_throttle.delete_old_login_attempts(db, now)
    db.execute(delete(AccountSession).where(AccountSession.expires_at <= now))
    return create_session(db, name, now=now, days=days)


def create_session(db: Session, name: str, *, now: datetime, days: int) -> str:
    """The token of a new session, for somebody who proved who they are."""
    token = secrets.token_urlsafe(32)
    db.add(
        AccountSession(
            digest=digest_token(token), name=name, created_at=now, expires_at=now + timedelta(days=days)
        )
    )
    db.flush()
    return token


def sign_out(db: Session, token: str) -> None:
    """End one session."""
    db.execute(delete(AccountSession).where(AccountSession.digest == digest_token(token)))


def delete_sessions(db: Session, name: str, *, keep: str = "") -> None:
    """End every session of an account, except the one whose token is `keep`."""
    db.execute(
        delete(AccountSession).where(
            AccountSession.name == name, AccountSession.digest != digest_token(keep)
        )
    )


def load_sessions(db: Session, who: Person, now: datetime) -> list[AccountSession]:
    """A person's sessions that have not ended, newest first."""
    mine = select(AccountSession).where(
        AccountSession.name == who.name, AccountSession.expires_at > now
    )
    return list(db.scalars(mine.order_by(AccountSession.created_at.desc()).limit(100)))


def find_session_person(db: Session, token: str, now: datetime) -> Person | None:
    """Who is signed in with that token, if the session has not ended and the account is open."""
    found = load_session_person(db, token, now)
    return found[0] if found else None


def load_session_person(
    db: Session, token: str, now: datetime
) -> tuple[Person, str | None, str | None] | None:
    """The same with the language and the theme that they chose. Every page asks this: one query, columns only, written out once."""
    rows = db.execute(session_query(), {"digest": digest_token(token), "now": now}).all()
    if not rows:
        return None
    name, display, lang, theme = rows[0][:4]
    return Person(name, display, grants_from_rows(row[4:] for row in rows)), lang, theme


@cache
def session_query() -> Select[*tuple[Any, ...]]:
    """An account by a session's digest, a row for each grant."""
    asked = select(
        Account.name,
        Account.display_name,
        Account.lang,
        Account.theme,
        AccountGrant.role,
        AccountGrant.scope,
    )
    joined = asked.join(AccountSession, AccountSession.name == Account.name).outerjoin(
        AccountGrant, AccountGrant.name == Account.name
    )
    open_ = (AccountSession.expires_at > bindparam("now", type_=Utc), Account.disabled_at.is_(None))
    return joined.where(AccountSession.digest == bindparam("digest"), *open_)


def grants_from_rows(rows: Iterable[Sequence[Any]]) -> frozenset[tuple[str, str | None]]:
    """Grants from rows of role and scope; no role: no grant."""
    return frozenset((role, scope or None) for role, scope in rows if role is not None)


# ---- names and secrets ---------------------------------------------------------------------------------------------


def normalize_name(text: str) -> str:
    """A name as it is kept, however it was typed: full-width letters and capitals are the same."""
    return unicodedata.normalize("NFKC", text).strip().lower()


def digest_token(token: str) -> str:
    """What is kept of a random token. Tokens are long and random, so a plain digest cannot be guessed back."""
    return sha256(token.encode()).hexdigest()
