"""Alerts: deviations of forecasts, costs and sales that people see until they are over.

They are about bias, coverage, cost, drift and sales that do not arrive. Each compares the last
weeks with a named reference and says what to do.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import TOKYO
from tanuki.platform import metrics
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.warehouse import Warehouse
from tanuki.shop import panel
from tanuki.shop.calendar import Week, parse_week, week_of
from tanuki.shop.ingest.loading import PRICES, PROMOTIONS, SALES
from tanuki.shop.monitoring import detectors
from tanuki.shop.monitoring.detectors import DETECTOR_LIMITS, Signal, WeeklyCounts
from tanuki.shop.monitoring.messages import RetrainingState
from tanuki.shop.store_access import CHAIN_ROLES
from tanuki.shop.tables import Alert, AlertCode, Cycle, CycleState, Evaluation, Forecast

if TYPE_CHECKING:
    from tanuki.platform.jobs import Jobs

RETRAIN_WORKFLOW = "retrain"  # see retraining.py
RETRAINING_CODES = (AlertCode.BIAS, AlertCode.COVERAGE, AlertCode.DRIFT)  # alerts that start it
# The sales that are read: the reference weeks, and the same season a year ago.
SALES_WINDOW = timedelta(weeks=58)
EVALUATED_LINE_SCHEMA = {
    **dict.fromkeys(("week", "store", "item"), pl.String),
    **dict.fromkeys(("actual", "forecast", "q10", "q50", "q90"), pl.Float64),
    **dict.fromkeys(("cost", "proposed", "expected", "baseline"), pl.Float64),
}
MAX_OPEN_ALERTS = 200
MAX_CLOSED_ALERTS = 20


@dataclass(frozen=True)
class ScanResult:
    """The signals of a scan, and the week that the newest sales allow to order."""

    signals: list[Signal]
    next_week: Week | None


@dataclass(frozen=True)
class Retraining:
    """A retraining that an alert started, as it is stored with the alert."""

    state: RetrainingState
    week: str
    version: str | None = None


# ---- scanning ------------------------------------------------------------------------------------


def scan_signals(db: Session, warehouse: Warehouse, now: datetime) -> ScanResult:
    """The signals of all detectors."""
    today = now.astimezone(TOKYO).date()
    lines = load_evaluated_lines(db)
    signals = [*detectors.detect_forecast_signals(lines), *detectors.detect_demand_drift(lines)]
    ordered = db.scalars(select(Cycle.week).where(Cycle.state == CycleState.ORDERED))
    signals += detectors.detect_overdue_weeks(ordered, today)
    sales = warehouse.read_facts(
        db, SALES, as_of=now, where="date >= ?", params=(today - SALES_WINDOW,)
    ).filter(pl.col("units") > 0)
    if sales.is_empty():
        return ScanResult(signals, None)
    last_days = dict(sales.group_by("store").agg(pl.col("date").max()).iter_rows())
    until = last_whole_week(max(last_days.values()))
    weekly = sales.group_by("store", "item", pl.col("date").dt.truncate("1w").alias("monday")).agg(
        pl.col("units").sum()
    )
    silent_stores = set(last_days) - set(weekly.filter(pl.col("monday") == until.monday)["store"])
    signals += detectors.detect_silent_stores(last_days)
    signals += detectors.detect_missing_items(weekly, until, silent_stores)
    signals += scan_inputs(db, warehouse, weekly, until, now)
    return ScanResult(signals, until.plus(2))


def load_evaluated_lines(db: Session) -> pl.DataFrame:
    """The lines of the last evaluated weeks with their 80 % bands, as detectors take them."""
    weeks = list(
        db.scalars(
            select(Evaluation.week)
            .distinct()
            .order_by(Evaluation.week.desc())
            .limit(DETECTOR_LIMITS.weeks + DETECTOR_LIMITS.before)
        )
    )
    e, f = Evaluation, Forecast
    query = (
        select(
            e.week,
            e.store,
            e.item,
            e.actual,
            e.forecast,
            f.q10,
            f.q50,
            f.q90,
            e.cost_yen,
            e.proposed_cost_yen,
            e.expected_cost_yen,
            e.baseline_cost_yen,
        )
        .outerjoin(
            f, (f.cycle == e.week) & (f.week == e.week) & (f.store == e.store) & (f.item == e.item)
        )
        .where(e.week.in_(weeks))
        .order_by(e.week, e.store, e.item)
    )
    lines = [tuple(line) for line in db.execute(query)]
    return pl.DataFrame(lines, schema=EVALUATED_LINE_SCHEMA, orient="row")


def scan_inputs(
    db: Session, warehouse: Warehouse, weekly: pl.DataFrame, until: Week, now: datetime
) -> list[Signal]:
    """Drift of prices, of promotions and of the items' shares in sales.

    Weekly: store, item, monday, units.
    """
    mondays = weekly.select(pl.col("monday").alias("date"), "store", "item").filter(
        pl.col("date") <= until.monday
    )
    first = parse_week(detectors.list_periods(until).reference[0]).monday
    prices = warehouse.read_facts(db, PRICES, as_of=now).drop("recorded_at")
    in_force = panel.expand_prices(mondays.filter(pl.col("date") >= first), prices)
    promotions = warehouse.read_facts(db, PROMOTIONS, as_of=now).drop("recorded_at")
    days = mondays.select(
        pl.date_ranges("date", pl.col("date") + pl.duration(days=6)).alias("date"), "store", "item"
    ).explode("date")
    promoted = panel.expand_promotions(days, promotions).unique(
        ["date", "store", "item"], keep="first", maintain_order=True
    )
    kinds = days.join(promoted, on=["date", "store", "item"], how="left").select(
        pl.col("date").dt.truncate("1w").alias("monday"), pl.col("kind").fill_null("none")
    )
    return [
        *detectors.detect_price_drift(in_force, until),
        *detectors.detect_share_drift("promotions", count_by_week(kinds, "kind", pl.len()), until),
        *detectors.detect_share_drift(
            "mix", count_by_week(weekly, "item", pl.col("units").sum()), until
        ),
    ]


def count_by_week(frame: pl.DataFrame, category: str, count: pl.Expr) -> WeeklyCounts:
    """A count for each category in each week. Frame: monday and the category's column."""
    counts: WeeklyCounts = {}
    for monday, name, n in frame.group_by("monday", category).agg(count.alias("n")).iter_rows():
        counts.setdefault(str(week_of(monday)), {})[name] = float(n)
    return counts


