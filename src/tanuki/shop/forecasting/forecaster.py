"""The forecasters' protocol, their registry, and the frames that they give."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from statistics import NormalDist
from typing import Protocol

import numpy as np
import polars as pl

from tanuki.errors import NotFound
from tanuki.shop.features import Numbers
from tanuki.shop.panel import Panel

QUANTILE_LEVELS = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
QUANTILE_COLUMNS = ("q01", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q99")
# Quantiles of the standard normal distribution at QUANTILE_LEVELS.
NORMAL_SCORES = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])
FORECAST_SCHEMA = pl.Schema(
    {
        "store": pl.String(),
        "item": pl.String(),
        "week": pl.String(),
        **dict.fromkeys((*QUANTILE_COLUMNS, "mean"), pl.Float64()),
    }
)
DRIVERS = ("level", "season", "holiday", "price", "promotion", "weather")
EXPLANATION_SCHEMA = pl.Schema(
    {"store": pl.String(), "item": pl.String(), **dict.fromkeys(("last", *DRIVERS), pl.Float64())}
)
WEEK_CORRELATION = 0.5  # of the two weeks' demand, where a model does not estimate it
LEAD_WEEKS = (1, 2)  # weeks from the cut-off to the buffer week and to the target week


class Forecaster(Protocol):
    """A model of weekly demand in units, fitted to a panel and saved as plain files.

    The same panel gives the same bits. One contract suite tests all forecasters
    (tests/contracts/test_forecasters.py).
    """

    name: str

    @property
    def parameters(self) -> dict[str, float]:
        """Hyperparameters, for the model registry."""
        ...

    def fit(self, panel: Panel) -> None:
        """Learn from a panel. A panel without sales is allowed; it stays unchanged."""
        ...

    def predict(self, panel: Panel) -> pl.DataFrame:
        """FORECAST_SCHEMA, three rows for each store and item of the panel.

        `week` is the buffer week, the target week or both together (`Week.two_week_interval`).
        Quantiles are in units, never negative and never decreasing over QUANTILE_LEVELS. The mean
        of both weeks is the sum of their means. Rows are sorted by store, item and week. Stores
        and items that were not in the fitted panel are forecast too.
        """
        ...

    def explain(self, panel: Panel) -> pl.DataFrame:
        """EXPLANATION_SCHEMA, one row for each store and item, in units.

        `last` is the last known week's sales. The DRIVERS' effects add up from it to the target
        week's mean.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the fitted model into a folder as .json, .txt or .npz files."""
        ...

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; predictions are then the same."""
        ...


def lazy_factory(module: str, attribute: str) -> Callable[[], Forecaster]:
    """A factory that imports its module only when called, since some import heavy libraries."""

    def make() -> Forecaster:
        forecaster: Forecaster = getattr(
            import_module(f"tanuki.shop.forecasting.{module}"), attribute
        )()
        return forecaster

    return make


FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "seasonal_naive": lazy_factory("seasonal_naive", "SeasonalNaive"),
    "moving_average": lazy_factory("moving_average", "MovingAverage"),
    "auto_ets": lazy_factory("auto_ets", "AutoEts"),
    "lightgbm": lazy_factory("lightgbm", "LightGbm"),
    "poisson_regression": lazy_factory("poisson_regression.forecaster", "PoissonRegression"),
}
DEFAULT_FORECASTER = "poisson_regression"


def check_forecaster_name(name: str) -> None:
    """Raises NotFound unless there is a forecaster of that name."""
    if name not in FORECASTERS:
        raise NotFound(
            "There is no model %(name)s; expected one of %(known)s.",
            name=name,
            known=", ".join(FORECASTERS),
        )


def make_forecaster(name: str) -> Forecaster:
    """A new forecaster, not fitted. Raises NotFound when there is none of that name."""
    check_forecaster_name(name)
    return FORECASTERS[name]()


def build_forecast(
    panel: Panel, keys: pl.DataFrame, quantiles: list[Numbers], mean: list[Numbers]
) -> pl.DataFrame:
    """The frame of `Forecaster.predict`.

    `keys` are [store, item], one row a line. `mean` holds an array for each of the two weeks,
    `quantiles` a matrix (lines × QUANTILE_LEVELS) for each; a third matrix is that of both
    together, otherwise sum_quantiles makes it. Negative and crossing quantiles are set right.
    """
    if keys.height == 0:
        return pl.DataFrame(schema=FORECAST_SCHEMA)
    if len(quantiles) == len(LEAD_WEEKS):
        quantiles = [*quantiles, sum_quantiles(*quantiles)]
    frames = []
    weeks = (panel.target.buffer, panel.target, panel.target.two_week_interval)
    for week, values, week_mean in zip(weeks, quantiles, [*mean, sum(mean)], strict=True):
        ordered = np.maximum.accumulate(np.maximum(values, 0.0), axis=1)
        columns = dict(zip(QUANTILE_COLUMNS, ordered.T, strict=True))
        frames.append(
            keys.with_columns(
                pl.lit(str(week)).alias("week"),
                *(pl.Series(name, column) for name, column in columns.items()),
                pl.Series("mean", np.maximum(week_mean, 0.0)),
            )
        )
    return pl.concat(frames).select(FORECAST_SCHEMA.names()).sort("store", "item", "week")


def build_explanation(keys: pl.DataFrame, effects: Mapping[str, Numbers]) -> pl.DataFrame:
    """The frame of `Forecaster.explain`; a driver that `effects` lacks has effect 0."""
    zeros = np.zeros(keys.height)
    return keys.with_columns(
        pl.Series(name, effects.get(name, zeros)) for name in ("last", *DRIVERS)
    ).select(EXPLANATION_SCHEMA.names())


def explain_by_level(model: Forecaster, panel: Panel) -> pl.DataFrame:
    """The explanation of a model without drivers: the whole change is one of level."""
    means = (
        model.predict(panel)
        .filter(pl.col("week") == str(panel.target))
        .select("store", "item", "mean")
    )
    week = panel.sales.filter(pl.col("date") > panel.target.cutoff - timedelta(days=7))
    last = week.group_by("store", "item").agg(pl.col("units").sum().alias("last"))
    rows = (
        means.join(last, on=["store", "item"], how="left")
        .with_columns(pl.col("last").fill_null(0.0))
        .sort("store", "item")
    )
    return build_explanation(
        rows.select("store", "item"),
        {"last": rows["last"].to_numpy(), "level": (rows["mean"] - rows["last"]).to_numpy()},
    )


def forecast_quantile(frame: pl.DataFrame, level: float) -> Numbers:
    """The quantile at any level of each row of a forecast, see interpolate_quantile."""
    return interpolate_quantile(frame.select(QUANTILE_COLUMNS).to_numpy(), level)


def interpolate_quantile(quantiles: Numbers, level: float) -> Numbers:
    """The quantile at `level` of each line of `quantiles` (lines × QUANTILE_LEVELS).

    Between two levels it is interpolated as if the distribution were normal there; beyond the
    outermost levels it is theirs.
    """
    upper = int(np.clip(np.searchsorted(QUANTILE_LEVELS, level), 1, len(QUANTILE_LEVELS) - 1))
    score = NormalDist().inv_cdf(min(max(level, QUANTILE_LEVELS[0]), QUANTILE_LEVELS[-1]))
    low, high = NORMAL_SCORES[upper - 1], NORMAL_SCORES[upper]
    part = (score - low) / (high - low)
    return np.asarray(quantiles[:, upper - 1] * (1 - part) + quantiles[:, upper] * part)


def sum_quantiles(buffer: Numbers, target: Numbers) -> Numbers:
    """Quantiles of the sum of two weeks from those of each, all lines × QUANTILE_LEVELS.

    Distances a and b from the medians are combined like the standard deviations of normal
    variables with correlation r = WEEK_CORRELATION: √(a² + b² + 2 r a b).
    """
    median = QUANTILE_LEVELS.index(0.5)
    a, b = buffer - buffer[:, [median]], target - target[:, [median]]
    distance = np.sqrt(a**2 + b**2 + 2 * WEEK_CORRELATION * np.abs(a * b))
    return np.asarray(buffer[:, [median]] + target[:, [median]] + np.sign(NORMAL_SCORES) * distance)
