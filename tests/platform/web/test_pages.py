"""Pages, JSON, CSV, forms, tokens, errors, headers and languages of a small system for tests."""

import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import pytest
from fastapi import APIRouter, Form, UploadFile
from markupsafe import Markup
from pydantic import BaseModel
from sqlalchemy import text, update

from tanuki.app import bootstrap
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import accounts, tokens
from tanuki.platform.accounts import Account, AccountGrant, AccountSession, require_role
from tanuki.platform.web import app as web
from tanuki.platform.web import assets
from tanuki.platform.web.auth import CurrentPerson, Lang, Viewer
from tanuki.platform.web.navigation import VISITOR, Menu, MenuEntry
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import System, sanitize_path
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.settings import Settings
from tests.factories.http_clients import PASSWORD, bearer, csrf, make_person, signed_in, visitor

SHELF_CHART = {
    "description": "Units <b>",
    "width": 200,
    "data": {"values": [{"x": 1, "y": 2}]},
    "mark": "point",
    "encoding": {"x": {"field": "x"}, "y": {"field": "y"}},
}
SHELF = (
    """{% extends "base.html" %}{% block title %}{{ _('Shelf') }}{% endblock %}
{% block content %}<h1>{{ _('Shelf') }}</h1>
{% for row in page.rows %}<p>{{ row.item }} {{ row.units | n }}</p>{% endfor %}
{{ chart("""
    + repr(SHELF_CHART)
    + """) }}
{% endblock %}"""
)
WINDOW = """{% extends "base.html" %}
{% block head %}<link rel="manifest" href="{{ static('app.webmanifest') }}">{% endblock %}
{% block content %}<p>{{ page.rows[0].item }}</p>{% endblock %}"""
JAPANESE = """
msgid "Shelf"
msgstr "棚"

msgid "Now %(units)s on the shelf."
msgstr "棚に%(units)sあります。"

msgid "No shelf %(shelf)s."
msgstr "棚 %(shelf)s はありません。"
"""


class Row(BaseModel):
    item: str
    units: int


class Shelf(BaseModel):
    rows: list[Row]
    lang: str


def show_shelf(db: Db, person: CurrentPerson, lang: Lang, shelf: str, least: int = -9) -> Shelf:
    """What is on a shelf."""
    require_role(person, "analyst")
    if shelf == "none":
        raise NotFound("No shelf %(shelf)s.", shelf=shelf)
    if shelf == "broken":
        raise RuntimeError("secret detail")
    return Shelf(
        rows=[
            Row(item=item, units=units)
            for item, units in [("tea", 1200), ("=cmd()", -3)]
            if units >= least
        ],
        lang=lang,
    )


def show_window(db: Db, viewer: Viewer) -> Shelf:
    """What anybody may look at."""
    return Shelf(rows=[Row(item=viewer.name if viewer else "stranger", units=1)], lang="")


def put_units(
    db: WriteDb,
    person: CurrentPerson,
    shelf: str,
    units: Annotated[int, Form(ge=0)],
    why: Annotated[str, Form()] = "",
) -> ActionResult:
    """Put units on a shelf; the account's display name keeps the number for the test."""
    db.execute(
        update(Account).where(Account.name == person.name).values(display_name=f"units {units}")
    )
    if why == "conflict":
        raise Conflict("Somebody was faster.")
    if why == "commit":
        db.execute(text("PRAGMA defer_foreign_keys=on"))
        db.execute(update(AccountGrant).values(name="nobody"))
    if why == "bad":
        raise UserError("That is bad.")
    return ActionResult(f"/test/{shelf}", "Now %(units)s on the shelf.", {"units": units})


def upload_file(db: WriteDb, person: CurrentPerson, file: UploadFile) -> ActionResult:
    return ActionResult("/test/a", "Now %(units)s on the shelf.", {"units": len(file.file.read())})


