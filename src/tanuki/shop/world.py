"""The example world: ten stores and ten beverages, simulated from a seed. Pure: a seed and a last day in, frames out; no files.

It is simulated day by day from EPOCH, because what can be sold depends on what was delivered, and what is delivered on what a manager
saw sell. With the same seed, a later last day has the same past.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.errors import UserError
from tanuki.shop.weeks import WEEKDAYS

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

EPOCH = date(2016, 1, 4)  # a Monday
LATEST = date(2040, 12, 30)  # growth goes on by the year and would become absurd
WEEKS = 157  # three years and a little
PLANNED_WEEKS = 4  # promotions and prices known ahead
AGES = 4  # weeks on the shelf that are told apart
CALENDAR_YEARS = 26  # from EPOCH to LATEST and a little
NOISE_SHAPE = 14.0  # of the gamma that widens Poisson: a day's demand varies by about 27 % beyond chance
DISPLAY_LIFT = 1.3  # a special display without a lower price
MOOD_MEMORY, MOOD_SPREAD = 0.9, 0.05  # of each series' slow drift, week by week
FORGOTTEN = 0.03  # share of lines in which a manager just repeats last week's order


class Kind(NamedTuple):
    """What sort of place a store is at: its week, Monday first, and what holidays and Obon do to it."""

    week: tuple[float, ...]
    holiday: float
    obon: float


class Habit(NamedTuple):
    """How a manager orders: weeks remembered, share ordered on top, share of a promotion believed, whether year's end is planned for."""

    memory: int
    extra: float
    promotion: float
    plans: bool


class StoreSpec(NamedTuple):
    """A store of the example."""

    code: str
    ja: str
    en: str
    region: str
    kind: str
    level: float
    growth: float  # a year
    habit: Habit


class ItemSpec(NamedTuple):
    """A beverage of the example. `warmth` is its growth per 10 degrees, `year_end` its factor in the last days of December."""

    code: str
    ja: str
    en: str
    maker: str
    price: int
    case_units: int
    min_cases: int
    max_cases: int
    shelf_life_days: int | None
    shortage_cost_yen: int
    leftover_cost_yen: int
    level: float  # units a day in a store of level 1
    warmth: float
    year_end: float
    elasticity: float


