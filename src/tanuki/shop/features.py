"""The panel as arrays, the calendar of its days, and the features of a week as of an origin."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.shop.panel import Panel

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]

EVENTS = ("ordinary", "holiday", "golden_week", "obon", "year_end")
EVENT_WINDOWS = (
    ("golden_week", (4, 29), (5, 5)),
    ("obon", (8, 13), (8, 16)),
    ("year_end", (12, 24), (12, 31)),  # people shop alike from Christmas Eve to 3 January
    ("year_end", (1, 1), (1, 3)),
)
MIN_KNOWN_DAYS = 4  # of a week; with fewer the week is not known


@dataclass(frozen=True)
class Grid:
    """Daily units as a matrix: a line for each store and item (sorted), a column for each day.

    The days are whole weeks from a Monday to the cut-off. Units are NaN where nothing is known.
    `store` and `item` are each line's index in `stores` and `items`. Where `sold_out`, demand was
    at least the units. A day that began and ended without stock and sold nothing is not known.
    """

    keys: pl.DataFrame  # store, item
    stores: list[str]
    items: list[str]
    store: Codes
    item: Codes
    days: list[date]
    units: Numbers
    sold_out: NDArray[np.bool_]

    def first_days(self, count: int) -> "Grid":
        """The same lines with only the first `count` days."""
        return replace(
            self,
            days=self.days[:count],
            units=self.units[:, :count],
            sold_out=self.sold_out[:, :count],
        )

    def last_days(self, count: int) -> "Grid":
        """The same lines with only the last `count` days."""
        return replace(
            self,
            days=self.days[-count:],
            units=self.units[:, -count:],
            sold_out=self.sold_out[:, -count:],
        )


def build_grid(panel: Panel) -> Grid:
    """The panel's sales as a Grid, whatever the order of their rows and columns."""
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
    sold_out = (align_to_grid(keys, days, panel.stock, "units") == 0) & np.isfinite(units)
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


def sum_weeks(units: Numbers) -> Numbers:
    """Units by week, from lines × days (whole weeks, Monday first) to lines × weeks.

    A week is seven times the mean of its known days; NaN with fewer than MIN_KNOWN_DAYS.
    """
    days = units.reshape(units.shape[0], units.shape[1] // 7, 7)
    known = np.isfinite(days)
    count = known.sum(axis=2)
    total = np.where(known, days, 0.0).sum(axis=2)
    return np.where(count >= MIN_KNOWN_DAYS, total * 7 / np.maximum(count, 1), np.nan)


@lru_cache(maxsize=64)
def public_holidays(year: int) -> frozenset[date]:
    """Japan's public holidays in a year, from the `holidays` package."""
    import holidays

    return frozenset(holidays.country_holidays("JP", years=year))


def classify_day(day: date) -> str:
    """The event of a day in Japan's calendar, one of EVENTS."""
    for name, first, last in EVENT_WINDOWS:
        if first <= (day.month, day.day) <= last:
            return name
    return "holiday" if day in public_holidays(day.year) else "ordinary"


def encode_events(days: Sequence[date]) -> Codes:
    """The index in EVENTS of each day's event."""
    return np.array([EVENTS.index(classify_day(day)) for day in days], dtype=np.int64)


def align_to_grid(
    keys: pl.DataFrame, days: Sequence[date], frame: pl.DataFrame, column: str
) -> Numbers:
    """A column of [store, item, date, …] as a matrix of lines (keys) × days; NaN where unknown.

    Of several rows for a day the largest value counts.
    """
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
    "store", "item", "lead", "month", "week", "level", "last", "last_2", "last_3", "last_4",
    "mean_13", "year_ago", "year_ago_level", "holidays", "golden_week", "obon", "year_end",
)  # fmt: skip


def build_week_features(
    grid: Grid, weeks: Numbers, mondays: Sequence[date], origin: int, lead: int
) -> Numbers:
    """WEEK_FEATURES of the week `lead` weeks after the first `origin` weeks: lines × features.

    Only the first `origin` columns of `weeks` are used. Sales are relative to the series' recent
    level, so that one model fits series of all sizes.
    """
    known = weeks[:, :origin]
    target = origin + lead - 1
    level = recent_level(known)
    unknown = np.full(len(known), np.nan)
    monday = mondays[0] + timedelta(weeks=target)
    thursday = monday + timedelta(days=3)
    events = [classify_day(monday + timedelta(days=n)) for n in range(7)]

    def weeks_back(count: int) -> Numbers:
        return known[:, -count] / level if known.shape[1] >= count else unknown

    year_ago = weeks[:, target - 52] if target >= 52 else unknown
    level_year_ago = recent_level(known[:, : origin - 52]) if origin > 52 else unknown
    calendar = (lead, thursday.month, thursday.isocalendar().week)
    event_days = (
        sum(event in ("holiday", "golden_week") for event in events),
        events.count("golden_week"),
        events.count("obon"),
        events.count("year_end"),
    )
    return np.column_stack(
        [
            grid.store.astype(float),
            grid.item.astype(float),
            *(np.full(len(known), float(value)) for value in calendar),
            np.log(level),
            *(weeks_back(count) for count in (1, 2, 3, 4)),
            mean_known(known[:, -13:]) / level,
            year_ago / level,
            year_ago / level_year_ago,
            *(np.full(len(known), float(count)) for count in event_days),
        ]
    )


def recent_level(known: Numbers, weeks: int = 4) -> Numbers:
    """The mean of each line's last `weeks` weeks, at least 1 unit a week."""
    return np.maximum(np.nan_to_num(mean_known(known[:, -weeks:])), 1.0)


def mean_known(values: Numbers) -> Numbers:
    """The mean of each line's known values; NaN where it has none."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
