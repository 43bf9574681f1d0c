"""This week: deadlines, what each person has to do, and the results of the data check."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki.i18n import Translate, msgid
from tanuki.platform.accounts import require_role
from tanuki.platform.web.auth import CurrentPerson, CurrentReader, Reader
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import Res, build_url
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop import orders, weekly
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.store_access import CHAIN_ROLES, list_visible_stores
from tanuki.shop.tables import Cycle
from tanuki.shop.web.formatting import (
    choose_week,
    load_names,
    next_week_to_order,
    render_model_title,
)

router = APIRouter(tags=["shop"])
Text = Annotated[str, Form()]
COMPUTING_STATES = ("started", "aggregated", "forecast", "checked")
FINDINGS = {
    "stale_store": msgid("%(store)s sent no sales after %(last)s."),
    "missing_days": msgid("Days without any sales: %(days)s, the first on %(first)s."),
    "quarantine": msgid("Rows waiting in quarantine: %(rows)s."),
}


class StepState(StrEnum):
    DONE = "done"
    NOW = "now"
    LATE = "late"
    NEXT = "next"


class ClockStep(BaseModel):
    """One deadline of the week."""

    title: str
    due: datetime | None
    done_at: datetime | None
    state: StepState


class StoreTurn(BaseModel):
    """Whether a store has confirmed. `confirmed_by` is empty when the deadline confirmed it."""

    store: str
    name: str
    confirmed_at: datetime | None
    confirmed_by: str | None


class WeekRow(BaseModel):
    """A week that was started."""

    week: str
    state: str
    ordered_at: datetime | None


class Tasks(BaseModel):
    """How many order lines the analyst has to check."""

    lines: int
    unusual: int
    changed: int


class CyclePart(BaseModel):
    """The cycle of the week that the page shows."""

    week: str
    first_day: date
    last_day: date
    cutoff: date
    state: str
    auto: bool
    computing: bool
    started_by: str
    model: str | None
    model_title: str
    model_version: str | None
    sales_rows: int | None
    alert: str | None
    clock: list[ClockStep]
    findings: list[str]
    tasks: Tasks
    stores: list[StoreTurn]


class WeekPage(BaseModel):
    """A week's page. `cycle` is None when no week was ever started."""

    cycle: CyclePart | None
    weeks: list[WeekRow]
    next_week: str
    may_start: bool
    may_check: bool


@read_route(router, "/shop", public=True)
def redirect_to_week() -> Response:
    return RedirectResponse("/shop/week", 303)


@read_route(
    router,
    "/shop/week",
    "shop/week.html",
    csv=lambda page: page.cycle.stores if page.cycle else [],
)
def show_week_page(db: Db, reader: CurrentReader, week: str | None = None) -> WeekPage:
    """The state of a week: the latest one, or the one asked for."""
    target = choose_week(db, week)
    return WeekPage(
        cycle=None if target is None else build_cycle_part(db, reader, target),
        weeks=[
            WeekRow(week=cycle.week, state=cycle.state, ordered_at=cycle.ordered_at)
            for cycle in weekly.list_cycles(db)
        ],
        next_week=str(next_week_to_order()),
        may_start=reader.person.has_role(*CHAIN_ROLES),
        may_check=reader.person.has_role("analyst"),
    )


def build_cycle_part(db: Session, reader: Reader, week: Week) -> CyclePart:
    person, say = reader.person, reader.say
    cycle = orders.get_cycle(db, week)
    store_names = load_names(db, reader.lang).stores
    is_chain = person.has_role(*CHAIN_ROLES)
    unusual, lines = orders.count_unusual_lines(db, week) if is_chain else (0, 0)
    changed = len(orders.list_order_changes(db, person, week))
    findings = cycle.findings if is_chain else []
    return CyclePart(
        week=str(week),
        first_day=week.monday,
        last_day=week.sunday,
        cutoff=cycle.cutoff,
        state=cycle.state,
        auto=cycle.auto,
        computing=cycle.state in COMPUTING_STATES and cycle.alert is None,
        started_by=cycle.started_by,
        model=cycle.model,
        model_title=render_model_title(cycle.model, say),
        model_version=cycle.model_version,
        sales_rows=cycle.sales_rows,
        alert=orders.render_cycle_alert(cycle, say) if is_chain else None,
        clock=build_clock(cycle, datetime.now(UTC)),
        findings=[render_finding(finding, store_names, say) for finding in findings],
        tasks=Tasks(lines=lines, unusual=unusual, changed=changed),
        stores=list_store_turns(db, week, list_visible_stores(db, person), store_names),
    )


