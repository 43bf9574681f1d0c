"""Accounts: who people are and what they may do. Stores no e-mail and no address of anybody."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import ForeignKey, delete, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform import login_throttle, passwords
from tanuki.platform.database.engine import Base

ROLES = ("member", "moderator", "analyst", "manager", "operator", "admin")
SCOPED_ROLES = ("manager",)  # held for something: a manager's store
RESERVED_NAMES = ("tanuki", "command line")  # the system's own names

# People would take these names for the site's own, or for nobody in particular.
OFFICIAL_NAME_LIST = """
    admin administrator anonymous api deleted everybody everyone help info me mod moderator
    moderators nobody null official operator owner root security staff support system tanuki team
    undefined unknown webmaster you
"""
OFFICIAL_NAMES = frozenset(OFFICIAL_NAME_LIST.split())
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
MAX_DISPLAY_NAME_CHARS = 40
JOINER_CHARS = "\u200c\u200d"  # invisible, but they join emoji and are part of some scripts
BLANK_CHARS = "\u115f\u1160\u2800\u3164\uffa0"  # look like nothing, but count as letters or signs
HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co")  # Unicode: control, format, surrogate, private use


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
    """A role of an account: everywhere (empty scope) or for one store."""

    __tablename__ = "account_grant"

    name: Mapped[str] = mapped_column(ForeignKey("account.name"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True, default="")
    granted_at: Mapped[datetime]
    granted_by: Mapped[str]


class AccountSession(Base):
    """A signed-in browser. Only the digest of its token is stored."""

    __tablename__ = "account_session"

    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("account.name"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class AccountToken(Base):
    """A token for programs. Only its digest is stored."""

    __tablename__ = "account_token"

    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("account.name"), index=True)
    label: Mapped[str]
    scopes: Mapped[str] = mapped_column(server_default="read write")  # of tokens.TOKEN_SCOPES
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class DeletedAccountName(Base):
    """The digest of a deleted account's name, which nobody else can have."""

    __tablename__ = "deleted_account_name"

    digest: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class Grant(NamedTuple):
    """A role, everywhere (no scope) or for one store."""

    role: str
    scope: str | None = None


@dataclass(frozen=True)
class Person:
    """Somebody who does something: the owner of a session or of an API token, with their roles.

    `token_scopes` is what their API token may do. It is None in a session, which may do everything
    that its owner may.
    """

    name: str
    display_name: str
    grants: frozenset[tuple[str, str | None]]
    token_scopes: frozenset[str] | None = None

    def has_role(self, *roles: str) -> bool:
        """Whether they hold one of the roles, for whatever scope. An admin holds every role.

        An API token has the role of a moderator only if its scopes contain `moderate`.
        """
        usable = {role for role in roles if role != "moderator" or self.may_use("moderate")}
        return bool(usable) and any(role in usable or role == "admin" for role, _ in self.grants)

    def may_use(self, scope: str) -> bool:
        """Whether this is a session, or an API token with that scope."""
        return self.token_scopes is None or scope in self.token_scopes

    def role_scopes(self, role: str) -> frozenset[str]:
        """The scopes of a role, such as a manager's stores."""
        return frozenset(
            scope for granted, scope in self.grants if granted == role and scope is not None
        )


COMMAND_LINE = Person("command line", "Command line", frozenset({("admin", None)}))
SYSTEM = Person("tanuki", "Tanuki", frozenset({("admin", None)}))


def require_role(person: Person, *roles: str) -> None:
    """Raises NotAllowed unless the person holds one of the roles and their token may use it."""
    if person.has_role(*roles):
        return
    if replace(person, token_scopes=None).has_role(*roles):
        raise NotAllowed(
            "This API token may not moderate. Please create one that may on the account page."
        )
    raise NotAllowed(
        "This needs the role %(roles)s. Please ask an administrator for it.",
        roles=" / ".join(roles),
    )


# ---- accounts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewUser:
    """An account to create. Without a display name the name is shown; without a password one is
    generated."""

    name: str
    grants: Iterable[tuple[str, str | None]]
    display_name: str = ""
    password: str | None = None


def add_user(db: Session, user: NewUser, now: datetime, *, actor: str = COMMAND_LINE.name) -> str:
    """Create an account. Returns its password. Raises UserError for what nobody can have."""
    name = validate_name(user.name)
    display_name = normalize_display_name(user.display_name, name)
    grants = validate_grants(user.grants)
    password = passwords.generate_password() if user.password is None else user.password
    passwords.validate_password(password, name)
    if is_name_taken(db, name):
        raise Conflict("There is already a user %(name)s.", name=name)
    password_hash = passwords.hash_password(password)
    try:
        with db.begin_nested():
            db.add(
                Account(
                    name=name,
                    display_name=display_name,
                    password_hash=password_hash,
                    password_changed_at=now,
                    created_at=now,
                    created_by=actor,
                )
            )
    except IntegrityError as error:
        raise Conflict("There is already a user %(name)s.", name=name) from error
    db.add_all(
        AccountGrant(name=name, role=role, scope=scope, granted_at=now, granted_by=actor)
        for role, scope in grants
    )
    db.flush()
    return password


