"""Quantiles around point forecasts: the empirical quantiles of their own past errors.

Errors are those of forecasts from past weeks at the same lead time (Williams and Goodman, 1971).
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.shop.features import Numbers, build_grid, sum_weeks
from tanuki.shop.forecasting.forecaster import (
    LEAD_WEEKS,
    NORMAL_SCORES,
    QUANTILE_LEVELS,
    build_forecast,
    explain_by_level,
)
from tanuki.shop.panel import Panel

MAX_ORIGINS = 26  # past weeks whose errors count
MIN_ERRORS = 60  # with fewer errors FALLBACK_QUANTILES are used
FALLBACK_QUANTILES = 1.5 * NORMAL_SCORES  # half as wide again as those of Poisson counts
MIN_LEVEL_UNITS = 0.25  # the least forecast that errors are scaled by

PointRule = Callable[[Numbers, int], Numbers]


class PointForecaster:
    """A forecaster made of a rule for points, with the quantiles of its own past errors.

    An error is divided by the square root of its forecast, as the errors of counts grow so; all
    series then share one distribution.
    """

    name = ""

    def __init__(self) -> None:
        self.error_quantiles: dict[int, list[float]] = {}

    @property
    def parameters(self) -> dict[str, float]:
        return {"origins": float(MAX_ORIGINS)}

    def forecast_point(self, known: Numbers, lead: int) -> Numbers:
        """The week `lead` weeks after the last column of `known` (lines × weeks, NaN unknown)."""
        raise NotImplementedError

    def fit(self, panel: Panel) -> None:
        weeks = sum_weeks(build_grid(panel).units)
        self.error_quantiles = {
            lead: estimate_error_quantiles(backtest_errors(weeks, lead, self.forecast_point))
            for lead in LEAD_WEEKS
        }

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = build_grid(panel)
        if grid.keys.height == 0:
            return build_forecast(panel, grid.keys, [], [])
        weeks = sum_weeks(grid.units)
        means = [self.forecast_point(weeks, lead) for lead in LEAD_WEEKS]
        quantiles = add_error_quantiles_by_lead(means, self.error_quantiles)
        return build_forecast(panel, grid.keys, quantiles, means)

    def explain(self, panel: Panel) -> pl.DataFrame:
        return explain_by_level(self, panel)

    def save(self, folder: Path) -> None:
        save_error_quantiles(folder, self.error_quantiles)

    def load(self, folder: Path) -> None:
        self.error_quantiles = load_error_quantiles(folder)


def backtest_errors(weeks: Numbers, lead: int, rule: PointRule) -> Numbers:
    """Scaled errors of a rule over the last MAX_ORIGINS weeks, those of all series together."""
    errors = [np.zeros(0)]
    last = weeks.shape[1] - lead
    for origin in range(max(2, last - MAX_ORIGINS + 1), last + 1):
        known, actual = weeks[:, :origin], weeks[:, origin + lead - 1]
        errors.append(scale_errors(actual, rule(known, lead), has_started(known)))
    return np.concatenate(errors)


def scale_errors(actual: Numbers, forecast: Numbers, rows: NDArray[np.bool_]) -> Numbers:
    """(actual - forecast) / √forecast of the chosen rows whose actual is known."""
    errors = (actual - forecast) / np.sqrt(np.maximum(forecast, MIN_LEVEL_UNITS))
    return np.asarray(errors[rows & np.isfinite(errors)])


def has_started(known: Numbers) -> NDArray[np.bool_]:
    """Whether a line had sales in at least two known weeks."""
    return np.asarray((np.nan_to_num(known) > 0).sum(axis=1) >= 2)


def estimate_error_quantiles(errors: Numbers) -> list[float]:
    """The quantiles of scaled errors and of their negatives, at QUANTILE_LEVELS.

    All series miss a change of season to the same side, and the next change is as likely to go
    the other way; hence the negatives.
    """
    if len(errors) < MIN_ERRORS:
        return [float(quantile) for quantile in FALLBACK_QUANTILES]
    both_signs = np.concatenate([errors, -errors])
    return [float(quantile) for quantile in np.quantile(both_signs, QUANTILE_LEVELS)]


def add_error_quantiles(mean: Numbers, error_quantiles: list[float]) -> Numbers:
    """Quantiles of the forecasts: lines × QUANTILE_LEVELS."""
    scale = np.sqrt(np.maximum(mean, MIN_LEVEL_UNITS))
    return np.asarray(mean[:, None] + scale[:, None] * np.array(error_quantiles))


def add_error_quantiles_by_lead(
    means: list[Numbers], error_quantiles: dict[int, list[float]]
) -> list[Numbers]:
    """The quantiles around each lead's forecasts, in the order of LEAD_WEEKS."""
    return [
        add_error_quantiles(mean, error_quantiles[lead])
        for lead, mean in zip(LEAD_WEEKS, means, strict=True)
    ]


def save_error_quantiles(folder: Path, error_quantiles: dict[int, list[float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({str(lead): values for lead, values in error_quantiles.items()})
    (folder / "error_quantiles.json").write_text(text, encoding="utf-8")


def load_error_quantiles(folder: Path) -> dict[int, list[float]]:
    text = (folder / "error_quantiles.json").read_text(encoding="utf-8")
    return {int(lead): values for lead, values in json.loads(text).items()}
