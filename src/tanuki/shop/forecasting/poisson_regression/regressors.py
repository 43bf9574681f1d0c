"""Regressors beside the calendar: price, prices of the store's other items, promotions, weather."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from tanuki.shop.features import Grid, Numbers, align_to_grid
from tanuki.shop.panel import Panel

PRICE, CROSS_PRICE, DISCOUNT = "price", "cross_price", "discount"
NORMAL_TEMPERATURE, TEMPERATURE_ANOMALY = "normal_temperature", "temperature_anomaly"
TEMPERATURE_HARMONICS = 2  # sine and cosine pairs of a year's temperature
MIN_TEMPERATURE_DAYS = 365  # fewer days do not show a year's course
MIN_PRICE_RATIO = 0.05
MAX_DISCOUNT = 0.95
REGRESSOR_DRIVERS = ("price", "promotion", "weather")


@dataclass(frozen=True)
class Regressors:
    """Named regressors, each a matrix of lines × days in which 0 means "as usual".

    A coefficient is the change of the logarithm of mean demand per unit of its regressor.
    `values` are what happened. `planned_values` are what was known two weeks before: the same,
    except that temperatures are the normal ones of the day.
    """

    names: list[str]
    values: list[Numbers]
    planned_values: list[Numbers]

    def multiplier(self, coefficients: Numbers) -> Numbers:
        """exp(Σ value × coefficient), lines × days, from coefficients (lines × names)."""
        log_lift = np.zeros_like(self.values[0])
        for k, value in enumerate(self.values):
            log_lift += value * coefficients[:, [k]]
        return np.exp(log_lift, out=log_lift)

    def slice_days(self, first: int, end: int) -> "Regressors":
        """The same regressors on the days from column `first` to before column `end`."""
        return Regressors(
            self.names,
            [value[:, first:end] for value in self.values],
            [value[:, first:end] for value in self.planned_values],
        )

    def slice_planned_days(self, first: int, end: int) -> "Regressors":
        """What was known two weeks before about the days from `first` to before `end`."""
        planned = [value[:, first:end] for value in self.planned_values]
        return Regressors(self.names, planned, planned)


def build_regressors(grid: Grid, panel: Panel, days: Sequence[date]) -> Regressors:
    """Every regressor that the panel knows and that ever differs on the grid's past days.

    `days` begin with the grid's days; the panel's two weeks to forecast may follow.
    """
    past = len(grid.days)
    values: dict[str, Numbers] = {}
    planned: dict[str, Numbers] = {}
    price = align_to_grid(grid.keys, days, panel.prices, "price_yen")
    if np.isfinite(price).any():
        values[PRICE] = relative_log_price(price, past)
        values[CROSS_PRICE] = mean_price_of_other_items(grid, values[PRICE])
    for kind in sorted(set(panel.promotions["kind"])) if panel.promotions.height else []:
        # A promotion with a discount acts through DISCOUNT, so its own flag is 0.
        flags = panel.promotions.filter(pl.col("kind") == kind).with_columns(
            (pl.col("discount") == 0).cast(pl.Float64).alias("flag")
        )
        flag = align_to_grid(grid.keys, days, flags, "flag")
        values[f"promotion {kind}".strip()] = np.nan_to_num(flag)
    if panel.promotions.height:
        discount = align_to_grid(grid.keys, days, panel.promotions, "discount")
        values[DISCOUNT] = -np.log1p(-np.clip(np.nan_to_num(discount), 0.0, MAX_DISCOUNT))
    if panel.weather.height:
        temperatures = decompose_temperature(grid, panel, days)
        if temperatures is not None:
            values[NORMAL_TEMPERATURE], values[TEMPERATURE_ANOMALY] = temperatures
            planned[TEMPERATURE_ANOMALY] = np.zeros_like(values[TEMPERATURE_ANOMALY])
    varying = {
        name: value for name, value in values.items() if len(days) and np.ptp(value[:, :past]) > 0
    }
    return Regressors(
        list(varying),
        list(varying.values()),
        [planned.get(name, value) for name, value in varying.items()],
    )


def driver_of(name: str) -> str:
    """The driver of REGRESSOR_DRIVERS under which a regressor's effect is explained."""
    if name in (PRICE, CROSS_PRICE):
        return "price"
    return "weather" if name in (NORMAL_TEMPERATURE, TEMPERATURE_ANOMALY) else "promotion"


def relative_log_price(price: Numbers, past: int) -> Numbers:
    """log(price / median price of the first `past` days) of each line; 0 where it is unknown."""
    usual = np.array(
        [
            np.median(line[np.isfinite(line)]) if np.isfinite(line).any() else np.nan
            for line in price[:, :past]
        ]
    )
    return np.asarray(np.nan_to_num(np.log(np.maximum(price / usual[:, None], MIN_PRICE_RATIO))))


def mean_price_of_other_items(grid: Grid, price: Numbers) -> Numbers:
    """The mean relative log price of the same store's other items: cannibalisation."""
    total = np.zeros((len(grid.stores), price.shape[1]))
    np.add.at(total, grid.store, price)
    count = np.bincount(grid.store, minlength=len(grid.stores))[grid.store][:, None]
    return np.asarray((total[grid.store] - price) / np.maximum(count - 1, 1))


def decompose_temperature(
    grid: Grid, panel: Panel, days: Sequence[date]
) -> tuple[Numbers, Numbers] | None:
    """Each line's normal temperature and its anomaly, lines × days, in units of 10 °C.

    The normal temperature is a harmonic regression on the day of the year, less its mean. The
    anomaly is the measured minus the normal temperature; 0 on days without a measurement. None
    when a store has measurements of less than a year.
    """
    measured_by_store = dict(
        panel.weather.group_by("store")
        .agg(pl.col("date"), pl.col("temperature_c"))
        .select("store", pl.struct("date", "temperature_c"))
        .iter_rows()
    )
    first = days[0].toordinal()
    angle = np.array([2 * np.pi * day.timetuple().tm_yday / 365.25 for day in days])
    waves = [
        wave(n * angle) for n in range(1, TEMPERATURE_HARMONICS + 1) for wave in (np.sin, np.cos)
    ]
    harmonics = np.column_stack([np.ones(len(days)), *waves])
    normal = np.zeros((len(grid.stores), len(days)))
    anomaly = np.zeros((len(grid.stores), len(days)))
    for n, store in enumerate(grid.stores):
        measured = measured_by_store.get(store)
        if measured is None:
            continue
        column = np.array([day.toordinal() - first for day in measured["date"]])
        degrees = np.array(measured["temperature_c"], dtype=np.float64)
        inside = (column >= 0) & (column < len(days)) & np.isfinite(degrees)
        column, degrees = column[inside], degrees[inside]
        if len(column) < MIN_TEMPERATURE_DAYS:
            return None
        expected = harmonics @ np.linalg.lstsq(harmonics[column], degrees, rcond=None)[0]
        normal[n] = (expected - expected.mean()) / 10
        anomaly[n, column] = (degrees - expected[column]) / 10
    return np.asarray(normal[grid.store]), np.asarray(anomaly[grid.store])
