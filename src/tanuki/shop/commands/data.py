"""Data from the command line: bring files in, see what waits in quarantine, ask what was sold."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from tanuki.cli.output import emit, json_option
from tanuki.errors import UserError
from tanuki.platform.commands.context import open_resources

SHOWN = 10  # quarantined rows that are shown after an import

PATH = click.Path(path_type=Path)


@click.command(
    "import",
    help="Bring in files, CSV or Parquet; each option may be given more than once. Masters come first whatever the order.",
)
@click.option("--sales", multiple=True, type=PATH)
@click.option("--stores", multiple=True, type=PATH)
@click.option("--items", multiple=True, type=PATH)
@click.option("--prices", multiple=True, type=PATH)
@click.option("--regions", multiple=True, type=PATH)
@click.option("--stock", multiple=True, type=PATH)
@click.option("--promotions", multiple=True, type=PATH)
@click.option("--deliveries", multiple=True, type=PATH)
@click.option("--weather", multiple=True, type=PATH)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="OURS=THEIRS",
    help="The file's name for one of our columns, e.g. units=qty.",
)
@json_option
def import_(mapping: tuple[str, ...], as_json: bool, **given: tuple[Path, ...]) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop.ingest import loading, quarantine

    names = dict(each.partition("=")[::2] for each in mapping)
    if any(not ours or not theirs for ours, theirs in names.items()):
        raise UserError("--map takes OURS=THEIRS, e.g. units=qty.")
    if not any(given.values()):
        raise UserError("Name at least one file, e.g. --sales sales.csv.")
    unknown = set(names) - {
        name for kind in loading.FILE_KINDS if given.get(kind) for name in loading.list_column_names(kind)
    }
    if unknown:
        raise UserError(
            "--map names %(names)s, which none of these files has.",
            names=", ".join(sorted(unknown)),
        )
    rows: list[dict[str, Any]] = []
    waiting: list[str] = []
    with open_resources() as res:
        for kind in loading.FILE_KINDS:
            for file in given.get(kind, ()):
                content = content_of(file)
                with res.db.write() as db:
                    ours = {
                        name: theirs
                        for name, theirs in names.items()
                        if name in loading.list_column_names(kind)
                    }
                    made = loading.import_file(
                        db,
                        res.warehouse,
                        kind,
                        file.name,
                        content,
                        by="command line",
                        now=datetime.now(UTC),
                        mapping=ours,
                    )
                    rows.append(report(made))
                    if made.quarantined:
                        held = quarantine.list_waiting_rows(db, COMMAND_LINE, import_id=made.id, limit=SHOWN)
                        waiting += [sentence(row) for row in held]
    emit(rows, as_json)
    total = sum(row["quarantined"] for row in rows)
    if total and not as_json:
        click.echo(f"{total} rows wait in quarantine (`tanuki shop quarantine list`):")
        for line in waiting[:SHOWN]:
            click.echo(f"  {line}")


def content_of(file: Path) -> bytes:
    """A file's bytes."""
    try:
        return file.read_bytes()
    except OSError as why:
        raise UserError(
            "%(file)s cannot be read: %(why)s.",
            file=str(file),
            why=why.strerror or why.__class__.__name__,
        ) from why


def report(made: Any) -> dict[str, Any]:
    """An import as one row."""
    return {
        name: getattr(made, name)
        for name in ("kind", "file_name", "rows", "new", "changed", "unchanged", "quarantined")
    }


def sentence(row: Any) -> str:
    """A quarantined row in one sentence."""
    return f"{row.id}: {row.file_name}, row {row.row}, {row.column}: found {row.found or 'nothing'}, expected {row.expected}"


@click.group(help="Rows that could not be believed: they wait until somebody fixes or drops them.")
def quarantine() -> None: ...


@quarantine.command("list", help="Rows that wait, oldest first.")
@click.option("--limit", default=200, show_default=True)
@json_option
def list_(limit: int, as_json: bool) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop.ingest import quarantine as rows

    with open_resources() as res, res.db.read() as db:
        names = ("id", "kind", "file_name", "row", "column", "found", "expected")
        shown = [
            {name: getattr(row, name) for name in names}
            for row in rows.list_waiting_rows(db, COMMAND_LINE, limit=limit)
        ]
    emit(shown, as_json)


@quarantine.command(help="Put right a row's values: `fix 12 units=8 date=2021-01-03`.")
@click.argument("row", type=int)
@click.argument("values", nargs=-1, required=True)
def fix(row: int, values: tuple[str, ...]) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop.ingest import quarantine as rows

    if any("=" not in value for value in values):
        raise UserError("Expected column=value, e.g. units=8.")
    with open_resources() as res, res.db.write() as db:
        rows.fix_row(
            db,
            res.warehouse,
            COMMAND_LINE,
            row,
            dict(value.partition("=")[::2] for value in values),
            datetime.now(UTC),
        )
        click.echo(f"Row {row} counts now.")


@quarantine.command(help="Leave rows out for good: one by its number, or all of an import.")
@click.argument("row", type=int, required=False)
@click.option("--import", "import_id", type=int, help="All waiting rows of this import.")
@click.option("--why", required=True)
def drop(row: int | None, import_id: int | None, why: str) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop.ingest import quarantine as rows

    if (row is None) == (import_id is None):
        raise UserError("Name a row, or an import with --import.")
    with open_resources() as res, res.db.write() as db:
        if row is not None:
            rows.drop_row(db, COMMAND_LINE, row, why=why, now=datetime.now(UTC))
            click.echo(f"Row {row} is dropped.")
        elif import_id is not None:
            click.echo(
                f"{rows.drop_import_rows(db, COMMAND_LINE, import_id, why=why, now=datetime.now(UTC))} rows are dropped."
            )


@click.command(help="Sales by day, week or month, of everything or by region, store, item.")
@click.option(
    "--by", type=click.Choice(["day", "week", "month"]), default="week", show_default=True
)
@click.option(
    "--group",
    type=click.Choice(["all", "region", "store", "item"]),
    default="all",
    show_default=True,
)
@click.option("--from", "first", help="First day; the beginning, unless given.")
@click.option("--to", "last", help="Last day; the end, unless given.")
@click.option("--region")
@click.option("--store")
@click.option("--item")
@json_option
def sales(
    by: Any,
    group: Any,
    first: str | None,
    last: str | None,
    region: str | None,
    store: str | None,
    item: str | None,
    as_json: bool,
) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import sales as sold

    now = datetime.now(UTC)
    with open_resources() as res, res.db.read() as db:
        known = sold.span(db, res.warehouse, COMMAND_LINE, now)
        if known.first is None or known.last is None:
            emit([], as_json)
            return
        frame = sold.totals(
            db,
            res.warehouse,
            COMMAND_LINE,
            by=by,
            group=group,
            first=day(first) or known.first,
            last=day(last) or known.last,
            as_of=now,
            region=region,
            store=store,
            item=item,
        )
    emit(frame.to_dicts(), as_json)


def day(text: str | None) -> date | None:
    """A day given on the command line."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as wrong:
        raise UserError(
            "%(text)s is not a day; expected one such as 2021-01-31.", text=text
        ) from wrong
