"""Real sales for the benches, read into histories: AI Shop's days, the store-item chain's days, and Dominick's weeks of orange juice with prices and promotions."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from tanuki.shop.backtest import read_published
from tanuki.shop.calendar import Week, week_of, weeks_between
from tanuki.shop.panel import History, of_sales

DATA = Path(__file__).parents[3] / "shared" / "data"
BRANDS = range(1, 12)
FIRST_OUNCES = date(1989, 9, 14)  # Dominick's counts its weeks from this Thursday: week 1
CARTON = 64  # ounces in half a gallon


def arguments(what: str) -> argparse.ArgumentParser:
    """The options that every bench on real data has."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder with aishop, store_item and orange_juice"
    )
    return parser


def there(data: Path, *names: str) -> bool:
    """Whether the folder holds these data; says so when it does not."""
    missing = [name for name in names if not (data / name).is_dir()]
    for name in missing:
        print(
            f"{data / name} is not there: nothing is measured on it. Name the folder with --data DIR."
        )
    return not missing


def aishop(data: Path) -> History:
    """AI Shop's sales since 2020, 10 stores of 10 items, with prices that never change."""
    folder = data / "aishop"
    sales = pl.read_csv(folder / "sales_2020-01-01_2021-06-30.csv", try_parse_dates=True)
    sales = sales.select("date", "store", "item", pl.col("sales").cast(pl.Float64).alias("units"))
    prices = pl.read_csv(folder / "item_prices.csv", try_parse_dates=True).select(
        pl.col("item_name").alias("item"),
        pl.lit("").alias("store"),
        "applied_from",
        "applied_to",
        pl.col("price").cast(pl.Float64).alias("price_yen"),
    )
    stores = (
        pl.read_csv(folder / "stores.csv")
        .select(pl.col("name").alias("store"), "region")
        .sort("store")
    )
    return replace(of_sales(sales), prices=prices, stores=stores)


def published(data: Path) -> dict[Week, pl.DataFrame]:
    """The forecasts that were published with AI Shop: [store, item, prediction] of each week."""
    return dict(
        sorted(read_published(path) for path in (data / "aishop").glob("published_forecast_*.csv"))
    )


def store_item(data: Path) -> History:
    """Four years of 10 stores of 50 items, only sales."""
    sales = pl.read_parquet(data / "store_item" / "sales_2013_2016.parquet")
    names = [
        pl.format("{}-{}", pl.lit(kind), pl.col(kind).cast(pl.String).str.zfill(2)).alias(kind)
        for kind in ("store", "item")
    ]
    return of_sales(sales.select("date", *names, pl.col("sales").cast(pl.Float64).alias("units")))


def orange_juice(data: Path) -> History:
    """Cartons of 83 stores and 11 brands by the week, as a seventh on each of its days, with what they cost and whether they were on deal or advertised.

    A store's weeks are whole: all brands or none, so a week without rows is a store that reported nothing, which a history knows how to read.
    """
    raw = pl.read_parquet(data / "orange_juice" / "weekly_to_134.parquet")
    uneven = raw.group_by("store", "week").len().filter(pl.col("len") != len(BRANDS))
    assert uneven.height == 0, (
        f"{uneven.height} weeks of a store lack a brand; a history would read them as zeros"
    )
    own = pl.coalesce(pl.when(pl.col("brand") == n).then(pl.col(f"price{n}")) for n in BRANDS)
    weeks = raw.select(
        pl.col("week")
        .map_elements(
            lambda n: week_of(FIRST_OUNCES + timedelta(weeks=n - 1)).monday, return_dtype=pl.Date
        )
        .alias("monday"),
        pl.format("store-{}", pl.col("store").cast(pl.String).str.zfill(3)).alias("store"),
        pl.format("brand-{}", pl.col("brand").cast(pl.String).str.zfill(2)).alias("item"),
        (pl.col("logmove").exp() / CARTON).round().alias("units"),
        (own * CARTON).alias("price_yen"),
        (pl.col("deal") == 1).alias("deal"),
        (pl.col("feat") > 0).alias("feat"),
    )
    return of_weeks(weeks, ("deal", "feat"))


def of_weeks(weeks: pl.DataFrame, kinds: tuple[str, ...]) -> History:
    """A history from [monday, store, item, units, price_yen] and a column of flags for each kind of promotion."""
    sunday = (pl.col("monday") + timedelta(days=6)).alias("sunday")
    days = weeks.select(
        pl.date_ranges("monday", sunday).alias("date"),
        "store",
        "item",
        (pl.col("units") / 7).alias("units"),
    )
    prices = weeks.select(
        "item",
        "store",
        pl.col("monday").alias("applied_from"),
        sunday.alias("applied_to"),
        pl.col("price_yen").cast(pl.Float64),
    )
    promotions = [
        weeks.filter(pl.col(kind)).select(
            "store",
            "item",
            pl.col("monday").alias("date_from"),
            sunday.alias("date_to"),
            pl.lit(kind).alias("kind"),
            pl.lit(0.0).alias("discount"),
        )
        for kind in kinds
    ]
    return replace(of_sales(days.explode("date")), prices=prices, promotions=pl.concat(promotions))


def without_plans(history: History) -> History:
    """The same sales without prices and promotions."""
    return replace(history, prices=history.prices.clear(), promotions=history.promotions.clear())


def weeks_of(name: str, history: History, known: Mapping[Week, pl.DataFrame]) -> list[Week]:
    """The weeks on which a bench measures."""
    last = history.weeks()[1]
    return {
        "published": lambda: sorted(known),
        "rolling": lambda: weeks_between(Week(2020, 40), Week(2021, 24)),
        "store_item": lambda: weeks_between(last.plus(-51), last),
        "orange_juice": lambda: weeks_between(last.plus(-25), last),
    }[name]()
