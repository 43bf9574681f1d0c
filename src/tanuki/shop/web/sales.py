"""Sales by day, week or month, in total or by region, store or item; a chart and a table."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from tanuki.platform.web.auth import CurrentReader
from tanuki.platform.web.charts import SERIES_COLOURS
from tanuki.platform.web.pages import read_route
from tanuki.platform.web.site import Res
from tanuki.platform.web.transactions import Db
from tanuki.shop import sales
from tanuki.shop.calendar import week_of
from tanuki.shop.sales import Period, SalesGroup
from tanuki.shop.store_access import list_visible_stores
from tanuki.shop.web.formatting import Choice, build_choices, load_names

router = APIRouter(tags=["shop"])
DEFAULT_DAYS = 60
DEFAULT_WEEKS = 52
DEFAULT_YEARS = 3
MAX_CHART_SERIES = 12
MIN_CHART_PERIODS = 3  # with fewer periods the table says it all


class SalesQuery(BaseModel):
    """Which sales the page adds up; without days the last year or so."""

    by: Period = "week"
    group: SalesGroup = "all"
    first: date | None = None
    last: date | None = None
    region: str | None = None
    store: str | None = None
    item: str | None = None


class SalesRow(BaseModel):
    """What one group sold in one period, which is named by its first day."""

    period: date
    group: str
    name: str
    units: int
    amount_yen: int


class SalesPage(BaseModel):
    """Sales added up. `query` has the days that the rows are about."""

    query: SalesQuery
    regions: list[Choice]
    stores: list[Choice]
    items: list[Choice]
    rows: list[SalesRow]
    units: int
    amount_yen: int
    chart: dict[str, Any] | None
    chart_groups: int
    groups: int


@read_route(router, "/shop/sales", "shop/sales.html", csv=lambda page: page.rows)
def show_sales_page(
    db: Db, res: Res, reader: CurrentReader, query: Annotated[SalesQuery, Query()]
) -> SalesPage:
    """Units and yen of each period."""
    now = datetime.now(UTC)
    names = load_names(db, reader.lang)
    known_range = sales.find_sales_range(db, res.warehouse, reader.person, now)
    rows: list[SalesRow] = []
    if known_range.first is not None and known_range.last is not None:
        last = query.last or known_range.last
        first = query.first or max(known_range.first, default_first_day(query.by, last))
        query = query.model_copy(update={"first": first, "last": last})
        frame = sales.sum_sales(
            db,
            res.warehouse,
            reader.person,
            sales.SalesSelection(
                by=query.by,
                group=query.group,
                first=first,
                last=last,
                region=query.region,
                store=query.store,
                item=query.item,
            ),
            now,
        )
        group_names = {
            "region": names.regions,
            "store": names.stores,
            "item": names.items,
            "all": {},
        }[query.group]
        rows = [
            SalesRow(**record, name=group_names.get(record["group"], record["group"]))
            for record in frame.to_dicts()
        ]
    series = choose_chart_series(rows)
    periods = {row.period for row in rows}
    return SalesPage(
        query=query,
        regions=build_choices(names.regions),
        stores=build_choices(names.stores, list_visible_stores(db, reader.person)),
        items=build_choices(names.items),
        rows=rows,
        units=sum(row.units for row in rows),
        amount_yen=sum(row.amount_yen for row in rows),
        chart=build_sales_chart(rows, series, query.group)
        if len(periods) >= MIN_CHART_PERIODS
        else None,
        chart_groups=len(series),
        groups=len({row.group for row in rows}),
    )


def default_first_day(by: Period, last: date) -> date:
    """The first day of the page where the query names none: whole weeks and months."""
    if by == "week":
        return week_of(last).plus(1 - DEFAULT_WEEKS).monday
    if by == "day":
        return last - timedelta(days=DEFAULT_DAYS)
    return date(last.year - DEFAULT_YEARS, last.month, 1)


def choose_chart_series(rows: Sequence[SalesRow]) -> list[str]:
    """The names of the best-selling groups, as many as a chart can show."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.name] = totals.get(row.name, 0) + row.units
    return sorted(totals, key=lambda name: -totals[name])[:MAX_CHART_SERIES]


def build_sales_chart(
    rows: Sequence[SalesRow], series: Sequence[str], group: SalesGroup
) -> dict[str, Any]:
    """Units over time, a line for each series. A Vega-Lite spec; the template adds the description.

    There are fewer colours than series, so the later series are dashed.
    """
    indexes = range(len(series))
    colours = [SERIES_COLOURS[index % len(SERIES_COLOURS)] for index in indexes]
    dashes = [[1, 0] if index < len(SERIES_COLOURS) else [6, 3] for index in indexes]
    name = {
        "field": "name",
        "type": "nominal",
        "legend": {"title": None, "symbolType": "stroke", "symbolStrokeWidth": 2.5},
    }
    lines = {
        "color": {**name, "scale": {"domain": series, "range": colours}},
        "strokeDash": {**name, "scale": {"domain": series, "range": dashes}},
    }
    return {
        "height": 300,
        "data": {
            "values": [
                {"period": str(row.period), "units": row.units, "name": row.name}
                for row in rows
                if row.name in series
            ]
        },
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "period",
                "type": "temporal",
                "title": None,
                "axis": {"labelOverlap": "parity", "labelSeparation": 10},
            },
            "y": {"field": "units", "type": "quantitative", "title": None},
            **({} if group == "all" else lines),
        },
    }
