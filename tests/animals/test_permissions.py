"""Permissions: every route for every role. What somebody may not see shows nowhere: not in lists,
counts, headers, search or data exports."""

import io
import re
import zipfile
from collections.abc import Mapping
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from sqlalchemy import select

from tanuki.platform.database.engine import Base
from tests.factories import members_and_posts, populated_site
from tests.factories.api_routes import list_routes
from tests.factories.http_clients import bearer, csrf, signed_in, visitor
from tests.factories.populated_site import SECRET_WORDS

ROLES = {
    "visitor": None,
    "owner": "hana",
    "writer": "taro",
    "other": "rin",
    "blocked": "mika",
    "banned": "bo",
    "moderator": "saki",
    "admin": "root",
    "reader": "hana",  # her API token that may only read
}
HIDDEN = [state for state in populated_site.STATES if state != "published"]
ALL = set(ROLES)
SIGNED_IN = ALL - {"visitor"}
STAFF = {"moderator", "admin"}
MEMBERS = SIGNED_IN - STAFF
NOT_BLOCKED = ALL - {"blocked"}
OWN = {"owner", "reader"}
# Path: who may read it. Everybody else is asked to sign in, or gets 404; 403 on moderation pages.
READERS = {
    "/animals": ALL,
    "/animals/newest": ALL,
    "/animals/categories/{category}": ALL,
    "/animals/search": ALL,
    "/animals/autocomplete": ALL,
    "/animals/credits": ALL,
    "/animals/account-deleted": ALL,
    "/animals/offline": ALL,
    "/animals/manifest.webmanifest": ALL,
    "/animals/service-worker.js": ALL,
    "/animals/pictures/{digest}/{size}.jpg": ALL,
    "/animals/posts/{post_id}": NOT_BLOCKED,
    "/animals/posts/{post_id}/likes": NOT_BLOCKED,
    "/animals/posts/{post_id}/edit": OWN,
    "/animals/posts/{post_id}/enhancement": OWN,
    "/animals/posts/{post_id}/enhancement.jpg": OWN,
    "/animals/members/{name}": NOT_BLOCKED,
    "/animals/members/{name}/followers": NOT_BLOCKED,
    "/animals/members/{name}/following": NOT_BLOCKED,
    "/animals/me": SIGNED_IN,
    "/animals/join": SIGNED_IN,
    "/animals/post": SIGNED_IN,
    "/animals/report": SIGNED_IN - {"blocked"},
    "/animals/notifications": MEMBERS,
    "/animals/settings": MEMBERS,
    "/animals/blocks": MEMBERS,
    "/animals/data": MEMBERS,
    "/animals/decisions": MEMBERS,
    "/animals/appeals/{decision_id}": OWN,
    "/animals/moderation": STAFF,
    "/animals/moderation/cases/{case_id}": STAFF,
    "/animals/moderation/appeals": STAFF,
    "/animals/moderation/appeals/{appeal_id}": STAFF,
    "/animals/moderation/decisions": STAFF,
    "/animals/moderation/audit-log": STAFF,
    "/api/animals/feed": ALL,
    "/api/animals/search": ALL,
    "/api/animals/autocomplete": ALL,
    "/api/animals/categories": ALL,
    "/api/animals/posts": ALL,
    "/api/animals/posts/{post_id}": NOT_BLOCKED,
    "/api/animals/posts/{post_id}/likes": NOT_BLOCKED,
    "/api/animals/posts/{post_id}/similar": NOT_BLOCKED,
    "/api/animals/posts/{post_id}/enhancement": OWN,
    "/api/animals/posts/{post_id}/comments": NOT_BLOCKED,
    "/api/animals/members/{name}": NOT_BLOCKED,
    "/api/animals/members/{name}/posts": NOT_BLOCKED,
    "/api/animals/members/{name}/{relation}": NOT_BLOCKED,
    "/api/animals/me": MEMBERS,
    "/api/animals/me/blocks": MEMBERS,
    "/api/animals/me/notifications": MEMBERS,
    "/api/animals/me/decisions": MEMBERS,
    "/api/animals/me/export": MEMBERS,
    "/api/animals/moderation/cases": STAFF,
    "/api/animals/moderation/cases/{case_id}": STAFF,
    "/api/animals/moderation/decisions": STAFF,
    "/api/animals/moderation/appeals": STAFF,
    "/api/animals/moderation/audit-log": STAFF,
    "/api/animals/moderation/audit-log/integrity": STAFF,
}
QUERY = {
    "/animals/report": "?subject=post&id={post_id}",
    "/animals/search": "?q=zyx",
    "/api/animals/search": "?q=zyx",
}
QUERY |= {"/animals/autocomplete": "?q=zy", "/api/animals/autocomplete": "?q=zy"}

