"""One week of the shop, from the sales to the purchase orders: the durable run `weekly-<week>`.

Read `weekly` from top to bottom. Each step is one transaction and one record. A process that dies
goes on at the step it was in, and a repeated step leaves the same rows as the first time. People's
decisions are in the cycle's row; a message only wakes the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from dbos import DBOS, SetWorkflowID
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.i18n import TOKYO
from tanuki.platform import metrics
from tanuki.platform.durable_steps import durable_step
from tanuki.platform.jobs import PART_SEPARATOR, PARTS_QUEUE, Jobs
from tanuki.platform.resources import Resources
from tanuki.shop import evaluation, forecasts, orders, purchase_orders, rules
from tanuki.shop.calendar import Week, clock, parse_week, week_to_order
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.orders import CycleAlert
from tanuki.shop.proposals import propose_week
from tanuki.shop.tables import (
    Confirmation,
    Cycle,
    CycleState,
    OrderLine,
    QuarantinedRow,
    QuarantineStatus,
)

if TYPE_CHECKING:
    import polars as pl

log = structlog.get_logger()

WORKFLOW = "weekly"
# The time that people get when a week is started after its clock.
LATE_CHECK_TIME = timedelta(hours=2)
LATE_CONFIRM_TIME = timedelta(hours=1)
HELD_POLL_SECONDS = 6 * 3600.0  # a week that waits without a deadline also wakes by itself
CHECKED_WEEKS = 9  # of sales, up to the cut-off, that the data check reads
MAX_CYCLES_SHOWN = 60
MAX_WEEKS_PER_EVALUATION = 20


# ---- starting ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CycleStart:
    """Who starts a week and when, and how it runs.

    as_of: facts recorded later are not used; `now` unless given.
    auto: wait for nobody. hours: the time that people get for each of their two turns, instead of
    the clock's deadlines.
    """

    by: str
    now: datetime
    as_of: datetime | None = None
    auto: bool = False
    hours: float | None = None


def start_cycle(db: Session, jobs: Jobs, week: Week, start: CycleStart) -> Cycle:
    """Start a week's cycle, or give the one that was started before.

    Raises UserError when the days of the sales that it needs are not over.
    """
    cycle = db.get(Cycle, str(week))
    if cycle is not None:
        return cycle
    if week.cutoff >= start.now.astimezone(TOKYO).date():
        raise UserError(
            "%(week)s is ordered on %(day)s; the sales it needs, up to %(cutoff)s, "
            "are not over yet.",
            week=week,
            day=week.order_day,
            cutoff=week.cutoff,
        )
    cycle = Cycle(
        week=str(week),
        state=CycleState.STARTED,
        cutoff=week.cutoff,
        as_of=start.as_of or start.now,
        auto=start.auto,
        started_by=start.by,
        started_at=start.now,
        findings=[],
        **plan_deadlines(week, start.now, start.hours),
    )
    db.add(cycle)
    db.flush()
    jobs.enqueue(db, WORKFLOW, orders.weekly_run_id(week), str(week))
    return cycle


def plan_deadlines(week: Week, now: datetime, hours: float | None) -> dict[str, datetime]:
    """The week's times: the clock's when it starts early enough, otherwise counted from now on."""
    times = clock(week)
    if hours is None and now <= times.forecast:
        return {
            "forecast_due": times.forecast,
            "check_due": times.check_due,
            "release_at": times.release,
            "confirm_due": times.confirm_due,
        }
    check_due = now + (timedelta(hours=hours) if hours is not None else LATE_CHECK_TIME)
    confirm_time = timedelta(hours=hours) if hours is not None else LATE_CONFIRM_TIME
    return {
        "forecast_due": now,
        "check_due": check_due,
        "release_at": now,
        "confirm_due": check_due + confirm_time,
    }


def get_latest_cycle(db: Session) -> Cycle | None:
    """The newest week that was started."""
    return db.scalars(select(Cycle).order_by(Cycle.week.desc()).limit(1)).first()


def list_cycles(db: Session, limit: int = MAX_CYCLES_SHOWN) -> list[Cycle]:
    """Weeks that were started, newest first."""
    return list(db.scalars(select(Cycle).order_by(Cycle.week.desc()).limit(limit)))


# ---- the week ------------------------------------------------------------------------------------


def weekly(text: str) -> str:
    """One week. A repeated run leaves the same rows."""
    week = parse_week(text)
    try:
        # 10:00  Count and check the sales up to Sunday.
        aggregate_sales(week)
        # 11:00  Forecast the buffer week, the target week and both together.
        while (seconds := seconds_until_forecast(week)) > 0:
            DBOS.sleep(seconds)
        forecast_parts(week, list_parts(week))
        record_forecast(week)
        # Cases per store and item, with reasons.
        propose_orders(week)
        # 13:00  The analyst's check is due.
        while (seconds := seconds_until_checked(week)) > 0:
            DBOS.recv(orders.WAKE_TOPIC, timeout_seconds=seconds)
        # 14:00  The stores see the week.
        while (seconds := seconds_until_release(week)) > 0:
            DBOS.sleep(seconds)
        release_to_stores(week)
        # 15:00  The managers' confirmation is due. Stores that confirm later are ordered later.
        while (seconds := seconds_until_confirmed(week)) > 0:
            DBOS.recv(orders.WAKE_TOPIC, timeout_seconds=seconds)
            order_confirmed_stores(week)
        # The purchase orders are issued.
        order_confirmed_stores(week)
        return finish_week(week)
    except UserError as error:
        values = {name: str(value) for name, value in error.values.items()}
        record_failure(
            week, {"code": CycleAlert.STOPPED, "message": error.message, "values": values}
        )
        raise
    except Exception as error:
        record_failure(week, {"code": CycleAlert.FAILED, "error": type(error).__name__})
        raise


def forecast_parts(week: Week, parts: Sequence[list[str]]) -> None:
    """Forecast all parts of the chain: a single part here, several by all workers."""
    if len(parts) == 1:
        forecast_stores(week, parts[0])
        return
    handles = []
    for number, stores in enumerate(parts, start=1):
        with SetWorkflowID(f"{orders.weekly_run_id(week)}{PART_SEPARATOR}{number}"):
            handles.append(DBOS.enqueue_workflow(PARTS_QUEUE, run_forecast_part, str(week), stores))
    for handle in handles:
        handle.get_result()


step = durable_step(WORKFLOW, attempts=4)


@step
def aggregate_sales(res: Resources, now: datetime, week: Week) -> int:
    """Count the sales up to the cut-off and check them; the findings stay with the cycle."""
    with res.db.read() as db:
        cycle = orders.get_cycle(db, week)
        first = week.plus(-CHECKED_WEEKS).monday
        sales = res.warehouse.read_facts(
            db, SALES, as_of=cycle.as_of, where="date between ? and ?", params=(first, week.cutoff)
        )
        waiting = db.scalar(
            select(func.count())
            .select_from(QuarantinedRow)
            .where(QuarantinedRow.status == QuarantineStatus.WAITING)
        )
    if sales.is_empty():
        raise UserError(
            "There are no sales for the nine weeks up to %(day)s; "
            "import them, then resume the run.",
            day=week.cutoff,
        )
    findings = find_data_gaps(sales, week)
    if waiting:
        findings.append({"code": "quarantine", "rows": waiting})
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        if cycle.aggregated_at is None:
            cycle.state, cycle.aggregated_at = CycleState.AGGREGATED, now
            cycle.sales_rows, cycle.findings = sales.height, findings
            cycle.alert = None
    return sales.height


def find_data_gaps(sales: "pl.DataFrame", week: Week) -> list[dict[str, Any]]:
    """Stores that stopped sending sales, and days without any. Frame: date, store, item, units.

    Findings as codes with values; the pages have their sentences.
    """
    import polars as pl

    findings: list[dict[str, Any]] = []
    last_days = sales.group_by("store").agg(pl.col("date").max()).sort("store")
    for store, day in last_days.iter_rows():
        if day < week.cutoff:
            findings.append({"code": "stale_store", "store": store, "last": day.isoformat()})
    days = set(sales["date"].unique())
    first = min(days)
    missing = [
        day
        for ago in range(1, CHECKED_WEEKS)
        for day in week.buffer.plus(-ago).days
        if first <= day <= week.cutoff and day not in days
    ]
    if missing:
        findings.append(
            {"code": "missing_days", "days": len(missing), "first": min(missing).isoformat()}
        )
    return findings


@step
def seconds_until_forecast(res: Resources, now: datetime, week: Week) -> float:
    with res.db.read() as db:
        cycle = orders.get_cycle(db, week)
        return 0.0 if cycle.auto else max(0.0, (cycle.forecast_due - now).total_seconds())


@step
def list_parts(res: Resources, _now: datetime, week: Week) -> list[list[str]]:
    """The stores that are forecast together."""
    with res.db.read() as db:
        as_of = orders.get_cycle(db, week).as_of
        parts = forecasts.split_stores(db, res.warehouse, week, as_of=as_of)
    if not parts:
        raise UserError(
            "No sales up to %(cutoff)s are known, so %(week)s cannot be forecast; "
            "import them first.",
            cutoff=week.cutoff,
            week=week,
        )
    return parts


@step
def forecast_stores(res: Resources, _now: datetime, week: Week, stores: list[str]) -> int:
    """The champion's forecast for some stores, from only what was known at the cut-off."""
    with res.db.read() as db:
        cycle = orders.get_cycle(db, week)
        if cycle.forecast_at is not None or forecasts.has_forecast(db, week, stores):
            return 0
        frame, model, version = forecasts.make_forecast(
            db, res.warehouse, res.registry, week, as_of=cycle.as_of, stores=stores
        )
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        if cycle.forecast_at is None:
            forecasts.save_forecast(db, week, frame, model, cycle.as_of)
            cycle.model, cycle.model_version = model, version
    return frame.height


