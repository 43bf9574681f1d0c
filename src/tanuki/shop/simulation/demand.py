"""The example chain's true demand: everything that does not depend on orders. Pure.

It begins at EPOCH, so with the same seed a later last day has the same past. Each part has a random
generator of its own, seeded with the seed and a number.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from tanuki.errors import UserError
from tanuki.shop.features import Numbers
from tanuki.shop.simulation.inventory import (
    DAYS_PER_WEEK,
    Counts,
    Flags,
    Trajectory,
    sellable_by_age,
    simulate_inventory,
)
from tanuki.shop.simulation.managers import Managers
from tanuki.shop.simulation.personas import (
    ITEMS,
    REGIONS,
    STORE_TYPES,
    STORES,
    region_index_of_stores,
)

EPOCH = date(2016, 1, 4)  # a Monday
MAX_LAST_DAY = date(2040, 12, 30)  # yearly growth would become absurd
HISTORY_WEEKS = 157  # on record: three years and a little
PLANNED_WEEKS = 4  # promotions and prices are known so far ahead
SHELF_AGES = 4  # weeks of age that are distinguished: juice of 28 days or more is still sold
CALENDAR_YEARS = 26  # from EPOCH to MAX_LAST_DAY and a little
GAMMA_NOISE_SHAPE = 14.0  # a day's demand varies by 1 / √14 = 27 % beyond Poisson noise
DISPLAY_UPLIFT = 1.3  # of a special display without a lower price
PROMOTION_SHARE = 0.6  # of the two slots for promotions a week
REVISION_SHARE = 0.3  # of items whose list price rises on the first of April
MEAN_TEMPERATURE_C = 16.0  # at which an item's warmth does nothing
# Weather is an AR(1) process in degrees: memory from day to day, steps, and the share of each
# region's own process and of the country's.
WEATHER_MEMORY, WEATHER_STEP_C, WEATHER_SHARE = 0.75, 1.6, 0.7
DRIFT_MEMORY, DRIFT_STEP = 0.9, 0.05  # of each series' slow drift, AR(1) by week, in logarithms
REPEATED_ORDER_SHARE = 0.03  # of lines in which a manager repeats last week's order


@dataclass(frozen=True)
class PriceRevision:
    item: int
    since: date
    yen: int


@dataclass(frozen=True)
class Environment:
    """What happens whatever anybody orders, by day from EPOCH."""

    days: list[date]  # PLANNED_WEEKS more than there is demand for
    degrees: Numbers  # day, region
    list_price: Numbers  # day, item
    revisions: list[PriceRevision]
    promotions: pl.DataFrame
    expected: Numbers  # day, store, item: mean demand
    demand: Counts  # day, store, item
    managers: Managers


def simulate_environment(seed: int, last_day: date) -> Environment:
    """The environment up to `last_day`. Raises UserError unless it is a Sunday in range."""
    first = EPOCH + timedelta(weeks=HISTORY_WEEKS) - timedelta(days=1)
    if last_day.isoweekday() != DAYS_PER_WEEK or not first <= last_day <= MAX_LAST_DAY:
        raise UserError(
            "The example cannot end on %(day)s; expected a Sunday from %(first)s to %(last)s.",
            day=last_day,
            first=first,
            last=MAX_LAST_DAY,
        )
    known = (last_day - EPOCH).days + 1
    days = [EPOCH + timedelta(days=n) for n in range(known + DAYS_PER_WEEK * PLANNED_WEEKS)]
    list_price, revisions = simulate_prices(seed, days)
    uplift, promotions = simulate_promotions(seed, days)
    degrees = simulate_temperature(seed, days)
    taste, drift = draw_taste_and_drift(seed, len(days) // DAYS_PER_WEEK)
    expected = (
        base_demand(days, list_price)
        * taste
        * np.exp(warmth_effects(degrees))
        * np.exp(np.repeat(drift, DAYS_PER_WEEK, axis=0))
        * uplift
    )[:known]
    shape = GAMMA_NOISE_SHAPE
    noise = np.random.default_rng([seed, 5]).gamma(shape, 1 / shape, expected.shape)
    demand = np.random.default_rng([seed, 6]).poisson(expected * noise)
    repeats = np.random.default_rng([seed, 7]).random((known // DAYS_PER_WEEK, *demand.shape[1:]))
    managers = Managers(
        habits=[store.habit for store in STORES],
        rules=[item.rules for item in ITEMS],
        usual_units=expected[:DAYS_PER_WEEK].sum(axis=0),
        planned_uplift=plan_uplift(uplift, days),
        repeats_order=repeats < REPEATED_ORDER_SHARE,
    )
    return Environment(days, degrees, list_price, revisions, promotions, expected, demand, managers)


def simulate_managers(environment: Environment) -> Trajectory:
    """Sales, stock and deliveries with the managers' orders."""
    managers = environment.managers
    return simulate_inventory(
        environment.demand, item_sellability(), managers.first_delivery, managers.order_next_week
    )


