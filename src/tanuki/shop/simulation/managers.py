"""How store managers order by habit, without a model. Pure.

The order is the usual week and a little more, less what should be left over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tanuki.shop.features import Numbers
from tanuki.shop.ordering import ItemRules
from tanuki.shop.simulation.inventory import DAYS_PER_WEEK, Counts, Flags, Trajectory

MAX_MEMORY_WEEKS = 8
SELL_OUT_UPLIFT = 1.12  # of the usual week, after a week with a day that sold out
FIRST_DELIVERY_WEEKS = 1.5  # usual weeks that the first delivery covers


class OrderingHabit(NamedTuple):
    memory_weeks: int  # whose mean is the usual week
    extra_share: float  # ordered on top
    promotion_belief: float  # share of a promotion's uplift that the manager plans with
    plans_year_end: bool


@dataclass(frozen=True)
class Managers:
    habits: Sequence[OrderingHabit]  # one a store
    rules: Sequence[ItemRules]  # one an item
    usual_units: Numbers  # a week before anything was sold [store, item]
    planned_uplift: Numbers  # factor by which each manager raises a week [week, store, item]
    repeats_order: Flags  # weeks in which last week's order is just repeated [week, store, item]

    @property
    def first_delivery(self) -> Counts:
        return round_up_to_cases(FIRST_DELIVERY_WEEKS * self.usual_units, self.rules)

    def order_next_week(self, week: int, trajectory: Trajectory) -> Counts:
        """The managers' OrderPolicy."""
        first = max(0, week - MAX_MEMORY_WEEKS)
        sold = np.concatenate(
            [
                np.tile(self.usual_units, (MAX_MEMORY_WEEKS, 1, 1)),
                trajectory.weekly_sales(first, week),
            ]
        )
        on_hand = trajectory.on_hand(week) - trajectory.waste[week] + trajectory.deliveries[week]
        last_week = trajectory.stock[max(0, week - 1) * DAYS_PER_WEEK : week * DAYS_PER_WEEK]
        sold_out = np.zeros(self.usual_units.shape, dtype=bool)
        if week:
            sold_out = last_week.min(axis=0) == 0
        usual = self.usual_week(sold, sold_out)
        extra = 1 + np.array([habit.extra_share for habit in self.habits])[:, None]
        left = np.maximum(0.0, on_hand - usual * self.planned_uplift[week])
        units = np.maximum(0.0, usual * self.planned_uplift[week + 1] * extra - left)
        cases = round_up_to_cases(units, self.rules)
        return np.where(self.repeats_order[week], trajectory.deliveries[week], cases)

    def usual_week(self, sold: Numbers, sold_out: Flags) -> Numbers:
        """The mean of the weeks that each manager remembers, more after a sell-out."""
        memory = [
            sold[-habit.memory_weeks :, s].mean(axis=0) for s, habit in enumerate(self.habits)
        ]
        return np.stack(memory) * np.where(sold_out, SELL_OUT_UPLIFT, 1.0)


def round_up_to_cases(units: Numbers, rules: Sequence[ItemRules]) -> Counts:
    """Units rounded up to whole cases within each item's limits. [store, item]"""
    case_units = np.array([item.case_units for item in rules])
    min_cases = np.array([item.min_cases for item in rules])
    max_units = np.iinfo(np.int64).max
    max_cases = np.array(
        [
            max_units // item.case_units if item.max_cases is None else item.max_cases
            for item in rules
        ]
    )
    cases = np.clip(np.ceil(units / case_units).astype(np.int64), min_cases, max_cases)
    return np.asarray(cases * case_units, dtype=np.int64)
