"""Access to every route of the shop and of runs for every role; pages, JSON and CSV agree."""

import csv
import io
import re

import pytest

from tanuki.platform.resources import Resources
from tanuki.platform.web import app as web
from tanuki.shop import forecasts, purchase_orders, weekly
from tanuki.shop import web as shop_web
from tanuki.shop.forecasting.forecaster import QUANTILE_COLUMNS
from tanuki.shop.tables import Confirmation, OrderLine
from tests.factories.http_clients import bearer, csrf, make_person, signed_in, visitor
from tests.factories.store_chain import NOW, TARGET, make_chain
from tests.shop.test_orders import a_cycle

ROLES = {
    "stranger": None,
    "analyst": (("analyst", None),),
    "operator": (("operator", None),),
    "own": (("manager", "chiba"),),
    "other": (("manager", "osaka"),),
    "admin": (("admin", None),),
    "member": (("member", None), ("moderator", None)),
}
ORDER = "PO-2021W03-BREWER-CHIBA-1"
FILLED = {
    "week": "2021-W03",
    "store": "chiba",
    "item": "beer",
    "number": ORDER,
    "run_id": "weekly-2021-W03",
    "row": "1",
    "import_id": "1",
    "version": "1",
    "alert_id": "1",
}
# path: the roles that may read it. Others who are signed in get 403, or 404 for another's store.
CHAIN = {"analyst", "operator", "admin"}
WITH_STORE = CHAIN | {"own"}
ALL = WITH_STORE | {"other"}
READERS = {
    "/shop/week": ALL,
    "/shop/check": CHAIN,
    "/shop/check/{week}/{store}/{item}": CHAIN,
    "/shop/store": ALL,
    "/shop/orders": ALL,
    "/shop/orders/{number}": WITH_STORE,
    "/shop/orders/{number}/sent.csv": WITH_STORE,
    "/shop/evaluation": ALL,
    "/shop/forecast-value-added": ALL,
    "/shop/alerts": CHAIN,
    "/shop/sales": ALL,
    "/shop/data": CHAIN,
    "/shop/models": CHAIN,
    "/shop/rules": CHAIN,
    "/runs": CHAIN,
    "/runs/{run_id}": CHAIN,
}
RULES = {
    "too_much": 0.2,
    "too_little": 0,
    "unusual": 0.2,
    "service_a": 0.97,
    "service_b": 0.93,
    "service_c": 0,
    "holding": 0.25,
    "why": "x",
}
# path: the roles that may use it, and a form. For them the answer is about the form's content.
WRITERS = {
    "/shop/week/start": (CHAIN, {"week": "2021-W02"}),
    "/shop/week/{week}/release": ({"analyst", "admin"}, {}),
    "/shop/week/{week}/hold": ({"analyst", "admin"}, {"why": "x"}),
    "/shop/check/{week}/{store}/{item}": (
        {"analyst", "own", "admin"},
        {"cases": 1, "version": 1, "reason": "x"},
    ),
    "/shop/store/{week}/{store}": (
        {"analyst", "own", "admin"},
        {"item": ["beer"], "cases": [1], "version": [1]},
    ),
    "/shop/orders/{number}/cancel": ({"analyst", "admin"}, {"why": "x"}),
    "/shop/orders/{number}/reissue": ({"analyst", "admin"}, {"item": ["beer"], "cases": [1]}),
    "/shop/data": (CHAIN, {"kind": "sales"}),
    "/shop/data/quarantine/{row}/fix": (CHAIN, {"name": ["units"], "value": ["1"]}),
    "/shop/data/quarantine/{row}/drop": (CHAIN, {"why": "x"}),
    "/shop/data/imports/{import_id}/drop": (CHAIN, {"why": "x"}),
    "/shop/rules": ({"analyst", "admin"}, RULES),
    "/shop/alerts/{alert_id}/close": (CHAIN, {"why": "x"}),
    "/runs/{run_id}/cancel": ({"operator", "admin"}, {}),
    "/runs/{run_id}/resume": ({"operator", "admin"}, {}),
}
PARTS = {"last": 70.0, "season": -14.3, "safety": 5.9, "rounding": -1.6}
SUM = {
    "code": "sum",
    "parts": [{"code": c, "units": u} for c, u in PARTS.items()],
    "cases": 10,
    "case_units": 6,
    "units": 60,
}


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: FILLED[match[1]], path)


