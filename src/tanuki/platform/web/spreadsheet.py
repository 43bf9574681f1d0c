"""Rows as CSV that spreadsheets open as they were meant: in the right encoding, and no text as a formula."""

import csv
import io
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from tanuki import i18n


def table(rows: Any) -> bytes:
    """Models, mappings or a polars frame as CSV in UTF-8 with a byte order mark."""
    records = (
        rows.to_dicts()
        if hasattr(rows, "to_dicts")
        else [row.model_dump() if isinstance(row, BaseModel) else dict(row) for row in rows]
    )
    columns = (
        list(rows.columns) if hasattr(rows, "columns") else list(records[0]) if records else []
    )
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([[cell(record[name]) for name in columns] for record in records])
    return b"\xef\xbb\xbf" + made.getvalue().encode()


def cell(value: Any) -> Any:
    """A value in a CSV cell. A text that a spreadsheet would take for a formula is marked as text."""
    if isinstance(value, datetime):
        return value.astimezone(i18n.TOKYO).isoformat(timespec="seconds")
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
