"""Durable jobs on DBOS: enqueued in a transaction, run by workers, listed, cancelled, resumed.

DBOS has its own tables in our database (its own schema on PostgreSQL). A record and the job that
follows from it are therefore committed together or not at all.
"""

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import structlog
from sqlalchemy import Engine, create_engine, delete, event, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import NotFound, UserError
from tanuki.platform.database.engine import Base, Database

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus

log = structlog.get_logger()

APPLICATION = "tanuki"
WORKFLOW_VERSION = "1"  # raise it when a running workflow could not go on in the new code

DEFAULT_QUEUE = "default"
POLL_SECONDS = 0.25
DEFAULT_QUEUE_CONCURRENCY = 4  # runs at a time in each worker

# Parts of large computations. Each fills a core and much memory, so a worker runs one at a time.
PARTS_QUEUE = "parts"
PARTS_QUEUE_CONCURRENCY = 1
PART_SEPARATOR = "-part-"  # between a run's id and the number of its part

# Short runs that somebody waits for.
PROMPT_QUEUE = "prompt"
PROMPT_POLL_SECONDS = 0.1
PROMPT_QUEUE_CONCURRENCY = 16

SCHEDULER_POLL_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
HEARTBEAT_TIMEOUT = timedelta(seconds=30)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
THREAD_JOIN_SECONDS = 10


class RunStatus(StrEnum):
    """The state of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GIVEN_UP = "given up"


RUN_STATUSES = {  # by DBOS's own statuses
    "ENQUEUED": RunStatus.QUEUED,
    "DELAYED": RunStatus.QUEUED,
    "PENDING": RunStatus.RUNNING,
    "SUCCESS": RunStatus.DONE,
    "ERROR": RunStatus.FAILED,
    "CANCELLED": RunStatus.CANCELLED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": RunStatus.GIVEN_UP,
}
PeriodicTask = tuple[Callable[[], None], float]
"""A function and the seconds between two of its calls."""


class WorkerHeartbeat(Base):
    """When a worker was last alive. When heartbeats stop, other workers take over its runs."""

    __tablename__ = "worker_heartbeat"

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
        return seconds_between(self.started_at, self.completed_at)


@dataclass(frozen=True)
class Run:
    """One durable run. `steps` are loaded by `load_run` only."""

    id: str
    name: str
    status: RunStatus
    created_at: datetime | None
    updated_at: datetime | None
    error: str | None
    executor: str | None
    steps: list[Step] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """From its creation to its last change."""
        return seconds_between(self.created_at, self.updated_at)


class Jobs:
    """The durable jobs of this installation. Any process may use this; only workers run jobs."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def client(self) -> "DBOSClient":
        from dbos import DBOSClient

        return DBOSClient(system_database_url=self.url, application_name=APPLICATION)

    def enqueue(
        self, db: Session, name: str, run_id: str, *args: object, queue: str = DEFAULT_QUEUE
    ) -> None:
        """Start the workflow `name` when this transaction commits. The same id is the same run."""
        options: Any = {
            "queue_name": queue,
            "workflow_name": name,
            "workflow_id": run_id,
            "app_version": WORKFLOW_VERSION,
        }
        self.client.enqueue_in_transaction(db.connection(), options, *args)

    def send_message(
        self, db: Session, run_id: str, message: object, topic: str, key: str | None = None
    ) -> None:
        """Send a run a message when this transaction commits. The same key is the same message."""
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
        """Runs, newest first. Raises UserError for a status that is not a RunStatus."""
        if status and status not in set(RunStatus):
            raise UserError(
                "%(status)s is not a status. Expected one of %(known)s.",
                status=status,
                known=", ".join(sorted(RunStatus)),
            )
        records = self.client.list_workflows(
            status=[name for name, value in RUN_STATUSES.items() if value == status] or None,
            name=name,
            limit=limit,
            offset=offset,
            sort_desc=True,
            load_input=False,
            load_output=False,
        )
        return [run_from_record(record) for record in records]

    def load_run_statuses(self, run_ids: Collection[str]) -> dict[str, RunStatus]:
        """The statuses of runs by id, without those that do not exist."""
        records = (
            self.client.list_workflows(
                workflow_ids=list(run_ids), load_input=False, load_output=False
            )
            if run_ids
            else []
        )
        return {record.workflow_id: RUN_STATUSES[record.status] for record in records}

    def load_run(self, run_id: str) -> Run:
        """One run with its steps. Raises NotFound."""
        records = self.client.list_workflows(workflow_ids=[run_id], load_input=False)
        if not records:
            raise NotFound("There is no run %(run)s.", run=run_id)
        return run_from_record(
            records[0],
            [
                step_from_record(cast(dict[str, Any], step))
                for step in self.client.list_workflow_steps(run_id)
            ],
        )

    def cancel_run(self, run_id: str) -> Run:
        """Stop a run before its next step. The work of its finished steps stays."""
        self.load_run(run_id)
        self.client.cancel_workflow(run_id)
        return self.load_run(run_id)

    def resume_run(self, run_id: str) -> Run:
        """Resume a cancelled or given-up run at its current step, a failed one at its failed step.

        Parts of the run that failed or were cancelled are resumed first.
        """
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
        if run.status == RunStatus.FAILED:
            self.client.rewind_workflow(
                run_id,
                start_step=first_failed_step(self.client.list_workflow_steps(run_id)),
                queue_name=queue,
            )
        else:
            self.client.resume_workflow(run_id, queue_name=queue)
        return self.load_run(run_id)

    def resume_failed_runs(self, name: str, *, before: datetime) -> int:
        """Resume the failed and given-up runs of a workflow that ended before a moment.

        Returns their number.
        """
        runs = [
            run
            for status in (RunStatus.FAILED, RunStatus.GIVEN_UP)
            for run in self.list_runs(status=status, name=name)
            if run.updated_at is None or run.updated_at < before
        ]
        for run in runs:
            self.resume_run(run.id)
        return len(runs)

    def wait_for_run(
        self, run_id: str, *, seconds: float, until: Callable[[], bool] = lambda: False
    ) -> Run:
        """Wait until a run has ended, `until` is true, or the seconds are over. Returns the run."""
        end = time.monotonic() + seconds
        while True:
            run = self.load_run(run_id)
            ended = run.status not in (RunStatus.QUEUED, RunStatus.RUNNING)
            if ended or until() or time.monotonic() > end:
                return run
            time.sleep(POLL_SECONDS)

    def count_queued_runs(self) -> dict[str, int]:
        """The number of waiting runs by queue."""
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
        """Close the connections, if any were opened."""
        if "client" in self.__dict__:
            self.client.destroy()
            del self.__dict__["client"]