def released_week(res: Resources) -> None:
    """A released week with forecasts, lines, and chiba's purchase orders."""
    import polars as pl

    make_chain(res)
    quantiles = dict.fromkeys((*QUANTILE_COLUMNS, "mean"), 100.0)
    rows = [
        {"store": s, "item": i, "week": w, **quantiles}
        for s in ("chiba", "osaka")
        for i in ("beer", "coffee")
        for w in (str(TARGET), str(TARGET.buffer))
    ]
    with res.db.write() as db:
        db.add(a_cycle("released"))
        db.flush()
        forecasts.save_forecast(db, TARGET, pl.DataFrame(rows), "poisson_regression", NOW)
        for store in ("chiba", "osaka"):
            for item in ("beer", "coffee"):
                values = {
                    "case_units": 6,
                    "proposed_cases": 10,
                    "cases": 10,
                    "recent_units": 60.0,
                    "unusual": 0.0,
                    "unusual_reasons": [],
                    "version": 1,
                }
                db.add(
                    OrderLine(
                        week=str(TARGET),
                        store=store,
                        item=item,
                        reasons=[SUM, {"code": "stock_unknown"}],
                        **values,
                    )
                )
        db.add(Confirmation(week=str(TARGET), store="chiba", by="own", at=NOW))
        db.flush()
        purchase_orders.issue_purchase_orders(db, res.objects, TARGET, NOW, "tests")
        res.jobs.enqueue(db, weekly.WORKFLOW, "weekly-2021-W03", "2021-W03")


@pytest.fixture
def app(embedded):
    released_week(embedded)
    for name, grants in ROLES.items():
        if grants is not None:
            make_person(embedded, name, *grants)
    return web.create_app(embedded, [shop_web.SYSTEM])


def test_no_route_is_missing_in_the_tables(app):
    spec = app.openapi()["paths"]
    operations = {
        path.removeprefix("/api"): set(methods)
        for path, methods in spec.items()
        if path.startswith(("/api/shop", "/api/runs"))
    }
    assert {path for path, methods in operations.items() if "get" in methods} == set(READERS)
    assert {path for path, methods in operations.items() if "post" in methods} == set(WRITERS)


def test_everybody_opens_exactly_what_is_theirs(app, embedded):
    wrong = []
    for role in ROLES:
        browser = visitor(app) if role == "stranger" else signed_in(app, role)
        for path, may in READERS.items():
            for prefix in ("", "/api"):
                answer = browser.get(prefix + filled(path), follow_redirects=False)
                if role == "stranger":
                    good = answer.status_code == (401 if prefix else 303)
                elif role in may:
                    good = answer.status_code == 200
                else:
                    good = answer.status_code in (403, 404)
                if not good:
                    wrong.append((role, prefix + path, answer.status_code))
    assert wrong == []


def test_everybody_does_exactly_what_is_theirs(app, embedded):
    """Others are refused before the form is read; these get 200, or 400, 404, 409 about it."""
    wrong = []
    for role in ROLES:
        program = visitor(app) if role == "stranger" else bearer(embedded, app, role)
        for path, (may, sent) in WRITERS.items():
            answer = program.post(
                f"/api{filled(path)}",
                **(
                    {"data": sent, "files": {"file": ("x.csv", b"")}}
                    if path == "/shop/data"
                    else {"json": sent}
                ),
            )
            refused = answer.status_code in (401, 403) or (
                role == "other" and answer.status_code == 404
            )
            if refused == (role in may):
                wrong.append((role, path, answer.status_code, answer.text[:200]))
    assert wrong == []


def test_another_stores_things_never_appear_on_a_managers_pages(app, embedded):
    browser = signed_in(app, "other")
    for path in (
        "/shop/week",
        "/shop/store",
        "/shop/orders",
        "/shop/evaluation",
        "/shop/forecast-value-added",
        "/shop/sales?group=store",
    ):
        for prefix in ("", "/api"):
            answer = browser.get(prefix + path)
            assert answer.status_code == 200
            assert "chiba" not in answer.text.lower(), path
    for path in (
        "/shop/store?store=chiba",
        "/shop/evaluation?store=chiba",
        "/shop/sales?store=chiba",
    ):
        assert browser.get(path).status_code == 404


