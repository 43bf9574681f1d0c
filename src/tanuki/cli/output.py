"""What commands print: tables for people, JSON lines for programs, new passwords."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tanuki.cli.context import echo, say

COLLECTED_PASSWORDS = "tanuki.collected_passwords"  # key of the click context's meta
WIDTH_OF_A_PIPE = 10_000  # columns: what reads a pipe wraps no lines

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, for programs."
)


def emit(
    rows: Sequence[Mapping[str, object]], as_json: bool, columns: Sequence[str] | None = None
) -> None:
    """Print rows: as one JSON object a line, or as a table of the columns (all, unless given)."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False, default=format_json_value))
        return
    if not rows:
        echo("(nothing)")
        return
    print_table(rows, list(columns or rows[0]))


def print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print a table; columns of numbers are aligned right."""
    console = open_console()
    table = Table(box=SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in columns:
        values = [row.get(column) for row in rows]
        numeric = all(value is None or isinstance(value, int | float) for value in values)
        table.add_column(Text(column), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(format_cell(row.get(column))) for column in columns))
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def print_panel(title: str, lines: Sequence[str]) -> None:
    """Print lines that must not be overlooked: in a frame on a terminal, plainly elsewhere."""
    console = open_console()
    if console.is_terminal:
        console.print(Panel(Text("\n".join(lines)), title=title, expand=False, padding=(1, 2)))
    else:
        click.echo("\n".join([title, *(f"  {line}" for line in lines)]))


def print_passwords(passwords: Mapping[str, str]) -> None:
    """Print the passwords of new users, or that there are none to show.

    After `collect_passwords` they are only collected.
    """
    collected = click.get_current_context().meta.get(COLLECTED_PASSWORDS)
    if collected is not None:
        collected.update(passwords)
    elif passwords:
        print_panel(say("Passwords, shown only now"), align_pairs(passwords))
    else:
        echo("The users exist already. Their passwords were shown when they were created.")


def collect_passwords() -> dict[str, str]:
    """A dictionary that later calls of `print_passwords` in this command fill."""
    collected: dict[str, str] = {}
    click.get_current_context().meta[COLLECTED_PASSWORDS] = collected
    return collected


def align_pairs(pairs: Mapping[str, str]) -> list[str]:
    """Two columns of text."""
    width = max(map(cell_len, pairs), default=0)
    return [f"{name}{' ' * (width - cell_len(name))}  {value}" for name, value in pairs.items()]


def open_console() -> Console:
    """Standard output; a table is as wide as the terminal, or as it likes in a file or pipe."""
    width = None if sys.stdout.isatty() else WIDTH_OF_A_PIPE
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def format_cell(value: object) -> str:
    """A value in a table: floats with two digits, moments to the second, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, datetime):
        return value.astimezone().isoformat(sep=" ", timespec="seconds")
    return value.isoformat() if isinstance(value, date) else str(value)


def format_json_value(value: object) -> str:
    """A value that JSON has no type for: moments and days in ISO 8601."""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