def build_clock(cycle: Cycle, now: datetime) -> list[ClockStep]:
    """The week's deadlines. The first step that is not done is current, or late after its time."""
    plan = [
        (msgid("Sales added up"), cycle.started_at, cycle.aggregated_at),
        (msgid("Forecast and proposals"), cycle.forecast_due, cycle.proposed_at),
        (msgid("Analyst’s check"), cycle.check_due, cycle.checked_at or cycle.released_at),
        (msgid("Released to stores"), max(cycle.release_at, cycle.check_due), cycle.released_at),
        (msgid("Managers confirm"), cycle.confirm_due, cycle.ordered_at),
        (msgid("Purchase orders"), cycle.confirm_due, cycle.ordered_at),
    ]
    steps: list[ClockStep] = []
    for index, (title, due, done_at) in enumerate(plan):
        is_first_open = done_at is None and all(step.done_at for step in steps)
        if done_at is not None:
            state = StepState.DONE
        elif not is_first_open:
            state = StepState.NEXT
        else:
            state = StepState.LATE if due < now and index else StepState.NOW
        steps.append(
            ClockStep(title=title, due=None if cycle.auto else due, done_at=done_at, state=state)
        )
    return steps


def render_finding(
    finding: Mapping[str, Any], store_names: Mapping[str, str], say: Translate
) -> str:
    """A finding of the data check as a sentence."""
    values = {
        name: store_names.get(value, value) if name == "store" else value
        for name, value in finding.items()
        if name != "code"
    }
    return say(FINDINGS[finding["code"]], **values)


def list_store_turns(
    db: Session, week: Week, stores: Sequence[str], store_names: Mapping[str, str]
) -> list[StoreTurn]:
    """The given stores that have lines in the week, and whether each has confirmed."""
    confirmations = orders.load_confirmations(db, week)
    waiting = orders.list_unconfirmed_stores(db, week)
    return [
        StoreTurn(
            store=store,
            name=store_names[store],
            confirmed_at=confirmations[store].at if store in confirmations else None,
            confirmed_by=confirmations[store].by if store in confirmations else None,
        )
        for store in stores
        if store in confirmations or store in waiting
    ]


@write_route(router, "/shop/week/start")
def start_week(
    db: WriteDb,
    person: CurrentPerson,
    res: Res,
    week: Text,
    hours: Annotated[float | None, Form(ge=0, le=720)] = None,
) -> ActionResult:
    """Start a week's cycle."""
    require_role(person, *CHAIN_ROLES)
    target = parse_week(week)
    start = weekly.CycleStart(person.name, datetime.now(UTC), hours=hours)
    weekly.start_cycle(db, res.jobs, target, start)
    return on_week_page(target, msgid("%(week)s is started."))


@write_route(router, "/shop/week/{week}/release")
def release_orders(db: WriteDb, person: CurrentPerson, res: Res, week: str) -> ActionResult:
    """End the check: the stores may see the week."""
    target = parse_week(week)
    orders.release_week(db, person, res.jobs, target, datetime.now(UTC))
    return on_week_page(
        target, msgid("The check of %(week)s is done. The stores see it from the release time on.")
    )


@write_route(router, "/shop/week/{week}/hold")
def hold_orders(db: WriteDb, person: CurrentPerson, res: Res, week: str, why: Text) -> ActionResult:
    """Keep the week from the stores until somebody releases it."""
    target = parse_week(week)
    orders.hold_week(db, person, res.jobs, target, why=why)
    return on_week_page(target, msgid("%(week)s is held."))


def on_week_page(week: Week, message: str) -> ActionResult:
    return ActionResult(build_url("/shop/week", week=str(week)), message, {"week": week})
