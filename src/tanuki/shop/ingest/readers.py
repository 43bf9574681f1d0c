"""Readers: a file's bytes become a frame of text with our column names.

They handle encodings, delimiters and headers, and refuse files that cannot be read at all.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from tanuki.errors import UserError
from tanuki.shop.ingest.schemas import Layout

if TYPE_CHECKING:
    import pyarrow as pa

ROW = "_row"  # 1 is the first line after the header
RAGGED = "_ragged"  # the number of values of a row that has more or fewer than the header
NAMELESS = "\0"  # begins the name of a column without one; no file can have it
MAX_COLUMNS_NAMED = 20  # in an error's sentence
FILE_SIGNATURES = {  # of files that are not text, in lower case
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

Frame = tuple[pl.DataFrame, list[pl.Series] | None]  # rows; of uneven rows their ROW and RAGGED


def read_rows(
    layout: Layout, name: str, content: bytes, mapping: Mapping[str, str]
) -> pl.DataFrame:
    """A file's rows as text under our column names, with ROW and RAGGED.

    Empty cells are null. Raises UserError, naming the file, when it is no file of this kind.
    """
    if not content.strip():
        raise UserError(
            "%(file)s is empty; expected a header and rows of %(kind)s.",
            file=name,
            kind=layout.kind,
        )
    if content[:4] == b"PAR1":
        frame, row_columns = read_parquet(name, content), None
    else:
        frame, row_columns = read_delimited(name, content, known_names(layout, mapping))
    frame = rename_columns(layout, name, frame, mapping)
    if frame.is_empty():
        raise UserError(
            "%(file)s has a header and no rows; expected rows of %(kind)s.",
            file=name,
            kind=layout.kind,
        )
    texts = frame.with_columns(pl.all().str.strip_chars().replace("", None))
    if row_columns is None:
        return texts.with_row_index(ROW, offset=1).with_columns(
            pl.lit(None, pl.Int64).alias(RAGGED)
        )
    return texts.with_columns(row_columns)


def known_names(layout: Layout, mapping: Mapping[str, str]) -> set[str]:
    """The names that columns of this file may have, in lower case."""
    names = {name for column in layout.columns for name in (column.name, *column.aliases)}
    return {name.strip().casefold() for name in (*names, *mapping.values())}


def read_parquet(name: str, content: bytes) -> pl.DataFrame:
    """A Parquet file's rows as text.

    Arrow reads the file and hands its values on as plain text, because a damaged file makes the
    Parquet reader of Polars end the whole process.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        table.validate(full=True)
        require_unique_columns(name, table.column_names)
        return pl.DataFrame(
            {
                column: to_text_series(table.column(n))
                for n, column in enumerate(table.column_names)
            },
            strict=False,
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            "%(file)s is not a whole Parquet file; expected one, or CSV.", file=name
        ) from error


def to_text_series(column: "pa.ChunkedArray") -> pl.Series:
    """An Arrow column as text: timestamps as their day, lists and records as null."""
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        return pl.Series([None] * len(column), dtype=pl.String)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.date32(), safe=False)
    series = pl.from_arrow(
        pa.chunked_array(column.cast(pa.large_string()).chunks, pa.large_string())
    )
    assert isinstance(series, pl.Series)
    return series


def read_delimited(name: str, content: bytes, names: set[str]) -> Frame:
    """A CSV file's rows as text, in UTF-8, UTF-16 or Shift-JIS, with commas, tabs or semicolons.

    names: what the only column of a file may be called, in lower case.
    """
    begin = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:4].lower()
    for signature, what in FILE_SIGNATURES.items():
        if begin.startswith(signature):
            raise UserError("%(file)s is %(what)s; expected CSV or Parquet.", file=name, what=what)
    text = decode_text(name, content).replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if "\0" in text:
        raise UserError(
            "%(file)s is not text; expected CSV in UTF-8 or Shift-JIS, or Parquet.", file=name
        )
    head = text.split("\n", 1)[0]
    delimiter = max(",\t;", key=head.count)
    if delimiter not in head and head.strip('" ').casefold() not in names:
        raise UserError(
            "%(file)s has only one column in its header; "
            "expected values separated by commas, tabs or semicolons.",
            file=name,
        )
    header = [
        cell.strip() or f"{NAMELESS}{n}" for n, cell in enumerate(split_cells(head, delimiter))
    ]
    require_unique_columns(name, header)
    try:
        frame = pl.read_csv(
            io.StringIO(text), separator=delimiter, infer_schema=False, raise_if_empty=False
        )
    except pl.exceptions.PolarsError:
        return split_uneven_rows(text, header, delimiter)
    # Polars fills a row that is too short with nulls, so a missing last value may be such a row.
    missing_last_value = bool(frame.height) and frame[frame.columns[-1]].has_nulls()
    if frame.width != len(header) or "\n\n" in text or missing_last_value:
        return split_uneven_rows(text, header, delimiter)
    frame.columns = header
    return frame, None


