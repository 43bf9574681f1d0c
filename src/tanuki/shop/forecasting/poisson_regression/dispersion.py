"""The distribution around the regression's means: negative binomial counts whose spread, and the shape of its tails, past weeks have shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tanuki.shop.features import Grid, Numbers
from tanuki.shop.forecasting.forecaster import QUANTILES
from tanuki.shop.forecasting.poisson_regression.fit import summing

Known = NDArray[np.bool_]
FAMILIES = ("gamma", "lognormal")
ITEM_SHARE = (
    1.0  # an item's spread is drawn to everyone's as if there were so many more average items
)
EVEN = 800  # levels that count as if past weeks had been just as the counts say


@dataclass(frozen=True)
class Spread:
    """Of the buffer week, the target week and both: the variance beyond that of counts, in squared means."""

    items: list[str]
    of_item: Numbers  # items × 3
    everyone: Numbers  # 3: for items never seen
    of_moves: (
        Numbers  # 3: for each squared logarithm by which price, promotions and weather move a week
    )
    levels: Numbers  # as QUANTILES: the level of the distribution at which so many past weeks were
    family: str  # gamma or lognormal: what a week's mean is multiplied with, before it is counted

    def shares(self, items: Sequence[str], moves: Numbers) -> Numbers:
        """The variance of each line, for the logarithms of what moves it: both 3 × lines."""
        place = {name: n for n, name in enumerate(self.items)}
        lines = np.array([place.get(name, -1) for name in items])
        of_item = np.where((lines >= 0)[:, None], self.of_item[lines], self.everyone).T
        return np.asarray(of_item + self.of_moves[:, None] * moves**2)


def measure(
    grid: Grid, actual: Numbers, mean: Numbers, unseen: Numbers, moves: Numbers, least: float
) -> Spread:
    """From past weeks: actual, mean and moves are origins × 3 × lines (NaN where not known), unseen is origins × 3."""
    known = np.isfinite(actual) & np.isfinite(mean) & (mean > 0.05)
    of_item = summing(grid.item, len(grid.items))
    size, floor = len(grid.items), least**2
    items, everyone, of_moves = np.full((size, 3), 25 * floor), np.full(3, 25 * floor), np.zeros(3)
    for week in range(3 if len(actual) else 0):
        rows, at = known[:, week], np.where(known[:, week], mean[:, week], 1.0)
        more = np.where(rows, (np.nan_to_num(actual[:, week]) - at) ** 2 - at, 0.0)
        rough = max(float(more.sum() / max((at**2 * rows).sum(), 1e-9)), floor)
        weight = (
            rows / (rough + 1 / at) ** 2
        )  # the inverse of what each row's own variance varies by
        share = more / at**2 - unseen[:, week, None] ** 2
        share = np.minimum(share, np.quantile(share[rows], 0.995) if rows.any() else 0.0)
        moved = moves[:, week] ** 2
        plain, steep = two_shares(share, moved, weight)
        everyone[week], of_moves[week] = max(plain, floor), steep
        total, seen = (
            of_item @ (weight * (share - steep * moved)).sum(axis=0),
            of_item @ weight.sum(axis=0),
        )
        drawn = ITEM_SHARE * weight.sum() / max(size, 1)
        items[:, week] = np.maximum(
            (total + drawn * everyone[week]) / np.maximum(seen + drawn, 1e-9), floor
        )
    shares = items[grid.item].T[None] + of_moves[:, None] * moves**2 + unseen[:, :, None] ** 2
    tried = [
        (family, *of_family(grid, actual, mean, np.sqrt(shares), known, family))
        for family in FAMILIES
    ]
    family, levels, _ = min(tried, key=lambda each: each[2])
    return Spread(grid.items, items, everyone, of_moves, levels, family)


def of_family(
    grid: Grid, actual: Numbers, mean: Numbers, share: Numbers, known: Known, family: str
) -> tuple[Numbers, float]:
    """The levels to ask a family for, and the pinball loss of past weeks with them: origins × 3 × lines."""
    levels, missed = asked_levels(grid, actual, mean, share, known, family), 0.0
    for origin, week in np.ndindex(len(actual), 2):
        rows = known[origin, week]
        made = quantiles(mean[origin, week][rows], share[origin, week][rows], levels, family)
        missed += pinballs(actual[origin, week][rows], mean[origin, week][rows], made)
    return levels, missed


def two_shares(share: Numbers, moved: Numbers, weight: Numbers) -> tuple[float, float]:
    """The two shares, never negative, that explain rows best by weighted least squares: one for every row, one for each squared move."""
    total, x, xx = weight.sum(), (weight * moved).sum(), (weight * moved**2).sum()
    y, xy = (weight * share).sum(), (weight * moved * share).sum()
    if total <= 0:
        return 0.0, 0.0
    wide = total * xx - x * x
    steep = (total * xy - x * y) / wide if wide > 1e-6 * total * max(xx, 1e-12) else 0.0
    plain = (y - steep * x) / total
    if steep <= 0:
        return float(y / total), 0.0
    return (float(plain), float(steep)) if plain > 0 else (0.0, float(xy / max(xx, 1e-12)))


def pinballs(actual: Numbers, mean: Numbers, made: Numbers) -> float:
    """The pinball loss of rows, each in square roots of its mean so that all series count."""
    taus, away = np.array(QUANTILES), actual[:, None] - made
    return float((np.maximum(taus * away, (taus - 1) * away) / np.sqrt(mean + 1)[:, None]).sum())


def asked_levels(
    grid: Grid, actual: Numbers, mean: Numbers, share: Numbers, known: Known, family: str
) -> Numbers:
    """Where past weeks were in their distributions, as levels at QUANTILES.

    What missed to one side is as likely to miss to the other next time, so each row counts in both directions. That alone would make every
    distribution as skew as its family, so half of the weight keeps each row's side within its item's week, and turns only what all of them missed together.
    """
    places = [np.zeros(0)]
    for origin, week in np.ndindex(len(actual), 2):
        rows = known[origin, week]
        units, at, width, item = (
            np.round(actual[origin, week][rows]),
            mean[origin, week][rows],
            share[origin, week][rows],
            grid.item[rows],
        )
        there = place(units, at, width, family)
        missed = (np.bincount(item, units) + 1) / (np.bincount(item, at) + 1)
        places += [
            there,
            1 - there,
            there,
            place(np.round(units / missed[item] ** 2), at, width, family),
        ]
    found = np.concatenate(places)
    even = (np.arange(EVEN) + 0.5) / EVEN
    return np.asarray(np.quantile(np.concatenate([found, even]), QUANTILES))


def place(units: Numbers, mean: Numbers, share: Numbers, family: str) -> Numbers:
    """Where units are in their distribution, 0 to 1; in the middle of their own chance."""
    from scipy.stats import nbinom, norm

    mean = np.maximum(mean, 1e-9)
    if family == "lognormal":
        width = np.sqrt(np.log1p(share**2 + 1 / mean))
        return np.asarray(
            norm.cdf((np.log(np.maximum(units, 0.3)) - np.log(mean)) / width + width / 2)
        )
    size = 1 / share**2
    chance = size / (size + mean)
    return np.asarray((nbinom.cdf(units, size, chance) + nbinom.cdf(units - 1, size, chance)) / 2)


def quantiles(mean: Numbers, share: Numbers, levels: Numbers, family: str) -> Numbers:
    """Quantiles of counts with this mean and a variance of mean + (share × mean)²: lines × QUANTILES."""
    from scipy.stats import nbinom, norm

    if family == "lognormal":
        at = np.maximum(mean, 1e-9)
        width = np.sqrt(np.log1p(share**2 + 1 / at))
        return np.asarray(
            np.round(
                at[:, None] * np.exp(width[:, None] * norm.ppf(levels) - width[:, None] ** 2 / 2)
            )
        )
    size = 1 / share**2
    return np.asarray(
        nbinom.ppf(levels, size[:, None], (size / (size + np.maximum(mean, 1e-9)))[:, None]),
        dtype=np.float64,
    )