def item_sellability() -> Flags:
    """Whether each item can be sold at each age. [age, item]"""
    return sellable_by_age([item.rules.shelf_life_days for item in ITEMS], SHELF_AGES)


def simulate_temperature(seed: int, days: list[date]) -> Numbers:
    """Mean temperature: the season and weather that lasts for some days. [day, region]"""
    steps = np.random.default_rng([seed, 1]).normal(
        0.0, WEATHER_STEP_C, (len(days), len(REGIONS) + 1)
    )
    weather = np.zeros_like(steps)
    for day in range(1, len(days)):
        weather[day] = WEATHER_MEMORY * weather[day - 1] + steps[day]
    regions, country = weather[:, :-1], weather[:, -1:]
    degrees = normal_temperature(days) + WEATHER_SHARE * regions + WEATHER_SHARE * country
    return np.asarray(np.round(degrees, 1), dtype=np.float64)


def normal_temperature(days: list[date]) -> Numbers:
    """The usual temperature, warmest at the end of July. [day, region]"""
    warmest = 212  # day of the year
    wave = np.array(
        [[np.cos(2 * np.pi * (day.timetuple().tm_yday - warmest) / 365.25)] for day in days]
    )
    mean = np.array([region.mean_temperature_c for region in REGIONS.values()])
    swing = np.array([region.temperature_swing_c for region in REGIONS.values()])
    return np.asarray(mean + swing * wave, dtype=np.float64)


def simulate_prices(seed: int, days: list[date]) -> tuple[Numbers, list[PriceRevision]]:
    """List prices [day, item], and their revisions: some rise on the first of April."""
    draws = np.random.default_rng([seed, 2]).random((CALENDAR_YEARS, len(ITEMS), 2))
    revisions = []
    for n, item in enumerate(ITEMS):
        yen = item.price_yen
        revisions.append(PriceRevision(n, EPOCH, yen))
        for year in range(CALENDAR_YEARS):
            april = date(EPOCH.year + year, 4, 1)
            if draws[year, n, 0] < REVISION_SHARE and april <= days[-1]:
                yen += max(1, round(yen * (0.02 + 0.05 * draws[year, n, 1])))
                revisions.append(PriceRevision(n, april, yen))
    prices = np.zeros((len(days), len(ITEMS)))
    for revision in revisions:
        prices[(revision.since - EPOCH).days :, revision.item] = revision.yen
    return prices, revisions


def simulate_promotions(seed: int, days: list[date]) -> tuple[Numbers, pl.DataFrame]:
    """Factors on demand [day, store, item], and the list of promotions.

    Up to two items a week are promoted, in all stores or in one, from Monday or from Thursday.
    """
    weeks = len(days) // DAYS_PER_WEEK
    draws = np.random.default_rng([seed, 3]).random((weeks, 2, 6))
    uplift = np.ones((len(days), len(STORES), len(ITEMS)))
    rows = []
    for week in range(weeks):
        first_item = int(draws[week, 0, 0] * len(ITEMS))
        for slot, (item_draw, active, everywhere, which, kind, start) in enumerate(draws[week]):
            if active > PROMOTION_SHARE:
                continue
            item = first_item
            if slot == 1:
                item = (first_item + 1 + int(item_draw * (len(ITEMS) - 1))) % len(ITEMS)
            stores = list(range(len(STORES))) if everywhere < 0.6 else [int(which * len(STORES))]
            monday = week * DAYS_PER_WEEK
            first_day, end = monday + (0 if start < 0.5 else 3), monday + DAYS_PER_WEEK
            discount = 0.0 if kind < 0.3 else (0.1, 0.2, 0.3)[int((kind - 0.3) / 0.7 * 3)]
            factor = DISPLAY_UPLIFT
            if discount:
                factor = (1 - discount) ** -ITEMS[item].demand.elasticity
            uplift[first_day:end, stores, item] = factor
            store = "" if len(stores) > 1 else STORES[stores[0]].code
            promotion = "price" if discount else "display"
            code = ITEMS[item].code
            rows.append((store, code, days[first_day], days[end - 1], promotion, discount))
    schema = {
        "store": pl.String,
        "item": pl.String,
        "date_from": pl.Date,
        "date_to": pl.Date,
        "kind": pl.String,
        "discount": pl.Float64,
    }
    return uplift, pl.DataFrame(rows, schema=schema, orient="row")


