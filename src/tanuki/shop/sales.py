"""What was sold: sums by day, week or month, by region, store or item, for pages and people; within the stores they may see."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform.accounts import Person
from tanuki.platform.warehouse import Warehouse
from tanuki.shop.facts import SALES
from tanuki.shop.people import must_see, stores_of
from tanuki.shop.tables import Store

By = Literal["day", "week", "month"]
Group = Literal["all", "region", "store", "item"]
EVERY = {"day": "1d", "week": "1w", "month": "1mo"}


@dataclass(frozen=True)
class Span:
    """The first and last day with sales; None when there are none."""

    first: date | None
    last: date | None


def span(db: Session, warehouse: Warehouse, who: Person, now: datetime) -> Span:
    """From when to when there are sales this person may see."""
    sales = warehouse.read(db, SALES, as_of=now).filter(pl.col("store").is_in(stores_of(db, who)))
    return Span(None, None) if sales.is_empty() else Span(*sales.select(pl.col("date").min(), pl.col("date").max().alias("last")).row(0))


def totals(
    db: Session,
    warehouse: Warehouse,
    who: Person,
    *,
    by: By,
    group: Group,
    first: date,
    last: date,
    as_of: datetime,
    region: str | None = None,
    store: str | None = None,
    item: str | None = None,
) -> pl.DataFrame:
    """Units and yen of each period that has sales, oldest first: period (its first day), group, units, amount_yen.

    Weeks begin on Monday. The first and last period hold only the days within `first` and `last`.
    """
    if first > last:
        raise UserError("%(first)s is after %(last)s; expected the first day before the last.", first=first, last=last)
    if store is not None:
        must_see(db, who, store)
    stores = [store] if store is not None else stores_of(db, who)
    regions = {code: region_code or "" for code, region_code in db.execute(select(Store.code, Store.region_code))}
    if region is not None:
        stores = [code for code in stores if regions.get(code) == region]
    sales = warehouse.read(db, SALES, as_of=as_of, where="date between ? and ?", params=(first, last)).filter(pl.col("store").is_in(stores))
    if item is not None:
        sales = sales.filter(pl.col("item") == item)
    named = {
        "all": pl.lit("all"),
        "region": pl.col("store").replace_strict(regions, default="", return_dtype=pl.String),
        "store": pl.col("store"),
        "item": pl.col("item"),
    }[group]
    period = pl.col("date").dt.truncate(EVERY[by])
    sums = sales.group_by(period.alias("period"), named.alias("group")).agg(pl.col("units").sum(), pl.col("amount_yen").sum())
    return sums.sort("period", "group")
