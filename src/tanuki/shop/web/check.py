"""The analyst's check: every store and item of a week, the unusual first, edited in place; and one line with its history."""

from datetime import UTC, date, datetime
from itertools import accumulate
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Form, Query
from pydantic import BaseModel

from tanuki.errors import NotFound
from tanuki.i18n import msgid
from tanuki.platform.accounts import require
from tanuki.platform.web.pages import Db, Done, Lang, Res, Who, WriteDb, action, page, url
from tanuki.shop import explanation, forecasts, orders
from tanuki.shop.calendar import parse_week
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.store_access import CHAIN
from tanuki.shop.tables import Change, Forecast, OrderLine
from tanuki.shop.web.formatting import Choice, names, wanted

router = APIRouter()
Text = Annotated[str, Form()]
PAGE = 50
HISTORY_WEEKS = 26


class Line(BaseModel):
    """One store and item: what is expected, proposed, and counts now."""

    store: str
    store_name: str
    item: str
    item_name: str
    mean: float
    q10: float
    q50: float
    q90: float
    recent_units: float
    case_units: int
    proposed_cases: int
    cases: int
    units: int
    version: int
    unusual: float
    unusual_why: list[str]
    reason: str
    because: str


class CheckView(BaseModel):
    """A page of the week's lines."""

    week: str | None
    state: str | None
    model: str | None
    check_due: datetime | None
    alert: str | None
    open: bool
    may_change: bool
    lines: list[Line]
    total: int
    unusual_total: int
    offset: int
    limit: int
    stores: list[Choice]
    items: list[Choice]
    store: str | None
    item: str | None
    unusual: bool


