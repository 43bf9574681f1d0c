"""`tanuki users`: accounts, their roles, passwords and API tokens. Secrets are printed once."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from tanuki.cli.context import echo
from tanuki.cli.output import emit, json_option
from tanuki.errors import UserError
from tanuki.platform import accounts, tokens
from tanuki.platform.accounts import Grant, NewUser
from tanuki.platform.commands.context import open_resources
from tanuki.platform.tokens import NewToken

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Command = TypeVar("Command", bound=Callable[..., None])

password_option = click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file whose first line is the password. Without it a password is generated and printed.",
)


def grant_options(*, required: bool) -> Callable[[Command], Command]:
    """Decorator: the options `--role` and `--store` of a command about roles."""
    role = click.option(
        "--role",
        "roles",
        multiple=True,
        required=required,
        type=click.Choice(accounts.ROLES),
        help="A role; may be given again.",
    )
    store = click.option(
        "--store", "stores", multiple=True, help="A manager's store; may be given again."
    )

    def decorate(command: Command) -> Command:
        return role(store(command))

    return decorate


@click.group(help="Accounts: add, list, disable, roles, passwords, API tokens.")
def users() -> None: ...


@users.command("add", help="Create an account and print its password, this once.")
@click.argument("name")
@grant_options(required=False)
@click.option("--display", default="", help="The name that pages show; without it, the name.")
@password_option
def add_user(
    name: str,
    roles: tuple[str, ...],
    stores: tuple[str, ...],
    display: str,
    password_file: Path | None,
) -> None:
    user = NewUser(name, parse_grants(roles, stores), display, read_password(password_file))
    with open_resources() as res, res.db.write() as db:
        password = accounts.add_user(db, user, datetime.now(UTC))
    print_password(name, password, password_file)


@users.command("list", help="List all accounts with their roles.")
@json_option
def list_users(as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        rows = [
            {
                "name": account.name,
                "display": account.display_name,
                "roles": format_grants(grants),
                "created_at": account.created_at,
                "created_by": account.created_by,
                "disabled_at": account.disabled_at,
            }
            for account, grants in accounts.load_accounts(db)
        ]
    emit(rows, as_json)


@users.command("grant", help="Give an account more roles, such as moderator to a member.")
@click.argument("name")
@grant_options(required=True)
def grant_roles(name: str, roles: tuple[str, ...], stores: tuple[str, ...]) -> None:
    with open_resources() as res, res.db.write() as db:
        for grant in parse_grants(roles, stores):
            accounts.grant_role(db, name, grant, datetime.now(UTC))
        print_roles(db, name)


@users.command("withdraw", help="Take roles from an account. It keeps at least one.")
@click.argument("name")
@grant_options(required=True)
def revoke_roles(name: str, roles: tuple[str, ...], stores: tuple[str, ...]) -> None:
    with open_resources() as res, res.db.write() as db:
        for grant in parse_grants(roles, stores):
            accounts.revoke_role(db, name, grant)
        print_roles(db, name)


@users.command("disable", help="Disable an account: its sessions and tokens end at once.")
@click.argument("name")
def disable_user(name: str) -> None:
    with open_resources() as res, res.db.write() as db:
        accounts.disable_account(db, name, now=datetime.now(UTC))
    echo("%(name)s can no longer sign in.", name=accounts.normalize_name(name))


@users.command("enable", help="Enable a disabled account again.")
@click.argument("name")
def enable_user(name: str) -> None:
    with open_resources() as res, res.db.write() as db:
        accounts.enable_account(db, name)
    echo("%(name)s can sign in again.", name=accounts.normalize_name(name))


@users.command("password", help="Set a new password and end the account's sessions.")
@click.argument("name")
@password_option
def set_user_password(name: str, password_file: Path | None) -> None:
    with open_resources() as res, res.db.write() as db:
        password = accounts.set_password(
            db, name, password=read_password(password_file), now=datetime.now(UTC)
        )
    print_password(name, password, password_file)


@users.command("token", help="Create an API token, named by LABEL, and print it, this once.")
@click.argument("name")
@click.argument("label")
@click.option("--days", type=int, default=365, show_default=True, help="How long it lasts.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(tokens.TOKEN_SCOPES),
    help="What it may do besides reading; may be given again.",
)
def create_user_token(name: str, label: str, days: int, scopes: tuple[str, ...]) -> None:
    with open_resources() as res, res.db.write() as db:
        token = tokens.create_token(db, name, NewToken(label, scopes, days), datetime.now(UTC))
    click.echo(token)


def parse_grants(roles: tuple[str, ...], stores: tuple[str, ...]) -> list[Grant]:
    """Roles and stores as grants: a manager's role once for each store."""
    if bool(stores) != ("manager" in roles):
        raise UserError("A manager needs at least one store, and only managers have stores.")
    grants = [Grant(role) for role in roles if role != "manager"]
    return grants + [Grant("manager", store) for store in stores]


def format_grants(grants: Iterable[tuple[str, str | None]]) -> str:
    """Grants as they are listed: `analyst manager:chiba`."""
    return " ".join(sorted(role if scope is None else f"{role}:{scope}" for role, scope in grants))


def print_roles(db: "Session", name: str) -> None:
    account = accounts.load_account(db, name)
    roles = format_grants(accounts.load_grants(db, account.name))
    echo("%(name)s has the roles: %(roles)s", name=account.name, roles=roles)


def read_password(file: Path | None) -> str | None:
    """The first line of the file, if there is a file."""
    if file is None:
        return None
    lines = file.read_text(encoding="utf-8").splitlines()
    return lines[0] if lines else ""


def print_password(name: str, password: str, file: Path | None) -> None:
    """Print a generated password. One from a file is known already."""
    name = accounts.normalize_name(name)
    if file:
        echo("%(name)s can sign in with the password in %(file)s.", name=name, file=file)
    else:
        echo(
            "%(name)s can sign in. Password, shown this once: %(password)s",
            name=name,
            password=password,
        )
