"""The example world: ten stores and ten beverages, simulated from a seed. Pure: a seed and a last day in, frames out; no files.

It is simulated day by day from EPOCH, because what can be sold depends on what was delivered, and what is delivered on what a manager
saw sell. With the same seed, a later last day has the same past.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.errors import UserError
from tanuki.shop.calendar import WEEKDAYS
from tanuki.shop.simulation import inventory
from tanuki.shop.simulation.inventory import Counts, Flags, Lived
from tanuki.shop.simulation.managers import Managers
from tanuki.shop.simulation.personas import (
    ITEMS,
    KINDS,
    REGIONS,
    STORES,
    identifier,
    item_master,
    item_rules,
    region_master,
    region_of_store,
    store_master,
)

Floats = NDArray[np.float64]

EPOCH = date(2016, 1, 4)  # a Monday
LATEST = date(2040, 12, 30)  # growth goes on by the year and would become absurd
WEEKS = 157  # three years and a little
PLANNED_WEEKS = 4  # promotions and prices known ahead
AGES = 4  # weeks on the shelf that are told apart: juice of 28 days and more is still sold
CALENDAR_YEARS = 26  # from EPOCH to LATEST and a little
NOISE_SHAPE = (
    14.0  # of the gamma that widens Poisson: a day's demand varies by about 27 % beyond chance
)
DISPLAY_LIFT = 1.3  # a special display without a lower price
WEATHER_MEMORY, WEATHER_SPREAD, WEATHER_SHARE = (
    0.75,
    1.6,
    0.7,
)  # of weather from day to day, in degrees
MOOD_MEMORY, MOOD_SPREAD = 0.9, 0.05  # of each series' slow drift, week by week
FORGOTTEN = 0.03  # share of lines in which a manager just repeats last week's order


@dataclass(frozen=True)
class World:
    """A chain's files as frames, in the layouts that the importer knows, and what nobody in the chain can see: true demand."""

    seed: int
    last_day: date
    regions: pl.DataFrame
    stores: pl.DataFrame
    items: pl.DataFrame
    prices: pl.DataFrame
    promotions: pl.DataFrame
    weather: pl.DataFrame
    sales: pl.DataFrame
    stock: pl.DataFrame
    deliveries: pl.DataFrame  # up to the Monday after last_day: ordered, not yet there
    truth: pl.DataFrame  # date, store, item, expected, demand, sales


@dataclass(frozen=True)
class Nature:
    """What happens whatever anybody orders, from EPOCH: arrays over days, and over weeks for the moods of managers."""

    days: list[date]  # PLANNED_WEEKS more than there is demand for
    degrees: Floats  # day, region
    list_price: Floats  # day, item
    revisions: list[tuple[int, date, int]]
    promotions: pl.DataFrame
    expected: Floats  # day, store, item: mean demand if everything were always in stock
    demand: Counts  # day, store, item
    managers: Managers


def world(seed: int, last_day: date) -> World:
    """Three years that end on `last_day`, a Sunday. The same seed and day give the same world; a later day the same past."""
    made = nature(seed, last_day)
    lived = lived_by_managers(made)
    known = len(made.demand)
    shown = slice(known - 7 * WEEKS, known)
    start = made.days[shown.start]
    keys = grid(made.days[shown])
    return World(
        seed=seed,
        last_day=last_day,
        regions=region_master(),
        stores=store_master(),
        items=item_master(),
        prices=price_list(made.revisions, start, made.days[-1]),
        promotions=made.promotions.filter(pl.col("date_to") >= start),
        weather=weather_frame(made.days[shown], made.degrees[shown]),
        sales=sales_frame(keys, lived.sales[shown], made.list_price[shown]),
        stock=keys.with_columns(pl.Series("units", lived.stock[shown].ravel())),
        deliveries=deliveries_frame(made.days, lived.deliveries, start),
        truth=keys.with_columns(
            pl.Series("expected", made.expected[shown].ravel()).round(3),
            pl.Series("demand", made.demand[shown].ravel()),
            pl.Series("sales", lived.sales[shown].ravel()),
        ),
    )


