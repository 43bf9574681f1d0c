"""Sales summed by day, week or month, by region, store or item, within the visible stores."""

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
from tanuki.shop.store_access import list_visible_stores, require_store_access
from tanuki.shop.tables import Store

Period = Literal["day", "week", "month"]
SalesGroup = Literal["all", "region", "store", "item"]
SALES_TOTALS_SCHEMA = {
    "period": pl.Date,
    "group": pl.String,
    "units": pl.Int64,
    "amount_yen": pl.Int64,
}


@dataclass(frozen=True)
class SalesRange:
    """The first and last day with sales; None when there are none."""

    first: date | None
    last: date | None


@dataclass(frozen=True)
class SalesSelection:
    """Which sales to sum, and how. Without a region, store or item: all of them."""

    by: Period
    group: SalesGroup
    first: date
    last: date
    region: str | None = None
    store: str | None = None
    item: str | None = None


def find_sales_range(
    db: Session, warehouse: Warehouse, person: Person, now: datetime
) -> SalesRange:
    """The days with sales of the stores that a person may see."""
    stores = list_visible_stores(db, person)
    if not stores or not warehouse.load_files(db, SALES.name, now):
        return SalesRange(None, None)
    query = f"select min(date), max(date) from {SALES.name} where store in ({sql_literals(stores)})"
    return SalesRange(*warehouse.query_facts(db, query, as_of=now).row(0))


def sum_sales(
    db: Session, warehouse: Warehouse, person: Person, selection: SalesSelection, as_of: datetime
) -> pl.DataFrame:
    """SALES_TOTALS_SCHEMA, a row for each period and group with sales, oldest first.

    `period` is its first day; weeks begin on Monday. The first and last period hold only the days
    within the selection. Raises UserError when its first day is after its last, NotFound for a
    store that the person may not see.
    """
    if selection.first > selection.last:
        raise UserError(
            "%(first)s is after %(last)s; expected the first day before the last.",
            first=selection.first,
            last=selection.last,
        )
    regions = {
        code: region_code or ""
        for code, region_code in db.execute(select(Store.code, Store.region_code))
    }
    if selection.store is None:
        stores = list_visible_stores(db, person)
    else:
        require_store_access(db, person, selection.store)
        stores = [selection.store]
    if selection.region is not None:
        stores = [code for code in stores if regions.get(code) == selection.region]
    if not stores or not warehouse.load_files(db, SALES.name, as_of):
        return pl.DataFrame(schema=SALES_TOTALS_SCHEMA)
    region_cases = " ".join(
        f"when {sql_literals([code])} then {sql_literals([region])}"
        for code, region in regions.items()
    )
    group = {
        "all": "'all'",
        "region": f"case store {region_cases} end",
        "store": "store",
        "item": "item",
    }[selection.group]
    of_item = "" if selection.item is None else f" and item = {sql_literals([selection.item])}"
    query = (
        f"select date_trunc('{selection.by}', date)::date as period, {group} as \"group\","
        " sum(units) as units, coalesce(sum(amount_yen), 0) as amount_yen"
        f" from {SALES.name}"
        f" where date between date '{selection.first}' and date '{selection.last}'"
        f" and store in ({sql_literals(stores)}){of_item}"
        " group by all order by all"
    )
    return warehouse.query_facts(db, query, as_of=as_of).cast(pl.Schema(SALES_TOTALS_SCHEMA))


def sql_literals(values: Sequence[str]) -> str:
    """Texts as SQL literals, separated by commas."""
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)
