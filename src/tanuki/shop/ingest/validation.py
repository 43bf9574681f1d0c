"""Row checks of every kind of file, vectorised. A bad row gets the sentence of its first fault."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from tanuki.i18n import msgid
from tanuki.shop.calendar import WEEKDAYS
from tanuki.shop.ingest.readers import RAGGED, ROW
from tanuki.shop.ingest.schemas import CODE, COUNT, DAY, NUMBER, TEXT, Layout
from tanuki.shop.prices import add_price_in_force
from tanuki.shop.tables import ServiceClass

FIRST_DAY = date(1990, 1, 1)
LAST_DAY = date(2100, 12, 31)  # price lists end in 2099
MAX_CODE_LENGTH = 200
MAX_UNITS_PER_DAY = 1_000_000  # of one item in one store
# Sales are implausible above this multiple of the series' median day plus this margin.
MAX_MEDIAN_MULTIPLE = 50
MEDIAN_MULTIPLE_MARGIN_UNITS = 1_000
MIN_ROWS_FOR_MEDIAN = 3  # of a series in a file
AMOUNT_TOLERANCE_YEN = 0.5
WEEKDAY_NAMES = {
    **{name: n for n, name in enumerate(WEEKDAYS, 1)},
    **{
        name: n
        for n, name in enumerate(
            ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"), 1
        )
    },
    **{name: n for n, name in enumerate("月火水木金土日", 1)},
    **{f"{name}曜日": n for n, name in enumerate("月火水木金土日", 1)},
}
PAST_ONLY_KINDS = {"sales", "stock"}  # their days cannot be in the future
MINIMUMS = {  # the smallest value of each column, in every kind of file
    "case_units": 1,
    "min_cases": 0,
    "max_cases": 0,
    "shelf_life_days": 1,
    "shortage_cost_yen": 0,
    "leftover_cost_yen": 0,
    "shelf_units": 0,
    "truck_cases": 0,
    "price_yen": 0,
    "discount": 0,
}
THOUSANDS = r"^\s*[+-]?\d{1,3}(,\d{3})+(\.\d*)?\s*$"
DAY_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y年%m月%d日",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
)
MESSAGES: dict[str, str] = {  # what was expected, by code
    DAY: msgid("a day such as 2021-01-31"),
    CODE: msgid("a name"),
    TEXT: msgid("text"),
    COUNT: msgid("a whole number"),
    NUMBER: msgid("a number"),
    "ragged": msgid("as many values as the header has, not %(count)s"),
    "day_range": msgid("a day from %(first)s to %(last)s"),
    "code_length": msgid("a name of at most %(most)s characters"),
    "known_store": msgid("a known store"),
    "known_item": msgid("a known item"),
    "known_region": msgid("a known region"),
    "past": msgid("a day up to today, %(today)s"),
    "not_negative": msgid("zero or more"),
    "max_units": msgid("at most %(most)s a day"),
    "minimum": msgid("%(least)s or more"),
    "day_order": msgid("a day not before %(first)s"),
    "one_of": msgid("one of %(values)s"),
    "share": msgid("a share from 0 to 1"),
    "temperature": msgid("degrees Celsius from -60 to 60"),
    "implausible": msgid("at most %(most)s (the series' median is %(median)s)"),
    "weekday": msgid("%(weekday)s for %(day)s"),
    "iso_week": msgid("%(week)s, the ISO week of %(day)s"),
    "amount": msgid("%(amount)s (%(units)s × %(price)s yen, the price in force)"),
    "duplicate": msgid("one row for each %(keys)s; row %(row)s has it already"),
}


@dataclass(frozen=True)
class References:
    """The records with which rows are compared. None: not known, so nothing is compared.

    prices: item, store, applied_from, applied_to, price_yen.
    median_units: store, item, _usual: the median day of each series' known sales.
    """

    today: date
    stores: set[str] | None = None
    items: set[str] | None = None
    regions: set[str] | None = None
    prices: pl.DataFrame | None = None
    median_units: pl.DataFrame | None = None


@dataclass(frozen=True)
class RowCheck:
    """A check: where a row is wrong, in which column, and the code and values of its sentence."""

    wrong: pl.Expr
    column: str
    code: str
    values: dict[str, pl.Expr]


@dataclass
class RowChecks:
    """Checks in order. Of each row the first one that fails counts."""

    checks: list[RowCheck] = field(default_factory=list)

    def add(self, wrong: pl.Expr, column: str, code: str, **values: object) -> None:
        """Add a check. `values`: of its sentence, constants or expressions over the row."""
        expressions = {
            name: value if isinstance(value, pl.Expr) else pl.lit(str(value))
            for name, value in values.items()
        }
        self.checks.append(RowCheck(wrong.fill_null(False), column, code, expressions))


def parse_columns(layout: Layout, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with a parsed column `=name` beside each text column; null for unreadable text.

    Each distinct text is parsed once.
    """
    columns = []
    for column in layout.columns:
        kind = {DAY: pl.Date, COUNT: pl.Int64, NUMBER: pl.Float64}.get(column.type, pl.String)
        if column.name not in rows.columns:
            columns.append(pl.lit(None, kind).alias(f"={column.name}"))
        elif kind == pl.String:
            columns.append(pl.col(column.name).alias(f"={column.name}"))
        else:
            texts = rows.select(pl.col(column.name).unique()).drop_nulls()
            parsed = texts.select(parse_text(pl.col(column.name), column.type)).to_series()
            columns.append(
                pl.col(column.name)
                .replace_strict(texts.to_series(), parsed, default=None, return_dtype=kind)
                .alias(f"={column.name}")
            )
    return rows.with_columns(columns)


