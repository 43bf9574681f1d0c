"""How each series does lately against what the regression expects of it: followers of several speeds, weighed by what each was worth in past weeks."""

from dataclasses import dataclass

import numpy as np

from tanuki.shop.features import Grid, Numbers
from tanuki.shop.forecasting.poisson_regression.fit import pearson, summing, wanted

RECENT_WEEKS = 26


@dataclass(frozen=True)
class Follower:
    """Sales so many weeks old count half; the item's way is drawn to everyone's and the series' to its item's as if so many more units had sold."""

    half_life: float  # weeks
    item_counts: float
    series_counts: float
    grows: bool  # goes on growing as in the last year

    def behind(self, weeks: int) -> float:
        """The mean age of what it looks at, in weeks."""
        age = np.arange(weeks) + 0.5
        weight = 0.5 ** (age / self.half_life)
        return float((age * weight).sum() / weight.sum())


FOLLOWERS = tuple(
    Follower(half_life, item_counts, series_counts, grows)
    for grows in (False, True)
    for half_life in (1.5, 3.0, 8.0)
    for item_counts, series_counts in ((6000.0, 5000.0), (1500.0, 700.0), (300.0, 120.0))
)


def weekly_sums(grid: Grid, expected: Numbers, burst: float) -> tuple[Numbers, Numbers, float]:
    """Wanted and expected of each line and week (whole weeks to the last day), of the days that are known, and the weeks' dispersion."""
    known = np.isfinite(grid.units)
    units = np.nan_to_num(grid.units)
    if (
        grid.sold_out.any()
    ):  # what was wanted when it sold out depends on the level, and the other way round
        for _ in range(2):
            lately = units.sum(axis=1) / np.maximum(
                np.where(known, expected, 0.0).sum(axis=1), 1e-9
            )
            units = wanted(
                np.nan_to_num(grid.units),
                grid.sold_out,
                expected * np.clip(lately, 0.2, 5.0)[:, None],
                burst,
            )
    weeks = units.shape[1] // 7
    first = units.shape[1] - 7 * weeks
    sold = np.where(known, units, 0.0)[:, first:].reshape(len(units), weeks, 7).sum(axis=2)
    due = np.where(known, expected, 0.0)[:, first:].reshape(len(units), weeks, 7).sum(axis=2)
    level = sold.sum(axis=1) / np.maximum(due.sum(axis=1), 1e-9)
    return sold, due, pearson(sold, due * level[:, None], due > 0)


def ratios(
    grid: Grid, sold: Numbers, due: Numbers, follower: Follower, dispersion: float
) -> Numbers:
    """The level of each line by one follower: 1 is as expected."""
    weight = 0.5 ** (np.arange(sold.shape[1])[::-1] / follower.half_life)
    sold, due = sold @ weight, due @ weight
    everyone = sold.sum() / due.sum() if due.sum() > 0 else 1.0
    of_item = summing(grid.item, len(grid.items))
    item_counts, counts = follower.item_counts * dispersion, follower.series_counts * dispersion
    item = (of_item @ sold + item_counts * everyone) / (of_item @ due + item_counts)
    prior = item[grid.item]
    variance = np.maximum(prior * due, 1e-9) * dispersion + (prior * due) ** 2 / counts
    surprise = (sold - prior * due) ** 2 / variance  # in standard deviations, squared
    believed = counts * np.minimum(
        1.0, 5 / (4 + surprise)
    )  # heavy tails (Student's t): a level that jumped is believed
    return np.asarray((sold + believed * prior) / (due + believed))


def ahead(grid: Grid, sold: Numbers, due: Numbers, around: float, growth: float) -> Numbers:
    """By each follower, what to multiply the two weeks ahead with: followers × 2 × lines."""
    made = []
    for follower in FOLLOWERS:
        level = ratios(grid, sold, due, follower, around)
        far = follower.behind(sold.shape[1]) if follower.grows else 0.0
        made.append(
            [
                level * np.exp(growth * (far + lead - 0.5) if follower.grows else 0.0)
                for lead in (1, 2)
            ]
        )
    return np.array(made)


def weights(losses: Numbers, sharpness: float = 0.02) -> Numbers:
    """How much each follower counts: the less, the more its loss is above the least (Akaike's way, on relative losses)."""
    if not np.isfinite(losses).all() or losses.min() <= 0:
        return np.full(len(losses), 1 / len(losses))
    odds = np.exp(-(losses / losses.min() - 1) / sharpness)
    return np.asarray(odds / odds.sum())
