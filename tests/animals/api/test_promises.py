"""The API's promises: CSRF protection, rate limits that are announced and hold, valid examples."""

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import jsonschema
import pytest
from sqlalchemy import func, select, update

from tanuki.animals.tables import Comment
from tanuki.platform.rate_limit import RateLimitCounter, counter_key
from tanuki.platform.web.openapi import describe_api
from tests.animals.test_permissions import WRITES, fill_path, read_all_tables
from tests.animals.web.test_escaping import Page
from tests.factories import members_and_posts, populated_site
from tests.factories.api_routes import list_routes
from tests.factories.http_clients import bearer, csrf, signed_in, visitor

API = "/api/animals"


@pytest.fixture(scope="module")
def site(shared):
    return populated_site.populate_site(shared)


# ---- other sites' forms --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hana", "saki"])
def test_a_session_needs_its_own_csrf_token_for_every_write(site, name):
    browser, other = signed_in(site.app, name), csrf(signed_in(site.app, "taro"))
    failures, before = [], read_all_tables(site.res)
    for route in list_routes(site.app):
        if route.method == "GET":
            continue
        api, sent = route.path.startswith("/api"), WRITES[route.name].sent
        sent = {
            key: fill_path(site, value) if isinstance(value, str) else value
            for key, value in sent.items()
            if key != "photo"
        }
        for secret in ("", "0" * 64, other):
            given = (
                {"json": {**sent, "csrf": secret}} if api else {"data": {**sent, "csrf": secret}}
            )
            headers = {"X-CSRF-Token": secret} if secret else {}
            headers |= {"Idempotency-Key": "k", "Origin": "https://elsewhere.example"}
            answer = browser.request(
                route.method,
                f"{fill_path(site, route.path)}?csrf={csrf(browser)}",
                headers=headers,
                **given,
            )
            if answer.status_code != 403:
                failures.append((route.name, secret, answer.status_code))
    assert failures == []
    assert read_all_tables(site.res) == before


def test_the_api_takes_the_csrf_token_from_a_header_and_not_from_a_form(site):
    browser = signed_in(site.app, "rin")
    path, secret = f"{API}/posts/{site.posts['published']}/like", csrf(browser)
    assert browser.put(path, data={"csrf": secret}).status_code == 403
    assert browser.put(path, headers={"X-CSRF-Token": secret}).json()["liked"] is True
    browser.delete(path, headers={"X-CSRF-Token": secret})


@pytest.mark.parametrize("name", [None, "hana", "taro", "saki"])
def test_every_form_and_button_has_the_csrf_token(site, name):
    browser = visitor(site.app) if name is None else signed_in(site.app, name)
    secret, failures, forms, buttons = csrf(browser, "/animals/credits"), [], 0, 0
    for route in list_routes(site.app):
        answer = browser.get(fill_path(site, route.path)) if route.method == "GET" else None
        if (
            answer is None
            or not answer.headers.get("content-type", "").startswith("text/html")
            or route.path == "/animals/offline"
        ):
            continue
        for whole in re.findall(r"<form\b.*?</form>", answer.text, re.S):
            elements = Page(whole).elements
            if elements[0][1].get("method") == "post":
                forms += 1
                has = [
                    each["value"]
                    for tag, each in elements
                    if tag == "input" and each.get("name") == "csrf"
                ]
                failures += [(route.path, whole[:80])] if has != [secret] else []
        owned = {each.get("id") for tag, each in Page(answer.text).elements if tag == "form"}
        sends = [
            each for tag, each in Page(answer.text).elements if tag == "button" and "form" in each
        ]
        buttons += len(sends)
        failures += [(route.path, send) for send in sends if send["form"] not in owned]
    assert failures == []
    assert forms > (10 if name is None else 20)  # a visitor has one form
    assert buttons > 50


# ---- limits --------------------------------------------------------------------------------------

# what is counted, by whom, and how often in an hour
RATE_LIMITS = {
    "POST /api/animals/posts": ("hana", "posts", 60),
    "PATCH /api/animals/posts/{post_id}": ("hana", "edits", 60),
    "PUT /api/animals/posts/{post_id}/like": ("taro", "like", 300),
    "DELETE /api/animals/posts/{post_id}/like": ("taro", "unlike", 300),
    "POST /api/animals/posts/{post_id}/comments": ("taro", "comment", 60),
    "DELETE /api/animals/comments/{comment_id}": ("taro", "delete comment", 300),
    "PUT /api/animals/members/{name}/follow": ("taro", "follow", 200),
    "DELETE /api/animals/members/{name}/follow": ("taro", "unfollow", 200),
    "POST /api/animals/reports": ("rin", "report", 60),
    "POST /api/animals/events": ("rin", "beacon", 1_200),
    "PATCH /api/animals/me": ("rin", "profile", 60),
    "PUT /api/animals/me/picture": ("rin", "profile", 60),
    "PUT /api/animals/me/blocks/{name}": ("rin", "block", 300),
}