def test_a_form_of_another_site_is_refused(app, embedded):
    browser = signed_in(app, "analyst")
    assert browser.post("/shop/rules", data=RULES).status_code == 403


def test_json_and_csv_say_what_the_page_says(app, embedded):
    browser = signed_in(app, "analyst")
    page = browser.get("/api/shop/check").json()
    first = page["lines"][0]
    assert (first["store"], first["item"], first["units"]) == ("chiba", "beer", 60)
    rows = list(
        csv.DictReader(io.StringIO(browser.get("/shop/check.csv").content.decode("utf-8-sig")))
    )
    assert [(row["store"], row["item"], row["units"]) for row in rows] == [
        (line["store"], line["item"], str(line["units"])) for line in page["lines"]
    ]
    sales = browser.get("/api/shop/sales?by=month").json()
    rows = list(
        csv.DictReader(
            io.StringIO(browser.get("/shop/sales.csv?by=month").content.decode("utf-8-sig"))
        )
    )
    assert (
        sum(int(row["units"]) for row in rows)
        == sales["units"]
        == sum(row["units"] for row in sales["rows"])
    )
    assert f"{sales['units']:,}" in browser.get("/shop/sales?by=month").text


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_page_opens_before_anything_was_ever_done(embedded, lang):
    make_person(embedded, "admin", ("admin", None))
    empty = web.create_app(embedded, [shop_web.SYSTEM])
    browser = signed_in(empty, "admin")
    for path in sorted(READERS):
        if "{" not in path:
            answer = browser.get(path, headers={"Accept-Language": lang})
            assert answer.status_code in (200, 404), path
            assert answer.status_code == 200 or path == "/shop/store"


def test_an_edit_on_the_page_is_kept_and_a_stale_one_is_refused(app, embedded):
    manager = signed_in(app, "other")
    form = {
        "item": ["beer", "coffee"],
        "cases": ["7", "10"],
        "version": ["1", "1"],
        "reason": "",
        "then": "confirm",
    }
    page = manager.post("/shop/store/2021-W03/osaka", data={**form, "csrf": csrf(manager)})
    assert page.status_code == 303
    cycle = manager.get("/api/shop/store?store=osaka").json()["cycle"]
    assert {line["item"]: line["cases"] for line in cycle["lines"]} == {"beer": 7, "coffee": 10}
    assert cycle["confirmed_by"] == "other"
    again = manager.post("/shop/store/2021-W03/osaka", data={**form, "csrf": csrf(manager)})
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("lang", "sentence", "name"),
    [
        (
            "en",
            "Sold 70 last week; season −14, room for a good week +6, whole cases −2 "
            "→ 60 units (10 × 6).",
            "season",
        ),
        (
            "ja",
            "先週の販売70個：季節 −14、売れた場合の備え +6、ケース単位 −2 → 60個（10ケース×6個）。",
            "季節",
        ),
    ],
)
def test_a_proposal_is_explained_as_a_sentence_and_as_a_sum(app, lang, sentence, name):
    analyst = signed_in(app, "analyst")
    for path in ("/shop/check", "/shop/check/2021-W03/chiba/beer"):
        assert sentence in analyst.get(path, headers={"Accept-Language": lang}).text
    assert (
        sentence
        in signed_in(app, "other").get("/shop/store", headers={"Accept-Language": lang}).text
    )
    steps = analyst.get(
        "/api/shop/check/2021-W03/chiba/beer", headers={"Accept-Language": lang}
    ).json()["steps"]
    assert [(step["units"], step["subtotal"]) for step in steps] == [
        (70, 70),
        (-14, 56),
        (6, 62),
        (-2, 60),
    ]
    assert steps[1]["name"] == name


def test_new_rules_are_kept_and_shown(app):
    browser = signed_in(app, "analyst")
    assert (
        browser.post(
            "/shop/rules", data={**RULES, "service_c": 0.5, "csrf": csrf(browser)}
        ).status_code
        == 303
    )
    seen = browser.get("/api/shop/rules").json()
    assert (seen["now"]["service_a"], seen["now"]["service_c"], seen["now"]["holding"]) == (
        0.97,
        0.5,
        0.25,
    )
    assert "97%, 93%, 50%" in browser.get("/shop/rules").text


def test_the_shops_address_leads_to_this_week(app):
    answer = visitor(app).get("/shop", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/shop/week")