def view(
    db: Db,
    who: Who,
    lang: Lang,
    week: str | None = None,
    store: str | None = None,
    item: str | None = None,
    unusual: bool = False,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> CheckView:
    """The week's lines, the most unusual first."""
    require(who, *CHAIN)
    target = wanted(db, week)
    called = names(db, lang)
    common: dict[str, Any] = {
        "stores": called.choices("stores"),
        "items": called.choices("items"),
        "store": store,
        "item": item,
        "unusual": unusual,
        "offset": offset,
        "limit": PAGE,
        "may_change": who.has("analyst"),
    }
    if target is None:
        return CheckView(
            week=None,
            state=None,
            model=None,
            check_due=None,
            alert=None,
            open=False,
            lines=[],
            total=0,
            unusual_total=0,
            **common,
        )
    found = orders.cycle(db, target)
    lines = [
        each for each in orders.visible(db, who, target, store) if item is None or each.item == item
    ]
    shown = [line for line in lines if not unusual or line.unusual >= 1]
    thoughts = {(each.store, each.item): each for each in forecasts.of_week(db, target)}
    return CheckView(
        week=str(target),
        state=found.state,
        model=found.model,
        check_due=found.check_due,
        alert=orders.alert_words(found, lang),
        open=found.state in orders.CHECKING,
        lines=[
            line_of(each, thoughts[each.store, each.item], called.stores, called.items, lang)
            for each in shown[offset : offset + PAGE]
        ],
        total=len(shown),
        unusual_total=sum(line.unusual >= 1 for line in lines),
        **common,
    )


def line_of(
    line: OrderLine, thought: Forecast, stores: dict[str, str], items: dict[str, str], lang: str
) -> Line:
    """An order line with its forecast, in the reader's language."""
    return Line(
        store=line.store,
        store_name=stores[line.store],
        item=line.item,
        item_name=items[line.item],
        mean=thought.mean,
        q10=thought.q10,
        q50=thought.q50,
        q90=thought.q90,
        recent_units=line.recent_units,
        case_units=line.case_units,
        proposed_cases=line.proposed_cases,
        cases=line.cases,
        units=line.cases * line.case_units,
        version=line.version,
        unusual=line.unusual,
        unusual_why=[explanation.words([each], lang) for each in line.unusual_why],
        reason=explanation.words(line.reason, lang),
        because=explanation.because(line.reason, lang),
    )


class Weekly(BaseModel):
    """One week's units: sold, or expected."""

    week: str
    monday: date
    units: float | None
    q10: float | None
    q50: float | None
    q90: float | None


class Edit(BaseModel):
    """What somebody changed."""

    at: datetime
    by: str
    stage: str
    before_cases: int
    after_cases: int
    reason: str


class Step(BaseModel):
    """One part of the sum that explains a proposal, in whole units, and the sum up to it."""

    code: str
    name: str
    units: int
    so_far: int


class LineView(BaseModel):
    """One line with its history, the forecast band, the sum that explains it, and what people changed."""

    week: str
    state: str
    open: bool
    may_change: bool
    line: Line
    steps: list[Step]
    history: list[Weekly]
    changes: list[Edit]
    chart: dict[str, Any]


def line_view(db: Db, who: Who, lang: Lang, res: Res, week: str, store: str, item: str) -> LineView:
    """One line: the sums of the last weeks, and the forecast of the buffer week and the target week."""
    require(who, *CHAIN)
    target = parse_week(week)
    found = orders.cycle(db, target)
    line = next(
        (each for each in orders.visible(db, who, target, store) if each.item == item), None
    )
    if line is None:
        raise NotFound(
            "There is no item %(item)s among the orders of %(store)s in %(week)s.",
            item=item,
            store=store,
            week=week,
        )
    called = names(db, lang)
    thoughts = {
        each.week: each
        for each in forecasts.of_cycle(db, target)
        if (each.store, each.item) == (store, item)
    }
    first = target.plus(-1 - HISTORY_WEEKS).monday
    where, params = (
        "date between ? and ? and store = ? and item = ?",
        (first, target.cutoff, store, item),
    )
    sold = res.warehouse.read(db, SALES, as_of=found.as_of, where=where, params=params)
    sums = dict(
        sold.group_by(pl.col("date").dt.truncate("1w")).agg(pl.col("units").sum()).iter_rows()
    )
    history = []
    for ago in range(-1 - HISTORY_WEEKS, 1):
        each = target.plus(ago)
        thought = thoughts.get(str(each))
        if thought is None and each.monday not in sums:
            continue
        history.append(
            Weekly(
                week=str(each),
                monday=each.monday,
                units=sums.get(each.monday),
                q10=thought.q10 if thought else None,
                q50=thought.q50 if thought else None,
                q90=thought.q90 if thought else None,
            )
        )
    return LineView(
        week=str(target),
        state=found.state,
        open=found.state in orders.CHECKING,
        may_change=who.has("analyst"),
        line=line_of(line, thoughts[str(target)], called.stores, called.items, lang),
        steps=steps_of(line, lang),
        history=history,
        changes=[
            edit(each) for each in orders.changes(db, who, target, store) if each.item == item
        ],
        chart=chart_of(history, line),
    )


def steps_of(line: OrderLine, lang: str) -> list[Step]:
    """The sum from last week's sales to the proposal; empty where none was kept."""
    parts = explanation.parts_of(line.reason)
    sums = accumulate(int(part.units) for part in parts)
    return [
        Step(
            code=each.code, name=explanation.name(each, lang), units=int(each.units), so_far=so_far
        )
        for each, so_far in zip(parts, sums, strict=True)
    ]


def edit(each: Change) -> Edit:
    """A change as the page shows it."""
    return Edit(
        at=each.at,
        by=each.by,
        stage=each.stage,
        before_cases=each.before_cases,
        after_cases=each.after_cases,
        reason=each.reason,
    )


def chart_of(history: list[Weekly], line: OrderLine) -> dict[str, Any]:
    """Weekly sums as a line, the forecast as a band from q10 to q90 with its median, the order as a mark. Needs a description."""
    rows = [each.model_dump(mode="json") for each in history]
    last = next((row for row in reversed(rows) if row["units"] is not None), None)
    if last is not None:  # the band begins where the line ends
        rows.append(
            {
                **last,
                "units": None,
                "q10": last["units"],
                "q50": last["units"],
                "q90": last["units"],
            }
        )
    x = {
        "field": "monday",
        "type": "temporal",
        "title": None,
        "axis": {"format": "%b", "tickCount": "month"},
    }
    target = rows[-2]["monday"] if last is not None else rows[-1]["monday"]
    return {
        "width": 440,
        "height": 260,
        "data": {"values": rows},
        "layer": [
            {
                "transform": [{"filter": "datum.q10 != null"}],
                "mark": {"type": "area", "color": "var(--chart-2)", "opacity": 0.25},
                "encoding": {
                    "x": x,
                    "y": {"field": "q10", "type": "quantitative", "title": None},
                    "y2": {"field": "q90"},
                },
            },
            {
                "transform": [{"filter": "datum.q50 != null"}],
                "mark": {
                    "type": "line",
                    "color": "var(--chart-2)",
                    "strokeDash": [5, 4],
                    "point": {"color": "var(--chart-2)", "size": 40},
                },
                "encoding": {"x": x, "y": {"field": "q50", "type": "quantitative"}},
            },
            {
                "transform": [{"filter": "datum.units != null"}],
                "mark": {
                    "type": "line",
                    "color": "var(--chart-1)",
                    "point": {"color": "var(--chart-1)", "size": 18},
                },
                "encoding": {"x": x, "y": {"field": "units", "type": "quantitative"}},
            },
            {
                "data": {"values": [{"monday": target, "order": line.cases * line.case_units}]},
                "mark": {
                    "type": "point",
                    "shape": "diamond",
                    "size": 130,
                    "filled": True,
                    "opacity": 1,
                    "color": "var(--ink)",
                },
                "encoding": {"x": x, "y": {"field": "order", "type": "quantitative"}},
            },
        ],
    }


def change(
    db: WriteDb,
    who: Who,
    week: str,
    store: str,
    item: str,
    cases: Annotated[int, Form()],
    version: Annotated[int, Form()],
    reason: Text = "",
    back: Text = "",
) -> Done:
    """Set a line's cases."""
    line = orders.change(
        db,
        who,
        parse_week(week),
        store,
        item,
        cases=cases,
        reason=reason,
        version=version,
        now=datetime.now(UTC),
    )
    to = back if back.startswith("/shop/check") else url("/shop/check", week=week)
    values = {"store": store, "item": item, "cases": line.cases}
    return Done(f"{to}#{store}-{item}", msgid("%(item)s of %(store)s: %(cases)s cases."), values)


page(
    router,
    "/shop/check",
    view,
    "shop/check.html",
    csv=lambda view: [line.model_dump(exclude={"unusual_why", "because"}) for line in view.lines],
)
page(
    router,
    "/shop/check/{week}/{store}/{item}",
    line_view,
    "shop/line.html",
    csv=lambda view: view.history,
)
action(router, "/shop/check/{week}/{store}/{item}", change)
