"""Every hour: events go to the warehouse, limits that are over and old answers of models are forgotten, and the head of the trail is noted in the log."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import structlog
from dbos import DBOS
from sqlalchemy import delete, select

from tanuki.errors import Conflict
from tanuki.platform import audit_log, rate_limit
from tanuki.platform import log as log_file
from tanuki.platform.event_log import Event
from tanuki.platform.mlops import guardrails, release, rollout
from tanuki.platform.resources import Resources, current
from tanuki.platform.serving import shadow_replay

log = structlog.get_logger()

EXPORT = "events-export"
AT_ONCE = 50_000  # events in one file
LATELY = timedelta(hours=3)
DELETED_AT_ONCE = 5_000  # a database takes only so many values in one statement


def run_id(moment: datetime) -> str:
    """The export of an hour: `events-2021-01-11T03`, in UTC."""
    return f"events-{moment.astimezone(UTC):%Y-%m-%dT%H}"


def step(function: Callable[..., Any]) -> Callable[..., Any]:
    """A durable step, retried with growing pauses."""

    @DBOS.step(
        name=f"hourly_{function.__name__}",
        retries_allowed=True,
        max_attempts=5,
        interval_seconds=1.0,
        backoff_rate=3.0,
    )
    @wraps(function)
    def run(*given: Any) -> Any:
        return function(current(), *given, datetime.now(UTC))

    return run


@DBOS.workflow(name=EXPORT)
def export(source: str) -> int:
    """All events that are there, kind by kind; gives how many. What a crash leaves undone the same run does, or the next hour's."""
    log_file.bind(run_id=source)
    total = 0
    for kind in kinds_waiting():
        while moved := move(kind, source):
            total += moved
    tidy()
    return total


def export_now(res: Resources, now: datetime, source: str = "export") -> int:
    """The same at once, for commands and tests."""
    total = 0
    for kind in waiting(res):
        while moved := move_some(res, kind, source, now):
            total += moved
    return total


@step
def kinds_waiting(res: Resources, _now: datetime) -> list[str]:
    """Kinds of which there are events."""
    return waiting(res)


@step
def move(res: Resources, kind: str, source: str, now: datetime) -> int:
    """Some events of a kind go to the warehouse; gives how many."""
    return move_some(res, kind, source, now)


@step
def tidy(res: Resources, now: datetime) -> None:
    """Forget limits that are over and old answers of models, let the registry know what servers changed by themselves, and note the trail's head
    where nobody who changes the database changes it."""
    with res.db.write() as db:
        rate_limit.forget(db, now)
        shadow_replay.forget(db, now)
        guardrails.forget(db, now)
        entries, digest = audit_log.head(db)
    with res.db.read() as db:
        changed = [plan for plan in rollout.plans(db) if plan.at > now - LATELY]
    for plan in changed:
        release.align(res.registry, plan)
    log.info("trail stands", entries=entries, digest=digest)


def waiting(res: Resources) -> list[str]:
    """Kinds of which there are events."""
    with res.db.read() as db:
        return list(db.scalars(select(Event.kind).distinct().order_by(Event.kind)))


def move_some(res: Resources, kind: str, source: str, now: datetime) -> int:
    """Some events of a kind become facts, and are deleted in the transaction that makes the facts count; gives how many.

    The file is written before, so that nobody waits for it. Should another export have taken some of them meanwhile, nothing is done.
    """
    declared = res.events.kind(kind)
    with res.db.read() as db:
        found = db.scalars(
            select(Event).where(Event.kind == kind).order_by(Event.id).limit(AT_ONCE)
        ).all()
    ready = res.warehouse.prepare(declared.table, declared.facts(found), recorded_at=now)
    with res.db.write() as db:
        gone = 0
        for start in range(0, len(found), DELETED_AT_ONCE):
            ids = [event.id for event in found[start : start + DELETED_AT_ONCE]]
            gone += len(
                db.scalars(delete(Event).where(Event.id.in_(ids)).returning(Event.id)).all()
            )
        if gone != len(found):
            raise Conflict(
                "Another export is moving the same events; the next one moves what is left."
            )
        res.warehouse.count(db, declared.table, ready, source=source)
    if found:
        log.info("events exported", kind=kind, count=len(found))
    return len(found)


# ---- by the clock --------------------------------------------------------------------------------------------------


@DBOS.workflow(name="hourly")
def hourly(due: datetime, _context: Any) -> None:
    """Begin the hour's export; one that has begun is not begun again."""
    begin(run_id(due))


@DBOS.step(name="begin_export")
def begin(run: str) -> None:
    """Enqueue an export."""
    with current().db.write() as db:
        current().work.enqueue(db, EXPORT, run, run)


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": "hourly",
        "workflow_fn": hourly,
        "schedule": "5 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
