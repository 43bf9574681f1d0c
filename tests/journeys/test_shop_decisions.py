"""What helps people decide, in a real browser: why a proposal is what it is, the gate, alarms, what changes were worth, the chain's rules."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from tanuki.platform.mlops import release
from tanuki.platform.mlops.tables import GateVerdict
from tanuki.shop import forecasts, panel, weekly
from tanuki.shop.monitoring import alerts
from tanuki.shop.monitoring.detectors import Signal
from tests.factories.browser import Visit
from tests.factories.http_clients import make_person
from tests.factories.store_chain import NOW, TARGET, make_chain
from tests.shop.test_forecast_value_added import evaluated_week

pytestmark = [pytest.mark.browser, pytest.mark.mlflow]

WORDS = {
    "en": {"check": "waiting for the check", "sum": "How the proposal adds up", "reason": "Store chiba is not forecast at all", "live": "against the gate", "alarm": "osaka has sent no sales since 2021-01-04", "todo": "Ask the store for its files", "calm": "No alerts", "force": "Put the new rules in force", "floors": "97%, 95%, 0%"},
    "ja": {"check": "確認待ち", "sum": "提案数の内訳", "reason": "店舗「chiba」の予測がまったくありません", "live": "判定に反して", "alarm": "osakaの売上が2021-01-04を最後に届いていません", "todo": "店舗にファイルを求め", "calm": "アラートはありません", "force": "このルールにする", "floors": "97%, 95%, 0%"},
}  # fmt: skip


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_an_analyst_sees_why_decides_about_a_version_closes_an_alarm_and_raises_a_floor(
    chromium, home, server, lang
):
    words = WORDS[lang]
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
        "ours": 2.0,
        "theirs": 1.0,
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
                go=False,
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
        weekly.start_cycle(db, home.jobs, TARGET, by="tests", now=datetime.now(UTC), hours=24)

    desk = Visit(chromium, server, lang, 1280)
    desk.sign_in("ana")
    expect(desk.page.locator("main")).to_contain_text(words["check"], timeout=60_000)
    desk.go("/shop/check/2021-W03/chiba/beer")
    adds_up(desk, words["sum"])

    desk.go("/shop/models")
    expect(desk.page.locator("main")).to_contain_text(words["reason"])
    desk.page.locator(f"form[action$='/{version}/override'] input[name=why]").fill("店が新しい")
    desk.page.locator(f"form[action$='/{version}/override'] button").click()
    expect(desk.page.locator(".flash").first).to_contain_text(words["live"])
    assert release.version_with_alias(home.registry, forecasts.FORECAST_MODEL).version == version

    desk.go("/shop/alerts")
    expect(desk.page.locator("main")).to_contain_text(words["alarm"])
    expect(desk.page.locator("main")).to_contain_text(words["todo"])
    desk.page.locator("form[action$='/close'] input[name=why]").fill("電話した")
    desk.page.locator("form[action$='/close'] button").click()
    expect(desk.page.locator("main")).to_contain_text(words["calm"])
    expect(desk.page.locator("main")).to_contain_text("電話した")

    desk.go("/shop/forecast-value-added")
    expect(desk.page.locator("svg.chart:visible")).to_be_visible()
    expect(desk.page.locator("main tbody").first).to_contain_text("ana")

    desk.go("/shop/rules")
    desk.page.fill("input[name=service_b]", "0.95")
    desk.page.fill("input[name=why]", "欠品が多い")
    desk.page.get_by_role("button", name=words["force"]).click()
    expect(desk.page.locator("table.data tbody tr").first).to_contain_text(words["floors"])
    assert desk.faults == []
    desk.context.close()

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


def adds_up(desk, caption):
    """The parts of the proposal's sum, as the page shows them, are its number."""
    table = desk.page.locator("table", has=desk.page.locator("caption", has_text=caption))
    shown = table.locator("tbody td:nth-child(2)").all_inner_texts()
    total = table.locator("tfoot td:last-child").inner_text()
    units = desk.page.locator(".figure").first.inner_text().split("=")[-1]
    assert len(shown) >= 3
    assert sum(number(each) for each in shown) == number(total) == number(units)


def number(text):
    return int(text.replace(",", "").replace("−", "-").replace("+", "").strip())
