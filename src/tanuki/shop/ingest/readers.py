"""From a file's bytes to a frame of text with our column names: encodings, delimiters, headers, and what cannot be read at all."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tanuki.errors import UserError
from tanuki.shop.ingest.schemas import Layout

ROW = "_row"  # 1 is the first line after the header
RAGGED = "_ragged"  # how many values a row has that does not have as many as the header
SIGNS = {
    b"pk\x03\x04": "a zip archive or Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%pdf": "a PDF",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x89png": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"<htm": "a web page",
    b"<!do": "a web page",
    b"<?xm": "XML",
    b"{": "JSON",
    b"[": "JSON",
}


def read(layout: Layout, name: str, content: bytes, mapping: Mapping[str, str]) -> pl.DataFrame:
    """A file's rows as text under our column names, with ROW and RAGGED. Raises UserError, naming the file, when it is no such file."""
    if not content.strip():
        raise UserError(
            "%(file)s is empty; expected a header and rows of %(kind)s.",
            file=name,
            kind=layout.kind,
        )
    names = {
        each.strip().casefold()
        for column in layout.columns
        for each in (column.name, *column.names)
    }
    names |= {theirs.strip().casefold() for theirs in mapping.values()}
    frame, marks = (
        (parquet(name, content), None)
        if content[:4] == b"PAR1"
        else delimited(name, content, names)
    )
    frame = renamed(layout, name, frame, mapping)
    if frame.is_empty():
        raise UserError(
            "%(file)s has a header and no rows; expected rows of %(kind)s.",
            file=name,
            kind=layout.kind,
        )
    texts = frame.with_columns(pl.all().str.strip_chars().replace("", None))
    if marks is None:
        return texts.with_row_index(ROW, offset=1).with_columns(
            pl.lit(None, pl.Int64).alias(RAGGED)
        )
    return texts.with_columns(marks)


def parquet(name: str, content: bytes) -> pl.DataFrame:
    """A Parquet file's rows as text.

    Read by Arrow and handed on as plain text: a damaged file makes Polars' own reader end the whole process.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        table.validate(full=True)
        once(name, table.column_names)
        return pl.DataFrame(
            {column: plain(table.column(n)) for n, column in enumerate(table.column_names)},
            strict=False,
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as wrong:
        raise UserError(
            "%(file)s is not a whole Parquet file; expected one, or CSV.", file=name
        ) from wrong


def plain(column: Any) -> pl.Series:
    """An Arrow column as text; moments as their day; nothing where it holds what no cell can hold (lists, records)."""
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        return pl.Series([None] * len(column), dtype=pl.String)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.date32(), safe=False)
    made = pl.from_arrow(pa.chunked_array(column.cast(pa.large_string()).chunks, pa.large_string()))
    assert isinstance(made, pl.Series)
    return made


def delimited(
    name: str, content: bytes, names: set[str]
) -> tuple[pl.DataFrame, list[pl.Series] | None]:
    """A CSV file's rows as text, whatever its encoding (UTF-8, Shift-JIS) and delimiter; where rows are uneven, their ROW and RAGGED.

    `names` are those that a file's only column may have.
    """
    begin = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:4].lower()
    for sign, what in SIGNS.items():
        if begin.startswith(sign):
            raise UserError("%(file)s is %(what)s; expected CSV or Parquet.", file=name, what=what)
    text = decoded(name, content).replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if "\0" in text:
        raise UserError(
            "%(file)s is not text; expected CSV in UTF-8 or Shift-JIS, or Parquet.", file=name
        )
    head = text.split("\n", 1)[0]
    delimiter = max(",\t;", key=head.count)
    if delimiter not in head and head.strip('" ').casefold() not in names:
        raise UserError(
            "%(file)s has only one column in its header; expected values separated by commas, tabs or semicolons.",
            file=name,
        )
    header = [
        cell.strip() or f"\0{n}" for n, cell in enumerate(cells(head, delimiter))
    ]  # \0: no name, and none that a file can have
    once(name, header)
    try:
        frame = pl.read_csv(
            io.StringIO(text), separator=delimiter, infer_schema=False, raise_if_empty=False
        )
    except pl.exceptions.PolarsError:
        return uneven(text, header, delimiter)
    if (
        frame.width != len(header)
        or "\n\n" in text
        or (frame.height and frame[frame.columns[-1]].has_nulls())
    ):
        return uneven(
            text, header, delimiter
        )  # a last value that is missing may mean a row that is too short
    frame.columns = header
    return frame, None


def uneven(text: str, header: list[str], delimiter: str) -> tuple[pl.DataFrame, list[pl.Series]]:
    """Rows of which some have more or fewer values than the header, with ROW and RAGGED. What is too much stays with the last value."""
    if '"' in text:
        return row_by_row(text, header, delimiter)
    lines = pl.DataFrame({"line": text.split("\n")}).with_row_index(ROW).slice(1)
    lines = lines.filter(pl.col("line").str.strip_chars(delimiter + " \t") != "")
    width = pl.col("line").str.count_matches(delimiter, literal=True).cast(pl.Int64) + 1
    marks = lines.select(ROW, pl.when(width != len(header)).then(width).alias(RAGGED)).get_columns()
    frame = lines.select(pl.col("line").str.splitn(delimiter, len(header))).unnest("line")
    frame.columns = header
    return frame, marks


def once(name: str, header: Sequence[str]) -> None:
    """Raises UserError when two columns have one name."""
    for column, times in Counter(each.strip().casefold() for each in header).items():
        if times > 1:
            raise UserError(
                "%(file)s has the column %(column)s more than once; expected each once.",
                file=name,
                column=column,
            )


def decoded(name: str, content: bytes) -> str:
    """Bytes as text: UTF-8, UTF-16 that says so, or Shift-JIS; never two of them in one file."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        lines = [(n, line) for n, line in enumerate(content.split(b"\n"), 1) if not line.isascii()]
    utf8 = [n for n, line in lines if decodes(line, "utf-8")]
    others = [n for n, line in lines if not decodes(line, "cp932" if not utf8 else "utf-8")]
    if others:
        line = max(utf8[0], others[0]) if utf8 else others[0]  # where the second encoding begins
        raise UserError(
            "%(file)s, line %(line)s, is neither UTF-8 nor Shift-JIS; expected one of them throughout.",
            file=name,
            line=line,
        )
    return content.decode("cp932")


