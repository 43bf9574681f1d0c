"""My store: a manager changes or confirms the store's orders for the week, on a phone, in under a minute."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel

from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform.web.pages import Db, Done, Lang, Res, Who, WriteDb, action, page, url
from tanuki.shop import explanation, orders, weekly
from tanuki.shop.calendar import parse_week
from tanuki.shop.store_access import must_see, stores_of
from tanuki.shop.web.formatting import Choice, names

router = APIRouter()


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
    because: str


class StoreView(BaseModel):
    """A store's week. Before its release, and when none was started, there are no lines."""

    week: str | None
    state: str | None
    confirm_due: datetime | None
    release_at: datetime | None
    store: str
    name: str
    stores: list[Choice]
    open: bool
    confirmed_at: datetime | None
    confirmed_by: str | None
    lines: list[StoreLine]


def view(
    db: Db, who: Who, lang: Lang, store: str | None = None, week: str | None = None
) -> StoreView:
    """The store's lines of the newest week, or of the one asked for."""
    own = stores_of(db, who)
    if not own:
        raise NotFound("There is no store yet.")
    if store is not None:
        must_see(db, who, store)
    chosen = store or own[0]
    called = names(db, lang)
    found = weekly.latest(db) if not week else orders.cycle(db, parse_week(week))
    common: dict[str, Any] = {
        "store": chosen,
        "name": called.stores[chosen],
        "stores": called.choices("stores", own),
    }
    if found is None:
        return StoreView(
            week=None,
            state=None,
            confirm_due=None,
            release_at=None,
            open=False,
            confirmed_at=None,
            confirmed_by=None,
            lines=[],
            **common,
        )
    target = parse_week(found.week)
    done = orders.confirmations(db, target).get(chosen)
    visible = (
        sorted(orders.visible(db, who, target, chosen), key=lambda line: line.item)
        if found.state in orders.SEEN_BY_STORES
        else []
    )
    return StoreView(
        week=found.week,
        state=found.state,
        confirm_due=found.confirm_due,
        release_at=max(found.release_at, found.check_due),
        open=found.state == "released" and done is None,
        confirmed_at=done.at if done else None,
        confirmed_by=done.by if done else None,
        lines=[
            StoreLine(
                item=line.item,
                name=called.items[line.item],
                case_units=line.case_units,
                proposed_cases=line.proposed_cases,
                cases=line.cases,
                units=line.cases * line.case_units,
                recent_units=line.recent_units,
                version=line.version,
                reason=explanation.words(line.reason, lang),
                because=explanation.because(line.reason, lang),
            )
            for line in visible
        ],
        **common,
    )


def save(
    db: WriteDb,
    who: Who,
    res: Res,
    week: str,
    store: str,
    item: Annotated[list[str], Form()],
    cases: Annotated[list[int], Form()],
    version: Annotated[list[int], Form()],
    reason: Annotated[str, Form()] = "",
    then: Annotated[str, Form()] = "save",
) -> Done:
    """Change what differs; with `then` = confirm, the store says yes in the same transaction."""
    if not len(item) == len(cases) == len(version):
        raise UserError("The form is not whole: expected cases and version for each item.")
    target, now = parse_week(week), datetime.now(UTC)
    for each, count, seen in zip(item, cases, version, strict=True):
        orders.change(
            db, who, target, store, each, cases=count, reason=reason, version=seen, now=now
        )
    to = url("/shop/store", store=store, week=week)
    if then != "confirm":
        return Done(to, msgid("The changes are saved. Do not forget to confirm."))
    orders.confirm(db, who, res.work, target, store, now)
    return Done(to, msgid("Confirmed. Thank you!"))


page(router, "/shop/store", view, "shop/store.html", csv=lambda view: view.lines)
action(router, "/shop/store/{week}/{store}", save)