def split_uneven_rows(text: str, header: list[str], delimiter: str) -> Frame:
    """Rows of which some have more or fewer values than the header, with ROW and RAGGED.

    Surplus values stay with the last one.
    """
    if '"' in text:
        return parse_quoted_rows(text, header, delimiter)
    lines = pl.DataFrame({"line": text.split("\n")}).with_row_index(ROW).slice(1)
    lines = lines.filter(pl.col("line").str.strip_chars(delimiter + " \t") != "")
    width = pl.col("line").str.count_matches(delimiter, literal=True).cast(pl.Int64) + 1
    row_columns = lines.select(
        ROW, pl.when(width != len(header)).then(width).alias(RAGGED)
    ).get_columns()
    frame = lines.select(pl.col("line").str.splitn(delimiter, len(header))).unnest("line")
    frame.columns = header
    return frame, row_columns


def require_unique_columns(name: str, header: Sequence[str]) -> None:
    """Raises UserError when two columns have one name."""
    for column, count in Counter(cell.strip().casefold() for cell in header).items():
        if count > 1:
            raise UserError(
                "%(file)s has the column %(column)s more than once; expected each once.",
                file=name,
                column=column,
            )


def decode_text(name: str, content: bytes) -> str:
    """Bytes as text: UTF-8, UTF-16 with a byte order mark, or Shift-JIS; one of them throughout.

    docs/decisions/libraries.md says why no library detects the encoding.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        lines = [(n, line) for n, line in enumerate(content.split(b"\n"), 1) if not line.isascii()]
    utf8 = [n for n, line in lines if can_decode(line, "utf-8")]
    others = [n for n, line in lines if not can_decode(line, "utf-8" if utf8 else "cp932")]
    if others:
        line = max(utf8[0], others[0]) if utf8 else others[0]  # where the second encoding begins
        raise UserError(
            "%(file)s, line %(line)s, is neither UTF-8 nor Shift-JIS; "
            "expected one of them throughout.",
            file=name,
            line=line,
        )
    return content.decode("cp932")


def can_decode(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def parse_quoted_rows(text: str, header: list[str], delimiter: str) -> Frame:
    """The same as `split_uneven_rows` for files with quotes, slowly."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    widths: list[int | None] = []
    for line, values in parse_quoted_lines(text, len(header), delimiter):
        if not any(value.strip() for value in values):
            continue
        numbers.append(line - 1)
        widths.append(None if len(values) == len(header) else len(values))
        last = delimiter.join(values[len(header) - 1 :])
        rows.append([*values[: len(header) - 1], *[""] * (len(header) - 1 - len(values)), last])
    frame = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    return frame, [pl.Series(ROW, numbers, pl.UInt32), pl.Series(RAGGED, widths, pl.Int64)]


def parse_quoted_lines(text: str, width: int, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows below the header, each with the number of its first line.

    A quote that is never closed must spoil only its own line. So where a row over several lines has
    not as many values as the header, or does not end, every line is parsed by itself.
    """
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    before = 0
    try:
        for values in reader:
            spans_lines = reader.line_num - before > 1
            if spans_lines and len(values) != width:
                return list(parse_single_lines(text, delimiter))[1:]
            rows.append((before + 1, values))
            before = reader.line_num
    except csv.Error:
        return list(parse_single_lines(text, delimiter))[1:]
    return rows[1:]


def parse_single_lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        yield number, split_cells(line, delimiter)


def split_cells(line: str, delimiter: str) -> list[str]:
    """The values of one line."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # the csv module refuses values of more than 131,072 characters
        return line.split(delimiter)


def rename_columns(
    layout: Layout, name: str, frame: pl.DataFrame, mapping: Mapping[str, str]
) -> pl.DataFrame:
    """The frame under our column names; unknown columns are left out.

    mapping: the file's name by our name. Raises UserError for a required column that is missing.
    """
    file_columns = {
        column.strip().casefold(): column
        for column in frame.columns
        if not column.startswith(NAMELESS)
    }
    mapped = resolve_mapping(layout, name, mapping, file_columns)
    chosen: dict[str, str] = {}
    for column in layout.columns:
        candidates = (
            [mapped[column.name]] if column.name in mapped else [column.name, *column.aliases]
        )
        file_column = next(
            (
                file_columns[candidate.casefold()]
                for candidate in candidates
                if candidate.casefold() in file_columns
            ),
            None,
        )
        if file_column is not None and file_column not in chosen:
            chosen[file_column] = column.name
        elif column.required:
            raise UserError(
                "%(file)s has no column for %(column)s (%(names)s); its columns are %(there)s. "
                "Name it with --map %(column)s=….",
                file=name,
                column=column.name,
                names=", ".join(dict.fromkeys([column.name, *column.aliases])),
                there=", ".join(list(file_columns.values())[:MAX_COLUMNS_NAMED]),
            )
    return frame.select(pl.col(file_column).alias(our) for file_column, our in chosen.items())


def resolve_mapping(
    layout: Layout, name: str, mapping: Mapping[str, str], file_columns: Mapping[str, str]
) -> dict[str, str]:
    """The mapping by the names of our columns. Raises UserError for a column that is not there."""
    mapped = {}
    for our, theirs in mapping.items():
        column = layout.find_column(our)
        if column is None:
            raise UserError(
                "--map %(our)s=…: %(kind)s have no column %(our)s; expected one of %(known)s.",
                our=our,
                kind=layout.kind,
                known=", ".join(sorted(column.name for column in layout.columns)),
            )
        if theirs.strip().casefold() not in file_columns:
            raise UserError(
                "%(file)s has no column %(column)s, which --map names.", file=name, column=theirs
            )
        mapped[column.name] = theirs.strip()
    return mapped
