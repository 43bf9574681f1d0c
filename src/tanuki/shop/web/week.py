"""This week: where the cycle stands on its clock, who has to do what, and what the data check found."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel

from tanuki.i18n import msgid
from tanuki.platform.accounts import require
from tanuki.platform.web.pages import Db, Done, Lang, Res, Who, WriteDb, action, page, url
from tanuki.shop import orders, weekly
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.store_access import CHAIN, stores_of
from tanuki.shop.tables import Cycle
from tanuki.shop.web.formatting import names, next_week, wanted

router = APIRouter()
Text = Annotated[str, Form()]
COMPUTING = ("started", "aggregated", "forecast", "checked")
FINDINGS = {
    "stale_store": msgid("%(store)s sent no sales after %(last)s."),
    "missing_days": msgid("Days without any sales: %(days)s, the first on %(first)s."),
    "quarantine": msgid("Rows waiting in quarantine: %(rows)s."),
}


class ClockStep(BaseModel):
    """A time on the week's clock: state is done, now, late or next."""

    title: str
    due: datetime | None
    done_at: datetime | None
    state: str


class StoreTurn(BaseModel):
    """Whether a store has confirmed, and who did; nobody's name when the deadline did."""

    store: str
    name: str
    confirmed_at: datetime | None
    confirmed_by: str | None


class OtherWeek(BaseModel):
    """A week that was started."""

    week: str
    state: str
    ordered_at: datetime | None


class Finding(BaseModel):
    """What the data check found: a text and its values."""

    text: str
    values: dict[str, Any]


class WeekView(BaseModel):
    """A week's page. `week` is None when none was ever started."""

    week: str | None
    first_day: date | None
    last_day: date | None
    cutoff: date | None
    state: str | None
    auto: bool
    computing: bool
    started_by: str | None
    model: str | None
    model_version: str | None
    sales_rows: int | None
    alert: str | None
    clock: list[ClockStep]
    findings: list[Finding]
    lines: int
    unusual: int
    changed: int
    stores: list[StoreTurn]
    weeks: list[OtherWeek]
    next_week: str
    may_start: bool
    may_check: bool


def view(db: Db, who: Who, lang: Lang, week: str | None = None) -> WeekView:
    """Where a week stands: the newest one, or the one asked for."""
    own = stores_of(db, who)
    target = wanted(db, week)
    common: dict[str, Any] = {
        "weeks": [
            OtherWeek(week=cycle.week, state=cycle.state, ordered_at=cycle.ordered_at)
            for cycle in weekly.cycles(db)
        ],
        "next_week": str(next_week()),
        "may_start": who.has(*CHAIN),
        "may_check": who.has("analyst"),
    }
    if target is None:
        empty: dict[str, Any] = dict.fromkeys(
            (
                "week",
                "first_day",
                "last_day",
                "cutoff",
                "state",
                "started_by",
                "model",
                "model_version",
                "sales_rows",
                "alert",
            )
        )
        return WeekView(
            **empty,
            **common,
            auto=False,
            computing=False,
            clock=[],
            findings=[],
            lines=0,
            unusual=0,
            changed=0,
            stores=[],
        )
    found = orders.cycle(db, target)
    unusual, lines = orders.count_unusual(db, target) if who.has(*CHAIN) else (0, 0)
    return WeekView(
        week=str(target),
        first_day=target.monday,
        last_day=target.sunday,
        cutoff=found.cutoff,
        state=found.state,
        auto=found.auto,
        computing=found.state in COMPUTING and found.alert is None,
        started_by=found.started_by,
        model=found.model,
        model_version=found.model_version,
        sales_rows=found.sales_rows,
        alert=orders.alert_words(found, lang) if who.has(*CHAIN) else None,
        clock=steps(found, datetime.now(UTC)),
        findings=[finding(each, names(db, lang).stores) for each in found.findings]
        if who.has(*CHAIN)
        else [],
        lines=lines,
        unusual=unusual,
        changed=len(orders.changes(db, who, target)),
        stores=turns(db, target, own, lang),
        **common,
    )


def steps(found: Cycle, now: datetime) -> list[ClockStep]:
    """The week's clock. The first step that is not done is now, or late when its time is over."""
    plan = [
        (msgid("Sales added up"), found.started_at, found.aggregated_at),
        (msgid("Forecast and proposals"), found.forecast_due, found.proposed_at),
        (msgid("Analyst’s check"), found.check_due, found.checked_at or found.released_at),
        (msgid("Stores see it"), max(found.release_at, found.check_due), found.released_at),
        (msgid("Managers confirm"), found.confirm_due, found.ordered_at),
        (msgid("Purchase orders"), found.confirm_due, found.ordered_at),
    ]
    made = []
    current = True
    for title, due, done_at in plan:
        state = "done" if done_at else "next"
        if current and not done_at:
            state, current = "late" if due < now and title != plan[0][0] else "now", False
        made.append(
            ClockStep(title=title, due=None if found.auto else due, done_at=done_at, state=state)
        )
    return made


def finding(each: dict[str, Any], stores: dict[str, str]) -> Finding:
    """A finding of the data check as a text with its values."""
    values = {
        name: stores.get(value, value) if name == "store" else value
        for name, value in each.items()
        if name != "code"
    }
    return Finding(text=FINDINGS[each["code"]], values=values)


def turns(db: Db, week: Week, own: list[str], lang: str) -> list[StoreTurn]:
    """The stores this person may see, and whether each has confirmed."""
    called = names(db, lang).stores
    done = orders.confirmations(db, week)
    waiting = orders.unconfirmed(db, week)
    return [
        StoreTurn(
            store=store,
            name=called[store],
            confirmed_at=done[store].at if store in done else None,
            confirmed_by=done[store].by if store in done else None,
        )
        for store in own
        if store in done or store in waiting
    ]


def start(
    db: WriteDb,
    who: Who,
    res: Res,
    week: Text,
    hours: Annotated[float | None, Form(ge=0, le=720)] = None,
) -> Done:
    """Start a week's cycle."""
    require(who, *CHAIN)
    target = parse_week(week)
    weekly.start(db, res.work, target, by=who.name, now=datetime.now(UTC), hours=hours)
    return Done(
        url("/shop/week", week=str(target)), msgid("%(week)s is started."), {"week": target}
    )


def release(db: WriteDb, who: Who, res: Res, week: str) -> Done:
    """The check is done: the stores may see the week."""
    target = parse_week(week)
    orders.release(db, who, res.work, target, datetime.now(UTC))
    return Done(
        url("/shop/week", week=str(target)),
        msgid("The check of %(week)s is done; the stores see it as soon as its time has come."),
        {"week": target},
    )


def hold(db: WriteDb, who: Who, res: Res, week: str, why: Text) -> Done:
    """Keep the week from the stores until somebody releases it."""
    target = parse_week(week)
    orders.hold(db, who, res.work, target, why=why, now=datetime.now(UTC))
    return Done(url("/shop/week", week=str(target)), msgid("%(week)s is held."), {"week": target})


page(router, "/shop/week", view, "shop/week.html", csv=lambda view: view.stores)
action(router, "/shop/week/start", start)
action(router, "/shop/week/{week}/release", release)
action(router, "/shop/week/{week}/hold", hold)
