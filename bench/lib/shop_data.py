"""Real sales for the benchmarks as histories: AI Shop, the store-item chain, and orange juice."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from tanuki.shop.backtest import read_published_forecast
from tanuki.shop.calendar import Week, week_of, weeks_between
from tanuki.shop.panel import History, history_from_sales

DATA_FOLDER = Path(__file__).parents[3] / "shared" / "data"
BRANDS = range(1, 12)
FIRST_ORANGE_JUICE_DAY = date(1989, 9, 14)  # the Thursday on which Dominick's week 1 begins
OUNCES_PER_CARTON = 64


def make_parser(description: str) -> argparse.ArgumentParser:
    """The options of every benchmark on real data."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA_FOLDER,
        help="folder with aishop, store_item and orange_juice",
    )
    return parser


def check_data_folders(data: Path, *names: str) -> bool:
    """Whether the folder holds these data; prints which it lacks."""
    missing = [name for name in names if not (data / name).is_dir()]
    for name in missing:
        print(f"{data / name} is missing: it is not measured. Name the folder with --data DIR.")
    return not missing


def load_aishop(data: Path) -> History:
    """AI Shop's sales since 2020: 10 stores of 10 items, with prices that never change."""
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
    return replace(history_from_sales(sales), prices=prices, stores=stores)


def load_published_forecasts(data: Path) -> dict[Week, pl.DataFrame]:
    """The forecasts published with AI Shop: [store, item, prediction] by week."""
    files = (data / "aishop").glob("published_forecast_*.csv")
    return dict(sorted(read_published_forecast(path) for path in files))


def load_store_item(data: Path) -> History:
    """Four years of 10 stores of 50 items; only sales."""
    sales = pl.read_parquet(data / "store_item" / "sales_2013_2016.parquet")
    names = [
        pl.format("{}-{}", pl.lit(kind), pl.col(kind).cast(pl.String).str.zfill(2)).alias(kind)
        for kind in ("store", "item")
    ]
    units = pl.col("sales").cast(pl.Float64).alias("units")
    return history_from_sales(sales.select("date", *names, units))


def load_orange_juice(data: Path) -> History:
    """Weekly cartons of 83 stores and 11 brands, with prices, deals and advertising.

    Each day has a seventh of its week. A store's weeks have all brands or none, so a week without
    rows is one that the store did not report.
    """
    raw = pl.read_parquet(data / "orange_juice" / "weekly_to_134.parquet")
    uneven = raw.group_by("store", "week").len().filter(pl.col("len") != len(BRANDS))
    assert uneven.height == 0, (
        f"{uneven.height} weeks of a store lack a brand; a history would take them for zeros"
    )
    own_price = pl.coalesce(pl.when(pl.col("brand") == n).then(pl.col(f"price{n}")) for n in BRANDS)
    weeks = raw.select(
        pl.col("week")
        .map_elements(
            lambda n: week_of(FIRST_ORANGE_JUICE_DAY + timedelta(weeks=n - 1)).monday,
            return_dtype=pl.Date,
        )
        .alias("monday"),
        pl.format("store-{}", pl.col("store").cast(pl.String).str.zfill(3)).alias("store"),
        pl.format("brand-{}", pl.col("brand").cast(pl.String).str.zfill(2)).alias("item"),
        (pl.col("logmove").exp() / OUNCES_PER_CARTON).round().alias("units"),
        (own_price * OUNCES_PER_CARTON).alias("price_yen"),
        (pl.col("deal") == 1).alias("deal"),
        (pl.col("feat") > 0).alias("feat"),
    )
    return history_from_weeks(weeks, ("deal", "feat"))


def history_from_weeks(weeks: pl.DataFrame, promotion_kinds: tuple[str, ...]) -> History:
    """A history from [monday, store, item, units, price_yen] and a flag for each promotion kind."""
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
        for kind in promotion_kinds
    ]
    history = history_from_sales(days.explode("date"))
    return replace(history, prices=prices, promotions=pl.concat(promotions))


def remove_plans(history: History) -> History:
    """The same sales without prices and promotions."""
    return replace(history, prices=history.prices.clear(), promotions=history.promotions.clear())


def list_measured_weeks(
    dataset: str, history: History, published: Mapping[Week, pl.DataFrame]
) -> list[Week]:
    """The weeks that a benchmark measures."""
    last = history.complete_weeks()[1]
    return {
        "published": lambda: sorted(published),
        "rolling": lambda: weeks_between(Week(2020, 40), Week(2021, 24)),
        "store_item": lambda: weeks_between(last.plus(-51), last),
        "orange_juice": lambda: weeks_between(last.plus(-25), last),
    }[dataset]()
