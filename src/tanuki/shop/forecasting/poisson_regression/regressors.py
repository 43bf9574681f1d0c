"""What is known to move demand besides the calendar: price, promotions, rivals' prices, temperature; per line and day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from tanuki.shop.features import Grid, Numbers, on_days
from tanuki.shop.panel import Panel

PRICE, DISCOUNT, RIVALS = "price", "discount", "rivals"
WARMTH, HEAT = "warmth", "heat"  # what is usual on a day of the year, and what is beyond it
HARMONICS = 2
KINDS = ("price", "promotion", "weather")  # what a cause counts as when a forecast is explained


@dataclass(frozen=True)
class Causes:
    """values: one matrix (lines × days) a name; 0 is as usual. A response is the change of the logarithm of demand a unit.

    `foreseen` is what could be told of the same days two weeks before: temperatures as they usually are, all else as planned.
    """

    names: list[str]
    values: list[Numbers]
    foreseen: list[Numbers]

    def effect(self, response: Numbers) -> Numbers:
        """The factor of each line and day, given each line's responses (lines × names)."""
        power = np.zeros_like(self.values[0])
        for k, value in enumerate(self.values):
            power += value * response[:, [k]]
        return np.exp(power, out=power)

    def between(self, first: int, last: int) -> "Causes":
        """The same, on the days from one column to before another."""
        return Causes(
            self.names,
            [value[:, first:last] for value in self.values],
            [value[:, first:last] for value in self.foreseen],
        )

    def ahead(self, first: int, last: int) -> "Causes":
        """What could be told of those days before."""
        cut = [value[:, first:last] for value in self.foreseen]
        return Causes(self.names, cut, cut)


def causes(grid: Grid, panel: Panel, days: Sequence[date]) -> Causes:
    """Everything the panel knows of causes, on its past days and those to forecast; what never differs is left out."""
    past = len(grid.days)
    found: dict[str, Numbers] = {}
    usual: dict[str, Numbers] = {}
    price = on_days(grid.keys, days, panel.prices, "price_yen")
    if np.isfinite(price).any():
        found[PRICE] = relative(price, past)
        found[RIVALS] = rivals(grid, found[PRICE])
    for kind in sorted(set(panel.promotions["kind"])) if panel.promotions.height else []:
        rows = panel.promotions.filter(pl.col("kind") == kind)
        on = on_days(
            grid.keys,
            days,
            rows.with_columns((pl.col("discount") == 0).cast(pl.Float64).alias("on")),
            "on",
        )  # a discount has its own
        found[f"promotion {kind}".strip()] = np.nan_to_num(on)
    if panel.promotions.height:
        discount = np.clip(
            np.nan_to_num(on_days(grid.keys, days, panel.promotions, "discount")), 0.0, 0.95
        )
        found[DISCOUNT] = -np.log1p(-discount)
    if panel.weather.height:
        warm = warmth(grid, panel, days)
        if warm is not None:
            found[WARMTH], found[HEAT] = warm
            usual[HEAT] = np.zeros_like(found[HEAT])
    moving = {
        name: value for name, value in found.items() if len(days) and np.ptp(value[:, :past]) > 0
    }
    return Causes(
        list(moving),
        list(moving.values()),
        [usual.get(name, value) for name, value in moving.items()],
    )


def kind_of(cause: str) -> str:
    """Which of KINDS a cause counts as."""
    if cause in (PRICE, RIVALS):
        return "price"
    return "weather" if cause in (WARMTH, HEAT) else "promotion"


def relative(price: Numbers, past: int) -> Numbers:
    """The logarithm of each line's price over its usual one of the past; 0 where it is not known."""
    usual = np.array(
        [
            np.median(line[np.isfinite(line)]) if np.isfinite(line).any() else np.nan
            for line in price[:, :past]
        ]
    )
    return np.asarray(np.nan_to_num(np.log(np.maximum(price / usual[:, None], 0.05))))


def rivals(grid: Grid, price: Numbers) -> Numbers:
    """The mean relative price of the other items of the same store."""
    total = np.zeros((len(grid.stores), price.shape[1]))
    np.add.at(total, grid.store, price)
    count = np.bincount(grid.store, minlength=len(grid.stores))[grid.store][:, None]
    return np.asarray((total[grid.store] - price) / np.maximum(count - 1, 1))


def warmth(grid: Grid, panel: Panel, days: Sequence[date]) -> tuple[Numbers, Numbers] | None:
    """Each store's usual temperature over its yearly mean, and how far it was beyond the usual, in units of 10 degrees. None without a year.

    Days not measured yet are as usual.
    """
    by_store = dict(
        panel.weather.group_by("store")
        .agg(pl.col("date"), pl.col("temperature_c"))
        .select("store", pl.struct("date", "temperature_c"))
        .iter_rows()
    )
    first = days[0].toordinal()
    angle = np.array([2 * np.pi * day.timetuple().tm_yday / 365.25 for day in days])
    waves = np.column_stack(
        [
            np.ones(len(days)),
            *(f(n * angle) for n in range(1, HARMONICS + 1) for f in (np.sin, np.cos)),
        ]
    )
    usually, beyond = (
        np.zeros((len(grid.stores), len(days))),
        np.zeros((len(grid.stores), len(days))),
    )
    for n, store in enumerate(grid.stores):
        known = by_store.get(store)
        if known is None:
            continue
        at = np.array([day.toordinal() - first for day in known["date"]])
        value = np.array(known["temperature_c"], dtype=np.float64)
        inside = (at >= 0) & (at < len(days)) & np.isfinite(value)
        at, value = at[inside], value[inside]
        if len(at) < 365:
            return None
        usual = waves @ np.linalg.lstsq(waves[at], value, rcond=None)[0]
        usually[n] = (usual - usual.mean()) / 10
        beyond[n, at] = (value - usual[at]) / 10
    return np.asarray(usually[grid.store]), np.asarray(beyond[grid.store])
