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
    commit_list: list[int] = []
    event.listen(database.engine, "commit", lambda _: commit_list.append(1))
    return commit_list


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


def test_each_caller_gets_the_result_of_its_own_write(database):
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


def test_an_error_rolls_back_only_its_own_write(database, commits):
    def make_write(name):
        def write(db):
            db.add(beat(name))
            return name

        return write

    def raise_conflict(db):
        db.add(beat("refused"))
        db.flush()
        raise Conflict("Somebody was faster.")

    def add_duplicate(db):
        db.add(beat("a"))  # the same key as another's

    with ThreadPoolExecutor(10) as pool:
        first_result, conflict_result, duplicate_result, last_result = batch_writes(
            database, pool, [make_write("a"), raise_conflict, add_duplicate, make_write("z")]
        )
        assert (first_result.result(), last_result.result()) == ("a", "z")
        with pytest.raises(Conflict, match="Somebody was faster"):
            conflict_result.result()
        with pytest.raises(IntegrityError):
            duplicate_result.result()
    assert worker_names(database) == ["a", "z"]
    assert len(commits) == 2  # the gate's and the group's


def test_writes_run_in_call_order_and_see_earlier_writes(database):
    counts = []

    def make_write(number):
        def count_and_add(db):
            counts.append((number, db.scalar(select(func.count()).select_from(WorkerHeartbeat))))
            db.add(beat(f"w{number}"))

        return count_and_add

    with ThreadPoolExecutor(20) as pool:
        for answer in batch_writes(database, pool, [make_write(number) for number in range(20)]):
            answer.result()
    assert counts == [(number, number) for number in range(20)]


def test_a_failed_group_commit_raises_only_for_the_faulty_write(database):
    """The constraint is deferred to the end of the transaction."""
    deferred = " deferrable initially deferred"
    with database.write() as db:
        db.execute(text("create table parent (id integer primary key)"))
        db.execute(
            text(
                "create table child (id integer primary key,"
                f" parent integer references parent (id){deferred})"
            )
        )

    def add_worker(db):
        db.add(beat("good"))
        return "good"

    def add_orphan(db):
        db.execute(text("insert into child values (1, 99)"))

    with ThreadPoolExecutor(10) as pool:
        good_result, orphan_result = batch_writes(database, pool, [add_worker, add_orphan])
        assert good_result.result() == "good"
        with pytest.raises(IntegrityError):
            orphan_result.result()
    assert worker_names(database) == ["good"]
    assert database.write_batched(lambda db: db.scalar(text("select count(*) from child"))) == 0


@pytest.mark.postgres
def test_a_lost_connection_fails_only_the_write_that_lost_it(postgres_url):
    database, second_database = Database(postgres_url), Database(postgres_url)
    WorkerHeartbeat.__table__.create(database.engine)

    def lose_connection(db):
        process_id = db.scalar(text("select pg_backend_pid()"))
        with second_database.read() as killer:
            killer.execute(text(f"select pg_terminate_backend({process_id}, 5000)"))
        db.scalar(text("select 1"))

    with ThreadPoolExecutor(10) as pool:
        first_result, lost_result, last_result = batch_writes(
            database,
            pool,
            [lambda db: db.add(beat("a")), lose_connection, lambda db: db.add(beat("b"))],
        )
        first_result.result(), last_result.result()
        with pytest.raises(SQLAlchemyError):
            lost_result.result()
    assert worker_names(database) == ["a", "b"]
    database.close()
    second_database.close()


def test_log_context_of_a_request_is_passed_to_its_write(database):
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        assert database.write_batched(lambda db: structlog.contextvars.get_contextvars()) == {
            "request_id": "r1"
        }
    assert database.write_batched(lambda db: structlog.contextvars.get_contextvars()) == {}


def test_closing_writes_the_queue_and_ends_the_thread(database):
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


def test_a_nested_write_raises_instead_of_deadlocking(database):
    with pytest.raises(RuntimeError, match="waits for itself"):
        database.write_batched(lambda db: database.write_batched(lambda inner: None))


def test_only_batched_commits_are_synchronous(sqlite):
    def level(db):
        return db.scalar(text("PRAGMA synchronous"))

    assert sqlite.write_batched(level) == 2  # full
    with sqlite.write() as db:
        assert level(db) == 1  # normal
    assert sqlite.write_batched(level) == 2


CHILD = """
import sys
sys.path.insert(0, {root!r})
from tanuki.platform.database.engine import Database
from tests.platform.test_group_commit import beat
database = Database(sys.argv[1])
for number in range(10_000):
    database.write_batched(lambda db: db.add(beat(f"w{{number}}")))
    print(number, flush=True)
"""


def test_answered_writes_survive_a_kill(database):
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(root=root), database.url],
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
def test_deadlocked_groups_of_two_processes_complete(postgres_url):
    """A group locks the rows of all its writes; the two processes lock them in opposite order."""
    database, second_database = Database(postgres_url), Database(postgres_url)
    WorkerHeartbeat.__table__.create(database.engine)
    database.write_batched(lambda db: db.add_all([beat("a"), beat("b")]))

    def make_update(name):
        def write(db):
            db.execute(
                update(WorkerHeartbeat)
                .where(WorkerHeartbeat.name == name)
                .values(pid=WorkerHeartbeat.pid + 1)
            )
            time.sleep(0.05)  # so that the other process has started too

        return write

    before = {
        heartbeat.name: heartbeat.pid
        for heartbeat in database.write_batched(
            lambda db: db.scalars(select(WorkerHeartbeat)).all()
        )
    }
    with ThreadPoolExecutor(20) as pool:
        for _ in range(3):
            with Gate(database), Gate(second_database):
                answers = [
                    *queue_writes(database, pool, map(make_update, "abab")),
                    *queue_writes(second_database, pool, map(make_update, "baba")),
                ]
            assert [answer.result() for answer in answers] == [None] * 8
    with database.read() as db:
        assert {
            heartbeat.name: heartbeat.pid - before[heartbeat.name]
            for heartbeat in db.scalars(select(WorkerHeartbeat))
        } == {"a": 12, "b": 12}
    database.close()
    second_database.close()