def create_job_tables(url: str) -> None:
    """Create DBOS's tables, or bring them up to date."""
    from dbos import DBOS

    DBOS.migrate(system_database_url=url)


def run_from_record(status: "WorkflowStatus", steps: list[Step] | None = None) -> Run:
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
    return Step(
        name=step["function_name"],
        started_at=moment_from_milliseconds(step.get("started_at_epoch_ms")),
        completed_at=moment_from_milliseconds(step.get("completed_at_epoch_ms")),
        error=str(step["error"]) if step.get("error") else None,
    )


def moment_from_milliseconds(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def first_failed_step(steps: list[Any]) -> int:
    """The number of the first failed step, or else the number after the last step."""
    numbers = [int(step["function_id"]) for step in steps if step.get("error")]
    if numbers:
        return min(numbers)
    return max((int(step["function_id"]) for step in steps), default=0) + 1


# ---- workers -------------------------------------------------------------------------------------


@contextmanager
def run_worker(
    db: Database,
    name: str,
    schedules: list[dict[str, Any]] | None = None,
    periodic_tasks: Sequence[PeriodicTask] = (),
) -> Iterator[None]:
    """Run durable jobs in this process while the block lasts.

    The modules of the workflows must be imported before. `schedules` replace those of the
    installation; None leaves them as they are. A periodic task is called at once and again after
    its seconds. Nothing records its calls, so it must enqueue what must not be lost. The runs of
    dead workers are taken over: at once if the worker was a process of this host that has ended,
    else when its last heartbeat is half a minute old.
    """
    from dbos import DBOS

    engine = create_dbos_engine(db)
    DBOS(
        config={
            "name": APPLICATION,
            "system_database_url": db.url,
            "system_database_engine": engine,
            "application_version": WORKFLOW_VERSION,
            "executor_id": name,
            "enable_otlp": False,
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": POLL_SECONDS,
            "scheduler_polling_interval_sec": SCHEDULER_POLL_SECONDS,
        }
    )
    DBOS.launch()
    for queue, seconds, concurrency in (
        (DEFAULT_QUEUE, POLL_SECONDS, DEFAULT_QUEUE_CONCURRENCY),
        (PARTS_QUEUE, POLL_SECONDS, PARTS_QUEUE_CONCURRENCY),
        (PROMPT_QUEUE, PROMPT_POLL_SECONDS, PROMPT_QUEUE_CONCURRENCY),
    ):
        DBOS.register_queue(queue, polling_interval_sec=seconds, worker_concurrency=concurrency)
    if schedules is not None:
        names = {schedule["schedule_name"] for schedule in schedules}
        for known in DBOS.list_schedules():
            if known["schedule_name"] not in names:
                DBOS.delete_schedule(known["schedule_name"])
        DBOS.apply_schedules(cast(Any, schedules))
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=send_heartbeats, args=(db, name, stop), name="worker-heartbeat", daemon=True
        )
    ]
    threads += [
        threading.Thread(target=repeat_task, args=(*task, stop), name="worker-task", daemon=True)
        for task in periodic_tasks
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=THREAD_JOIN_SECONDS)
        DBOS.destroy(workflow_completion_timeout_sec=0)
        if engine is not None:
            engine.dispose()
        # Runs that wait for people still belong to this worker. The next one takes them over at
        # once if the heartbeat is old.
        with db.write() as session:
            session.execute(
                update(WorkerHeartbeat).where(WorkerHeartbeat.name == name).values(seen_at=LONG_AGO)
            )


