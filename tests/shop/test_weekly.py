"""The durable week: by hand and by rule, deadlines, killed at every step, New Year."""

import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import func, select

from tanuki.errors import UserError
from tanuki.i18n import TOKYO
from tanuki.platform import resources as resources_file
from tanuki.platform.jobs import run_worker
from tanuki.platform.resources import Resources
from tanuki.shop import evaluation, forecasts, orders, purchase_orders, rules, weekly
from tanuki.shop.calendar import Week, clock, week_to_order
from tanuki.shop.orders import LineChange
from tanuki.shop.tables import (
    Change,
    Confirmation,
    Cycle,
    Evaluation,
    Forecast,
    OrderLine,
    PurchaseOrder,
)
from tests.factories.store_chain import (
    ANALYST,
    CHIBA,
    ITEMS,
    NOW,
    OSAKA,
    STORES,
    TARGET,
    import_csv,
    make_chain,
    sales_csv,
)
from tests.factories.translators import SAY

LATER = datetime(2026, 1, 5, tzinfo=UTC)


@contextmanager
def working(res: Resources):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests"):
        yield


def start(res, week=TARGET, **options):
    with res.db.write() as db:
        now = options.pop("now", datetime.now(UTC))
        return weekly.start_cycle(db, res.jobs, week, weekly.CycleStart("tests", now, **options))


def state(res, week=TARGET):
    with res.db.read() as db:
        return orders.get_cycle(db, week).state


def wait_for_state(res, expected, week=TARGET, seconds=60):
    run = res.jobs.wait_for_run(
        orders.weekly_run_id(week), seconds=seconds, until=lambda: state(res, week) == expected
    )
    assert state(res, week) == expected, (run.status, run.error)


def counts(res):
    with res.db.read() as db:
        tables = (Forecast, OrderLine, Confirmation, PurchaseOrder)
        return {
            table.__name__: db.scalar(select(func.count()).select_from(table)) for table in tables
        }


SERIES = len(STORES) * len(ITEMS)
WHOLE = {
    "Forecast": 3 * SERIES,
    "OrderLine": SERIES,
    "Confirmation": len(STORES),
    "PurchaseOrder": 4,
}


def test_a_week_that_waits_for_nobody_goes_from_sales_to_purchase_orders_and_its_evaluation(
    resources,
):
    make_chain(resources)
    with working(resources):
        start(resources, auto=True)
        start(resources, auto=True)
        wait_for_state(resources, "ordered")
    assert counts(resources) == WHOLE
    with resources.db.read() as db:
        cycle = orders.get_cycle(db, TARGET)
        assert (cycle.cutoff, cycle.checked_by, cycle.findings) == (TARGET.cutoff, None, [])
        for line in orders.list_order_lines(db, ANALYST, TARGET):
            assert 0.5 < line.cases * line.case_units / line.recent_units < 2
    with pytest.raises(UserError, match="not all there"), resources.db.write() as db:
        evaluation.evaluate_week(db, resources.warehouse, TARGET, LATER)
    import_csv(resources, "sales", sales_csv(TARGET.buffer.monday, TARGET.sunday), now=LATER)
    with resources.db.write() as db:
        evaluations = evaluation.evaluate_week(db, resources.warehouse, TARGET, LATER)
        assert len(evaluations) == SERIES
        for row in evaluations:
            assert row.shortage_units - row.leftover_units == row.actual - row.available_units
    with resources.db.write() as db:
        evaluation.evaluate_week(db, resources.warehouse, TARGET, LATER)
    with resources.db.read() as db:
        assert db.scalar(select(func.count()).select_from(Evaluation)) == SERIES
        (whole,) = evaluation.summarise_evaluations(evaluation.list_evaluations(db, ANALYST), "all")
        assert whole.lines == SERIES
        assert whole.wape < 0.25
        assert {row.store for row in evaluation.list_evaluations(db, CHIBA)} == {"chiba"}


