"""Quantiles for models that forecast points: from their own errors in past weeks, at the same distance from what they knew."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.shop.features import grid as grid_of
from tanuki.shop.features import weekly
from tanuki.shop.forecasting.forecaster import LEADS, QUANTILES, SCORES, Numbers, by_level, forecast
from tanuki.shop.panel import Panel

ORIGINS = 26  # past weeks whose errors count
ENOUGH = 60  # errors below which the spread of random counts stands in
COUNTS = 1.5 * SCORES  # quantiles of a spread half as wide again as that of Poisson counts
SMALLEST = 0.25  # units: the least level that errors are measured against, so that series without sales have a spread too

Points = Callable[[Numbers, int], Numbers]


class PointForecaster:
    """A rule from weekly sales (lines × weeks, NaN unknown) and a lead to one number a line, with the spread of its own past errors.

    An error is divided by the square root of its forecast, so that series of all sizes share one distribution.
    """

    name = ""

    def __init__(self) -> None:
        self.spread: dict[int, list[float]] = {}

    @property
    def parameters(self) -> dict[str, float]:
        return {"origins": float(ORIGINS)}

    def point(self, known: Numbers, lead: int) -> Numbers:
        """The week `lead` weeks after the last known one, per line."""
        raise NotImplementedError

    def fit(self, panel: Panel) -> None:
        weeks = weekly(grid_of(panel).units)
        self.spread = {lead: spread(past_errors(weeks, lead, self.point)) for lead in LEADS}

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = grid_of(panel)
        if grid.keys.height == 0:
            return forecast(panel, grid.keys, [], [])
        weeks = weekly(grid.units)
        means = [self.point(weeks, lead) for lead in LEADS]
        return forecast(
            panel,
            grid.keys,
            [around(mean, self.spread[lead]) for lead, mean in zip(LEADS, means, strict=True)],
            means,
        )

    def explain(self, panel: Panel) -> pl.DataFrame:
        return by_level(self, panel)

    def save(self, folder: Path) -> None:
        save_spread(folder, self.spread)

    def load(self, folder: Path) -> None:
        self.spread = load_spread(folder)


def past_errors(weeks: Numbers, lead: int, point: Points) -> Numbers:
    """Scaled errors of `point` over the last ORIGINS weeks that it can be tried on, all series together."""
    errors = [np.zeros(0)]
    last = weeks.shape[1] - lead
    for known in range(max(2, last - ORIGINS + 1), last + 1):
        errors.append(
            scaled(
                weeks[:, known + lead - 1], point(weeks[:, :known], lead), begun(weeks[:, :known])
            )
        )
    return np.concatenate(errors)


def scaled(actual: Numbers, forecast: Numbers, rows: NDArray[np.bool_]) -> Numbers:
    """Errors in square roots of the forecast, of the rows that count and whose actual is known."""
    errors = (actual - forecast) / np.sqrt(np.maximum(forecast, SMALLEST))
    return np.asarray(errors[rows & np.isfinite(errors)])


def begun(known: Numbers) -> NDArray[np.bool_]:
    """Whether a line had sales in at least two known weeks."""
    return np.asarray((np.nan_to_num(known) > 0).sum(axis=1) >= 2)


def spread(errors: Numbers) -> list[float]:
    """The quantiles of scaled errors; those of counts when there are too few to tell.

    Errors count in both directions: all series miss a change of season to the same side, and the next change is as likely to go the other way.
    """
    if len(errors) < ENOUGH:
        return [float(count) for count in COUNTS]
    return [float(q) for q in np.quantile(np.concatenate([errors, -errors]), QUANTILES)]


def around(mean: Numbers, quantiles: list[float]) -> Numbers:
    """Forecasts with a spread put around them: one line each, one column a quantile."""
    return np.asarray(
        mean[:, None] + np.sqrt(np.maximum(mean, SMALLEST))[:, None] * np.array(quantiles)
    )


def save_spread(folder: Path, spread: dict[int, list[float]]) -> None:
    """Write the spread of each lead."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spread.json").write_text(
        json.dumps({str(lead): values for lead, values in spread.items()}), encoding="utf-8"
    )


def load_spread(folder: Path) -> dict[int, list[float]]:
    """The spread of each lead as it was saved."""
    return {
        int(lead): values
        for lead, values in json.loads((folder / "spread.json").read_text(encoding="utf-8")).items()
    }
