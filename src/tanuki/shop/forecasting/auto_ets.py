"""statsforecast's AutoETS on weekly sales, each series for itself: exponential smoothing of the kind that its information criterion prefers."""

import math
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tanuki.shop.features import Grid, mean_of, weekly
from tanuki.shop.features import grid as grid_of
from tanuki.shop.forecasting.conformal import (
    around,
    begun,
    load_spread,
    save_spread,
    scaled,
    spread,
)
from tanuki.shop.forecasting.forecaster import LEADS, Numbers, by_level, forecast
from tanuki.shop.panel import Panel

SHORTEST = 8  # weeks below which a series gets its mean
ORIGINS = 8  # past weeks whose errors count; it is fitted anew for each, as one fit does not follow the level


class AutoEts:
    """Its spread is that of its own errors over the last weeks, each forecast with only what was known then."""

    name = "auto_ets"

    def __init__(self) -> None:
        self.spread: dict[int, list[float]] = {}

    @property
    def parameters(self) -> dict[str, float]:
        return {"origins": float(ORIGINS), "shortest": float(SHORTEST)}

    def fit(self, panel: Panel) -> None:
        grid = grid_of(panel)
        weeks = weekly(grid.units)
        errors: dict[int, list[Numbers]] = {lead: [np.zeros(0)] for lead in LEADS}
        origins = min(ORIGINS, weeks.shape[1] - len(LEADS) - SHORTEST)
        if grid.keys.height and origins > 0:
            past = engine().cross_validation(
                df=long(grid, weeks), h=len(LEADS), n_windows=origins, step_size=1, refit=True
            )
            for cutoff in past["cutoff"].unique().sort():
                window = past.filter(pl.col("cutoff") == cutoff).sort("unique_id", "ds")
                known = (cutoff - grid.days[0]).days // 7 + 1
                lines = window["unique_id"].unique(maintain_order=True).to_numpy()
                values = window["AutoETS"].to_numpy().reshape(-1, len(LEADS))
                for lead in LEADS:
                    actual = weeks[lines, known + lead - 1]
                    errors[lead].append(
                        scaled(
                            actual,
                            np.maximum(values[:, lead - 1], 0.0),
                            begun(weeks[lines, :known]),
                        )
                    )
        self.spread = {lead: spread(np.concatenate(found)) for lead, found in errors.items()}

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = grid_of(panel)
        if grid.keys.height == 0:
            return forecast(panel, grid.keys, [], [])
        weeks = weekly(grid.units)
        means = np.tile(np.nan_to_num(mean_of(weeks[:, -4:])), (len(LEADS), 1))
        rows = long(grid, weeks)
        if rows.height:
            ahead = engine().forecast(df=rows, h=len(LEADS)).sort("unique_id", "ds")
            lines = ahead["unique_id"].unique(maintain_order=True).to_numpy()
            means[:, lines] = np.maximum(ahead["AutoETS"].to_numpy().reshape(-1, len(LEADS)).T, 0.0)
        return forecast(
            panel,
            grid.keys,
            [around(mean, self.spread[lead]) for lead, mean in zip(LEADS, means, strict=True)],
            list(means),
        )

    def explain(self, panel: Panel) -> pl.DataFrame:
        return by_level(self, panel)

    def save(self, folder: Path) -> None:
        save_spread(folder, self.spread)

    def load(self, folder: Path) -> None:
        self.spread = load_spread(folder)


def engine() -> Any:
    """statsforecast with one model and one process."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS

    return StatsForecast(models=[AutoETS(season_length=1)], freq="1w", n_jobs=1)


def long(grid: Grid, weeks: Numbers) -> pl.DataFrame:
    """unique_id (the line), ds (Monday), y of the series that are long enough, from their first known week; gaps hold the week before."""
    mondays: list[date] = [grid.days[0] + timedelta(weeks=n) for n in range(weeks.shape[1])]
    found: dict[str, list[Any]] = {"unique_id": [], "ds": [], "y": []}
    for line, values in enumerate(weeks):
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < SHORTEST or len(values) - known[0] < SHORTEST:
            continue
        last = 0.0
        for n in range(int(known[0]), len(values)):
            last = last if math.isnan(values[n]) else float(values[n])
            found["unique_id"].append(line)
            found["ds"].append(mondays[n])
            found["y"].append(last)
    return pl.DataFrame(found, schema={"unique_id": pl.Int64, "ds": pl.Date, "y": pl.Float64})
