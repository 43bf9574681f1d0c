"""One week of the shop, from the sales up to yesterday to the purchase orders: one durable run, `weekly-<week>`.

Read `weekly` from top to bottom. Each step is one transaction and one record; a process that died goes on at the step it was in, and a
step done twice leaves what it left the first time. What people decided stands in the cycle's row; a message only wakes the run.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import structlog
from dbos import DBOS, SetWorkflowID
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform import metrics
from tanuki.platform.durable_steps import durable, observed
from tanuki.platform.jobs import PART, PARTS, Work
from tanuki.platform.resources import Resources, current
from tanuki.shop import evaluation, forecasts, orders, purchase_orders, rules
from tanuki.shop.calendar import TOKYO, Week, clock, parse_week, week_to_order
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.proposals import proposals
from tanuki.shop.tables import Confirmation, Cycle, OrderLine, QuarantinedRow

log = structlog.get_logger()

WORKFLOW = "weekly"
LATE_CHECK = timedelta(hours=2)  # what people get when a week is started after its clock
LATE_CONFIRM = timedelta(hours=1)
LOOK_AGAIN = 6 * 3600.0  # seconds between looks at a week that waits without a deadline


# ---- starting ------------------------------------------------------------------------------------------------------


def start(
    db: Session,
    work: Work,
    week: Week,
    *,
    by: str,
    now: datetime,
    as_of: datetime | None = None,
    auto: bool = False,
    hours: float | None = None,
) -> Cycle:
    """Start a week's cycle; started before, it is the same one.

    `auto` waits for nobody. `hours` gives people so long for each of their two turns instead of the clock's deadlines. Facts recorded
    after `as_of` (now, unless given) are not seen. Raises UserError when the sales it needs are still to come.
    """
    known = db.get(Cycle, str(week))
    if known is not None:
        return known
    if week.cutoff >= now.astimezone(TOKYO).date():
        raise UserError(
            "%(week)s is ordered on %(day)s; the sales it needs, up to %(cutoff)s, are not over yet.",
            week=week,
            day=week.order_day,
            cutoff=week.cutoff,
        )
    made = Cycle(
        week=str(week),
        state="started",
        cutoff=week.cutoff,
        as_of=as_of or now,
        auto=auto,
        started_by=by,
        started_at=now,
        findings=[],
    )
    for name, moment in deadlines(week, now, hours).items():
        setattr(made, name, moment)
    db.add(made)
    db.flush()
    work.enqueue(db, WORKFLOW, orders.run_id(week), str(week))
    return made


def deadlines(week: Week, now: datetime, hours: float | None) -> dict[str, datetime]:
    """When the week's turns are: by the clock when it starts in time, otherwise people get their time from now on."""
    at = clock(week)
    if hours is None and now <= at.forecast:
        return {
            "forecast_due": at.forecast,
            "check_due": at.check_due,
            "release_at": at.release,
            "confirm_due": at.confirm_due,
        }
    check = now + (timedelta(hours=hours) if hours is not None else LATE_CHECK)
    confirm = check + (timedelta(hours=hours) if hours is not None else LATE_CONFIRM)
    return {"forecast_due": now, "check_due": check, "release_at": now, "confirm_due": confirm}


def latest(db: Session) -> Cycle | None:
    """The newest week that was started."""
    return db.scalars(select(Cycle).order_by(Cycle.week.desc()).limit(1)).first()


def cycles(db: Session, limit: int = 60) -> list[Cycle]:
    """Weeks that were started, newest first."""
    return list(db.scalars(select(Cycle).order_by(Cycle.week.desc()).limit(limit)))


# ---- the week ------------------------------------------------------------------------------------------------------