@pytest.fixture
def make(tmp_path):
    """Puts the small system on resources; hana is analyst, ken a manager."""

    def made(resources):
        (tmp_path / "templates").mkdir()
        (tmp_path / "locale").mkdir()
        (tmp_path / "templates/shelf.html").write_text(SHELF, encoding="utf-8")
        (tmp_path / "locale/ja.po").write_text(JAPANESE, encoding="utf-8")
        (tmp_path / "static").mkdir()
        (tmp_path / "static/app.webmanifest").write_text("{}")
        (tmp_path / "static/shelf.js").write_text("// " + "shelf " * 100)
        (tmp_path / "templates/window.html").write_text(WINDOW)
        router = APIRouter()
        read_route(router, "/test/window", "window.html", public=True)(show_window)
        read_route(router, "/test/{shelf}", "shelf.html", csv=lambda page: page.rows)(show_shelf)
        write_route(router, "/test/{shelf}/put", max_bytes=2_000)(put_units)
        write_route(router, "/test/upload/file")(upload_file)
        entries = (
            MenuEntry("/test/a", msgid("Shelf"), ("analyst",)),
            MenuEntry("/test/b", "Second"),
        )
        make_person(resources, "hana", ("analyst", None))
        make_person(resources, "ken", ("manager", "chiba"))
        folders = (tmp_path / "templates", tmp_path / "locale", tmp_path / "static")
        return web.create_app(
            resources, [System("test", Menu("Test", entries), [router], *folders)]
        )

    return made


@pytest.fixture
def app(embedded, make):
    return make(embedded)


@pytest.fixture
def hana(app):
    return signed_in(app, "hana")


def display(resources):
    with resources.db.read() as db:
        return db.get(Account, "hana").display_name


# ---- one view, three forms


def test_a_view_is_a_page_json_and_csv_on_each_engine(resources, make):
    hana = signed_in(make(resources), "hana")
    shown, data, rows = hana.get("/test/a"), hana.get("/api/test/a"), hana.get("/test/a.csv")
    assert "tea 1,200" in shown.text and shown.headers["content-type"] == "text/html; charset=utf-8"
    assert data.json()["rows"][0] == {"item": "tea", "units": 1200}
    assert rows.content == "\ufeffitem,units\r\ntea,1200\r\n'=cmd(),-3\r\n".encode()
    assert rows.headers["content-disposition"] == 'attachment; filename="test-a.csv"'


def test_the_page_links_its_csv_with_the_same_query_and_empty_fields_mean_not_given(hana):
    shown = hana.get("/test/a?least=&x=1")
    assert shown.status_code == 200
    assert 'href="/test/a.csv?x=1"' in shown.text
    assert hana.get("/api/test/a?least=5").json()["rows"] == [{"item": "tea", "units": 1200}]


def test_a_chart_is_an_inline_picture_with_a_label_and_the_themes_colours(hana):
    svg = re.search(r"<svg .*?</svg>", hana.get("/test/a").text, re.DOTALL)[0]
    assert 'role="img" aria-label="Units &lt;b&gt;"' in svg
    assert "var(--chart-1)" in svg and "style=" not in svg and "<script" not in svg


def test_the_api_is_described_and_listed_without_a_cdn(hana):
    described = hana.get("/api/openapi.json").json()
    assert described["paths"]["/api/test/{shelf}"]["get"]["description"] == "What is on a shelf."
    assert "units" in json.dumps(described["components"]["schemas"]["put_units_body"])
    listed = hana.get("/api").text
    assert "/api/test/{shelf}/put" in listed
    assert hana.get("/docs").status_code == 404


# ---- actions


def test_a_form_does_it_and_goes_on_to_a_page_that_says_so_once(hana, embedded):
    answer = hana.post("/test/a/put", data={"units": "7", "csrf": csrf(hana)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/test/a")
    assert display(embedded) == "units 7"
    assert "Now 7 on the shelf." in hana.get("/test/a").text
    assert "Now 7 on the shelf." not in hana.get("/test/a").text


def test_a_form_without_or_with_anothers_secret_is_refused(hana, app, embedded):
    stranger = visitor(app)
    for secret in ({}, {"csrf": "0" * 64}, {"csrf": csrf(stranger, "/sign-in")}, {"csrf": "é"}):
        assert hana.post("/test/a/put", data={"units": "7", **secret}).status_code == 403
    assert display(embedded) == "hana"


def test_a_program_does_it_with_a_token_and_json(resources, make):
    app = make(resources)
    program = bearer(resources, app, "hana")
    answer = program.post("/api/test/a/put", json={"units": 8})
    assert answer.json() == {"message": "Now 8 on the shelf.", "to": "/test/a"}
    assert display(resources) == "units 8"
    with resources.db.read() as db:
        hana = accounts.find_person(db, "hana")
        assert tokens.load_tokens(db, hana)[0].last_used_at is not None


def test_a_cookie_alone_does_nothing_under_the_api(hana, embedded):
    assert hana.get("/api/test/a").status_code == 200
    refused = hana.post("/api/test/a/put", json={"units": 8})
    assert (refused.status_code, refused.headers["content-type"]) == (
        403,
        "application/problem+json",
    )
    assert display(embedded) == "hana"
    assert (
        hana.post(
            "/api/test/a/put", json={"units": 8}, headers={"X-CSRF-Token": csrf(hana)}
        ).status_code
        == 200
    )


@pytest.mark.parametrize(("why", "status"), [("conflict", 409), ("bad", 400)])
def test_what_an_action_refuses_is_rolled_back_and_said(hana, embedded, why, status):
    answer = hana.post("/test/a/put", data={"units": "7", "why": why, "csrf": csrf(hana)})
    assert answer.status_code == status
    assert display(embedded) == "hana"


def test_a_commit_that_fails_is_not_answered_as_done(hana, embedded):
    answer = hana.post("/test/a/put", data={"units": "7", "why": "commit", "csrf": csrf(hana)})
    assert answer.status_code == 500
    assert display(embedded) == "hana"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "units is missing."),
        ({"units": "many"}, "units is “many”; expected a whole number."),
        ({"units": -1}, "units is “-1”; expected Input should be greater than or equal to 0."),
        ({"units": 1, "unit": 2}, "unit is “2”; expected Extra inputs are not permitted."),
    ],
)
def test_fields_that_are_wrong_are_named(embedded, app, body, sentence):
    answer = bearer(embedded, app, "hana").post("/api/test/a/put", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)


