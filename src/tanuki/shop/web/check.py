"""The analyst's check: the week's order lines, unusual ones first, edited in place."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query
from pydantic import BaseModel, ConfigDict, Field

from tanuki.i18n import Translate, msgid
from tanuki.platform.accounts import require_role
from tanuki.platform.web.auth import CurrentPerson, CurrentReader
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import build_url
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop import explanation, forecasts, orders
from tanuki.shop.calendar import parse_week
from tanuki.shop.store_access import CHAIN_ROLES
from tanuki.shop.tables import Cycle, Forecast, OrderLine
from tanuki.shop.web.formatting import (
    Choice,
    Names,
    build_choices,
    choose_week,
    load_names,
    render_model_title,
)

router = APIRouter(tags=["shop"])
LINES_PER_PAGE = 50
UNUSUAL_SCORE = 1  # lines whose score is at least this are shown as unusual


class CheckLine(BaseModel):
    """One store and item: the forecast, the proposal and the current order."""

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
    unusual_reasons: list[str]
    reason: str
    summary: str


class CheckQuery(BaseModel):
    """Which lines the page shows."""

    model_config = ConfigDict(frozen=True)

    week: str | None = None
    store: str | None = None
    item: str | None = None
    unusual: bool = False
    offset: int = Field(default=0, ge=0)


class CheckedCycle(BaseModel):
    """The cycle whose lines are checked."""

    week: str
    state: str
    model: str | None
    model_title: str
    check_due: datetime
    alert: str | None
    open: bool


class CheckPage(BaseModel):
    """A page of the week's lines. `cycle` is None when no week was ever started."""

    cycle: CheckedCycle | None
    may_change: bool
    lines: list[CheckLine]
    total: int
    unusual_total: int
    limit: int
    offset: int
    query: CheckQuery
    stores: list[Choice]
    items: list[Choice]


@read_route(
    router,
    "/shop/check",
    "shop/check.html",
    csv=lambda page: [
        line.model_dump(exclude={"unusual_reasons", "summary"}) for line in page.lines
    ],
)
def show_check_page(
    db: Db, reader: CurrentReader, query: Annotated[CheckQuery, Query()]
) -> CheckPage:
    """The week's lines, the most unusual first."""
    require_role(reader.person, *CHAIN_ROLES)
    week = choose_week(db, query.week)
    names = load_names(db, reader.lang)
    cycle = None if week is None else orders.get_cycle(db, week)
    lines = [] if week is None else orders.list_order_lines(db, reader.person, week, query.store)
    lines = [line for line in lines if query.item is None or line.item == query.item]
    selected = [line for line in lines if not query.unusual or line.unusual >= UNUSUAL_SCORE]
    week_forecasts = (
        {} if week is None else index_forecasts(forecasts.list_target_forecasts(db, week))
    )
    return CheckPage(
        cycle=None if cycle is None else build_checked_cycle(cycle, reader.say),
        may_change=reader.person.has_role("analyst"),
        lines=[
            build_check_line(line, week_forecasts[line.store, line.item], names, reader.say)
            for line in selected[query.offset : query.offset + LINES_PER_PAGE]
        ],
        total=len(selected),
        unusual_total=sum(line.unusual >= UNUSUAL_SCORE for line in lines),
        limit=LINES_PER_PAGE,
        offset=query.offset,
        query=query,
        stores=build_choices(names.stores),
        items=build_choices(names.items),
    )


def index_forecasts(rows: list[Forecast]) -> Mapping[tuple[str, str], Forecast]:
    return {(forecast.store, forecast.item): forecast for forecast in rows}


def build_checked_cycle(cycle: Cycle, say: Translate) -> CheckedCycle:
    return CheckedCycle(
        week=cycle.week,
        state=cycle.state,
        model=cycle.model,
        model_title=render_model_title(cycle.model, say),
        check_due=cycle.check_due,
        alert=orders.render_cycle_alert(cycle, say),
        open=cycle.state in orders.CHECK_STATES,
    )


def build_check_line(
    line: OrderLine, forecast: Forecast, names: Names, say: Translate
) -> CheckLine:
    """An order line with its forecast, in the reader's language."""
    return CheckLine(
        store=line.store,
        store_name=names.stores[line.store],
        item=line.item,
        item_name=names.items[line.item],
        mean=forecast.mean,
        q10=forecast.q10,
        q50=forecast.q50,
        q90=forecast.q90,
        recent_units=line.recent_units,
        case_units=line.case_units,
        proposed_cases=line.proposed_cases,
        cases=line.cases,
        units=line.cases * line.case_units,
        version=line.version,
        unusual=line.unusual,
        unusual_reasons=[
            explanation.render_reasons([reason], say) for reason in line.unusual_reasons
        ],
        reason=explanation.render_reasons(line.reasons, say),
        summary=explanation.render_summary(line.reasons, say),
    )


@dataclass(frozen=True)
class LineKey:
    """The line that a path names."""

    week: str
    store: str
    item: str


def read_line_key(week: str, store: str, item: str) -> LineKey:
    return LineKey(week, store, item)


class LineForm(BaseModel):
    """The new order of a line. `version` is the line's version that the person saw."""

    cases: int
    version: int
    reason: str = ""
    back: str = ""


@write_route(router, "/shop/check/{week}/{store}/{item}")
def change_cases(
    db: WriteDb,
    person: CurrentPerson,
    key: Annotated[LineKey, Depends(read_line_key)],
    form: Annotated[LineForm, Form()],
) -> ActionResult:
    """Set a line's cases."""
    line = orders.change_order_line(
        db,
        person,
        parse_week(key.week),
        orders.LineChange(key.store, key.item, form.cases, form.version, form.reason),
        datetime.now(UTC),
    )
    is_check_page = form.back.startswith("/shop/check")
    path = form.back if is_check_page else build_url("/shop/check", week=key.week)
    return ActionResult(
        f"{path}#{key.store}-{key.item}",
        msgid("%(item)s of %(store)s: %(cases)s cases."),
        {"store": key.store, "item": key.item, "cases": line.cases},
    )