REGIONS = {
    "north_east": ("北東", "North-east", 12.5, 11.5),  # names, mean temperature, half its yearly swing
    "east": ("東", "East", 16.3, 10.5),
    "west": ("西", "West", 17.0, 11.0),
    "south": ("南", "South", 20.0, 8.5),
}
MAKERS = {
    "acorn": ("どんぐり山飲料", "Acorn Hill Drinks"),
    "leafhat": ("葉っぱ帽子乳業", "Leaf Hat Dairy"),
    "belly_drum": ("腹つづみ醸造", "Belly Drum Brewing"),
    "moonlit": ("月見野茶園", "Moonlit Tea Garden"),
}
KINDS = {
    "office": Kind((1.16, 1.14, 1.14, 1.12, 1.2, 0.66, 0.58), 0.6, 0.7),
    "home": Kind((0.92, 0.9, 0.9, 0.93, 1.0, 1.18, 1.17), 1.15, 1.15),
    "station": Kind((0.96, 0.95, 0.97, 1.0, 1.2, 1.06, 0.86), 0.95, 1.1),
    "sights": Kind((0.82, 0.8, 0.84, 0.9, 1.04, 1.32, 1.28), 1.4, 1.35),
}
STORES = (
    StoreSpec("morioka", "盛岡店", "Morioka", "north_east", "home", 0.7, 0.00, Habit(4, 0.25, 0.3, True)),
    StoreSpec("sendai", "仙台店", "Sendai", "north_east", "station", 1.0, 0.01, Habit(3, 0.15, 0.6, True)),
    StoreSpec("shinjuku", "新宿店", "Shinjuku", "east", "office", 1.5, 0.02, Habit(2, 0.12, 0.8, False)),
    StoreSpec("ueno", "上野店", "Ueno", "east", "sights", 1.2, 0.015, Habit(3, 0.20, 0.5, True)),
    StoreSpec("yokohama", "横浜店", "Yokohama", "east", "station", 1.3, 0.01, Habit(4, 0.10, 0.7, True)),
    StoreSpec("chiba", "千葉店", "Chiba", "east", "home", 0.8, -0.01, Habit(6, 0.30, 0.2, False)),
    StoreSpec("nagoya", "名古屋店", "Nagoya", "west", "office", 1.1, 0.01, Habit(2, 0.18, 0.4, True)),
    StoreSpec("osaka", "大阪店", "Osaka", "west", "station", 1.4, 0.01, Habit(3, 0.10, 0.9, True)),
    StoreSpec("fukuoka", "福岡店", "Fukuoka", "south", "home", 1.0, 0.02, Habit(2, 0.20, 0.5, False)),
    StoreSpec("naha", "那覇店", "Naha", "south", "sights", 0.9, 0.02, Habit(5, 0.22, 0.6, False)),
)
ITEMS = (
    ItemSpec("green_tea", "緑茶", "Green tea", "moonlit", 130, 24, 1, 60, None, 60, 15, 34, 0.10, 1.05, 2.2),
    ItemSpec("barley_tea", "麦茶", "Barley tea", "moonlit", 120, 24, 0, 60, None, 55, 12, 22, 0.42, 0.90, 2.0),
    ItemSpec("coffee", "コーヒー", "Coffee", "moonlit", 200, 12, 1, 90, None, 95, 20, 36, -0.08, 0.95, 1.6),
    ItemSpec("cocoa", "ココア", "Cocoa", "acorn", 160, 12, 0, 60, None, 70, 18, 14, -0.38, 1.15, 2.0),
    ItemSpec("orange_juice", "オレンジジュース", "Orange juice", "acorn", 140, 12, 0, 60, 28, 60, 30, 20, 0.12, 1.45, 2.6),
    ItemSpec("sports_drink", "スポーツドリンク", "Sports drink", "acorn", 130, 24, 0, 60, None, 55, 12, 18, 0.36, 0.80, 2.4),
    ItemSpec("mineral_water", "天然水", "Mineral water", "acorn", 100, 24, 1, 60, None, 45, 8, 32, 0.22, 0.95, 1.8),
    ItemSpec("milk", "牛乳", "Milk", "leafhat", 130, 6, 1, 90, 14, 50, 60, 24, -0.03, 0.90, 1.4),
    ItemSpec("soy_milk", "豆乳", "Soy milk", "leafhat", 120, 6, 0, 60, 21, 50, 45, 12, -0.05, 0.90, 1.8),
    ItemSpec("beer", "ビール", "Beer", "belly_drum", 220, 24, 1, 60, None, 80, 14, 26, 0.24, 1.60, 2.8),
)


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


def world(seed: int, last_day: date) -> World:
    """Three years that end on `last_day`, a Sunday. The same seed and day give the same world; a later day the same past."""
    first = EPOCH + timedelta(weeks=WEEKS) - timedelta(days=1)
    if last_day.isoweekday() != 7 or not first <= last_day <= LATEST:
        raise UserError(
            "The example cannot end on %(day)s; expected a Sunday from %(first)s to %(last)s.", day=last_day, first=first, last=LATEST
        )
    known = (last_day - EPOCH).days + 1
    days = [EPOCH + timedelta(days=n) for n in range(known + 7 * PLANNED_WEEKS)]
    list_price, revisions = prices_of(seed, days)
    lift, promotions = promotions_of(seed, days)
    degrees = temperature(seed, days)
    expected = expected_demand(seed, days, degrees, list_price, lift)[:known]
    noise = np.random.default_rng([seed, 5]).gamma(NOISE_SHAPE, 1 / NOISE_SHAPE, expected.shape)
    demand = np.random.default_rng([seed, 6]).poisson(expected * noise)
    sales, stock, deliveries = live(seed, demand, expected, lift, days)
    shown = slice(known - 7 * WEEKS, known)
    start = days[shown.start]
    keys = grid(days[shown])
    return World(
        seed=seed,
        last_day=last_day,
        regions=region_master(),
        stores=store_master(),
        items=item_master(),
        prices=price_list(revisions, start, days[-1]),
        promotions=promotions.filter(pl.col("date_to") >= start),
        weather=weather_frame(days[shown], degrees[shown]),
        sales=sales_frame(keys, sales[shown], list_price[shown]),
        stock=keys.with_columns(pl.Series("units", stock[shown].ravel())),
        deliveries=deliveries_frame(days, deliveries, start),
        truth=keys.with_columns(
            pl.Series("expected", expected[shown].ravel()).round(3),
            pl.Series("demand", demand[shown].ravel()),
            pl.Series("sales", sales[shown].ravel()),
        ),
    )


