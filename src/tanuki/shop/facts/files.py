"""From a file's bytes to a frame of text with our column names: encodings, delimiters, headers, and what cannot be read at all."""

import csv
import io
from collections import Counter
from collections.abc import Mapping

import polars as pl

from tanuki.errors import UserError
from tanuki.shop.facts.layouts import Layout

ROW = "_row"  # 1 is the first line after the header
RAGGED = "_ragged"  # how many values a row has that does not have as many as the header
SIGNS = {
    b"PK\x03\x04": "a zip archive or Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"<htm": "a web page",
    b"<!DO": "a web page",
    b"<!do": "a web page",
}


def read(layout: Layout, name: str, content: bytes, mapping: Mapping[str, str]) -> pl.DataFrame:
    """A file's rows as text under our column names, with ROW and RAGGED. Raises UserError, naming the file, when it is no such file."""
    if not content.strip():
        raise UserError("%(file)s is empty; expected a header and rows of %(kind)s.", file=name, kind=layout.kind)
    frame = parquet(name, content) if content[:4] == b"PAR1" else delimited(name, content)
    frame = renamed(layout, name, frame, mapping)
    if frame.is_empty():
        raise UserError("%(file)s has a header and no rows; expected rows of %(kind)s.", file=name, kind=layout.kind)
    return frame


def parquet(name: str, content: bytes) -> pl.DataFrame:
    """A Parquet file's rows as text."""
    try:
        frame = pl.read_parquet(io.BytesIO(content))
        texts = frame.with_columns(pl.all().cast(pl.String, strict=False))
    except (pl.exceptions.PolarsError, OSError) as wrong:
        raise UserError("%(file)s is not a whole Parquet file; expected one, or CSV.", file=name) from wrong
    return numbered(texts)


def delimited(name: str, content: bytes) -> pl.DataFrame:
    """A CSV file's rows as text, whatever its encoding (UTF-8, Shift-JIS) and delimiter (comma, tab, semicolon)."""
    for sign, what in SIGNS.items():
        if content.lstrip()[:4].startswith(sign):
            raise UserError("%(file)s is %(what)s; expected CSV or Parquet.", file=name, what=what)
    text = decoded(name, content)
    if "\0" in text:
        raise UserError("%(file)s is not text; expected CSV in UTF-8 or Shift-JIS, or Parquet.", file=name)
    head = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",\t;", key=head.count)
    header = [cell.strip() for cell in next(csv.reader([head.rstrip("\r")], delimiter=delimiter))]
    if len(header) < 2 and delimiter not in head:
        raise UserError("%(file)s has only one column in its header; expected values separated by commas, tabs or semicolons.", file=name)
    twice = [column for column, times in Counter(header).items() if times > 1 and column]
    if twice:
        raise UserError("%(file)s has the column %(column)s more than once; expected each once.", file=name, column=twice[0])
    try:
        frame = pl.read_csv(io.StringIO(text.lstrip("\r\n")), separator=delimiter, infer_schema=False, raise_if_empty=False)
    except pl.exceptions.PolarsError:
        return row_by_row(name, text, header, delimiter)
    if frame.width != len(header) or "" in header or frame[frame.columns[-1]].has_nulls():
        return row_by_row(name, text, header, delimiter)  # a last value that is missing may mean a row that is too short
    frame.columns = header
    return numbered(frame)


def decoded(name: str, content: bytes) -> str:
    """Bytes as text."""
    for encoding in ("utf-8-sig", "cp932", "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp932"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    line = content[: first_bad(content)].count(b"\n") + 1
    raise UserError("%(file)s, line %(line)s, is neither UTF-8 nor Shift-JIS; expected one of them throughout.", file=name, line=line)


def first_bad(content: bytes) -> int:
    """Where a text stops being UTF-8."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return wrong.start
    return len(content)


def row_by_row(name: str, text: str, header: list[str], delimiter: str) -> pl.DataFrame:
    """The same, slowly, for files in which some rows have more or fewer values than the header: those rows are marked."""
    rows, ragged = [], []
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter)
        for values in reader:
            if values:
                break
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            ragged.append(None if len(values) == len(header) else len(values))
            rows.append((values + [""] * len(header))[: len(header)])
    except csv.Error as wrong:
        raise UserError("%(file)s cannot be read as CSV after row %(row)s: %(why)s.", file=name, row=len(rows), why=str(wrong)) from wrong
    names = [column or f"_{n}" for n, column in enumerate(header)]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return numbered(frame, ragged)


def numbered(frame: pl.DataFrame, ragged: list[int | None] | None = None) -> pl.DataFrame:
    """Rows with their numbers."""
    texts = frame.with_columns(pl.all().cast(pl.String).str.strip_chars().replace("", None))
    marks = pl.Series(RAGGED, ragged, dtype=pl.Int64) if ragged is not None else pl.lit(None, pl.Int64).alias(RAGGED)
    return texts.with_row_index(ROW, offset=1).with_columns(marks)


def renamed(layout: Layout, name: str, frame: pl.DataFrame, mapping: Mapping[str, str]) -> pl.DataFrame:
    """Our names for the file's columns; columns we do not know are left out."""
    there = {column.casefold(): column for column in frame.columns if not column.startswith("_")}
    ours = {column.name for column in layout.columns}
    for our, theirs in mapping.items():
        if our not in ours:
            raise UserError(
                "--map %(our)s=…: %(kind)s have no column %(our)s; expected one of %(known)s.",
                our=our,
                kind=layout.kind,
                known=", ".join(sorted(ours)),
            )
        if theirs.casefold() not in there:
            raise UserError("%(file)s has no column %(column)s, which --map names.", file=name, column=theirs)
    chosen: dict[str, str] = {}
    for column in layout.columns:
        wanted = [mapping[column.name]] if column.name in mapping else [column.name, *column.names]
        found = next((there[each.casefold()] for each in wanted if each.casefold() in there), None)
        if found is not None and found not in chosen:
            chosen[found] = column.name
        elif column.required:
            raise UserError(
                "%(file)s has no column for %(column)s (%(names)s); its columns are %(there)s. Name it with --map %(column)s=….",
                file=name,
                column=column.name,
                names=", ".join(dict.fromkeys([column.name, *column.names])),
                there=", ".join(list(there.values())[:20]),
            )
    return frame.select(ROW, RAGGED, *(pl.col(theirs).alias(our) for theirs, our in chosen.items()))
