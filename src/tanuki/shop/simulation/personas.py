"""The example chain: its regions, stores with their managers' habits, suppliers and items.

They are given as the frames of its masters too.
"""

import hashlib
from typing import NamedTuple

import polars as pl

from tanuki.shop.ordering import ItemRules
from tanuki.shop.simulation.managers import OrderingHabit


class Region(NamedTuple):
    ja: str
    en: str
    mean_temperature_c: float
    temperature_swing_c: float  # from the mean to the warmest day


class Supplier(NamedTuple):
    ja: str
    en: str


class StoreType(NamedTuple):
    """A kind of place: factors of demand on weekdays (Monday first), holidays and Obon."""

    weekdays: tuple[float, ...]
    holiday: float
    obon: float


class StoreSpec(NamedTuple):
    code: str
    ja: str
    en: str
    region: str
    store_type: str
    level: float
    growth: float  # a year
    habit: OrderingHabit


class DemandSpec(NamedTuple):
    """How an item is demanded.

    level: units a day in a store of level 1. warmth: change of log demand per 10 degrees.
    year_end: factor in the last days of December. elasticity: of price reductions.
    """

    level: float
    warmth: float
    year_end: float
    elasticity: float


class ItemSpec(NamedTuple):
    code: str
    ja: str
    en: str
    supplier: str
    price_yen: int
    rules: ItemRules
    demand: DemandSpec


REGIONS = {
    "north_east": Region("北東", "North-east", 12.5, 11.5),
    "east": Region("東", "East", 16.3, 10.5),
    "west": Region("西", "West", 17.0, 11.0),
    "south": Region("南", "South", 20.0, 8.5),
}
SUPPLIERS = {
    "acorn": Supplier("どんぐり山飲料", "Acorn Hill Drinks"),
    "leafhat": Supplier("葉っぱ帽子乳業", "Leaf Hat Dairy"),
    "belly_drum": Supplier("腹つづみ醸造", "Belly Drum Brewing"),
    "moonlit": Supplier("月見野茶園", "Moonlit Tea Garden"),
}
STORE_TYPES = {
    "office": StoreType((1.16, 1.14, 1.14, 1.12, 1.2, 0.66, 0.58), 0.6, 0.7),
    "home": StoreType((0.92, 0.9, 0.9, 0.93, 1.0, 1.18, 1.17), 1.15, 1.15),
    "station": StoreType((0.96, 0.95, 0.97, 1.0, 1.2, 1.06, 0.86), 0.95, 1.1),
    "sights": StoreType((0.82, 0.8, 0.84, 0.9, 1.04, 1.32, 1.28), 1.4, 1.35),
}
STORES = (
    StoreSpec(
        "morioka", "盛岡店", "Morioka", "north_east", "home", 0.7, 0.00,
        OrderingHabit(4, 0.25, 0.3, True),
    ),
    StoreSpec(
        "sendai", "仙台店", "Sendai", "north_east", "station", 1.0, 0.01,
        OrderingHabit(3, 0.15, 0.6, True),
    ),
    StoreSpec(
        "shinjuku", "新宿店", "Shinjuku", "east", "office", 1.5, 0.02,
        OrderingHabit(2, 0.12, 0.8, False),
    ),
    StoreSpec(
        "ueno", "上野店", "Ueno", "east", "sights", 1.2, 0.015,
        OrderingHabit(3, 0.20, 0.5, True),
    ),
    StoreSpec(
        "yokohama", "横浜店", "Yokohama", "east", "station", 1.3, 0.01,
        OrderingHabit(4, 0.10, 0.7, True),
    ),
    StoreSpec(
        "chiba", "千葉店", "Chiba", "east", "home", 0.8, -0.01,
        OrderingHabit(6, 0.30, 0.2, False),
    ),
    StoreSpec(
        "nagoya", "名古屋店", "Nagoya", "west", "office", 1.1, 0.01,
        OrderingHabit(2, 0.18, 0.4, True),
    ),
    StoreSpec(
        "osaka", "大阪店", "Osaka", "west", "station", 1.4, 0.01,
        OrderingHabit(3, 0.10, 0.9, True),
    ),
    StoreSpec(
        "fukuoka", "福岡店", "Fukuoka", "south", "home", 1.0, 0.02,
        OrderingHabit(2, 0.20, 0.5, False),
    ),
    StoreSpec(
        "naha", "那覇店", "Naha", "south", "sights", 0.9, 0.02,
        OrderingHabit(5, 0.22, 0.6, False),
    ),
)  # fmt: skip
ITEMS = (
    ItemSpec(
        "green_tea", "緑茶", "Green tea", "moonlit", 130,
        ItemRules(24, 1, 60, None, 60, 15),
        DemandSpec(34, 0.10, 1.05, 2.2),
    ),
    ItemSpec(
        "barley_tea", "麦茶", "Barley tea", "moonlit", 120,
        ItemRules(24, 0, 60, None, 55, 12),
        DemandSpec(22, 0.42, 0.90, 2.0),
    ),
    ItemSpec(
        "coffee", "コーヒー", "Coffee", "moonlit", 200,
        ItemRules(12, 1, 90, None, 95, 20),
        DemandSpec(36, -0.08, 0.95, 1.6),
    ),
    ItemSpec(
        "cocoa", "ココア", "Cocoa", "acorn", 160,
        ItemRules(12, 0, 60, None, 70, 18),
        DemandSpec(14, -0.38, 1.15, 2.0),
    ),
    ItemSpec(
        "orange_juice", "オレンジジュース", "Orange juice", "acorn", 140,
        ItemRules(12, 0, 60, 28, 60, 30),
        DemandSpec(20, 0.12, 1.45, 2.6),
    ),
    ItemSpec(
        "sports_drink", "スポーツドリンク", "Sports drink", "acorn", 130,
        ItemRules(24, 0, 60, None, 55, 12),
        DemandSpec(18, 0.36, 0.80, 2.4),
    ),
    ItemSpec(
        "mineral_water", "天然水", "Mineral water", "acorn", 100,
        ItemRules(24, 1, 60, None, 45, 8),
        DemandSpec(32, 0.22, 0.95, 1.8),
    ),
    ItemSpec(
        "milk", "牛乳", "Milk", "leafhat", 130,
        ItemRules(6, 1, 90, 14, 50, 60),
        DemandSpec(24, -0.03, 0.90, 1.4),
    ),
    ItemSpec(
        "soy_milk", "豆乳", "Soy milk", "leafhat", 120,
        ItemRules(6, 0, 60, 21, 50, 45),
        DemandSpec(12, -0.05, 0.90, 1.8),
    ),
    ItemSpec(
        "beer", "ビール", "Beer", "belly_drum", 220,
        ItemRules(24, 1, 60, None, 80, 14),
        DemandSpec(26, 0.24, 1.60, 2.8),
    ),
)  # fmt: skip


