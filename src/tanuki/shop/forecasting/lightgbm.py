"""One LightGBM over all series and both leads, on the ratio of a week to the series' level.

Its quantiles are those of its errors on weeks that were not used in training.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tanuki.shop.features import (
    WEEK_FEATURES,
    Grid,
    Numbers,
    build_grid,
    build_week_features,
    recent_level,
    sum_weeks,
)
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
    from lightgbm import Booster

CALIBRATION_WEEKS = 8  # last weeks, left out of a first model that is trained for its errors
MIN_ORIGIN_WEEKS = 5  # weeks known before the first origin that is learnt from
BOOSTING_ROUNDS = 200
MIN_LEAF_ROWS = 50
LIGHTGBM_PARAMETERS: dict[str, Any] = {
    "objective": "poisson", "learning_rate": 0.05, "num_leaves": 31,
    "min_data_in_leaf": MIN_LEAF_ROWS, "feature_fraction": 0.8, "lambda_l2": 1.0, "seed": 1,
    "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbose": -1,
}  # fmt: skip


class LightGbm:
    """The ratio of a week to the series' level (recent_level), each row weighted by the level.

    `stores` and `items` are the categories of the training, in the order of their codes.
    """

    name = "lightgbm"

    def __init__(self) -> None:
        self.booster: Booster | None = None
        self.error_quantiles: dict[int, list[float]] = {}
        self.stores: list[str] = []
        self.items: list[str] = []

    @property
    def parameters(self) -> dict[str, float]:
        numbers = {
            name: float(value)
            for name, value in LIGHTGBM_PARAMETERS.items()
            if isinstance(value, int | float)
        }
        rounds, weeks = float(BOOSTING_ROUNDS), float(CALIBRATION_WEEKS)
        return {**numbers, "boosting_rounds": rounds, "calibration_weeks": weeks}

    def fit(self, panel: Panel) -> None:
        grid = build_grid(panel)
        weeks = sum_weeks(grid.units)
        self.stores, self.items, self.booster = grid.stores, grid.items, None
        total = weeks.shape[1]
        errors: dict[int, list[Numbers]] = {lead: [np.zeros(0)] for lead in LEAD_WEEKS}
        first = total - CALIBRATION_WEEKS
        early = self.train_booster(grid, weeks[:, :first]) if first > MIN_ORIGIN_WEEKS else None
        if early is not None:
            for lead in LEAD_WEEKS:
                for origin in range(first, total - lead + 1):
                    known, actual = weeks[:, :origin], weeks[:, origin + lead - 1]
                    mean = self.predict_means(early, grid, known, lead)
                    errors[lead].append(scale_errors(actual, mean, has_started(known)))
        self.error_quantiles = {
            lead: estimate_error_quantiles(np.concatenate(parts)) for lead, parts in errors.items()
        }
        self.booster = self.train_booster(grid, weeks)

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = build_grid(panel)
        if grid.keys.height == 0:
            return build_forecast(panel, grid.keys, [], [])
        weeks = sum_weeks(grid.units)
        means = [self.predict_means(self.booster, grid, weeks, lead) for lead in LEAD_WEEKS]
        quantiles = add_error_quantiles_by_lead(means, self.error_quantiles)
        return build_forecast(panel, grid.keys, quantiles, means)

    def train_booster(self, grid: Grid, weeks: Numbers) -> "Booster | None":
        """A booster from every past week and lead; None with too few rows."""
        import lightgbm

        rows, ratios, weights = [np.zeros((0, len(WEEK_FEATURES)))], [np.zeros(0)], [np.zeros(0)]
        for lead in LEAD_WEEKS:
            for origin in range(MIN_ORIGIN_WEEKS, weeks.shape[1] - lead + 1):
                known, actual = weeks[:, :origin], weeks[:, origin + lead - 1]
                level = recent_level(known)
                counts = np.isfinite(actual) & has_started(known)
                rows.append(self.build_features(grid, known, lead)[counts])
                ratios.append((actual / level)[counts])
                weights.append(level[counts])
        if sum(map(len, ratios)) < 2 * MIN_LEAF_ROWS:
            return None
        weight = np.concatenate(weights)
        data = lightgbm.Dataset(
            np.concatenate(rows),
            np.concatenate(ratios),
            weight=weight / weight.mean(),
            feature_name=list(WEEK_FEATURES),
            categorical_feature=["store", "item"],
        )
        return lightgbm.train(LIGHTGBM_PARAMETERS, data, num_boost_round=BOOSTING_ROUNDS)

    def predict_means(
        self, booster: "Booster | None", grid: Grid, known: Numbers, lead: int
    ) -> Numbers:
        """The mean of the week `lead` weeks after the known ones; without a booster, the level."""
        mean = np.nan_to_num(known).mean(axis=1)
        level = np.where(has_started(known), recent_level(known), mean)
        if booster is None:
            return level
        return np.asarray(level * booster.predict(self.build_features(grid, known, lead)))

    def build_features(self, grid: Grid, known: Numbers, lead: int) -> Numbers:
        """WEEK_FEATURES with the training's codes of stores and items; NaN for unknown ones."""
        mondays = [grid.days[0] + timedelta(weeks=n) for n in range(known.shape[1])]
        features = build_week_features(grid, known, mondays, known.shape[1], lead)
        features[:, 0] = encode_categories(grid.keys["store"], self.stores)
        features[:, 1] = encode_categories(grid.keys["item"], self.items)
        return features

    def explain(self, panel: Panel) -> pl.DataFrame:
        return explain_by_level(self, panel)

    def save(self, folder: Path) -> None:
        save_error_quantiles(folder, self.error_quantiles)
        names = json.dumps({"stores": self.stores, "items": self.items}, ensure_ascii=False)
        (folder / "categories.json").write_text(names, encoding="utf-8")
        if self.booster is not None:
            (folder / "booster.txt").write_text(self.booster.model_to_string(), encoding="utf-8")

    def load(self, folder: Path) -> None:
        import lightgbm

        self.error_quantiles = load_error_quantiles(folder)
        names = json.loads((folder / "categories.json").read_text(encoding="utf-8"))
        self.stores, self.items = names["stores"], names["items"]
        path = folder / "booster.txt"
        self.booster = None
        if path.exists():
            self.booster = lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))


def encode_categories(names: pl.Series, known: list[str]) -> Numbers:
    """The index of each name among the known ones; NaN for the others."""
    index = {name: float(n) for n, name in enumerate(known)}
    return np.array([index.get(name, np.nan) for name in names])
