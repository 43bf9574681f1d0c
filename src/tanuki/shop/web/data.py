"""Data: files that came in, a form to bring in another, and the rows that wait in quarantine."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, Query, UploadFile
from pydantic import BaseModel

from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.accounts import require
from tanuki.platform.web.pages import UPLOAD_BYTES, Db, Done, Res, Who, WriteDb, action, page
from tanuki.shop.ingest import loading, quarantine
from tanuki.shop.store_access import CHAIN
from tanuki.shop.tables import QuarantinedRow

router = APIRouter()
Text = Annotated[str, Form()]
PAGE = 50
EXPECTED = (  # of what checks.py expects, the sentences without values: pages say them in the reader's language
    msgid("a name"),
    msgid("a known store"),
    msgid("a known item"),
    msgid("a known region"),
    msgid("zero or more"),
    msgid("a day such as 2021-01-31"),
    msgid("a whole number"),
    msgid("a number"),
)
MOST_ROWS = 1_000_000_000  # a larger offset is no number that a database takes


class ImportRow(BaseModel):
    """A file that came in, and what became of its rows."""

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


class Waiting(BaseModel):
    """A row that waits."""

    id: int
    import_id: int
    kind: str
    file_name: str
    row: int
    column: str
    found: str
    expected: str
    values: dict[str, str]


class DataView(BaseModel):
    """Imports, and a page of the quarantine."""

    imports: list[ImportRow]
    waiting: list[Waiting]
    total: int
    offset: int
    limit: int
    kinds: list[str]


def view(db: Db, who: Who, offset: Annotated[int, Query(ge=0, le=MOST_ROWS)] = 0) -> DataView:
    """What came in, and what waits."""
    return DataView(
        imports=[
            ImportRow(**{name: getattr(each, name) for name in ImportRow.model_fields})
            for each in loading.imports(db, who)
        ],
        waiting=[
            Waiting(
                **{name: getattr(each, name) for name in Waiting.model_fields if name != "values"},
                values=shown(each),
            )
            for each in quarantine.waiting(db, who, limit=PAGE, offset=offset)
        ],
        total=quarantine.count(db),
        offset=offset,
        limit=PAGE,
        kinds=list(reversed(loading.KINDS)),
    )


def shown(row: QuarantinedRow) -> dict[str, str]:
    """A row's values by column, the faulty one among them even when the file had none."""
    values = {name: str(value or "") for name, value in row.values.items()}
    return (
        values
        if row.column in values or row.column not in loading.columns(row.kind)
        else {**values, row.column: ""}
    )


def bring(
    db: WriteDb, who: Who, res: Res, kind: Text, file: UploadFile, mapping: Text = ""
) -> Done:
    """Bring in a file. `mapping` names columns that are not recognised: units=qty, one a line or separated by commas."""
    require(who, *CHAIN)
    if not file.filename:
        raise UserError("Please choose a file.")
    pairs = [
        splitline.strip()
        for splitline in mapping.replace(",", "\n").splitlines()
        if splitline.strip()
    ]
    if any("=" not in pair for pair in pairs):
        raise UserError("Column names are given as ours=theirs, e.g. units=qty.")
    named = {
        ours.strip(): theirs.strip() for ours, _, theirs in (pair.partition("=") for pair in pairs)
    }
    made = loading.import_file(
        db,
        res.warehouse,
        kind,
        file.filename,
        file.file.read(),
        by=who.name,
        now=datetime.now(UTC),
        mapping=named,
    )
    values = {
        name: getattr(made, name)
        for name in ("file_name", "new", "changed", "unchanged", "quarantined")
    }
    message = msgid(
        "%(file_name)s: %(new)s rows new, %(changed)s changed, %(unchanged)s as known, %(quarantined)s wait in quarantine."
    )
    return Done("/shop/data", message, values)


def fix(
    db: WriteDb,
    who: Who,
    res: Res,
    row: int,
    name: Annotated[list[str], Form()],
    value: Annotated[list[str], Form()],
) -> Done:
    """Put a row right: the names and values of its columns."""
    if len(name) != len(value):
        raise UserError("The form is not whole: expected a value for each column.")
    quarantine.fix(
        db, res.warehouse, who, row, dict(zip(name, value, strict=True)), datetime.now(UTC)
    )
    return Done("/shop/data#quarantine", msgid("The row counts now."))


def drop(db: WriteDb, who: Who, row: int, why: Text) -> Done:
    """Leave a row out for good."""
    quarantine.drop(db, who, row, why=why, now=datetime.now(UTC))
    return Done("/shop/data#quarantine", msgid("The row is left out."))


def drop_all(db: WriteDb, who: Who, import_id: int, why: Text) -> Done:
    """Leave out all rows of an import that still wait."""
    count = quarantine.drop_import(db, who, import_id, why=why, now=datetime.now(UTC))
    return Done("/shop/data#quarantine", msgid("%(count)s rows are left out."), {"count": count})


page(
    router,
    "/shop/data",
    view,
    "shop/data.html",
    csv=lambda view: [each.model_dump(exclude={"values"}) for each in view.waiting],
)
action(router, "/shop/data", bring, max_bytes=UPLOAD_BYTES)
action(router, "/shop/data/quarantine/{row}/fix", fix)
action(router, "/shop/data/quarantine/{row}/drop", drop)
action(router, "/shop/data/imports/{import_id}/drop", drop_all)