WRITERS = SIGNED_IN - {"reader"}  # people, and tokens with the scope `write`
ACTIVE_MEMBERS = WRITERS - STAFF - {"banned"}
NOT_BLOCKED_MEMBERS = ACTIVE_MEMBERS - {"blocked"}
POST_TEXT = {"version": 1, "title": "x", "category": "cat"}
REPORT = {"subject": "post", "subject_id": "{post_id}", "reason": "other"}
KEEP_DECISION = {"action": "keep", "reason": "other"}


class WriteRule(NamedTuple):
    """The roles that may send a request, its fields, and the status for a banned member."""

    roles: set[str]
    fields: Mapping[str, Any] = MappingProxyType({})
    banned_status: int = 403


# The order matters: a like comes before its unlike.
WRITES = {
    "POST /animals/events": WriteRule(WRITERS | {"visitor"}, {"events": "[]"}),
    "POST /animals/post": WriteRule(
        ACTIVE_MEMBERS, {"key": "k", "title": "x", "category": "cat", "photo": b""}
    ),
    "POST /animals/post/suggestions": WriteRule(ACTIVE_MEMBERS, {"photo": b""}),
    "POST /animals/posts/{post_id}/like": WriteRule(NOT_BLOCKED_MEMBERS),
    "POST /animals/posts/{post_id}/unlike": WriteRule(NOT_BLOCKED_MEMBERS),
    "POST /animals/posts/{post_id}/comments": WriteRule(
        NOT_BLOCKED_MEMBERS, {"text": "x", "key": "k"}
    ),
    "POST /animals/comments/{comment_id}/delete": WriteRule({"writer"}),
    "POST /animals/members/{name}/follow": WriteRule(NOT_BLOCKED_MEMBERS),
    "POST /animals/members/{name}/unfollow": WriteRule(NOT_BLOCKED_MEMBERS),
    "POST /animals/members/{name}/mute": WriteRule(NOT_BLOCKED_MEMBERS),
    "POST /animals/members/{name}/block": WriteRule(NOT_BLOCKED_MEMBERS),
    "POST /animals/members/{name}/unblock": WriteRule(ACTIVE_MEMBERS),
    "POST /animals/report": WriteRule(NOT_BLOCKED_MEMBERS, REPORT),
    "POST /animals/appeals/{decision_id}": WriteRule({"owner"}, {"text": "x"}, 404),
    "POST /animals/notifications/read": WriteRule(MEMBERS - {"reader"}),
    "POST /animals/settings": WriteRule(ACTIVE_MEMBERS, {"display": "x"}),
    "POST /animals/data/export.zip": WriteRule(MEMBERS - {"reader"}),
    "POST /animals/delete-account": WriteRule(WRITERS, {"password": "wrong", "confirmed": "1"}),
    "POST /animals/posts/{post_id}/edit": WriteRule({"owner"}, POST_TEXT),
    "POST /animals/posts/{post_id}/enhancement": WriteRule({"owner"}),
    "POST /animals/posts/{post_id}/enhancement/apply": WriteRule(
        {"owner"}, {"version": "1", "picture": "original"}
    ),
    "POST /animals/posts/{post_id}/delete": WriteRule({"owner"}),
    "POST /animals/posts/{post_id}/undo": WriteRule({"owner"}),
    "POST /animals/moderation/cases/{case_id}": WriteRule(STAFF, KEEP_DECISION),
    "POST /animals/moderation/appeals/{appeal_id}": WriteRule(
        STAFF, {"verdict": "uphold", "answer": "x"}
    ),
    "POST /animals/search/image": WriteRule(WRITERS, {"photo": b""}),
    "POST /api/animals/search/image": WriteRule(WRITERS, {"photo": b""}),
    "POST /api/animals/events": WriteRule(WRITERS | {"visitor"}, {"": []}),
    "POST /api/animals/posts": WriteRule(
        ACTIVE_MEMBERS, {"title": "x", "category": "cat", "photo": b""}
    ),
    "POST /api/animals/photo-suggestions": WriteRule(ACTIVE_MEMBERS, {"photo": b""}),
    "POST /api/animals/posts/{post_id}/enhancement": WriteRule({"owner"}),
    "PUT /api/animals/posts/{post_id}/enhancement": WriteRule(
        {"owner"}, {"enhanced": False, "version": 1}
    ),
    "PUT /api/animals/posts/{post_id}/like": WriteRule(NOT_BLOCKED_MEMBERS),
    "DELETE /api/animals/posts/{post_id}/like": WriteRule(NOT_BLOCKED_MEMBERS),
    "POST /api/animals/posts/{post_id}/comments": WriteRule(NOT_BLOCKED_MEMBERS, {"text": "x"}),
    "DELETE /api/animals/comments/{comment_id}": WriteRule({"writer"}),
    "PUT /api/animals/members/{name}/follow": WriteRule(NOT_BLOCKED_MEMBERS),
    "DELETE /api/animals/members/{name}/follow": WriteRule(NOT_BLOCKED_MEMBERS),
    "PUT /api/animals/me/blocks/{name}": WriteRule(NOT_BLOCKED_MEMBERS, {"kind": "mute"}),
    "DELETE /api/animals/me/blocks/{name}": WriteRule(ACTIVE_MEMBERS),
    "POST /api/animals/reports": WriteRule(NOT_BLOCKED_MEMBERS, REPORT),
    "POST /api/animals/decisions/{decision_id}/appeal": WriteRule({"owner"}, {"text": "x"}, 404),
    "POST /api/animals/me/notifications/read": WriteRule(MEMBERS - {"reader"}),
    "PATCH /api/animals/me": WriteRule(ACTIVE_MEMBERS, {"display": "x"}),
    "PUT /api/animals/me/picture": WriteRule(ACTIVE_MEMBERS, {"photo": b""}),
    "DELETE /api/animals/me/picture": WriteRule(ACTIVE_MEMBERS),
    "DELETE /api/animals/me": WriteRule(WRITERS, {"password": "wrong"}),
    "PATCH /api/animals/posts/{post_id}": WriteRule({"owner"}, POST_TEXT),
    "DELETE /api/animals/posts/{post_id}": WriteRule({"owner"}),
    "POST /api/animals/posts/{post_id}/undo": WriteRule({"owner"}),
    "POST /api/animals/moderation/cases/{case_id}/decision": WriteRule(STAFF, KEEP_DECISION),
    "POST /api/animals/moderation/decisions": WriteRule(
        STAFF, {**KEEP_DECISION, "subject": "post", "subject_id": "{post_id}"}
    ),
    "POST /api/animals/moderation/appeals/{appeal_id}/answer": WriteRule(
        STAFF, {"overturn": False, "text": "x"}
    ),
    "POST /animals/join": WriteRule(WRITERS),
}
VOLATILE_TABLES = (
    "event",
    "rate_limit_counter",
    "account_token",
    "account_session",
)  # a refused request changes these, too


