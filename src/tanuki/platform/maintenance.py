"""Hourly maintenance: exports events to the warehouse and deletes expired rows.

It also copies the servers' own rollbacks to the model registry, and writes the head of the audit
log into the log file, where who changes the database does not change it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from dbos import DBOS
from sqlalchemy import delete, select

from tanuki.errors import Conflict
from tanuki.platform import audit_log, rate_limit
from tanuki.platform import log as log_file
from tanuki.platform.durable_steps import durable_step
from tanuki.platform.event_log import Event
from tanuki.platform.mlops import guardrails, release, rollout
from tanuki.platform.resources import Resources
from tanuki.platform.serving import shadow_replay

log = structlog.get_logger()

EXPORT_WORKFLOW = "events-export"
STEP_ATTEMPTS = 5
EVENTS_PER_FILE = 50_000
EVENTS_PER_DELETE = 5_000  # a database takes only so many values in one statement
ALIGN_WINDOW = timedelta(hours=3)  # of rollout changes that are copied to the registry


def export_run_id(moment: datetime) -> str:
    """The run of an hour's export: `events-2021-01-11T03`, in UTC."""
    return f"events-{moment.astimezone(UTC):%Y-%m-%dT%H}"


@DBOS.workflow(name=EXPORT_WORKFLOW)
def export_events(source: str) -> int:
    """Export all events, kind by kind, then clean up. Returns the number of exported events.

    After a crash the same run goes on; the next hour's run also exports what is left.
    """
    log_file.bind_fields(run_id=source)
    total = 0
    for kind in list_event_kinds():
        while exported := export_batch(kind, source):
            total += exported
    clean_up()
    return total


def export_events_now(res: Resources, now: datetime, source: str = "export") -> int:
    """The same export without a durable run, for commands and tests."""
    total = 0
    for kind in load_event_kinds(res):
        while exported := export_to_warehouse(res, kind, source, now):
            total += exported
    return total


@durable_step(EXPORT_WORKFLOW, attempts=STEP_ATTEMPTS)
def list_event_kinds(res: Resources, _now: datetime) -> list[str]:
    return load_event_kinds(res)


@durable_step(EXPORT_WORKFLOW, attempts=STEP_ATTEMPTS)
def export_batch(res: Resources, now: datetime, kind: str, source: str) -> int:
    """Export up to one file of events. 0 also when a concurrent export took some of them."""
    try:
        return export_to_warehouse(res, kind, source, now)
    except Conflict:
        return 0


@durable_step(EXPORT_WORKFLOW, attempts=STEP_ATTEMPTS)
def clean_up(res: Resources, now: datetime) -> None:
    """Delete expired rows, align the registry with the servers, log the head of the audit log."""
    with res.db.write() as db:
        rate_limit.delete_expired_counters(db, now)
        shadow_replay.delete_old_predictions(db, now)
        guardrails.delete_old_counts(db, now)
        entries, digest = audit_log.load_head(db)
    with res.db.read() as db:
        changed = [plan for plan in rollout.list_rollouts(db) if plan.at > now - ALIGN_WINDOW]
    for plan in changed:
        release.align_aliases(res.registry, plan)
    log.info("audit log checked", entries=entries, digest=digest)


def load_event_kinds(res: Resources) -> list[str]:
    """The kinds of which there are events."""
    with res.db.read() as db:
        return list(db.scalars(select(Event.kind).distinct().order_by(Event.kind)))


def export_to_warehouse(res: Resources, kind: str, source: str, now: datetime) -> int:
    """Move up to one file of events of a kind to the warehouse. Returns their number.

    The file is written first, outside of any transaction. One transaction then deletes the events
    and makes the file count. Raises Conflict, and changes nothing, when a concurrent export has
    deleted some of the events meanwhile.
    """
    declared = res.events.find_kind(kind)
    with res.db.read() as db:
        events = db.scalars(
            select(Event).where(Event.kind == kind).order_by(Event.id).limit(EVENTS_PER_FILE)
        ).all()
    ready = res.warehouse.prepare_file(
        declared.table, declared.build_facts(events), recorded_at=now
    )
    with res.db.write() as db:
        deleted = 0
        for start in range(0, len(events), EVENTS_PER_DELETE):
            ids = [event.id for event in events[start : start + EVENTS_PER_DELETE]]
            statement = delete(Event).where(Event.id.in_(ids)).returning(Event.id)
            deleted += len(db.scalars(statement).all())
        if deleted != len(events):
            raise Conflict(
                "Another export is moving the same events. The next export moves what is left."
            )
        res.warehouse.register_file(db, declared.table, ready, source=source)
    if events:
        log.info("events exported", kind=kind, count=len(events))
    return len(events)


# ---- by the clock --------------------------------------------------------------------------------


@DBOS.workflow(name="hourly")
def start_hourly_run(due: datetime, _context: Any) -> None:  # noqa: ANN401 DBOS's own signature
    """Start the hour's export, unless it was started already."""
    enqueue_export(export_run_id(due))


@durable_step("hourly")
def enqueue_export(res: Resources, _now: datetime, run_id: str) -> None:
    with res.db.write() as db:
        res.jobs.enqueue(db, EXPORT_WORKFLOW, run_id, run_id)


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": "hourly",
        "workflow_fn": start_hourly_run,
        "schedule": "5 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
