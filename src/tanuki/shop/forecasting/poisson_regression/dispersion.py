"""The predictive distribution of weekly demand: its variance and quantiles, from past weeks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tanuki.shop.features import Grid, Numbers
from tanuki.shop.forecasting.forecaster import QUANTILE_LEVELS
from tanuki.shop.forecasting.poisson_regression.overdispersion import Mask
from tanuki.shop.forecasting.poisson_regression.shrinkage import group_sum_matrix

FAMILIES = ("gamma", "lognormal")
MIN_MEAN = 0.05  # units a week: smaller means say nothing about the variance
ITEM_PRIOR_ITEMS = 1.0  # average items that the prior of an item's variance weighs as much as
MOMENT_WINSOR_LEVEL = 0.995
UNIFORM_LEVELS = 800  # levels of a perfectly calibrated forecast, mixed with the observed ones


@dataclass(frozen=True)
class Dispersion:
    """Variances in squared means, beyond Poisson, each for the buffer week, the target and both.

    A line's variance is mean + (of_item + of_lift × log lift²) × mean². `levels` are the levels at
    which to read the distribution so that QUANTILE_LEVELS of past weeks lie below. `family` is
    "gamma" (negative binomial counts) or "lognormal".
    """

    items: list[str]
    of_item: Numbers  # items × 3
    of_chain: Numbers  # 3: for items never seen
    of_lift: Numbers  # 3: for each squared log lift by price, promotions and weather
    levels: Numbers  # QUANTILE_LEVELS
    family: str

    def extra_variance(self, items: Sequence[str], log_lift: Numbers) -> Numbers:
        """The variance beyond Poisson of each line in squared means: 3 × lines, as log_lift."""
        index = {name: n for n, name in enumerate(self.items)}
        lines = np.array([index.get(name, -1) for name in items])
        of_item = np.where((lines >= 0)[:, None], self.of_item[lines], self.of_chain).T
        return np.asarray(of_item + self.of_lift[:, None] * log_lift**2)


@dataclass(frozen=True)
class PastForecasts:
    """Weeks forecast from past origins; NaN where not known.

    actual, mean and log_lift are origins × 3 (buffer, target, both) × lines;
    unseen_variation (unseen_month_variation) is origins × 3.
    """

    actual: Numbers
    mean: Numbers
    unseen_variation: Numbers
    log_lift: Numbers

    def known(self) -> Mask:
        return np.isfinite(self.actual) & np.isfinite(self.mean) & (self.mean > MIN_MEAN)


def estimate_dispersion_model(grid: Grid, past: PastForecasts, min_variation: float) -> Dispersion:
    """Variances by the method of moments, then the family with the least pinball loss.

    A row's moment is ((y - mu)² - mu) / mu² less the unseen months' variance. Rows weigh the
    inverse of its approximate variance, 1 / (chain variance + 1 / mu)². Items are shrunk to the
    chain as if ITEM_PRIOR_ITEMS more average items had its variance.
    """
    known = past.known()
    by_item = group_sum_matrix(grid.item, len(grid.items))
    size, floor = len(grid.items), min_variation**2
    of_item, of_chain = np.full((size, 3), 25 * floor), np.full(3, 25 * floor)
    of_lift = np.zeros(3)
    for week in range(3 if len(past.actual) else 0):
        rows, mean = known[:, week], np.where(known[:, week], past.mean[:, week], 1.0)
        excess = np.where(rows, (np.nan_to_num(past.actual[:, week]) - mean) ** 2 - mean, 0.0)
        rough = max(float(excess.sum() / max((mean**2 * rows).sum(), 1e-9)), floor)
        weight = rows / (rough + 1 / mean) ** 2
        moment = excess / mean**2 - past.unseen_variation[:, week, None] ** 2
        cap = np.quantile(moment[rows], MOMENT_WINSOR_LEVEL) if rows.any() else 0.0
        moment = np.minimum(moment, cap)
        squared_lift = past.log_lift[:, week] ** 2
        constant, slope = fit_variance_components(moment, squared_lift, weight)
        of_chain[week], of_lift[week] = max(constant, floor), slope
        item_sum = by_item @ (weight * (moment - slope * squared_lift)).sum(axis=0)
        item_weight = by_item @ weight.sum(axis=0)
        prior_weight = ITEM_PRIOR_ITEMS * weight.sum() / max(size, 1)
        of_item[:, week] = np.maximum(
            (item_sum + prior_weight * of_chain[week])
            / np.maximum(item_weight + prior_weight, 1e-9),
            floor,
        )
    variance = of_item[grid.item].T[None] + of_lift[:, None] * past.log_lift**2
    variation = np.sqrt(variance + past.unseen_variation[:, :, None] ** 2)
    candidates = []
    for family in FAMILIES:
        levels = calibrate_levels(grid, past, variation, family)
        candidates.append((pinball_loss(past, variation, levels, family), family, levels))
    _, family, levels = min(candidates, key=lambda candidate: candidate[0])
    return Dispersion(grid.items, of_item, of_chain, of_lift, levels, family)


def fit_variance_components(
    moment: Numbers, squared_lift: Numbers, weight: Numbers
) -> tuple[float, float]:
    """Weighted least squares of moment ~ constant + slope × squared_lift, both at least 0."""
    total, x, xx = weight.sum(), (weight * squared_lift).sum(), (weight * squared_lift**2).sum()
    y, xy = (weight * moment).sum(), (weight * squared_lift * moment).sum()
    if total <= 0:
        return 0.0, 0.0
    determinant = total * xx - x * x
    varies = determinant > 1e-6 * total * max(xx, 1e-12)
    slope = (total * xy - x * y) / determinant if varies else 0.0
    constant = (y - slope * x) / total
    if slope <= 0:
        return float(y / total), 0.0
    if constant <= 0:
        return 0.0, float(xy / max(xx, 1e-12))
    return float(constant), float(slope)


def pinball_loss(past: PastForecasts, variation: Numbers, levels: Numbers, family: str) -> float:
    """The summed pinball loss of the buffer and target weeks, each row divided by √(mean + 1)."""
    known, loss = past.known(), 0.0
    taus = np.array(QUANTILE_LEVELS)
    for origin, week in np.ndindex(len(past.actual), 2):
        rows = known[origin, week]
        mean = past.mean[origin, week][rows]
        forecast = count_quantiles(mean, variation[origin, week][rows], levels, family)
        error = past.actual[origin, week][rows][:, None] - forecast
        scaled = np.maximum(taus * error, (taus - 1) * error) / np.sqrt(mean + 1)[:, None]
        loss += float(scaled.sum())
    return loss


def calibrate_levels(grid: Grid, past: PastForecasts, variation: Numbers, family: str) -> Numbers:
    """The quantiles at QUANTILE_LEVELS of past weeks' probability integral transforms.

    Each row counts four times: as it is and mirrored (what missed to one side is as likely to miss
    to the other next time), and once more as it is and mirrored only in what its item's whole week
    missed. The first pair alone would make every distribution as skewed as its family; the second
    keeps the skew of rows within an item's week. UNIFORM_LEVELS even levels shrink to calibration.
    """
    known = past.known()
    transforms = [np.zeros(0)]
    for origin, week in np.ndindex(len(past.actual), 2):
        rows = known[origin, week]
        units = np.round(past.actual[origin, week][rows])
        mean, cv = past.mean[origin, week][rows], variation[origin, week][rows]
        item = grid.item[rows]
        transform = probability_transform(units, mean, cv, family)
        item_ratio = (np.bincount(item, units) + 1) / (np.bincount(item, mean) + 1)
        mirrored = np.round(units / item_ratio[item] ** 2)
        transforms += [
            transform,
            1 - transform,
            transform,
            probability_transform(mirrored, mean, cv, family),
        ]
    uniform = (np.arange(UNIFORM_LEVELS) + 0.5) / UNIFORM_LEVELS
    return np.asarray(np.quantile(np.concatenate([*transforms, uniform]), QUANTILE_LEVELS))


def probability_transform(units: Numbers, mean: Numbers, cv: Numbers, family: str) -> Numbers:
    """The mid-distribution PIT (P(D < units) + P(D <= units)) / 2 of each row, 0 to 1.

    For counts see Czado, Gneiting and Held (2009).
    """
    from scipy.stats import nbinom, norm

    mean = np.maximum(mean, 1e-9)
    if family == "lognormal":
        sigma = np.sqrt(np.log1p(cv**2 + 1 / mean))
        return np.asarray(
            norm.cdf((np.log(np.maximum(units, 0.3)) - np.log(mean)) / sigma + sigma / 2)
        )
    size = 1 / cv**2
    p = size / (size + mean)
    return np.asarray((nbinom.cdf(units, size, p) + nbinom.cdf(units - 1, size, p)) / 2)


def count_quantiles(mean: Numbers, cv: Numbers, levels: Numbers, family: str) -> Numbers:
    """Quantiles at `levels` of counts with variance mean + (cv × mean)²: lines × levels.

    "gamma": negative binomial with size 1 / cv² and p = size / (size + mean). "lognormal": rounded,
    sigma² = log(1 + cv² + 1 / mean) and median mean × exp(-sigma² / 2) give the same two moments.
    """
    from scipy.stats import nbinom, norm

    if family == "lognormal":
        mean = np.maximum(mean, 1e-9)
        sigma = np.sqrt(np.log1p(cv**2 + 1 / mean))[:, None]
        return np.asarray(np.round(mean[:, None] * np.exp(sigma * norm.ppf(levels) - sigma**2 / 2)))
    size = 1 / cv**2
    p = size / (size + np.maximum(mean, 1e-9))
    return np.asarray(nbinom.ppf(levels, size[:, None], p[:, None]), dtype=np.float64)