def normalize_name(text: str) -> str:
    """A name as people type it, in the form that is stored."""
    return unicodedata.normalize("NFKC", text).strip().lower()


def validate_name(text: str) -> str:
    """The normalized name. Raises UserError for one that nobody can have."""
    name = normalize_name(text)
    if not NAME_PATTERN.fullmatch(name) or name in RESERVED_NAMES:
        raise UserError(
            "%(name)s cannot be a user's name. Expected 2 to 40 lower-case letters, digits, dots,"
            " dashes or underlines, beginning with a letter or digit.",
            name=name,
        )
    return name


def is_name_taken(db: Session, name: str) -> bool:
    """Whether an account has that name, or a deleted account had it."""
    if db.get(Account, name) is not None:
        return True
    # The digest of a name is slow on purpose, so compute it only when there is one to compare.
    if not db.scalar(select(exists().select_from(DeletedAccountName))):
        return False
    return db.get(DeletedAccountName, passwords.digest_name(name)) is not None


def normalize_display_name(text: str, name: str) -> str:
    """The name that others see, or the name itself for an empty text.

    Raises UserError for invisible characters or more than 40 characters.
    """
    display_name = " ".join(unicodedata.normalize("NFC", text).split())
    invisible = any(
        char in BLANK_CHARS
        or (unicodedata.category(char) in HIDDEN_CATEGORIES and char not in JOINER_CHARS)
        for char in display_name
    )
    if invisible or len(display_name) > MAX_DISPLAY_NAME_CHARS:
        raise UserError(
            "A display name has at most %(longest)s characters and no invisible ones.",
            longest=MAX_DISPLAY_NAME_CHARS,
        )
    return display_name or name


