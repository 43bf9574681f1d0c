"""A second opinion where prices and promotions move demand far: LightGBM on what the regression leaves of each week.

Responses that bend, or that depend on each other, are what trees see and a regression does not. How much it counts, past weeks decide.
"""

from typing import Any

import numpy as np

from tanuki.shop.features import Grid, Numbers
from tanuki.shop.forecasting.poisson_regression.regressors import PRICE, RIVALS, Causes, kind_of

MOVES_FAR = (
    0.3  # standard deviation of the logarithms by which causes move weeks, above which it is asked
)
SHARES = (0.0, 0.3, 0.5, 0.7, 0.9)  # of its say
REMEMBERED = 8  # weeks in which a lower price is remembered
LAG = 2  # weeks: nothing nearer to a week is known when it is ordered
AGAIN = 4  # past weeks after which it is learnt again when its share is found, or it would look worse than it is
FIRST = 8  # weeks of a series before one is learnt from
TREES = 200
PARAMETERS = {
    "objective": "gamma", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 40, "feature_fraction": 0.8, "lambda_l2": 1.0,
    "seed": 1, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbose": -1,
}  # fmt: skip


def weeks_means(daily: Numbers) -> Numbers:
    """Means of whole weeks: lines × weeks."""
    return np.asarray(daily.reshape(len(daily), -1, 7).mean(axis=2))


class Weeks:
    """Everything by week: sold (NaN where not known), what the regression expects, and causes, these also of the weeks ahead; lines × weeks."""

    def __init__(self, grid: Grid, shape: Numbers, moved_by: Causes) -> None:
        units = np.where(grid.sold_out, np.nan, grid.units)
        self.item, self.store = grid.item, grid.store
        self.lines_of_item = np.bincount(grid.item, minlength=len(grid.items))
        self.expected = 7 * weeks_means(shape)
        self.causes = {
            name: weeks_means(value)
            for name, value in zip(moved_by.names, moved_by.values, strict=True)
            if kind_of(name) != "weather"
        }
        known = units.shape[1] // 7
        self.left = np.full((len(units), known), np.nan)
        self.left = np.log((7 * weeks_means(units) + 0.5) / (self.expected[:, :known] + 0.5))

    def features(self, week: int) -> Numbers:
        """Of one week, from what is known LAG weeks before: lines × features."""
        past = self.left[:, max(0, week - LAG - 12) : max(0, week - LAG + 1)]
        moved = np.log(self.expected[:, week] + 0.5) - np.log(
            self.expected[:, max(0, week - LAG - 12) : week - LAG + 1].mean(axis=1) + 0.5
        )
        columns = [
            self.item,
            np.log(self.expected[:, week] + 0.5),
            mean_of_known(past[:, -4:]),
            mean_of_known(past),
        ]
        columns += [
            moved,
            (np.bincount(self.item, moved) / self.lines_of_item)[self.item],
        ]  # the item's lines are often promoted together
        for name, cause in self.causes.items():
            columns += [cause[:, week], cause[:, week - 1], cause[:, week - 2]]
            if name == PRICE:
                columns += [
                    cause[:, week - 1] - cause[:, week],
                    cause[:, max(0, week - REMEMBERED) : week].min(axis=1) - cause[:, week],
                ]
            elif name != RIVALS:  # a promotion: how many others of the store have it too
                columns.append(np.bincount(self.store, cause[:, week])[self.store] - cause[:, week])
        return np.column_stack(columns)


def mean_of_known(values: Numbers) -> Numbers:
    """The mean of each line's known values; NaN when it has none."""
    known = np.isfinite(values)
    return np.where(
        known.any(axis=1),
        np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1),
        np.nan,
    )


def learn(weeks: Weeks, known: int) -> Any:
    """A booster from the first so many weeks: by how much a week sells more or less than expected."""
    import lightgbm

    rows, ratios, sizes = [], [], []
    for week in range(FIRST, known):
        there = np.isfinite(weeks.left[:, week])
        rows.append(weeks.features(week)[there])
        ratios.append(np.exp(np.clip(weeks.left[there, week], -3.0, 3.0)))
        sizes.append(np.sqrt(weeks.expected[there, week]))
    if sum(map(len, ratios)) < 1000:
        return None
    data = lightgbm.Dataset(
        np.concatenate(rows),
        np.concatenate(ratios),
        weight=weighed(np.concatenate(sizes)),
        categorical_feature=[0],
    )
    return lightgbm.train(PARAMETERS, data, num_boost_round=TREES)


def weighed(sizes: Numbers) -> Numbers:
    """How much rows of these sizes count, one on average: what is lost grows with what is sold."""
    return np.asarray(sizes / sizes.mean())


def means(booster: Any, weeks: Weeks, week: int) -> Numbers:
    """What it thinks of two weeks from `week` on: 2 × lines."""
    return np.stack(
        [weeks.expected[:, at] * booster.predict(weeks.features(at)) for at in (week, week + 1)]
    )


def mixed(mean: Numbers, opinion: Numbers, share: float) -> Numbers:
    """Both together: the geometric mean, in which the opinion counts so much."""
    return np.asarray(
        np.exp(
            (1 - share) * np.log(np.maximum(mean, 1e-6)) + share * np.log(np.maximum(opinion, 1e-6))
        )
    )
