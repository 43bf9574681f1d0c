"""Quarantine: rows that failed a check wait until a person fixes or drops them."""

from collections.abc import Mapping
from datetime import datetime

import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import Translate, english
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.warehouse import Warehouse
from tanuki.shop.ingest import validation
from tanuki.shop.ingest.loading import load_references, load_rows
from tanuki.shop.ingest.readers import RAGGED, ROW
from tanuki.shop.ingest.schemas import LAYOUTS, Layout
from tanuki.shop.store_access import CHAIN_ROLES
from tanuki.shop.tables import QuarantinedRow, QuarantineStatus

MAX_ROWS_PER_DROP = 1_000_000


def list_waiting_rows(
    db: Session, person: Person, *, import_id: int | None = None, limit: int = 200, offset: int = 0
) -> list[QuarantinedRow]:
    """Waiting rows, oldest first; of one import or of all."""
    require_role(person, *CHAIN_ROLES)
    query = select(QuarantinedRow).where(QuarantinedRow.status == QuarantineStatus.WAITING)
    if import_id is not None:
        query = query.where(QuarantinedRow.import_id == import_id)
    return list(db.scalars(query.order_by(QuarantinedRow.id).limit(limit).offset(offset)))


def count_waiting_rows(db: Session) -> int:
    query = select(func.count()).where(QuarantinedRow.status == QuarantineStatus.WAITING)
    return int(db.scalar(query) or 0)


def render_expected(row: QuarantinedRow, say: Translate = english) -> str:
    """What was expected of a row's column."""
    return say(validation.MESSAGES[row.expected], **row.expected_values)


def fix_row(
    db: Session,
    warehouse: Warehouse,
    person: Person,
    row_id: int,
    values: Mapping[str, str],
    now: datetime,
) -> QuarantinedRow:
    """Replace some of a row's values and load it.

    Raises UserError while a check still fails; then the row waits on.
    """
    row = get_waiting_row(db, person, row_id)
    layout = LAYOUTS[row.kind]
    names = [column.name for column in layout.columns]
    for name in values:
        if name not in names:
            raise UserError(
                "%(kind)s have no column %(name)s; expected one of %(known)s.",
                kind=row.kind,
                name=name,
                known=", ".join(names),
            )
    frame = make_row_frame(layout, row, {**row.values, **values})
    references = load_references(db, warehouse, layout, now)
    good, bad = validation.validate_rows(layout, frame, references)
    if bad:
        fault = bad[0]
        raise UserError(
            "Row %(row)s of %(file)s is still wrong: "
            "%(column)s is %(found)s, expected %(expected)s.",
            row=row.row,
            file=row.file_name,
            column=fault["column"],
            found=fault["actual"] or "empty",
            expected=english(validation.MESSAGES[fault["expected"]], **fault["expected_values"]),
        )
    source = f"{row.file_name}, row {row.row}, put right by {person.name}"
    load_rows(db, warehouse, layout, good, now=now, source=source)
    row.status = QuarantineStatus.FIXED
    row.decided_by, row.decided_at = person.name, now
    row.why = ", ".join(f"{name}: {value}" for name, value in values.items())
    db.flush()
    return row


def make_row_frame(
    layout: Layout, row: QuarantinedRow, values: Mapping[str, object]
) -> pl.DataFrame:
    """One row as `readers.read_rows` would give it."""
    texts = {
        column.name: to_cell_text(values[column.name])
        for column in layout.columns
        if column.name in values
    }
    for column in layout.columns:
        if column.required:
            texts.setdefault(column.name, None)
    frame = pl.DataFrame(
        {name: [text] for name, text in texts.items()}, schema=dict.fromkeys(texts, pl.String)
    )
    return frame.with_columns(
        pl.lit(row.row, pl.UInt32).alias(ROW), pl.lit(None, pl.Int64).alias(RAGGED)
    )


def to_cell_text(value: object) -> str | None:
    """A value as a file would hold it; None when it is empty."""
    return None if value is None or not str(value).strip() else str(value).strip()


def drop_row(
    db: Session, person: Person, row_id: int, *, why: str, now: datetime
) -> QuarantinedRow:
    """Leave a row out for good; it stays on record with who and why."""
    row = get_waiting_row(db, person, row_id)
    if not why.strip():
        raise UserError(
            "Please say why row %(row)s of %(file)s is dropped.", row=row.row, file=row.file_name
        )
    row.status = QuarantineStatus.DROPPED
    row.decided_by, row.decided_at, row.why = person.name, now, why.strip()
    db.flush()
    return row


def drop_import_rows(
    db: Session, person: Person, import_id: int, *, why: str, now: datetime
) -> int:
    """Leave out all waiting rows of one import. Returns their number."""
    rows = list_waiting_rows(db, person, import_id=import_id, limit=MAX_ROWS_PER_DROP)
    for row in rows:
        drop_row(db, person, row.id, why=why, now=now)
    return len(rows)


def get_waiting_row(db: Session, person: Person, row_id: int) -> QuarantinedRow:
    """A waiting row. Raises NotFound, or Conflict for a row that was decided already."""
    require_role(person, *CHAIN_ROLES)
    row = db.get(QuarantinedRow, row_id)
    if row is None:
        raise NotFound("There is no quarantined row %(row)s.", row=row_id)
    if row.status != QuarantineStatus.WAITING:
        raise Conflict(
            "Row %(row)s was %(status)s by %(by)s already.",
            row=row_id,
            status=row.status,
            by=row.decided_by,
        )
    return row
