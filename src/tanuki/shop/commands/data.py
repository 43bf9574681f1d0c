"""Data on the command line: import files, fix or drop quarantined rows, show sales."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from tanuki.cli.context import echo, say
from tanuki.cli.output import emit, json_option
from tanuki.errors import UserError
from tanuki.platform.accounts import COMMAND_LINE
from tanuki.platform.commands.context import open_resources
from tanuki.platform.resources import Resources
from tanuki.shop import sales as shop_sales
from tanuki.shop.ingest import loading
from tanuki.shop.ingest import quarantine as quarantined_rows
from tanuki.shop.ingest.loading import Upload
from tanuki.shop.ingest.schemas import LAYOUTS
from tanuki.shop.sales import SalesSelection
from tanuki.shop.tables import Import, QuarantinedRow

MAX_ROWS_AFTER_IMPORT = 10  # quarantined rows that are shown

PATH = click.Path(path_type=Path)


@click.command(
    "import",
    help="Import files, CSV or Parquet. Each option may be given more than once; "
    "masters are imported first.",
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
def import_(mapping: tuple[str, ...], as_json: bool, **files: tuple[Path, ...]) -> None:
    names = dict(pair.partition("=")[::2] for pair in mapping)
    if any(not ours or not theirs for ours, theirs in names.items()):
        raise UserError("--map takes OURS=THEIRS, e.g. units=qty.")
    kinds = [kind for kind in loading.FILE_KINDS if files.get(kind)]
    if not kinds:
        raise UserError("Name at least one file, e.g. --sales sales.csv.")
    unknown = [name for name in names if not any(LAYOUTS[kind].find_column(name) for kind in kinds)]
    if unknown:
        raise UserError(
            "--map names %(names)s, which none of these files has.",
            names=", ".join(sorted(unknown)),
        )
    with open_resources() as res:
        imports = [import_path(res, kind, path, names) for kind in kinds for path in files[kind]]
        emit([make_import_row(report) for report in imports], as_json)
        quarantined = sum(report.quarantined for report in imports)
        if quarantined and not as_json:
            echo(
                "%(count)s rows wait in quarantine (`tanuki shop quarantine list`):",
                count=quarantined,
            )
            for line in render_waiting_rows(res, imports):
                click.echo(f"  {line}")


def import_path(res: Resources, kind: str, path: Path, names: dict[str, str]) -> Import:
    """Import one file in a transaction of its own."""
    content = read_file(path)
    mapping = {ours: theirs for ours, theirs in names.items() if LAYOUTS[kind].find_column(ours)}
    with res.db.write() as db:
        report = loading.import_file(
            db,
            res.warehouse,
            Upload(kind, path.name, content, mapping),
            by="command line",
            now=datetime.now(UTC),
        )
        db.flush()
        db.expunge_all()
    return report


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            "%(file)s cannot be read: %(why)s.",
            file=str(path),
            why=error.strerror or error.__class__.__name__,
        ) from error


def make_import_row(report: Import) -> dict[str, Any]:
    columns = ("kind", "file_name", "rows", "new", "changed", "unchanged", "quarantined")
    return {column: getattr(report, column) for column in columns}


def render_waiting_rows(res: Resources, imports: list[Import]) -> list[str]:
    """One sentence for each of the first quarantined rows of these imports."""
    rows: list[QuarantinedRow] = []
    with res.db.read() as db:
        for report in imports:
            if report.quarantined:
                rows += quarantined_rows.list_waiting_rows(
                    db, COMMAND_LINE, import_id=report.id, limit=MAX_ROWS_AFTER_IMPORT
                )
        return [
            say(
                "%(id)s: %(file)s, row %(row)s, %(column)s: "
                "found %(actual)s, expected %(expected)s",
                id=row.id,
                file=row.file_name,
                row=row.row,
                column=row.column,
                actual=row.actual or say("nothing"),
                expected=quarantined_rows.render_expected(row, say),
            )
            for row in rows[:MAX_ROWS_AFTER_IMPORT]
        ]


@click.group(help="Rows that failed a check: they wait until somebody fixes or drops them.")
def quarantine() -> None: ...


@quarantine.command("list", help="Waiting rows, oldest first.")
@click.option("--limit", default=200, show_default=True)
@json_option
def list_quarantined(limit: int, as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        rows = [
            {
                "id": row.id,
                "kind": row.kind,
                "file_name": row.file_name,
                "row": row.row,
                "column": row.column,
                "actual": row.actual,
                "expected": quarantined_rows.render_expected(row),
            }
            for row in quarantined_rows.list_waiting_rows(db, COMMAND_LINE, limit=limit)
        ]
    emit(rows, as_json)


@quarantine.command("fix", help="Correct a row's values: `fix 12 units=8 date=2021-01-03`.")
@click.argument("row", type=int)
@click.argument("values", nargs=-1, required=True)
def fix_quarantined(row: int, values: tuple[str, ...]) -> None:
    if any("=" not in value for value in values):
        raise UserError("Expected column=value, e.g. units=8.")
    corrected = dict(value.partition("=")[::2] for value in values)
    with open_resources() as res, res.db.write() as db:
        quarantined_rows.fix_row(db, res.warehouse, COMMAND_LINE, row, corrected, datetime.now(UTC))
        echo("Row %(row)s is imported.", row=row)


@quarantine.command("drop", help="Leave rows out for good: one row, or all rows of an import.")
@click.argument("row", type=int, required=False)
@click.option("--import", "import_id", type=int, help="All waiting rows of this import.")
@click.option("--why", required=True)
def drop_quarantined(row: int | None, import_id: int | None, why: str) -> None:
    if (row is None) == (import_id is None):
        raise UserError("Name a row, or an import with --import.")
    now = datetime.now(UTC)
    with open_resources() as res, res.db.write() as db:
        if row is not None:
            quarantined_rows.drop_row(db, COMMAND_LINE, row, why=why, now=now)
            echo("Row %(row)s is dropped.", row=row)
        elif import_id is not None:
            count = quarantined_rows.drop_import_rows(db, COMMAND_LINE, import_id, why=why, now=now)
            echo("%(count)s rows are dropped.", count=count)


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
    by: shop_sales.Period,
    group: shop_sales.SalesGroup,
    first: str | None,
    last: str | None,
    as_json: bool,
    **filters: str | None,
) -> None:
    now = datetime.now(UTC)
    with open_resources() as res, res.db.read() as db:
        known = shop_sales.find_sales_range(db, res.warehouse, COMMAND_LINE, now)
        if known.first is None or known.last is None:
            emit([], as_json)
            return
        selection = SalesSelection(
            by, group, parse_day(first) or known.first, parse_day(last) or known.last, **filters
        )
        totals = shop_sales.sum_sales(db, res.warehouse, COMMAND_LINE, selection, now)
    emit(totals.to_dicts(), as_json)


def parse_day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UserError(
            "%(text)s is not a day; expected one such as 2021-01-31.", text=text
        ) from error
