"""Which rows can be believed: every check of every kind of file, vectorised; a bad row has one sentence, that of its first fault."""

from dataclasses import dataclass, field
from datetime import date

import polars as pl

from tanuki.shop.calendar import WEEKDAYS
from tanuki.shop.ingest.readers import RAGGED, ROW
from tanuki.shop.ingest.schemas import CODE, COUNT, DAY, EXPECTED, NUMBER, Layout

FIRST_DAY = date(1990, 1, 1)
LAST_DAY = date(2100, 12, 31)  # price lists end in 2099
MOST_UNITS = 1_000_000  # a day, a store, an item
ABSURD_TIMES = 50  # this many times the series' median …
ABSURD_ROOM = 1_000  # … and this much more
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
CLASSES = ("A", "B", "C")  # of service: how often an item must be there at least
PAST = {"sales", "stock"}  # kinds whose days cannot lie ahead
THOUSANDS = r"^\s*[+-]?\d{1,3}(,\d{3})+(\.\d*)?\s*$"
DAY_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y年%m月%d日",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
)


@dataclass(frozen=True)
class Known:
    """What rows are compared with. A set that is None is not known, so anything goes."""

    today: date
    stores: set[str] | None = None
    items: set[str] | None = None
    regions: set[str] | None = None
    prices: pl.DataFrame | None = None  # item, store, applied_from, applied_to, price_yen
    usual: pl.DataFrame | None = (
        None  # store, item, _usual: the median of what each series is known to have sold
    )


@dataclass
class Faults:
    """Checks in order: where a row is wrong, in which column, and what was expected (text or a column expression)."""

    found: list[tuple[pl.Expr, str, pl.Expr]] = field(default_factory=list)

    def add(self, wrong: pl.Expr, column: str, expected: str | pl.Expr) -> None:
        """One more check."""
        self.found.append(
            (
                wrong.fill_null(False),
                column,
                pl.lit(expected) if isinstance(expected, str) else expected,
            )
        )


def typed(layout: Layout, rows: pl.DataFrame) -> pl.DataFrame:
    """Text and, beside it under `=name`, what it means; null where it means nothing. Each different text is looked at once."""
    columns = []
    for column in layout.columns:
        kind = {DAY: pl.Date, COUNT: pl.Int64, NUMBER: pl.Float64}.get(column.type, pl.String)
        if column.name not in rows.columns:
            columns.append(pl.lit(None, kind).alias(f"={column.name}"))
        elif kind == pl.String:
            columns.append(pl.col(column.name).alias(f"={column.name}"))
        else:
            texts = rows.select(pl.col(column.name).unique()).drop_nulls()
            means = texts.select(meaning(pl.col(column.name), column.type)).to_series()
            columns.append(
                pl.col(column.name)
                .replace_strict(texts.to_series(), means, default=None, return_dtype=kind)
                .alias(f"={column.name}")
            )
    return rows.with_columns(columns)


def meaning(text: pl.Expr, type_: str) -> pl.Expr:
    """What a text means as a day, a whole number or a number."""
    text = text.str.normalize("NFKC")
    if type_ == DAY:
        days = [text.str.to_date(form, strict=False) for form in DAY_FORMATS]
        return pl.coalesce(
            pl.when(text.str.contains(r"^\d{8}$")).then(text.str.to_date("%Y%m%d", strict=False)),
            *days,
        )
    text = text.str.replace_all("[¥円]", "")
    text = (
        pl.when(text.str.contains(THOUSANDS)).then(text.str.replace_all(",", "")).otherwise(text)
    )  # 1,5 is not fifteen
    number = text.str.strip_chars().cast(pl.Float64, strict=False)
    number = pl.when(number.is_finite()).then(number)
    return (
        pl.when((number.round() == number) & (number.abs() < 1e15)).then(number).cast(pl.Int64)
        if type_ == COUNT
        else number
    )