def weekly(text: str) -> str:
    """One week. Running it twice leaves the same rows."""
    try:
        aggregate(text)  # 10:00  sales up to Sunday, and whether they can be believed
        while (seconds := until_forecast(text)) > 0:
            DBOS.sleep(seconds)
        together(
            text, parts(text)
        )  # 11:00  quantiles for the buffer week, the target week and both, part by part
        forecast(text)
        propose(text)  #        cases per store and item, with reasons
        while (seconds := until_checked(text)) > 0:  # 13:00  the analyst's check is due
            DBOS.recv(orders.TOPIC, timeout_seconds=seconds)
        while (seconds := until_release(text)) > 0:
            DBOS.sleep(seconds)
        release(text)  # 14:00  the stores see it
        while (seconds := until_confirmed(text)) > 0:  # 15:00  the managers' confirmation is due
            DBOS.recv(orders.TOPIC, timeout_seconds=seconds)
            order(
                text
            )  #        late stores: those that have confirmed are ordered after the deadline
        order(text)  #        purchase orders leave the house
        return str(finish(text))
    except Exception as error:
        fail(
            text,
            str(error)
            if isinstance(error, UserError)
            else f"{type(error).__name__}: see the run's record.",
        )
        raise


def together(text: str, stores: list[list[str]]) -> None:
    """Every part of the chain forecast: here when there is one, otherwise by all workers, each one part at a time."""
    if len(stores) == 1:
        forecast_part(text, stores[0])
        return
    started = []
    for number, part in enumerate(stores, start=1):
        with SetWorkflowID(f"{orders.run_id(parse_week(text))}{PART}{number}"):
            started.append(DBOS.enqueue_workflow(PARTS, part_run, text, part))
    for each in started:
        each.get_result()


def step(function: Callable[..., Any]) -> Callable[..., Any]:
    """A durable step of the week: retried with growing pauses, unless a person must mend something first."""

    @durable(function.__name__, attempts=4)
    @wraps(function)
    def run(text: str, *more: Any) -> Any:
        with observed(WORKFLOW, function.__name__, f"{WORKFLOW}-{text}"):
            return function(current(), parse_week(text), datetime.now(UTC), *more)

    return run


@step
def aggregate(res: Resources, week: Week, now: datetime) -> int:
    """Count what is known up to the cut-off and check it; findings are kept with the cycle."""
    with res.db.read() as db:
        found = orders.cycle(db, week)
        first = week.plus(-9).monday
        sales = res.warehouse.read(
            db, SALES, as_of=found.as_of, where="date between ? and ?", params=(first, week.cutoff)
        )
        waiting = db.query(QuarantinedRow).filter_by(status="waiting").count()
    if sales.is_empty():
        raise UserError(
            "There are no sales for the nine weeks up to %(day)s; import them, then resume the run.",
            day=week.cutoff,
        )
    findings = check(sales, week)
    if waiting:
        findings.append({"code": "quarantine", "rows": waiting})
    with res.db.write() as db:
        found = orders.locked(db, week)
        if found.aggregated_at is None:
            found.state, found.aggregated_at, found.sales_rows, found.findings, found.alert = (
                "aggregated",
                now,
                sales.height,
                findings,
                None,
            )
    return sales.height


def check(sales: Any, week: Week) -> list[dict[str, Any]]:
    """What is missing in the last weeks' sales: stores that stopped sending, days without any sale. Frame: date, store, item, units."""
    import polars as pl

    findings: list[dict[str, Any]] = []
    last = sales.group_by("store").agg(pl.col("date").max()).sort("store")
    for store, day in last.iter_rows():
        if day < week.cutoff:
            findings.append({"code": "stale_store", "store": store, "last": day.isoformat()})
    days = set(sales["date"].unique())
    first = sales["date"].min()
    gap = [
        day
        for ago in range(1, 9)
        for day in week.buffer.plus(-ago).days
        if first <= day <= week.cutoff and day not in days
    ]
    if gap:
        findings.append({"code": "missing_days", "days": len(gap), "first": min(gap).isoformat()})
    return findings


