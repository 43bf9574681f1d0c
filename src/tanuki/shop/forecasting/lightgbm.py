"""One LightGBM over all series and both leads: how a week compares with the series' last four, with the spread of its errors on weeks it never saw."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.shop.features import WEEK_FEATURES, Grid, level, week_features, weekly
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

CALIBRATION = 8  # last weeks kept from the first model, on which its spread is measured
SHORTEST = 5  # weeks known before the first origin that is learnt from
TREES = 200
PARAMETERS = {
    "objective": "poisson", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 50, "feature_fraction": 0.8, "lambda_l2": 1.0,
    "seed": 1, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbose": -1,
}  # fmt: skip


class LightGbm:
    """Learns the ratio of a week to the series' level, each row weighted by the level."""

    name = "lightgbm"

    def __init__(self) -> None:
        self.booster: Any = None
        self.spread: dict[int, list[float]] = {}
        self.stores: list[str] = []
        self.items: list[str] = []

    @property
    def parameters(self) -> dict[str, float]:
        numbers = {
            key: float(value) for key, value in PARAMETERS.items() if isinstance(value, int | float)
        }
        return {**numbers, "trees": float(TREES), "calibration_weeks": float(CALIBRATION)}

    def fit(self, panel: Panel) -> None:
        grid = grid_of(panel)
        weeks = weekly(grid.units)
        self.stores, self.items, self.booster = grid.stores, grid.items, None
        total = weeks.shape[1]
        errors: dict[int, list[Numbers]] = {lead: [np.zeros(0)] for lead in LEADS}
        first = total - CALIBRATION
        early = self.learn(grid, weeks[:, :first]) if first > SHORTEST else None
        if early is not None:
            for lead in LEADS:
                for known in range(first, total - lead + 1):
                    mean = self.means(early, grid, weeks[:, :known], lead)
                    errors[lead].append(
                        scaled(weeks[:, known + lead - 1], mean, begun(weeks[:, :known]))
                    )
        self.spread = {lead: spread(np.concatenate(found)) for lead, found in errors.items()}
        self.booster = self.learn(grid, weeks)

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = grid_of(panel)
        if grid.keys.height == 0:
            return forecast(panel, grid.keys, [], [])
        means = [self.means(self.booster, grid, weekly(grid.units), lead) for lead in LEADS]
        return forecast(
            panel,
            grid.keys,
            [around(mean, self.spread[lead]) for lead, mean in zip(LEADS, means, strict=True)],
            means,
        )

    def learn(self, grid: Grid, weeks: Numbers) -> Any:
        """A booster from every past week that can be told ahead, or None when there is too little."""
        import lightgbm

        rows, ratios, weights = [np.zeros((0, len(WEEK_FEATURES)))], [np.zeros(0)], [np.zeros(0)]
        for lead in LEADS:
            for known in range(SHORTEST, weeks.shape[1] - lead + 1):
                base, actual = level(weeks[:, :known]), weeks[:, known + lead - 1]
                counts = np.isfinite(actual) & begun(weeks[:, :known])
                rows.append(self.features(grid, weeks[:, :known], lead)[counts])
                ratios.append((actual / base)[counts])
                weights.append(base[counts])
        if sum(map(len, ratios)) < 2 * int(PARAMETERS["min_data_in_leaf"]):  # type: ignore[call-overload]
            return None
        weight = np.concatenate(weights)
        data = lightgbm.Dataset(
            np.concatenate(rows),
            np.concatenate(ratios),
            weight=weight / weight.mean(),
            feature_name=list(WEEK_FEATURES),
            categorical_feature=["store", "item"],
        )
        return lightgbm.train(PARAMETERS, data, num_boost_round=TREES)

    def means(self, booster: Any, grid: Grid, known: Numbers, lead: int) -> Numbers:
        """The mean of the week `lead` weeks after the known ones; without a booster, the level."""
        base = np.where(begun(known), level(known), np.nan_to_num(known).mean(axis=1))
        return np.asarray(
            base if booster is None else base * booster.predict(self.features(grid, known, lead))
        )

    def features(self, grid: Grid, known: Numbers, lead: int) -> Numbers:
        """The features with stores and items numbered as they were when it learnt; NaN for those it never met."""
        weeks = [grid.days[0] + timedelta(weeks=n) for n in range(known.shape[1])]
        made = week_features(grid, known, weeks, known.shape[1], lead)
        made[:, 0], made[:, 1] = (
            numbered(grid.keys["store"], self.stores),
            numbered(grid.keys["item"], self.items),
        )
        return made

    def explain(self, panel: Panel) -> pl.DataFrame:
        return by_level(self, panel)

    def save(self, folder: Path) -> None:
        save_spread(folder, self.spread)
        (folder / "names.json").write_text(
            json.dumps({"stores": self.stores, "items": self.items}, ensure_ascii=False),
            encoding="utf-8",
        )
        if self.booster is not None:
            (folder / "model.txt").write_text(self.booster.model_to_string(), encoding="utf-8")

    def load(self, folder: Path) -> None:
        import lightgbm

        self.spread = load_spread(folder)
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        self.stores, self.items = names["stores"], names["items"]
        model = folder / "model.txt"
        self.booster = (
            lightgbm.Booster(model_str=model.read_text(encoding="utf-8"))
            if model.exists()
            else None
        )


def numbered(names: pl.Series, known: list[str]) -> NDArray[np.float64]:
    """The place of each name among the known ones; NaN for the others."""
    place = {name: float(n) for n, name in enumerate(known)}
    return np.array([place.get(name, np.nan) for name in names])