# ---- demand --------------------------------------------------------------------------------------------------------


def temperature(seed: int, days: list[date]) -> Floats:
    """Mean temperature of each day and region: the season and weather that lasts for some days. [day, region]"""
    steps = np.random.default_rng([seed, 1]).normal(0.0, 1.6, (len(days), len(REGIONS) + 1))
    around = np.array([[np.cos(2 * np.pi * (day.timetuple().tm_yday - 212) / 365.25)] for day in days])  # warmest at July's end
    mean = np.array([each[2] for each in REGIONS.values()])
    swing = np.array([each[3] for each in REGIONS.values()])
    lasting = np.zeros_like(steps)
    for day in range(1, len(days)):
        lasting[day] = 0.75 * lasting[day - 1] + steps[day]
    degrees = mean + swing * around + 0.7 * lasting[:, :-1] + 0.7 * lasting[:, -1:]
    return np.asarray(np.round(degrees, 1), dtype=np.float64)


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
            item = first_item if slot == 0 else (first_item + 1 + int(item_draw * (len(ITEMS) - 1))) % len(ITEMS)
            stores = list(range(len(STORES))) if where < 0.6 else [int(which * len(STORES))]
            begin = week * 7 + (0 if length < 0.5 else 3)
            discount = 0.0 if kind < 0.3 else (0.1, 0.2, 0.3)[int((kind - 0.3) / 0.7 * 3)]
            factor = DISPLAY_LIFT if discount == 0 else (1 - discount) ** -ITEMS[item].elasticity
            lift[begin : week * 7 + 7, stores, item] = factor
            store = "" if len(stores) > 1 else STORES[stores[0]].code
            rows.append((store, ITEMS[item].code, days[begin], days[week * 7 + 6], "price" if discount else "display", discount))
    schema = {"store": pl.String, "item": pl.String, "date_from": pl.Date, "date_to": pl.Date, "kind": pl.String, "discount": pl.Float64}
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


