"""Retraining: drift starts one, the gate decides, and the month starts one, too."""

from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from sqlalchemy import select

from tanuki.i18n import TOKYO
from tanuki.platform import resources as resources_file
from tanuki.platform.jobs import run_worker
from tanuki.platform.mlops import release
from tanuki.platform.mlops.registry import CHAMPION
from tanuki.platform.mlops.rollout import version_with_alias
from tanuki.platform.mlops.tables import GateVerdict, Release
from tanuki.platform.resources import Resources
from tanuki.shop import forecasts, panel, retraining
from tanuki.shop.calendar import week_to_order
from tanuki.shop.forecasting import forecaster
from tanuki.shop.monitoring import alerts, messages
from tests.factories.store_chain import ANALYST, ITEMS, NOW, STORES, TARGET, import_csv, make_chain
from tests.shop.monitoring.test_alerts import evaluated, every, keep

pytestmark = pytest.mark.mlflow
RUN = f"retrain-{TARGET}"


@contextmanager
def working(res: Resources):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests"):
        yield


def champion(res: Resources, kind: str) -> str:
    """A champion of a kind, however it would fare at the gate."""
    with res.db.read() as db:
        history = panel.load_history(db, res.warehouse, as_of=NOW).build_panel(TARGET.plus(-20))
    model = forecaster.make_forecaster(kind)
    model.fit(history)
    with TemporaryDirectory() as folder:
        model.save(Path(folder))
        parameters = {"forecaster": kind, **model.parameters}
        version = res.registry.save(
            forecasts.FORECAST_MODEL,
            Path(folder),
            parameters=parameters,
            metrics={},
            data_window=("2020-01-06", "2020-08-23"),
            code_version="0",
        )
    return res.registry.set_alias(forecasts.FORECAST_MODEL, CHAMPION, version.version).version


def growing_sales() -> str:
    """Random daily sales around a level that doubles within four months.

    Plain rules lag behind it; a model with a trend does not.
    """
    chance, first = np.random.default_rng(1), date(2020, 1, 6)
    rows = ["date,store,item,sales"]
    for n in range((TARGET.cutoff - first).days + 1):
        level = (1 + n / 120) * (1.5 if n % 7 >= 5 else 1.0)
        rows += [
            f"{first + timedelta(days=n)},{s},{i},{chance.poisson((12 + 4 * k) * level)}"
            for k, s in enumerate(STORES)
            for i in ITEMS
        ]
    return "\n".join(rows) + "\n"


def live(res: Resources) -> str | None:
    version = version_with_alias(res.registry, forecasts.FORECAST_MODEL)
    return version.version if version else None


@pytest.mark.slow
def test_a_planted_bias_starts_exactly_one_retraining_whose_no_go_changes_nothing_and_is_told(
    embedded,
):
    """The champion is a plain rule.

    Trained again it is no better than the baseline, which is that rule, so the gate says NO-GO.
    """
    make_chain(embedded)
    before = champion(embedded, "moving_average")
    keep(embedded, evaluated(forecast=1.6, only="osaka"))
    for hours in range(2):
        with embedded.db.write() as db:
            alerts.update_alerts(
                db, embedded.warehouse, embedded.jobs, NOW + timedelta(hours=hours)
            )
    with working(embedded):
        run = embedded.jobs.wait_for_run(RUN, seconds=120)
    assert run.status == "done", run.error
    assert [step.name for step in run.steps] == [
        "retrain_train_version",
        "retrain_evaluate_version",
        "retrain_record_on_alerts",
    ]
    assert [alert.id for alert in embedded.jobs.list_runs(name="retrain")] == [RUN]
    versions = embedded.registry.versions(forecasts.FORECAST_MODEL)
    assert [version.version for version in versions] == [str(int(before) + 1), before]
    assert {version.parameters["forecaster"] for version in versions} == {"moving_average"}
    assert live(embedded) == before
    with embedded.db.write() as db:
        (verdict,) = db.scalars(select(GateVerdict))
        assert (verdict.version, verdict.champion, verdict.go, verdict.by) == (
            versions[0].version,
            before,
            False,
            "tanuki",
        )
        assert db.scalars(select(Release)).all() == []
        alerts.update_alerts(db, embedded.warehouse, embedded.jobs, NOW + timedelta(hours=3))
        (alert,) = [alert for alert in every(db) if alert.subject == "store=osaka"]
        assert alert.values["retraining"] == {
            "state": "no_go",
            "week": str(TARGET),
            "version": verdict.version,
        }
        assert "NO-GO" in messages.render_action(alert.code, alert.values)
        assert [
            other.code
            for other in alerts.list_alerts(db, ANALYST)[0]
            if other.closed_at is None and other.id == alert.id
        ] == ["bias"]
    assert len(embedded.jobs.list_runs(name="retrain")) == 1


@pytest.mark.slow
def test_a_version_that_passes_goes_live_and_judging_it_again_keeps_one_verdict(embedded):
    """The champion learnt until August; trained on what is known now, the same model passes."""
    import_csv(embedded, "sales", growing_sales())
    before = champion(embedded, "auto_ets")
    resources_file.set_process_resources(embedded)
    version = retraining.train_version(TARGET)
    assert live(embedded) == before
    assert retraining.evaluate_version(version)
    assert retraining.evaluate_version(version)
    assert live(embedded) == version
    with embedded.db.read() as db:
        assert len(release.list_verdicts(db, forecasts.FORECAST_MODEL)) == 1
        (entry,) = release.list_releases(db, forecasts.FORECAST_MODEL)
        assert (entry.version, entry.previous, entry.kind, entry.by) == (
            version,
            before,
            "gate",
            "tanuki",
        )


def test_the_month_asks_for_the_same_run_as_drift_does(embedded):
    resources_file.set_process_resources(embedded)
    week = week_to_order(datetime.now(UTC).astimezone(TOKYO).date())
    retraining.start_retraining(week)
    retraining.start_retraining(week)
    assert [(run.id, run.name) for run in embedded.jobs.list_runs()] == [
        (f"retrain-{week}", "retrain")
    ]


def test_the_hourly_look_raises_what_is_planted(embedded):
    resources_file.set_process_resources(embedded)
    assert retraining.scan_for_alerts() == 0
    keep(embedded, evaluated(width=0.3))
    assert retraining.scan_for_alerts() == 1
    assert retraining.scan_for_alerts() == 0
    with embedded.db.read() as db:
        assert [alert.code for alert in every(db)] == ["coverage"]


def test_without_any_sales_a_retraining_says_what_it_needs(embedded):
    with working(embedded):
        with embedded.db.write() as db:
            embedded.jobs.enqueue(db, alerts.RETRAIN_WORKFLOW, RUN, str(TARGET))
        run = embedded.jobs.wait_for_run(RUN, seconds=60)
    assert run.status == "failed"
    assert "No sales" in (run.error or "")


@pytest.mark.parametrize(
    "schedule", retraining.SCHEDULES, ids=lambda alert: str(alert["schedule_name"])
)
def test_schedules_are_named_apart_and_run_by_tokyos_clock(schedule):
    assert schedule["schedule_name"].startswith("shop-")
    assert schedule["cron_timezone"] == "Asia/Tokyo"