@pytest.fixture(scope="module")
def site(shared):
    """One site for all tests: refused requests change nothing, and the others come last."""
    return populated_site.populate_site(shared)


@pytest.fixture(scope="module")
def clients(site):
    """A browser and an API client for each role."""
    clients_by_role = {}
    for role, name in ROLES.items():
        if name is None:
            clients_by_role[role] = (visitor(site.app), visitor(site.app))
        elif role == "reader":
            clients_by_role[role] = (bearer(site.res, site.app, name, ("read",)),) * 2
        else:
            clients_by_role[role] = (signed_in(site.app, name), bearer(site.res, site.app, name))
    return clients_by_role


def client_for(clients, role, path):
    return clients[role][path.startswith("/api")]


def fill_path(site, path, state="published"):
    """The path with the ids of the post in this state, and of what belongs to it."""
    ids = {
        "post_id": site.posts[state],
        "digest": site.digests[state],
        "size": "list",
        "name": "hana",
        "category": "dog",
    }
    ids |= {
        "comment_id": site.comment,
        "case_id": site.case,
        "decision_id": site.held_decision,
        "appeal_id": site.appeal,
    }
    return re.sub(r"\{(\w+)\}", lambda match: str({**ids, "relation": "followers"}[match[1]]), path)


def is_about_posts(path):
    return any(word in path + QUERY.get(path, "") for word in ("{post_id}", "{digest}"))


def asks_to_sign_in(response):
    return response.status_code == 401 or (
        response.status_code == 303 and response.headers["location"].startswith("/sign-in")
    )


def test_no_route_is_missing_in_the_tables(site):
    names = {route.name for route in list_routes(site.app)}
    assert names == {f"GET {path}" for path in READERS} | set(WRITES)


