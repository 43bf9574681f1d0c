"""Drift and time start a retraining: the champion's kind of model learns what is known by now, and the gate decides whether it goes live.

Training never changes what is live by itself: a version that does not pass stays a challenger, and the alarms that asked for it say so.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import structlog
from dbos import DBOS

from tanuki.platform.accounts import SYSTEM
from tanuki.platform.durable_steps import durable, observed
from tanuki.platform.mlops import release
from tanuki.platform.mlops.registry import CHAMPION
from tanuki.platform.resources import Resources, current
from tanuki.shop import forecasts, gate, panel
from tanuki.shop.calendar import TOKYO, Week, parse_week, week_to_order
from tanuki.shop.monitoring import alerts
from tanuki.shop.monitoring.alerts import RETRAIN

log = structlog.get_logger()


def step(function: Callable[..., Any]) -> Callable[..., Any]:
    """A durable step of a retraining: retried with growing pauses, unless a person must mend something first."""

    @durable(f"retrain_{function.__name__}", attempts=3)
    @wraps(function)
    def run(text: str, *more: Any) -> Any:
        with observed(RETRAIN, function.__name__, alerts.retrain_id(text)):
            return function(current(), parse_week(text), datetime.now(UTC), *more)

    return run


def retrain(text: str) -> str:
    """Train as if to order a week, judge, and say what came of it."""
    version = train(text)
    go = judge(text, version)
    tell(text, version, go)
    return "GO" if go else "NO-GO"


@step
def train(res: Resources, week: Week, now: datetime) -> str:
    """The champion's kind of model, fitted on what is known now and registered; gives its version."""
    with res.db.read() as db:
        history = panel.load(db, res.warehouse, as_of=now)
    kind = forecasts.champion(res.registry)[0].name
    return forecasts.train(history, res.registry, kind, week).version


@step
def judge(res: Resources, week: Week, now: datetime, version: str) -> bool:
    """The gate's verdict, on record; on GO the version is live. A version that this step has judged before is not judged again."""
    with res.db.read() as db:
        known = release.latest(db, forecasts.REGISTERED, version)
        history, prices = panel.load(db, res.warehouse, as_of=now), gate.costs(db)
    found = gate.judged(history, prices, res.registry, version) if known is None else None
    with res.db.write() as db:
        verdict = (
            release.keep(db, forecasts.REGISTERED, found, by=SYSTEM.name, now=now)
            if found is not None
            else release.latest(db, forecasts.REGISTERED, version)
        )
        assert verdict is not None
        if verdict.go and CHAMPION not in res.registry.get(forecasts.REGISTERED, version).aliases:
            release.release(db, res.registry, SYSTEM, verdict, now)
        return verdict.go


@step
def tell(res: Resources, week: Week, now: datetime, version: str, go: bool) -> None:
    """What came of it, on the alarms that asked for it."""
    with res.db.write() as db:
        alerts.retrained(db, str(week), version, go=go)
    log.info("model retrained", week=str(week), version=version, go=go)


retrain_run = DBOS.workflow(name=RETRAIN)(retrain)


# ---- by the clock --------------------------------------------------------------------------------------------------


@DBOS.workflow(name="watch")
def watch_hourly(due: datetime, _context: Any) -> int:
    """Every hour, after the evaluation: look, and start what is due."""
    return look(due.isoformat())


@DBOS.step(name="look")
def look(_due: str) -> int:
    """Raise and end alarms; gives how many were raised."""
    res = current()
    with res.db.write() as db:
        raised = alerts.watch(db, res.warehouse, res.work, datetime.now(UTC))
        for alarm in raised:
            log.warning("alarm raised", code=alarm.code, subject=alarm.subject, week=alarm.week)
    return len(raised)


@DBOS.workflow(name="retrain-monthly")
def retrain_monthly(due: datetime, _context: Any) -> None:
    """Every month: train again, drift or not. A week that drift has retrained already is not trained twice."""
    begin(str(week_to_order(due.astimezone(TOKYO).date())))


@DBOS.step(name="begin_retraining")
def begin(week: str) -> None:
    """Enqueue a week's retraining."""
    with current().db.write() as db:
        current().work.enqueue(db, RETRAIN, alerts.retrain_id(week), week)


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": "shop-watch",
        "workflow_fn": watch_hourly,
        "schedule": "20 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
    {
        "schedule_name": "shop-retrain",
        "workflow_fn": retrain_monthly,
        "schedule": "30 3 1 * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
