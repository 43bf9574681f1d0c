"""Accuracy of forecasts and cost of orders; lower is better unless a score says otherwise.

All take arrays with one entry a row (a store and item in a week) and give 0 for no rows.
"""

import numpy as np

from tanuki.shop.features import Numbers
from tanuki.shop.tables import DEFAULT_LEFTOVER_COST_YEN, DEFAULT_SHORTAGE_COST_YEN


def wape(actual: Numbers, forecast: Numbers) -> float:
    """Weighted absolute percentage error: Σ |actual - forecast| / Σ |actual|."""
    return safe_ratio(float(np.abs(actual - forecast).sum()), float(np.abs(actual).sum()))


def bias(actual: Numbers, forecast: Numbers) -> float:
    """Σ (forecast - actual) / Σ |actual|: above 0 too much was forecast; best is 0."""
    return safe_ratio(float((forecast - actual).sum()), float(np.abs(actual).sum()))


def under_forecast_share(actual: Numbers, forecast: Numbers) -> float:
    """The share of rows forecast below sales: each is a possible sell-out."""
    return safe_ratio(float((forecast < actual).sum()), len(actual))


def pinball(actual: Numbers, quantiles: Numbers, levels: tuple[float, ...]) -> float:
    """The mean pinball (quantile) loss in units over rows and levels.

    `quantiles` are rows × levels. It scores the whole distribution (Koenker and Bassett, 1978).
    """
    errors = actual[:, None] - quantiles
    taus = np.array(levels)
    return float(np.maximum(taus * errors, (taus - 1) * errors).mean()) if len(actual) else 0.0


def coverage_80(actual: Numbers, low: Numbers, high: Numbers) -> float:
    """The share of rows from the 10 % to the 90 % quantile, both included; best is 0.8."""
    return safe_ratio(float(((actual >= low) & (actual <= high)).sum()), len(actual))


def shortage_units(actual: Numbers, ordered: Numbers) -> float:
    return float(np.maximum(actual - ordered, 0.0).sum())


def leftover_units(actual: Numbers, ordered: Numbers) -> float:
    return float(np.maximum(ordered - actual, 0.0).sum())


def mean_cost(
    actual: Numbers,
    ordered: Numbers,
    shortage: float = DEFAULT_SHORTAGE_COST_YEN,
    leftover: float = DEFAULT_LEFTOVER_COST_YEN,
) -> float:
    """The mean cost of a row: `shortage` for each unit short, `leftover` for each unit left."""
    cost = shortage * shortage_units(actual, ordered) + leftover * leftover_units(actual, ordered)
    return safe_ratio(cost, len(actual))


def fill_rate(actual: Numbers, ordered: Numbers) -> float:
    """The share of demanded units that the order covers; best is 1, also without demand."""
    return safe_ratio(float(np.minimum(actual, ordered).sum()), float(actual.sum()), if_empty=1.0)


def safe_ratio(part: float, whole: float, if_empty: float = 0.0) -> float:
    return part / whole if whole else if_empty