def test_people_check_release_change_and_confirm_and_the_run_follows(resources):
    make_chain(resources)
    with working(resources):
        start(resources, hours=24)
        wait_for_state(resources, "proposed")
        with resources.db.write() as db:
            orders.change_order_line(
                db, ANALYST, TARGET, LineChange("chiba", "beer", 40, 1, "a festival"), NOW
            )
            orders.release_week(db, ANALYST, resources.jobs, TARGET, NOW)
        wait_for_state(resources, "released")
        with resources.db.write() as db:
            orders.change_order_line(db, CHIBA, TARGET, LineChange("chiba", "coffee", 1, 1), NOW)
            orders.confirm_store(db, CHIBA, resources.jobs, TARGET, "chiba", NOW)
        time.sleep(1)
        assert counts(resources)["PurchaseOrder"] == 0
        with resources.db.write() as db:
            orders.confirm_store(db, OSAKA, resources.jobs, TARGET, "osaka", NOW)
        wait_for_state(resources, "ordered")
    assert counts(resources) == WHOLE
    with resources.db.read() as db:
        held = {
            line.item: line.cases
            for line in purchase_orders.list_purchase_order_lines(db, "PO-2021W03-BREWER-CHIBA-1")
        }
        assert held == {"beer": 40}
        assert [change.stage for change in orders.list_order_changes(db, ANALYST, TARGET)] == [
            "confirm",
            "check",
        ]


def change_chain_rules(res, *, release_unchecked=True, order_unconfirmed=True):
    change = rules.RulesChange(release_unchecked, order_unconfirmed, "tests", {"unusual": 0.3})
    with res.db.write() as db:
        rules.change_rules(db, ANALYST, change, NOW)


def test_a_late_check_releases_by_rule_and_late_stores_are_ordered_by_rule(embedded):
    make_chain(embedded)
    with working(embedded):
        start(embedded, hours=0)
        wait_for_state(embedded, "released")
        with embedded.db.write() as db:
            orders.get_cycle(db, TARGET).confirm_due = datetime.now(UTC)
            embedded.jobs.send_message(db, orders.weekly_run_id(TARGET), "look", orders.WAKE_TOPIC)
        wait_for_state(embedded, "ordered")
    with embedded.db.read() as db:
        assert [
            confirmation.by for confirmation in orders.load_confirmations(db, TARGET).values()
        ] == [
            None,
            None,
        ]


def test_a_late_check_holds_by_rule_and_late_stores_are_left_out_until_they_confirm(embedded):
    make_chain(embedded)
    change_chain_rules(embedded, release_unchecked=False, order_unconfirmed=False)
    with working(embedded):
        start(embedded, hours=0)
        wait_for_state(embedded, "held")
        with embedded.db.read() as db:
            assert "nobody had checked" in (
                orders.render_cycle_alert(orders.get_cycle(db, TARGET)) or ""
            )
        with embedded.db.write() as db:
            orders.release_week(db, ANALYST, embedded.jobs, TARGET, NOW)
        wait_for_state(embedded, "released")
        with embedded.db.write() as db:
            orders.get_cycle(db, TARGET).confirm_due = datetime.now(UTC)
            orders.confirm_store(db, OSAKA, embedded.jobs, TARGET, "osaka", NOW)
        end, text = time.monotonic() + 30, ""
        while (
            "chiba" not in text or counts(embedded)["PurchaseOrder"] < 2
        ) and time.monotonic() < end:
            time.sleep(0.2)
            with embedded.db.read() as db:
                text = orders.render_cycle_alert(orders.get_cycle(db, TARGET), SAY["ja"]) or ""
        assert "chiba" in text
        assert counts(embedded)["PurchaseOrder"] == 2
        with embedded.db.write() as db:
            orders.confirm_store(db, CHIBA, embedded.jobs, TARGET, "chiba", NOW)
        wait_for_state(embedded, "ordered")
    assert counts(embedded) == WHOLE


def test_a_week_without_sales_says_so_and_goes_on_once_they_are_there(embedded):
    with working(embedded):
        start(embedded, auto=True)
        run = embedded.jobs.wait_for_run(orders.weekly_run_id(TARGET), seconds=60)
        assert run.status == "failed"
        with embedded.db.read() as db:
            assert "There are no sales" in (
                orders.render_cycle_alert(orders.get_cycle(db, TARGET)) or ""
            )
        make_chain(embedded)
        with embedded.db.write() as db:
            orders.get_cycle(db, TARGET).as_of = datetime.now(UTC)
        embedded.jobs.resume_run(orders.weekly_run_id(TARGET))
        wait_for_state(embedded, "ordered")
    assert counts(embedded) == WHOLE


def test_a_store_that_stopped_sending_and_days_without_sales_are_found(embedded):
    make_chain(embedded)
    import polars as pl

    from tanuki.shop.ingest.loading import SALES

    with embedded.db.read() as db:
        sales = embedded.warehouse.read_facts(db, SALES, as_of=LATER)
    day = TARGET.cutoff - timedelta(days=3)
    broken = sales.filter((pl.col("store") != "osaka") | (pl.col("date") < day)).filter(
        pl.col("date") != day - timedelta(days=7)
    )
    assert weekly.find_data_gaps(sales, TARGET) == []
    assert weekly.find_data_gaps(broken, TARGET) == [
        {"code": "stale_store", "store": "osaka", "last": (day - timedelta(days=1)).isoformat()},
        {"code": "missing_days", "days": 1, "first": (day - timedelta(days=7)).isoformat()},
    ]