def last_whole_week(day: date) -> Week:
    """The last week that is over at the end of a day."""
    return week_of(day) if day.weekday() == 6 else week_of(day).plus(-1)


# ---- alerts --------------------------------------------------------------------------------------


def update_alerts(db: Session, warehouse: Warehouse, jobs: "Jobs", now: datetime) -> list[Alert]:
    """Scan, open and close alerts, and start a retraining that is due. Returns the new alerts."""
    result = scan_signals(db, warehouse, now)
    opened = record_signals(db, result.signals, now)
    due = list(
        db.scalars(select(Alert).where(Alert.closed_at.is_(None), Alert.code.in_(RETRAINING_CODES)))
    )
    if due and result.next_week is not None:
        week = str(result.next_week)
        enqueue_retraining(db, jobs, result.next_week)
        for alert in due:
            if alert.values.get("retraining", {}).get("week") != week:
                set_retraining(alert, Retraining(RetrainingState.STARTED, week))
    update_open_alert_metric(db)
    return opened


def enqueue_retraining(db: Session, jobs: "Jobs", week: Week) -> None:
    """Start a week's retraining; a week is retrained once, however often this is called."""
    jobs.enqueue(db, RETRAIN_WORKFLOW, retraining_run_id(week), str(week))


def retraining_run_id(week: Week) -> str:
    return f"{RETRAIN_WORKFLOW}-{week}"