@step
def record_forecast(res: Resources, now: datetime, week: Week) -> None:
    """All parts are forecast."""
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        if cycle.forecast_at is None:
            cycle.state, cycle.forecast_at = CycleState.FORECAST, now
            log.info("week forecast", week=str(week), model=cycle.model)
        version = cycle.model_version
    if version is not None:
        metrics.set_model_version(forecasts.FORECAST_MODEL, "champion", int(version))


@step
def propose_orders(res: Resources, now: datetime, week: Week) -> int:
    """The order lines, with reasons and how unusual each is."""
    with res.db.read() as db:
        cycle = orders.get_cycle(db, week)
        if cycle.proposed_at is not None:
            return 0
        lines = propose_week(res, db, week, cycle.as_of)
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        if cycle.proposed_at is None:
            db.execute(delete(OrderLine).where(OrderLine.week == str(week)))
            db.add_all(lines)
            cycle.state, cycle.proposed_at = CycleState.PROPOSED, now
    return len(lines)


@step
def seconds_until_checked(res: Resources, now: datetime, week: Week) -> float:
    """Seconds to wait for the analyst.

    0 when the check is done, or when its deadline passed and the chain's rule lets the week go on.
    """
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        if cycle.state == CycleState.HELD:
            return HELD_POLL_SECONDS
        if cycle.state != CycleState.PROPOSED:
            return 0.0
        seconds = 0.0 if cycle.auto else (cycle.check_due - now).total_seconds()
        if seconds > 0:
            return seconds
        if cycle.auto or rules.load_rules(db).release_unchecked:
            cycle.state = CycleState.CHECKED
            return 0.0
        cycle.state, cycle.alert = CycleState.HELD, {"code": CycleAlert.UNCHECKED}
        log.warning("week held unchecked", week=str(week))
        return HELD_POLL_SECONDS


