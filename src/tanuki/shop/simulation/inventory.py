"""Stock day by day: deliveries on Mondays, the oldest sold first, waste. Pure; knows no policy.

All units are whole, in arrays [store, item], so that a chain's year takes under a second.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

DAYS_PER_WEEK = 7


@dataclass(frozen=True)
class Trajectory:
    """What happened so far; what has not happened yet is 0.

    sales and stock at each day's end are [day, store, item], deliveries and waste [Monday, store,
    item]. Waste is thrown away on Monday morning. The Monday after the last day has its delivery,
    ordered a week before, and its waste.
    """

    sales: Counts
    stock: Counts
    deliveries: Counts
    waste: Counts

    def on_hand(self, week: int) -> Counts:
        """Stock on the Sunday evening before a week, including what is thrown away on Monday."""
        if week == 0:
            return np.zeros_like(self.waste[0])
        return np.asarray(self.stock[week * DAYS_PER_WEEK - 1])

    def weekly_sales(self, first: int, end: int) -> Counts:
        """Units sold in each week from `first` to before `end`. [week, store, item]"""
        days = self.sales[first * DAYS_PER_WEEK : end * DAYS_PER_WEEK]
        return np.asarray(days.reshape(end - first, DAYS_PER_WEEK, *days.shape[1:]).sum(axis=1))


# Called on a week's Monday, after its delivery and before its first sale, with the week's number
# and the trajectory so far. Gives the delivery of the next Monday.
OrderPolicy = Callable[[int, Trajectory], Counts]


def simulate_inventory(
    demand: Counts, sellable: Flags, first_delivery: Counts, order: OrderPolicy
) -> Trajectory:
    """Run through demand [day, store, item] of whole weeks, beginning without stock.

    `first_delivery` arrives on the first Monday, then what `order` gives. `sellable` is
    sellable_by_age's.
    """
    weeks, shape = len(demand) // DAYS_PER_WEEK, demand.shape[1:]
    trajectory = Trajectory(
        sales=np.zeros_like(demand),
        stock=np.zeros_like(demand),
        deliveries=np.zeros((weeks + 1, *shape), dtype=np.int64),
        waste=np.zeros((weeks + 1, *shape), dtype=np.int64),
    )
    batches = np.zeros((len(sellable), *shape), dtype=np.int64)
    trajectory.deliveries[0] = first_delivery
    for week in range(weeks):
        batches, trajectory.waste[week] = receive_delivery(
            batches, trajectory.deliveries[week], sellable
        )
        trajectory.deliveries[week + 1] = order(week, trajectory)
        for day in range(week * DAYS_PER_WEEK, (week + 1) * DAYS_PER_WEEK):
            batches, trajectory.sales[day] = serve_demand(batches, demand[day])
            trajectory.stock[day] = batches.sum(axis=0)
    nothing = np.zeros_like(first_delivery)
    _, trajectory.waste[weeks] = receive_delivery(batches, nothing, sellable)
    return trajectory


def sellable_by_age(shelf_life_days: Sequence[int | None], ages: int | None = None) -> Flags:
    """Whether an item can be sold in a week that begins when it is so many weeks old. [age, item]

    None keeps for ever. The last age stands for everything older too. There are as many ages as
    matter, unless `ages` is given.
    """
    max_weeks = max(
        (-(-days // DAYS_PER_WEEK) for days in shelf_life_days if days is not None), default=1
    )
    return np.array(
        [
            [days is None or age * DAYS_PER_WEEK < days for days in shelf_life_days]
            for age in range(ages or max_weeks + 1)
        ]
    )


def receive_delivery(batches: Counts, delivery: Counts, sellable: Flags) -> tuple[Counts, Counts]:
    """Batches [age, store, item] a week older with the delivery as the youngest; and the waste."""
    older = np.concatenate([delivery[None], batches[:-2], batches[-2:].sum(axis=0, keepdims=True)])
    sold_on = older * sellable[:, None, :]
    return sold_on, np.asarray((older - sold_on).sum(axis=0))


def serve_demand(batches: Counts, demand: Counts) -> tuple[Counts, Counts]:
    """Batches after a day's demand, the oldest sold first (FIFO), and the day's sales."""
    unmet, after = demand, np.empty_like(batches)
    for age in reversed(range(len(batches))):
        sold = np.minimum(unmet, batches[age])
        after[age] = batches[age] - sold
        unmet = unmet - sold
    return after, demand - unmet
