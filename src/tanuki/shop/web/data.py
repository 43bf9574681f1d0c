"""Data: the files that were imported, a form to import another, and the rows in quarantine."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, Query, UploadFile
from pydantic import BaseModel

from tanuki.errors import UserError
from tanuki.i18n import Translate, msgid
from tanuki.platform.accounts import require_role
from tanuki.platform.database.types import MAX_OFFSET
from tanuki.platform.web.auth import CurrentPerson, Say
from tanuki.platform.web.pages import UPLOAD_BYTES, ActionResult, read_route, write_route
from tanuki.platform.web.site import Res
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop.ingest import loading, quarantine
from tanuki.shop.store_access import CHAIN_ROLES
from tanuki.shop.tables import QuarantinedRow

router = APIRouter(tags=["shop"])
Text = Annotated[str, Form()]
QUARANTINED_ROWS_PER_PAGE = 50
QUARANTINE_PATH = "/shop/data#quarantine"


class ImportRow(BaseModel):
    """An imported file, and what became of its rows."""

    id: int
    kind: str
    file_name: str
    rows: int
    new: int
    changed: int
    unchanged: int
    quarantined: int
    recorded_at: datetime
    by: str


class WaitingRow(BaseModel):
    """A row in quarantine: the value of `column` is not what was expected."""

    id: int
    import_id: int
    kind: str
    file_name: str
    row: int
    column: str
    actual: str
    expected: str
    values: dict[str, str]


class DataPage(BaseModel):
    """Imports, and a page of the quarantine."""

    imports: list[ImportRow]
    waiting: list[WaitingRow]
    total: int
    offset: int
    limit: int
    kinds: list[str]


@read_route(
    router,
    "/shop/data",
    "shop/data.html",
    csv=lambda page: [row.model_dump(exclude={"values"}) for row in page.waiting],
)
def show_data_page(
    db: Db, person: CurrentPerson, say: Say, offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0
) -> DataPage:
    """The imported files, and the rows in quarantine."""
    waiting = quarantine.list_waiting_rows(
        db, person, limit=QUARANTINED_ROWS_PER_PAGE, offset=offset
    )
    return DataPage(
        imports=[
            ImportRow(**{field: getattr(file, field) for field in ImportRow.model_fields})
            for file in loading.list_imports(db, person)
        ],
        waiting=[build_waiting_row(row, say) for row in waiting],
        total=quarantine.count_waiting_rows(db),
        offset=offset,
        limit=QUARANTINED_ROWS_PER_PAGE,
        kinds=list(reversed(loading.FILE_KINDS)),
    )


def build_waiting_row(row: QuarantinedRow, say: Translate) -> WaitingRow:
    """A row with its values by column, also the wrong one when the file lacked its column."""
    values = {name: str(value or "") for name, value in row.values.items()}
    if row.column in loading.list_column_names(row.kind):
        values.setdefault(row.column, "")
    return WaitingRow(
        id=row.id,
        import_id=row.import_id,
        kind=row.kind,
        file_name=row.file_name,
        row=row.row,
        column=row.column,
        actual=row.actual,
        expected=quarantine.render_expected(row, say),
        values=values,
    )


@write_route(router, "/shop/data", max_bytes=UPLOAD_BYTES)
def upload_file(
    db: WriteDb, person: CurrentPerson, res: Res, kind: Text, file: UploadFile, mapping: Text = ""
) -> ActionResult:
    """Import a file. `mapping` names unusual columns, such as `units=qty`, one a line."""
    require_role(person, *CHAIN_ROLES)
    if not file.filename:
        raise UserError("Please choose a file.")
    result = loading.import_file(
        db,
        res.warehouse,
        loading.Upload(kind, file.filename, file.file.read(), parse_column_mapping(mapping)),
        by=person.name,
        now=datetime.now(UTC),
    )
    fields = ("file_name", "new", "changed", "unchanged", "quarantined")
    message = msgid(
        "%(file_name)s: %(new)s rows new, %(changed)s changed, %(unchanged)s already known, "
        "%(quarantined)s in quarantine."
    )
    return ActionResult("/shop/data", message, {field: getattr(result, field) for field in fields})


def parse_column_mapping(text: str) -> dict[str, str]:
    """Our column name to the file's, from `units=qty, date=day` or one pair a line."""
    pairs = [pair.strip() for pair in text.replace(",", "\n").splitlines() if pair.strip()]
    if any("=" not in pair for pair in pairs):
        raise UserError("Column names are given as ours=theirs, e.g. units=qty.")
    return {
        own_name.strip(): file_name.strip()
        for own_name, _, file_name in (pair.partition("=") for pair in pairs)
    }


class RowForm(BaseModel):
    """The names and values of a row's columns."""

    name: list[str]
    value: list[str]


@write_route(router, "/shop/data/quarantine/{row}/fix")
def fix_quarantined_row(
    db: WriteDb,
    person: CurrentPerson,
    res: Res,
    row: int,
    form: Annotated[RowForm, Form()],
) -> ActionResult:
    """Correct a row: the names and values of its columns."""
    if len(form.name) != len(form.value):
        raise UserError("The form is incomplete: every column needs a value.")
    quarantine.fix_row(
        db,
        res.warehouse,
        person,
        row,
        dict(zip(form.name, form.value, strict=True)),
        datetime.now(UTC),
    )
    return ActionResult(QUARANTINE_PATH, msgid("The row is corrected and counts now."))


@write_route(router, "/shop/data/quarantine/{row}/drop")
def drop_quarantined_row(db: WriteDb, person: CurrentPerson, row: int, why: Text) -> ActionResult:
    """Leave a row out for good."""
    quarantine.drop_row(db, person, row, why=why, now=datetime.now(UTC))
    return ActionResult(QUARANTINE_PATH, msgid("The row is left out."))


@write_route(router, "/shop/data/imports/{import_id}/drop")
def drop_quarantined_import(
    db: WriteDb, person: CurrentPerson, import_id: int, why: Text
) -> ActionResult:
    """Leave out all rows of an import that are still in quarantine."""
    count = quarantine.drop_import_rows(db, person, import_id, why=why, now=datetime.now(UTC))
    return ActionResult(QUARANTINE_PATH, msgid("%(count)s rows are left out."), {"count": count})
