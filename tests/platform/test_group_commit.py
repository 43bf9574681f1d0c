"""Group commit on both engines: own answers, own errors, few commits."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tanuki.errors import Conflict
from tanuki.platform.database.engine import Database
from tanuki.platform.jobs import WorkerHeartbeat
from tests.platform.test_database import beat


def worker_names(database):
    with database.read() as db:
        return list(db.scalars(select(WorkerHeartbeat.name).order_by(WorkerHeartbeat.name)))


@pytest.fixture
def commits(database):
    """How many commits there were, as a list that grows."""
    seen: list[int] = []
    event.listen(database.engine, "commit", lambda _: seen.append(1))
    return seen


class Gate:
    """A write that blocks the writer until opened, so that later writes share one commit."""

    def __init__(self, database):
        self.begun, self.open = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=database.write_batched, args=(self,))
        self.thread.start()
        self.begun.wait(10)

    def __call__(self, db):
        self.begun.set()
        self.open.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open.set()
        self.thread.join()


def batch_writes(database, pool, writes):
    """The futures of writes that share one commit, in their order."""
    with Gate(database):
        return queue_writes(database, pool, writes)


def queue_writes(database, pool, writes):
    """The futures of writes that wait, in their order."""
    answers = []
    for write in writes:
        waiting = database.writer.queue.qsize()
        answers.append(pool.submit(database.write_batched, write))
        while database.writer.queue.qsize() == waiting:
            pass
    return answers


def test_each_caller_gets_what_its_own_write_gives(database):
    def add(number):
        def write(db):
            db.add(beat(f"w{number:03}"))
            return number * 2

        return database.write_batched(write)

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(add, range(200))) == [number * 2 for number in range(200)]
    assert worker_names(database) == [f"w{number:03}" for number in range(200)]


def test_two_hundred_callers_need_far_fewer_commits(database, commits):
    ready = threading.Barrier(200)

    def add(number):
        ready.wait()
        database.write_batched(lambda db: db.add(beat(f"w{number}")))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(worker_names(database)) == 200
    assert len(commits) <= 60


def test_an_error_undoes_its_own_part_only(database, commits):
    def good(name):
        def write(db):
            db.add(beat(name))
            return name

        return write

    def refused(db):
        db.add(beat("refused"))
        db.flush()
        raise Conflict("Somebody was faster.")

    def twice(db):
        db.add(beat("a"))  # the same key as another's

    with ThreadPoolExecutor(10) as pool:
        first, second, third, last = batch_writes(
            database, pool, [good("a"), refused, twice, good("z")]
        )
        assert (first.result(), last.result()) == ("a", "z")
        with pytest.raises(Conflict, match="Somebody was faster"):
            second.result()
        with pytest.raises(IntegrityError):
            third.result()
    assert worker_names(database) == ["a", "z"]
    assert len(commits) == 2  # the gate's and the group's


def test_writes_run_in_the_order_of_the_calls_and_see_those_before(database):
    seen = []

    def write(number):
        def do(db):
            seen.append((number, db.scalar(select(func.count()).select_from(WorkerHeartbeat))))
            db.add(beat(f"w{number}"))

        return do

    with ThreadPoolExecutor(20) as pool:
        for answer in batch_writes(database, pool, [write(number) for number in range(20)]):
            answer.result()
    assert seen == [(number, number) for number in range(20)]


def test_when_the_common_commit_fails_only_the_one_at_fault_is_told(database):
    """A constraint that is looked at when the transaction ends."""
    late = " deferrable initially deferred"
    with database.write() as db:
        db.execute(text("create table parent (id integer primary key)"))
        db.execute(
            text(
                "create table child (id integer primary key,"
                f" parent integer references parent (id){late})"
            )
        )

    def good(db):
        db.add(beat("good"))
        return "good"

    def orphan(db):
        db.execute(text("insert into child values (1, 99)"))

    with ThreadPoolExecutor(10) as pool:
        first, second = batch_writes(database, pool, [good, orphan])
        assert first.result() == "good"
        with pytest.raises(IntegrityError):
            second.result()
    assert worker_names(database) == ["good"]
    assert database.write_batched(lambda db: db.scalar(text("select count(*) from child"))) == 0


@pytest.mark.postgres
def test_a_connection_that_is_lost_in_the_middle_costs_nobody_but_the_one_who_lost_it(postgres_url):
    database, other = Database(postgres_url), Database(postgres_url)
    WorkerHeartbeat.__table__.create(database.engine)

    def lose(db):
        mine = db.scalar(text("select pg_backend_pid()"))
        with other.read() as killer:
            killer.execute(text(f"select pg_terminate_backend({mine}, 5000)"))
        db.scalar(text("select 1"))

    with ThreadPoolExecutor(10) as pool:
        first, second, third = batch_writes(
            database, pool, [lambda db: db.add(beat("a")), lose, lambda db: db.add(beat("b"))]
        )
        first.result(), third.result()
        with pytest.raises(SQLAlchemyError):
            second.result()
    assert worker_names(database) == ["a", "b"]
    database.close()
    other.close()


def test_what_a_request_has_bound_to_its_log_lines_is_known_to_its_write(database):
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        assert database.write_batched(lambda db: structlog.contextvars.get_contextvars()) == {
            "request_id": "r1"
        }
    assert database.write_batched(lambda db: structlog.contextvars.get_contextvars()) == {}


def test_closing_writes_what_waits_and_ends_the_thread(database):
    with ThreadPoolExecutor(10) as pool:
        with Gate(database):
            answers = [
                pool.submit(database.write_batched, lambda db, n=n: db.add(beat(f"w{n}")))
                for n in range(5)
            ]
            while database.writer.queue.qsize() < 5:
                pass
            closing = pool.submit(database.close)
        closing.result()
        assert [answer.result() for answer in answers] == [None] * 5
    assert not database.writer.thread.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        database.write_batched(lambda db: None)
    assert len(worker_names(database)) == 5


def test_a_write_inside_a_write_is_a_bug_and_not_a_standstill(database):
    with pytest.raises(RuntimeError, match="waits for itself"):
        database.write_batched(lambda db: database.write_batched(lambda inner: None))


def test_a_durable_commit_is_on_the_disk_and_other_writes_stay_as_cheap_as_they_were(sqlite):
    def level(db):
        return db.scalar(text("PRAGMA synchronous"))

    assert sqlite.write_batched(level) == 2  # full
    with sqlite.write() as db:
        assert level(db) == 1  # normal
    assert sqlite.write_batched(level) == 2


CHILD = """
import sys
sys.path.insert(0, {here!r})
from tanuki.platform.database.engine import Database
from tests.platform.test_group_commit import beat
database = Database(sys.argv[1])
for number in range(10_000):
    database.write_batched(lambda db: db.add(beat(f"w{{number}}")))
    print(number, flush=True)
