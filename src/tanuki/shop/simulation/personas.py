"""Who is in the example chain: its regions, stores and their managers' habits, makers and items; and these as the files of its masters."""

import hashlib
from typing import NamedTuple

import polars as pl

from tanuki.shop.ordering import ItemRules
from tanuki.shop.simulation.managers import Habit


class Kind(NamedTuple):
    """What sort of place a store is at: its week, Monday first, and what holidays and Obon do to it."""

    week: tuple[float, ...]
    holiday: float
    obon: float


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
    "north_east": (
        "北東",
        "North-east",
        12.5,
        11.5,
    ),  # names, mean temperature, half its yearly swing
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
    StoreSpec(
        "morioka", "盛岡店", "Morioka", "north_east", "home", 0.7, 0.00, Habit(4, 0.25, 0.3, True)
    ),
    StoreSpec(
        "sendai", "仙台店", "Sendai", "north_east", "station", 1.0, 0.01, Habit(3, 0.15, 0.6, True)
    ),
    StoreSpec(
        "shinjuku", "新宿店", "Shinjuku", "east", "office", 1.5, 0.02, Habit(2, 0.12, 0.8, False)
    ),
    StoreSpec("ueno", "上野店", "Ueno", "east", "sights", 1.2, 0.015, Habit(3, 0.20, 0.5, True)),
    StoreSpec(
        "yokohama", "横浜店", "Yokohama", "east", "station", 1.3, 0.01, Habit(4, 0.10, 0.7, True)
    ),
    StoreSpec("chiba", "千葉店", "Chiba", "east", "home", 0.8, -0.01, Habit(6, 0.30, 0.2, False)),
    StoreSpec(
        "nagoya", "名古屋店", "Nagoya", "west", "office", 1.1, 0.01, Habit(2, 0.18, 0.4, True)
    ),
    StoreSpec("osaka", "大阪店", "Osaka", "west", "station", 1.4, 0.01, Habit(3, 0.10, 0.9, True)),
    StoreSpec(
        "fukuoka", "福岡店", "Fukuoka", "south", "home", 1.0, 0.02, Habit(2, 0.20, 0.5, False)
    ),
    StoreSpec("naha", "那覇店", "Naha", "south", "sights", 0.9, 0.02, Habit(5, 0.22, 0.6, False)),
)
ITEMS = (
    ItemSpec(
        "green_tea",
        "緑茶",
        "Green tea",
        "moonlit",
        130,
        24,
        1,
        60,
        None,
        60,
        15,
        34,
        0.10,
        1.05,
        2.2,
    ),
    ItemSpec(
        "barley_tea",
        "麦茶",
        "Barley tea",
        "moonlit",
        120,
        24,
        0,
        60,
        None,
        55,
        12,
        22,
        0.42,
        0.90,
        2.0,
    ),
    ItemSpec(
        "coffee",
        "コーヒー",
        "Coffee",
        "moonlit",
        200,
        12,
        1,
        90,
        None,
        95,
        20,
        36,
        -0.08,
        0.95,
        1.6,
    ),
    ItemSpec(
        "cocoa", "ココア", "Cocoa", "acorn", 160, 12, 0, 60, None, 70, 18, 14, -0.38, 1.15, 2.0
    ),
    ItemSpec(
        "orange_juice",
        "オレンジジュース",
        "Orange juice",
        "acorn",
        140,
        12,
        0,
        60,
        28,
        60,
        30,
        20,
        0.12,
        1.45,
        2.6,
    ),
    ItemSpec(
        "sports_drink",
        "スポーツドリンク",
        "Sports drink",
        "acorn",
        130,
        24,
        0,
        60,
        None,
        55,
        12,
        18,
        0.36,
        0.80,
        2.4,
    ),
    ItemSpec(
        "mineral_water",
        "天然水",
        "Mineral water",
        "acorn",
        100,
        24,
        1,
        60,
        None,
        45,
        8,
        32,
        0.22,
        0.95,
        1.8,
    ),
    ItemSpec("milk", "牛乳", "Milk", "leafhat", 130, 6, 1, 90, 14, 50, 60, 24, -0.03, 0.90, 1.4),
    ItemSpec(
        "soy_milk", "豆乳", "Soy milk", "leafhat", 120, 6, 0, 60, 21, 50, 45, 12, -0.05, 0.90, 1.8
    ),
    ItemSpec(
        "beer", "ビール", "Beer", "belly_drum", 220, 24, 1, 60, None, 80, 14, 26, 0.24, 1.60, 2.8
    ),
)


def item_rules() -> list[ItemRules]:
    """How each item is ordered, and what a unit too few or too many costs."""
    return [
        ItemRules(
            item.case_units,
            item.min_cases,
            item.max_cases,
            item.shelf_life_days,
            item.shortage_cost_yen,
            item.leftover_cost_yen,
        )
        for item in ITEMS
    ]


def region_of_store() -> list[int]:
    """The number of each store's region."""
    return [list(REGIONS).index(store.region) for store in STORES]


def identifier(kind: str, code: str) -> str:
    """An id such as another system would give: 32 hexadecimal digits, always the same for the same thing."""
    return hashlib.sha256(f"{kind}:{code}".encode()).hexdigest()[:32]


def region_master() -> pl.DataFrame:
    """id, name, name_ja, name_en."""
    rows = [(identifier("region", code), code, each[0], each[1]) for code, each in REGIONS.items()]
    return pl.DataFrame(rows, schema=["id", "name", "name_ja", "name_en"], orient="row")


def store_master() -> pl.DataFrame:
    """id, name, region, name_ja, name_en."""
    rows = [
        (identifier("store", store.code), store.code, store.region, store.ja, store.en)
        for store in STORES
    ]
    return pl.DataFrame(rows, schema=["id", "name", "region", "name_ja", "name_en"], orient="row")


def item_master() -> pl.DataFrame:
    """id, name, names, maker and its names, and how the item is ordered."""
    numbers = (
        "case_units",
        "min_cases",
        "max_cases",
        "shelf_life_days",
        "shortage_cost_yen",
        "leftover_cost_yen",
    )
    rows = [
        {
            "id": identifier("item", item.code),
            "name": item.code,
            "name_ja": item.ja,
            "name_en": item.en,
            "maker": item.maker,
            "maker_name_ja": MAKERS[item.maker][0],
            "maker_name_en": MAKERS[item.maker][1],
        }
        | {name: getattr(item, name) for name in numbers}
        for item in ITEMS
    ]
    return pl.DataFrame(rows)
