"""What was known when a week was ordered: sales up to the cut-off, plans for the weeks ahead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.shop.calendar import Week, week_of
from tanuki.shop.ingest import loading
from tanuki.shop.prices import add_price_in_force
from tanuki.shop.tables import Store

if TYPE_CHECKING:
    from tanuki.platform.warehouse import FactTable, Warehouse

# A store without sales for up to so many days was closed: it sold 0. Longer gaps are not known.
MAX_CLOSED_DAYS = 3

SALES_SCHEMA = pl.Schema(
    {"date": pl.Date(), "store": pl.String(), "item": pl.String(), "units": pl.Float64()}
)
PRICES_SCHEMA = pl.Schema(
    {"date": pl.Date(), "store": pl.String(), "item": pl.String(), "price_yen": pl.Float64()}
)
PROMOTIONS_SCHEMA = pl.Schema(
    {
        "date": pl.Date(),
        "store": pl.String(),
        "item": pl.String(),
        "kind": pl.String(),
        "discount": pl.Float64(),
    }
)
WEATHER_SCHEMA = pl.Schema({"date": pl.Date(), "store": pl.String(), "temperature_c": pl.Float64()})
STORES_SCHEMA = pl.Schema({"store": pl.String(), "region": pl.String()})


@dataclass(frozen=True)
class Panel:
    """All that a forecast of `target` and of its buffer week may use.

    sales: SALES_SCHEMA, a daily grid of each store and item from its first sale to the cut-off; 0
    where nothing was sold, null where the store reported nothing.
    prices: PRICES_SCHEMA, the price in force, also of the two weeks to forecast.
    promotions: PROMOTIONS_SCHEMA, a row for each kind on a day, with its largest discount, also of
    the two weeks.
    weather: WEATHER_SCHEMA, up to the cut-off.
    stores: STORES_SCHEMA.
    stock: SALES_SCHEMA, units at the end of each day, where known.
    prices, promotions, weather and stock may be empty.
    """

    target: Week
    sales: pl.DataFrame
    prices: pl.DataFrame
    promotions: pl.DataFrame
    weather: pl.DataFrame
    stores: pl.DataFrame
    stock: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SALES_SCHEMA))


@dataclass(frozen=True)
class History:
    """Everything known at one moment; the panel of any week is cut from it.

    sales: date, store, item, units.
    prices: item, store, applied_from, applied_to, price_yen.
    promotions: store, item, date_from, date_to, kind, discount.
    weather: date, region, temperature_c.
    stores: STORES_SCHEMA.
    deliveries, and stock at the end of each day: date, store, item, units.
    In prices and promotions a store (or item) "" means every one.
    """

    sales: pl.DataFrame
    prices: pl.DataFrame
    promotions: pl.DataFrame
    weather: pl.DataFrame
    stores: pl.DataFrame
    deliveries: pl.DataFrame
    stock: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SALES_SCHEMA))

    def build_panel(self, target: Week) -> Panel:
        """What was known of this history when `target` was ordered."""
        cutoff = target.cutoff
        sales = build_daily_grid(
            self.sales.filter(pl.col("date") <= cutoff),
            self.reporting_days.filter(pl.col("date") <= cutoff),
            cutoff,
        )
        days = (
            pl.concat([sales.drop("units"), list_horizon_days(sales, target)])
            if sales.height
            else sales.drop("units")
        )
        return Panel(
            target=target,
            sales=sales,
            prices=expand_prices(days, self.prices),
            promotions=expand_promotions(days, self.promotions),
            weather=self.weather.filter(pl.col("date") <= cutoff)
            .join(self.stores, on="region")
            .select("date", "store", pl.col("temperature_c").cast(pl.Float64))
            .sort("date", "store"),
            stores=self.stores,
            stock=self.stock.filter(pl.col("date") <= cutoff).select(
                pl.col(name).cast(kind) for name, kind in SALES_SCHEMA.items()
            ),
        )

    @cached_property
    def reporting_days(self) -> pl.DataFrame:
        """[store, date]: the days on which each store sold anything at all."""
        return self.sales.select("store", "date").unique().sort("store", "date")

    def actual_sales(self, week: Week) -> pl.DataFrame:
        """[store, item, actual]: units sold in a week, of stores that reported all of it."""
        whole = (
            build_daily_grid(
                self.sales.filter(pl.col("date") <= week.sunday),
                self.reporting_days.filter(pl.col("date") <= week.sunday),
                week.sunday,
            )
            .filter(pl.col("date") >= week.monday)
            .group_by("store", "item")
            .agg(
                pl.col("units").sum().alias("actual"),
                pl.col("units").count().alias("known"),
                pl.len().alias("days"),
            )
        )
        first_days = (
            self.reporting_days.group_by("store")
            .agg(pl.col("date").min().alias("first"))
            .filter(pl.col("first") <= week.monday)
        )
        return (
            whole.filter(pl.col("known") == pl.col("days"))
            .join(first_days, on="store", how="semi")
            .select("store", "item", "actual")
            .sort("store", "item")
        )

    def delivered_units(self, week: Week) -> pl.DataFrame:
        """[store, item, order_units]: units delivered in a week; empty without known deliveries."""
        inside = self.deliveries.filter(pl.col("date").is_between(week.monday, week.sunday))
        return (
            inside.group_by("store", "item")
            .agg(pl.col("units").sum().cast(pl.Float64).alias("order_units"))
            .sort("store", "item")
        )

    def complete_weeks(self) -> tuple[Week, Week]:
        """The first and the last week from Monday to Sunday within the days with sales.

        Raises UserError when there is none.
        """
        if self.sales.height == 0:
            raise UserError(
                "No sales are known; import them first with `tanuki shop import --sales FILE`."
            )
        first, last = sales_date_range(self.sales)
        start = week_of(first) if first.weekday() == 0 else week_of(first).plus(1)
        end = week_of(last) if last.weekday() == 6 else week_of(last).plus(-1)
        if end < start:
            raise UserError(
                "Sales are known from %(first)s to %(last)s, which holds no whole week from Monday"
                " to Sunday.",
                first=first,
                last=last,
            )
        return start, end


def load_history(
    db: Session, warehouse: "Warehouse", *, as_of: datetime, stores: Sequence[str] | None = None
) -> History:
    """Everything recorded at or before `as_of`, of all stores or of those given."""

    def read_columns(table: "FactTable", *columns: str) -> pl.DataFrame:
        if stores is None or "store" not in table.keys:
            return warehouse.read_facts(db, table, as_of=as_of).select(columns)
        placeholders = ", ".join("?" for _ in stores)
        return warehouse.read_facts(
            db, table, as_of=as_of, where=f"store in ('', {placeholders})", params=tuple(stores)
        ).select(columns)

    store_regions = [
        (code, region or "")
        for code, region in db.execute(select(Store.code, Store.region_code).order_by(Store.code))
    ]
    return History(
        sales=read_columns(loading.SALES, "date", "store", "item", "units"),
        prices=read_columns(
            loading.PRICES, "item", "store", "applied_from", "applied_to", "price_yen"
        ),
        promotions=read_columns(
            loading.PROMOTIONS, "store", "item", "date_from", "date_to", "kind", "discount"
        ),
        weather=read_columns(loading.WEATHER, "date", "region", "temperature_c"),
        stores=pl.DataFrame(
            [row for row in store_regions if stores is None or row[0] in stores],
            schema=STORES_SCHEMA,
            orient="row",
        ),
        deliveries=read_columns(loading.DELIVERIES, "date", "store", "item", "units"),
        stock=read_columns(loading.STOCK, "date", "store", "item", "units"),
    )


def history_from_sales(sales: pl.DataFrame) -> History:
    """A history that knows only sales: [date, store, item, units]."""
    stores = sales.select("store").unique().sort("store")
    return History(
        sales=sales,
        prices=pl.DataFrame(
            schema={
                "item": pl.String,
                "store": pl.String,
                "applied_from": pl.Date,
                "applied_to": pl.Date,
                "price_yen": pl.Float64,
            }
        ),
        promotions=pl.DataFrame(
            schema={
                "store": pl.String,
                "item": pl.String,
                "date_from": pl.Date,
                "date_to": pl.Date,
                "kind": pl.String,
                "discount": pl.Float64,
            }
        ),
        weather=pl.DataFrame(
            schema={"date": pl.Date, "region": pl.String, "temperature_c": pl.Float64}
        ),
        stores=stores.with_columns(pl.lit("").alias("region")),
        deliveries=pl.DataFrame(schema=SALES_SCHEMA),
    )


def build_daily_grid(sales: pl.DataFrame, reported: pl.DataFrame, last: date) -> pl.DataFrame:
    """SALES_SCHEMA with a row a day for each store and item from its first sale to `last`.

    Days without a row are 0 where the store reported or was closed, null in longer gaps
    (MAX_CLOSED_DAYS) and after its last report. Sorted by store, item and date.
    """
    if sales.height == 0:
        return pl.DataFrame(schema=SALES_SCHEMA)
    silent = (
        reported.sort("store", "date")
        .with_columns(
            pl.col("date")
            .shift(-1)
            .over("store")
            .fill_null(last + timedelta(days=MAX_CLOSED_DAYS + 1))
            .alias("next")
        )
        .filter((pl.col("next") - pl.col("date")).dt.total_days() - 1 > MAX_CLOSED_DAYS)
    )
    unfinished = reported.group_by("store").agg(pl.col("date").max()).filter(pl.col("date") < last)
    unfinished = unfinished.with_columns(pl.lit(last + timedelta(days=1)).alias("next"))
    silent = pl.concat([silent, unfinished.select(silent.columns)])
    unknown = (
        silent.select(
            "store",
            pl.date_ranges(
                pl.col("date") + timedelta(days=1), pl.col("next") - timedelta(days=1)
            ).alias("date"),
        )
        .explode("date")
        .filter(pl.col("date") <= last)
        .unique()
        .with_columns(pl.lit(True).alias("unknown"))
    )
    grid = (
        sales.group_by("store", "item")
        .agg(pl.col("date").min())
        .sort("store", "item")
        .select(pl.date_ranges(pl.col("date"), pl.lit(last)).alias("date"), "store", "item")
        .explode("date")
    )
    return (
        grid.join(
            sales.select("date", "store", "item", pl.col("units").cast(pl.Float64)),
            on=["date", "store", "item"],
            how="left",
        )
        .join(unknown, on=["store", "date"], how="left")
        .with_columns(
            pl.when(pl.col("unknown").is_null())
            .then(pl.col("units").fill_null(0.0))
            .otherwise(pl.col("units"))
            .alias("units")
        )
        .select(SALES_SCHEMA.names())
        .sort("store", "item", "date")
    )


def list_horizon_days(sales: pl.DataFrame, target: Week) -> pl.DataFrame:
    """[date, store, item]: the days of the buffer and the target week for each store and item."""
    days = pl.DataFrame({"date": [*target.buffer.days, *target.days]})
    return (
        sales.select("store", "item")
        .unique()
        .sort("store", "item")
        .join(days, how="cross")
        .select("date", "store", "item")
    )


def expand_prices(days: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """PRICES_SCHEMA: the price in force of each store and item on each day that has one."""
    if days.height == 0 or prices.height == 0:
        return pl.DataFrame(schema=PRICES_SCHEMA)
    return (
        add_price_in_force(days, prices)
        .drop_nulls("price_yen")
        .select(PRICES_SCHEMA.names())
        .sort("store", "item", "date")
    )


def expand_promotions(days: pl.DataFrame, promotions: pl.DataFrame) -> pl.DataFrame:
    """PROMOTIONS_SCHEMA: the kinds of promotion on each day, each with its largest discount."""
    if days.height == 0 or promotions.height == 0:
        return pl.DataFrame(schema=PROMOTIONS_SCHEMA)
    plans = promotions.select(
        "store",
        "item",
        pl.date_ranges("date_from", pl.max_horizontal("date_from", "date_to")).alias("date"),
        pl.col("kind").fill_null(""),
        pl.col("discount").cast(pl.Float64),
    ).explode("date")
    frames = [
        days.join(
            plans.filter(
                (pl.col("store") == "") == (not by_store), (pl.col("item") == "") == (not by_item)
            ).select(*on, "kind", "discount"),
            on=on,
        )
        for by_store, by_item, on in promotion_scopes()
    ]
    return (
        pl.concat(
            [
                frame.select("date", "store", "item", "kind", pl.col("discount").fill_null(0.0))
                for frame in frames
            ]
        )
        .group_by("date", "store", "item", "kind")
        .agg(pl.col("discount").max())
        .select(PROMOTIONS_SCHEMA.names())
        .sort("store", "item", "date", "kind")
    )


def promotion_scopes() -> Iterable[tuple[bool, bool, list[str]]]:
    """(names a store, names an item, columns to join on) of the four scopes of promotions."""
    for by_store in (True, False):
        for by_item in (True, False):
            yield (
                by_store,
                by_item,
                ["date", *(["store"] if by_store else []), *(["item"] if by_item else [])],
            )


def sales_date_range(sales: pl.DataFrame) -> tuple[date, date]:
    """The first and the last day with sales, of sales that are not empty."""
    first, last = sales.select(
        pl.col("date").min().alias("first"), pl.col("date").max().alias("last")
    ).row(0)
    return first, last


def validate_sales(sales: pl.DataFrame) -> pl.DataFrame:
    """The panel's sales unchanged. Raises UserError when they break SALES_SCHEMA or its keys."""
    import pandera.polars as pa
    from pandera.errors import SchemaError

    schema = pa.DataFrameSchema(
        {
            "date": pa.Column(pl.Date),
            "store": pa.Column(pl.String),
            "item": pa.Column(pl.String),
            "units": pa.Column(pl.Float64, pa.Check.ge(0), nullable=True),
        },
        strict=True,
        unique=["date", "store", "item"],
    )
    try:
        schema.validate(sales)
    except SchemaError as error:
        raise UserError(
            "The sales of the panel are not as expected: %(why)s", why=str(error).splitlines()[0]
        ) from error
    return sales