def test_a_week_whose_sales_are_still_to_come_is_refused(embedded):
    with pytest.raises(
        UserError, match="2021-W03 is ordered on 2021-01-11; the sales it needs, up to 2021-01-10"
    ):
        start(embedded, now=datetime(2021, 1, 10, 23, tzinfo=TOKYO))


@pytest.mark.parametrize(
    ("started", "hours", "check", "confirm"),
    [
        (clock(TARGET).aggregate, None, clock(TARGET).check_due, clock(TARGET).confirm_due),
        (
            clock(TARGET).aggregate,
            5,
            clock(TARGET).aggregate + timedelta(hours=5),
            clock(TARGET).aggregate + timedelta(hours=10),
        ),
        (LATER, None, LATER + timedelta(hours=2), LATER + timedelta(hours=3)),
    ],
)
def test_deadlines_are_the_clocks_when_in_time_and_a_fair_while_otherwise(
    started, hours, check, confirm
):
    times = weekly.plan_deadlines(TARGET, started, hours)
    assert (times["check_due"], times["confirm_due"]) == (check, confirm)


def test_four_weeks_over_new_year_in_order(embedded):
    year_end = [Week(2020, 52), Week(2020, 53), Week(2021, 1), Week(2021, 2)]
    make_chain(embedded, last=Week(2021, 2).sunday, now=LATER)
    with working(embedded):
        for week in year_end:
            start(embedded, week, auto=True)
            wait_for_state(embedded, "ordered", week)
            with embedded.db.write() as db:
                assert len(evaluation.evaluate_week(db, embedded.warehouse, week, LATER)) == SERIES
    with embedded.db.read() as db:
        assert [cycle.week for cycle in weekly.list_cycles(db)] == [
            "2021-W02",
            "2021-W01",
            "2020-W53",
            "2020-W52",
        ]
        assert [
            str(worth.key)
            for worth in evaluation.summarise_evaluations(
                evaluation.list_evaluations(db, ANALYST), "week"
            )
        ] == [str(week) for week in year_end]
        assert db.scalar(select(func.count()).select_from(PurchaseOrder)) == 4 * 4


CHILD = """
import os, signal, sys, time
from sqlalchemy import event
from sqlalchemy.orm import Session
from tanuki.platform import resources
from tanuki.platform.jobs import run_worker
from tanuki.settings import Settings
from tanuki.app import bootstrap
from tanuki.shop import weekly
home, url, when, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
settings = Settings.model_validate({"home": home, "database": url})
res = bootstrap.create_resources(settings, upgrade=False)
commits = [0]

@event.listens_for(Session, when)
def kill(session):
    if session.new or session.dirty or session.info.get("wrote"):
        commits[0] += 1
        if commits[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Session, "after_flush")
def mark_written(session, context):
    names = {type(record).__name__ for record in (*session.new, *session.dirty)}
    session.info["wrote"] = bool(names - {"WorkerHeartbeat"})

resources.set_process_resources(res)
with run_worker(res.db, "child"):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if res.jobs.load_run("weekly-2021-W03").status == "done":
            os._exit(0)
        time.sleep(0.1)
os._exit(3)
"""


def run_child(res, when, number):
    command = [sys.executable, "-c", CHILD, str(res.settings.home), res.db.url, when, str(number)]
    return subprocess.run(
        command, cwd=Path(__file__).parents[2], timeout=120, check=False, capture_output=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
def test_killed_at_each_step_nothing_is_lost_and_nothing_is_there_twice(resources, when):
    """Each time the process kills itself one step's transaction later, until one gets through."""
    make_chain(resources)
    start(resources, auto=True)
    kills = 0
    for number in range(1, 30):
        ended = run_child(resources, when, 1 if when == "after_commit" else number)
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr.decode()[-2000:]
        kills += 1
    assert kills >= 4
    assert state(resources) == "ordered"
    assert counts(resources) == WHOLE


def test_an_edit_of_a_person_survives_a_kill(resources):
    make_chain(resources)
    start(resources, hours=24)
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            CHILD,
            str(resources.settings.home),
            resources.db.url,
            "before_commit",
            "999",
        ]
    ) as child:
        wait_for_state(resources, "proposed")
        with resources.db.write() as db:
            orders.change_order_line(
                db, ANALYST, TARGET, LineChange("osaka", "milk", 17, 1, "closed on Friday"), NOW
            )
        child.kill()
    with resources.db.write() as db:
        orders.release_week(db, ANALYST, resources.jobs, TARGET, NOW)
        orders.get_cycle(db, TARGET).release_at = NOW
    with working(resources):
        wait_for_state(resources, "released")
        with resources.db.write() as db:
            for store in STORES:
                orders.confirm_store(db, ANALYST, resources.jobs, TARGET, store, NOW)
        wait_for_state(resources, "ordered")
    with resources.db.read() as db:
        assert {
            line.item: line.cases
            for line in purchase_orders.list_purchase_order_lines(db, "PO-2021W03-ROASTER-OSAKA-1")
        }["milk"] == 17
        assert db.scalar(select(func.count()).select_from(Change)) == 1
        assert db.scalar(select(func.count()).select_from(Cycle)) == 1


