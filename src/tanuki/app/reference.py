"""The reference pages, made from the settings and the commands themselves: `python -m tanuki.app.reference` writes them, `--check` compares."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tanuki import settings
from tanuki.app.cli import tanuki
from tanuki.cli.main import run_command_line

FOLDER = Path(__file__).parents[3] / "docs" / "reference"
MADE = "<!-- Made by `python -m tanuki.app.reference`; change the code, not this page. -->"
Leaf = tuple[str, click.Command, click.Context]


@click.command(
    help="Write docs/reference/settings.md and commands.md, or check that they are current (exit code 1 when not)."
)
@click.option("--check", is_flag=True, help="Write nothing; name the pages that are stale.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    show_default="docs/reference",
    help="Where the pages are.",
)
def reference(check: bool, folder: Path) -> None:
    wanted = pages()
    stale = [
        name
        for name, text in wanted.items()
        if not (folder / name).is_file() or (folder / name).read_text("utf-8") != text
    ]
    if check:
        for name in stale:
            click.echo(
                f"docs/reference/{name} is stale; run `python -m tanuki.app.reference`.", err=True
            )
        sys.exit(1 if stale else 0)
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (folder / name).write_text(wanted[name], "utf-8")
        click.echo(f"wrote docs/reference/{name}")


def pages() -> dict[str, str]:
    """Every generated page: file name to text."""
    return {"settings.md": settings_page(), "commands.md": commands_page()}


def settings_page() -> str:
    """Every setting in a table."""
    rows = "\n".join(
        f"| `{row['name']}` | {row['takes']} | {code(row['default'])} | {cell(row['help'])} |"
        for row in settings.table(settings.read({}))
    )
    return f"""# Settings

{MADE}

Environment variables, read once when a command starts. Everything works with nothing set. `NAME_FILE` names a file that holds the value of
`NAME`, for secrets. A name that begins with `{settings.PREFIX}` and is not in this table stops the command. `tanuki settings` shows what is in force.

| name | takes | default | what it is |
|---|---|---|---|
{rows}
"""


def commands_page() -> str:
    """Every command with its arguments and options."""
    return "\n".join(
        ["# Commands", "", MADE, "", *(section(leaf) for leaf in leaves(tanuki, "tanuki", None))]
    )


def leaves(command: click.Command, name: str, parent: click.Context | None) -> Iterator[Leaf]:
    """Every command that does something, groups opened, in the order in which help lists them."""
    context = click.Context(command, info_name=name.split()[-1], parent=parent)
    if not isinstance(command, click.Group):
        yield name, command, context
        return
    if command.invoke_without_command:
        yield name, command, context
    for child in command.list_commands(context):
        found = command.get_command(context, child)
        assert found is not None, f"{name} {child} is listed and not there"
        yield from leaves(found, f"{name} {child}", context)


def section(leaf: Leaf) -> str:
    """One command: its usage, what it does, its options."""
    name, command, context = leaf
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}", "", f"`{usage}`", "", (command.help or "").strip(), ""]
    options = [
        record
        for param in command.params
        if (record := param.get_help_record(context)) and record[1]
    ]
    if options:
        parts += [
            "| option | |",
            "|---|---|",
            *(f"| `{cell(names)}` | {cell(what)} |" for names, what in options),
            "",
        ]
    return "\n".join(parts)


def code(text: str) -> str:
    """A default value: as code, or nothing when it is empty."""
    return f"`{text}`" if text else ""


def cell(text: str) -> str:
    """Text that may stand in a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    run_command_line(reference)
