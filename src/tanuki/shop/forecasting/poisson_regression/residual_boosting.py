"""Gradient boosting on the regression's weekly residuals, where regressors move demand far.

Trees fit what a log-linear regression cannot: curved responses and interactions of regressors.
Past weeks decide how much the boosted mean counts.
"""

from typing import TYPE_CHECKING

import numpy as np

from tanuki.shop.features import Grid, Numbers, mean_known
from tanuki.shop.forecasting.poisson_regression.regressors import (
    CROSS_PRICE,
    PRICE,
    Regressors,
    driver_of,
)

if TYPE_CHECKING:
    from lightgbm import Booster

MIN_LOG_LIFT_SD = 0.3  # of weeks' log lift; below it nothing is boosted
BLEND_WEIGHTS = (0.0, 0.3, 0.5, 0.7, 0.9)  # of the boosted mean, that are tried
PRICE_MEMORY_WEEKS = 8  # weeks in which customers remember a lower price
LAG_WEEKS = 2  # when a week is ordered, the last known week is this many weeks before
# A booster is trained again after this many past weeks: an older one is worse than the one that
# will be used, so its blend weight would come out too low.
REFIT_EVERY_ORIGINS = 4
MIN_HISTORY_WEEKS = 8  # of a series before its weeks are learnt
MIN_TRAINING_ROWS = 1000
MAX_LOG_RESIDUAL = 3.0
RESIDUAL_BOOSTING_ROUNDS = 200
RESIDUAL_BOOSTING_PARAMETERS = {
    "objective": "gamma", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 40,
    "feature_fraction": 0.8, "lambda_l2": 1.0, "seed": 1, "deterministic": True,
    "force_row_wise": True, "num_threads": 1, "verbose": -1,
}  # fmt: skip


class WeeklyResiduals:
    """Sales, means and regressors by line and week; `expected` and `regressors` may go further.

    `log_residual` is log((sales + 0.5) / (mean + 0.5)), NaN where sales are not known. Weather is
    left out of the regressors: what it will be is not known when a week is ordered.
    """

    def __init__(self, grid: Grid, daily_means: Numbers, regressors: Regressors) -> None:
        units = np.where(grid.sold_out, np.nan, grid.units)
        self.item, self.store = grid.item, grid.store
        self.lines_per_item = np.bincount(grid.item, minlength=len(grid.items))
        self.expected = 7 * average_weeks(daily_means)
        self.regressors = {
            name: average_weeks(value)
            for name, value in zip(regressors.names, regressors.values, strict=True)
            if driver_of(name) != "weather"
        }
        known = units.shape[1] // 7
        self.log_residual = np.log(
            (7 * average_weeks(units) + 0.5) / (self.expected[:, :known] + 0.5)
        )

    def build_features(self, week: int) -> Numbers:
        """Features of a week from what is known LAG_WEEKS before: lines × features."""
        past_weeks = slice(max(0, week - LAG_WEEKS - 12), max(0, week - LAG_WEEKS + 1))
        residuals = self.log_residual[:, past_weeks]
        log_expected = np.log(self.expected[:, week] + 0.5)
        change = log_expected - np.log(self.expected[:, past_weeks].mean(axis=1) + 0.5)
        # The lines of an item are often promoted together, so their mean change is a feature.
        item_change = (np.bincount(self.item, change) / self.lines_per_item)[self.item]
        columns = [
            self.item,
            log_expected,
            mean_known(residuals[:, -4:]),
            mean_known(residuals),
            change,
            item_change,
        ]
        for name, value in self.regressors.items():
            columns += [value[:, week], value[:, week - 1], value[:, week - 2]]
            if name == PRICE:
                lowest = value[:, max(0, week - PRICE_MEMORY_WEEKS) : week].min(axis=1)
                columns += [value[:, week - 1] - value[:, week], lowest - value[:, week]]
            elif name != CROSS_PRICE:  # how many other items of the store have the promotion too
                columns.append(np.bincount(self.store, value[:, week])[self.store] - value[:, week])
        return np.column_stack(columns)


def average_weeks(daily: Numbers) -> Numbers:
    """The daily means of whole weeks: lines × weeks."""
    return np.asarray(daily.reshape(len(daily), -1, 7).mean(axis=2))


def train_residual_booster(residuals: WeeklyResiduals, weeks: int) -> "Booster | None":
    """A booster of sales over means from the first `weeks` weeks; None with too few rows."""
    import lightgbm

    rows, ratios, sizes = [], [], []
    for week in range(MIN_HISTORY_WEEKS, weeks):
        known = np.isfinite(residuals.log_residual[:, week])
        log_ratio = residuals.log_residual[known, week]
        rows.append(residuals.build_features(week)[known])
        ratios.append(np.exp(np.clip(log_ratio, -MAX_LOG_RESIDUAL, MAX_LOG_RESIDUAL)))
        sizes.append(np.sqrt(residuals.expected[known, week]))
    if sum(map(len, ratios)) < MIN_TRAINING_ROWS:
        return None
    size = np.concatenate(sizes)
    data = lightgbm.Dataset(
        np.concatenate(rows),
        np.concatenate(ratios),
        weight=size / size.mean(),
        categorical_feature=[0],
    )
    return lightgbm.train(
        RESIDUAL_BOOSTING_PARAMETERS, data, num_boost_round=RESIDUAL_BOOSTING_ROUNDS
    )


def predict_boosted_means(booster: "Booster", residuals: WeeklyResiduals, week: int) -> Numbers:
    """The boosted means of two weeks from `week` on: 2 × lines."""
    return np.stack(
        [
            residuals.expected[:, ahead] * booster.predict(residuals.build_features(ahead))
            for ahead in (week, week + 1)
        ]
    )


def blend_means(mean: Numbers, boosted: Numbers, weight: float) -> Numbers:
    """The geometric mean of both, in which the boosted one has `weight`."""
    log_mean, log_boosted = np.log(np.maximum(mean, 1e-6)), np.log(np.maximum(boosted, 1e-6))
    return np.asarray(np.exp((1 - weight) * log_mean + weight * log_boosted))