def validate_grants(grants: Iterable[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """Grants as the table stores them, each once.

    Raises UserError for an unknown role, and for a scope that is missing or too much.
    """
    rows = sorted({(role, scope or "") for role, scope in grants})
    for role, scope in rows:
        if role not in ROLES:
            raise UserError(
                "%(role)s is not a role. Expected one of %(known)s.",
                role=role,
                known=", ".join(ROLES),
            )
        if (role in SCOPED_ROLES) != bool(scope):
            raise UserError("A manager needs at least one store, and only managers have stores.")
    if not rows:
        raise UserError(
            "A user needs at least one role. Expected one of %(known)s.", known=", ".join(ROLES)
        )
    return rows


def grant_role(
    db: Session, name: str, grant: Grant, now: datetime, *, actor: str = COMMAND_LINE.name
) -> None:
    """Give an account a role. A role that it has already stays as it is."""
    [(role, scope)] = validate_grants([grant])
    account = load_account(db, name)
    if db.get(AccountGrant, (account.name, role, scope)) is None:
        db.add(
            AccountGrant(
                name=account.name, role=role, scope=scope, granted_at=now, granted_by=actor
            )
        )
        db.flush()


def revoke_role(db: Session, name: str, grant: Grant) -> None:
    """Take a role from an account. Raises UserError for its last role: disable the account."""
    account = load_account(db, name)
    rows = db.scalars(
        select(AccountGrant).where(AccountGrant.name == account.name).with_for_update()
    ).all()
    revoked = next(
        (row for row in rows if (row.role, row.scope) == (grant.role, grant.scope or "")), None
    )
    if revoked is None:
        raise NotFound("%(name)s does not have that role.", name=account.name)
    validate_grants((row.role, row.scope) for row in rows if row is not revoked)
    db.delete(revoked)
    db.flush()


def load_grants(db: Session, name: str) -> frozenset[tuple[str, str | None]]:
    """The grants of an account, also while it is disabled."""
    statement = select(AccountGrant).where(AccountGrant.name == name)
    return frozenset((grant.role, grant.scope or None) for grant in db.scalars(statement))


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
    """The account of that name. Raises NotFound."""
    account = db.get(Account, normalize_name(name))
    if account is None:
        raise NotFound("There is no user %(name)s.", name=name)
    return account


def find_person(db: Session, name: str) -> Person | None:
    """The person of that name; None when there is no such account or it is disabled."""
    statement = select(Account.display_name, AccountGrant.role, AccountGrant.scope).outerjoin(
        AccountGrant, AccountGrant.name == Account.name
    )
    rows = db.execute(statement.where(Account.name == name, Account.disabled_at.is_(None))).all()
    if not rows:
        return None
    return Person(name, rows[0].display_name, grants_from_rows(row[1:] for row in rows))


def disable_account(
    db: Session, name: str, *, now: datetime, actor: str = COMMAND_LINE.name
) -> None:
    """Close an account: nobody can sign in with it. Its sessions and tokens end at once."""
    account = load_account(db, name)
    account.disabled_at, account.disabled_by = now, actor
    delete_sessions(db, account.name)
    db.execute(delete(AccountToken).where(AccountToken.name == account.name))


def enable_account(db: Session, name: str) -> None:
    """Open a disabled account again."""
    account = load_account(db, name)
    account.disabled_at = account.disabled_by = None


def set_password(db: Session, name: str, *, now: datetime, password: str | None = None) -> str:
    """Set an account's password, generated unless given, and end its sessions. Returns it."""
    account = load_account(db, name)
    password = passwords.generate_password() if password is None else password
    replace_password(account, password, now)
    delete_sessions(db, account.name)
    login_throttle.reset_login_attempts(db, account.name)
    return password


def change_password(
    db: Session, person: Person, old: str, new: str, *, now: datetime, keep: str = ""
) -> None:
    """Change one's own password. Ends every session except the one whose token is `keep`."""
    account = load_account(db, person.name)
    if not passwords.verify_password(account.password_hash, old):
        raise UserError("The old password is not right.")
    replace_password(account, new, now)
    delete_sessions(db, account.name, keep=keep)


def replace_password(account: Account, password: str, now: datetime) -> None:
    passwords.validate_password(password, account.name)
    account.password_hash = passwords.hash_password(password)
    account.password_changed_at = now


def save_preferences(
    db: Session, person: Person, *, lang: str | None = None, theme: str | None = None
) -> None:
    """Store a person's language or theme; None leaves it as it is."""
    account = load_account(db, person.name)
    account.lang = lang or account.lang
    account.theme = theme or account.theme


def load_preferences(db: Session, person: Person) -> tuple[str | None, str | None]:
    """A person's language and theme, where they chose one."""
    account = load_account(db, person.name)
    return account.lang, account.theme


# ---- deletion ------------------------------------------------------------------------------------


def delete_own_account(db: Session, person: Person, password: str | None, *, now: datetime) -> None:
    """Delete an account with its roles, sessions and tokens. Only a digest of the name stays.

    Call it after everything else that refers to the account is deleted. `password` None is for a
    caller that has checked it already; an API token always needs it.
    """
    require_may_leave(db, person, password)
    account = load_account(db, person.name)
    delete_sessions(db, account.name)
    login_throttle.reset_login_attempts(db, account.name)
    for table in (AccountToken, AccountGrant):
        db.execute(delete(table).where(table.name == account.name))
    db.delete(account)
    db.add(DeletedAccountName(digest=passwords.digest_name(account.name), at=now))
    db.flush()


def require_may_leave(db: Session, person: Person, password: str | None) -> None:
    """Refuse to delete an account without its password, or the last administrator's.

    Locks the account's row, so nobody signs in with it until the transaction ends.
    """
    account = db.get(Account, person.name, with_for_update=True)
    if account is None:
        raise NotFound("There is no user %(name)s.", name=person.name)
    if password is None and person.token_scopes is not None:
        raise NotAllowed("An API token cannot do this without the password.")
    if password is not None and not passwords.verify_password(account.password_hash, password):
        raise UserError("The password is not right.")
    statement = (
        select(AccountGrant.name)
        .join(Account, Account.name == AccountGrant.name)
        .where(AccountGrant.role == "admin", Account.disabled_at.is_(None))
        .order_by(AccountGrant.name)
        .with_for_update(of=AccountGrant)
    )
    if set(db.scalars(statement)) == {account.name}:
        raise Conflict(
            "You are the last administrator. Please make somebody else one before you leave."
        )


def delete_sessions(db: Session, name: str, *, keep: str = "") -> None:
    """End every session of an account, except the one whose token is `keep`."""
    db.execute(
        delete(AccountSession).where(
            AccountSession.name == name, AccountSession.digest != digest_token(keep)
        )
    )


def grants_from_rows(rows: Iterable[Sequence[str | None]]) -> frozenset[tuple[str, str | None]]:
    """Grants from rows of role and scope; rows without a role are an outer join's."""
    return frozenset((role, scope or None) for role, scope in rows if role is not None)


def digest_token(token: str) -> str:
    """What is stored of a token. Tokens are long and random, so a fast digest is safe."""
    return sha256(token.encode()).hexdigest()