@step
def seconds_until_release(res: Resources, now: datetime, week: Week) -> float:
    with res.db.read() as db:
        cycle = orders.get_cycle(db, week)
        return 0.0 if cycle.auto else max(0.0, (cycle.release_at - now).total_seconds())


@step
def release_to_stores(res: Resources, now: datetime, week: Week) -> None:
    """The stores see the week. After a late check they still get their time to confirm."""
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        if cycle.released_at is None:
            cycle.state, cycle.released_at = CycleState.RELEASED, now
            if not cycle.auto:
                cycle.confirm_due = max(cycle.confirm_due, now + LATE_CONFIRM_TIME)


@step
def seconds_until_confirmed(res: Resources, now: datetime, week: Week) -> float:
    """Seconds to wait for the managers.

    0 when all have confirmed, or when the deadline passed and the chain's rule confirms for them.
    """
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        late = orders.list_unconfirmed_stores(db, week)
        if not late:
            return 0.0
        seconds = 0.0 if cycle.auto else (cycle.confirm_due - now).total_seconds()
        if seconds > 0:
            return seconds
        if cycle.auto or rules.load_rules(db).order_unconfirmed:
            db.add_all(Confirmation(week=str(week), store=store, by=None, at=now) for store in late)
            return 0.0
        cycle.alert = {"code": CycleAlert.UNCONFIRMED, "stores": ", ".join(late)}
        return HELD_POLL_SECONDS


