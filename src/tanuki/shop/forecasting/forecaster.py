"""Models that forecast the buffer and the target week of every store and item as quantiles. One contract suite holds for all of them."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from statistics import NormalDist
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.errors import NotFound
from tanuki.shop.panel import Panel

Numbers = NDArray[np.float64]

QUANTILES = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
COLUMNS = ("q01", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q99")
SCORES = np.array(
    [NormalDist().inv_cdf(level) for level in QUANTILES]
)  # of the standard normal distribution
SCHEMA = pl.Schema(
    {
        "store": pl.String(),
        "item": pl.String(),
        "week": pl.String(),
        **dict.fromkeys((*COLUMNS, "mean"), pl.Float64()),
    }
)
MOVES = ("level", "season", "holiday", "price", "promotion", "weather")
EXPLAINED = pl.Schema(
    {"store": pl.String(), "item": pl.String(), **dict.fromkeys(("last", *MOVES), pl.Float64())}
)
TOGETHER = 0.5  # correlation of the two weeks where a model does not tell
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
        """[store, item, week, q01 … q99, mean] for the panel's buffer week, its target week and both together (`Week.both`).

        Never negative, never decreasing over the quantiles. The mean of both is the sum of the two means.
        """
        ...

    def explain(self, panel: Panel) -> pl.DataFrame:
        """[store, item, last, …MOVES]: units of the last known week and what moves them to the target week's mean; they add up to it."""
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
        made: Forecaster = getattr(import_module(f"tanuki.shop.forecasting.{module}"), attribute)()
        return made

    return make


FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "seasonal_naive": named("seasonal_naive", "SeasonalNaive"),
    "moving_average": named("moving_average", "MovingAverage"),
    "auto_ets": named("auto_ets", "AutoEts"),
    "lightgbm": named("lightgbm", "LightGbm"),
    "pooled": named("poisson_regression.forecaster", "Pooled"),
}
DEFAULT = "pooled"


def known(name: str) -> None:
    """Raises NotFound unless there is a forecaster of that name."""
    if name not in FORECASTERS:
        raise NotFound(
            "There is no model %(name)s; expected one of %(known)s.",
            name=name,
            known=", ".join(FORECASTERS),
        )


def make(name: str) -> Forecaster:
    """A new forecaster that has learnt nothing yet. Raises NotFound when there is none of that name."""
    known(name)
    return FORECASTERS[name]()


def forecast(
    panel: Panel, keys: pl.DataFrame, quantiles: list[Numbers], mean: list[Numbers]
) -> pl.DataFrame:
    """What `predict` gives back, from a mean (one a line of `keys`) for each of the two weeks, and quantiles for each.

    Quantiles of both together may be given as a third matrix; otherwise they are put together from the two.
    """
    if keys.height == 0:
        return pl.DataFrame(schema=SCHEMA)
    if len(quantiles) == len(LEADS):
        quantiles = [*quantiles, added(*quantiles)]
    frames = []
    for week, values, middle in zip(
        (panel.target.buffer, panel.target, panel.target.both),
        quantiles,
        [*mean, sum(mean)],
        strict=True,
    ):
        tidy = np.maximum.accumulate(np.maximum(values, 0.0), axis=1)
        columns = dict(zip(COLUMNS, tidy.T, strict=True))
        frames.append(
            keys.with_columns(
                pl.lit(str(week)).alias("week"),
                *(pl.Series(n, v) for n, v in columns.items()),
                pl.Series("mean", np.maximum(middle, 0.0)),
            )
        )
    return pl.concat(frames).select(SCHEMA.names()).sort("store", "item", "week")


def explanation(keys: pl.DataFrame, found: Mapping[str, Numbers]) -> pl.DataFrame:
    """What `explain` gives back, from what is known of each line of `keys`; what is not given is nothing."""
    nothing = np.zeros(keys.height)
    return keys.with_columns(
        pl.Series(name, found.get(name, nothing)) for name in ("last", *MOVES)
    ).select(EXPLAINED.names())


def by_level(model: Forecaster, panel: Panel) -> pl.DataFrame:
    """An explanation for a model that knows no reasons: the level of the series changed, that is all."""
    means = (
        model.predict(panel)
        .filter(pl.col("week") == str(panel.target))
        .select("store", "item", "mean")
    )
    week = panel.sales.filter(pl.col("date") > panel.target.cutoff - timedelta(days=7))
    last = week.group_by("store", "item").agg(pl.col("units").sum().alias("last"))
    found = (
        means.join(last, on=["store", "item"], how="left")
        .with_columns(pl.col("last").fill_null(0.0))
        .sort("store", "item")
    )
    return explanation(
        found.select("store", "item"),
        {"last": found["last"].to_numpy(), "level": (found["mean"] - found["last"]).to_numpy()},
    )


def quantile(frame: pl.DataFrame, level: float) -> Numbers:
    """The quantile at any level of each row of a forecast, between the two kept ones around it; beyond them, the last one kept."""
    return at(frame.select(COLUMNS).to_numpy(), level)


def at(quantiles: Numbers, level: float) -> Numbers:
    """The quantile at `level` of each line: between its neighbours among QUANTILES as if the distribution were normal there."""
    upper = int(np.clip(np.searchsorted(QUANTILES, level), 1, len(QUANTILES) - 1))
    score = NormalDist().inv_cdf(min(max(level, QUANTILES[0]), QUANTILES[-1]))
    part = (score - SCORES[upper - 1]) / (SCORES[upper] - SCORES[upper - 1])
    return np.asarray(quantiles[:, upper - 1] * (1 - part) + quantiles[:, upper] * part)


def added(buffer: Numbers, target: Numbers) -> Numbers:
    """Quantiles of the sum of two weeks whose demand goes half together, from those of each: lines × QUANTILES."""
    middle = QUANTILES.index(0.5)
    a, b = buffer - buffer[:, [middle]], target - target[:, [middle]]
    around = np.sign(SCORES) * np.sqrt(a**2 + b**2 + 2 * TOGETHER * np.abs(a * b))
    return np.asarray(buffer[:, [middle]] + target[:, [middle]] + around)