def expected_demand(seed: int, days: list[date], degrees: Floats, list_price: Floats, lift: Floats) -> Floats:
    """Mean demand if everything were always in stock. [day, store, item]"""
    rng = np.random.default_rng([seed, 4])
    taste = np.exp(rng.normal(0.0, 0.18, (len(STORES), len(ITEMS))))
    steps = rng.normal(0.0, MOOD_SPREAD, (len(days) // 7, len(STORES), len(ITEMS)))
    mood = np.zeros_like(steps)
    for week in range(1, len(mood)):
        mood[week] = MOOD_MEMORY * mood[week - 1] + steps[week]
    region = [list(REGIONS).index(store.region) for store in STORES]
    years = np.arange(len(days))[:, None] / 365.25
    store = np.array([each.level for each in STORES]) * np.array([1 + each.growth for each in STORES]) ** years
    item = np.array([each.level for each in ITEMS])
    warmth = np.array([each.warmth for each in ITEMS]) * (degrees[:, region, None] - 16.0) / 10
    dearer = (list_price / list_price[0]) ** -0.5  # people get used to most of it
    per_store = (store * calendar(days))[:, :, None]
    per_item = (item * dearer * year_end(days))[:, None, :]
    return np.asarray(per_store * per_item * taste * np.exp(warmth) * np.exp(np.repeat(mood, 7, axis=0)) * lift, dtype=np.float64)


# ---- managers and shelves ------------------------------------------------------------------------------------------


def live(seed: int, demand: Counts, expected: Floats, lift: Floats, days: list[date]) -> tuple[Counts, Counts, Counts]:
    """Sales and stock at each day's end [day, store, item], and deliveries [Monday, store, item], one more than there are weeks.

    What the manager ordered arrives on Monday; the oldest is sold first; what is past its shelf life is thrown away; what is not
    there is not sold.
    """
    weeks = len(demand) // 7
    forgotten = np.random.default_rng([seed, 7]).random((weeks, *demand.shape[1:])) < FORGOTTEN
    foreseen = week_ahead(lift, days)
    keeps = np.array([[item.shelf_life_days is None or age * 7 < item.shelf_life_days for item in ITEMS] for age in range(AGES)])
    batches = np.zeros((AGES, *demand.shape[1:]), dtype=np.int64)
    sales, stock = np.zeros_like(demand), np.zeros_like(demand)
    deliveries = np.zeros((weeks + 1, *demand.shape[1:]), dtype=np.int64)
    deliveries[0] = in_cases(1.5 * expected[:7].sum(axis=0))
    sold = np.tile(expected[:7].sum(axis=0), (8, 1, 1))  # of the last eight weeks, newest last
    for week in range(weeks):
        batches = np.stack([deliveries[week], batches[0], batches[1], batches[2] + batches[3]]) * keeps[:, None, :]
        ran_out = stock[week * 7 - 7 : week * 7].min(axis=0) == 0 if week else np.zeros(demand.shape[1:], dtype=bool)
        wanted = managers_want(sold, batches.sum(axis=0), foreseen[week], foreseen[week + 1], ran_out)
        deliveries[week + 1] = np.where(forgotten[week], deliveries[week], in_cases(wanted))
        for day in range(week * 7, week * 7 + 7):
            left = demand[day].copy()
            for age in reversed(range(AGES)):
                taken = np.minimum(left, batches[age])
                batches[age] -= taken
                left -= taken
            sales[day] = demand[day] - left
            stock[day] = batches.sum(axis=0)
        sold = np.concatenate([sold[1:], sales[None, week * 7 : week * 7 + 7].sum(axis=1)])
    return sales, stock, deliveries


def week_ahead(lift: Floats, days: list[date]) -> Floats:
    """By how much each manager raises each week, for promotions and year's end. [week, store, item]"""
    belief = np.array([store.habit.promotion for store in STORES])[:, None]
    plans = np.array([store.habit.plans for store in STORES])[:, None]
    promoted = lift.reshape(-1, 7, *lift.shape[1:]).mean(axis=1)
    ending = year_end(days).reshape(-1, 7, len(ITEMS)).mean(axis=1)[:, None, :]
    return np.asarray((1 + belief * (promoted - 1)) * np.where(plans, ending, 1.0), dtype=np.float64)


def managers_want(sold: Floats, shelf: Counts, this_week: Floats, next_week: Floats, ran_out: NDArray[np.bool_]) -> Floats:
    """Units each manager wants for next week: the usual week, more after a sell-out, less what should be left of what is there."""
    usual = np.stack([sold[-store.habit.memory :, s].mean(axis=0) for s, store in enumerate(STORES)])
    usual = usual * np.where(ran_out, 1.12, 1.0)
    extra = 1 + np.array([store.habit.extra for store in STORES])[:, None]
    left = np.maximum(0.0, shelf - usual * this_week)
    return np.asarray(np.maximum(0.0, usual * next_week * extra - left), dtype=np.float64)


def in_cases(units: Floats) -> Counts:
    """Units rounded up to whole cases within each item's limits."""
    case = np.array([item.case_units for item in ITEMS])
    least, most = np.array([item.min_cases for item in ITEMS]), np.array([item.max_cases for item in ITEMS])
    return np.asarray(np.clip(np.ceil(units / case), least, most) * case, dtype=np.int64)


# ---- frames --------------------------------------------------------------------------------------------------------


def identifier(kind: str, code: str) -> str:
    """An id such as another system would give: 32 hexadecimal digits, always the same for the same thing."""
    return hashlib.sha256(f"{kind}:{code}".encode()).hexdigest()[:32]


def region_master() -> pl.DataFrame:
    """id, name, name_ja, name_en."""
    rows = [(identifier("region", code), code, each[0], each[1]) for code, each in REGIONS.items()]
    return pl.DataFrame(rows, schema=["id", "name", "name_ja", "name_en"], orient="row")


def store_master() -> pl.DataFrame:
    """id, name, region, name_ja, name_en."""
    rows = [(identifier("store", each.code), each.code, each.region, each.ja, each.en) for each in STORES]
    return pl.DataFrame(rows, schema=["id", "name", "region", "name_ja", "name_en"], orient="row")


def item_master() -> pl.DataFrame:
    """id, name, names, maker and its names, and how the item is ordered."""
    numbers = ("case_units", "min_cases", "max_cases", "shelf_life_days", "shortage_cost_yen", "leftover_cost_yen")
    rows = [
        {
            "id": identifier("item", each.code),
            "name": each.code,
            "name_ja": each.ja,
            "name_en": each.en,
            "maker": each.maker,
            "maker_name_ja": MAKERS[each.maker][0],
            "maker_name_en": MAKERS[each.maker][1],
        }
        | {name: getattr(each, name) for name in numbers}
        for each in ITEMS
    ]
    return pl.DataFrame(rows)


def price_list(revisions: list[tuple[int, date, int]], start: date, end: date) -> pl.DataFrame:
    """id, item_name, price, applied_from, applied_to: what is in force between two days."""
    rows = []
    for n, (item, since, yen) in enumerate(revisions):
        following = revisions[n + 1] if n + 1 < len(revisions) and revisions[n + 1][0] == item else None
        until = following[1] - timedelta(days=1) if following else date(2099, 12, 31)
        if since <= end and until >= start:
            code = ITEMS[item].code
            rows.append((identifier("price", f"{code}:{since}"), code, yen, since, until))
    return pl.DataFrame(rows, schema=["id", "item_name", "price", "applied_from", "applied_to"], orient="row")


def weather_frame(days: list[date], degrees: Floats) -> pl.DataFrame:
    """date, region, temperature_c."""
    repeated = pl.Series("date", days).gather(np.repeat(np.arange(len(days)), len(REGIONS)))
    return pl.DataFrame({"date": repeated, "region": list(REGIONS) * len(days), "temperature_c": degrees.ravel()})


def grid(days: list[date]) -> pl.DataFrame:
    """date, store, item: every combination, in the order of the simulation's arrays."""
    dates = pl.DataFrame({"date": days})
    stores, items = pl.DataFrame({"store": [each.code for each in STORES]}), pl.DataFrame({"item": [each.code for each in ITEMS]})
    return dates.join(stores, how="cross", maintain_order="left_right").join(items, how="cross", maintain_order="left_right")


def sales_frame(keys: pl.DataFrame, sales: Counts, list_price: Floats) -> pl.DataFrame:
    """date, day_of_week, week_of_year, store, item, sales, total_sales_amount (at list price: the till books discounts elsewhere)."""
    amount = sales * list_price[:, None, :].astype(np.int64)
    return keys.select(
        "date",
        (pl.col("date").dt.weekday() - 1).replace_strict(dict(enumerate(WEEKDAYS)), return_dtype=pl.String).alias("day_of_week"),
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
