"""The estimated factors of the regression, and the daily means that they give for any days."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

import numpy as np

from tanuki.shop.features import Codes, Grid, Numbers
from tanuki.shop.forecasting.poisson_regression.calendar_effects import encode_days
from tanuki.shop.forecasting.poisson_regression.overdispersion import Mask
from tanuki.shop.forecasting.poisson_regression.regressors import (
    REGRESSOR_DRIVERS,
    Regressors,
    driver_of,
)

MIN_MONTH_STEP = 0.08  # typical change of log demand between months, while few months are known


@dataclass(frozen=True)
class SeriesKeys:
    """What the entries of the other groups stand for."""

    stores: list[str]
    items: list[str]
    pairs: list[list[str]]  # store and item of each series


@dataclass(frozen=True)
class LevelEffects:
    store: Numbers
    item: Numbers
    series: Numbers  # units a day; an unknown series gets store × item
    item_period: Numbers  # each item's level in the last period


@dataclass(frozen=True)
class CalendarEffects:
    """Factors by category; those of items, stores and series multiply the chain's."""

    weekday: Numbers  # 7
    series_weekday: Numbers  # series × 7
    month: Numbers  # 12
    item_month: Numbers  # items × 12
    unseen_month_variance: Numbers  # 12: of a month's logarithm when it had no sales, else 0
    event: Numbers  # EVENTS
    item_event: Numbers  # items × EVENTS
    store_event: Numbers  # stores × EVENTS
    year_end_part: Numbers  # YEAR_END_PARTS
    payday: Numbers  # PAYDAYS


@dataclass(frozen=True)
class RegressorEffects:
    names: list[str]
    coefficients: Numbers  # items × names
    chain_coefficients: Numbers  # names: for items never seen


@dataclass(frozen=True)
class Effects:
    """A fitted regression.

    `overdispersion` is that of daily units, var = dispersion × (mu + overdispersion × mu²).
    `growth` is the change of the logarithm of all demand per week over the last year; 0 while
    less than two years are known.
    """

    keys: SeriesKeys
    level: LevelEffects
    calendar: CalendarEffects
    regressors: RegressorEffects
    overdispersion: float
    growth: float


def compute_factors(
    effects: Effects, grid: Grid, days: Sequence[date], regressors: Regressors
) -> dict[str, Numbers]:
    """The factors of each line and day by driver (lines × days); their product is the mean.

    The level is that of the last period. Stores, items and series that were not in the fit get
    the mean level of the others and the chain's factors.
    """
    level, calendar = effects.level, effects.calendar
    series = index_of(grid.keys.iter_rows(), [tuple(pair) for pair in effects.keys.pairs])
    stores = index_of(grid.keys["store"], effects.keys.stores)
    items = index_of(grid.keys["item"], effects.keys.items)
    known_series = (series >= 0)[:, None]
    known_store, known_item = (stores >= 0)[:, None], (items >= 0)[:, None]
    prior = np.where(known_store[:, 0], level.store[stores], level.store.mean()) * np.where(
        known_item[:, 0], level.item[items], level.item.mean()
    )
    base = np.where(known_series[:, 0], level.series[series], prior) * np.where(
        known_item[:, 0], level.item_period[items], 1.0
    )
    day = encode_days(days)
    weekday = np.where(known_series, calendar.series_weekday[series], 1.0) * calendar.weekday
    factors = {"level": base[:, None] * weekday[:, day.weekday]}
    factors["season"] = (
        np.where(known_item, calendar.item_month[items], 1.0)[:, day.month]
        * calendar.month[day.month]
    )
    chain_event = (
        calendar.event[day.event]
        * calendar.year_end_part[day.year_end_part]
        * calendar.payday[day.payday]
    )
    own_event = np.where(known_item, calendar.item_event[items], 1.0) * np.where(
        known_store, calendar.store_event[stores], 1.0
    )
    factors["holiday"] = own_event[:, day.event] * chain_event
    coefficients = np.where(
        known_item, effects.regressors.coefficients[items], effects.regressors.chain_coefficients
    )
    return factors | regressor_factors(effects.regressors.names, coefficients, regressors)


