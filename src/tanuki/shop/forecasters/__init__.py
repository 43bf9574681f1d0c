"""Models that forecast the buffer and the target week of every store and item as quantiles. One contract suite holds for all of them."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.errors import NotFound
from tanuki.shop.panel import Panel

Numbers = NDArray[np.float64]

QUANTILES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
COLUMNS = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")
SCHEMA = pl.Schema({"store": pl.String(), "item": pl.String(), "week": pl.String(), **dict.fromkeys((*COLUMNS, "mean"), pl.Float64())})
LEADS = (1, 2)  # weeks after the cut-off: the buffer week and the target week


class Forecaster(Protocol):
    """Learns from a panel, forecasts its two weeks, and is kept in plain files. The same panel and seed give the same bits."""

    name: str

    @property
    def parameters(self) -> dict[str, float]:
        """What it was made with; goes with a version into the registry."""
        ...

    def fit(self, panel: Panel) -> None:
        """Learn from what the panel knows."""
        ...

    def predict(self, panel: Panel) -> pl.DataFrame:
        """[store, item, week, q05 … q95, mean] for the panel's buffer and target week: never negative, never decreasing over the quantiles."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learnt into a folder, as plain files."""
        ...

    def load(self, folder: Path) -> None:
        """Become what was saved."""
        ...


def named(module: str, attribute: str) -> Callable[[], Forecaster]:
    """A factory that imports its module, and the libraries that it stands on, only when it is called."""

    def make() -> Forecaster:
        made: Forecaster = getattr(import_module(f"tanuki.shop.forecasters.{module}"), attribute)()
        return made

    return make


FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "seasonal_naive": named("seasonal_naive", "SeasonalNaive"),
    "moving_average": named("moving_average", "MovingAverage"),
    "auto_ets": named("auto_ets", "AutoEts"),
    "lightgbm": named("lightgbm", "LightGbm"),
    "pooled": named("pooled", "Pooled"),
}
DEFAULT = "pooled"


def known(name: str) -> None:
    """Raises NotFound unless there is a forecaster of that name."""
    if name not in FORECASTERS:
        raise NotFound("There is no model %(name)s; expected one of %(known)s.", name=name, known=", ".join(FORECASTERS))


def make(name: str) -> Forecaster:
    """A new forecaster that has learnt nothing yet. Raises NotFound when there is none of that name."""
    known(name)
    return FORECASTERS[name]()


def forecast(panel: Panel, keys: pl.DataFrame, quantiles: list[Numbers], mean: list[Numbers]) -> pl.DataFrame:
    """What `predict` gives back, from one matrix of quantiles (lines as `keys`) and one mean for each of the two weeks."""
    if keys.height == 0:
        return pl.DataFrame(schema=SCHEMA)
    frames = []
    for week, values, middle in zip((panel.target.buffer, panel.target), quantiles, mean, strict=True):
        tidy = np.maximum.accumulate(np.maximum(values, 0.0), axis=1)
        columns = dict(zip(COLUMNS, tidy.T, strict=True))
        frames.append(
            keys.with_columns(
                pl.lit(str(week)).alias("week"), *(pl.Series(n, v) for n, v in columns.items()), pl.Series("mean", np.maximum(middle, 0.0))
            )
        )
    return pl.concat(frames).select(SCHEMA.names()).sort("store", "item", "week")


def quantile(frame: pl.DataFrame, level: float) -> Numbers:
    """The quantile at any level of each row of a forecast, on the line between the two kept ones around it; beyond them, the last one kept."""
    return at(frame.select(COLUMNS).to_numpy(), level)


def at(quantiles: Numbers, level: float) -> Numbers:
    """The quantile at `level` of each line, on the line between its neighbours among QUANTILES."""
    upper = int(np.clip(np.searchsorted(QUANTILES, level), 1, len(QUANTILES) - 1))
    low, high = QUANTILES[upper - 1], QUANTILES[upper]
    part = float(np.clip((level - low) / (high - low), 0.0, 1.0))
    return np.asarray(quantiles[:, upper - 1] * (1 - part) + quantiles[:, upper] * part)
