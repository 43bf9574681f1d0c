"""What models see: the panel as a grid of numbers, the calendar of its days, and the features of a week as of an origin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.shop.panel import Panel

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]

EVENTS = ("ordinary", "holiday", "golden_week", "obon", "year_end")
WINDOWS = (
    ("golden_week", (4, 29), (5, 5)),
    ("obon", (8, 13), (8, 16)),
    (
        "year_end",
        (12, 24),
        (12, 31),
    ),  # from Christmas Eve to the third day of the year people shop alike
    ("year_end", (1, 1), (1, 3)),
)


@dataclass(frozen=True)
class Grid:
    """Daily units as a matrix: one line a store and item (sorted), one column a day to the cut-off, NaN where nothing is known.

    `store` and `item` number each line's store and item in `stores` and `items`. Where `sold_out`, customers wanted at least the units, perhaps
    more; a day that began without stock and sold nothing tells nothing, so it is not known.
    """

    keys: pl.DataFrame  # store, item
    stores: list[str]
    items: list[str]
    store: Codes
    item: Codes
    days: list[date]
    units: Numbers
    sold_out: NDArray[np.bool_]

    def known_to(self, columns: int) -> "Grid":
        """The same, knowing only the first so many days; what sold nothing in them stays, as NaN."""
        return Grid(
            self.keys,
            self.stores,
            self.items,
            self.store,
            self.item,
            self.days[:columns],
            self.units[:, :columns],
            self.sold_out[:, :columns],
        )

    def last(self, columns: int) -> "Grid":
        """The same, holding only the last so many days."""
        return Grid(
            self.keys,
            self.stores,
            self.items,
            self.store,
            self.item,
            self.days[-columns:],
            self.units[:, -columns:],
            self.sold_out[:, -columns:],
        )


def grid(panel: Panel) -> Grid:
    """The panel's sales as a matrix; the order of its rows and columns makes no difference."""
    sales = panel.sales.select("store", "item", "date", "units")
    keys = sales.select("store", "item").unique().sort("store", "item")
    stores, items = sorted(set(keys["store"])), sorted(set(keys["item"]))
    if sales.height == 0:
        return Grid(
            keys,
            [],
            [],
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            [],
            np.zeros((0, 0)),
            np.zeros((0, 0), bool),
        )
    first: date = sales.select(pl.col("date").min()).item()
    first -= timedelta(days=first.weekday())
    length = (panel.target.cutoff - first).days + 1
    placed = sales.join(keys.with_row_index("line"), on=["store", "item"]).select(
        pl.col("line").cast(pl.Int64),
        (pl.col("date") - first).dt.total_days().alias("column"),
        pl.col("units").fill_null(np.nan),
    )
    units = np.full((keys.height, length), np.nan)
    units[placed["line"].to_numpy(), placed["column"].to_numpy()] = placed["units"].to_numpy()
    days = [first + timedelta(days=n) for n in range(length)]
    sold_out = (on_days(keys, days, panel.stock, "units") == 0) & np.isfinite(units)
    units[:, 1:][sold_out[:, 1:] & sold_out[:, :-1] & (units[:, 1:] == 0)] = np.nan
    return Grid(
        keys=keys,
        stores=stores,
        items=items,
        store=np.searchsorted(np.array(stores), keys["store"].to_numpy().astype(str)),
        item=np.searchsorted(np.array(items), keys["item"].to_numpy().astype(str)),
        days=days,
        units=units,
        sold_out=sold_out & np.isfinite(units),
    )