def regressor_factors(
    names: Sequence[str], coefficients: Numbers, regressors: Regressors
) -> dict[str, Numbers]:
    """The product of the regressors' multipliers by driver; coefficients are lines × names."""
    column = {name: k for k, name in enumerate(regressors.names)}
    factors = {}
    for driver in dict.fromkeys(map(driver_of, names)):
        chosen = [
            (column[name], k)
            for k, name in enumerate(names)
            if driver_of(name) == driver and name in column
        ]
        if chosen:
            values = [regressors.values[k] for k, _ in chosen]
            factors[driver] = Regressors([], values, values).multiplier(
                coefficients[:, [k for _, k in chosen]]
            )
    return factors


def index_of(values: Iterable[Hashable], known: Sequence[Hashable]) -> Codes:
    """The index of each value among the known ones; -1 for the others."""
    index = {value: n for n, value in enumerate(known)}
    return np.array([index.get(value, -1) for value in values])


def multiply_factors(factors: Mapping[str, Numbers]) -> Numbers:
    return np.asarray(reduce(np.multiply, factors.values()))


def compute_means(
    effects: Effects, grid: Grid, days: Sequence[date], regressors: Regressors
) -> Numbers:
    """The mean of each line on each day at the level of the last period."""
    return multiply_factors(compute_factors(effects, grid, days, regressors))


def sum_daily_means(daily: Numbers) -> Numbers:
    """Days (whole weeks) summed to weeks: from lines × days to weeks × lines."""
    return np.asarray(daily.reshape(len(daily), -1, 7).sum(axis=2).T)


def compute_log_lift(factors: Mapping[str, Numbers]) -> Numbers:
    """log(mean / mean without regressors) of the first week, the second and both: 3 × lines."""
    calendar_only = {
        name: factor for name, factor in factors.items() if name not in REGRESSOR_DRIVERS
    }
    weeks = sum_daily_means(multiply_factors(factors))
    base = sum_daily_means(multiply_factors(calendar_only))
    lift = np.stack([*weeks, weeks.sum(axis=0)]) / np.maximum(
        np.stack([*base, base.sum(axis=0)]), 1e-9
    )
    return np.asarray(np.log(np.maximum(lift, 1e-3)))


def unseen_month_variation(effects: Effects, days: Sequence[date]) -> Numbers:
    """The coefficient of variation that months without sales add to two weeks and their sum: 3."""
    sd = np.sqrt(effects.calendar.unseen_month_variance)
    weeks = sd[encode_days(days).month].reshape(-1, 7).mean(axis=1)
    return np.array([*weeks, weeks.mean()])


def estimate_growth(item_period: Numbers, item: Numbers, period_weeks: int) -> float:
    """The weekly growth of log demand from the mean of one year to that of the next.

    `item_period` is items × periods. 0 unless two years are known.
    """
    year = round(52 / period_weeks)
    if item_period.shape[1] < 2 * year:
        return 0.0
    log = np.log((item_period * item[:, None]).sum(axis=0))
    return float((log[-year:].mean() - log[-2 * year : -year].mean()) / 52)


def estimate_unseen_month_variance(month: Numbers, has_sales: Mask) -> Numbers:
    """The variance of the logarithm of each month without sales; 0 for the others.

    Log months are taken as a random walk whose step variance the neighbouring known months show.
    Between the known months a after and b before, it is a Brownian bridge with variance
    step × a × b / (a + b).
    """
    if has_sales.all() or not has_sales.any():
        return np.zeros(12)
    log = np.log(month)
    steps = [log[n] - log[n - 1] for n in range(12) if has_sales[n] and has_sales[n - 1]]
    step = max(float(np.mean(np.square(steps))) if steps else 0.0, MIN_MONTH_STEP**2)
    after = [next(d for d in range(12) if has_sales[(n + d) % 12]) for n in range(12)]
    before = [next(d for d in range(12) if has_sales[(n - d) % 12]) for n in range(12)]
    return np.array([step * a * b / max(a + b, 1) for a, b in zip(after, before, strict=True)])
