"""Drift detection: recent against reference periods, for numbers and categories; pure.

Size: the population stability index (Siddiqi 2006, Credit Risk Scorecards). Below 0.1 nothing has
changed, from 0.2 on the change matters.

Significance: a permutation test of whole periods (weeks, days), because the rows of one period
depend on each other. Its statistic is the two-sample Kolmogorov–Smirnov distance for numbers and
the index itself for categories. Without the test the index would alarm on small samples: without
any drift its mean is about (bins − 1)(1/n + 1/m) (Yurdakul 2018).

Drift is reported only when the change is both large and significant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Distance = Callable[[Numbers, Numbers, Numbers, Numbers], Numbers]

HISTOGRAM_BINS = 10
GRID_POINTS = 200  # at which distributions are compared
PERMUTATIONS = 1999  # the smallest p-value is 1/2000


@dataclass(frozen=True)
class DriftLimits:
    """When a change is drift; with fewer rows or periods than these nothing is reported.

    psi: the smallest stability index that matters. p: the largest p-value.
    rows: on each side. recent, reference: numbers of periods.
    """

    psi: float = 0.2
    p: float = 0.01
    rows: int = 50
    recent: int = 2
    reference: int = 6


@dataclass(frozen=True)
class Drift:
    """The result of a comparison.

    distance: Kolmogorov–Smirnov's for numbers, the stability index for categories.
    enough: False when there were too few rows or periods.
    """

    psi: float
    distance: float
    p: float
    recent_rows: int
    reference_rows: int
    enough: bool
    drifted: bool


@dataclass(frozen=True)
class Sizes:
    """Rows and periods on both sides."""

    reference_rows: int
    recent_rows: int
    reference_periods: int
    recent_periods: int


NO_DRIFT = Drift(
    psi=0.0, distance=0.0, p=1.0, recent_rows=0, reference_rows=0, enough=False, drifted=False
)


def measure_numeric_drift(
    reference: Mapping[str, Numbers],
    recent: Mapping[str, Numbers],
    *,
    seed: int,
    limits: DriftLimits | None = None,
) -> Drift:
    """Drift of numbers. Both arguments map a period to its values."""
    if not reference or not recent:
        return NO_DRIFT
    periods = [*reference.values(), *recent.values()]
    before, after = np.concatenate(list(reference.values())), np.concatenate(list(recent.values()))
    if not len(before) or not len(after):
        return NO_DRIFT
    edges = np.unique(np.quantile(before, np.linspace(0, 1, HISTOGRAM_BINS + 1)[1:-1]))
    psi = compute_stability_index(count_bins(before, edges), count_bins(after, edges))
    grid = np.unique(np.quantile(np.concatenate([before, after]), np.linspace(0, 1, GRID_POINTS)))
    counts_up_to = np.array(
        [np.searchsorted(np.sort(values), grid, side="right") for values in periods], dtype=float
    )
    rows = np.array([len(values) for values in periods], dtype=float)
    distances = permute_periods(counts_up_to, rows, len(reference), compute_ks_distances, seed)
    sizes = Sizes(len(before), len(after), len(reference), len(recent))
    return assess_drift(psi, distances, sizes, limits or DriftLimits())


def measure_category_drift(
    reference: Mapping[str, Mapping[str, float]],
    recent: Mapping[str, Mapping[str, float]],
    *,
    seed: int,
    limits: DriftLimits | None = None,
) -> Drift:
    """Drift of the categories' shares. Both arguments map a period to its counts by category."""
    periods = [*reference.values(), *recent.values()]
    categories = sorted({category for counts in periods for category in counts})
    if not reference or not recent or not categories:
        return NO_DRIFT
    table = np.array(
        [[float(counts.get(category, 0.0)) for category in categories] for counts in periods]
    )
    before, after = table[: len(reference)].sum(axis=0), table[len(reference) :].sum(axis=0)
    if not before.sum() or not after.sum():
        return NO_DRIFT
    distances = permute_periods(
        table, np.ones(len(table)), len(reference), compute_psi_distances, seed
    )
    sizes = Sizes(int(before.sum()), int(after.sum()), len(reference), len(recent))
    psi = compute_stability_index(before, after)
    return assess_drift(psi, distances, sizes, limits or DriftLimits())


def compute_stability_index(before: Numbers, after: Numbers) -> float:
    """The population stability index of two counts by bin.

    Half a row is added to each bin, so that the index of an empty bin is finite.
    """
    p = (before + 0.5) / (before.sum() + 0.5 * len(before))
    q = (after + 0.5) / (after.sum() + 0.5 * len(after))
    return float(((q - p) * np.log(q / p)).sum())


def count_bins(values: Numbers, edges: Numbers) -> Numbers:
    """Numbers of values below the first edge, between the edges, and above the last one."""
    return np.bincount(
        np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1
    ).astype(float)


def permute_periods(
    sums: Numbers, rows: Numbers, first: int, distance: Distance, seed: int
) -> Numbers:
    """The distance between the first periods and the others, then PERMUTATIONS random ones.

    sums: one line a period. rows: of each period. A random distance puts `first` random periods on
    one side, each as a whole.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((PERMUTATIONS, len(sums))), axis=1)
    chosen = np.zeros((PERMUTATIONS + 1, len(sums)))
    chosen[0, :first] = 1.0
    np.put_along_axis(chosen[1:], order[:, :first], 1.0, axis=1)
    return distance(chosen @ sums, chosen @ rows, (1 - chosen) @ sums, (1 - chosen) @ rows)


def compute_ks_distances(
    one: Numbers, one_rows: Numbers, other: Numbers, other_rows: Numbers
) -> Numbers:
    """Kolmogorov–Smirnov's distance of each pair of lines: counts up to each point of the grid."""
    one_cdf, other_cdf = (
        counts / np.maximum(rows, 1.0)[:, None]
        for counts, rows in ((one, one_rows), (other, other_rows))
    )
    return np.asarray(np.abs(one_cdf - other_cdf).max(axis=1))


def compute_psi_distances(
    one: Numbers, _one_rows: Numbers, other: Numbers, _other_rows: Numbers
) -> Numbers:
    """The stability index of each pair of lines."""
    return np.array([compute_stability_index(a, b) for a, b in zip(one, other, strict=True)])


def assess_drift(psi: float, distances: Numbers, sizes: Sizes, limits: DriftLimits) -> Drift:
    """The result, from the measured distance (first) and the random ones."""
    p = float((1 + (distances[1:] >= distances[0] - 1e-12).sum()) / len(distances))
    arrangements = comb(sizes.reference_periods + sizes.recent_periods, sizes.recent_periods)
    enough = (
        1 / arrangements <= limits.p  # with fewer periods no result could be significant
        and min(sizes.reference_rows, sizes.recent_rows) >= limits.rows
        and sizes.recent_periods >= limits.recent
        and sizes.reference_periods >= limits.reference
    )
    return Drift(
        psi=psi,
        distance=float(distances[0]),
        p=p,
        recent_rows=sizes.recent_rows,
        reference_rows=sizes.reference_rows,
        enough=enough,
        drifted=enough and psi >= limits.psi and p <= limits.p,
    )