# ---- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", populated_site.STATES)
def test_each_role_reads_exactly_the_allowed_routes(site, clients, state):
    failures = []
    for role, (path, roles) in product(ROLES, READERS.items()):
        if state != "published":
            if not is_about_posts(path):
                continue
            roles = roles & (OWN | STAFF)
        response = client_for(clients, role, path).get(
            fill_path(site, path + QUERY.get(path, ""), state)
        )
        if role in roles:
            is_expected = not asks_to_sign_in(response) and response.status_code in (200, 303)
        elif role == "visitor" and "visitor" not in READERS[path] and READERS[path] != NOT_BLOCKED:
            is_expected = asks_to_sign_in(response)
        else:
            is_expected = response.status_code == (403 if READERS[path] == STAFF else 404)
        if not is_expected:
            failures.append((role, path, response.status_code))
    assert failures == []


@pytest.mark.parametrize("role", ["visitor", "writer", "other", "blocked", "banned"])
def test_a_hidden_post_answers_like_an_unused_id(site, clients, role):
    """The same body and headers as for an unused id, also with the entity tag of the post."""
    failures = []
    for path, state in product(filter(is_about_posts, READERS), HIDDEN):
        browser, hidden_path = (
            client_for(clients, role, path),
            fill_path(site, path + QUERY.get(path, ""), state),
        )
        unused_path = fill_path(
            site,
            path.replace("{post_id}", "999").replace("{digest}", "f" * 64)
            + QUERY.get(path, "").replace("{post_id}", "999"),
        )
        responses = (
            comparable_response(browser.get(hidden_path)),
            comparable_response(browser.get(unused_path)),
        )
        tag = client_for(clients, "owner", path).get(hidden_path).headers.get("etag", "*")
        for headers in ({"If-None-Match": tag}, {"If-None-Match": "*"}):
            responses += (comparable_response(browser.get(hidden_path, headers=headers)),)
        if len({*responses}) > 1:
            failures.append((path, state, responses))
    assert failures == []


def comparable_response(response):
    """A response without the parts that differ each time or repeat the request."""
    path = response.request.url.path
    text = response.text.replace(path, "").replace(
        str(response.request.url.query, "ascii").replace("&", "&amp;"), ""
    )
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("x-request-id", "set-cookie", "content-length", "location")
    }
    return (
        response.status_code,
        re.sub(r"[0-9a-f]{16,}|\?next=\S*|name=\"next\"[^>]*|%2F\d+", "", text),
        str(sorted(headers.items())),
    )


def read_response(browser, path):
    """Body and headers of a response as text; ZIP files are unpacked."""
    response = browser.get(path)
    text = response.text
    if response.headers.get("content-type") == "application/zip":
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            text = "".join(
                archive.read(name).decode("utf-8", "replace") + name for name in archive.namelist()
            )
    return text + str(sorted(response.headers.items()))


@pytest.mark.parametrize("role", ["visitor", "writer", "other", "blocked", "banned"])
def test_no_response_contains_anything_of_a_hidden_post(site, clients, role):
    secrets = {
        *(SECRET_WORDS[state] for state in HIDDEN),
        *(site.digests[state] for state in HIDDEN),
        "zyxnote",
        "zyxappeal",
        "zyxban",
    }
    secrets |= (
        set()
        if role == "writer"
        else {populated_site.HIDDEN_COMMENT_TEXT, populated_site.REMOVED_COMMENT_TEXT, "zyxreport"}
    )
    secrets -= (
        {"zyxnote"} if role == "writer" else {"zyxban"} if role == "banned" else set()
    )  # their own reasons
    secrets |= (
        {*SECRET_WORDS.values(), *site.digests.values(), "zyxabout", "zyxtalk"}
        if role == "blocked"
        else set()
    )
    failures = []
    for path, state in product(READERS, populated_site.STATES):
        if role == "blocked" and path.startswith(
            ("/animals/pictures", "/animals/autocomplete", "/api/animals/autocomplete")
        ):
            continue  # words are shared by many, and a picture's address is public
        requested_path = fill_path(site, path + QUERY.get(path, ""), state)
        text = (
            read_response(client_for(clients, role, path), requested_path)
            .replace(requested_path, "")
            .replace(quote(requested_path, safe=""), "")
        )
        failures += [(path, state, word) for word in secrets if word in text]
    assert failures == []


