"""One week of the shop, from the sales up to yesterday to the purchase orders: one durable run, `weekly-<week>`.

Read `weekly` from top to bottom. Each step is one transaction and one record; a process that died goes on at the step it was in, and a
step done twice leaves what it left the first time. What people decided stands in the cycle's row; a message only wakes the run.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import structlog
from dbos import DBOS
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform import log as log_file
from tanuki.platform import metrics
from tanuki.platform.resources import Resources, current
from tanuki.platform.workflows import Work
from tanuki.shop import forecasts, makers, monitor, ordering, orders, rules
from tanuki.shop.facts import DELIVERIES, SALES, STOCK
from tanuki.shop.tables import Confirmation, Cycle, Forecast, Item, OrderLine, PurchaseOrder, PurchaseOrderLine, QuarantinedRow
from tanuki.shop.weeks import TOKYO, Week, clock, parse_week, week_to_order

log = structlog.get_logger()

WORKFLOW = "weekly"
LATE_CHECK = timedelta(hours=2)  # what people get when a week is started after its clock
LATE_CONFIRM = timedelta(hours=1)
LOOK_AGAIN = 6 * 3600.0  # seconds between looks at a week that waits without a deadline
RECENT_WEEKS = 4


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
        week=str(week), state="started", cutoff=week.cutoff, as_of=as_of or now, auto=auto, started_by=by, started_at=now, findings=[]
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
        return {"forecast_due": at.forecast, "check_due": at.check_due, "release_at": at.release, "confirm_due": at.confirm_due}
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
        forecast(text)  # 11:00  quantiles for the buffer week and the target week
        propose(text)  #        cases per store and item, with reasons
        while (seconds := until_checked(text)) > 0:  # 13:00  the analyst's check is due
            DBOS.recv(orders.TOPIC, timeout_seconds=seconds)
        while (seconds := until_release(text)) > 0:
            DBOS.sleep(seconds)
        release(text)  # 14:00  the stores see it
        while (seconds := until_confirmed(text)) > 0:  # 15:00  the managers' confirmation is due
            DBOS.recv(orders.TOPIC, timeout_seconds=seconds)
            order(text)  #        late stores: those that have confirmed are ordered after the deadline
        order(text)  #        purchase orders leave the house
        return str(finish(text))
    except Exception as error:
        fail(text, str(error) if isinstance(error, UserError) else f"{type(error).__name__}: see the run's record.")
        raise


def step(function: Callable[[Resources, Week, datetime], Any]) -> Callable[[str], Any]:
    """A durable step of the week: retried with growing pauses, unless a person must mend something first."""

    @DBOS.step(
        name=function.__name__,
        retries_allowed=True,
        max_attempts=4,
        interval_seconds=0.5,
        backoff_rate=3.0,
        should_retry=lambda error: not isinstance(error, UserError),
    )
    @wraps(function)
    def run(text: str) -> Any:
        begun, outcome = time.monotonic(), "failed"
        log_file.bind(run_id=f"{WORKFLOW}-{text}")
        try:
            made = function(current(), parse_week(text), datetime.now(UTC))
            outcome = "done"
        finally:
            metrics.observe_step(WORKFLOW, function.__name__, time.monotonic() - begun, outcome=outcome)
        return made

    return run


@step
def aggregate(res: Resources, week: Week, now: datetime) -> int:
    """Count what is known up to the cut-off and check it; findings are kept with the cycle."""
    with res.db.read() as db:
        found = orders.cycle(db, week)
        first = week.plus(-9).monday
        sales = res.warehouse.read(db, SALES, as_of=found.as_of, where="date between ? and ?", params=(first, week.cutoff))
        waiting = db.query(QuarantinedRow).filter_by(status="waiting").count()
    if sales.is_empty():
        raise UserError("There are no sales for the nine weeks up to %(day)s; import them, then resume the run.", day=week.cutoff)
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
    gap = [day for ago in range(1, 9) for day in week.buffer.plus(-ago).days if first <= day <= week.cutoff and day not in days]
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
def forecast(res: Resources, week: Week, now: datetime) -> int:
    """The champion's quantiles, from only what was known at the cut-off."""
    with res.db.read() as db:
        found = orders.cycle(db, week)
        if found.forecast_at is not None:
            return 0
        frame, model, version = forecasts.make(db, res.warehouse, res.registry, week, as_of=found.as_of)
    with res.db.write() as db:
        found = orders.locked(db, week)
        if found.forecast_at is None:
            forecasts.store(db, week, frame, model, found.as_of)
            found.state, found.forecast_at, found.model, found.model_version = "forecast", now, model, version
            log.info("week forecast", week=str(week), model=model, rows=frame.height)
    if version is not None:
        metrics.set_model_version(forecasts.REGISTERED, "champion", int(version))
    return int(frame.height)


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


