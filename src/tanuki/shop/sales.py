"""What was sold: sums by day, week or month, by region, store or item, for pages and people; within the stores they may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform.accounts import Person
from tanuki.platform.warehouse import Warehouse
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.store_access import must_see, stores_of
from tanuki.shop.tables import Store

By = Literal["day", "week", "month"]
Group = Literal["all", "region", "store", "item"]
SUMS = {"period": pl.Date, "group": pl.String, "units": pl.Int64, "amount_yen": pl.Int64}


@dataclass(frozen=True)
class Span:
    """The first and last day with sales; None when there are none."""

    first: date | None
    last: date | None


def span(db: Session, warehouse: Warehouse, who: Person, now: datetime) -> Span:
    """From when to when there are sales this person may see."""
    stores = stores_of(db, who)
    if not stores or not warehouse.files(db, SALES.name, now):
        return Span(None, None)
    query = f"select min(date), max(date) from {SALES.name} where store in ({texts(stores)})"
    return Span(*warehouse.sql(db, query, as_of=now).row(0))


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
        raise UserError(
            "%(first)s is after %(last)s; expected the first day before the last.",
            first=first,
            last=last,
        )
    if store is not None:
        must_see(db, who, store)
    stores = [store] if store is not None else stores_of(db, who)
    regions = {
        code: region_code or ""
        for code, region_code in db.execute(select(Store.code, Store.region_code))
    }
    if region is not None:
        stores = [code for code in stores if regions.get(code) == region]
    if not stores or not warehouse.files(db, SALES.name, as_of):
        return pl.DataFrame(schema=SUMS)
    region_of = " ".join(
        f"when {texts([code])} then {texts([name])}" for code, name in regions.items()
    )
    named = {
        "all": "'all'",
        "region": f"case store {region_of} end",
        "store": "store",
        "item": "item",
    }[group]
    only = "" if item is None else f" and item = {texts([item])}"
    query = (
        f"select date_trunc('{by}', date)::date as period, {named} as \"group\", sum(units) as units, coalesce(sum(amount_yen), 0) as amount_yen "
        f"from {SALES.name} where date between date '{first}' and date '{last}' and store in ({texts(stores)}){only} group by all order by all"
    )
    return warehouse.sql(db, query, as_of=as_of).cast(pl.Schema(SUMS))


def texts(values: Sequence[str]) -> str:
    """Texts for SQL."""
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)