def send_counted_request(site, programs, name):
    """Send a request that a rate limit counts."""
    method, path = name.split(" ")
    sent = {
        key: fill_path(site, value) if isinstance(value, str) else value
        for key, value in WRITES[name].sent.items()
    }
    headers = {"Idempotency-Key": secrets.token_hex(4)}
    if "version" in sent:
        version = programs["hana"].get(fill_path(site, path)).json()["version"]
        sent |= {"version": version, "title": f"x{version}", "tags": []}
    content: dict[str, object] = {"json": sent.get("", sent)}
    if "photo" in sent:
        content = {
            "data": sent,
            "files": {"photo": ("x.jpg", members_and_posts.make_picture(70), "image/jpeg")},
        }
    return programs[RATE_LIMITS[name][0]].request(
        method, fill_path(site, path), headers=headers, **content
    )


@pytest.fixture(scope="module")
def programs(site):
    return {name: bearer(site.res, site.app, name) for name in ("hana", "taro", "rin")}


@pytest.mark.parametrize("name", RATE_LIMITS)
def test_a_rate_limit_announces_its_rest_and_then_when_to_retry(site, programs, name):
    who, what, most = RATE_LIMITS[name]
    answer = send_counted_request(site, programs, name)
    assert answer.status_code in (200, 201, 202, 204), answer.text
    assert f'"{what}";q={most};w=3600' in answer.headers["ratelimit-policy"]
    left = int(re.search(rf'"{what}";r=(\d+);t=\d+', answer.headers["ratelimit"])[1])
    assert 0 < left < most
    with site.res.db.write() as db:
        db.execute(
            update(RateLimitCounter)
            .where(RateLimitCounter.key == counter_key(who, what))
            .values(uses=most)
        )
    before = read_all_tables(site.res)
    for _ in range(2):
        answer = send_counted_request(site, programs, name)
        assert (answer.status_code, answer.headers["content-type"]) == (
            429,
            "application/problem+json",
        )
        assert 0 < int(answer.headers["retry-after"]) <= 3600
        assert f'"{what}";r=0;t={answer.headers["retry-after"]}' in answer.headers["ratelimit"]
    assert read_all_tables(site.res) == before
    with site.res.db.write() as db:
        db.execute(
            update(RateLimitCounter)
            .where(RateLimitCounter.key == counter_key(who, what))
            .values(expires_at=datetime.now(UTC))
        )
    assert send_counted_request(site, programs, name).status_code != 429


def test_a_rate_limit_holds_for_concurrent_requests(site):
    programs = [bearer(site.res, site.app, "rin") for _ in range(4)]
    path = f"{API}/posts/{site.posts['published']}/comments"

    def say(number):
        return (
            programs[number % 4]
            .post(path, json={"text": f"w{number}"}, headers={"Idempotency-Key": f"many-{number}"})
            .status_code
        )

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(say, range(70)))
    assert (answers.count(201), answers.count(429)) == (60, 10)
    with site.res.db.read() as db:
        assert (
            db.scalar(
                select(func.count())
                .select_from(Comment)
                .where(Comment.member_id == site.members["rin"])
            )
            == 60
        )


# ---- examples ------------------------------------------------------------------------------------


def test_examples_match_their_schemas(site):
    described = describe_api(site.app)
    failures = []
    for name, schema in described["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            found = jsonschema.Draft202012Validator(
                {**schema, "components": described["components"]}
            ).iter_errors(example)
            failures += [(name, each.message) for each in found]
    assert failures == []


def test_every_operation_has_examples_of_its_request_and_response(site):
    described = describe_api(site.app)
    schemas, missing = described["components"]["schemas"], []
    for path, methods in described["paths"].items():
        if not path.startswith(API):
            continue
        for method, operation in methods.items():
            answers = [answer for status, answer in operation["responses"].items() if status < "3"]
            for held in (*answers, operation.get("requestBody", {})):
                for kind, content in held.get("content", {}).items():
                    if kind == "application/zip":
                        continue
                    schema = content["schema"].get("items", content["schema"])
                    shape = schemas[schema["$ref"].rpartition("/")[2]]
                    by_field = [
                        each
                        for each in shape["properties"].values()
                        if each.get("examples") or each.get("format") == "binary"
                    ]
                    photo = any(
                        "contentMediaType" in str(each) for each in shape["properties"].values()
                    )
                    if not shape.get("examples") and len(by_field) + photo < len(
                        shape["properties"]
                    ):
                        missing.append((method, path, kind))
    assert missing == []