def sort(
    layout: Layout, rows: pl.DataFrame, known: Known
) -> tuple[pl.DataFrame, list[dict[str, object]]]:
    """Good rows, typed, and for each bad one its row, column, what was found, what was expected, and all its values."""
    frame = typed(layout, rows)
    faults = Faults()
    faults.add(
        pl.col(RAGGED).is_not_null(),
        "",
        pl.format("as many values as the header has, not {}", pl.col(RAGGED)),
    )
    for column in layout.columns:
        if column.name in rows.columns or column.required:
            if not column.empty:
                faults.add(pl.col(column.name).is_null(), column.name, EXPECTED[column.type])
            faults.add(
                pl.col(column.name).is_not_null() & pl.col(f"={column.name}").is_null(),
                column.name,
                EXPECTED[column.type],
            )
            if column.type == DAY:
                first, last = pl.lit(FIRST_DAY), pl.lit(LAST_DAY)
                faults.add(
                    ~pl.col(f"={column.name}").is_between(first, last),
                    column.name,
                    f"a day from {FIRST_DAY} to {LAST_DAY}",
                )
            if column.type == CODE:
                faults.add(
                    pl.col(column.name).str.len_chars() > 200,
                    column.name,
                    "a name of at most 200 characters",
                )
    frame = frame.with_columns(extra(layout, frame, known))
    special(layout, faults, known)
    number = pl.lit(None, pl.Int32)
    for n in reversed(range(len(faults.found))):
        number = pl.when(faults.found[n][0]).then(pl.lit(n, pl.Int32)).otherwise(number)
    frame = frame.with_columns(number.alias("_fault"))
    frame = repeated(layout, frame, faults)
    good = frame.filter(pl.col("_fault").is_null())
    return good.select(
        ROW, *(pl.col(f"={column.name}").alias(column.name) for column in layout.columns)
    ), bad_rows(rows, frame, faults)


def bad_rows(rows: pl.DataFrame, frame: pl.DataFrame, faults: Faults) -> list[dict[str, object]]:
    """What is said of each bad row."""
    bad = frame.filter(pl.col("_fault").is_not_null())
    if bad.is_empty():
        return []
    names = [name for name in rows.columns if name not in (ROW, RAGGED)]
    made: list[dict[str, object]] = []
    for n in bad["_fault"].unique().sort():
        _, column, expected = faults.found[n]
        part = bad.filter(pl.col("_fault") == n).with_columns(
            expected.cast(pl.String).alias("_expected")
        )
        for row in part.select(ROW, "_expected", *names).iter_rows(named=True):
            values = {name: row[name] for name in names}
            found = (
                values.get(column)
                if column
                else ", ".join(str(value or "") for value in values.values())
            )
            made.append(
                {
                    "row": row[ROW],
                    "column": column or "(row)",
                    "found": str(found or ""),
                    "expected": str(row["_expected"]),
                    "values": values,
                }
            )
    return sorted(made, key=lambda each: int(str(each["row"])))


def extra(layout: Layout, frame: pl.DataFrame, known: Known) -> list[pl.Expr | pl.Series]:
    """Columns that checks need beside a row's own: the price in force, what the series usually sells."""
    if layout.kind != "sales":
        return []
    made: list[pl.Expr | pl.Series] = [usual(frame, known)]
    price = pl.Series("_price", [None] * frame.height, dtype=pl.Float64)
    if known.prices is not None and not known.prices.is_empty():
        wanted = frame.select(
            ROW,
            pl.col("=date").alias("date"),
            pl.col("=store").alias("store"),
            pl.col("=item").alias("item"),
        )
        price = in_force(wanted, known.prices)
    return [*made, price]


def usual(frame: pl.DataFrame, known: Known) -> pl.Series:
    """What a row's series usually sells: the median of what is known of it, else of the file's, else (one or two rows) of all series."""
    series = ["=store", "=item"]
    own = pl.when(pl.len().over(series) > 2).then(pl.col("=units").median().over(series))
    found = frame.select(*series, own.alias("_own"), pl.col("=units").median().alias("_all"))
    if known.usual is None:
        return found.select(pl.coalesce("_own", "_all").alias("_median")).to_series()
    before = known.usual.rename({"store": "=store", "item": "=item"})
    found = found.join(before, on=series, how="left", maintain_order="left")
    return found.select(pl.coalesce("_usual", "_own", "_all").alias("_median")).to_series()


def in_force(wanted: pl.DataFrame, prices: pl.DataFrame) -> pl.Series:
    """The price on each row's day: the store's own where there is one, otherwise every store's. Null where none is known."""
    wanted = wanted.sort("date")
    found = wanted.select(ROW)
    for name, keys, part in (
        ("own", ["store", "item"], prices.filter(pl.col("store") != "")),
        ("all", ["item"], prices.filter(pl.col("store") == "").drop("store")),
    ):
        part = part.sort("applied_from")
        joined = wanted.join_asof(
            part,
            left_on="date",
            right_on="applied_from",
            by=keys,
            strategy="backward",
            check_sortedness=False,
        )
        valid = joined.select(
            ROW,
            pl.when(pl.col("date") <= pl.col("applied_to").fill_null(LAST_DAY))
            .then(pl.col("price_yen"))
            .alias(name),
        )
        found = found.join(valid, on=ROW, how="left")
    return found.sort(ROW).select(pl.coalesce("own", "all").alias("_price")).to_series()


