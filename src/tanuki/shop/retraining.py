"""Retraining, by alerts and every month; the gate decides whether the new version goes live.

The champion's kind of model is trained on what is known by now. Training alone changes nothing that
is live: a version that does not pass the gate stays a challenger, and the alerts that started the
retraining show that.
"""

from datetime import datetime
from typing import Any

import structlog
from dbos import DBOS

from tanuki.i18n import TOKYO
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.durable_steps import durable_step
from tanuki.platform.resources import Resources
from tanuki.shop import forecasts, panel
from tanuki.shop.calendar import Week, parse_week, week_to_order
from tanuki.shop.monitoring import alerts
from tanuki.shop.monitoring.alerts import RETRAIN_WORKFLOW, Retraining
from tanuki.shop.monitoring.messages import RetrainingState

log = structlog.get_logger()

step = durable_step(RETRAIN_WORKFLOW, attempts=4)


def retrain(text: str) -> str:
    """Train a version as if to order a week, evaluate it, and on GO release it."""
    week = parse_week(text)
    version = train_version(week)
    go = evaluate_version(version)
    record_on_alerts(week, version, go)
    return "GO" if go else "NO-GO"


@step
def train_version(res: Resources, now: datetime, week: Week) -> str:
    """Fit the champion's kind of model and register it as the challenger. Returns its version."""
    with res.db.read() as db:
        history = panel.load_history(db, res.warehouse, as_of=now)
    model, _ = forecasts.load_champion(res.registry)
    return forecasts.train_challenger(history, res.registry, model.name, week).version


@step
def evaluate_version(res: Resources, now: datetime, version: str) -> bool:
    """Evaluate the version and, on GO, release it. Returns whether it was GO."""
    outcome = res.lifecycle.evaluate_and_release(
        forecasts.FORECAST_MODEL, version, actor=SYSTEM, now=now
    )
    return outcome.verdict.go


@step
def record_on_alerts(res: Resources, _now: datetime, week: Week, version: str, go: bool) -> None:
    """Put the result on the alerts that started the retraining."""
    state = RetrainingState.GO if go else RetrainingState.NO_GO
    with res.db.write() as db:
        alerts.record_retraining(db, Retraining(state, str(week), version))
    log.info("model retrained", week=str(week), version=version, go=go)


retrain_run = DBOS.workflow(name=RETRAIN_WORKFLOW)(retrain)


# ---- by the clock --------------------------------------------------------------------------------


@DBOS.workflow(name="scan-alerts")
def scan_hourly(_due: datetime, _context: Any) -> int:  # noqa: ANN401 DBOS's own signature
    """Every hour, after the evaluation: update the alerts, and start a retraining that is due."""
    return scan_for_alerts()


@step
def scan_for_alerts(res: Resources, now: datetime) -> int:
    """Open and close alerts. Returns the number of new ones."""
    with res.db.write() as db:
        opened = alerts.update_alerts(db, res.warehouse, res.jobs, now)
        for alert in opened:
            log.warning("alert opened", code=alert.code, subject=alert.subject, week=alert.week)
    return len(opened)


@DBOS.workflow(name="retrain-monthly")
def retrain_monthly(due: datetime, _context: Any) -> None:  # noqa: ANN401 DBOS's own signature
    """Every month: train again, even without an alert. A week is retrained only once."""
    start_retraining(week_to_order(due.astimezone(TOKYO).date()))


@step
def start_retraining(res: Resources, _now: datetime, week: Week) -> None:
    with res.db.write() as db:
        alerts.enqueue_retraining(db, res.jobs, week)


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": "shop-alerts",
        "workflow_fn": scan_hourly,
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
