"""What the API promises beside its shapes: secrets against other sites' forms, limits that are announced and hold, examples that are true."""

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
from tests.animals.test_permissions import DO, filled, snapshot
from tests.animals.web.test_escaping import Page
from tests.factories import members_and_posts, populated_site
from tests.factories.api_routes import list_routes
from tests.factories.http_clients import bearer, csrf, signed_in, visitor

API = "/api/animals"


@pytest.fixture(scope="module")
def world(shared):
    return populated_site.gather(shared)


# ---- other sites' forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hana", "saki"])
def test_nothing_is_done_without_the_secret_of_ones_own_session(world, name):
    browser, other = signed_in(world.app, name), csrf(signed_in(world.app, "taro"))
    wrong, before = [], snapshot(world.res)
    for route in list_routes(world.app):
        if route.method == "GET":
            continue
        api, sent = route.path.startswith("/api"), DO[route.name].sent
        sent = {
            key: filled(world, value) if isinstance(value, str) else value
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
                f"{filled(world, route.path)}?csrf={csrf(browser)}",
                headers=headers,
                **given,
            )
            if answer.status_code != 403:
                wrong.append((route.name, secret, answer.status_code))
    assert wrong == []
    assert snapshot(world.res) == before


def test_a_form_cannot_bring_the_secret_to_the_api_but_a_script_of_ours_can(world):
    browser = signed_in(world.app, "rin")
    path, secret = f"{API}/posts/{world.posts['published']}/like", csrf(browser)
    assert browser.put(path, data={"csrf": secret}).status_code == 403
    assert browser.put(path, headers={"X-CSRF-Token": secret}).json()["liked"] is True
    browser.delete(path, headers={"X-CSRF-Token": secret})


@pytest.mark.parametrize("name", [None, "hana", "taro", "saki"])
def test_every_form_and_button_has_the_secret(world, name):
    browser = visitor(world.app) if name is None else signed_in(world.app, name)
    secret, wrong, forms, buttons = csrf(browser, "/animals/credits"), [], 0, 0
    for route in list_routes(world.app):
        answer = browser.get(filled(world, route.path)) if route.method == "GET" else None
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
                wrong += [(route.path, whole[:80])] if has != [secret] else []
        owned = {each.get("id") for tag, each in Page(answer.text).elements if tag == "form"}
        sends = [
            each for tag, each in Page(answer.text).elements if tag == "button" and "form" in each
        ]
        buttons += len(sends)
        wrong += [(route.path, send) for send in sends if send["form"] not in owned]
    assert wrong == []
    assert forms > (10 if name is None else 20)  # a stranger's switches are buttons of one form
    assert buttons > 50


# ---- limits --------------------------------------------------------------------------------------------------------

# what is counted, by whom, and how often in an hour
COUNTED = {
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


def ask(world, programs, name):
    """Do something that is counted."""
    method, path = name.split(" ")
    sent = {
        key: filled(world, value) if isinstance(value, str) else value
        for key, value in DO[name].sent.items()
    }
    headers = {"Idempotency-Key": secrets.token_hex(4)}
    if "version" in sent:
        version = programs["hana"].get(filled(world, path)).json()["version"]
        sent |= {"version": version, "title": f"x{version}", "tags": []}
    content: dict[str, object] = {"json": sent.get("", sent)}
    if "photo" in sent:
        content = {
            "data": sent,
            "files": {"photo": ("x.jpg", members_and_posts.picture(70), "image/jpeg")},
        }
    return programs[COUNTED[name][0]].request(
        method, filled(world, path), headers=headers, **content
    )


@pytest.fixture(scope="module")
def programs(world):
    return {name: bearer(world.res, world.app, name) for name in ("hana", "taro", "rin")}


@pytest.mark.parametrize("name", COUNTED)
def test_what_is_counted_says_what_is_left_and_at_its_end_when_to_come_again(world, programs, name):
    who, what, most = COUNTED[name]
    answer = ask(world, programs, name)
    assert answer.status_code in (200, 201, 202, 204), answer.text
    assert f'"{what}";q={most};w=3600' in answer.headers["ratelimit-policy"]
    left = int(re.search(rf'"{what}";r=(\d+);t=\d+', answer.headers["ratelimit"])[1])
    assert 0 < left < most
    with world.res.db.write() as db:
        db.execute(
            update(RateLimitCounter)
            .where(RateLimitCounter.key == counter_key(who, what))
            .values(uses=most)
        )
    before = snapshot(world.res)
    for _ in range(2):
        answer = ask(world, programs, name)
        assert (answer.status_code, answer.headers["content-type"]) == (
            429,
            "application/problem+json",
        )
        assert 0 < int(answer.headers["retry-after"]) <= 3600
        assert f'"{what}";r=0;t={answer.headers["retry-after"]}' in answer.headers["ratelimit"]
    assert snapshot(world.res) == before
    with world.res.db.write() as db:
        db.execute(
            update(RateLimitCounter)
            .where(RateLimitCounter.key == counter_key(who, what))
            .values(expires_at=datetime.now(UTC))
        )
    assert ask(world, programs, name).status_code != 429


def test_a_limit_holds_when_many_come_at_once(world):
    programs = [bearer(world.res, world.app, "rin") for _ in range(4)]
    path = f"{API}/posts/{world.posts['published']}/comments"

    def say(number):
        return (
            programs[number % 4]
            .post(path, json={"text": f"w{number}"}, headers={"Idempotency-Key": f"many-{number}"})
            .status_code
        )

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(say, range(70)))
    assert (answers.count(201), answers.count(429)) == (60, 10)
    with world.res.db.read() as db:
        assert (
            db.scalar(
                select(func.count())
                .select_from(Comment)
                .where(Comment.member_id == world.members["rin"])
            )
            == 60
        )


# ---- examples ------------------------------------------------------------------------------------------------------


def test_examples_are_what_their_schemas_say(world):
    described = describe_api(world.app)
    wrong = []
    for name, schema in described["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            found = jsonschema.Draft202012Validator(
                {**schema, "components": described["components"]}
            ).iter_errors(example)
            wrong += [(name, each.message) for each in found]
    assert wrong == []


def test_every_operation_has_an_example_of_what_it_takes_and_gives(world):
    described = describe_api(world.app)
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
