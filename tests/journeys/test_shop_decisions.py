"""Decisions in a real browser: explained proposals, the gate, alerts, manual changes, rules."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from tanuki.platform.mlops.rollout import version_with_alias
from tanuki.platform.mlops.tables import Decision, GateVerdict
from tanuki.shop import forecasts, panel, weekly
from tanuki.shop.monitoring import alerts
from tanuki.shop.monitoring.detectors import Signal
from tests.factories.browser import Visit
from tests.factories.http_clients import make_person
from tests.factories.store_chain import NOW, TARGET, make_chain
from tests.shop.test_forecast_value_added import evaluated_week

pytestmark = [pytest.mark.browser, pytest.mark.mlflow]

TEXTS = {
    "en": {
        "check": "waiting for the check",
        "sum": "How the proposal adds up",
        "reason": "Store chiba is not forecast at all",
        "live": "against the NO-GO",
        "alarm": "osaka has sent no sales since 2021-01-04",
        "todo": "Ask the store for its files",
        "calm": "No alerts",
        "force": "Put the new rules in force",
        "floors": "97%, 95%, 0%",
    },
    "ja": {
        "check": "確認待ち",
        "sum": "提案数の内訳",
        "reason": "店舗「chiba」の予測がまったくありません",
        "live": "NO-GOに対して",
        "alarm": "osakaの売上が2021-01-04を最後に届いていません",
        "todo": "店舗にファイルを求め",
        "calm": "アラートはありません",
        "force": "このルールにする",
        "floors": "97%, 95%, 0%",
    },
}


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_an_analyst_sees_why_decides_about_a_version_closes_an_alarm_and_raises_a_floor(
    chromium, home, server, lang
):
    texts = TEXTS[lang]
    make_chain(home)
    for name, grant in (
        ("ana", ("analyst", None)),
        ("ops", ("operator", None)),
        ("mika", ("manager", "chiba")),
    ):
        make_person(home, name, grant)
    report = {
        "weeks": ["2020-W42", "2021-W01"],
        "default": "poisson_regression",
        "reasons": [{"code": "missing_slice", "slice": "store", "label": "chiba", "rows": 12}],
    }
    line = {
        "measure": "yen",
        "other": "champion",
        "slice": "all",
        "label": "",
        "rows": 6,
        "loss": 2.0,
        "other_loss": 1.0,
        "change": 1.0,
        "low": 0.6,
        "high": 1.4,
    }
    version = forecasts.train_challenger(
        history_of(home), home.registry, "moving_average", TARGET
    ).version
    with home.db.write() as db:
        db.add(
            GateVerdict(
                model=forecasts.FORECAST_MODEL,
                version=version,
                champion=None,
                decision=Decision.NO_GO,
                report={**report, "comparisons": [line]},
                at=NOW,
                by="tanuki",
            )
        )
        alerts.record_signals(
            db,
            [Signal("stale_store", "store=osaka", "2021-W01", {"last": "2021-01-04", "days": 6})],
            NOW,
        )
        for week in ("2020-W44", "2020-W45", "2020-W46"):
            evaluated_week(db, week, {"chiba": (10, 12, 70)}, [("chiba", "check", "ana", 10, 12)])
        start = weekly.CycleStart("tests", datetime.now(UTC), hours=24)
        weekly.start_cycle(db, home.jobs, TARGET, start)

    analyst = Visit(chromium, server, lang, 1280)
    analyst.sign_in("ana")
    expect(analyst.page.locator("main")).to_contain_text(texts["check"], timeout=60_000)
    analyst.go("/shop/check/2021-W03/chiba/beer")
    assert_sum(analyst, texts["sum"])

    analyst.go("/models/shop-forecast")
    expect(analyst.page.locator("main")).to_contain_text(texts["reason"])
    analyst.page.locator(f"form[action$='/{version}/override'] input[name=why]").fill("店が新しい")
    analyst.page.locator(f"form[action$='/{version}/override'] button").click()
    expect(analyst.page.locator(".flash").first).to_contain_text(texts["live"])
    assert version_with_alias(home.registry, forecasts.FORECAST_MODEL).version == version

    analyst.go("/shop/alerts")
    expect(analyst.page.locator("main")).to_contain_text(texts["alarm"])
    expect(analyst.page.locator("main")).to_contain_text(texts["todo"])
    analyst.page.locator("form[action$='/close'] input[name=why]").fill("電話した")
    analyst.page.locator("form[action$='/close'] button").click()
    expect(analyst.page.locator("main")).to_contain_text(texts["calm"])
    expect(analyst.page.locator("main")).to_contain_text("電話した")

    analyst.go("/shop/forecast-value-added")
    expect(analyst.page.locator("svg.chart:visible")).to_be_visible()
    expect(analyst.page.locator("main tbody").first).to_contain_text("ana")

    analyst.go("/shop/rules")
    analyst.page.fill("input[name=service_b]", "0.95")
    analyst.page.fill("input[name=why]", "欠品が多い")
    analyst.page.get_by_role("button", name=texts["force"]).click()
    expect(analyst.page.locator("table.data tbody tr").first).to_contain_text(texts["floors"])
    assert analyst.faults == []
    analyst.context.close()

    phone = Visit(chromium, server, lang, 390)
    phone.sign_in("ops")
    for path in (
        "/shop/models",
        "/shop/alerts",
        "/shop/forecast-value-added",
        "/shop/rules",
        "/shop/check/2021-W03/chiba/beer",
    ):
        phone.go(path)
    assert "/override" not in phone.page.content()
    assert phone.faults == []
    phone.context.close()


def history_of(home):
    with home.db.read() as db:
        return panel.load_history(db, home.warehouse, as_of=NOW)


def assert_sum(analyst, caption):
    """The parts of the proposal's sum, as the page shows them, are its number."""
    table = analyst.page.locator("table", has=analyst.page.locator("caption", has_text=caption))
    shown = table.locator("tbody td:nth-child(2)").all_inner_texts()
    total = table.locator("tfoot td:last-child").inner_text()
    units = analyst.page.locator(".figure").first.inner_text().split("=")[-1]
    assert len(shown) >= 3
    assert sum(number(part) for part in shown) == number(total) == number(units)


def number(text):
    return int(text.replace(",", "").replace("−", "-").replace("+", "").strip())
