"""What was known when a week was ordered: the sales up to the cut-off, and the prices and promotions planned for the weeks to forecast."""

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
from tanuki.shop.tables import Store

if TYPE_CHECKING:
    from tanuki.platform.warehouse import FactTable, Warehouse

CLOSED_DAYS = 3  # a store silent for so many days was closed and sold nothing; silent for longer, nobody knows what it sold

SALES = pl.Schema(
    {"date": pl.Date(), "store": pl.String(), "item": pl.String(), "units": pl.Float64()}
)
PRICES = pl.Schema(
    {"date": pl.Date(), "store": pl.String(), "item": pl.String(), "price_yen": pl.Float64()}
)
PROMOTIONS = pl.Schema(
    {
        "date": pl.Date(),
        "store": pl.String(),
        "item": pl.String(),
        "kind": pl.String(),
        "discount": pl.Float64(),
    }
)
WEATHER = pl.Schema({"date": pl.Date(), "store": pl.String(), "temperature_c": pl.Float64()})
STORES = pl.Schema({"store": pl.String(), "region": pl.String()})


@dataclass(frozen=True)
class Panel:
    """All that a forecast of `target` and of its buffer week may use.

    sales is a whole daily grid per store and item, from its first sale to the cut-off: 0 where nothing sold, null where the store reported nothing.
    promotions have a row for each kind that is on, with its largest discount. prices and promotions also cover the two weeks to forecast; weather ends at the cut-off, and so does stock:
    the units at the end of each day, where known. Any of the four may be empty.
    """

    target: Week
    sales: pl.DataFrame
    prices: pl.DataFrame
    promotions: pl.DataFrame
    weather: pl.DataFrame
    stores: pl.DataFrame
    stock: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SALES))