def nature(seed: int, last_day: date) -> Nature:
    """Everything up to `last_day` that does not depend on orders. A later day has the same past."""
    first = EPOCH + timedelta(weeks=WEEKS) - timedelta(days=1)
    if last_day.isoweekday() != 7 or not first <= last_day <= LATEST:
        raise UserError(
            "The example cannot end on %(day)s; expected a Sunday from %(first)s to %(last)s.",
            day=last_day,
            first=first,
            last=LATEST,
        )
    known = (last_day - EPOCH).days + 1
    days = [EPOCH + timedelta(days=n) for n in range(known + 7 * PLANNED_WEEKS)]
    list_price, revisions = prices_of(seed, days)
    lift, promotions = promotions_of(seed, days)
    degrees = temperature(seed, days)
    expected = expected_demand(seed, days, degrees, list_price, lift)[:known]
    noise = np.random.default_rng([seed, 5]).gamma(NOISE_SHAPE, 1 / NOISE_SHAPE, expected.shape)
    demand = np.random.default_rng([seed, 6]).poisson(expected * noise)
    managers = Managers(
        habits=[store.habit for store in STORES],
        rules=item_rules(),
        usual=expected[:7].sum(axis=0),
        foreseen=week_ahead(lift, days),
        forgotten=np.random.default_rng([seed, 7]).random((known // 7, *demand.shape[1:]))
        < FORGOTTEN,
    )
    return Nature(days, degrees, list_price, revisions, promotions, expected, demand, managers)


def lived_by_managers(made: Nature) -> Lived:
    """Sales, stock and deliveries as the managers' orders make them."""
    return inventory.live(made.demand, keeps(), made.managers.first, made.managers.order)


def keeps() -> Flags:
    """Which items can still be sold at which age. [age, item]"""
    return inventory.keeping([item.shelf_life_days for item in ITEMS], AGES)


# ---- demand --------------------------------------------------------------------------------------------------------


def temperature(seed: int, days: list[date]) -> Floats:
    """Mean temperature of each day and region: the season and weather that lasts for some days. [day, region]"""
    steps = np.random.default_rng([seed, 1]).normal(
        0.0, WEATHER_SPREAD, (len(days), len(REGIONS) + 1)
    )
    lasting = np.zeros_like(steps)
    for day in range(1, len(days)):
        lasting[day] = WEATHER_MEMORY * lasting[day - 1] + steps[day]
    degrees = (
        climate(days) + WEATHER_SHARE * lasting[:, :-1] + WEATHER_SHARE * lasting[:, -1:]
    )  # each region's own, and the country's
    return np.asarray(np.round(degrees, 1), dtype=np.float64)


def climate(days: list[date]) -> Floats:
    """The temperature that is usual on each day in each region. [day, region]"""
    around = np.array(
        [[np.cos(2 * np.pi * (day.timetuple().tm_yday - 212) / 365.25)] for day in days]
    )  # warmest at July's end
    mean = np.array([region[2] for region in REGIONS.values()])
    swing = np.array([region[3] for region in REGIONS.values()])
    return np.asarray(mean + swing * around, dtype=np.float64)


def prices_of(seed: int, days: list[date]) -> tuple[Floats, list[tuple[int, date, int]]]:
    """List prices [day, item], and every revision as (item, from, yen): some items go up on the first of April."""
    draws = np.random.default_rng([seed, 2]).random((CALENDAR_YEARS, len(ITEMS), 2))
    revisions = []
    for n, item in enumerate(ITEMS):
        yen = item.price
        revisions.append((n, EPOCH, yen))
        for ago in range(CALENDAR_YEARS):
            if draws[ago, n, 0] < 0.3 and date(EPOCH.year + ago, 4, 1) <= days[-1]:
                yen += max(1, round(yen * (0.02 + 0.05 * draws[ago, n, 1])))
                revisions.append((n, date(EPOCH.year + ago, 4, 1), yen))
    prices = np.zeros((len(days), len(ITEMS)))
    for n, since, yen in revisions:
        prices[(since - EPOCH).days :, n] = yen
    return prices, revisions


def promotions_of(seed: int, days: list[date]) -> tuple[Floats, pl.DataFrame]:
    """What promotions do to demand [day, store, item], and their list: up to two items a week, for the chain or for one store."""
    weeks = len(days) // 7
    draws = np.random.default_rng([seed, 3]).random((weeks, 2, 6))
    lift = np.ones((len(days), len(STORES), len(ITEMS)))
    rows = []
    for week in range(weeks):
        first_item = int(draws[week, 0, 0] * len(ITEMS))
        for slot, (item_draw, active, where, which, kind, length) in enumerate(draws[week]):
            if active > 0.6:
                continue
            item = (
                first_item
                if slot == 0
                else (first_item + 1 + int(item_draw * (len(ITEMS) - 1))) % len(ITEMS)
            )
            stores = list(range(len(STORES))) if where < 0.6 else [int(which * len(STORES))]
            begin = week * 7 + (0 if length < 0.5 else 3)
            discount = 0.0 if kind < 0.3 else (0.1, 0.2, 0.3)[int((kind - 0.3) / 0.7 * 3)]
            factor = DISPLAY_LIFT if discount == 0 else (1 - discount) ** -ITEMS[item].elasticity
            lift[begin : week * 7 + 7, stores, item] = factor
            store = "" if len(stores) > 1 else STORES[stores[0]].code
            rows.append(
                (
                    store,
                    ITEMS[item].code,
                    days[begin],
                    days[week * 7 + 6],
                    "price" if discount else "display",
                    discount,
                )
            )
    schema = {
        "store": pl.String,
        "item": pl.String,
        "date_from": pl.Date,
        "date_to": pl.Date,
        "kind": pl.String,
        "discount": pl.Float64,
    }
    return lift, pl.DataFrame(rows, schema=schema, orient="row")


def calendar(days: list[date]) -> Floats:
    """What weekdays, public holidays, Obon and New Year do to each store. [day, store]"""
    from holidays.countries import Japan

    holidays = Japan(years=range(days[0].year, days[-1].year + 1))
    factors = np.ones((len(days), len(STORES)))
    for n, day in enumerate(days):
        for s, store in enumerate(STORES):
            kind = KINDS[store.kind]
            factors[n, s] = kind.week[day.weekday()]
            if (day.month, day.day) == (1, 1):
                factors[n, s] = 0.5
            elif day.month == 8 and 12 <= day.day <= 16:
                factors[n, s] *= kind.obon
            elif day in holidays or (day.month == 1 and day.day <= 3):
                factors[n, s] *= kind.holiday
    return factors


def year_end(days: list[date]) -> Floats:
    """What the last days of the year, with Christmas, do to each item. [day, item]"""
    most = np.array([item.year_end for item in ITEMS])
    share = np.array([[year_end_share(day)] for day in days])
    return np.asarray(1 + (most - 1) * share, dtype=np.float64)


def year_end_share(day: date) -> float:
    """How much of year's end a day has in it, 0 to 1."""
    if day.month != 12 or day.day < 23:
        return 0.0
    return 1.0 if day.day >= 28 else 0.6 if day.day in (24, 25) else 0.3


def expected_demand(
    seed: int, days: list[date], degrees: Floats, list_price: Floats, lift: Floats
) -> Floats:
    """Mean demand if everything were always in stock. [day, store, item]"""
    taste, mood = taste_and_mood(seed, len(days) // 7)
    years = np.arange(len(days))[:, None] / 365.25
    store = (
        np.array([each.level for each in STORES])
        * np.array([1 + each.growth for each in STORES]) ** years
    )
    item = np.array([each.level for each in ITEMS])
    warmth = (
        np.array([each.warmth for each in ITEMS])
        * (degrees[:, region_of_store(), None] - 16.0)
        / 10
    )
    dearer = (list_price / list_price[0]) ** -0.5  # people get used to most of it
    per_store = (store * calendar(days))[:, :, None]
    per_item = (item * dearer * year_end(days))[:, None, :]
    return np.asarray(
        per_store * per_item * taste * np.exp(warmth) * np.exp(np.repeat(mood, 7, axis=0)) * lift,
        dtype=np.float64,
    )


def taste_and_mood(seed: int, weeks: int) -> tuple[Floats, Floats]:
    """What each store's customers like [store, item], and the logarithm of each series' slow drift [week, store, item]."""
    rng = np.random.default_rng([seed, 4])
    taste = np.exp(rng.normal(0.0, 0.18, (len(STORES), len(ITEMS))))
    steps = rng.normal(0.0, MOOD_SPREAD, (weeks, len(STORES), len(ITEMS)))
    mood = np.zeros_like(steps)
    for week in range(1, weeks):
        mood[week] = MOOD_MEMORY * mood[week - 1] + steps[week]
    return taste, mood


def week_ahead(lift: Floats, days: list[date]) -> Floats:
    """By how much each manager raises each week, for promotions and year's end. [week, store, item]"""
    belief = np.array([store.habit.promotion for store in STORES])[:, None]
    plans = np.array([store.habit.plans for store in STORES])[:, None]
    promoted = lift.reshape(-1, 7, *lift.shape[1:]).mean(axis=1)
    ending = year_end(days).reshape(-1, 7, len(ITEMS)).mean(axis=1)[:, None, :]
    return np.asarray(
        (1 + belief * (promoted - 1)) * np.where(plans, ending, 1.0), dtype=np.float64
    )


# ---- frames --------------------------------------------------------------------------------------------------------


def price_list(revisions: list[tuple[int, date, int]], start: date, end: date) -> pl.DataFrame:
    """id, item_name, price, applied_from, applied_to: what is in force between two days."""
    rows = []
    for n, (item, since, yen) in enumerate(revisions):
        following = (
            revisions[n + 1] if n + 1 < len(revisions) and revisions[n + 1][0] == item else None
        )
        until = following[1] - timedelta(days=1) if following else date(2099, 12, 31)
        if since <= end and until >= start:
            code = ITEMS[item].code
            rows.append((identifier("price", f"{code}:{since}"), code, yen, since, until))
    return pl.DataFrame(
        rows, schema=["id", "item_name", "price", "applied_from", "applied_to"], orient="row"
    )


def weather_frame(days: list[date], degrees: Floats) -> pl.DataFrame:
    """date, region, temperature_c."""
    repeated = pl.Series("date", days).gather(np.repeat(np.arange(len(days)), len(REGIONS)))
    return pl.DataFrame(
        {"date": repeated, "region": list(REGIONS) * len(days), "temperature_c": degrees.ravel()}
    )


def grid(days: list[date]) -> pl.DataFrame:
    """date, store, item: every combination, in the order of the simulation's arrays."""
    dates = pl.DataFrame({"date": days})
    stores, items = (
        pl.DataFrame({"store": [store.code for store in STORES]}),
        pl.DataFrame({"item": [item.code for item in ITEMS]}),
    )
    return dates.join(stores, how="cross", maintain_order="left_right").join(
        items, how="cross", maintain_order="left_right"
    )


def sales_frame(keys: pl.DataFrame, sales: Counts, list_price: Floats) -> pl.DataFrame:
    """date, day_of_week, week_of_year, store, item, sales, total_sales_amount (at list price: the till books discounts elsewhere)."""
    amount = sales * list_price[:, None, :].astype(np.int64)
    return keys.select(
        "date",
        (pl.col("date").dt.weekday() - 1)
        .replace_strict(dict(enumerate(WEEKDAYS)), return_dtype=pl.String)
        .alias("day_of_week"),
        pl.col("date").dt.week().alias("week_of_year"),
        "store",
        "item",
        pl.Series("sales", sales.ravel()),
        pl.Series("total_sales_amount", amount.ravel()),
    )


def deliveries_frame(days: list[date], deliveries: Counts, start: date) -> pl.DataFrame:
    """date, store, item, units: what was ordered for each Monday."""
    keys = grid([days[week * 7] for week in range(len(deliveries))])
    return keys.with_columns(pl.Series("units", deliveries.ravel())).filter(pl.col("date") >= start)