def proposals(res: Resources, db: Session, week: Week, as_of: datetime) -> list[OrderLine]:
    """An order line for every store and item that has a forecast for the week."""
    items = {item.code: item for item in db.scalars(select(Item))}
    thoughts = {(each.week, each.store, each.item): each for each in db.scalars(select(Forecast).where(Forecast.cycle == str(week)))}
    on_hand = {
        (store, item): units
        for store, item, units in res.warehouse.read(db, STOCK, as_of=as_of, where="date = ?", params=(week.cutoff,))
        .select("store", "item", "units")
        .iter_rows()
    }
    coming = arriving(res, db, week.buffer, as_of)
    recent = recent_weeks(res, db, week, as_of)
    threshold = rules.get(db).unusual
    lines = []
    for (of, store, item), each in sorted(thoughts.items()):
        if of != str(week):
            continue
        demand = demand_of(each)
        before = thoughts.get((str(week.buffer), store, item))
        stock = None
        if (store, item) in on_hand and before is not None:
            stock = ordering.Stock(float(on_hand[store, item]), float(coming.get((store, item), 0)), before.mean)
        made = ordering.propose(demand, rules_of(items[item]), stock)
        units = recent.get((store, item), [])
        unusual, why = ordering.unusual(made, demand, units, threshold)
        lines.append(
            OrderLine(
                week=str(week),
                store=store,
                item=item,
                case_units=items[item].case_units,
                proposed_cases=made.cases,
                cases=made.cases,
                recent_units=sum(units) / len(units) if units else 0.0,
                reason=made.reason,
                unusual=unusual,
                unusual_why=why,
                version=1,
            )
        )
    return lines


def arriving(res: Resources, db: Session, week: Week, as_of: datetime) -> dict[tuple[str, str], float]:
    """Units on order that arrive with the given week: our purchase orders when there are any, otherwise deliveries that are on record."""
    ours = select(PurchaseOrder.store, PurchaseOrderLine.item, PurchaseOrderLine.units).join(
        PurchaseOrderLine, PurchaseOrderLine.number == PurchaseOrder.number
    )
    found: list[Any] = list(db.execute(ours.where(PurchaseOrder.week == str(week), PurchaseOrder.status == "issued")))
    if not found:
        known = res.warehouse.read(db, DELIVERIES, as_of=as_of, where="date = ?", params=(week.monday,))
        found = list(known.select("store", "item", "units").iter_rows())
    total: dict[tuple[str, str], float] = {}
    for store, item, units in found:
        total[store, item] = total.get((store, item), 0.0) + float(units)
    return total


def recent_weeks(res: Resources, db: Session, week: Week, as_of: datetime) -> dict[tuple[str, str], list[float]]:
    """Units of each of the last known whole weeks, oldest first, by store and item."""
    import polars as pl

    last = week.plus(-2)
    first = last.plus(1 - RECENT_WEEKS)
    sales = res.warehouse.read(db, SALES, as_of=as_of, where="date between ? and ?", params=(first.monday, last.sunday))
    weeks = sales.group_by("store", "item", pl.col("date").dt.truncate("1w").alias("monday")).agg(pl.col("units").sum()).sort("monday")
    found: dict[tuple[str, str], list[float]] = {}
    for store, item, _, units in weeks.select("store", "item", "monday", "units").iter_rows():
        found.setdefault((store, item), []).append(float(units))
    return found


def demand_of(each: Forecast) -> ordering.Demand:
    """A stored forecast as the ordering rule takes it."""
    return ordering.Demand(each.mean, (each.q01, each.q05, each.q10, each.q25, each.q50, each.q75, each.q90, each.q95, each.q99))


def rules_of(item: Item) -> ordering.ItemRules:
    """An item's master as the ordering rule takes it."""
    return ordering.ItemRules(
        item.case_units, item.min_cases, item.max_cases, item.shelf_life_days, item.shortage_cost_yen, item.leftover_cost_yen
    )


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
        return len(makers.issue(db, res.objects, week, now, by="tanuki"))


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
        db.execute(update(Cycle).where(Cycle.week == text).values(alert={"code": "stopped", "why": why}))


weekly_run = DBOS.workflow(name=WORKFLOW)(weekly)


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
        open_weeks = [parse_week(text) for text in db.scalars(select(Cycle.week).where(Cycle.state == "ordered").limit(20))]
    done = 0
    for week in open_weeks:
        with res.db.write() as db:
            if monitor.complete(db, res.warehouse, week, now):
                monitor.evaluate(db, res.warehouse, week, now)
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
