"""Durable work on DBOS: start it in the transaction that makes it due, run it in workers, see it, cancel it, resume it.

DBOS keeps its own tables in our database (its own schema on PostgreSQL), so that a record and the work that follows from it
are committed together or not at all.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import structlog
from sqlalchemy import Engine, create_engine, delete, event, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import NotFound, UserError
from tanuki.platform.database.engine import Base, Database

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus

log = structlog.get_logger()

APPLICATION = "tanuki"
WORKFLOW_VERSION = "1"  # of the workflows' shapes: raise it when a running workflow could not go on in the new code
DEFAULT_QUEUE = "work"
PARTS_QUEUE = "parts"  # of large computations: each worker takes one at a time, as it fills a core and much memory
PART_SEPARATOR = "-part-"  # between a run's id and the number of its part
PROMPT_QUEUE = "prompt"  # short runs that somebody waits for: many at a time, and looked for often
POLL_SECONDS = 0.25
PROMPT_POLL_SECONDS = 0.1
PROMPT_QUEUE_CONCURRENCY = 16
HEARTBEAT_SECONDS = 5.0
HEARTBEAT_TIMEOUT = timedelta(seconds=30)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
ACTIVE = ("ENQUEUED", "PENDING", "DELAYED")
RUN_STATUSES = {
    "ENQUEUED": "queued",
    "DELAYED": "queued",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "given up",
}


class WorkerHeartbeat(Base):
    """A worker that is alive says so; when it no longer does, the others take over what it was running."""

    __tablename__ = "worker_beat"

    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


@dataclass(frozen=True)
class Step:
    """One recorded step of a run."""

    name: str
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return (
            (self.completed_at - self.started_at).total_seconds()
            if self.started_at and self.completed_at
            else None
        )


@dataclass(frozen=True)
class Run:
    """One durable run. Status is queued, running, done, failed, cancelled or given up."""

    id: str
    name: str
    status: str
    created_at: datetime | None
    updated_at: datetime | None
    error: str | None
    executor: str | None
    steps: list[Step] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """From its start to its last change."""
        return (
            (self.updated_at - self.created_at).total_seconds()
            if self.created_at and self.updated_at
            else None
        )


class Jobs:
    """The durable work of this installation, from outside: any process may ask, only workers run it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def client(self) -> "DBOSClient":
        """DBOS's client, made when first used."""
        from dbos import DBOSClient

        return DBOSClient(system_database_url=self.url, application_name=APPLICATION)

    def enqueue(
        self, db: Session, name: str, run_id: str, *args: Any, queue: str = DEFAULT_QUEUE
    ) -> None:
        """Start the workflow `name` as `run_id` when this transaction commits. The same id again is the same run."""
        options: Any = {
            "queue_name": queue,
            "workflow_name": name,
            "workflow_id": run_id,
            "app_version": WORKFLOW_VERSION,
        }
        self.client.enqueue_in_transaction(db.connection(), options, *args)

    def send_message(
        self, db: Session, run_id: str, message: Any, topic: str, key: str | None = None
    ) -> None:
        """Tell a run something when this transaction commits; the same key again is the same message."""
        self.client.send_in_transaction(
            db.connection(), run_id, message, topic=topic, idempotency_key=key
        )

    def list_runs(
        self,
        *,
        status: str | None = None,
        name: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Run]:
        """Runs, newest first."""
        wanted = [raw for raw, shown in RUN_STATUSES.items() if shown == status] if status else None
        if wanted == []:
            raise UserError(
                "%(status)s is not a status; expected one of %(known)s.",
                status=status,
                known=", ".join(sorted(set(RUN_STATUSES.values()))),
            )
        found = self.client.list_workflows(
            status=wanted,
            name=name,
            limit=limit,
            offset=offset,
            sort_desc=True,
            load_input=False,
            load_output=False,
        )
        return [run_from_record(status) for status in found]

    def load_run_statuses(self, run_ids: Collection[str]) -> dict[str, str]:
        """The statuses of those of the runs that there are."""
        found = (
            self.client.list_workflows(
                workflow_ids=list(run_ids), load_input=False, load_output=False
            )
            if run_ids
            else []
        )
        return {run.workflow_id: RUN_STATUSES[run.status] for run in found}

    def load_run(self, run_id: str) -> Run:
        """One run with its steps."""
        found = self.client.list_workflows(workflow_ids=[run_id], load_input=False)
        if not found:
            raise NotFound("There is no run %(run)s.", run=run_id)
        return run_from_record(
            found[0],
            [
                step_from_record(cast(dict[str, Any], step))
                for step in self.client.list_workflow_steps(run_id)
            ],
        )

    def cancel_run(self, run_id: str) -> Run:
        """Stop a run before its next step; what it did stays."""
        self.load_run(run_id)
        self.client.cancel_workflow(run_id)
        return self.load_run(run_id)

    def resume_run(self, run_id: str) -> Run:
        """Let a cancelled or given-up run go on at the step it was in. A failed one is run again from its failed step."""
        run, queue = (
            self.load_run(run_id),
            PARTS_QUEUE if PART_SEPARATOR in run_id else DEFAULT_QUEUE,
        )
        for part in self.client.list_workflows(
            workflow_id_prefix=f"{run_id}{PART_SEPARATOR}",
            status=["ERROR", "CANCELLED"],
            load_input=False,
        ):
            self.resume_run(part.workflow_id)
        if run.status == "failed":
            self.client.rewind_workflow(
                run_id,
                start_step=first_failed_step(self.client.list_workflow_steps(run_id)),
                queue_name=queue,
            )
        else:
            self.client.resume_workflow(run_id, queue_name=queue)
        return self.load_run(run_id)

    def resume_failed_runs(self, name: str, *, before: datetime) -> int:
        """Let the runs of a workflow that failed or were given up, and have rested since before a moment, go on; gives how many."""
        ended = [
            run
            for status in ("failed", "given up")
            for run in self.list_runs(status=status, name=name)
        ]
        rested = [run for run in ended if run.updated_at is None or run.updated_at < before]
        for run in rested:
            self.resume_run(run.id)
        return len(rested)

    def wait_for_run(
        self, run_id: str, *, seconds: float, until: Callable[[], bool] = lambda: False
    ) -> Run:
        """Wait until a run has ended, `until` is true, or the seconds are over; gives the run as it then is."""
        end = time.monotonic() + seconds
        while True:
            run = self.load_run(run_id)
            if run.status not in ("queued", "running") or until() or time.monotonic() > end:
                return run
            time.sleep(POLL_SECONDS)

    def count_queued_runs(self) -> dict[str, int]:
        """How many runs wait in each queue."""
        waiting = self.client.list_workflows(
            status=["ENQUEUED", "DELAYED"], load_input=False, load_output=False
        )
        lengths: dict[str, int] = {DEFAULT_QUEUE: 0}
        for run in waiting:
            lengths[run.queue_name or DEFAULT_QUEUE] = (
                lengths.get(run.queue_name or DEFAULT_QUEUE, 0) + 1
            )
        return lengths

    def close(self) -> None:
        """Give connections back, if there ever were any."""
        if "client" in self.__dict__:
            self.client.destroy()
            del self.__dict__["client"]


