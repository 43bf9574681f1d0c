"""Durable jobs on both engines: started with their transaction, messaged, cancelled, resumed."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dbos import DBOS
from sqlalchemy import select

from tanuki.errors import NotFound, UserError
from tanuki.platform.database.engine import Database
from tanuki.platform.jobs import (
    HEARTBEAT_TIMEOUT,
    Jobs,
    WorkerHeartbeat,
    is_worker_dead,
    load_live_workers,
    run_worker,
)

SWITCH: dict[str, bool] = {}


@DBOS.step()
def double(number: int) -> int:
    return number * 2


@DBOS.step()
def needs_switch() -> str:
    if not SWITCH.get("on"):
        raise UserError("The switch is off.")
    return "on"


@DBOS.workflow(name="test-waits")
def waits(number: int) -> int:
    doubled = double(number)
    return doubled + int(DBOS.recv("people", timeout_seconds=8) or 0)


@DBOS.workflow(name="test-switch")
def switched() -> str:
    double(1)
    return needs_switch()


@pytest.fixture
def jobs(database):
    made = Jobs(database.url)
    assert made.list_runs() == []
    yield made
    made.close()


def start(database, jobs, name, run_id, *args):
    with database.write() as db:
        jobs.enqueue(db, name, run_id, *args)


def test_work_of_a_transaction_that_failed_was_never_started(database, jobs):
    with pytest.raises(ZeroDivisionError), database.write() as db:
        jobs.enqueue(db, "test-waits", "lost", 1)
        raise ZeroDivisionError
    with pytest.raises(NotFound, match="no run lost"):
        jobs.load_run("lost")


def test_the_same_id_is_the_same_run_and_a_message_goes_with_its_transaction(database, jobs):
    with run_worker(database, "one"):
        start(database, jobs, "test-waits", "run-1", 20)
        start(database, jobs, "test-waits", "run-1", 20)
        with pytest.raises(ZeroDivisionError), database.write() as db:
            jobs.send_message(db, "run-1", 1000, "people")
            raise ZeroDivisionError
        with database.write() as db:
            jobs.send_message(db, "run-1", 2, "people")
        run = jobs.wait_for_run("run-1", seconds=30)
        assert run.status == "done"
        assert DBOS.retrieve_workflow("run-1").get_result() == 42
        assert [run.id for run in jobs.list_runs()] == ["run-1"]
        assert "double" in [step.name for step in run.steps]


def test_a_failed_run_says_why_and_goes_on_at_the_step_that_failed(database, jobs):
    SWITCH.clear()
    with run_worker(database, "one"):
        start(database, jobs, "test-switch", "s-1")
        run = jobs.wait_for_run("s-1", seconds=30)
        assert (run.status, run.error) == ("failed", "The switch is off.")
        first = run.steps[0].completed_at
        SWITCH["on"] = True
        jobs.resume_run("s-1")
        run = jobs.wait_for_run("s-1", seconds=30)
        assert run.status == "done"
        assert run.steps[0].completed_at == first


def test_a_cancelled_run_stops_and_can_be_resumed(database, jobs):
    with run_worker(database, "one"):
        start(database, jobs, "test-waits", "c-1", 1)
        jobs.wait_for_run("c-1", seconds=30, until=lambda: bool(jobs.load_run("c-1").steps))
        assert jobs.cancel_run("c-1").status == "cancelled"
        jobs.resume_run("c-1")
        with database.write() as db:
            jobs.send_message(db, "c-1", 3, "people")
        assert jobs.wait_for_run("c-1", seconds=30).status == "done"


def test_runs_are_listed_by_status_and_an_unknown_status_is_named(database, jobs):
    start(database, jobs, "test-waits", "q-1", 1)
    assert [run.id for run in jobs.list_runs(status="queued")] == ["q-1"]
    assert jobs.count_queued_runs() == {"default": 1}
    with pytest.raises(UserError, match="lost is not a status"):
        jobs.list_runs(status="lost")


CHILD = """
import sys, time
sys.path.insert(0, {here!r})
from tests.platform import test_jobs  # its workflows
from tanuki.platform.database.engine import Database
from tanuki.platform.jobs import run_worker
with run_worker(Database(sys.argv[1]), "child"):
    print("ready", flush=True)
    time.sleep(120)