def test_a_file_goes_through_the_form_and_through_the_api(hana, app, embedded):
    assert (
        hana.post(
            "/test/upload/file", files={"file": b"12345"}, data={"csrf": csrf(hana)}
        ).status_code
        == 303
    )
    assert (
        bearer(embedded, app, "hana")
        .post("/api/test/upload/file", files={"file": b"12345"})
        .json()["message"]
        == "Now 5 on the shelf."
    )


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused_before_it_is_taken_in(hana, embedded, announced):
    body = f"units=7&csrf={csrf(hana)}&why={'x' * 3_000}".encode()
    content = body if announced else iter([body[:1_000], body[1_000:]])
    answer = hana.post(
        "/test/a/put",
        content=content,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 413
    assert "What you sent is too large." in answer.text
    assert display(embedded) == "hana"


def test_a_form_that_says_nothing_takes_a_megabyte(app):
    form = {"name": "x" * 1_000_001}
    assert visitor(app).post("/sign-in", data=form).status_code == 413


# ---- who is asking


def test_nobody_is_sent_to_sign_in_and_comes_back_to_the_page(app):
    browser = visitor(app)
    answer = browser.get("/test/a?least=5")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/sign-in?next=%2Ftest%2Fa%3Fleast%3D5",
    )
    form = {
        "name": "hana",
        "password": PASSWORD,
        "next": "/test/a?least=5",
        "csrf": csrf(browser, "/sign-in"),
    }
    assert browser.post("/sign-in", data=form).headers["location"] == "/test/a?least=5"
    assert browser.get("/sign-in?next=/test/b").headers["location"] == "/test/b"