def weekly(units: Numbers) -> Numbers:
    """Days (Monday first, whole weeks) to weeks: seven times the mean of a week's known days; NaN when fewer than four are known."""
    days = units.reshape(units.shape[0], units.shape[1] // 7, 7)
    known = np.isfinite(days)
    count = known.sum(axis=2)
    total = np.where(known, days, 0.0).sum(axis=2)
    return np.where(count >= 4, total * 7 / np.maximum(count, 1), np.nan)


@lru_cache(maxsize=64)
def public_holidays(year: int) -> frozenset[date]:
    """Japan's public holidays in a year."""
    import holidays

    return frozenset(holidays.country_holidays("JP", years=year))


def event(day: date) -> str:
    """What a day is in Japan's calendar beyond its weekday; one of EVENTS."""
    for name, first, last in WINDOWS:
        if first <= (day.month, day.day) <= last:
            return name
    return "holiday" if day in public_holidays(day.year) else "ordinary"


def events(days: Sequence[date]) -> Codes:
    """The number in EVENTS of each day."""
    return np.array([EVENTS.index(event(day)) for day in days], dtype=np.int64)


def on_days(keys: pl.DataFrame, days: Sequence[date], frame: pl.DataFrame, column: str) -> Numbers:
    """A daily column (price_yen, discount) as a matrix beside the grid's lines; NaN where nothing is known."""
    matrix = np.full((keys.height, len(days)), np.nan)
    if frame.height == 0 or not days:
        return matrix
    placed = (
        frame.group_by("store", "item", "date")
        .agg(pl.col(column).max())
        .filter(pl.col("date").is_between(days[0], days[-1]))
        .join(keys.with_row_index("line"), on=["store", "item"])
        .select(
            pl.col("line").cast(pl.Int64),
            (pl.col("date") - days[0]).dt.total_days().alias("day"),
            column,
        )
    )
    matrix[placed["line"].to_numpy(), placed["day"].to_numpy()] = placed[column].to_numpy()
    return matrix


WEEK_FEATURES = (
    "store", "item", "lead", "month", "week", "level", "last", "last_2", "last_3", "last_4", "mean_13", "year_ago", "year_ago_level",
    "holidays", "golden_week", "obon", "year_end",
)  # fmt: skip


def week_features(
    grid: Grid, weeks: Numbers, mondays: Sequence[date], origin: int, lead: int
) -> Numbers:
    """Features of the week `lead` weeks after the first `origin` weeks of `weeks`, from those only: one line a series, WEEK_FEATURES across.

    Sales are relative to the series' mean of the last four known weeks (`level`), so that one model serves all sizes.
    """
    known = weeks[:, :origin]
    at = origin + lead - 1
    base = level(known)
    monday = mondays[0] + timedelta(weeks=at)
    days = [event(monday + timedelta(days=n)) for n in range(7)]
    middle = monday + timedelta(days=3)

    def back(weeks_ago: int) -> Numbers:
        return (
            known[:, -weeks_ago] / base
            if known.shape[1] >= weeks_ago
            else np.full(len(known), np.nan)
        )

    year_ago = weeks[:, at - 52] if at >= 52 else np.full(len(known), np.nan)
    then = level(known[:, : origin - 52]) if origin > 52 else np.full(len(known), np.nan)
    of_week = [
        np.full(len(known), float(value))
        for value in (
            sum(day in ("holiday", "golden_week") for day in days),
            sum(day == "golden_week" for day in days),
            sum(day == "obon" for day in days),
            sum(day == "year_end" for day in days),
        )
    ]
    return np.column_stack(
        [
            grid.store.astype(float),
            grid.item.astype(float),
            np.full(len(known), float(lead)),
            np.full(len(known), float(middle.month)),
            np.full(len(known), float(middle.isocalendar().week)),
            np.log(base),
            back(1),
            back(2),
            back(3),
            back(4),
            mean_of(known[:, -13:]) / base,
            year_ago / base,
            year_ago / then,
            *of_week,
        ]
    )


def level(known: Numbers, weeks: int = 4) -> Numbers:
    """The mean of the last known weeks per line, at least a unit a week."""
    return np.maximum(np.nan_to_num(mean_of(known[:, -weeks:])), 1.0)


def mean_of(values: Numbers) -> Numbers:
    """The mean of each line's known values; NaN when it has none."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