"""


def test_what_was_answered_is_there_after_a_kill(database):
    here = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(here=here), database.url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    answered = [int(child.stdout.readline()) for _ in range(20)]
    child.kill()
    answered += [int(line) for line in child.stdout.read().split()]
    child.wait()
    child.stdout.close()
    assert {f"w{number}" for number in answered} <= set(worker_names(database))
    assert len(worker_names(database)) <= len(answered) + 1


@pytest.mark.postgres
def test_groups_of_two_processes_that_wait_for_each_other_end_all_the_same(postgres_url):
    """A group locks the rows of all its writes; the two processes lock them in opposite order."""
    here, there = Database(postgres_url), Database(postgres_url)
    WorkerHeartbeat.__table__.create(here.engine)
    here.write_batched(lambda db: db.add_all([beat("a"), beat("b")]))

    def grow(name):
        def write(db):
            db.execute(
                update(WorkerHeartbeat)
                .where(WorkerHeartbeat.name == name)
                .values(pid=WorkerHeartbeat.pid + 1)
            )
            time.sleep(0.05)  # so that the other one has begun, too

        return write

    before = {
        heartbeat.name: heartbeat.pid
        for heartbeat in here.write_batched(lambda db: db.scalars(select(WorkerHeartbeat)).all())
    }
    with ThreadPoolExecutor(20) as pool:
        for _ in range(3):
            with Gate(here), Gate(there):
                answers = [
                    *queue_writes(here, pool, map(grow, "abab")),
                    *queue_writes(there, pool, map(grow, "baba")),
                ]
            assert [answer.result() for answer in answers] == [None] * 8
    with here.read() as db:
        assert {
            heartbeat.name: heartbeat.pid - before[heartbeat.name]
            for heartbeat in db.scalars(select(WorkerHeartbeat))
        } == {"a": 12, "b": 12}
    here.close()
    there.close()
