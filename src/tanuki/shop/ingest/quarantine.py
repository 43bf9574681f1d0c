"""Rows that could not be believed: they wait until a person mends or drops them; what they said stays on record."""

from collections.abc import Mapping
from datetime import datetime

import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotFound, UserError
from tanuki.platform.accounts import Person, require
from tanuki.platform.warehouse import Warehouse
from tanuki.shop.ingest import validation
from tanuki.shop.ingest.loading import known, take
from tanuki.shop.ingest.readers import RAGGED, ROW
from tanuki.shop.ingest.schemas import LAYOUTS
from tanuki.shop.tables import QuarantinedRow


def waiting(
    db: Session, who: Person, *, import_id: int | None = None, limit: int = 200, offset: int = 0
) -> list[QuarantinedRow]:
    """Rows that wait, oldest first."""
    require(who, "analyst", "operator")
    query = select(QuarantinedRow).where(QuarantinedRow.status == "waiting")
    if import_id is not None:
        query = query.where(QuarantinedRow.import_id == import_id)
    return list(db.scalars(query.order_by(QuarantinedRow.id).limit(limit).offset(offset)))


def count(db: Session) -> int:
    """How many rows wait."""
    return int(
        db.scalar(
            select(func.count())
            .select_from(QuarantinedRow)
            .where(QuarantinedRow.status == "waiting")
        )
        or 0
    )


def fix(
    db: Session,
    warehouse: Warehouse,
    who: Person,
    row_id: int,
    values: Mapping[str, str],
    now: datetime,
) -> QuarantinedRow:
    """Put right some of a row's values; when it can be believed now, it counts. Otherwise UserError says why, and it waits on."""
    row = open_row(db, who, row_id)
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
    whole = {name: text(value) for name, value in {**row.values, **values}.items() if name in names}
    frame = pl.DataFrame(
        {name: [value] for name, value in whole.items()}, schema=dict.fromkeys(whole, pl.String)
    )
    frame = frame.with_columns(
        pl.lit(row.row, pl.UInt32).alias(ROW), pl.lit(None, pl.Int64).alias(RAGGED)
    )
    for column in layout.columns:
        if column.required and column.name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, pl.String).alias(column.name))
    good, bad = validation.sort(layout, frame, known(db, warehouse, layout, now))
    if bad:
        fault = bad[0]
        raise UserError(
            "Row %(row)s of %(file)s is still wrong: %(column)s is %(found)s, expected %(expected)s.",
            row=row.row,
            file=row.file_name,
            column=fault["column"],
            found=fault["found"] or "empty",
            expected=fault["expected"],
        )
    take(
        db, warehouse, layout, good, now, f"{row.file_name}, row {row.row}, put right by {who.name}"
    )
    row.status, row.decided_by, row.decided_at = "fixed", who.name, now
    row.why = ", ".join(f"{name}: {value}" for name, value in values.items())
    db.flush()
    return row


def text(value: object) -> str | None:
    """A value as a file would hold it; nothing when it is empty."""
    return None if value is None or not str(value).strip() else str(value).strip()


def drop(db: Session, who: Person, row_id: int, *, why: str, now: datetime) -> QuarantinedRow:
    """Leave a row out for good; it stays on record with who and why."""
    row = open_row(db, who, row_id)
    if not why.strip():
        raise UserError(
            "Please say why row %(row)s of %(file)s is dropped.", row=row.row, file=row.file_name
        )
    row.status, row.decided_by, row.decided_at, row.why = "dropped", who.name, now, why.strip()
    db.flush()
    return row


def drop_import(db: Session, who: Person, import_id: int, *, why: str, now: datetime) -> int:
    """Leave out all rows of one file that still wait; gives how many."""
    rows = waiting(db, who, import_id=import_id, limit=1_000_000)
    for row in rows:
        drop(db, who, row.id, why=why, now=now)
    return len(rows)


def open_row(db: Session, who: Person, row_id: int) -> QuarantinedRow:
    """A row that still waits."""
    require(who, "analyst", "operator")
    row = db.get(QuarantinedRow, row_id)
    if row is None:
        raise NotFound("There is no quarantined row %(row)s.", row=row_id)
    if row.status != "waiting":
        raise Conflict(
            "Row %(row)s was %(status)s by %(by)s already.",
            row=row_id,
            status=row.status,
            by=row.decided_by,
        )
    return row
