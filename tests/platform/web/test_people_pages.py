"""Pages for everybody: sign-up, API tokens with scopes, the account, and escaped input."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from tanuki.animals import web as animals_web
from tanuki.platform import accounts
from tanuki.platform.accounts import Account, AccountToken
from tanuki.platform.web import app as web
from tanuki.platform.web.navigation import Menu
from tanuki.platform.web.site import System
from tanuki.shop import web as shop_web
from tests.factories.http_clients import PASSWORD, bearer, csrf, make_person, signed_in, visitor

XSS = "<script>alert(1)</script>\"'&"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;"
SYSTEMS = [shop_web.SYSTEM, animals_web.SYSTEM]
JAPANESE = {"Accept-Language": "ja"}


@pytest.fixture
def app(embedded):
    make_person(embedded, "hana", ("member", None))
    make_person(embedded, "mei", ("moderator", None))
    return web.create_app(embedded, [])


@pytest.fixture
def hana(app):
    return signed_in(app, "hana")


def sign_up(browser, name="rio", password=PASSWORD, **form):
    sent = {
        "name": name,
        "password": password,
        "again": password,
        "csrf": csrf(browser, "/sign-up"),
        **form,
    }
    return browser.post("/sign-up", data=sent)


def plain(page):
    """Nothing of what was typed became part of the page itself."""
    return "<script" not in page and ESCAPED in page


# ---- signing up


def test_a_stranger_makes_an_account_and_goes_on_signed_in_on_each_engine(resources):
    app = web.create_app(resources, [])
    browser = visitor(app)
    assert (
        '<a href="/sign-up?next=%2Faccount">Sign up</a>'
        in browser.get("/sign-in?next=/account").text
    )
    answer = sign_up(browser, " Ｒio ", display="Rio 🐢", next="/account")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    shown = browser.get("/account").text
    assert (
        "<h1>Rio 🐢</h1>" in shown
        and "rio" in shown
        and '<span class="badge">Member</span>' in shown
    )
    assert signed_in(app, "rio").get("/account").status_code == 200


def test_the_session_of_who_signs_up_is_as_safe_as_that_of_who_signs_in(app):
    answer = sign_up(visitor(app))
    session = next(
        cookie
        for cookie in answer.headers.get_list("set-cookie")
        if cookie.startswith("tanuki-session=")
    )
    assert "HttpOnly" in session and "SameSite=lax" in session and "Max-Age=1209600" in session


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        ({"name": "hana"}, 409, "There is already a user hana."),
        ({"name": "tanuki2"}, 400, "tanuki2 would be taken for somebody official"),
        ({"name": ""}, 400, "cannot be a user&#39;s name"),
        ({"again": "another password"}, 400, "The two passwords are not the same."),
        ({"password": "short", "again": "short"}, 400, "A password needs at least 10 characters."),
        (
            {"password": "password 1234", "again": "password 1234"},
            400,
            "among the first that anybody would guess",
        ),
        ({"display": "x" * 41}, 400, "A display name has at most 40 characters"),
    ],
)
def test_what_is_wrong_is_said_on_the_form_which_keeps_what_was_typed_but_no_password(
    app, embedded, form, status, sentence
):
    browser = visitor(app)
    answer = sign_up(browser, **{"display": "Rio", **form})
    assert answer.status_code == status
    assert sentence in answer.text and 'role="alert"' in answer.text
    assert (
        f'name="name" value="{form.get("name", "rio")}"' in answer.text
        and f'value="{form.get("display", "Rio")}"' in answer.text
    )
    assert PASSWORD not in answer.text and "another password" not in answer.text
    with embedded.db.read() as db:
        assert {account.name for account, _ in accounts.load_accounts(db)} == {"hana", "mei"}


def test_what_is_wrong_is_said_in_the_readers_language(app):
    browser = visitor(app, headers=JAPANESE)
    assert "新規登録" in browser.get("/sign-up").text
    assert "パスワードは10文字以上にしてください。" in sign_up(browser, password="short").text


def test_what_a_stranger_types_stays_text(app, embedded):
    browser = visitor(app)
    assert plain(sign_up(browser, XSS, display=XSS, next=XSS).text)
    assert sign_up(browser, display=XSS[:40], password=PASSWORD).status_code == 303
    for path in ("/account", "/api", "/no/such/page"):
        assert plain(browser.get(path).text), path
    assert plain(
        browser.post("/account/tokens", data={"label": XSS, "csrf": csrf(browser)}).text.replace(
            ESCAPED, "", 1
        )
    )


def test_a_form_of_another_site_signs_nobody_up(app):
    browser = visitor(app)
    assert sign_up(browser, csrf="0" * 64).status_code == 403
    assert sign_up(browser, csrf=csrf(visitor(app), "/sign-up")).status_code == 403


@pytest.mark.parametrize("onward", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_nobody_is_sent_away_from_the_site(app, onward):
    assert sign_up(visitor(app), next=onward).headers["location"] == "/"


def test_who_is_signed_in_needs_no_second_account(app, hana, embedded):
    assert hana.get("/sign-up?next=/account").headers["location"] == "/account"
    answer = hana.post(
        "/sign-up",
        data={"name": "rio", "password": PASSWORD, "again": PASSWORD, "csrf": csrf(hana)},
    )
    assert answer.status_code == 303
    with embedded.db.read() as db:
        assert accounts.find_person(db, "rio") is None


def test_a_closed_site_lets_nobody_sign_up(embedded):
    closed = embedded.settings.model_copy(update={"sign_up": False})
    browser = visitor(web.create_app(replace(embedded, settings=closed), []))
    assert "Sign up" not in browser.get("/sign-in").text
    assert browser.get("/sign-up").status_code == 404
    form = {
        "name": "rio",
        "password": PASSWORD,
        "again": PASSWORD,
        "csrf": csrf(browser, "/sign-in"),
    }
    assert browser.post("/sign-up", data=form).status_code == 404


def test_one_address_asks_ten_times_an_hour_which_names_there_are(app, embedded):
    browser = visitor(app)
    assert {sign_up(browser, password="short").status_code for _ in range(3)} == {
        400
    }  # asks about no name
    answers = [sign_up(browser, "hana").status_code for _ in range(9)] + [
        sign_up(visitor(app)).status_code
    ]
    assert answers == [409] * 9 + [303]
    answer = sign_up(browser, "sora")
    assert answer.status_code == 429
    assert "too often" in answer.text and 'value="sora"' in answer.text
    assert sign_up(visitor(app, client=("198.51.100.7", 1)), "sora").status_code == 303


# ---- API tokens


def make_token(browser, *scopes, label="bot"):
    shown = browser.post(
        "/account/tokens", data={"label": label, "scope": list(scopes), "csrf": csrf(browser)}
    )
    assert shown.status_code == 200, shown.text
    return re.search(r"tanuki_[\w-]+", shown.text)[0]


def test_the_account_page_says_what_each_token_may_do(hana, embedded):
    make_token(hana)
    make_token(hana, "write", label="poster")
    shown = re.sub(r"\s+", " ", hana.get("/account").text)
    assert re.search(r'>bot</th> <td><span class="badge">Read</span> </td>', shown)
    assert re.search(
        r'>poster</th> <td><span class="badge">Read</span> <span class="badge">Write</span> </td>',
        shown,
    )
    with embedded.db.write() as db:
        db.execute(update(AccountToken).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert hana.get("/account").text.count('<span class="badge warn">Ended</span>') == 2


def test_only_a_moderator_is_offered_a_token_that_moderates(app, hana):
    assert 'value="moderate"' not in hana.get("/account").text
    assert (
        hana.post(
            "/account/tokens", data={"label": "x", "scope": ["moderate"], "csrf": csrf(hana)}
        ).status_code
        == 403
    )
    mei = signed_in(app, "mei")
    assert 'value="moderate"' in mei.get("/account").text
    assert make_token(mei, "write", "moderate")


def test_a_token_that_only_reads_is_refused_at_every_route_that_writes(embedded):
    make_person(embedded, "boss", ("admin", None))
    app = web.create_app(embedded, SYSTEMS)
    reader = bearer(embedded, app, "boss", ("read",))
    writing = sorted(
        (method, re.sub(r"\{\w+(:\w+)?\}", "1", route.path))
        for route in app.routes
        for method in route.methods
        if method not in ("GET", "HEAD", "OPTIONS")
    )
    assert (
        len(writing) > 30
        and ("POST", "/account/tokens") in writing
        and ("POST", "/api/shop/rules") in writing
    )
    answers = {(method, path): reader.request(method, path) for method, path in writing}
    refused = "This API token may only read; make one that may write on the account page."
    assert [
        operation
        for operation, answer in answers.items()
        if answer.status_code != 403 or answer.json()["detail"] != refused
    ] == []
    for path in ("/api/shop/week", "/shop/week", "/runs", "/account"):
        assert reader.get(path).status_code == 200, path


def test_a_refused_token_is_told_so_as_a_problem_also_where_there_is_no_such_route(app, embedded):
    reader = bearer(embedded, app, "hana", ("read",))
    answer = reader.post("/api/account/password", json={}, headers=JAPANESE)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json()["detail"].startswith("このAPIトークンは読み取り専用です。")
    assert reader.post("/no/such/page").status_code == 404
    assert reader.delete("/account").status_code == 405


def test_a_token_that_has_ended_is_nobodys(app, embedded):
    program = bearer(embedded, app, "hana")
    assert program.get("/account").status_code == 200
    with embedded.db.write() as db:
        db.execute(update(AccountToken).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    for answer in (program.get("/account"), program.post("/language")):
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_token_makes_no_token_and_changes_no_password(app, embedded):
    program = bearer(embedded, app, "hana")
    asked = [
        program.post("/account/tokens", data={"label": "worse", "scope": ["write"]}),
        program.post("/api/account/tokens/revoke", json={"token": "0"}),
        program.post(
            "/api/account/password",
            json={"old": PASSWORD, "new": "another password", "again": "another password"},
        ),
    ]
    assert {(answer.status_code, answer.json()["detail"]) for answer in asked} == {
        (403, "Only somebody who is signed in may do this; an API token may not.")
    }


# ---- the account


def test_who_sits_at_anothers_browser_does_not_guess_the_password(hana):
    form = {"new": "another password", "again": "another password", "csrf": csrf(hana)}
    answers = [
        hana.post("/account/password", data={**form, "old": f"guess {n}"}).status_code
        for n in range(10)
    ]
    assert answers == [400] * 10
    assert hana.post("/account/password", data={**form, "old": PASSWORD}).status_code == 429
    sent = {"old": PASSWORD, "new": "another password", "again": "another password"}
    assert (
        hana.post(
            "/api/account/password", json=sent, headers={"X-CSRF-Token": csrf(hana)}
        ).status_code
        == 429
    )


def test_a_form_of_another_site_does_not_use_up_the_tries(hana):
    form = {"old": PASSWORD, "new": "another password", "again": "another password"}
    assert {hana.post("/account/password", data=form).status_code for _ in range(11)} == {403}
    assert hana.post("/account/password", data={**form, "csrf": csrf(hana)}).status_code == 303


def test_a_member_finds_the_way_out(embedded, tmp_path):
    make_person(embedded, "hana", ("member", None))
    make_person(embedded, "ana", ("analyst", None))
    made = web.create_app(
        embedded, [System("net", Menu("Net"), [], tmp_path, tmp_path, leave_path="/net/leave")]
    )
    assert 'href="/net/leave"' in signed_in(made, "hana").get("/account").text
    assert 'href="/net/leave"' not in signed_in(made, "ana").get("/account").text


def test_a_role_that_was_taken_is_gone_from_the_next_page_on(app, embedded):
    with embedded.db.write() as db:
        accounts.grant_role(db, "hana", accounts.Grant("moderator"), datetime.now(UTC))
    browser = signed_in(app, "hana")
    assert "Moderator" in browser.get("/account").text
    with embedded.db.write() as db:
        accounts.revoke_role(db, "hana", accounts.Grant("moderator"))
    assert "Moderator" not in browser.get("/account").text


def test_a_name_that_only_looks_like_anothers_is_another(app, embedded):
    """Names are plain letters, so that no letter of another alphabet passes for one of them."""
    browser = visitor(app)
    assert sign_up(browser, "hаna").status_code == 400  # with a Cyrillic а
    with embedded.db.read() as db:
        assert db.get(Account, "hana") is not None and len(accounts.load_accounts(db)) == 2