def calendar_factors(days: list[date]) -> Numbers:
    """Factors of weekdays, public holidays, Obon and New Year on each store. [day, store]"""
    from holidays.countries import Japan

    holidays = Japan(years=range(days[0].year, days[-1].year + 1))
    factors = np.ones((len(days), len(STORES)))
    for n, day in enumerate(days):
        for s, store in enumerate(STORES):
            store_type = STORE_TYPES[store.store_type]
            factors[n, s] = store_type.weekdays[day.weekday()]
            if (day.month, day.day) == (1, 1):
                factors[n, s] = 0.5
            elif day.month == 8 and 12 <= day.day <= 16:
                factors[n, s] *= store_type.obon
            elif day in holidays or (day.month == 1 and day.day <= 3):
                factors[n, s] *= store_type.holiday
    return factors


def year_end_factors(days: list[date]) -> Numbers:
    """Factors of the last days of the year, with Christmas, on each item. [day, item]"""
    factor = np.array([item.demand.year_end for item in ITEMS])
    share = np.array([[year_end_share(day)] for day in days])
    return np.asarray(1 + (factor - 1) * share, dtype=np.float64)


def year_end_share(day: date) -> float:
    """How much of the year end's factor a day has, 0 to 1."""
    if day.month != 12 or day.day < 23:
        return 0.0
    if day.day >= 28:
        return 1.0
    return 0.6 if day.day in (24, 25) else 0.3


def base_demand(days: list[date], list_price: Numbers) -> Numbers:
    """Mean demand by level, growth, calendar and list price. [day, store, item]"""
    years = np.arange(len(days))[:, None] / 365.25
    growth = np.array([1 + store.growth for store in STORES])
    store_level = np.array([store.level for store in STORES]) * growth**years
    item_level = np.array([item.demand.level for item in ITEMS])
    price_effect = (list_price / list_price[0]) ** -0.5  # people get used to most of a rise
    per_store = (store_level * calendar_factors(days))[:, :, None]
    per_item = (item_level * price_effect * year_end_factors(days))[:, None, :]
    return np.asarray(per_store * per_item, dtype=np.float64)


def warmth_effects(degrees: Numbers) -> Numbers:
    """The change of log demand by temperature. [day, store, item]"""
    warmth = np.array([item.demand.warmth for item in ITEMS])
    of_stores = degrees[:, region_index_of_stores(), None]
    return np.asarray(warmth * (of_stores - MEAN_TEMPERATURE_C) / 10)


def draw_taste_and_drift(seed: int, weeks: int) -> tuple[Numbers, Numbers]:
    """Factors of local taste [store, item], and each series' log drift [week, store, item]."""
    rng = np.random.default_rng([seed, 4])
    taste = np.exp(rng.normal(0.0, 0.18, (len(STORES), len(ITEMS))))
    steps = rng.normal(0.0, DRIFT_STEP, (weeks, len(STORES), len(ITEMS)))
    drift = np.zeros_like(steps)
    for week in range(1, weeks):
        drift[week] = DRIFT_MEMORY * drift[week - 1] + steps[week]
    return taste, drift


def plan_uplift(uplift: Numbers, days: list[date]) -> Numbers:
    """The factor of each manager's plan for promotions and the year's end. [week, store, item]"""
    belief = np.array([store.habit.promotion_belief for store in STORES])[:, None]
    plans = np.array([store.habit.plans_year_end for store in STORES])[:, None]
    promotions = uplift.reshape(-1, DAYS_PER_WEEK, *uplift.shape[1:]).mean(axis=1)
    year_end = year_end_factors(days).reshape(-1, DAYS_PER_WEEK, len(ITEMS)).mean(axis=1)
    return np.asarray(
        (1 + belief * (promotions - 1)) * np.where(plans, year_end[:, None, :], 1.0),
        dtype=np.float64,
    )
