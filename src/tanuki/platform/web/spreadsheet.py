"""CSV that spreadsheet programs open correctly: in the right encoding, and no text as a formula."""

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from tanuki.i18n import TOKYO

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # OWASP: CSV injection


@runtime_checkable
class Frame(Protocol):
    """A polars frame; polars itself is not imported for sites that show none."""

    columns: list[str]

    def to_dicts(self) -> list[dict[str, object]]: ...


def write_csv(rows: object) -> bytes:
    """Models, mappings or a polars frame as CSV in UTF-8 with a byte order mark."""
    records: list[Mapping[str, object]]
    if isinstance(rows, Frame):
        records = [*rows.to_dicts()]
        columns = rows.columns
    else:
        assert isinstance(rows, Iterable)
        records = [row.model_dump() if isinstance(row, BaseModel) else dict(row) for row in rows]
        columns = list(records[0]) if records else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([[format_cell(record[name]) for name in columns] for record in records])
    return BYTE_ORDER_MARK + text.getvalue().encode()


def format_cell(value: object) -> object:
    """Times in Asia/Tokyo. A text that a spreadsheet would run as a formula is marked as text."""
    if isinstance(value, datetime):
        return value.astimezone(TOKYO).isoformat(timespec="seconds")
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
