"""Has what comes in changed? Recent periods against named reference periods, for numbers and for categories; pure.

How far apart they are is the population stability index (Siddiqi 2006, Credit Risk Scorecards; below 0.1 is steady, from 0.2 it matters).
Whether chance alone does as much is a permutation test of whole periods (weeks, days), because rows of one period go together: for numbers
with the two-sample Kolmogorov–Smirnov distance, for categories with the index itself. Without such a guard the index alarms on small samples:
its mean without any drift is about (bins − 1)(1/n + 1/m) (Yurdakul 2018). Both must speak for an alarm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Distance = Callable[[Numbers, Numbers, Numbers, Numbers], Numbers]

BINS = 10
GRID = 200  # points at which distributions are compared
DRAWS = 1999  # permutations: the least p is 1/2000


@dataclass(frozen=True)
class Limits:
    """When something has drifted. Fewer rows or periods than these say nothing."""

    psi: float = 0.2  # from here it matters
    p: float = 0.01  # so seldom does chance do as much
    rows: int = 50  # at least, on each side
    recent: int = 2  # periods at least
    reference: int = 6


@dataclass(frozen=True)
class Drift:
    """What was found. `distance` is Kolmogorov–Smirnov's for numbers, the index for categories; `enough` is False when there is too little to say."""

    psi: float
    distance: float
    p: float
    recent_rows: int
    reference_rows: int
    enough: bool
    drifted: bool


NOTHING = Drift(
    psi=0.0, distance=0.0, p=1.0, recent_rows=0, reference_rows=0, enough=False, drifted=False
)


def numbers(
    reference: Mapping[str, Numbers],
    recent: Mapping[str, Numbers],
    *,
    seed: int,
    limits: Limits | None = None,
) -> Drift:
    """Drift of numbers. Both map a period to its values."""
    if not reference or not recent:
        return NOTHING
    periods = [*reference.values(), *recent.values()]
    before, after = np.concatenate(list(reference.values())), np.concatenate(list(recent.values()))
    if not len(before) or not len(after):
        return NOTHING
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
    psi = index(binned(before, edges), binned(after, edges))
    grid = np.unique(np.quantile(np.concatenate([before, after]), np.linspace(0, 1, GRID)))
    below = np.array(
        [np.searchsorted(np.sort(values), grid, side="right") for values in periods], dtype=float
    )
    sizes = np.array([len(values) for values in periods], dtype=float)
    distances = permuted(below, sizes, len(reference), farthest, seed)
    return judged(
        psi, distances, len(before), len(after), len(reference), len(recent), limits or Limits()
    )


def categories(
    reference: Mapping[str, Mapping[str, float]],
    recent: Mapping[str, Mapping[str, float]],
    *,
    seed: int,
    limits: Limits | None = None,
) -> Drift:
    """Drift of how often each category comes. Both map a period to how many there were of each."""
    names = sorted(
        {name for side in (reference, recent) for each in side.values() for name in each}
    )
    if not reference or not recent or not names:
        return NOTHING
    counts = np.array(
        [
            [float(each.get(name, 0.0)) for name in names]
            for side in (reference, recent)
            for each in side.values()
        ]
    )
    n = len(reference)
    before, after = counts[:n].sum(axis=0), counts[n:].sum(axis=0)
    if not before.sum() or not after.sum():
        return NOTHING
    found = permuted(counts, np.ones(len(counts)), n, apart, seed)
    return judged(
        index(before, after),
        found,
        int(before.sum()),
        int(after.sum()),
        n,
        len(recent),
        limits or Limits(),
    )


def index(before: Numbers, after: Numbers) -> float:
    """The population stability index of two counts by bin; half a row is added to each bin, so that an empty one stays finite."""
    p, q = (
        (before + 0.5) / (before.sum() + 0.5 * len(before)),
        (after + 0.5) / (after.sum() + 0.5 * len(after)),
    )
    return float(((q - p) * np.log(q / p)).sum())


def binned(values: Numbers, edges: Numbers) -> Numbers:
    """How many values fall between the edges, below the first and above the last."""
    return np.bincount(
        np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1
    ).astype(float)


def permuted(sums: Numbers, sizes: Numbers, first: int, distance: Distance, seed: int) -> Numbers:
    """The distance between the first periods and the others, and then between as many drawn without order, each period as a whole."""
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((DRAWS, len(sums))), axis=1)
    chosen = np.zeros((DRAWS + 1, len(sums)))
    chosen[0, :first] = 1.0
    np.put_along_axis(chosen[1:], order[:, :first], 1.0, axis=1)
    return distance(chosen @ sums, chosen @ sizes, (1 - chosen) @ sums, (1 - chosen) @ sizes)


def farthest(one: Numbers, one_size: Numbers, other: Numbers, other_size: Numbers) -> Numbers:
    """Kolmogorov and Smirnov's distance of each pair of lines: counts of values up to each point of the grid."""
    a, b = (
        below / np.maximum(size, 1.0)[:, None]
        for below, size in ((one, one_size), (other, other_size))
    )
    return np.asarray(np.abs(a - b).max(axis=1))


def apart(one: Numbers, _one_size: Numbers, other: Numbers, _other_size: Numbers) -> Numbers:
    """The index of each pair of lines."""
    return np.array([index(a, b) for a, b in zip(one, other, strict=True)])


def judged(
    psi: float,
    distances: Numbers,
    before: int,
    after: int,
    reference: int,
    recent: int,
    limits: Limits,
) -> Drift:
    """What was found, from the distance as it is (first) and as chance makes it."""
    p = float((1 + (distances[1:] >= distances[0] - 1e-12).sum()) / len(distances))
    could = (
        1 / comb(reference + recent, recent) <= limits.p
    )  # with fewer periods chance can never be ruled out
    enough = (
        could
        and min(before, after) >= limits.rows
        and recent >= limits.recent
        and reference >= limits.reference
    )
    return Drift(
        psi,
        float(distances[0]),
        p,
        after,
        before,
        enough,
        enough and psi >= limits.psi and p <= limits.p,
    )