def test_steps_are_measured_and_the_models_version_is_known(embedded):
    from tanuki.platform import metrics

    make_chain(embedded)
    with working(embedded):
        start(embedded, auto=True)
        wait_for_state(embedded, "ordered")
    text = metrics.process_metrics().text().decode()
    for step in (
        "aggregate_sales",
        "record_forecast",
        "propose_orders",
        "release_to_stores",
        "order_confirmed_stores",
        "finish_week",
    ):
        assert f'tanuki_steps_total{{outcome="done",step="{step}",workflow="weekly"}}' in text


def test_the_clock_starts_the_week_that_is_ordered_now_and_leaves_an_older_one_alone(embedded):
    resources_file.set_process_resources(embedded)
    target = week_to_order(datetime.now(TOKYO).date())
    weekly.start_due_week(target.plus(-1))
    weekly.start_due_week(target)
    weekly.start_due_week(target)
    with embedded.db.read() as db:
        assert [(cycle.week, cycle.started_by) for cycle in weekly.list_cycles(db)] == [
            (str(target), "clock")
        ]
    assert [run.id for run in embedded.jobs.list_runs()] == [orders.weekly_run_id(target)]


def test_every_hour_weeks_whose_sales_have_arrived_are_evaluated_once(embedded):
    make_chain(embedded)
    with working(embedded):
        start(embedded, auto=True)
        wait_for_state(embedded, "ordered")
    assert weekly.evaluate_complete_weeks() == 0
    import_csv(embedded, "sales", sales_csv(TARGET.buffer.monday, TARGET.sunday), now=LATER)
    assert weekly.evaluate_complete_weeks() == 1
    assert weekly.evaluate_complete_weeks() == 0
    assert state(embedded) == "evaluated"


def in_parts(monkeypatch):
    """Every store is a part of its own."""
    monkeypatch.setitem(forecasts.split_stores.__kwdefaults__, "max_rows", 1)


def test_a_chain_in_parts_is_forecast_as_each_part_alone(resources, monkeypatch):
    in_parts(monkeypatch)
    make_chain(resources)
    with working(resources):
        start(resources, auto=True)
        wait_for_state(resources, "ordered")
    assert [run.status for run in resources.jobs.list_runs(name="forecast-part")] == [
        "done",
        "done",
    ]
    with resources.db.read() as db:
        cycle = db.get(Cycle, str(TARGET))
        means = {
            (forecast.store, forecast.item): forecast.mean
            for forecast in forecasts.list_target_forecasts(db, TARGET)
        }
        for store in ("chiba", "osaka"):
            frame, *_ = forecasts.make_forecast(
                db,
                resources.warehouse,
                resources.registry,
                TARGET,
                as_of=cycle.as_of,
                stores=[store],
            )
            for row in frame.filter(pl.col("week") == str(TARGET)).iter_rows(named=True):
                assert means.pop((store, row["item"])) == row["mean"]
    assert not means


@pytest.mark.slow
def test_resuming_a_week_resumes_its_failed_parts(embedded, monkeypatch):
    in_parts(monkeypatch)
    make_chain(embedded)
    folder = embedded.settings.home / "objects" / "warehouse"
    with working(embedded):
        folder.rename(folder.with_name("elsewhere"))
        folder.mkdir()
        start(embedded, auto=True)
        assert embedded.jobs.wait_for_run("weekly-2021-W03", seconds=90).status == "failed"
        folder.rmdir()
        folder.with_name("elsewhere").rename(folder)
        embedded.jobs.resume_run("weekly-2021-W03")
        wait_for_state(embedded, "ordered")
    assert counts(embedded) == WHOLE