def create_job_tables(url: str) -> None:
    """Make DBOS's tables, or bring them up to date."""
    from dbos import DBOS

    DBOS.migrate(system_database_url=url)


def run_from_record(status: "WorkflowStatus", steps: list[Step] | None = None) -> Run:
    """DBOS's record of a workflow, as people see it."""
    return Run(
        id=status.workflow_id,
        name=status.name,
        status=RUN_STATUSES[status.status],
        created_at=moment_from_milliseconds(status.created_at),
        updated_at=moment_from_milliseconds(status.updated_at),
        error=str(status.error) if status.error else None,
        executor=status.executor_id,
        steps=steps or [],
    )


def step_from_record(step: dict[str, Any]) -> Step:
    """DBOS's record of a step, as people see it."""
    return Step(
        name=step["function_name"],
        started_at=moment_from_milliseconds(step.get("started_at_epoch_ms")),
        completed_at=moment_from_milliseconds(step.get("completed_at_epoch_ms")),
        error=str(step["error"]) if step.get("error") else None,
    )


def moment_from_milliseconds(milliseconds: int | None) -> datetime | None:
    """Milliseconds since 1970 as a moment."""
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def first_failed_step(steps: list[Any]) -> int:
    """The number of the first step that failed; the one after the last when none did."""
    failed = [step["function_id"] for step in steps if step.get("error")]
    return (
        int(min(failed)) if failed else max((step["function_id"] for step in steps), default=0) + 1
    )


# ---- workers -------------------------------------------------------------------------------------------------------


