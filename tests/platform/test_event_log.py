"""Events on both engines: written once, durably or soon, and exported to the warehouse."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event as hooks
from sqlalchemy import func, select, text

from tanuki.app import bootstrap
from tanuki.errors import Conflict
from tanuki.platform import audit_log, jobs, maintenance
from tanuki.platform import resources as resources_file
from tanuki.platform.event_log import Event, EventKind, EventLog, add_events, new_event_id
from tanuki.platform.rate_limit import RateLimitCounter
from tanuki.platform.resources import Resources

NOW = datetime(2021, 1, 11, 12, 34, 56, 789000, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SHOWN = EventKind(
    "shown",
    {"request": str, "post": int, "propensity": float, "followed": bool, "tags": list[str]},
    list_field="positions",
)
OPEN = EventKind("open", {"post": int, "seconds": float})


@pytest.fixture
def events(resources):
    """The event log of resources, with two kinds."""
    resources.events.kinds.update({kind.name: kind for kind in (SHOWN, OPEN)})
    return resources.events


def open_event(post, **given):
    return Event(kind="open", at=NOW, person="p1", values={"post": post, "seconds": 2}, **given)


def count_events(resources):
    with resources.db.read() as db:
        return db.scalar(select(func.count()).select_from(Event))


def run_sql(resources, query):
    with resources.db.read() as db:
        return resources.warehouse.query_facts(db, query).rows()


# ---- in


def test_written_events_are_there_at_once_each_once(resources, events):
    same = open_event(1, id="e1")
    events.write_now([same, open_event(2)])
    events.write_now([open_event(1, id="e1"), open_event(3)])
    with resources.db.read() as db:
        rows = db.scalars(select(Event).order_by(Event.id)).all()
    assert sorted(event.values["post"] for event in rows) == [1, 2, 3]
    assert (rows[0].at, rows[0].person, rows[0].kind) == (NOW, "p1", "open")


def test_events_of_a_transaction_are_there_if_it_is(resources):
    with resources.db.write() as db:
        add_events(db, open_event(1))
    with pytest.raises(ZeroDivisionError), resources.db.write() as db:
        add_events(db, open_event(2))
        raise ZeroDivisionError
    assert count_events(resources) == 1


def test_put_returns_at_once_and_many_share_a_few_commits(resources, events):
    commits = []
    hooks.listen(resources.db.engine, "commit", lambda _: commits.append(1))
    with resources.db.write():  # on SQLite nobody else can write now
        began = time.perf_counter()
        for number in range(500):
            events.write_later(open_event(number), open_event(number))
        assert time.perf_counter() - began < 0.2
    events.close()
    assert count_events(resources) == 1000
    assert len(commits) < 20


def test_put_events_are_written_soon_without_closing(resources, events):
    events.write_later(open_event(1))
    end = time.monotonic() + 10
    while not count_events(resources) and time.monotonic() < end:
        time.sleep(0.02)
    assert count_events(resources) == 1


def test_closing_writes_what_waits_and_ends_the_thread(resources, events):
    events.write_later(open_event(1))
    events.close()
    assert count_events(resources) == 1
    assert "event-log" not in [thread.name for thread in threading.enumerate()]
    events.write_later(open_event(2))  # too late: lost, and no page breaks
    assert count_events(resources) == 1


def test_a_database_that_does_not_answer_for_a_while_costs_nothing(resources, events):
    failing = [1, 1]

    def break_down(connection, cursor, statement, *_):
        if "INTO event" in statement and failing:
            failing.pop()
            connection.exec_driver_sql("select * from nowhere")

    hooks.listen(resources.db.engine, "before_cursor_execute", break_down)
    events.write_later(open_event(1))
    end = time.monotonic() + 10
    while not count_events(resources) and time.monotonic() < end:
        time.sleep(0.02)
    assert (count_events(resources), failing) == (1, [])


def test_many_threads_put_and_write_and_nothing_is_lost_or_doubled(resources, events):
    with ThreadPoolExecutor(12) as pool:
        list(
            pool.map(
                lambda number: (
                    events.write_now([open_event(number)])
                    if number % 3
                    else events.write_later(open_event(number))
                ),
                range(300),
            )
        )
    events.close()
    with resources.db.read() as db:
        assert sorted(values["post"] for values in db.scalars(select(Event.values))) == list(
            range(300)
        )


@pytest.mark.parametrize(
    ("kind", "values", "error"),
    [
        ("Not a kind", {}, ValueError),
        ("open", {"x": {1}}, TypeError),
        ("open", {"x": float("nan")}, ValueError),
    ],
)
def test_an_event_that_could_not_be_kept_is_a_bug_where_it_is_made(embedded, kind, values, error):
    for do in (embedded.events.write_later, lambda event: embedded.events.write_now([event])):
        with pytest.raises(error):
            do(Event(kind=kind, at=NOW, values=values))


def test_ids_sort_in_time_order():
    assert (
        new_event_id(NOW)
        < new_event_id(NOW + timedelta(milliseconds=1))
        < new_event_id(NOW + timedelta(days=9_999))
    )


CHILD = """
import sys
sys.path.insert(0, {here!r})
from tanuki.platform.database.engine import Database
from tanuki.platform.event_log import EventLog
from tests.platform.test_event_log import open_event
events = EventLog(Database(sys.argv[1]))
for number in range(10_000):
    events.write_now([open_event(number)])
    print(number, flush=True)