def region_index_of_stores() -> list[int]:
    """The number of each store's region in REGIONS."""
    return [list(REGIONS).index(store.region) for store in STORES]


def make_identifier(kind: str, code: str) -> str:
    """An id like another system's: 32 hexadecimal digits, always the same for the same code."""
    return hashlib.sha256(f"{kind}:{code}".encode()).hexdigest()[:32]


def build_region_master() -> pl.DataFrame:
    """[id, name, name_ja, name_en]"""
    rows = [
        (make_identifier("region", code), code, region.ja, region.en)
        for code, region in REGIONS.items()
    ]
    return pl.DataFrame(rows, schema=["id", "name", "name_ja", "name_en"], orient="row")


def build_store_master() -> pl.DataFrame:
    """[id, name, region, name_ja, name_en]"""
    rows = [
        (make_identifier("store", store.code), store.code, store.region, store.ja, store.en)
        for store in STORES
    ]
    return pl.DataFrame(rows, schema=["id", "name", "region", "name_ja", "name_en"], orient="row")


def build_item_master() -> pl.DataFrame:
    """The item, its supplier (columns `maker…`), and how it is ordered."""
    rows = [
        {
            "id": make_identifier("item", item.code),
            "name": item.code,
            "name_ja": item.ja,
            "name_en": item.en,
            "maker": item.supplier,
            "maker_name_ja": SUPPLIERS[item.supplier].ja,
            "maker_name_en": SUPPLIERS[item.supplier].en,
            "case_units": item.rules.case_units,
            "min_cases": item.rules.min_cases,
            "max_cases": item.rules.max_cases,
            "shelf_life_days": item.rules.shelf_life_days,
            "shortage_cost_yen": item.rules.shortage_cost,
            "leftover_cost_yen": item.rules.leftover_cost,
        }
        for item in ITEMS
    ]
    return pl.DataFrame(rows)