@step
def order_confirmed_stores(res: Resources, now: datetime, week: Week) -> int:
    """Issue the purchase orders of confirmed stores; before the deadline only when all have."""
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        early = not cycle.auto and now < cycle.confirm_due
        if early and orders.list_unconfirmed_stores(db, week):
            return 0
        return len(purchase_orders.issue_purchase_orders(db, res.objects, week, now, by="tanuki"))


@step
def finish_week(res: Resources, now: datetime, week: Week) -> str:
    with res.db.write() as db:
        cycle = orders.lock_cycle(db, week)
        if cycle.ordered_at is None:
            cycle.state, cycle.ordered_at, cycle.alert = CycleState.ORDERED, now, None
            log.info("week ordered", week=str(week))
    return "ordered"


@step
def record_failure(res: Resources, _now: datetime, week: Week, alert: dict[str, Any]) -> None:
    """Put the failure on the cycle. Its state stays, so that a resumed run goes on from there."""
    with res.db.write() as db:
        cycle = db.get(Cycle, str(week))
        if cycle is not None:
            cycle.alert = alert


weekly_run = DBOS.workflow(name=WORKFLOW)(weekly)


@DBOS.workflow(name="forecast-part")
def run_forecast_part(text: str, stores: list[str]) -> int:
    """One part of a large chain's forecast; any worker takes it."""
    return forecast_stores(parse_week(text), stores)


# ---- by the clock --------------------------------------------------------------------------------


@DBOS.workflow(name="start-week")
def start_week_by_clock(due: datetime, _context: Any) -> None:  # noqa: ANN401 DBOS's own signature
    """Monday, 10:00: start the week that is ordered today."""
    start_due_week(week_to_order(due.astimezone(TOKYO).date()))


@step
def start_due_week(res: Resources, now: datetime, week: Week) -> None:
    """Start a week, unless its order day was in an earlier week: then people must decide."""
    if week == week_to_order(now.astimezone(TOKYO).date()):
        with res.db.write() as db:
            start_cycle(db, res.jobs, week, CycleStart("clock", now))


@DBOS.workflow(name="evaluate-due")
def evaluate_hourly(_due: datetime, _context: Any) -> int:  # noqa: ANN401 DBOS's own signature
    """Every hour: evaluate ordered weeks whose sales have all arrived."""
    return evaluate_complete_weeks()


@step
def evaluate_complete_weeks(res: Resources, now: datetime) -> int:
    """Evaluate the ordered weeks whose sales have all arrived. Returns their number."""
    with res.db.read() as db:
        query = select(Cycle.week).where(Cycle.state == CycleState.ORDERED)
        weeks = [parse_week(text) for text in db.scalars(query.limit(MAX_WEEKS_PER_EVALUATION))]
    count = 0
    for week in weeks:
        with res.db.write() as db:
            if evaluation.has_all_sales(db, res.warehouse, week, now):
                evaluation.evaluate_week(db, res.warehouse, week, now)
                count += 1
    return count


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": "shop-week",
        "workflow_fn": start_week_by_clock,
        "schedule": "0 10 * * 1",
        "context": None,
        "automatic_backfill": True,
        "cron_timezone": "Asia/Tokyo",
    },
    {
        "schedule_name": "shop-evaluate",
        "workflow_fn": evaluate_hourly,
        "schedule": "5 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
