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
    browser, other_token = signed_in(site.app, name), csrf(signed_in(site.app, "taro"))
    failures, tables_before = [], read_all_tables(site.res)
    for route in list_routes(site.app):
        if route.method == "GET":
            continue
        is_api, fields = route.path.startswith("/api"), WRITES[route.name].fields
        fields = {
            key: fill_path(site, value) if isinstance(value, str) else value
            for key, value in fields.items()
            if key != "photo"
        }
        for token in ("", "0" * 64, other_token):
            body = (
                {"json": {**fields, "csrf": token}}
                if is_api
                else {"data": {**fields, "csrf": token}}
            )
            headers = {"X-CSRF-Token": token} if token else {}
            headers |= {"Idempotency-Key": "k", "Origin": "https://elsewhere.example"}
            response = browser.request(
                route.method,
                f"{fill_path(site, route.path)}?csrf={csrf(browser)}",
                headers=headers,
                **body,
            )
            if response.status_code != 403:
                failures.append((route.name, token, response.status_code))
    assert failures == []
    assert read_all_tables(site.res) == tables_before


def test_the_api_takes_the_csrf_token_from_a_header_and_not_from_a_form(site):
    browser = signed_in(site.app, "rin")
    path, token = f"{API}/posts/{site.posts['published']}/like", csrf(browser)
    assert browser.put(path, data={"csrf": token}).status_code == 403
    assert browser.put(path, headers={"X-CSRF-Token": token}).json()["liked"] is True
    browser.delete(path, headers={"X-CSRF-Token": token})


@pytest.mark.parametrize("name", [None, "hana", "taro", "saki"])
def test_every_form_and_button_has_the_csrf_token(site, name):
    browser = visitor(site.app) if name is None else signed_in(site.app, name)
    token, failures, form_count, button_count = csrf(browser, "/animals/credits"), [], 0, 0
    for route in list_routes(site.app):
        response = browser.get(fill_path(site, route.path)) if route.method == "GET" else None
        if (
            response is None
            or not response.headers.get("content-type", "").startswith("text/html")
            or route.path == "/animals/offline"
        ):
            continue
        for form in re.findall(r"<form\b.*?</form>", response.text, re.S):
            elements = Page(form).elements
            if elements[0][1].get("method") == "post":
                form_count += 1
                tokens = [
                    attributes["value"]
                    for tag, attributes in elements
                    if tag == "input" and attributes.get("name") == "csrf"
                ]
                failures += [(route.path, form[:80])] if tokens != [token] else []
        form_ids = {
            attributes.get("id")
            for tag, attributes in Page(response.text).elements
            if tag == "form"
        }
        form_buttons = [
            attributes
            for tag, attributes in Page(response.text).elements
            if tag == "button" and "form" in attributes
        ]
        button_count += len(form_buttons)
        failures += [
            (route.path, button) for button in form_buttons if button["form"] not in form_ids
        ]
    assert failures == []
    assert form_count > (10 if name is None else 20)  # a visitor has one form
    assert button_count > 50


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


def send_counted_request(site, clients, name):
    """Send a request that a rate limit counts."""
    method, path = name.split(" ")
    fields = {
        key: fill_path(site, value) if isinstance(value, str) else value
        for key, value in WRITES[name].fields.items()
    }
    headers = {"Idempotency-Key": secrets.token_hex(4)}
    if "version" in fields:
        version = clients["hana"].get(fill_path(site, path)).json()["version"]
        fields |= {"version": version, "title": f"x{version}", "tags": []}
    content: dict[str, object] = {"json": fields.get("", fields)}
    if "photo" in fields:
        content = {
            "data": fields,
            "files": {"photo": ("x.jpg", members_and_posts.make_picture(70), "image/jpeg")},
        }
    return clients[RATE_LIMITS[name][0]].request(
        method, fill_path(site, path), headers=headers, **content
    )


@pytest.fixture(scope="module")
def clients(site):
    return {name: bearer(site.res, site.app, name) for name in ("hana", "taro", "rin")}


@pytest.mark.parametrize("name", RATE_LIMITS)
def test_a_rate_limit_announces_its_rest_and_then_when_to_retry(site, clients, name):
    member, counter, limit = RATE_LIMITS[name]
    response = send_counted_request(site, clients, name)
    assert response.status_code in (200, 201, 202, 204), response.text
    assert f'"{counter}";q={limit};w=3600' in response.headers["ratelimit-policy"]
    remaining = int(re.search(rf'"{counter}";r=(\d+);t=\d+', response.headers["ratelimit"])[1])
    assert 0 < remaining < limit
    with site.res.db.write() as db:
        db.execute(
            update(RateLimitCounter)
            .where(RateLimitCounter.key == counter_key(member, counter))
            .values(uses=limit)
        )
    tables_before = read_all_tables(site.res)
    for _ in range(2):
        response = send_counted_request(site, clients, name)
        assert (response.status_code, response.headers["content-type"]) == (
            429,
            "application/problem+json",
        )
        assert 0 < int(response.headers["retry-after"]) <= 3600
        assert (
            f'"{counter}";r=0;t={response.headers["retry-after"]}' in response.headers["ratelimit"]
        )
    assert read_all_tables(site.res) == tables_before
    with site.res.db.write() as db:
        db.execute(
            update(RateLimitCounter)
            .where(RateLimitCounter.key == counter_key(member, counter))
            .values(expires_at=datetime.now(UTC))
        )
    assert send_counted_request(site, clients, name).status_code != 429


def test_a_rate_limit_holds_for_concurrent_requests(site):
    clients = [bearer(site.res, site.app, "rin") for _ in range(4)]
    path = f"{API}/posts/{site.posts['published']}/comments"

    def add_comment(number):
        return (
            clients[number % 4]
            .post(path, json={"text": f"w{number}"}, headers={"Idempotency-Key": f"many-{number}"})
            .status_code
        )

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(add_comment, range(70)))
    assert (statuses.count(201), statuses.count(429)) == (60, 10)
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
    api = describe_api(site.app)
    failures = []
    for name, schema in api["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            errors = jsonschema.Draft202012Validator(
                {**schema, "components": api["components"]}
            ).iter_errors(example)
            failures += [(name, error.message) for error in errors]
    assert failures == []


def test_every_operation_has_examples_of_its_request_and_response(site):
    api = describe_api(site.app)
    schemas, missing = api["components"]["schemas"], []
    for path, methods in api["paths"].items():
        if not path.startswith(API):
            continue
        for method, operation in methods.items():
            responses = [
                response for status, response in operation["responses"].items() if status < "3"
            ]
            for body in (*responses, operation.get("requestBody", {})):
                for media_type, content in body.get("content", {}).items():
                    if media_type == "application/zip":
                        continue
                    schema = content["schema"].get("items", content["schema"])
                    shape = schemas[schema["$ref"].rpartition("/")[2]]
                    fields_with_example = [
                        field
                        for field in shape["properties"].values()
                        if field.get("examples") or field.get("format") == "binary"
                    ]
                    has_photo = any(
                        "contentMediaType" in str(field) for field in shape["properties"].values()
                    )
                    if not shape.get("examples") and len(fields_with_example) + has_photo < len(
                        shape["properties"]
                    ):
                        missing.append((method, path, media_type))
    assert missing == []
