"""The example chain's files: three years of its managers' orders against its true demand. Pure.

A seed and a last day in, frames in the importer's layouts out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from tanuki.shop.calendar import WEEKDAYS
from tanuki.shop.features import Numbers
from tanuki.shop.simulation.demand import (
    HISTORY_WEEKS,
    PriceRevision,
    simulate_environment,
    simulate_managers,
)
from tanuki.shop.simulation.inventory import DAYS_PER_WEEK, Counts
from tanuki.shop.simulation.personas import (
    ITEMS,
    REGIONS,
    STORES,
    build_item_master,
    build_region_master,
    build_store_master,
    make_identifier,
)

LAST_PRICE_DAY = date(2099, 12, 31)  # "for ever" in the price file


@dataclass(frozen=True)
class World:
    """`files` by kind, as `tanuki shop import` names them: regions, stores, items, prices,
    promotions, weather, sales, stock, deliveries. Deliveries go up to the Monday after `last_day`.

    `truth` is what nobody in the chain knows: [date, store, item, expected, demand, sales].
    """

    seed: int
    last_day: date
    files: Mapping[str, pl.DataFrame]
    truth: pl.DataFrame


def simulate_world(seed: int, last_day: date) -> World:
    """HISTORY_WEEKS that end on `last_day`, a Sunday.

    The same seed and day give the same world; a later day gives the same past. Raises UserError
    for a day that it cannot end on.
    """
    environment = simulate_environment(seed, last_day)
    trajectory = simulate_managers(environment)
    days = len(environment.demand)
    recorded = slice(days - DAYS_PER_WEEK * HISTORY_WEEKS, days)
    start = environment.days[recorded.start]
    keys = build_key_frame(environment.days[recorded])
    sales = trajectory.sales[recorded]
    return World(
        seed=seed,
        last_day=last_day,
        files={
            "regions": build_region_master(),
            "stores": build_store_master(),
            "items": build_item_master(),
            "prices": build_price_list(environment.revisions, start, environment.days[-1]),
            "promotions": environment.promotions.filter(pl.col("date_to") >= start),
            "weather": build_weather_frame(
                environment.days[recorded], environment.degrees[recorded]
            ),
            "sales": build_sales_frame(keys, sales, environment.list_price[recorded]),
            "stock": keys.with_columns(pl.Series("units", trajectory.stock[recorded].ravel())),
            "deliveries": build_deliveries_frame(environment.days, trajectory.deliveries, start),
        },
        truth=keys.with_columns(
            pl.Series("expected", environment.expected[recorded].ravel()).round(3),
            pl.Series("demand", environment.demand[recorded].ravel()),
            pl.Series("sales", sales.ravel()),
        ),
    )


def build_price_list(revisions: list[PriceRevision], start: date, end: date) -> pl.DataFrame:
    """[id, item_name, price, applied_from, applied_to] of what is in force between two days."""
    rows = []
    for n, revision in enumerate(revisions):
        until = LAST_PRICE_DAY
        if n + 1 < len(revisions) and revisions[n + 1].item == revision.item:
            until = revisions[n + 1].since - timedelta(days=1)
        if revision.since <= end and until >= start:
            code = ITEMS[revision.item].code
            identifier = make_identifier("price", f"{code}:{revision.since}")
            rows.append((identifier, code, revision.yen, revision.since, until))
    return pl.DataFrame(
        rows, schema=["id", "item_name", "price", "applied_from", "applied_to"], orient="row"
    )


def build_weather_frame(days: list[date], degrees: Numbers) -> pl.DataFrame:
    """[date, region, temperature_c]"""
    dates = pl.Series("date", days).gather(np.repeat(np.arange(len(days)), len(REGIONS)))
    return pl.DataFrame(
        {"date": dates, "region": list(REGIONS) * len(days), "temperature_c": degrees.ravel()}
    )


def build_key_frame(days: list[date]) -> pl.DataFrame:
    """[date, store, item]: every combination, in the order of the simulation's arrays."""
    stores = pl.DataFrame({"store": [store.code for store in STORES]})
    items = pl.DataFrame({"item": [item.code for item in ITEMS]})
    return (
        pl.DataFrame({"date": days})
        .join(stores, how="cross", maintain_order="left_right")
        .join(items, how="cross", maintain_order="left_right")
    )


def build_sales_frame(keys: pl.DataFrame, sales: Counts, list_price: Numbers) -> pl.DataFrame:
    """[date, day_of_week, week_of_year, store, item, sales, total_sales_amount].

    Amounts are at list price, since the till books discounts elsewhere.
    """
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


def build_deliveries_frame(days: list[date], deliveries: Counts, start: date) -> pl.DataFrame:
    """[date, store, item, units] of the deliveries from `start` on."""
    keys = build_key_frame([days[week * DAYS_PER_WEEK] for week in range(len(deliveries))])
    units = pl.Series("units", deliveries.ravel())
    return keys.with_columns(units).filter(pl.col("date") >= start)
