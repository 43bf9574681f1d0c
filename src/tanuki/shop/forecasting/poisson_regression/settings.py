"""Hyperparameters of the Poisson regression. docs/log.md records what was tried for each."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PriorUnits:
    """Shrinkage strengths, in units sold.

    A factor is estimated as if this many extra units had been observed at the prior's value.
    """

    series_level: float = 30.0  # a series' level; prior: its store's level × its item's
    series_weekday: float = 2000.0  # a series' weekdays; prior: the chain's
    month: float = 200.0  # prior: the two months beside it, which fills months without sales
    item_month: float = 20_000.0  # an item's month; prior: the chain's
    event: float = 5000.0  # prior: an ordinary day
    item_event: float = 500.0  # prior: the chain's event
    store_event: float = 5000.0  # prior: the chain's event
    year_end_part: float = 5000.0  # Christmas, last days, New Year; prior: the whole year's end
    payday: float = 20_000.0  # prior: an ordinary day
    item_period: float = 1000.0  # an item's level in a period; prior: the two periods beside it
    regressor: float = 200.0  # an item's coefficient; prior: the chain's, whose own prior is 0


@dataclass(frozen=True)
class Settings:
    prior_units: PriorUnits = field(default_factory=PriorUnits)
    free_item_month_prior_units: float = 1000.0  # tried instead of prior_units.item_month
    period_weeks: int = 8
    rounds: int = 10  # of coordinate ascent from the start
    warm_rounds: int = 4  # when the fit starts from one with fewer days
    shared_rounds: int = 4  # of the factors shared by stores, within one round
    origins: int = 8  # past weeks forecast for the smoothers' weights and the dispersion
    stride: int = 2  # weeks between these origins
    min_extra_variation: float = 0.02  # of a week's level, beyond Poisson noise
