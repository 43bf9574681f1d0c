"""Sales: by day, week or month, of everything or by region, store, item, as a chart and as a table."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from tanuki.platform.web.charts import SERIES
from tanuki.platform.web.pages import Db, Lang, Res, Who, page
from tanuki.shop import sales
from tanuki.shop.calendar import week_of
from tanuki.shop.sales import By, Group
from tanuki.shop.store_access import stores_of
from tanuki.shop.web.formatting import Choice, names

router = APIRouter()
USUAL_DAYS = 60
USUAL_WEEKS = 52
USUAL_YEARS = 3
MOST_SERIES = 12  # lines that a chart can carry


class SalesRow(BaseModel):
    """What one group sold in one period, which is named by its first day."""

    period: date
    group: str
    name: str
    units: int
    amount_yen: int


class SalesView(BaseModel):
    """Sales added up."""

    by: By
    group: Group
    first: date | None
    last: date | None
    region: str | None
    store: str | None
    item: str | None
    regions: list[Choice]
    stores: list[Choice]
    items: list[Choice]
    rows: list[SalesRow]
    units: int
    amount_yen: int
    chart: dict[str, Any] | None


def view(
    db: Db,
    who: Who,
    lang: Lang,
    res: Res,
    by: By = "week",
    group: Group = "all",
    first: date | None = None,
    last: date | None = None,
    region: str | None = None,
    store: str | None = None,
    item: str | None = None,
) -> SalesView:
    """Units and yen of each period; the last year by week, unless asked otherwise."""
    now = datetime.now(UTC)
    called = names(db, lang)
    own = stores_of(db, who)
    common: dict[str, Any] = {
        "by": by,
        "group": group,
        "region": region,
        "store": store,
        "item": item,
        "regions": called.choices("regions"),
        "stores": called.choices("stores", own),
        "items": called.choices("items"),
    }
    known = sales.span(db, res.warehouse, who, now)
    if known.first is None or known.last is None:
        return SalesView(
            first=first, last=last, rows=[], units=0, amount_yen=0, chart=None, **common
        )
    last = last or known.last
    first = first or max(known.first, usual(by, last))
    frame = sales.totals(
        db,
        res.warehouse,
        who,
        by=by,
        group=group,
        first=first,
        last=last,
        region=region,
        store=store,
        item=item,
        as_of=now,
    )
    name_of = {"region": called.regions, "store": called.stores, "item": called.items, "all": {}}[
        group
    ]
    rows = [
        SalesRow(
            **{**to_dict, "amount_yen": to_dict["amount_yen"] or 0},
            name=name_of.get(to_dict["group"], to_dict["group"]),
        )
        for to_dict in frame.to_dicts()
    ]
    return SalesView(
        first=first,
        last=last,
        rows=rows,
        units=sum(row.units for row in rows),
        amount_yen=sum(row.amount_yen for row in rows),
        chart=chart_of(rows, group) if rows else None,
        **common,
    )


def usual(by: By, last: date) -> date:
    """The first day shown when nobody asks otherwise: whole weeks and months."""
    if by == "week":
        return week_of(last).plus(1 - USUAL_WEEKS).monday
    return (
        last - timedelta(days=USUAL_DAYS)
        if by == "day"
        else date(last.year - USUAL_YEARS, last.month, 1)
    )


def chart_of(rows: list[SalesRow], group: str) -> dict[str, Any]:
    """Units over time, a line for each group; of many groups the best sellers. Needs a description."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.name] = totals.get(row.name, 0) + row.units
    shown = sorted(totals, key=lambda name: -totals[name])[:MOST_SERIES]
    scale = {"domain": shown, "range": [SERIES[n % len(SERIES)] for n in range(len(shown))]}
    dashes = {
        "domain": shown,
        "range": [[1, 0] if n < len(SERIES) else [6, 3] for n in range(len(shown))],
    }
    of = {
        "field": "name",
        "type": "nominal",
        "legend": {"title": None, "columns": 6, "symbolType": "stroke", "symbolStrokeWidth": 2.5},
    }
    lines = (
        {}
        if group == "all"
        else {"color": {**of, "scale": scale}, "strokeDash": {**of, "scale": dashes}}
    )
    return {
        "width": 1060,
        "height": 300,
        "data": {
            "values": [
                {"period": str(row.period), "units": row.units, "name": row.name}
                for row in rows
                if row.name in shown
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
            **lines,
        },
    }


page(router, "/shop/sales", view, "shop/sales.html", csv=lambda view: view.rows)