"""


def test_a_written_event_survives_a_kill(resources):
    here = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(here=here), resources.db.url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    answered = [int(child.stdout.readline()) for _ in range(20)]
    child.kill()
    answered += [int(line) for line in child.stdout.read().split()]
    child.wait()
    child.stdout.close()
    with resources.db.read() as db:
        rows = [values["post"] for values in db.scalars(select(Event.values))]
    assert set(answered) <= set(rows) and len(rows) == len(set(rows)) <= len(answered) + 1


# ---- out


def test_exported_events_are_facts_by_kind_and_no_longer_events(resources, events):
    positions = [
        {"post": 7, "propensity": 1, "followed": True, "tags": ["柴犬"]},
        {"post": 8, "propensity": 0.5, "followed": False, "new": 1},
    ]
    shown = Event(
        id="s1", kind="shown", at=NOW, person=None, values={"request": "r1", "positions": positions}
    )
    events.write_now(
        [
            open_event(1, id="e1"),
            shown,
            Event(id="u1", kind="undeclared", at=NOW, person="p1", values={"a": [1]}),
        ]
    )
    assert maintenance.export_events_now(resources, LATER) == 3
    assert count_events(resources) == 0
    assert run_sql(
        resources, "select id, happened_at, person, post, seconds, more from events_open"
    ) == [("e1", NOW, "p1", 1, 2.0, None)]
    rows = run_sql(
        resources,
        "select id, n, request, post, propensity, followed, tags, more"
        " from events_shown order by n",
    )
    assert rows == [
        ("s1", 0, "r1", 7, 1.0, True, ["柴犬"], None),
        ("s1", 1, "r1", 8, 0.5, False, None, '{"new": 1}'),
    ]
    assert run_sql(resources, "select id, person, more from events_undeclared") == [
        ("u1", "p1", '{"a": [1]}')
    ]


def test_exporting_again_exports_what_is_new_and_the_same_event_again_stays_one(resources, events):
    events.write_now([open_event(1, id="e1")])
    assert maintenance.export_events_now(resources, NOW) == 1
    assert maintenance.export_events_now(resources, NOW) == 0
    events.write_now([open_event(1, id="e1"), open_event(2, id="e2")])
    assert maintenance.export_events_now(resources, LATER) == 2
    assert run_sql(resources, "select id from events_open order by id") == [("e1",), ("e2",)]


def test_values_that_are_not_what_the_kind_says_are_kept_beside(resources, events):
    wrong = {"post": "seven", "seconds": True, "page": "home"}
    events.write_now(
        [
            Event(id="w1", kind="open", at=NOW, values=wrong),
            Event(id="w2", kind="open", at=NOW, values={"post": 2**70}),
        ]
    )
    maintenance.export_events_now(resources, LATER)
    rows = run_sql(resources, "select post, seconds, more from events_open order by id")
    assert rows[0] == (None, None, '{"page": "home", "post": "seven", "seconds": true}')
    assert rows[1][0] is None and str(2**70) in rows[1][2]


def test_a_list_without_items_makes_no_facts_and_is_done(resources, events):
    events.write_now(
        [
            Event(kind="shown", at=NOW, values={"request": "r", "positions": []}),
            Event(kind="shown", at=NOW, values={}),
        ]
    )
    assert maintenance.export_events_now(resources, LATER) == 2
    assert count_events(resources) == 0


def test_two_exports_at_once_export_nothing_twice(resources, events):
    events.write_now([open_event(number) for number in range(200)])
    barrier = threading.Barrier(2)
    prepare = resources.warehouse.prepare_file

    def slowly(*given, **more):
        barrier.wait(10)
        return prepare(*given, **more)

    resources.warehouse.prepare_file = slowly
    with ThreadPoolExecutor(2) as pool:
        exports = [
            pool.submit(maintenance.export_to_warehouse, resources, "open", "e", LATER)
            for _ in range(2)
        ]
        outcomes = sorted(
            [export.exception().__class__ for export in exports], key=lambda kind: kind.__name__
        )
    assert outcomes == [Conflict, type(None)]
    assert run_sql(resources, "select count(*), count(distinct id) from events_open_history") == [
        (200, 200)
    ]


def test_events_that_come_while_a_file_is_written_stay_for_the_next(resources, events):
    events.write_now([open_event(1)])
    prepare = resources.warehouse.prepare_file

    def meanwhile(*given, **more):
        events.write_now([open_event(2, id="0")])
        return prepare(*given, **more)

    resources.warehouse.prepare_file = meanwhile
    assert maintenance.export_to_warehouse(resources, "open", "e", LATER) == 1
    resources.warehouse.prepare_file = prepare
    assert maintenance.export_events_now(resources, LATER) == 1
    assert run_sql(resources, "select count(*) from events_open") == [(2,)]


def test_more_than_fits_in_one_file_goes_in_several(resources, events, monkeypatch):
    monkeypatch.setattr(maintenance, "EVENTS_PER_FILE", 40)
    monkeypatch.setattr(maintenance, "EVENTS_PER_DELETE", 7)
    events.write_now([open_event(number) for number in range(100)])
    assert maintenance.export_events_now(resources, LATER) == 100
    with resources.db.read() as db:
        assert [file.rows for file in resources.warehouse.load_files(db, "events_open")] == [
            40,
            40,
            20,
        ]


def test_the_hourly_run_exports_tidies_and_is_one_run_an_hour(
    resources: Resources, events: EventLog
):
    assert maintenance.export_run_id(NOW) == "events-2021-01-11T12"
    events.write_now([open_event(1), open_event(2)])
    with resources.db.write() as db:
        db.add(RateLimitCounter(key="k", uses=1, expires_at=NOW))
        audit_log.append_entry(
            db, audit_log.AuditedAction(actor="hana", action="x", target="y", details={}), NOW
        )
    resources_file.set_process_resources(resources)
    with jobs.run_worker(resources.db, "one"):
        for _ in range(2):
            maintenance.enqueue_export(maintenance.export_run_id(NOW))
        run = resources.jobs.wait_for_run(maintenance.export_run_id(NOW), seconds=30)
    assert (run.status, run.error) == ("done", None)
    assert count_events(resources) == 0
    assert run_sql(resources, "select count(*) from events_open") == [(2,)]
    with resources.db.read() as db:
        assert db.scalar(text("select count(*) from rate_limit_counter")) == 0


def test_resources_that_end_write_what_waits(tmp_path, embedded):
    embedded.events.write_later(open_event(1))
    bootstrap.close_resources(embedded)
    with embedded.db.read() as db:
        assert db.scalar(select(func.count()).select_from(Event)) == 1
