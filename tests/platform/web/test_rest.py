"""The API's promises, on a small API for tests: problems, entity tags, keys, limits, OpenAPI."""

import json
from typing import Annotated

import jsonschema
import pytest
from fastapi import APIRouter, Query, Request, Response, UploadFile
from pydantic import BaseModel

from tanuki.errors import Conflict, NotFound, Stale
from tanuki.platform import rate_limit
from tanuki.platform.web import app as web
from tanuki.platform.web.auth import CsrfProtected, CurrentPerson, Viewer
from tanuki.platform.web.etag import compute_etag, require_match, set_etag
from tanuki.platform.web.headers import IdempotencyKey, set_rate_limit_headers
from tanuki.platform.web.navigation import Menu
from tanuki.platform.web.openapi import Page
from tanuki.platform.web.problem import problem_responses
from tanuki.platform.web.site import System
from tanuki.platform.web.transactions import Db, WriteDb
from tests.factories.http_clients import bearer, make_person, visitor
from tests.platform.test_rate_limit import NOW

router = APIRouter()


class Cat(BaseModel):
    name: str
    lives: int


CATS = [Cat(name=f"cat {number}", lives=9) for number in range(5)]


@router.get("/api/test/cats", responses=problem_responses(404, 422))
def cats(
    db: Db, viewer: Viewer, after: int = 0, limit: Annotated[int, Query(ge=1, le=3)] = 2
) -> Page[Cat]:
    """Cats, in pages."""
    if after > len(CATS):
        raise NotFound("There is no such thing.")
    some = CATS[after : after + limit]
    return Page(items=some, next=str(after + limit) if after + limit < len(CATS) else None)


@router.get("/api/test/cats/{number}", responses=problem_responses(304, 404, 422))
def cat(request: Request, response: Response, number: int, weak: bool = False) -> Cat:
    if number == 99:
        raise RuntimeError("detail")
    set_etag(request, response, CATS[number], weak=weak)
    return CATS[number]


@router.put(
    "/api/test/cats/{number}",
    responses=problem_responses(409, 412, 422),
    dependencies=[CsrfProtected],
)
def change(request: Request, db: WriteDb, who: CurrentPerson, number: int, cat: Cat) -> Cat:
    require_match(request, CATS[number])
    if cat.lives < 0:
        raise Conflict("There is no such thing.")
    return cat


@router.post(
    "/api/test/likes",
    status_code=201,
    responses=problem_responses(400, 422, 429),
    dependencies=[CsrfProtected],
)
def like(
    response: Response, db: WriteDb, who: CurrentPerson, key: IdempotencyKey
) -> dict[str, str]:
    rate_limit.count_use(db, who.name, rate_limit.RateLimit("likes", 2, 60), NOW)
    set_rate_limit_headers(response, rate_limit.counted_limits(db))
    return {"key": key}


@router.post("/api/test/files", dependencies=[CsrfProtected])
def send(who: CurrentPerson, file: UploadFile) -> Cat:
    return CATS[0]


@pytest.fixture
def app(embedded, tmp_path):
    make_person(embedded, "hana", ("analyst", None))
    return web.create_app(embedded, [System("test", Menu("Test"), [router], tmp_path, tmp_path)])


@pytest.fixture
def hana(embedded, app):
    return bearer(embedded, app, "hana")


def announced(app, method, path, status):
    """The schema of an answer in the API's description, with what it refers to."""
    described = visitor(app).get("/api/openapi.json").json()
    answers = described["paths"][path][method]["responses"]
    [(kind, content)] = answers.get(str(status), answers["default"])["content"].items()
    return kind, {**content["schema"], "components": described["components"]}


@pytest.mark.parametrize(
    ("method", "path", "route", "sent", "status"),
    [
        ("get", "/api/test/cats?after=9", "/api/test/cats", {}, 404),
        ("get", "/api/test/cats?limit=9", "/api/test/cats", {}, 422),
        ("get", "/api/test/cats/many", "/api/test/cats/{number}", {}, 422),
        ("get", "/api/test/cats/99", "/api/test/cats/{number}", {}, 500),
        (
            "put",
            "/api/test/cats/1",
            "/api/test/cats/{number}",
            {"json": {"name": "x", "lives": -1}},
            409,
        ),
        (
            "put",
            "/api/test/cats/1",
            "/api/test/cats/{number}",
            {"json": {"name": "x", "lives": 1}, "headers": {"If-Match": '"x"'}},
            412,
        ),
        (
            "put",
            "/api/test/cats/1",
            "/api/test/cats/{number}",
            {"content": "{", "headers": {"Content-Type": "application/json"}},
            422,
        ),
        (
            "put",
            "/api/test/cats/1",
            "/api/test/cats/{number}",
            {"content": b"\xff" * 1_000_001},
            413,
        ),
        ("post", "/api/test/likes", "/api/test/likes", {}, 422),
        (
            "post",
            "/api/test/likes",
            "/api/test/likes",
            {"headers": {"Idempotency-Key": "a b"}},
            400,
        ),
        (
            "post",
            "/api/test/files",
            "/api/test/files",
            {"content": "--x", "headers": {"Content-Type": "multipart/form-data"}},
            400,
        ),
        ("delete", "/api/test/likes", "/api/test/likes", {}, 405),
    ],
)
def test_a_problem_is_what_the_description_announces(app, hana, method, path, route, sent, status):
    answer = hana.request(method, path, **sent)
    assert answer.status_code == status, answer.text
    kind, schema = announced(app, method if method != "delete" else "post", route, status)
    assert kind == answer.headers["content-type"] == "application/problem+json"
    jsonschema.validate(answer.json(), schema)
    assert answer.json()["status"] == status and answer.json()["instance"] == path.partition("?")[0]