def test_a_program_without_a_good_token_gets_401(app):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic aGFuYTpoYW5h"}):
        answer = visitor(app).get("/api/test/a", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["title"] == "Unauthorized"


@pytest.mark.parametrize("path", ["/test/a", "/test/a.csv", "/api/test/a"])
def test_a_person_without_the_role_is_told_so(app, path):
    answer = signed_in(app, "ken").get(path)
    assert answer.status_code == 403
    assert "analyst" in answer.text or path.endswith(".csv")


def test_the_menu_has_what_the_person_may_see_with_the_page_marked(app, hana):
    menu = hana.get("/test/a").text
    assert '<a href="/test/a" aria-current="page">Shelf</a>' in menu and "Second" in menu
    assert "Shelf" not in signed_in(app, "ken").get("/account").text
    assert "Second" not in visitor(app).get("/sign-in").text


def test_the_front_page_is_the_first_page_that_the_person_may_see(app, hana):
    assert hana.get("/").headers["location"] == "/test/a"
    assert signed_in(app, "ken").get("/").headers["location"] == "/test/b"
    assert visitor(app).get("/").headers["location"] == "/sign-in"


def test_a_public_page_knows_who_looks_and_its_entry_is_in_every_menu(
    app, hana, tmp_path, embedded
):
    assert "<p>stranger</p>" in visitor(app).get("/test/window").text
    assert "<p>hana</p>" in hana.get("/test/window").text
    assert visitor(app).get("/api/test/window").json()["rows"][0]["item"] == "stranger"
    entries = (MenuEntry("/open/window", "Window", (VISITOR,)), MenuEntry("/open/all", "Rest"))
    public = web.create_app(
        embedded,
        [System("open", Menu("Open", entries), [], tmp_path / "templates", tmp_path / "locale")],
    )
    assert visitor(public).get("/").headers["location"] == "/open/window"
    assert (
        "Window" in visitor(public).get("/sign-in").text
        and "Rest" not in visitor(public).get("/sign-in").text
    )
    assert "Window" in signed_in(public, "ken").get("/account").text


def test_a_wrong_password_shows_the_form_again_and_counts(app, embedded):
    browser = visitor(app)
    form = {"name": "hana", "password": "wrong password", "csrf": csrf(browser, "/sign-in")}
    answers = [browser.post("/sign-in", data=form) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 400, 429]
    assert (
        'role="alert"' in answers[0].text
        and 'value="hana"' in answers[0].text
        and "wrong password" not in answers[0].text
    )


def test_a_sign_in_form_needs_its_secret(app):
    assert (
        visitor(app).post("/sign-in", data={"name": "hana", "password": PASSWORD}).status_code
        == 403
    )


def test_signing_out_ends_the_session_on_the_server_too(app, hana):
    cookies = dict(hana.cookies)
    assert hana.post("/sign-out", data={"csrf": csrf(hana)}).headers["location"] == "/sign-in"
    assert visitor(app, cookies=cookies).get("/test/a").status_code == 303


def test_signing_out_everywhere_ends_the_other_browsers(app, hana):
    other = signed_in(app, "hana")
    hana.post("/sign-out", data={"everywhere": "1", "csrf": csrf(hana)})
    assert other.get("/test/a").status_code == 303


def test_a_session_that_has_ended_is_nobody(app, hana, embedded):
    with embedded.db.write() as db:
        db.execute(
            update(AccountSession).values(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        )
    assert hana.get("/test/a").headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(
    ("path", "onward"),
    [
        ("/a?b=c", "/a?b=c"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\n", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_sent_away_from_the_site(path, onward):
    assert sanitize_path(path) == onward


# ---- the account page


def test_a_person_changes_their_password(app, hana):
    form = {"old": PASSWORD, "new": "another password", "again": "another password"}
    assert (
        hana.post("/account/password", data={**form, "again": "x", "csrf": csrf(hana)}).status_code
        == 400
    )
    assert hana.post("/account/password", data={**form, "csrf": csrf(hana)}).status_code == 303
    assert "Your password is changed" in hana.get("/account").text
    browser = visitor(app)
    signed = browser.post(
        "/sign-in",
        data={"name": "hana", "password": "another password", "csrf": csrf(browser, "/sign-in")},
    )
    assert signed.status_code == 303


def test_a_person_makes_an_api_token_sees_it_once_and_revokes_it(app, hana):
    shown = hana.post(
        "/account/tokens", data={"label": "report", "days": "30", "csrf": csrf(hana)}
    ).text
    token = re.search(r"tanuki_[\w-]+", shown)[0]
    program = visitor(app, headers={"Authorization": f"Bearer {token}"})
    assert program.get("/api/test/a").status_code == 200
    later = hana.get("/account").text
    assert token not in later
    kept = re.search(r'name="token" value="(\w+)"', later)[1]
    hana.post("/account/tokens/revoke", data={"token": kept, "csrf": csrf(hana)})
    assert program.get("/api/test/a").status_code == 401


# ---- language and theme


def test_the_browsers_language_is_spoken_at_the_first_visit(app):
    assert (
        '<html lang="ja"'
        in visitor(app).get("/sign-in", headers={"Accept-Language": "ja-JP,ja;q=0.9"}).text
    )
    assert '<html lang="en"' in visitor(app).get("/sign-in", headers={"Accept-Language": "fr"}).text


def test_a_language_is_remembered_in_the_browser_and_for_the_person(app, hana):
    answer = hana.post("/language", data={"lang": "ja", "next": "/test/a", "csrf": csrf(hana)})
    assert answer.headers["location"] == "/test/a"
    assert "<h1>棚</h1>" in hana.get("/test/a").text
    assert "<h1>棚</h1>" in signed_in(app, "hana").get("/test/a").text
    assert hana.get("/api/test/a").json()["lang"] == "ja"


def test_a_message_and_an_error_speak_the_language(hana):
    hana.post("/language", data={"lang": "ja", "csrf": csrf(hana)})
    hana.post("/test/a/put", data={"units": "7", "csrf": csrf(hana)})
    assert "棚に7あります。" in hana.get("/test/a").text
    assert hana.get("/api/test/none").json()["detail"] == "棚 none はありません。"


def test_a_visitor_chooses_language_and_theme_before_signing_in(app):
    browser = visitor(app)
    for path, field, value in [("/language", "lang", "ja"), ("/theme", "theme", "dark")]:
        assert (
            browser.post(
                path, data={field: value, "next": "/sign-in", "csrf": csrf(browser, "/sign-in")}
            ).status_code
            == 303
        )
    assert '<html lang="ja" data-theme="dark">' in browser.get("/sign-in").text


@pytest.mark.parametrize(("path", "field"), [("/language", "lang"), ("/theme", "theme")])
def test_a_language_or_theme_that_is_not_ours_is_refused(app, path, field):
    browser = visitor(app)
    assert (
        browser.post(path, data={field: "<x>", "csrf": csrf(browser, "/sign-in")}).status_code
        == 400
    )


# ---- errors, headers, health


def test_an_error_page_says_what_to_do_and_keeps_the_menu(hana):
    answer = hana.get("/test/none", headers={"Referer": "http://testserver/test/b?x=1"})
    assert answer.status_code == 404
    assert (
        "No shelf none." in answer.text
        and "Check the address" in answer.text
        and 'href="/test/b?x=1"' in answer.text
        and "Second" in answer.text
    )
    assert "evil" not in hana.get("/test/none", headers={"Referer": "http://evil.example/x"}).text


@pytest.mark.parametrize("path", ["/no/such/page", "/static/0/tanuki.css", "/static/../app.py"])
def test_a_path_that_leads_nowhere_is_a_page(hana, path):
    answer = hana.get(path)
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text
    assert "Second" in answer.text  # the menu is there


def test_a_wrong_method_is_said(hana):
    assert hana.get("/test/a/put").status_code == 405
    assert hana.delete("/test/a").headers["allow"] == "GET"


def test_a_bug_answers_500_with_the_requests_number_and_nothing_else(hana):
    answer = hana.get("/test/broken", headers={"X-Request-ID": "request-12345"})
    assert answer.status_code == 500
    assert (
        "request-12345" in answer.text
        and "secret detail" not in answer.text
        and "RuntimeError" not in answer.text
    )
    assert hana.get("/api/test/broken").json()["title"] == "Internal Server Error"


def test_a_request_id_that_could_break_a_log_is_replaced(hana):
    assert (
        hana.get("/test/a", headers={"X-Request-ID": "12345678"}).headers["x-request-id"]
        == "12345678"
    )
    assert re.fullmatch(
        r"[0-9a-f]{16}",
        hana.get("/test/a", headers={"X-Request-ID": "a b {evil}"}).headers["x-request-id"],
    )


@pytest.mark.parametrize(
    "path", ["/test/a", "/test/none", "/sign-in", "/api/test/a", "/healthz", "/test/broken"]
)
def test_every_answer_has_the_headers_that_keep_strangers_out(hana, path):
    headers = hana.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert {"img-src 'self' data: blob:", "worker-src 'self'", "manifest-src 'self'"} < set(
        policy.split("; ")
    )
    assert headers["permissions-policy"] == "camera=(self), geolocation=(), microphone=()"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "private, no-cache"
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("path", ["/test/a", "/account", "/sign-in", "/test/none", "/api"])
def test_a_page_has_no_inline_style_or_script_and_asks_nobody_else(hana, path):
    shown = hana.get(path).text
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", shown)
    assert not re.findall(r'(?:href|src|action)="(?!/|#)[^"]*"', shown)


def test_over_https_cookies_are_secure_and_bound_to_the_host(tmp_path, embedded):
    settings = embedded.settings.model_copy(update={"https": True})
    resources = replace(embedded, settings=settings)
    answer = visitor(web.create_app(resources, [])).get("/sign-in")
    assert re.match(
        r"__Host-tanuki-visitor=.*; HttpOnly; Path=/; SameSite=lax; Secure",
        answer.headers["set-cookie"],
    )
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_the_session_cookie_is_not_for_scripts_or_other_sites(app):
    browser = visitor(app)
    answer = browser.post(
        "/sign-in", data={"name": "hana", "password": PASSWORD, "csrf": csrf(browser, "/sign-in")}
    )
    session = next(
        cookie
        for cookie in answer.headers.get_list("set-cookie")
        if cookie.startswith("tanuki-session=")
    )
    assert "HttpOnly" in session and "SameSite=lax" in session and "Max-Age=1209600" in session


def test_static_files_may_be_kept_for_ever_under_a_url_made_from_their_content(hana):
    url = re.search(r'href="(/static/[0-9a-f]{12}/tanuki\.css)"', hana.get("/test/a").text)[1]
    answer = hana.get(url)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"


def test_a_systems_static_files_are_served_like_the_platforms_and_smaller_where_that_helps(app):
    browser = visitor(app)
    url = re.search(
        r'href="(/static/[0-9a-f]{12}/app\.webmanifest)"', browser.get("/test/window").text
    )[1]
    assert browser.get(url).headers["content-type"] == "application/manifest+json"
    script = app.state.site.static["shelf.js"].url
    packed, plain = (
        browser.get(script),
        browser.get(script, headers={"Accept-Encoding": "identity"}),
    )
    assert (
        packed.text == plain.text
        and packed.headers["content-type"] == "text/javascript; charset=utf-8"
    )
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])


def test_two_static_files_of_one_name_are_a_bug(tmp_path, embedded):
    (tmp_path / "tanuki.css").write_text("")
    with pytest.raises(ValueError, match=r"two static files are called tanuki\.css"):
        web.create_app(embedded, [System("test", Menu("Test"), [], tmp_path, tmp_path, tmp_path)])


def test_alive_and_ready_answer_anybody(tmp_path):
    made = bootstrap.create_resources(Settings(home=tmp_path / "home"))
    app = web.create_app(made, [])
    assert visitor(app).get("/healthz").json() == {"status": "alive"}
    answer = visitor(app).get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "database": "ok", "schema": "ok", "workers": 0, "objects": "ok"},
    )
    bootstrap.close_resources(made)


def test_not_ready_says_what_is_missing(app, embedded):
    shutil.rmtree(embedded.settings.home / "objects", ignore_errors=True)
    (embedded.settings.home / "objects").write_text("in the way")
    answer = visitor(app).get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["schema"].startswith("None, needs ")
    assert answer.json()["objects"] != "ok" and answer.json()["database"] == "ok"


def test_metrics_count_requests_by_pattern(app, hana):
    hana.get("/test/a")
    hana.request("BREW", "/test/a")
    numbers = visitor(app).get("/metrics").text
    assert 'tanuki_requests_total{method="GET",route="/test/{shelf}",status="200"}' in numbers
    assert 'method="(other)"' in numbers and "BREW" not in numbers
    assert 'tanuki_queue_length{queue="default"} 0.0' in numbers


def test_pages_of_the_platform_stand_in_the_frame_of_the_system_that_they_belong_to(
    embedded, tmp_path
):
    (tmp_path / "own.html").write_text(
        "{% extends 'base.html' %}{% block top %}my own top{% endblock %}", encoding="utf-8"
    )
    own = System(
        "own",
        Menu("Own", (MenuEntry("/own", "Own", (VISITOR,)),)),
        [],
        tmp_path,
        tmp_path,
        layout="own.html",
    )
    other = System(
        "test", Menu("Test", (MenuEntry("/test/a", "Shelf", ("analyst",)),)), [], tmp_path, tmp_path
    )
    make_person(embedded, "hana", ("analyst", None))
    stranger, hana = (
        visitor(web.create_app(embedded, [other, own])),
        signed_in(web.create_app(embedded, [other, own]), "hana"),
    )
    in_frame = {
        path: "my own top" in stranger.get(path).text
        for path in ("/sign-in", "/own/nothing", "/test/nothing")
    }
    assert in_frame == {"/sign-in": True, "/own/nothing": True, "/test/nothing": False}
    assert {path: "my own top" in hana.get(path).text for path in ("/account", "/own/nothing")} == {
        "/account": False,
        "/own/nothing": True,
    }


def test_what_a_macro_makes_of_equal_values_is_made_once_and_text_is_never_taken_for_markup():
    made = []

    def macro(*values: object) -> str:
        made.append(values)
        return f"{len(made)}: {values}"

    cached = assets.build_macro_cache()
    assert cached(macro, "a", (1, "b")) == cached(macro, "a", (1, "b")) == "1: ('a', (1, 'b'))"
    assert [
        cached(macro, "a", (2, "b"))[0],
        cached(macro, Markup("a"), (1, "b"))[0],
        cached(macro, True)[0],
        cached(macro, 1)[0],
    ] == list("2345")
