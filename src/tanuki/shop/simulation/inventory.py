"""The shelf, day by day: deliveries arrive on Monday, the oldest is sold first, what is too old is thrown away. Pure; knows no policy.

Everything is whole units in arrays [store, item], so that a chain lives through a year in the time of a breath.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

WEEK = 7  # days


@dataclass(frozen=True)
class Lived:
    """What happened so far: sales and stock at each day's end [day, store, item], deliveries and what was thrown away [Monday, store, item].

    The Monday after the last day has its delivery, ordered a week before, and what is thrown away on its morning. What has not yet
    happened is zero.
    """

    sales: Counts
    stock: Counts
    deliveries: Counts
    thrown: Counts

    def on_hand(self, week: int) -> Counts:
        """Units on the Sunday evening before a week, those to be thrown away on Monday among them."""
        return np.asarray(self.stock[week * WEEK - 1] if week else np.zeros_like(self.thrown[0]))

    def sold(self, first: int, until: int) -> Counts:
        """Units sold in each week from `first` to before `until`. [week, store, item]"""
        days = self.sales[first * WEEK : until * WEEK]
        return np.asarray(days.reshape(until - first, WEEK, *days.shape[1:]).sum(axis=1))


Order = Callable[
    [int, Lived], Counts
]  # on a week's Monday, after its delivery came and before its first sale: the delivery of the next Monday


def live(demand: Counts, keeps: Flags, first: Counts, order: Order) -> Lived:
    """Live through demand [day, store, item] of whole weeks from an empty shelf, `first` on its first Monday, then what `order` says."""
    weeks, shape = len(demand) // WEEK, demand.shape[1:]
    lived = Lived(
        np.zeros_like(demand),
        np.zeros_like(demand),
        *(np.zeros((weeks + 1, *shape), dtype=np.int64) for _ in range(2)),
    )
    batches = np.zeros((len(keeps), *shape), dtype=np.int64)
    lived.deliveries[0] = first
    for week in range(weeks):
        batches, lived.thrown[week] = monday(batches, lived.deliveries[week], keeps)
        lived.deliveries[week + 1] = order(week, lived)
        for day in range(week * WEEK, week * WEEK + WEEK):
            batches, lived.sales[day] = sell(batches, demand[day])
            lived.stock[day] = batches.sum(axis=0)
    _, lived.thrown[weeks] = monday(batches, np.zeros_like(first), keeps)
    return lived


def keeping(shelf_life_days: Sequence[int | None], ages: int | None = None) -> Flags:
    """Whether an item can still be sold in the week that begins when it is so many weeks old. [age, item]

    So many ages are told apart, all that matter unless given; the last stands for everything older too.
    """
    longest = max((-(-days // WEEK) for days in shelf_life_days if days is not None), default=1)
    return np.array(
        [
            [days is None or age * WEEK < days for days in shelf_life_days]
            for age in range(ages or longest + 1)
        ]
    )


def monday(batches: Counts, delivery: Counts, keeps: Flags) -> tuple[Counts, Counts]:
    """Batches [age, store, item] a week older with the delivery as the youngest, and the units thrown away because they keep no longer."""
    older = np.concatenate([delivery[None], batches[:-2], batches[-2:].sum(axis=0, keepdims=True)])
    kept = older * keeps[:, None, :]
    return kept, np.asarray((older - kept).sum(axis=0))


def sell(batches: Counts, demand: Counts) -> tuple[Counts, Counts]:
    """Batches after a day's demand, the oldest sold first, and what was sold: what is not there is not sold."""
    left, after = demand, np.empty_like(batches)
    for age in reversed(range(len(batches))):
        taken = np.minimum(left, batches[age])
        after[age] = batches[age] - taken
        left = left - taken
    return after, demand - left
