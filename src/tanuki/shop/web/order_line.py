"""One order line of the check: its sales history, the forecast, why so many, and its changes."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import accumulate
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki.errors import NotFound
from tanuki.i18n import Translate
from tanuki.platform.accounts import require_role
from tanuki.platform.resources import Resources
from tanuki.platform.web.auth import CurrentReader
from tanuki.platform.web.pages import read_route
from tanuki.platform.web.site import Res
from tanuki.platform.web.transactions import Db
from tanuki.shop import explanation, forecasts, orders
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.store_access import CHAIN_ROLES
from tanuki.shop.tables import Cycle, Forecast, OrderLine
from tanuki.shop.web.check import CheckLine, LineKey, build_check_line, read_line_key
from tanuki.shop.web.formatting import load_names

router = APIRouter(tags=["shop"])
HISTORY_WEEKS = 26


class HistoryWeek(BaseModel):
    """One week's units: what was sold, or the forecast."""

    week: str
    monday: date
    units: float | None
    q10: float | None
    q50: float | None
    q90: float | None


class LineChange(BaseModel):
    at: datetime
    by: str
    stage: str
    before_cases: int
    after_cases: int
    reason: str


class ExplanationStep(BaseModel):
    """One part of the sum that explains a proposal, in whole units, and the sum up to it."""

    code: str
    name: str
    units: int
    subtotal: int


class OrderLinePage(BaseModel):
    week: str
    state: str
    open: bool
    may_change: bool
    line: CheckLine
    steps: list[ExplanationStep]
    history: list[HistoryWeek]
    changes: list[LineChange]
    chart: dict[str, Any]


@read_route(
    router,
    "/shop/check/{week}/{store}/{item}",
    "shop/order_line.html",
    csv=lambda page: page.history,
)
def show_order_line_page(
    db: Db,
    res: Res,
    reader: CurrentReader,
    key: Annotated[LineKey, Depends(read_line_key)],
) -> OrderLinePage:
    """One line: the last weeks' sales, and the forecast of the buffer week and the target week."""
    require_role(reader.person, *CHAIN_ROLES)
    week = parse_week(key.week)
    cycle = orders.get_cycle(db, week)
    lines = orders.list_order_lines(db, reader.person, week, key.store)
    line = next((line for line in lines if line.item == key.item), None)
    if line is None:
        raise NotFound(
            "There is no item %(item)s among the orders of %(store)s in %(week)s.",
            item=key.item,
            store=key.store,
            week=key.week,
        )
    line_forecasts = {
        forecast.week: forecast
        for forecast in forecasts.list_cycle_forecasts(db, week)
        if (forecast.store, forecast.item) == (key.store, key.item)
    }
    history = build_history(week, load_weekly_sales(db, res, cycle, line), line_forecasts)
    changes = orders.list_order_changes(db, reader.person, week, key.store)
    return OrderLinePage(
        week=str(week),
        state=cycle.state,
        open=cycle.state in orders.CHECK_STATES,
        may_change=reader.person.has_role("analyst"),
        line=build_check_line(
            line, line_forecasts[str(week)], load_names(db, reader.lang), reader.say
        ),
        steps=build_explanation_steps(line, reader.say),
        history=history,
        changes=[
            LineChange(**{name: getattr(change, name) for name in LineChange.model_fields})
            for change in changes
            if change.item == key.item
        ],
        chart=build_history_chart(history, line),
    )


def load_weekly_sales(
    db: Session, res: Resources, cycle: Cycle, line: OrderLine
) -> Mapping[date, float]:
    """Units sold by Monday, as they were known when the cycle was forecast."""
    week = parse_week(cycle.week)
    first_day = week.plus(-1 - HISTORY_WEEKS).monday
    sales = res.warehouse.read_facts(
        db,
        SALES,
        as_of=cycle.as_of,
        where="date between ? and ? and store = ? and item = ?",
        params=(first_day, week.cutoff, line.store, line.item),
    )
    by_week = sales.group_by(pl.col("date").dt.truncate("1w")).agg(pl.col("units").sum())
    return dict(by_week.iter_rows())


def build_history(
    week: Week, sales: Mapping[date, float], line_forecasts: Mapping[str, Forecast]
) -> list[HistoryWeek]:
    """The weeks that have sales or a forecast, up to the target week."""
    history = []
    for offset in range(-1 - HISTORY_WEEKS, 1):
        past_week = week.plus(offset)
        forecast = line_forecasts.get(str(past_week))
        if forecast is None and past_week.monday not in sales:
            continue
        history.append(
            HistoryWeek(
                week=str(past_week),
                monday=past_week.monday,
                units=sales.get(past_week.monday),
                q10=forecast.q10 if forecast else None,
                q50=forecast.q50 if forecast else None,
                q90=forecast.q90 if forecast else None,
            )
        )
    return history


def build_explanation_steps(line: OrderLine, say: Translate) -> list[ExplanationStep]:
    """The sum from last week's sales to the proposal; empty for a line without one."""
    parts = explanation.extract_parts(line.reasons)
    subtotals = accumulate(int(part.units) for part in parts)
    return [
        ExplanationStep(
            code=part.code,
            name=explanation.render_part_name(part, say),
            units=int(part.units),
            subtotal=subtotal,
        )
        for part, subtotal in zip(parts, subtotals, strict=True)
    ]


def build_history_chart(history: Sequence[HistoryWeek], line: OrderLine) -> dict[str, Any]:
    """Weekly sales as a line, the forecast as a band from q10 to q90, the order as a diamond.

    A Vega-Lite spec; the template adds the description.
    """
    rows = [week.model_dump(mode="json") for week in history]
    target_monday = rows[-1]["monday"]
    last = next((row for row in reversed(rows) if row["units"] is not None), None)
    if last is not None:  # the band begins where the line ends
        units = last["units"]
        rows.append({**last, "units": None, "q10": units, "q50": units, "q90": units})
    x = {
        "field": "monday",
        "type": "temporal",
        "title": None,
        "axis": {"format": "%b", "tickCount": "month"},
    }

    def y(field: str) -> dict[str, Any]:
        return {"field": field, "type": "quantitative", "title": None}

    order = {"monday": target_monday, "order": line.cases * line.case_units}
    return {
        "height": 260,
        "data": {"values": rows},
        "layer": [
            {
                "transform": [{"filter": "datum.q10 != null"}],
                "mark": {"type": "area", "color": "var(--chart-2)", "opacity": 0.25},
                "encoding": {"x": x, "y": y("q10"), "y2": {"field": "q90"}},
            },
            {
                "transform": [{"filter": "datum.q50 != null"}],
                "mark": {
                    "type": "line",
                    "color": "var(--chart-2)",
                    "strokeDash": [5, 4],
                    "point": {"color": "var(--chart-2)", "size": 40},
                },
                "encoding": {"x": x, "y": y("q50")},
            },
            {
                "transform": [{"filter": "datum.units != null"}],
                "mark": {
                    "type": "line",
                    "color": "var(--chart-1)",
                    "point": {"color": "var(--chart-1)", "size": 18},
                },
                "encoding": {"x": x, "y": y("units")},
            },
            {
                "data": {"values": [order]},
                "mark": {
                    "type": "point",
                    "shape": "diamond",
                    "size": 130,
                    "filled": True,
                    "opacity": 1,
                    "color": "var(--ink)",
                },
                "encoding": {"x": x, "y": y("order")},
            },
        ],
    }
