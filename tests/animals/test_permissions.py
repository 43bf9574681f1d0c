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
    "stranger": None,
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
SIGNED_IN = ALL - {"stranger"}
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
    """Who may send a request, and its fields; the status that a banned member gets instead."""

    may: set[str]
    sent: Mapping[str, Any] = MappingProxyType({})
    banned: int = 403


# The order matters: a like comes before its unlike.
WRITES = {
    "POST /animals/events": WriteRule(WRITERS | {"stranger"}, {"events": "[]"}),
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
    "POST /api/animals/events": WriteRule(WRITERS | {"stranger"}, {"": []}),
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
    """A browser and a program for each role."""
    made = {}
    for role, name in ROLES.items():
        if name is None:
            made[role] = (visitor(site.app), visitor(site.app))
        elif role == "reader":
            made[role] = (bearer(site.res, site.app, name, ("read",)),) * 2
        else:
            made[role] = (signed_in(site.app, name), bearer(site.res, site.app, name))
    return made


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
    return re.sub(r"\{(\w+)\}", lambda found: str({**ids, "relation": "followers"}[found[1]]), path)


def is_about_posts(path):
    return any(word in path + QUERY.get(path, "") for word in ("{post_id}", "{digest}"))


def asks_to_sign_in(answer):
    return answer.status_code == 401 or (
        answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
    )


def test_no_route_is_missing_in_the_tables(site):
    names = {route.name for route in list_routes(site.app)}
    assert names == {f"GET {path}" for path in READERS} | set(WRITES)


# ---- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", populated_site.STATES)
def test_each_role_reads_exactly_what_it_may(site, clients, state):
    failures = []
    for role, (path, may) in product(ROLES, READERS.items()):
        if state != "published":
            if not is_about_posts(path):
                continue
            may = may & (OWN | STAFF)
        answer = client_for(clients, role, path).get(
            fill_path(site, path + QUERY.get(path, ""), state)
        )
        if role in may:
            good = not asks_to_sign_in(answer) and answer.status_code in (200, 303)
        elif (
            role == "stranger" and "stranger" not in READERS[path] and READERS[path] != NOT_BLOCKED
        ):
            good = asks_to_sign_in(answer)
        else:
            good = answer.status_code == (403 if READERS[path] == STAFF else 404)
        if not good:
            failures.append((role, path, answer.status_code))
    assert failures == []


@pytest.mark.parametrize("role", ["stranger", "writer", "other", "blocked", "banned"])
def test_a_hidden_post_answers_like_one_that_never_existed(site, clients, role):
    """The same body and headers as for an unused id, also with the entity tag of the post."""
    failures = []
    for path, state in product(filter(is_about_posts, READERS), HIDDEN):
        browser, ways = (
            client_for(clients, role, path),
            fill_path(site, path + QUERY.get(path, ""), state),
        )
        never = fill_path(
            site,
            path.replace("{post_id}", "999").replace("{digest}", "f" * 64)
            + QUERY.get(path, "").replace("{post_id}", "999"),
        )
        known = comparable_response(browser.get(ways)), comparable_response(browser.get(never))
        tag = client_for(clients, "owner", path).get(ways).headers.get("etag", "*")
        for headers in ({"If-None-Match": tag}, {"If-None-Match": "*"}):
            known += (comparable_response(browser.get(ways, headers=headers)),)
        if len({*known}) > 1:
            failures.append((path, state, known))
    assert failures == []


def comparable_response(answer):
    """A response without the parts that differ each time or repeat the request."""
    path = answer.request.url.path
    text = answer.text.replace(path, "").replace(
        str(answer.request.url.query, "ascii").replace("&", "&amp;"), ""
    )
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in ("x-request-id", "set-cookie", "content-length", "location")
    }
    return (
        answer.status_code,
        re.sub(r"[0-9a-f]{16,}|\?next=\S*|name=\"next\"[^>]*|%2F\d+", "", text),
        str(sorted(headers.items())),
    )


def read_response(browser, path):
    """Body and headers of a response as text; ZIP files are unpacked."""
    answer = browser.get(path)
    text = answer.text
    if answer.headers.get("content-type") == "application/zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
            text = "".join(
                packed.read(name).decode("utf-8", "replace") + name for name in packed.namelist()
            )
    return text + str(sorted(answer.headers.items()))