@step
def until_forecast(res: Resources, week: Week, now: datetime) -> float:
    """Seconds until the clock lets the forecast begin."""
    with res.db.read() as db:
        found = orders.cycle(db, week)
        return 0.0 if found.auto else max(0.0, (found.forecast_due - now).total_seconds())


@step
def parts(res: Resources, week: Week, now: datetime) -> list[list[str]]:
    """Which stores are forecast together."""
    with res.db.read() as db:
        found = forecasts.parts(db, res.warehouse, week, as_of=orders.cycle(db, week).as_of)
    if not found:
        raise UserError(
            "No sales up to %(cutoff)s are known, so %(week)s cannot be forecast; import them first.",
            cutoff=week.cutoff,
            week=week,
        )
    return found


@step
def forecast_part(res: Resources, week: Week, now: datetime, stores: list[str]) -> int:
    """The champion's quantiles for some stores, from only what was known at the cut-off."""
    with res.db.read() as db:
        found = orders.cycle(db, week)
        if found.forecast_at is not None or forecasts.there(db, week, stores):
            return 0
        frame, model, version = forecasts.make(
            db, res.warehouse, res.registry, week, as_of=found.as_of, stores=stores
        )
    with res.db.write() as db:
        found = orders.locked(db, week)
        if found.forecast_at is None:
            forecasts.store(db, week, frame, model, found.as_of)
            found.model, found.model_version = model, version
    return int(frame.height)


@step
def forecast(res: Resources, week: Week, now: datetime) -> None:
    """All parts are there: the week is forecast."""
    with res.db.write() as db:
        found = orders.locked(db, week)
        if found.forecast_at is None:
            found.state, found.forecast_at = "forecast", now
            log.info("week forecast", week=str(week), model=found.model)
        version = found.model_version
    if version is not None:
        metrics.set_model_version(forecasts.REGISTERED, "champion", int(version))


@step
def propose(res: Resources, week: Week, now: datetime) -> int:
    """Cases per store and item, with reasons, and how unusual each is."""
    with res.db.read() as db:
        found = orders.cycle(db, week)
        if found.proposed_at is not None:
            return 0
        made = proposals(res, db, week, found.as_of)
    with res.db.write() as db:
        found = orders.locked(db, week)
        if found.proposed_at is None:
            db.execute(delete(OrderLine).where(OrderLine.week == str(week)))
            db.add_all(made)
            found.state, found.proposed_at = "proposed", now
    return len(made)


@step
def until_checked(res: Resources, week: Week, now: datetime) -> float:
    """Seconds to wait for the analyst; 0 when the check is done, or its deadline passed and the chain's rule lets the week go on."""
    with res.db.write() as db:
        found = orders.locked(db, week)
        if found.state == "held":
            return LOOK_AGAIN
        if found.state != "proposed":
            return 0.0
        left = 0.0 if found.auto else (found.check_due - now).total_seconds()
        if left > 0:
            return left
        if found.auto or rules.get(db).release_unchecked:
            found.state = "checked"
            return 0.0
        found.state, found.alert = "held", {"code": "unchecked"}
        log.warning("week held unchecked", week=str(week))
        return LOOK_AGAIN


@step
def until_release(res: Resources, week: Week, now: datetime) -> float:
    """Seconds until the clock lets the stores see the week."""
    with res.db.read() as db:
        found = orders.cycle(db, week)
        return 0.0 if found.auto else max(0.0, (found.release_at - now).total_seconds())


@step
def release(res: Resources, week: Week, now: datetime) -> None:
    """The stores see it. Whoever was checked late still has time to confirm."""
    with res.db.write() as db:
        found = orders.locked(db, week)
        if found.released_at is None:
            found.state, found.released_at = "released", now
            if not found.auto:
                found.confirm_due = max(found.confirm_due, now + LATE_CONFIRM)