def parse_text(text: pl.Expr, type_: str) -> pl.Expr:
    """A text as a day, a whole number or a number."""
    text = text.str.normalize("NFKC")
    if type_ == DAY:
        days = [text.str.to_date(form, strict=False) for form in DAY_FORMATS]
        return pl.coalesce(
            pl.when(text.str.contains(r"^\d{8}$")).then(text.str.to_date("%Y%m%d", strict=False)),
            *days,
        )
    text = text.str.replace_all("[¥円]", "")
    # Only commas between thousands are left out: 1,5 is not fifteen.
    text = pl.when(text.str.contains(THOUSANDS)).then(text.str.replace_all(",", "")).otherwise(text)
    number = text.str.strip_chars().cast(pl.Float64, strict=False)
    number = pl.when(number.is_finite()).then(number)
    if type_ != COUNT:
        return number
    whole = (number.round() == number) & (number.abs() < 1e15)
    return pl.when(whole).then(number).cast(pl.Int64)


def validate_rows(
    layout: Layout, rows: pl.DataFrame, references: References
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Good rows, parsed; and for each bad row the columns of QuarantinedRow that describe it."""
    frame = parse_columns(layout, rows)
    frame = frame.with_columns(compute_context_columns(layout, frame, references))
    checks = RowChecks()
    add_column_checks(layout, checks, rows.columns)
    add_kind_checks(layout, checks, references)
    fault = pl.lit(None, pl.Int32)
    for n, check in reversed(list(enumerate(checks.checks))):
        fault = pl.when(check.wrong).then(pl.lit(n, pl.Int32)).otherwise(fault)
    frame = frame.with_columns(fault.alias("_fault"))
    frame = mark_duplicates(layout, frame, checks)
    good = frame.filter(pl.col("_fault").is_null())
    parsed = [pl.col(f"={column.name}").alias(column.name) for column in layout.columns]
    return good.select(ROW, *parsed), describe_faults(rows, frame, checks)


def describe_faults(
    rows: pl.DataFrame, frame: pl.DataFrame, checks: RowChecks
) -> list[dict[str, Any]]:
    """For each bad row: row, column, actual value, code and values of what was expected, values."""
    bad = frame.filter(pl.col("_fault").is_not_null())
    names = [name for name in rows.columns if name not in (ROW, RAGGED)]
    faults: list[dict[str, Any]] = []
    for n in bad["_fault"].unique().sort():
        check = checks.checks[n]
        sentence = {name: f"_expected_{name}" for name in check.values}
        columns = [
            value.cast(pl.String).alias(sentence[name]) for name, value in check.values.items()
        ]
        part = bad.filter(pl.col("_fault") == n).with_columns(columns)
        for row in part.select(ROW, *sentence.values(), *names).iter_rows(named=True):
            values = {name: row[name] for name in names}
            actual = (
                values.get(check.column)
                if check.column
                else ", ".join(str(value or "") for value in values.values())
            )
            faults.append(
                {
                    "row": row[ROW],
                    "column": check.column or "(row)",
                    "actual": str(actual or ""),
                    "expected": check.code,
                    "expected_values": {name: row[column] for name, column in sentence.items()},
                    "values": values,
                }
            )
    return sorted(faults, key=lambda fault: int(fault["row"]))


# ---- checks of each column -----------------------------------------------------------------------


def add_column_checks(layout: Layout, checks: RowChecks, columns: Iterable[str]) -> None:
    """Type, emptiness and range of each column that the file has or must have."""
    checks.add(pl.col(RAGGED).is_not_null(), "", "ragged", count=pl.col(RAGGED))
    for column in layout.columns:
        if column.name not in columns and not column.required:
            continue
        text, parsed = pl.col(column.name), pl.col(f"={column.name}")
        if not column.nullable:
            checks.add(text.is_null(), column.name, column.type)
        checks.add(text.is_not_null() & parsed.is_null(), column.name, column.type)
        if column.type == DAY:
            in_range = parsed.is_between(pl.lit(FIRST_DAY), pl.lit(LAST_DAY))
            checks.add(~in_range, column.name, "day_range", first=FIRST_DAY, last=LAST_DAY)
        if column.type == CODE:
            too_long = text.str.len_chars() > MAX_CODE_LENGTH
            checks.add(too_long, column.name, "code_length", most=MAX_CODE_LENGTH)


def add_kind_checks(layout: Layout, checks: RowChecks, references: References) -> None:
    """Checks that compare a row with the records, and its columns with each other."""
    names = {column.name for column in layout.columns}
    for name, codes in (
        ("store", references.stores),
        ("item", references.items),
        ("region", references.regions),
    ):
        if name in names and codes is not None:
            checks.add(~pl.col(f"={name}").is_in(sorted(codes)), name, f"known_{name}")
    if layout.kind in PAST_ONLY_KINDS:
        future = pl.col("=date") > pl.lit(references.today)
        checks.add(future, "date", "past", today=references.today)
    if "units" in names:
        checks.add(pl.col("=units") < 0, "units", "not_negative")
        too_many = pl.col("=units") > MAX_UNITS_PER_DAY
        checks.add(too_many, "units", "max_units", most=f"{MAX_UNITS_PER_DAY:,}")
    for name, least in MINIMUMS.items():
        if name in names:
            checks.add(pl.col(f"={name}") < least, name, "minimum", least=least)
    for first, last in (("applied_from", "applied_to"), ("date_from", "date_to")):
        if last in names:
            checks.add(pl.col(f"={last}") < pl.col(f"={first}"), last, "day_order", first=first)
    if "service_class" in names:
        classes = [str(service_class) for service_class in ServiceClass]
        unknown = ~pl.col("=service_class").is_in(classes)
        checks.add(unknown, "service_class", "one_of", values=", ".join(classes))
    if "discount" in names:
        checks.add(pl.col("=discount") > 1, "discount", "share")
    if "temperature_c" in names:
        in_range = pl.col("=temperature_c").is_between(-60, 60)
        checks.add(~in_range, "temperature_c", "temperature")
    if layout.kind == "sales":
        add_sales_checks(checks)


def add_sales_checks(checks: RowChecks) -> None:
    """Implausible sales, weekday and week against the date, amount against units × price."""
    most = pl.col("_median") * MAX_MEDIAN_MULTIPLE + MEDIAN_MULTIPLE_MARGIN_UNITS
    checks.add(
        pl.col("=units") > most,
        "units",
        "implausible",
        most=most.cast(pl.Int64),
        median=pl.col("_median").cast(pl.Int64),
    )
    weekday = (
        pl.col("=day_of_week")
        .str.to_uppercase()
        .replace_strict(WEEKDAY_NAMES, default=None, return_dtype=pl.Int8)
    )
    date_weekday = pl.col("=date").dt.weekday()
    weekday_name = date_weekday.replace_strict(
        dict(enumerate(WEEKDAYS, 1)), default="", return_dtype=pl.String
    )
    checks.add(
        pl.col("=day_of_week").is_not_null() & (weekday.is_null() | (weekday != date_weekday)),
        "day_of_week",
        "weekday",
        weekday=weekday_name,
        day=pl.col("=date"),
    )
    week = pl.col("=date").dt.week()
    checks.add(
        pl.col("=week_of_year") != week,
        "week_of_year",
        "iso_week",
        week=week,
        day=pl.col("=date"),
    )
    checks.add(pl.col("=amount_yen") < 0, "amount_yen", "not_negative")
    amount = pl.col("=units") * pl.col("_price")
    checks.add(
        (pl.col("=amount_yen") - amount).abs() > AMOUNT_TOLERANCE_YEN,
        "amount_yen",
        "amount",
        amount=amount.round().cast(pl.Int64),
        units=pl.col("=units"),
        price=pl.col("_price"),
    )


# ---- context of a row ----------------------------------------------------------------------------


def compute_context_columns(
    layout: Layout, frame: pl.DataFrame, references: References
) -> list[pl.Series]:
    """Columns that sales are compared with: `_median`, units; and `_price`, the price in force."""
    if layout.kind != "sales":
        return []
    prices = pl.Series("_price", [None] * frame.height, dtype=pl.Float64)
    if references.prices is not None and not references.prices.is_empty():
        keys = frame.select(
            ROW,
            pl.col("=date").alias("date"),
            pl.col("=store").alias("store"),
            pl.col("=item").alias("item"),
        )
        priced = add_price_in_force(keys, references.prices).sort(ROW)
        prices = priced["price_yen"].alias("_price")
    return [compute_median_units(frame, references), prices]


def compute_median_units(frame: pl.DataFrame, references: References) -> pl.Series:
    """The median day of each row's series.

    Of its known sales; without any, of its rows in the file; with fewer than MIN_ROWS_FOR_MEDIAN
    rows there, of all rows in the file.
    """
    series = ["=store", "=item"]
    own = pl.when(pl.len().over(series) >= MIN_ROWS_FOR_MEDIAN).then(
        pl.col("=units").median().over(series)
    )
    medians = frame.select(*series, own.alias("_own"), pl.col("=units").median().alias("_all"))
    if references.median_units is None:
        return medians.select(pl.coalesce("_own", "_all").alias("_median")).to_series()
    known = references.median_units.rename({"store": "=store", "item": "=item"})
    medians = medians.join(known, on=series, how="left", maintain_order="left")
    return medians.select(pl.coalesce("_usual", "_own", "_all").alias("_median")).to_series()


def mark_duplicates(layout: Layout, frame: pl.DataFrame, checks: RowChecks) -> pl.DataFrame:
    """Give the last fault to good rows whose keys an earlier good row of the file has already."""
    keys = [
        pl.col(f"={key}").fill_null("") if layout.column(key).type == CODE else pl.col(f"={key}")
        for key in layout.keys
    ]
    good = frame.filter(pl.col("_fault").is_null()).select(ROW, *keys)
    names = [f"={key}" for key in layout.keys]
    checks.add(
        pl.col("_first").is_not_null(),
        layout.keys[-1],
        "duplicate",
        keys=", ".join(layout.keys),
        row=pl.col("_first"),
    )
    duplicates = good.filter(good.select(names).is_duplicated())
    if duplicates.is_empty():
        return frame.with_columns(pl.lit(None, pl.UInt32).alias("_first"))
    repeated = duplicates.with_columns(pl.col(ROW).first().over(names).alias("_first")).filter(
        pl.col(ROW) != pl.col("_first")
    )
    fault = pl.lit(len(checks.checks) - 1, pl.Int32)
    return frame.join(
        repeated.select(ROW, "_first"), on=ROW, how="left", maintain_order="left"
    ).with_columns(
        pl.when(pl.col("_first").is_not_null())
        .then(fault)
        .otherwise(pl.col("_fault"))
        .alias("_fault")
    )
