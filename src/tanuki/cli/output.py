"""How commands talk: found by name without importing their code, tables for people, JSON lines for machines, one sentence for an error."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, for machines."
)


class Commands(click.Group):
    """A group whose commands are `{name: ("module:command", "one line of help")}`, imported only when called."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in self.lazy.items()])


@contextmanager
def resources() -> Iterator["Resources"]:
    """The engines for one command; the embedded database is brought up to date first."""
    from tanuki import settings
    from tanuki.app import bootstrap

    made = bootstrap.resources(settings.read())
    try:
        yield made
    finally:
        bootstrap.close(made)


def emit(
    rows: Sequence[Mapping[str, Any]], as_json: bool, columns: Sequence[str] | None = None
) -> None:
    """Print rows: one JSON object a line, or a table with aligned columns (numbers to the right)."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False, default=plain))
        return
    if not rows:
        click.echo("(nothing)")
        return
    names = list(columns or rows[0])
    cells = [[text(row.get(name)) for name in names] for row in rows]
    wide = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    right = [
        all(isinstance(row.get(name), int | float) or row.get(name) is None for row in rows)
        for name in names
    ]
    for line in [names, *cells]:
        click.echo(
            "  ".join(
                c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, wide, right, strict=True)
            ).rstrip()
        )


def tell_passwords(passwords: Mapping[str, str]) -> None:
    """New people's passwords, or that there are none to show any more."""
    if not passwords:
        click.echo("The users are there already; their passwords were shown when they were made.")
        return
    click.echo("Passwords, shown only now:")
    wide = max(map(len, passwords))
    for name, password in passwords.items():
        click.echo(f"  {name.ljust(wide)}  {password}")


def text(value: Any) -> str:
    """A value in a table for people: floats with two digits, moments to the second, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, datetime):
        return value.astimezone().isoformat(sep=" ", timespec="seconds")
    return value.isoformat() if isinstance(value, date) else str(value)


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def run(command: Callable[[], Any]) -> None:
    """Run a command line and end the process; what a person can fix is one sentence on stderr and exit code 2.

    Runs that wait for people sit in threads of this process until their deadline. What they wait for is in the database, so the process
    ends without them, and the next worker goes on.
    """
    from tanuki.errors import UserError

    code: object = 0
    try:
        command()
    except UserError as error:
        click.echo(str(error), err=True)
        code = 2
    except SystemExit as end:
        code = end.code
    if (
        threading.active_count() > 1
    ):  # those that a daemon thread began are daemons, too, and still waited for by their pool
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
    sys.exit(code if isinstance(code, int) or code is None else str(code))
