"""How managers order by habit, without a model: the usual week, a little more, less what should be left. Pure; the example's and any chain's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tanuki.shop.ordering import ItemRules
from tanuki.shop.simulation.inventory import WEEK, Counts, Flags, Lived

Floats = NDArray[np.float64]

LONGEST_MEMORY = 8  # weeks
AFTER_SELL_OUT = 1.12
FIRST_WEEKS = 1.5  # usual weeks that the first delivery holds


class Habit(NamedTuple):
    """How a manager orders: weeks remembered, share ordered on top, share of a promotion believed, whether year's end is planned for."""

    memory: int
    extra: float
    promotion: float
    plans: bool


@dataclass(frozen=True)
class Managers:
    """Managers of stores who order for all items. `order` is what they do on a week's Monday."""

    habits: Sequence[Habit]  # one a store
    rules: Sequence[ItemRules]  # one an item
    usual: Floats  # a week before anything was sold [store, item]
    foreseen: Floats  # by how much each manager raises each week [week, store, item]
    forgotten: Flags  # weeks in which one just repeats last week's order [week, store, item]

    @property
    def first(self) -> Counts:
        """The delivery with which they begin."""
        return in_cases(FIRST_WEEKS * self.usual, self.rules)

    def order(self, week: int, lived: Lived) -> Counts:
        """What they want delivered on the Monday after this week's."""
        sold = np.concatenate(
            [
                np.tile(self.usual, (LONGEST_MEMORY, 1, 1)),
                lived.sold(max(0, week - LONGEST_MEMORY), week),
            ]
        )
        shelf = lived.on_hand(week) - lived.thrown[week] + lived.deliveries[week]
        last_days = lived.stock[max(0, week - 1) * WEEK : week * WEEK]
        ran_out = last_days.min(axis=0) == 0 if week else np.zeros(self.usual.shape, dtype=bool)
        wanted = self.want(sold, shelf, self.foreseen[week], self.foreseen[week + 1], ran_out)
        return np.where(self.forgotten[week], lived.deliveries[week], in_cases(wanted, self.rules))

    def want(
        self, sold: Floats, shelf: Counts, this_week: Floats, next_week: Floats, ran_out: Flags
    ) -> Floats:
        """Units for next week: the usual week, more after a sell-out, less what should be left of what is there."""
        usual = np.stack(
            [sold[-habit.memory :, s].mean(axis=0) for s, habit in enumerate(self.habits)]
        )
        usual = usual * np.where(ran_out, AFTER_SELL_OUT, 1.0)
        extra = 1 + np.array([habit.extra for habit in self.habits])[:, None]
        left = np.maximum(0.0, shelf - usual * this_week)
        return np.asarray(np.maximum(0.0, usual * next_week * extra - left), dtype=np.float64)


def in_cases(units: Floats, rules: Sequence[ItemRules]) -> Counts:
    """Units rounded up to whole cases within each item's limits. [store, item]"""
    case = np.array([item.case_units for item in rules])
    least = np.array([item.min_cases for item in rules])
    most = np.array(
        [
            np.iinfo(np.int64).max // item.case_units if item.max_cases is None else item.max_cases
            for item in rules
        ]
    )
    return np.asarray(
        np.clip(np.ceil(units / case).astype(np.int64), least, most) * case, dtype=np.int64
    )
