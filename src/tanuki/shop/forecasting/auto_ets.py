"""statsforecast's AutoETS on the weekly sales of each series by itself.

It is exponential smoothing in state-space form, chosen by an information criterion (Hyndman,
Koehler, Ord and Snyder, 2008), without a season: its quantiles are those of its own past errors.
"""

import math
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tanuki.shop.features import Grid, Numbers, build_grid, mean_known, sum_weeks
from tanuki.shop.forecasting.empirical_quantiles import (
    add_error_quantiles_by_lead,
    estimate_error_quantiles,
    has_started,
    load_error_quantiles,
    save_error_quantiles,
    scale_errors,
)
from tanuki.shop.forecasting.forecaster import LEAD_WEEKS, build_forecast, explain_by_level
from tanuki.shop.panel import Panel

if TYPE_CHECKING:
    from statsforecast import StatsForecast

MIN_WEEKS = 8  # of a series; shorter ones get their mean
BACKTEST_ORIGINS = 8  # past weeks whose errors count; each is fitted anew, to follow the level


class AutoEts:
    name = "auto_ets"

    def __init__(self) -> None:
        self.error_quantiles: dict[int, list[float]] = {}

    @property
    def parameters(self) -> dict[str, float]:
        return {"origins": float(BACKTEST_ORIGINS), "min_weeks": float(MIN_WEEKS)}

    def fit(self, panel: Panel) -> None:
        grid = build_grid(panel)
        weeks = sum_weeks(grid.units)
        errors: dict[int, list[Numbers]] = {lead: [np.zeros(0)] for lead in LEAD_WEEKS}
        origins = min(BACKTEST_ORIGINS, weeks.shape[1] - len(LEAD_WEEKS) - MIN_WEEKS)
        if grid.keys.height and origins > 0:
            past = make_statsforecast().cross_validation(
                df=to_long_frame(grid, weeks),
                h=len(LEAD_WEEKS),
                n_windows=origins,
                step_size=1,
                refit=True,
            )
            for cutoff in past["cutoff"].unique().sort():
                window = past.filter(pl.col("cutoff") == cutoff)
                origin = (cutoff - grid.days[0]).days // 7 + 1
                lines, points = read_points(window)
                rows = has_started(weeks[lines, :origin])
                for lead in LEAD_WEEKS:
                    actual = weeks[lines, origin + lead - 1]
                    errors[lead].append(scale_errors(actual, points[lead - 1], rows))
        self.error_quantiles = {
            lead: estimate_error_quantiles(np.concatenate(parts)) for lead, parts in errors.items()
        }

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = build_grid(panel)
        if grid.keys.height == 0:
            return build_forecast(panel, grid.keys, [], [])
        weeks = sum_weeks(grid.units)
        means = np.tile(np.nan_to_num(mean_known(weeks[:, -4:])), (len(LEAD_WEEKS), 1))
        long = to_long_frame(grid, weeks)
        if long.height:
            lines, points = read_points(make_statsforecast().forecast(df=long, h=len(LEAD_WEEKS)))
            means[:, lines] = points
        quantiles = add_error_quantiles_by_lead(list(means), self.error_quantiles)
        return build_forecast(panel, grid.keys, quantiles, list(means))

    def explain(self, panel: Panel) -> pl.DataFrame:
        return explain_by_level(self, panel)

    def save(self, folder: Path) -> None:
        save_error_quantiles(folder, self.error_quantiles)

    def load(self, folder: Path) -> None:
        self.error_quantiles = load_error_quantiles(folder)


def make_statsforecast() -> "StatsForecast":
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS

    return StatsForecast(models=[AutoETS(season_length=1)], freq="1w", n_jobs=1)


def read_points(ahead: pl.DataFrame) -> tuple[Numbers, Numbers]:
    """The lines of a forecast, and its points, never negative: LEAD_WEEKS × lines."""
    ahead = ahead.sort("unique_id", "ds")
    lines = ahead["unique_id"].unique(maintain_order=True).to_numpy()
    points = ahead["AutoETS"].to_numpy().reshape(-1, len(LEAD_WEEKS)).T
    return lines, np.maximum(points, 0.0)


def to_long_frame(grid: Grid, weeks: Numbers) -> pl.DataFrame:
    """[unique_id (line), ds (Monday), y] of series of at least MIN_WEEKS weeks.

    A series begins with its first known week; an unknown week holds the week before.
    """
    mondays: list[date] = [grid.days[0] + timedelta(weeks=n) for n in range(weeks.shape[1])]
    rows: list[tuple[int, date, float]] = []
    for line, values in enumerate(weeks):
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < MIN_WEEKS or len(values) - known[0] < MIN_WEEKS:
            continue
        last = 0.0
        for n in range(int(known[0]), len(values)):
            last = last if math.isnan(values[n]) else float(values[n])
            rows.append((line, mondays[n], last))
    schema = {"unique_id": pl.Int64, "ds": pl.Date, "y": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")