@pytest.mark.parametrize("role", ["visitor", "writer", "other", "blocked", "banned", "owner"])
def test_a_search_for_hidden_words_answers_like_one_for_unknown_words(site, clients, role):
    failures = []
    for path, state in product(
        (
            "/animals/search?q=",
            "/animals/autocomplete?q=",
            "/api/animals/search?q=",
            "/api/animals/autocomplete?q=",
        ),
        HIDDEN,
    ):
        for tag in ("", "&category=dog", "&breed=shiba", "&sort=newest", "&liked=1"):
            if tag and "search" not in path:
                continue
            browser, queries = client_for(clients, role, path), (SECRET_WORDS[state], "zyxnever")
            pages = [browser.get(path + query + tag).text.replace(query, "") for query in queries]
            if len({re.sub(r"[0-9a-f]{16,}", "", text) for text in pages}) > 1:
                failures.append((path, state, tag))
    assert failures == []


def test_counts_include_only_visible_posts_and_comments(site, clients):
    for role in ("visitor", "other", "owner"):
        client = clients[role][1]
        hana = client.get("/api/animals/members/hana").json()
        assert (hana["posts"], hana["followers"]) == (1, 1)
        assert [item["id"] for item in client.get("/api/animals/posts").json()["items"]] == [
            site.posts["published"]
        ]
        suggestions = client.get("/api/animals/autocomplete?q=shiba").json()
        assert [item["posts"] for item in suggestions] == [1]
        post = client.get(f"/api/animals/posts/{site.posts['published']}").json()
        assert (post["comments"], post["likes"]) == (1, 1)
        assert [
            item["text"]
            for item in client.get(
                f"{post['url'].replace('/animals', '/api/animals')}/comments"
            ).json()["items"]
        ] == ["zyxtalk"]


# ---- writing -------------------------------------------------------------------------------------


def attempt_write(site, clients, role, name, state="published"):
    """Send a complete request, which only a missing permission can prevent."""
    method, path = name.split(" ")
    browser, fields = client_for(clients, role, path), dict(WRITES[name].fields)
    fields = {
        key: fill_path(site, value, state) if isinstance(value, str) else value
        for key, value in fields.items()
    }
    headers, files = {"Idempotency-Key": f"{role}-{state}"}, None
    if "photo" in fields:
        fields.pop("photo")
        files = {"photo": ("x.jpg", members_and_posts.make_picture(70), "image/jpeg")}
    if role not in ("reader", "visitor") and not path.startswith("/api"):
        fields["csrf"] = csrf(browser, "/animals/credits")
    if role == "visitor":
        headers["X-CSRF-Token"] = csrf(browser, "/animals/credits")
    if path.startswith("/api") and files is None:
        content = {
            "json": fields.get(
                "",
                {
                    **fields,
                    **({"subject_id": int(fields["subject_id"])} if "subject_id" in fields else {}),
                },
            )
        }
    else:
        content = {"data": fields, "files": files}
    return browser.request(method, fill_path(site, path, state), headers=headers, **content)


def read_all_tables(res):
    """Every row of every table but those that refused requests change, too."""
    with res.db.read() as db:
        return {
            table.name: db.execute(select(table)).all()
            for table in Base.metadata.sorted_tables
            if table.name not in VOLATILE_TABLES
        }


@pytest.mark.parametrize("role", ROLES)
def test_a_forbidden_request_is_refused_and_changes_nothing(site, clients, role):
    failures, tables_before = [], read_all_tables(site.res)
    for name, state in product(WRITES, populated_site.STATES):
        roles, fields, banned_status = WRITES[name]
        is_about_a_post = "{post_id}" in name or fields.get("subject_id") == "{post_id}"
        if (
            (state != "published" and not (is_about_a_post and role != "owner"))
            or (state == "published" and role in roles)
            or (role in STAFF and role in roles)
        ):
            continue
        response = attempt_write(site, clients, role, name, state)
        if role == "visitor":
            is_expected = asks_to_sign_in(response)
        elif role == "reader":
            is_expected = response.status_code == 403
        elif role == "banned":
            is_expected = response.status_code == banned_status
        else:
            is_expected = response.status_code == (403 if roles == STAFF else 404)
        if not is_expected:
            failures.append((name, state, response.status_code, response.text[:200]))
    assert failures == []
    assert read_all_tables(site.res) == tables_before


def test_each_role_writes_exactly_the_allowed_routes(site, clients):
    """Every allowed request is carried out, or conflicts with one before."""
    failures = []
    for name, role in product(WRITES, ROLES):
        if role in WRITES[name].roles:
            response = attempt_write(site, clients, role, name)
            if asks_to_sign_in(response) or response.status_code not in (
                200,
                201,
                202,
                204,
                303,
                400,
                409,
            ):
                failures.append((role, name, response.status_code, response.text[:200]))
    assert failures == []
