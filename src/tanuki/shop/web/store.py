"""My store: a manager changes or confirms the store's orders for the week, on a phone."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform.accounts import Person
from tanuki.platform.web.auth import CurrentPerson, CurrentReader
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import Res, build_url
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop import explanation, orders, weekly
from tanuki.shop.calendar import parse_week
from tanuki.shop.store_access import list_visible_stores, require_store_access
from tanuki.shop.tables import Cycle, OrderLine
from tanuki.shop.web.formatting import Choice, build_choices, load_names

router = APIRouter(tags=["shop"])


class StoreLine(BaseModel):
    """One item of the store's orders."""

    item: str
    name: str
    case_units: int
    proposed_cases: int
    cases: int
    units: int
    recent_units: float
    version: int
    reason: str
    summary: str


class StoreCycle(BaseModel):
    """The week that the store orders for. It has no lines before it is released."""

    week: str
    state: str
    confirm_due: datetime
    release_at: datetime
    open: bool
    confirmed_at: datetime | None
    confirmed_by: str | None
    lines: list[StoreLine]


class StorePage(BaseModel):
    """A store's week. `cycle` is None when no week was ever started."""

    store: str
    name: str
    stores: list[Choice]
    cycle: StoreCycle | None


@read_route(
    router,
    "/shop/store",
    "shop/store.html",
    csv=lambda page: page.cycle.lines if page.cycle else [],
)
def show_store_page(
    db: Db, reader: CurrentReader, store: str | None = None, week: str | None = None
) -> StorePage:
    """The store's lines of the latest week, or of the one asked for."""
    visible_stores = list_visible_stores(db, reader.person)
    if not visible_stores:
        raise NotFound("There is no store yet.")
    if store is not None:
        require_store_access(db, reader.person, store)
    store = store or visible_stores[0]
    names = load_names(db, reader.lang)
    cycle = orders.get_cycle(db, parse_week(week)) if week else weekly.get_latest_cycle(db)
    store_cycle = None
    if cycle is not None:
        lines = [
            StoreLine(
                item=line.item,
                name=names.items[line.item],
                case_units=line.case_units,
                proposed_cases=line.proposed_cases,
                cases=line.cases,
                units=line.cases * line.case_units,
                recent_units=line.recent_units,
                version=line.version,
                reason=explanation.render_reasons(line.reasons, reader.say),
                summary=explanation.render_summary(line.reasons, reader.say),
            )
            for line in list_released_lines(db, reader.person, cycle, store)
        ]
        store_cycle = build_store_cycle(db, cycle, store, lines)
    return StorePage(
        store=store,
        name=names.stores[store],
        stores=build_choices(names.stores, visible_stores),
        cycle=store_cycle,
    )


def list_released_lines(db: Session, person: Person, cycle: Cycle, store: str) -> list[OrderLine]:
    if cycle.state not in orders.STORE_VISIBLE_STATES:
        return []
    lines = orders.list_order_lines(db, person, parse_week(cycle.week), store)
    return sorted(lines, key=lambda line: line.item)


def build_store_cycle(db: Session, cycle: Cycle, store: str, lines: list[StoreLine]) -> StoreCycle:
    confirmation = orders.load_confirmations(db, parse_week(cycle.week)).get(store)
    return StoreCycle(
        week=cycle.week,
        state=cycle.state,
        confirm_due=cycle.confirm_due,
        release_at=max(cycle.release_at, cycle.check_due),
        open=cycle.state == "released" and confirmation is None,
        confirmed_at=confirmation.at if confirmation else None,
        confirmed_by=confirmation.by if confirmation else None,
        lines=lines,
    )


class NextStep(StrEnum):
    SAVE = "save"
    CONFIRM = "confirm"


class StoreForm(BaseModel):
    """New cases by item. `version` is each line's version that the manager saw.

    With `then` = confirm the store also confirms, in the same transaction.
    """

    item: list[str]
    cases: list[int]
    version: list[int]
    reason: str = ""
    then: NextStep = NextStep.SAVE


@write_route(router, "/shop/store/{week}/{store}")
def save_store_orders(
    db: WriteDb,
    person: CurrentPerson,
    res: Res,
    week: str,
    store: str,
    form: Annotated[StoreForm, Form()],
) -> ActionResult:
    """Change the lines that differ, and confirm if the form says so."""
    if not len(form.item) == len(form.cases) == len(form.version):
        raise UserError("The form is incomplete: every item needs its cases and version.")
    target, now = parse_week(week), datetime.now(UTC)
    for item, cases, version in zip(form.item, form.cases, form.version, strict=True):
        orders.change_order_line(
            db,
            person,
            target,
            orders.LineChange(store, item, cases, version, form.reason),
            now,
        )
    path = build_url("/shop/store", store=store, week=week)
    if form.then == NextStep.SAVE:
        return ActionResult(path, msgid("The changes are saved. Do not forget to confirm."))
    orders.confirm_store(db, person, res.jobs, target, store, now)
    return ActionResult(path, msgid("Confirmed. Thank you!"))
