"""A week in a real browser: the analyst checks, managers confirm on phones, orders are sent."""

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from tanuki.shop import orders, weekly
from tests.factories.browser import Visit
from tests.factories.http_clients import make_person
from tests.factories.store_chain import TARGET, make_chain

pytestmark = pytest.mark.browser

TEXTS = {
    "en": {
        "waiting": "waiting for the check",
        "save": "Save",
        "done": "Finish the check",
        "stores": "waiting for the stores",
        "confirm": "Confirm all",
        "thanks": "Confirmed. Thank you!",
        "issued": "issued",
        "order": "Purchase order",
    },
    "ja": {
        "waiting": "確認待ち",
        "save": "保存",
        "done": "確認を終える",
        "stores": "店舗の確定待ち",
        "confirm": "すべて確定する",
        "thanks": "確定しました。ありがとうございます。",
        "issued": "発行済み",
        "order": "発注書",
    },
}


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_week_from_the_check_to_the_purchase_orders(chromium, home, server, lang):
    texts = TEXTS[lang]
    make_chain(home)
    make_person(home, "ana", ("analyst", None))
    for store in ("chiba", "osaka"):
        make_person(home, f"m-{store}", ("manager", store))
    with home.db.write() as db:
        start = weekly.CycleStart("tests", datetime.now(UTC), hours=24)
        weekly.start_cycle(db, home.jobs, TARGET, start)

    analyst = Visit(chromium, server, lang, 1280)
    analyst.sign_in("ana")
    expect(analyst.page).to_have_url(re.compile("/shop/week"))
    expect(analyst.page.locator("h1")).to_contain_text(texts["waiting"], timeout=60_000)
    analyst.go("/shop/check")
    row = analyst.page.locator("tr#chiba-beer")
    row.locator("input[name=cases]").fill("33")
    row.locator("input[name=reason]").fill("祭り")
    row.get_by_role("button").click()
    expect(analyst.page).to_have_url(re.compile("#chiba-beer"))
    expect(analyst.page.locator("tr#chiba-beer input[name=cases]")).to_have_value("33")
    analyst.go("/shop/check/2021-W03/chiba/beer")
    expect(analyst.page.locator("svg.chart:visible")).to_be_visible()
    expect(analyst.page.locator("main")).to_contain_text("祭り")
    analyst.go("/shop/check")
    analyst.page.get_by_role("button", name=texts["done"]).first.click()
    expect(analyst.page.locator("h1")).to_contain_text(texts["stores"], timeout=60_000)

    for store in ("chiba", "osaka"):
        phone = Visit(chromium, server, lang, 390)
        phone.sign_in(f"m-{store}")
        expect(phone.page).to_have_url(re.compile("/shop/store"))
        if store == "chiba":
            expect(phone.page.locator("input[name=cases]").first).to_have_value("33")
            phone.page.locator("input[name=cases]").nth(1).fill("5")
        phone.page.get_by_role("button", name=texts["confirm"]).click()
        expect(phone.page.locator(".flash").first).to_contain_text(texts["thanks"])
        assert (
            phone.page.goto(
                f"{server}/shop/store?store={'osaka' if store == 'chiba' else 'chiba'}"
            ).status
            == 404
        )
        phone.faults = [fault for fault in phone.faults if "404" not in fault]
        assert phone.faults == []
        phone.context.close()

    home.jobs.wait_for_run(orders.weekly_run_id(TARGET), seconds=60)
    analyst.go("/shop/orders")
    expect(analyst.page.locator("tbody tr")).to_have_count(4)
    expect(analyst.page.locator("tbody tr").first).to_contain_text(texts["issued"])
    analyst.page.get_by_role("link", name="PO-2021W03-BREWER-CHIBA-1").click()
    expect(analyst.page.locator("h1")).to_contain_text(texts["order"])
    expect(analyst.page.locator("tbody tr").first).to_contain_text("33")
    with analyst.page.expect_download() as download:
        analyst.page.locator("a[href$='/sent.csv']").click()
    assert "PO-2021W03-BREWER-CHIBA-1" in download.value.path().read_text("utf-8-sig")
    for path in (
        "/shop/week",
        "/shop/evaluation",
        "/shop/sales",
        "/shop/data",
        "/shop/models",
        "/shop/rules",
        "/runs",
        "/runs/weekly-2021-W03",
        "/account",
        "/api",
    ):
        analyst.go(path)
        assert analyst.page.locator("html").get_attribute("lang") == lang
    assert analyst.faults == []
    analyst.context.close()


def test_language_and_theme_are_switched_on_any_page_and_remembered(chromium, home, server):
    make_person(home, "ana", ("analyst", None))
    analyst = Visit(chromium, server, "en", 1280)
    analyst.sign_in("ana")
    analyst.page.locator(".wide .personal > summary").click()
    analyst.page.locator(".wide button[name=lang][value=ja]").click()
    expect(analyst.page.locator("h1")).to_contain_text("今週")
    analyst.page.locator(".wide .personal > summary").click()
    analyst.page.locator(".wide button[name=theme][value=dark]").click()
    expect(analyst.page.locator("html")).to_have_attribute("data-theme", "dark")
    analyst.go("/shop/sales")
    assert analyst.page.locator("html").get_attribute("lang") == "ja"
    assert analyst.page.locator("html").get_attribute("data-theme") == "dark"
    assert analyst.faults == []
    analyst.context.close()


def test_a_file_is_brought_in_and_a_row_is_put_right_on_the_page(chromium, home, server, tmp_path):
    make_chain(home)
    make_person(home, "ana", ("analyst", None))
    file = tmp_path / "late.csv"
    file.write_text(
        "date,store,item,sales\n2021-01-11,chiba,beer,12\n2021-01-11,chiba,coffee,many\n",
        encoding="utf-8",
    )
    analyst = Visit(chromium, server, "en", 1280)
    analyst.sign_in("ana")
    analyst.go("/shop/data")
    analyst.page.set_input_files("input[type=file]", str(file))
    analyst.page.get_by_role("button", name="Import").click()
    expect(analyst.page.locator(".flash")).to_contain_text("1 rows new")
    analyst.page.locator("details.waiting summary").click()
    analyst.page.locator("input[aria-invalid]").fill("15")
    analyst.page.get_by_role("button", name="Save the correction").click()
    expect(analyst.page.locator(".flash")).to_contain_text("The row is corrected and counts now.")
    expect(analyst.page.locator("details.waiting")).to_have_count(0)
    assert analyst.faults == []
    analyst.context.close()