def special(layout: Layout, faults: Faults, known: Known) -> None:
    """The checks that belong to a kind."""
    names = {column.name for column in layout.columns}
    for name, there in (("store", known.stores), ("item", known.items), ("region", known.regions)):
        if name in names and there is not None:
            faults.add(~pl.col(f"={name}").is_in(sorted(there)), name, f"a known {name}")
    if layout.kind in PAST:
        faults.add(
            pl.col("=date") > pl.lit(known.today), "date", f"a day up to today, {known.today}"
        )
    if "units" in names:
        faults.add(pl.col("=units") < 0, "units", "zero or more")
        faults.add(pl.col("=units") > MOST_UNITS, "units", f"at most {MOST_UNITS:,} a day")
    for name, least in (
        ("case_units", 1),
        ("min_cases", 0),
        ("max_cases", 0),
        ("shelf_life_days", 1),
        ("shortage_cost_yen", 0),
        ("leftover_cost_yen", 0),
        ("shelf_units", 0),
        ("truck_cases", 0),
        ("price_yen", 0),
        ("discount", 0),
    ):
        if name in names:
            faults.add(pl.col(f"={name}") < least, name, f"{least} or more")
    for first, last in (("applied_from", "applied_to"), ("date_from", "date_to")):
        if last in names:
            faults.add(pl.col(f"={last}") < pl.col(f"={first}"), last, f"a day not before {first}")
    if "service_class" in names:
        faults.add(
            ~pl.col("=service_class").is_in(CLASSES),
            "service_class",
            f"one of {', '.join(CLASSES)}",
        )
    if "discount" in names:
        faults.add(pl.col("=discount") > 1, "discount", "a share from 0 to 1")
    if "temperature_c" in names:
        faults.add(
            ~pl.col("=temperature_c").is_between(-60, 60),
            "temperature_c",
            "degrees Celsius from -60 to 60",
        )
    if layout.kind == "sales":
        sales(faults)


def sales(faults: Faults) -> None:
    """Absurd sales, the weekday and week against the date, the amount against units × price in force."""
    most = pl.col("_median") * ABSURD_TIMES + ABSURD_ROOM
    faults.add(
        pl.col("=units") > most,
        "units",
        pl.format(
            "at most {} (the series' median is {})",
            most.cast(pl.Int64),
            pl.col("_median").cast(pl.Int64),
        ),
    )
    weekday = (
        pl.col("=day_of_week")
        .str.to_uppercase()
        .replace_strict(WEEKDAY_NAMES, default=None, return_dtype=pl.Int8)
    )
    right = pl.col("=date").dt.weekday()
    wanted = right.replace_strict(dict(enumerate(WEEKDAYS, 1)), default="", return_dtype=pl.String)
    faults.add(
        pl.col("=day_of_week").is_not_null() & (weekday.is_null() | (weekday != right)),
        "day_of_week",
        pl.format("{} for {}", wanted, pl.col("=date")),
    )
    week = pl.col("=date").dt.week()
    faults.add(
        pl.col("=week_of_year") != week,
        "week_of_year",
        pl.format("{}, the ISO week of {}", week, pl.col("=date")),
    )
    faults.add(pl.col("=amount_yen") < 0, "amount_yen", "zero or more")
    amount = pl.col("=units") * pl.col("_price")
    faults.add(
        (pl.col("=amount_yen") - amount).abs() > 0.5,
        "amount_yen",
        pl.format(
            "{} ({} × {} yen, the price in force)",
            amount.round().cast(pl.Int64),
            pl.col("=units"),
            pl.col("_price"),
        ),
    )


def repeated(layout: Layout, frame: pl.DataFrame, faults: Faults) -> pl.DataFrame:
    """Rows about what an earlier good row of the file was about already get that fault."""
    keys = [
        pl.col(f"={key}").fill_null("") if layout.column(key).type == CODE else pl.col(f"={key}")
        for key in layout.keys
    ]
    good = frame.filter(pl.col("_fault").is_null()).select(ROW, *keys)
    names = [f"={key}" for key in layout.keys]
    faults.add(
        pl.col("_first").is_not_null(),
        layout.keys[-1],
        pl.format(
            "one row for each " + ", ".join(layout.keys) + "; row {} has it already",
            pl.col("_first"),
        ),
    )
    again = good.filter(good.select(names).is_duplicated())
    if again.is_empty():
        return frame.with_columns(pl.lit(None, pl.UInt32).alias("_first"))
    again = again.with_columns(pl.col(ROW).first().over(names).alias("_first")).filter(
        pl.col(ROW) != pl.col("_first")
    )
    fault = pl.lit(len(faults.found) - 1, pl.Int32)
    return frame.join(
        again.select(ROW, "_first"), on=ROW, how="left", maintain_order="left"
    ).with_columns(
        pl.when(pl.col("_first").is_not_null())
        .then(fault)
        .otherwise(pl.col("_fault"))
        .alias("_fault")
    )