@pytest.mark.parametrize("role", ["stranger", "writer", "other", "blocked", "banned"])
def test_no_response_contains_anything_of_a_hidden_post(site, clients, role):
    secret = {
        *(SECRET_WORDS[state] for state in HIDDEN),
        *(site.digests[state] for state in HIDDEN),
        "zyxnote",
        "zyxappeal",
        "zyxban",
    }
    secret |= (
        set()
        if role == "writer"
        else {populated_site.HIDDEN_COMMENT_TEXT, populated_site.REMOVED_COMMENT_TEXT, "zyxreport"}
    )
    secret -= (
        {"zyxnote"} if role == "writer" else {"zyxban"} if role == "banned" else set()
    )  # their own reasons
    secret |= (
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
        asked = fill_path(site, path + QUERY.get(path, ""), state)
        text = (
            read_response(client_for(clients, role, path), asked)
            .replace(asked, "")
            .replace(quote(asked, safe=""), "")
        )
        failures += [(path, state, word) for word in secret if word in text]
    assert failures == []


@pytest.mark.parametrize("role", ["stranger", "writer", "other", "blocked", "banned", "owner"])
def test_a_search_for_hidden_words_answers_like_one_for_words_nobody_wrote(site, clients, role):
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
            browser, words = client_for(clients, role, path), (SECRET_WORDS[state], "zyxnever")
            answers = [browser.get(path + word + tag).text.replace(word, "") for word in words]
            if len({re.sub(r"[0-9a-f]{16,}", "", text) for text in answers}) > 1:
                failures.append((path, state, tag))
    assert failures == []


def test_counts_include_only_visible_posts_and_comments(site, clients):
    for role in ("stranger", "other", "owner"):
        program = clients[role][1]
        hana = program.get("/api/animals/members/hana").json()
        assert (hana["posts"], hana["followers"]) == (1, 1)
        assert [each["id"] for each in program.get("/api/animals/posts").json()["items"]] == [
            site.posts["published"]
        ]
        found = program.get("/api/animals/autocomplete?q=shiba").json()
        assert [each["posts"] for each in found] == [1]
        post = program.get(f"/api/animals/posts/{site.posts['published']}").json()
        assert (post["comments"], post["likes"]) == (1, 1)
        assert [
            each["text"]
            for each in program.get(
                f"{post['url'].replace('/animals', '/api/animals')}/comments"
            ).json()["items"]
        ] == ["zyxtalk"]


# ---- writing -------------------------------------------------------------------------------------


def attempt_write(site, clients, role, name, state="published"):
    """A complete request of somebody who may lack only the permission."""
    method, path = name.split(" ")
    browser, sent = client_for(clients, role, path), dict(WRITES[name].sent)
    sent = {
        key: fill_path(site, value, state) if isinstance(value, str) else value
        for key, value in sent.items()
    }
    headers, files = {"Idempotency-Key": f"{role}-{state}"}, None
    if "photo" in sent:
        sent.pop("photo")
        files = {"photo": ("x.jpg", members_and_posts.make_picture(70), "image/jpeg")}
    if role not in ("reader", "stranger") and not path.startswith("/api"):
        sent["csrf"] = csrf(browser, "/animals/credits")
    if role == "stranger":
        headers["X-CSRF-Token"] = csrf(browser, "/animals/credits")
    if path.startswith("/api") and files is None:
        content = {
            "json": sent.get(
                "",
                {
                    **sent,
                    **({"subject_id": int(sent["subject_id"])} if "subject_id" in sent else {}),
                },
            )
        }
    else:
        content = {"data": sent, "files": files}
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
    failures, before = [], read_all_tables(site.res)
    for name, state in product(WRITES, populated_site.STATES):
        may, sent, banned = WRITES[name]
        post = "{post_id}" in name or sent.get("subject_id") == "{post_id}"
        if (
            (state != "published" and not (post and role != "owner"))
            or (state == "published" and role in may)
            or (role in STAFF and role in may)
        ):
            continue
        answer = attempt_write(site, clients, role, name, state)
        if role == "stranger":
            good = asks_to_sign_in(answer)
        elif role == "reader":
            good = answer.status_code == 403
        elif role == "banned":
            good = answer.status_code == banned
        else:
            good = answer.status_code == (403 if may == STAFF else 404)
        if not good:
            failures.append((name, state, answer.status_code, answer.text[:200]))
    assert failures == []
    assert read_all_tables(site.res) == before


def test_each_role_writes_what_it_may(site, clients):
    """Every allowed request is carried out, or conflicts with one before."""
    failures = []
    for name, role in product(WRITES, ROLES):
        if role in WRITES[name].may:
            answer = attempt_write(site, clients, role, name)
            if asks_to_sign_in(answer) or answer.status_code not in (
                200,
                201,
                202,
                204,
                303,
                400,
                409,
            ):
                failures.append((role, name, answer.status_code, answer.text[:200]))
    assert failures == []
