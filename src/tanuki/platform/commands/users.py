"""`tanuki users`: who may sign in, with which roles; new passwords and API tokens, each printed once."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tanuki.cli.output import emit, json_option
from tanuki.errors import UserError
from tanuki.platform import accounts, tokens
from tanuki.platform.commands.context import open_resources

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

password_option = click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File whose first line is the password; otherwise one is made and printed once.",
)


@click.group()
def users() -> None:
    """People who may sign in."""


@users.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(accounts.ROLES),
    help="What they may do; may be given again.",
)
@click.option("--store", "stores", multiple=True, help="A manager's store; may be given again.")
@click.option(
    "--display", default="", help="The name that pages show; the name itself when left out."
)
@password_option
def add(
    name: str,
    roles: tuple[str, ...],
    stores: tuple[str, ...],
    display: str,
    password_file: Path | None,
) -> None:
    """Make an account and print its password, this once."""
    grants = grants_of(roles, stores)
    with open_resources() as res, res.db.write() as db:
        password = accounts.add_user(db, accounts.NewUser(name, grants, display_name=display, password=read_password(password_file)), datetime.now(UTC))
    say_password(accounts.normalize_name(name), password, password_file)


@users.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Everybody, with their roles."""
    with open_resources() as res, res.db.read() as db:
        rows = [
            {
                "name": account.name,
                "display": account.display_name,
                "roles": in_words(grants),
                "created_at": account.created_at,
                "created_by": account.created_by,
                "disabled_at": account.disabled_at,
            }
            for account, grants in accounts.load_accounts(db)
        ]
    emit(rows, as_json)


@users.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice(accounts.ROLES),
    help="What they may do from now on; may be given again.",
)
@click.option("--store", "stores", multiple=True, help="A manager's store; may be given again.")
def grant(name: str, roles: tuple[str, ...], stores: tuple[str, ...]) -> None:
    """Give an account more roles, such as moderator to a member."""
    with open_resources() as res, res.db.write() as db:
        for role, store in grants_of(roles, stores):
            accounts.grant_role(db, name, accounts.Grant(role, store), datetime.now(UTC))
        say_roles(db, name)


@users.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice(accounts.ROLES),
    help="What they may no longer do; may be given again.",
)
@click.option(
    "--store",
    "stores",
    multiple=True,
    help="A store that they no longer manage; may be given again.",
)
def withdraw(name: str, roles: tuple[str, ...], stores: tuple[str, ...]) -> None:
    """Take roles from an account; it keeps at least one."""
    with open_resources() as res, res.db.write() as db:
        for role, store in grants_of(roles, stores):
            accounts.revoke_role(db, name, accounts.Grant(role, store))
        say_roles(db, name)


@users.command()
@click.argument("name")
def disable(name: str) -> None:
    """Shut an account: its sessions and tokens end at once."""
    with open_resources() as res, res.db.write() as db:
        accounts.disable_account(db, name, now=datetime.now(UTC))
    click.echo(f"{accounts.normalize_name(name)} can no longer sign in.")


@users.command()
@click.argument("name")
def enable(name: str) -> None:
    """Open a disabled account again."""
    with open_resources() as res, res.db.write() as db:
        accounts.enable_account(db, name)
    click.echo(f"{accounts.normalize_name(name)} can sign in again.")


@users.command("password")
@click.argument("name")
@password_option
def password_(name: str, password_file: Path | None) -> None:
    """Give a new password and end the account's sessions."""
    with open_resources() as res, res.db.write() as db:
        password = accounts.set_password(
            db, name, password=read_password(password_file), now=datetime.now(UTC)
        )
    say_password(accounts.normalize_name(name), password, password_file)


@users.command()
@click.argument("name")
@click.argument("label")
@click.option("--days", type=int, default=365, show_default=True, help="How long it lasts.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(tokens.TOKEN_SCOPES),
    help="What it is for besides reading; may be given again.",
)
def token(name: str, label: str, days: int, scopes: tuple[str, ...]) -> None:
    """Make an API token for what LABEL says and print it, this once."""
    with open_resources() as res, res.db.write() as db:
        made = tokens.create_token(db, name, tokens.NewToken(label, scopes=scopes, days=days), datetime.now(UTC))
    click.echo(made)


def grants_of(roles: tuple[str, ...], stores: tuple[str, ...]) -> list[tuple[str, str | None]]:
    """Roles and stores as grants; stores belong to managers."""
    if bool(stores) != ("manager" in roles):
        raise UserError("A manager needs at least one store, and only managers have stores.")
    everywhere: list[tuple[str, str | None]] = [(role, None) for role in roles if role != "manager"]
    return everywhere + [("manager", store) for store in stores]


def in_words(grants: Iterable[tuple[str, str | None]]) -> str:
    """Grants as they are listed: `analyst manager:chiba`."""
    return " ".join(sorted(role if scope is None else f"{role}:{scope}" for role, scope in grants))


def say_roles(db: "Session", name: str) -> None:
    """Print what an account's roles are now."""
    found = accounts.load_account(db, name)
    click.echo(f"{found.name} has the roles: {in_words(accounts.load_grants(db, found.name))}")


def read_password(file: Path | None) -> str | None:
    """The first line of the file, if there is one."""
    if file is None:
        return None
    lines = file.read_text(encoding="utf-8").splitlines()
    return lines[0] if lines else ""


def say_password(name: str, password: str, file: Path | None) -> None:
    """Print a password that was made here; one from a file is known already."""
    click.echo(
        f"{name} can sign in with the password in {file}."
        if file
        else f"{name} can sign in. Password, shown this once: {password}"
    )