@dataclass(frozen=True)
class History:
    """Everything known at one moment, from which the panel of any week is cut.

    sales: date, store, item, units. prices: item, store, applied_from, applied_to, price_yen and promotions: store, item, date_from, date_to,
    kind, discount, where store (or item) "" means every one. weather: date, region, temperature_c. deliveries, and stock at each day's end: date, store, item, units.
    """

    sales: pl.DataFrame
    prices: pl.DataFrame
    promotions: pl.DataFrame
    weather: pl.DataFrame
    stores: pl.DataFrame
    deliveries: pl.DataFrame
    stock: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SALES))

    def panel(self, target: Week) -> Panel:
        """What of this was known when `target` was ordered."""
        cutoff = target.cutoff
        sales = daily_grid(
            self.sales.filter(pl.col("date") <= cutoff),
            self.reported.filter(pl.col("date") <= cutoff),
            cutoff,
        )
        days = (
            pl.concat([sales.drop("units"), horizon(sales, target)])
            if sales.height
            else sales.drop("units")
        )
        return Panel(
            target=target,
            sales=sales,
            prices=in_force(days, self.prices),
            promotions=promoted(days, self.promotions),
            weather=self.weather.filter(pl.col("date") <= cutoff)
            .join(self.stores, on="region")
            .select("date", "store", pl.col("temperature_c").cast(pl.Float64))
            .sort("date", "store"),
            stores=self.stores,
            stock=self.stock.filter(pl.col("date") <= cutoff).select(
                pl.col(name).cast(kind) for name, kind in SALES.items()
            ),
        )

    @cached_property
    def reported(self) -> pl.DataFrame:
        """The days on which each store sold anything at all."""
        return self.sales.select("store", "date").unique().sort("store", "date")

    def actual(self, week: Week) -> pl.DataFrame:
        """[store, item, actual]: what each store sold in a week that it reported to its end; stores that did not are absent."""
        whole = (
            daily_grid(
                self.sales.filter(pl.col("date") <= week.sunday),
                self.reported.filter(pl.col("date") <= week.sunday),
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
        began = (
            self.reported.group_by("store")
            .agg(pl.col("date").min().alias("began"))
            .filter(pl.col("began") <= week.monday)
        )
        return (
            whole.filter(pl.col("known") == pl.col("days"))
            .join(began, on="store", how="semi")
            .select("store", "item", "actual")
            .sort("store", "item")
        )

    def ordered(self, week: Week) -> pl.DataFrame:
        """[store, item, ordered]: what people had delivered in a week; empty when no deliveries are known."""
        inside = self.deliveries.filter(pl.col("date").is_between(week.monday, week.sunday))
        return (
            inside.group_by("store", "item")
            .agg(pl.col("units").sum().cast(pl.Float64).alias("ordered"))
            .sort("store", "item")
        )

    def weeks(self) -> tuple[Week, Week]:
        """The first and the last week of which every day has sales. Raises UserError when there is no such week."""
        if self.sales.height == 0:
            raise UserError(
                "No sales are known; import them first with `tanuki shop import --sales FILE`."
            )
        first, last = days_of(self.sales)
        start = week_of(first) if first.weekday() == 0 else week_of(first).plus(1)
        end = week_of(last) if last.weekday() == 6 else week_of(last).plus(-1)
        if end < start:
            raise UserError(
                "Sales are known from %(first)s to %(last)s, which holds no whole week from Monday to Sunday.",
                first=first,
                last=last,
            )
        return start, end


def load(
    db: Session, warehouse: "Warehouse", *, as_of: datetime, stores: Sequence[str] | None = None
) -> History:
    """Everything recorded at or before `as_of`; of some stores only, when they are given."""
    from tanuki.shop.ingest import loading

    def read(table: "FactTable", *columns: str) -> pl.DataFrame:
        if stores is None or "store" not in table.keys:
            return warehouse.read(db, table, as_of=as_of).select(columns)
        marks = ", ".join("?" for _ in stores)
        return warehouse.read(
            db, table, as_of=as_of, where=f"store in ('', {marks})", params=tuple(stores)
        ).select(columns)

    known = [
        (code, region or "")
        for code, region in db.execute(select(Store.code, Store.region_code).order_by(Store.code))
    ]
    return History(
        sales=read(loading.SALES, "date", "store", "item", "units"),
        prices=read(loading.PRICES, "item", "store", "applied_from", "applied_to", "price_yen"),
        promotions=read(
            loading.PROMOTIONS, "store", "item", "date_from", "date_to", "kind", "discount"
        ),
        weather=read(loading.WEATHER, "date", "region", "temperature_c"),
        stores=pl.DataFrame(
            [row for row in known if stores is None or row[0] in stores],
            schema=STORES,
            orient="row",
        ),
        deliveries=read(loading.DELIVERIES, "date", "store", "item", "units"),
        stock=read(loading.STOCK, "date", "store", "item", "units"),
    )


def of_sales(sales: pl.DataFrame) -> History:
    """A history that knows nothing but [date, store, item, units]."""
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
        stores=sales.select("store")
        .unique()
        .sort("store")
        .with_columns(pl.lit("").alias("region")),
        deliveries=pl.DataFrame(schema=SALES),
    )


def daily_grid(sales: pl.DataFrame, reported: pl.DataFrame, last: date) -> pl.DataFrame:
    """Sales completed to one row a day per store and item, from its first sale to `last`, sorted by store, item and date."""
    if sales.height == 0:
        return pl.DataFrame(schema=SALES)
    silent = (
        reported.sort("store", "date")
        .with_columns(
            pl.col("date")
            .shift(-1)
            .over("store")
            .fill_null(last + timedelta(days=CLOSED_DAYS + 1))
            .alias("next")
        )
        .filter((pl.col("next") - pl.col("date")).dt.total_days() - 1 > CLOSED_DAYS)
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
        .select(SALES.names())
        .sort("store", "item", "date")
    )


def horizon(sales: pl.DataFrame, target: Week) -> pl.DataFrame:
    """[date, store, item]: the days of the buffer and the target week for each store and item."""
    days = pl.DataFrame({"date": [*target.buffer.days, *target.days]})
    return (
        sales.select("store", "item")
        .unique()
        .sort("store", "item")
        .join(days, how="cross")
        .select("date", "store", "item")
    )


def in_force(days: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """The price of each store and item on each day, where one is known: the latest that began; a store's own goes before every store's."""
    if days.height == 0 or prices.height == 0:
        return pl.DataFrame(schema=PRICES)
    prices = prices.select(
        "item",
        "store",
        pl.col("applied_from").alias("date"),
        "applied_to",
        pl.col("price_yen").cast(pl.Float64),
    ).sort("date")
    days = days.sort("date")
    own = days.join_asof(prices, on="date", by=["store", "item"], check_sortedness=False)
    every = days.join_asof(
        prices.filter(pl.col("store") == "").drop("store"),
        on="date",
        by="item",
        check_sortedness=False,
    )
    still = [
        pl.when(pl.col("applied_to").is_null() | (pl.col("date") <= pl.col("applied_to")))
        .then(pl.col("price_yen"))
        .alias("price_yen")
    ]
    joined = own.with_columns(still).join(
        every.with_columns(still), on=["date", "store", "item"], how="left", suffix="_every"
    )
    return (
        joined.with_columns(pl.coalesce("price_yen", "price_yen_every"))
        .drop_nulls("price_yen")
        .select(PRICES.names())
        .sort("store", "item", "date")
    )


def promoted(days: pl.DataFrame, promotions: pl.DataFrame) -> pl.DataFrame:
    """The kinds of promotion of each store and item on each day that had any, each with its discount; of several, the largest."""
    if days.height == 0 or promotions.height == 0:
        return pl.DataFrame(schema=PROMOTIONS)
    plans = promotions.select(
        "store",
        "item",
        pl.date_ranges("date_from", pl.max_horizontal("date_from", "date_to")).alias("date"),
        pl.col("kind").fill_null(""),
        pl.col("discount").cast(pl.Float64),
    ).explode("date")
    found = [
        days.join(
            plans.filter(
                (pl.col("store") == "") == (not by_store), (pl.col("item") == "") == (not by_item)
            ).select(*on, "kind", "discount"),
            on=on,
        )
        for by_store, by_item, on in kinds_of_plan()
    ]
    return (
        pl.concat(
            [
                frame.select("date", "store", "item", "kind", pl.col("discount").fill_null(0.0))
                for frame in found
            ]
        )
        .group_by("date", "store", "item", "kind")
        .agg(pl.col("discount").max())
        .select(PROMOTIONS.names())
        .sort("store", "item", "date", "kind")
    )


def kinds_of_plan() -> Iterable[tuple[bool, bool, list[str]]]:
    """Whether a promotion names its store and its item, and what it is joined on."""
    for by_store in (True, False):
        for by_item in (True, False):
            yield (
                by_store,
                by_item,
                ["date", *(["store"] if by_store else []), *(["item"] if by_item else [])],
            )


def days_of(sales: pl.DataFrame) -> tuple[date, date]:
    """The first and the last day with sales."""
    first, last = sales.select(
        pl.col("date").min().alias("first"), pl.col("date").max().alias("last")
    ).row(0)
    return first, last


def check(sales: pl.DataFrame) -> pl.DataFrame:
    """The panel's sales, if they are what they promise to be. Raises UserError with the first thing that is not."""
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
    except SchemaError as wrong:
        raise UserError(
            "The sales of the panel are not as expected: %(why)s", why=str(wrong).splitlines()[0]
        ) from wrong
    return sales