def test_nobody_is_told_401_as_announced_where_a_person_is_needed(app):
    answer = visitor(app).put("/api/test/cats/1", json={"name": "x", "lives": 1})
    _, schema = announced(app, "put", "/api/test/cats/{number}", 401)
    assert answer.status_code in (401, 403)
    jsonschema.validate(answer.json(), schema)


def test_the_description_says_who_may_call_and_holds_no_other_error_than_problems(app):
    described = visitor(app).get("/api/openapi.json").json()
    paths = described["paths"]
    assert paths["/api/test/cats"]["get"]["security"] == [{}, {"token": []}]
    assert "security" not in paths["/api/test/likes"]["post"]
    assert described["security"] == [{"token": []}]
    assert "ValidationError" not in json.dumps(described)
    key = next(
        path
        for path in paths["/api/test/likes"]["post"]["parameters"]
        if path["name"] == "Idempotency-Key"
    )
    assert key["required"] is True and key["schema"]["maxLength"] == 80
    assert paths["/api/test/cats/{number}"]["get"]["responses"]["304"] == {
        "description": "Not changed since it was read."
    }
    example = paths["/api/test/likes"]["post"]["responses"]["429"]["content"][
        "application/problem+json"
    ]["example"]
    jsonschema.validate(example, described["components"]["schemas"]["Problem"])
    for methods in paths.values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status == "default" or status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"]


def test_pages_follow_each_other_to_the_end(app):
    seen, after = [], "0"
    while after is not None:
        page = visitor(app).get(f"/api/test/cats?after={after}").json()
        seen += [item["name"] for item in page["items"]]
        after = page["next"]
    assert seen == [item.name for item in CATS]


@pytest.mark.parametrize("weak", [False, True])
def test_who_has_it_already_is_told_so_and_gets_no_body(app, weak):
    browser = visitor(app)
    first = browser.get(f"/api/test/cats/1?weak={weak}")
    tag = first.headers["etag"]
    assert tag.startswith('W/"' if weak else '"')
    for known in (
        tag,
        f'"other", {tag}',
        "*",
        tag.removeprefix("W/"),
        f"W/{tag.removeprefix('W/')}",
    ):
        again = browser.get(f"/api/test/cats/1?weak={weak}", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == "private, no-cache"
    assert browser.get("/api/test/cats/2", headers={"If-None-Match": tag}).status_code == 200
    assert browser.get("/api/test/cats/1", headers={"If-None-Match": '"'}).status_code == 200


def test_a_change_to_what_was_not_seen_is_refused(hana):
    tag = hana.get("/api/test/cats/1").headers["etag"]
    body = {"name": "x", "lives": 1}
    for seen, status in [
        (tag, 200),
        ("*", 200),
        (f'"a", {tag}', 200),
        ('"a"', 412),
        (f"W/{tag}", 412),
    ]:
        assert (
            hana.put("/api/test/cats/1", json=body, headers={"If-Match": seen}).status_code
            == status
        ), seen
    assert hana.put("/api/test/cats/1", json=body).status_code == 200
    assert Stale.status == 412


@pytest.mark.parametrize(
    ("key", "good"),
    [
        ("x", True),
        ("x" * 80, True),
        ("~!", True),
        ("", False),
        ("x" * 81, False),
        ("a b", False),
        ("é", False),
    ],
)
def test_a_key_is_some_visible_characters(hana, key, good):
    answer = hana.post("/api/test/likes", headers={"Idempotency-Key": key.encode()})
    assert (answer.status_code == 201) == good, answer.text
    assert good or answer.json()["detail"] == "An Idempotency-Key has 1 to 80 visible characters."


def test_limits_are_announced_and_a_refusal_says_when_to_come_again(hana):
    headers = {"Idempotency-Key": "k"}
    first = hana.post("/api/test/likes", headers=headers)
    assert first.headers["ratelimit-policy"] == '"likes";q=2;w=60'
    assert first.headers["ratelimit"] == '"likes";r=1;t=60'
    hana.post("/api/test/likes", headers=headers)
    refused = hana.post("/api/test/likes", headers=headers)
    assert (refused.status_code, refused.headers["retry-after"], refused.headers["ratelimit"]) == (
        429,
        "60",
        '"likes";r=0;t=60',
    )
    assert refused.json()["detail"] == "That was too often. Please try again in 60 seconds."


def test_tags_differ_when_what_is_said_differs():
    values = [CATS[0], CATS[1], "a", "b", 1, 2, ("a", 1), ("a", 2), None]
    assert len({compute_etag(value) for value in values}) == len(values)