def decodes(line: bytes, encoding: str) -> bool:
    """Whether a line is text in an encoding."""
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def row_by_row(
    text: str, header: list[str], delimiter: str
) -> tuple[pl.DataFrame, list[pl.Series]]:
    """The same, slowly, for files with quotes."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    widths: list[int | None] = []
    for line, values in lines_of(text, len(header), delimiter):
        if not any(value.strip() for value in values):
            continue
        numbers.append(line - 1)
        widths.append(None if len(values) == len(header) else len(values))
        last = delimiter.join(values[len(header) - 1 :])
        rows.append([*values[: len(header) - 1], *[""] * (len(header) - 1 - len(values)), last])
    frame = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    return frame, [pl.Series(ROW, numbers, pl.UInt32), pl.Series(RAGGED, widths, pl.Int64)]


def lines_of(text: str, width: int, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows below the header, each with its first line. A quote that is never closed spoils its own line and not those after it."""
    found: list[tuple[int, list[str]]] = []
    lines = text.split("\n")
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    before = 0
    try:
        for values in reader:
            spans = reader.line_num - before
            if spans > 1 and len(values) != width:
                return [(n, cells(line, delimiter)) for n, line in enumerate(lines, 1)][1:]
            found.append((before + 1, values))
            before = reader.line_num
    except csv.Error:  # a cell that never ends
        return [(n, cells(line, delimiter)) for n, line in enumerate(lines, 1)][1:]
    return found[1:]


def cells(line: str, delimiter: str) -> list[str]:
    """One line's values."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a value too long to be one
        return line.split(delimiter)


def renamed(
    layout: Layout, name: str, frame: pl.DataFrame, mapping: Mapping[str, str]
) -> pl.DataFrame:
    """Our names for the file's columns; columns we do not know are left out."""
    there = {
        column.strip().casefold(): column for column in frame.columns if not column.startswith("\0")
    }
    ours = {column.name for column in layout.columns}
    for our, theirs in mapping.items():
        if our not in ours:
            raise UserError(
                "--map %(our)s=…: %(kind)s have no column %(our)s; expected one of %(known)s.",
                our=our,
                kind=layout.kind,
                known=", ".join(sorted(ours)),
            )
        if theirs.strip().casefold() not in there:
            raise UserError(
                "%(file)s has no column %(column)s, which --map names.", file=name, column=theirs
            )
    chosen: dict[str, str] = {}
    for column in layout.columns:
        wanted = (
            [mapping[column.name].strip()]
            if column.name in mapping
            else [column.name, *column.names]
        )
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
    return frame.select(pl.col(theirs).alias(our) for theirs, our in chosen.items())
