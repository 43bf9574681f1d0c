"""Pages and commands of alerts and of forecast value added, in both languages."""

import csv
import io
import json

import pytest

from tanuki.app import bootstrap
from tanuki.errors import UserError
from tanuki.platform.web import app as web
from tanuki.settings import Settings
from tanuki.shop import web as shop_web
from tanuki.shop.commands import alerts as commands
from tanuki.shop.monitoring import alerts
from tanuki.shop.monitoring.detectors import Signal
from tests.factories.command_line import CommandRunner
from tests.factories.http_clients import csrf, make_person, signed_in
from tests.factories.store_chain import NOW, make_chain
from tests.shop.monitoring.test_alerts import evaluated, keep
from tests.shop.test_forecast_value_added import evaluated_week


@pytest.fixture
def app(embedded):
    make_chain(embedded)
    for name, grant in (
        ("ops", ("operator", None)),
        ("ana", ("analyst", None)),
        ("mika", ("manager", "chiba")),
    ):
        make_person(embedded, name, grant)
    return web.create_app(embedded, [shop_web.SYSTEM])


def record_alerts(res, *signs):
    with res.db.write() as db:
        return [alert.id for alert in alerts.record_signals(db, signs, NOW)]


STALE = Signal("stale_store", "store=osaka", "2021-W01", {"last": "2021-01-04", "days": 6})


@pytest.mark.parametrize(
    ("lang", "seen", "do"),
    [
        (
            "en",
            "osaka has sent no sales since 2021-01-04: 6 days behind",
            "Ask the store for its files",
        ),
        ("ja", "osakaの売上が2021-01-04を最後に届いていません", "店舗にファイルを求め"),
    ],
)
def test_an_open_alert_says_what_was_observed_and_what_to_do(app, embedded, lang, seen, do):
    (number,) = record_alerts(embedded, STALE)
    browser = signed_in(app, "ana")
    page = browser.get("/shop/alerts", headers={"Accept-Language": lang}).text
    assert seen in page
    assert do in page
    row = browser.get("/api/shop/alerts", headers={"Accept-Language": lang}).json()["open_alerts"][
        0
    ]
    assert (row["id"], row["code"], row["subject"]) == (number, "stale_store", "store=osaka")
    (line,) = csv.DictReader(
        io.StringIO(browser.get("/shop/alerts.csv").content.decode("utf-8-sig"))
    )
    assert line["code"] == "stale_store"


def test_an_alert_is_closed_on_the_page_and_then_listed_with_its_reason(app, embedded):
    (number,) = record_alerts(embedded, STALE)
    browser = signed_in(app, "ops")
    assert (
        browser.post(
            f"/shop/alerts/{number}/close", data={"why": "closed for works", "csrf": csrf(browser)}
        ).status_code
        == 303
    )
    view = browser.get("/api/shop/alerts").json()
    assert view["open_alerts"] == []
    assert [(alert["closed_by"], alert["why"]) for alert in view["closed_alerts"]] == [
        ("ops", "closed for works")
    ]
    assert "closed for works" in browser.get("/shop/alerts").text


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_last_weeks_have_charts_with_their_limits(app, embedded, lang):
    keep(embedded, evaluated(n=6))
    page = signed_in(app, "ana").get("/shop/alerts", headers={"Accept-Language": lang}).text
    assert page.count('<div class="chart-box">') == 3
    assert page.count("<svg role") == 9  # each chart in three widths
    assert page.count('<tr><th scope="row"') == 6


def eight_weeks(res):
    """Eight weeks: each of mika's changes costs 12 missing cans, each of kento's saves 12."""
    with res.db.write() as db:
        for n in range(1, 9):
            touches = [("chiba", "confirm", "mika", 10, 8), ("osaka", "confirm", "kento", 10, 12)]
            evaluated_week(
                db, f"2020-W{n:02d}", {"chiba": (10, 8, 80 + n), "osaka": (10, 12, 80 + n)}, touches
            )


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_chain_sees_the_value_of_all_changes_and_managers_that_of_their_own(
    app, embedded, lang
):
    eight_weeks(embedded)
    browser = signed_in(app, "ana")
    page = browser.get("/shop/forecast-value-added", headers={"Accept-Language": lang}).text
    assert "kento" in page
    assert "<svg role" in page
    view = browser.get("/api/shop/forecast-value-added").json()
    assert [(row["key"], row["changes"], row["saved_yen"] > 0) for row in view["person"]] == [
        ("kento", 8, True),
        ("mika", 8, False),
    ]
    assert {row["advice"] for row in view["person"]} == {"not_enough"}
    own = signed_in(app, "mika").get("/api/shop/forecast-value-added").json()
    assert [row["key"] for row in own["person"]] == ["mika"]
    assert [row["key"] for row in own["store"]] == ["chiba"]
    assert "kento" not in signed_in(app, "mika").get("/shop/forecast-value-added").text
    rows = list(
        csv.DictReader(
            io.StringIO(browser.get("/shop/forecast-value-added.csv").content.decode("utf-8-sig"))
        )
    )
    assert {row["by"] for row in rows} == {"person", "stage", "store", "item"}


def run(home, command, *args):
    done = CommandRunner().invoke(
        command, list(args), env={"TANUKI_HOME": str(home)}, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return (
        [json.loads(line) for line in done.output.splitlines()] if "--json" in args else done.output
    )


def test_commands_list_and_close_alerts_and_show_the_value_of_changes(tmp_path):
    res = bootstrap.create_resources(Settings(home=tmp_path))
    make_chain(res)
    eight_weeks(res)
    keep(res, evaluated(width=0.3))
    bootstrap.close_resources(res)
    (alert,) = [
        alert for alert in run(tmp_path, commands.alerts, "--json") if alert["code"] == "coverage"
    ]
    assert alert["values"]["share"] < 0.65
    assert "Check the uncertain lines twice" in run(tmp_path, commands.alerts)
    assert "is closed" in run(tmp_path, commands.close_alert, str(alert["id"]), "--why", "known")
    assert not [
        alert for alert in run(tmp_path, commands.alerts, "--json") if alert["code"] == "coverage"
    ]
    with pytest.raises(UserError, match="closed already"):
        run(tmp_path, commands.close_alert, str(alert["id"]), "--why", "again")
    for by, keys in (
        ("person", {"kento", "mika"}),
        ("stage", {"confirm"}),
        ("store", {"chiba", "osaka"}),
        ("item", {"beer"}),
    ):
        assert {row["key"] for row in run(tmp_path, commands.fva, "--by", by, "--json")} == keys
    assert "not_enough" in run(tmp_path, commands.fva)