@contextmanager
def run_worker(
    db: Database,
    name: str,
    schedules: list[dict[str, Any]] | None = None,
    chores: Sequence[tuple[Callable[[], None], float]] = (),
) -> Iterator[None]:
    """Run durable work in this process while the block lasts.

    The workflows must be imported before. `schedules` replace those there are; None leaves them as they are. Chores are looks at what is owed, each
    done at once and again after so many seconds; they leave no record, so work that must not be lost is enqueued by them. What dead workers were running is taken over: at once when they were processes of this
    host that are gone, otherwise when they have not been seen for half a minute.
    """
    from dbos import DBOS

    kept = create_dbos_engine(db)
    DBOS(
        config={
            "name": APPLICATION,
            "system_database_url": db.url,
            "system_database_engine": kept,
            "application_version": WORKFLOW_VERSION,
            "executor_id": name,
            "enable_otlp": False,
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": POLL_SECONDS,
            "scheduler_polling_interval_sec": 5.0,
        }
    )
    DBOS.launch()
    DBOS.register_queue(DEFAULT_QUEUE, polling_interval_sec=POLL_SECONDS, worker_concurrency=4)
    DBOS.register_queue(PARTS_QUEUE, polling_interval_sec=POLL_SECONDS, worker_concurrency=1)
    DBOS.register_queue(
        PROMPT_QUEUE,
        polling_interval_sec=PROMPT_POLL_SECONDS,
        worker_concurrency=PROMPT_QUEUE_CONCURRENCY,
    )
    if schedules is not None:
        for known in DBOS.list_schedules():
            if known["schedule_name"] not in [wanted["schedule_name"] for wanted in schedules]:
                DBOS.delete_schedule(known["schedule_name"])
        DBOS.apply_schedules(cast(Any, schedules))
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=send_heartbeats, args=(db, name, stop), name="worker-beat", daemon=True
        )
    ]
    threads += [
        threading.Thread(target=repeat_task, args=(*chore, stop), name="worker-chore", daemon=True)
        for chore in chores
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=10)
        DBOS.destroy(workflow_completion_timeout_sec=0)
        if kept is not None:
            kept.dispose()
        with (
            db.write() as session
        ):  # runs that wait for people are still in this worker's name: the next one takes them over at once
            session.execute(
                update(WorkerHeartbeat).where(WorkerHeartbeat.name == name).values(seen_at=LONG_AGO)
            )


def create_dbos_engine(db: Database) -> Engine | None:
    """On SQLite an engine for DBOS whose commits do not wait for the disk; None leaves it to DBOS.

    DBOS alone would wait three times for each run. Nothing needs it: what a power cut takes is the end of one log that has our records, too, so a
    step that is done again finds them as they were before it.
    """
    if not db.embedded:
        return None
    made = create_engine(db.url, hide_parameters=True)

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = "IMMEDIATE"  # as DBOS's own engine has it
        for pragma in ("busy_timeout=30000", "foreign_keys=on", "synchronous=normal"):
            connection.execute(f"PRAGMA {pragma}")

    return made


def send_heartbeats(db: Database, name: str, stop: threading.Event) -> None:
    """Say every few seconds that this worker is alive, and take over from those that are not."""
    from dbos import DBOS
    from sqlalchemy.exc import SQLAlchemyError

    started = datetime.now(UTC)
    while True:
        try:
            with db.write() as session:
                now = datetime.now(UTC)
                session.merge(
                    WorkerHeartbeat(
                        name=name,
                        host=socket.gethostname(),
                        pid=os.getpid(),
                        started_at=started,
                        seen_at=now,
                    )
                )
                dead = [
                    other.name
                    for other in session.scalars(
                        select(WorkerHeartbeat).where(WorkerHeartbeat.name != name)
                    )
                    if is_worker_dead(other, now)
                ]
            if dead:
                DBOS._recover_pending_workflows(dead)
                with db.write() as session:
                    session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.name.in_(dead)))
                log.warning("took over from dead workers", workers=dead)
        except SQLAlchemyError as error:
            log.warning("worker could not say that it is alive", error=error.__class__.__name__)
        if stop.wait(HEARTBEAT_SECONDS):
            return


def repeat_task(chore: Callable[[], None], seconds: float, stop: threading.Event) -> None:
    """Do a chore now and again; when the database does not answer, the next time will do."""
    from sqlalchemy.exc import SQLAlchemyError

    while True:
        try:
            chore()
        except SQLAlchemyError as error:
            log.warning("chore not done", chore=chore.__name__, error=error.__class__.__name__)
        if stop.wait(seconds):
            return


def is_worker_dead(other: WorkerHeartbeat, now: datetime) -> bool:
    """Whether a worker is gone: its process on this host has ended, or it has not been seen for half a minute."""
    if now - other.seen_at > HEARTBEAT_TIMEOUT:
        return True
    return other.host == socket.gethostname() and not is_process_alive(other.pid)


def is_process_alive(pid: int) -> bool:
    """Whether a process of this host is running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def load_live_workers(db: Session, now: datetime) -> list[WorkerHeartbeat]:
    """Workers that are alive."""
    return [
        worker_beat
        for worker_beat in db.scalars(select(WorkerHeartbeat).order_by(WorkerHeartbeat.name))
        if not is_worker_dead(worker_beat, now)
    ]