def create_dbos_engine(db: Database) -> Engine | None:
    """On SQLite an engine for DBOS whose commits do not wait for the disk; else None.

    DBOS's own engine would wait three times for each run, without need: DBOS's tables and ours are
    in the same file. A power failure cuts both off at the same moment, so a step that is repeated
    finds our records as they were before it.
    """
    if not db.embedded:
        return None
    engine = create_engine(db.url, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure_connection(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"  # as DBOS's own engine has it
        for pragma in ("busy_timeout=30000", "foreign_keys=on", "synchronous=normal"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def send_heartbeats(db: Database, name: str, stop: threading.Event) -> None:
    """Store every few seconds that this worker is alive, and take over the runs of dead ones."""
    from dbos import DBOS

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
                others = select(WorkerHeartbeat).where(WorkerHeartbeat.name != name)
                gone = [other for other in session.scalars(others) if is_worker_dead(other, now)]
                dead = [other.name for other in gone]
                crashed = [other.name for other in gone if other.seen_at != LONG_AGO]
            if dead:
                DBOS._recover_pending_workflows(dead)
                with db.write() as session:
                    session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.name.in_(dead)))
            if crashed:  # a worker that was stopped has said so
                log.warning("took over from dead workers", workers=crashed)
        except SQLAlchemyError as error:
            log.warning("heartbeat not stored", error=error.__class__.__name__)
        if stop.wait(HEARTBEAT_SECONDS):
            return


def repeat_task(task: Callable[[], None], seconds: float, stop: threading.Event) -> None:
    """Call a periodic task until the worker stops, also after a time without database."""

    while True:
        try:
            task()
        except SQLAlchemyError as error:
            name = getattr(task, "__name__", str(task))
            log.warning("periodic task failed", task=name, error=error.__class__.__name__)
        if stop.wait(seconds):
            return


def is_worker_dead(other: WorkerHeartbeat, now: datetime) -> bool:
    """Whether a worker's process on this host has ended, or its last heartbeat is too old."""
    if now - other.seen_at > HEARTBEAT_TIMEOUT:
        return True
    return other.host == socket.gethostname() and not is_process_alive(other.pid)


def is_process_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def load_live_workers(db: Session, now: datetime) -> list[WorkerHeartbeat]:
    """The heartbeats of the workers that are alive, by name."""
    return [
        heartbeat
        for heartbeat in db.scalars(select(WorkerHeartbeat).order_by(WorkerHeartbeat.name))
        if not is_worker_dead(heartbeat, now)
    ]