def record_signals(db: Session, signals: Sequence[Signal], now: datetime) -> list[Alert]:
    """Open alerts for new signals, refresh those that persist, and close the others.

    An alert that a person closed is not opened again for the same week. Returns the new alerts.
    """
    open_alerts: dict[tuple[str, str], Alert] = {}
    for alert in db.scalars(
        select(Alert).where(Alert.closed_at.is_(None)).order_by(Alert.id).with_for_update()
    ):
        if open_alerts.setdefault((alert.code, alert.subject), alert) is not alert:
            alert.closed_at = now  # two scans at the same moment had opened it twice
    opened = []
    for signal in signals:
        known = open_alerts.pop((signal.code, signal.subject), None)
        if known is not None:
            retraining = {
                name: value for name, value in known.values.items() if name == "retraining"
            }
            known.week, known.last_seen_at = signal.week, now
            known.values = {**signal.values, **retraining}
        elif not is_closed_by_person(db, signal):
            alert = Alert(
                code=signal.code,
                subject=signal.subject,
                week=signal.week,
                values=signal.values,
                opened_at=now,
                last_seen_at=now,
            )
            opened.append(alert)
    for alert in open_alerts.values():
        alert.closed_at = now
    db.add_all(opened)
    db.flush()
    return opened


def is_closed_by_person(db: Session, signal: Signal) -> bool:
    """Whether a person has closed this alert for this week."""
    query = select(Alert.id).where(
        Alert.code == signal.code,
        Alert.subject == signal.subject,
        Alert.week == signal.week,
        Alert.closed_by.is_not(None),
    )
    return db.scalars(query.limit(1)).first() is not None


def close_alert(db: Session, person: Person, alert_id: int, *, why: str, now: datetime) -> Alert:
    """Close an alert by a person's decision, with the reason."""
    require_role(person, *CHAIN_ROLES)
    if not why.strip():
        raise UserError("Please say why the alert is closed.")
    alert = db.scalars(select(Alert).where(Alert.id == alert_id).with_for_update()).first()
    if alert is None:
        raise NotFound("There is no alert %(alert)s.", alert=alert_id)
    if alert.closed_at is not None:
        raise Conflict("Alert %(alert)s is closed already.", alert=alert_id)
    alert.closed_at, alert.closed_by, alert.why = now, person.name, why.strip()
    db.flush()
    update_open_alert_metric(db)
    return alert


def list_alerts(db: Session, person: Person) -> tuple[list[Alert], list[Alert]]:
    """The open alerts, newest first, and those closed last."""
    require_role(person, *CHAIN_ROLES)
    open_alerts = db.scalars(
        select(Alert)
        .where(Alert.closed_at.is_(None))
        .order_by(Alert.opened_at.desc(), Alert.id.desc())
        .limit(MAX_OPEN_ALERTS)
    )
    closed_alerts = db.scalars(
        select(Alert)
        .where(Alert.closed_at.is_not(None))
        .order_by(Alert.closed_at.desc(), Alert.id.desc())
        .limit(MAX_CLOSED_ALERTS)
    )
    return list(open_alerts), list(closed_alerts)


def list_weekly_metrics(db: Session, person: Person) -> list[dict[str, Any]]:
    """The last evaluated weeks, oldest first; columns as in `detectors.summarise_by_week`."""
    require_role(person, *CHAIN_ROLES)
    return detectors.summarise_by_week(load_evaluated_lines(db)).to_dicts()


def record_retraining(db: Session, retraining: Retraining) -> None:
    """Put a retraining's result on the open alerts that start one."""
    for alert in db.scalars(
        select(Alert)
        .where(Alert.closed_at.is_(None), Alert.code.in_(RETRAINING_CODES))
        .with_for_update()
    ):
        set_retraining(alert, retraining)


def set_retraining(alert: Alert, retraining: Retraining) -> None:
    values = {name: value for name, value in asdict(retraining).items() if value is not None}
    alert.values = {**alert.values, "retraining": values}


def update_open_alert_metric(db: Session) -> None:
    codes = list(db.scalars(select(Alert.code).where(Alert.closed_at.is_(None))))
    for code in AlertCode:
        metrics.set_open_alerts("shop", code, codes.count(code))