@step
def until_confirmed(res: Resources, week: Week, now: datetime) -> float:
    """Seconds to wait for the managers; 0 when all have confirmed, or the deadline did it for them by the chain's rule."""
    with res.db.write() as db:
        found = orders.locked(db, week)
        late = orders.unconfirmed(db, week)
        if not late:
            return 0.0
        left = 0.0 if found.auto else (found.confirm_due - now).total_seconds()
        if left > 0:
            return left
        if found.auto or rules.get(db).order_unconfirmed:
            db.add_all(Confirmation(week=str(week), store=store, by=None, at=now) for store in late)
            return 0.0
        found.alert = {"code": "unconfirmed", "stores": ", ".join(late)}
        return LOOK_AGAIN


@step
def order(res: Resources, week: Week, now: datetime) -> int:
    """Purchase orders for the stores that have confirmed; before the deadline only when all have."""
    with res.db.write() as db:
        found = orders.locked(db, week)
        if not found.auto and now < found.confirm_due and orders.unconfirmed(db, week):
            return 0
        return len(purchase_orders.issue(db, res.objects, week, now, by="tanuki"))


@step
def finish(res: Resources, week: Week, now: datetime) -> str:
    """The week is ordered."""
    with res.db.write() as db:
        found = orders.locked(db, week)
        if found.ordered_at is None:
            found.state, found.ordered_at, found.alert = "ordered", now, None
            log.info("week ordered", week=str(week))
    return "ordered"


@DBOS.step(name="fail")
def fail(text: str, why: str) -> None:
    """Say on the cycle why its run stopped; its state stays what it was, so that a resumed run goes on from there."""
    with current().db.write() as db:
        db.execute(
            update(Cycle).where(Cycle.week == text).values(alert={"code": "stopped", "why": why})
        )


weekly_run = DBOS.workflow(name=WORKFLOW)(weekly)


@DBOS.workflow(name="forecast-part")
def part_run(text: str, stores: list[str]) -> int:
    """One part of a large chain's forecast; any worker takes it."""
    return int(forecast_part(text, stores))


# ---- by the clock --------------------------------------------------------------------------------------------------


@DBOS.workflow(name="start-week")
def start_week(due: datetime, _context: Any) -> None:
    """Monday, 10:00: start the week that is ordered today. One that should have begun on an earlier Monday is left alone."""
    begin(week_to_order(due.astimezone(TOKYO).date()).monday.isoformat())


@DBOS.step(name="begin")
def begin(monday: str) -> None:
    """Start the week beginning on a Monday, unless its order week is over."""
    now = datetime.now(UTC)
    target = week_to_order(now.astimezone(TOKYO).date())
    if target.monday.isoformat() == monday:
        with current().db.write() as db:
            start(db, current().work, target, by="clock", now=now)


@DBOS.workflow(name="evaluate-due")
def evaluate_due(due: datetime, _context: Any) -> int:
    """Every hour: evaluate ordered weeks whose sales have all arrived."""
    return evaluate_complete(due.isoformat())


@DBOS.step(name="evaluate_complete")
def evaluate_complete(_due: str) -> int:
    """Evaluate what can be; gives how many weeks were."""
    res, now = current(), datetime.now(UTC)
    with res.db.read() as db:
        open_weeks = [
            parse_week(text)
            for text in db.scalars(select(Cycle.week).where(Cycle.state == "ordered").limit(20))
        ]
    done = 0
    for week in open_weeks:
        with res.db.write() as db:
            if evaluation.complete(db, res.warehouse, week, now):
                evaluation.evaluate(db, res.warehouse, week, now)
                done += 1
    return done


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": "shop-week",
        "workflow_fn": start_week,
        "schedule": "0 10 * * 1",
        "context": None,
        "automatic_backfill": True,
        "cron_timezone": "Asia/Tokyo",
    },
    {
        "schedule_name": "shop-evaluate",
        "workflow_fn": evaluate_due,
        "schedule": "5 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
