"""An operator starts a canary, promotes it and rolls back, in a browser, in both languages."""

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from tests.factories.browser import Visit
from tests.factories.http_clients import make_person
from tests.factories.onnx_models import row_inputs, write_onnx_model
from tests.factories.verdicts import add_verdict, release_on_verdict

pytestmark = [pytest.mark.browser, pytest.mark.mlflow]
MODEL = "animals-drawn"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = {
    "en": {
        "beside": "Start a challenger",
        "begin": "Start the rollout",
        "live": "Make version 2 the champion",
        "back": "Roll back to version 1",
        "again": "Version 1 is live again.",
    },
    "ja": {
        "beside": "別のバージョンを並べて動かす",
        "begin": "公開を始める",
        "live": "バージョン2を本番にする",
        "back": "バージョン1に戻す",
        "again": "バージョン1が再び本番になりました。",
    },
}


@pytest.mark.parametrize(("lang", "width"), [("en", 1280), ("ja", 390)])
def test_a_version_goes_live_and_back(chromium, home, server, tmp_path, lang, width):
    texts = TEXTS[lang]
    made = {
        "parameters": {},
        "metrics": {"recall": 0.981},
        "data_window": ("2025-01-01", "2026-01-01"),
        "code_version": "1",
    }
    for n in (1, 2):
        home.registry.save(MODEL, write_onnx_model(tmp_path / str(n)), **made)
        with home.db.write() as db:
            champion = None if n == 1 else "1"
            verdict = add_verdict(db, MODEL, str(n), NOW, champion=champion)
            if n == 1:
                release_on_verdict(db, home.registry, verdict, NOW)
    make_person(home, "oda", ("operator", None))
    desk = Visit(chromium, server, lang, width)
    desk.sign_in("oda")
    desk.go("/models")
    desk.page.get_by_role("link", name=MODEL).click()
    expect(desk.page.locator("h1")).to_have_text(MODEL)
    desk.page.get_by_text(texts["beside"]).click()
    desk.page.locator("select[name=mode]").select_option("canary")
    desk.page.locator("input[name=percent]").fill("100")
    desk.page.get_by_role("button", name=texts["begin"], exact=True).click()
    expect(desk.page.locator(".flash").first).to_be_visible()
    home.models.infer(MODEL, row_inputs(1), person="hana")
    home.models.refresh()
    desk.go(f"/models/{MODEL}")
    expect(desk.page.locator("main")).to_contain_text("0.981")
    desk.page.get_by_role("button", name=texts["live"]).click()
    expect(desk.page).to_have_url(re.compile(f"/models/{MODEL}$"))
    form = desk.page.locator("form[action$='/rollback']")
    form.locator("input[name=why]").fill("逆戻り")
    form.get_by_role("button", name=texts["back"]).click()
    expect(desk.page.locator(".flash").first).to_contain_text(texts["again"])
    desk.go(f"/models/{MODEL}")
    expect(desk.page.locator("main")).to_contain_text("逆戻り")
    assert desk.faults == []
    desk.context.close()