"""


def test_a_run_of_a_killed_worker_is_finished_by_another_one(database, jobs):
    start(database, jobs, "test-waits", "k-1", 4)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(here=str(Path(__file__).parents[2])), database.url],
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        jobs.wait_for_run("k-1", seconds=30, until=lambda: bool(jobs.load_run("k-1").steps))
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    with run_worker(database, "other"):
        with database.write() as db:
            jobs.send_message(db, "k-1", 1, "people")
        run = jobs.wait_for_run("k-1", seconds=30)
        assert run.status == "done"
        assert [step.name for step in run.steps].count("double") == 1
        with database.read() as db:
            assert list(db.scalars(select(WorkerHeartbeat.name))) == ["other"]


def test_a_run_that_waits_when_its_worker_ends_in_order_is_taken_over_by_the_next(database, jobs):
    with run_worker(database, "first"):
        start(database, jobs, "test-waits", "e-1", 5)
        jobs.wait_for_run("e-1", seconds=30, until=lambda: bool(jobs.load_run("e-1").steps))
    with run_worker(database, "second"):
        with database.write() as db:
            jobs.send_message(db, "e-1", 1, "people")
        assert jobs.wait_for_run("e-1", seconds=30).status == "done"


def test_a_worker_that_is_gone_is_dead_at_once_here_and_after_a_while_elsewhere(sqlite: Database):
    now = datetime.now(UTC)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    import os
    import socket

    def beat(host: str, pid: int, seen: datetime) -> WorkerHeartbeat:
        return WorkerHeartbeat(
            name=f"{host}-{pid}-{seen}", host=host, pid=pid, started_at=now, seen_at=seen
        )

    assert is_worker_dead(beat(socket.gethostname(), gone.pid, now), now)
    assert not is_worker_dead(beat(socket.gethostname(), os.getpid(), now), now)
    assert not is_worker_dead(beat("elsewhere", gone.pid, now), now)
    assert is_worker_dead(
        beat("elsewhere", gone.pid, now - HEARTBEAT_TIMEOUT - timedelta(seconds=1)), now
    )
    with sqlite.write() as db:
        db.add_all([beat("elsewhere", 1, now), beat("far", 2, now - timedelta(hours=1))])
    with sqlite.read() as db:
        assert [heartbeat.host for heartbeat in load_live_workers(db, now)] == ["elsewhere"]


@DBOS.workflow(name="test-tick")
def tick(due: datetime, _context: object) -> None:
    double(1)


def test_schedules_are_replaced_when_given_and_left_alone_otherwise(database, jobs):
    daily = {
        "schedule_name": "daily",
        "workflow_fn": tick,
        "schedule": "0 3 * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    }
    with run_worker(database, "one", [daily, {**daily, "schedule_name": "other"}]):
        assert {list_schedule["schedule_name"] for list_schedule in DBOS.list_schedules()} == {
            "daily",
            "other",
        }
    with run_worker(database, "two"):
        assert {list_schedule["schedule_name"] for list_schedule in DBOS.list_schedules()} == {
            "daily",
            "other",
        }
    with run_worker(database, "three", [daily]):
        assert {list_schedule["schedule_name"] for list_schedule in DBOS.list_schedules()} == {
            "daily"
        }


def test_a_schedule_fires(database, jobs):
    each_second = {
        "schedule_name": "tick",
        "workflow_fn": tick,
        "schedule": "* * * * * *",
        "context": None,
    }
    with run_worker(database, "one", [each_second]):
        end = datetime.now(UTC) + timedelta(seconds=30)
        while not jobs.list_runs(status="done", name="test-tick") and datetime.now(UTC) < end:
            jobs.count_queued_runs()
        assert jobs.list_runs(status="done", name="test-tick")
