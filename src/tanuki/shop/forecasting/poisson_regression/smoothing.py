"""Exponential smoothing of each series' recent level relative to the regression's means.

The level is the ratio of weekly sales to weekly means: 1 is as the regression expects. Smoothers
of several speeds are averaged with weights from their errors in past weeks.
"""

from dataclasses import dataclass

import numpy as np

from tanuki.shop.features import Grid, Numbers
from tanuki.shop.forecasting.poisson_regression.overdispersion import (
    estimate_dispersion,
    uncensored_demand,
)
from tanuki.shop.forecasting.poisson_regression.shrinkage import group_sum_matrix

SMOOTHING_WEEKS = 26  # weeks of sales that the smoothers use
WEIGHT_SHARPNESS = 0.02  # a loss this share above the least lowers a weight by the factor e
T_DEGREES_OF_FREEDOM = 4  # of the series' levels around their item's


@dataclass(frozen=True)
class ExponentialSmoother:
    """Exponential smoothing with shrinkage of the item's level and of the series' level.

    A week's weight halves every `half_life_weeks`. `item_prior_units` shrink an item's level to
    the chain's, `series_prior_units` a series' level to its item's. With `trend` the growth of the
    last year goes on.
    """

    half_life_weeks: float
    item_prior_units: float
    series_prior_units: float
    trend: bool

    def mean_age_weeks(self, weeks: int) -> float:
        """The weighted mean age of `weeks` weeks of sales."""
        age = np.arange(weeks) + 0.5
        weight = 0.5 ** (age / self.half_life_weeks)
        return float((age * weight).sum() / weight.sum())


SMOOTHERS = tuple(
    ExponentialSmoother(half_life_weeks, item_prior_units, series_prior_units, trend)
    for trend in (False, True)
    for half_life_weeks in (1.5, 3.0, 8.0)
    for item_prior_units, series_prior_units in (
        (6000.0, 5000.0),
        (1500.0, 700.0),
        (300.0, 120.0),
    )
)


@dataclass(frozen=True)
class WeeklySales:
    """Demand and the regression's mean by line and week (whole weeks back from the last day).

    Both count known days only. `dispersion` is Pearson's, of weeks around each line's level.
    """

    units: Numbers
    expected: Numbers
    dispersion: float


def sum_weekly_sales(grid: Grid, expected: Numbers, overdispersion: float) -> WeeklySales:
    """Weekly demand of the grid beside the means `expected` (lines × days).

    Demand on days that sold out depends on the level, and the level on that demand: two turns.
    """
    known = np.isfinite(grid.units)
    sold = np.nan_to_num(grid.units)
    units = sold
    known_expected = np.where(known, expected, 0.0)
    for _ in range(2 if grid.sold_out.any() else 0):
        level = units.sum(axis=1) / np.maximum(known_expected.sum(axis=1), 1e-9)
        mean = expected * np.clip(level, 0.2, 5.0)[:, None]
        units = uncensored_demand(sold, grid.sold_out, mean, overdispersion)
    weeks = units.shape[1] // 7
    first = units.shape[1] - 7 * weeks
    shape = (len(units), weeks, 7)
    weekly_units = np.where(known, units, 0.0)[:, first:].reshape(shape).sum(axis=2)
    weekly_expected = known_expected[:, first:].reshape(shape).sum(axis=2)
    level = weekly_units.sum(axis=1) / np.maximum(weekly_expected.sum(axis=1), 1e-9)
    dispersion = estimate_dispersion(
        weekly_units, weekly_expected * level[:, None], weekly_expected > 0
    )
    return WeeklySales(weekly_units, weekly_expected, dispersion)


def estimate_levels(grid: Grid, sales: WeeklySales, smoother: ExponentialSmoother) -> Numbers:
    """The level of each line by one smoother: discounted sums, as in Harvey and Fernandes (1989).

    The series' prior units are multiplied by the weight of Student's t, (nu + 1) / (nu + z²), at
    most 1, where z is the series' distance from its item in standard deviations (Lange, Little and
    Taylor, 1989). A level that jumped is thus shrunk less.
    """
    weight = 0.5 ** (np.arange(sales.units.shape[1])[::-1] / smoother.half_life_weeks)
    sold, expected = sales.units @ weight, sales.expected @ weight
    chain = sold.sum() / expected.sum() if expected.sum() > 0 else 1.0
    by_item = group_sum_matrix(grid.item, len(grid.items))
    item_units = smoother.item_prior_units * sales.dispersion
    series_units = smoother.series_prior_units * sales.dispersion
    item = (by_item @ sold + item_units * chain) / (by_item @ expected + item_units)
    prior = item[grid.item]
    mean = prior * expected
    variance = np.maximum(mean, 1e-9) * sales.dispersion + mean**2 / series_units
    z_squared = (sold - mean) ** 2 / variance
    t_weight = np.minimum(1.0, (T_DEGREES_OF_FREEDOM + 1) / (T_DEGREES_OF_FREEDOM + z_squared))
    prior_units = series_units * t_weight
    return np.asarray((sold + prior_units * prior) / (expected + prior_units))


def project_levels(grid: Grid, sales: WeeklySales, growth: float) -> Numbers:
    """Each smoother's level in the two weeks after the last one: smoothers × 2 × lines."""
    levels = []
    for smoother in SMOOTHERS:
        level = estimate_levels(grid, sales, smoother)
        age = smoother.mean_age_weeks(sales.units.shape[1]) if smoother.trend else 0.0
        levels.append(
            [
                level * np.exp(growth * (age + lead - 0.5) if smoother.trend else 0.0)
                for lead in (1, 2)
            ]
        )
    return np.array(levels)


def weigh_by_loss(losses: Numbers) -> Numbers:
    """Weights exp(-(loss / least loss - 1) / WEIGHT_SHARPNESS), which sum to 1.

    They are Akaike weights (Burnham and Anderson, 2002, section 2.9) with relative losses.
    """
    if not np.isfinite(losses).all() or losses.min() <= 0:
        return np.full(len(losses), 1 / len(losses))
    odds = np.exp(-(losses / losses.min() - 1) / WEIGHT_SHARPNESS)
    return np.asarray(odds / odds.sum())
