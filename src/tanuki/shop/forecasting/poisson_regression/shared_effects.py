"""Calendar factors shared by the stores of an item, estimated from sums over stores."""

import numpy as np

from tanuki.shop.features import EVENTS, Codes, Numbers
from tanuki.shop.forecasting.poisson_regression.calendar_effects import (
    PAYDAYS,
    YEAR_END_PARTS,
    DayCodes,
    one_hot,
)
from tanuki.shop.forecasting.poisson_regression.settings import Settings
from tanuki.shop.forecasting.poisson_regression.shrinkage import (
    neighbour_mean,
    sales_ratio,
    shrink,
    shrink_by_moments,
)

CHAIN_FACTORS = {
    "weekday": 7,
    "month": 12,
    "event": len(EVENTS),
    "year_end_part": len(YEAR_END_PARTS),
    "payday": len(PAYDAYS),
}


class SharedEffects:
    """The chain's factors (`chain`, one entry a category) and the items' (items × categories).

    Updates are coordinate ascent on the penalised Poisson likelihood: one factor at a time, given
    all others, in the order of the methods. Each keeps a fixed scale (mean 1, or 1 for an ordinary
    day, or 1 for the last period), so that levels stay identified.
    """

    def __init__(self, days: DayCodes, period: Codes, items: int, settings: Settings) -> None:
        self.settings = settings
        self.codes = {name: getattr(days, name) for name in CHAIN_FACTORS}
        self.indicators = {
            name: one_hot(self.codes[name], size) for name, size in CHAIN_FACTORS.items()
        }
        self.period = period
        self.period_indicators = one_hot(period, int(period.max()) + 1)
        self.chain = {name: np.ones(size) for name, size in CHAIN_FACTORS.items()}
        self.item_month = np.ones((items, 12))
        self.item_event = np.ones((items, len(EVENTS)))
        self.item_period = np.ones((items, self.period_indicators.shape[1]))

    def start_from(self, previous: "SharedEffects") -> None:
        """Copy the factors of a fit with fewer days; periods are counted back from the last day."""
        self.chain = {name: factor.copy() for name, factor in previous.chain.items()}
        self.item_month = previous.item_month.copy()
        self.item_event = previous.item_event.copy()
        count = min(self.item_period.shape[1], previous.item_period.shape[1])
        self.item_period[:, -count:] = previous.item_period[:, -count:]
        self.item_period[:, :-count] = previous.item_period[:, :1]

    def factor(self) -> Numbers:
        """The product of all shared factors: items × days."""
        item_factor = (
            self.item_month[:, self.codes["month"]]
            * self.item_period[:, self.period]
            * self.item_event[:, self.codes["event"]]
        )
        return np.asarray(item_factor * self.chain_factor())

    def chain_factor(self) -> Numbers:
        """The product of the chain's factors: days."""
        product = np.ones(1)
        for name, factor in self.chain.items():
            product = product * factor[self.codes[name]]
        return product

    def update(self, sold: Numbers, rest: Numbers, dispersion: float) -> None:
        """Some rounds of updates; `sold` and `rest` (mean of the other factors): items × days."""
        expected = rest * self.factor()
        sold_by_month = sold @ self.indicators["month"]
        sold_by_event = sold @ self.indicators["event"]
        sold_by_period = sold @ self.period_indicators
        for _ in range(self.settings.shared_rounds):
            previous = self.chain_factor()
            self.update_chain(sold.sum(axis=0), expected.sum(axis=0), dispersion)
            expected *= self.chain_factor() / previous
            self.update_item_months(sold_by_month, expected, dispersion)
            self.update_item_events(sold_by_event, expected, dispersion)
            self.update_item_periods(sold_by_period, expected, dispersion)

    def update_chain(self, sold: Numbers, expected: Numbers, dispersion: float) -> None:
        """Update the chain's factors one after the other; `sold` and `expected` by day."""
        for name, old in self.chain.items():
            indicators = self.indicators[name]
            new = self.estimate_chain_factor(
                name, sold @ indicators, expected @ indicators, dispersion
            )
            expected = expected * (new / old)[self.codes[name]]
            self.chain[name] = new

    def estimate_chain_factor(
        self, name: str, sold: Numbers, expected: Numbers, dispersion: float
    ) -> Numbers:
        """One chain factor from what was sold and expected by category."""
        old = self.chain[name]
        if name == "weekday":
            weekday = old * sales_ratio(sold, expected)
            return np.asarray(weekday / weekday.mean())
        prior_units = getattr(self.settings.prior_units, name) * dispersion
        if name == "month":
            prior = neighbour_mean(old, circular=True)
            month = shrink(sold, expected, old, prior, prior_units)
            return np.asarray(month / np.exp(np.log(month).mean()))
        factor = shrink(sold, expected, old, 1.0, prior_units)
        return np.asarray(factor / factor[0])

    def update_item_months(self, sold: Numbers, expected: Numbers, dispersion: float) -> None:
        """`sold` by item and month; `expected` (items × days) is changed to the new factors."""
        new = shrink(
            sold,
            expected @ self.indicators["month"],
            self.item_month,
            1.0,
            self.settings.prior_units.item_month * dispersion,
        )
        expected *= (new / self.item_month)[:, self.codes["month"]]
        self.item_month = new

    def update_item_events(self, sold: Numbers, expected: Numbers, dispersion: float) -> None:
        """`sold` by item and event; `expected` (items × days) is changed to the new factors."""
        new = shrink_by_moments(
            sold,
            expected @ self.indicators["event"],
            self.item_event,
            self.settings.prior_units.item_event,
            dispersion,
        )
        new = new / new[:, :1]
        expected *= (new / self.item_event)[:, self.codes["event"]]
        self.item_event = new

    def update_item_periods(self, sold: Numbers, expected: Numbers, dispersion: float) -> None:
        """`sold` by item and period; `expected` (items × days) is changed to the new factors."""
        new = shrink(
            sold,
            expected @ self.period_indicators,
            self.item_period,
            neighbour_mean(self.item_period, circular=False),
            self.settings.prior_units.item_period * dispersion,
        )
        new = new / new[:, -1:]
        expected *= (new / self.item_period)[:, self.period]
        self.item_period = new
