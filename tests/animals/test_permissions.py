"""Who may look and do what: every route of the network, for every role; and what is not shown is nowhere: not in lists, counts, headers, search or archives."""

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
from tests.factories.populated_site import SECRET

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
SIGNED = ALL - {"stranger"}
STAFF = {"moderator", "admin"}
MEMBERS = SIGNED - STAFF
NOT_BLOCKED = ALL - {"blocked"}
OWN = {"owner", "reader"}
# path: who may look. Everybody else is told to sign in, or that there is no such thing; 403 on the moderators' desk.
LOOK = {
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
    "/animals/me": SIGNED,
    "/animals/join": SIGNED,
    "/animals/post": SIGNED,
    "/animals/report": SIGNED - {"blocked"},
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

DOING = SIGNED - {"reader"}  # somebody who is here, or a token that may write
ACTIVE = DOING - STAFF - {"banned"}
THEM = ACTIVE - {"blocked"}
WORDS = {"version": 1, "title": "x", "category": "cat"}
REPORT = {"subject": "post", "subject_id": "{post_id}", "reason": "other"}
KEEP = {"action": "keep", "reason": "other"}


class Do(NamedTuple):
    """Who may do something, and what is sent; what a banned member is told who may not."""

    may: set[str]
    sent: Mapping[str, Any] = MappingProxyType({})
    banned: int = 403


# in this order: what is taken back comes after what it takes back
DO = {
    "POST /animals/events": Do(DOING | {"stranger"}, {"events": "[]"}),
    "POST /animals/post": Do(ACTIVE, {"key": "k", "title": "x", "category": "cat", "photo": b""}),
    "POST /animals/post/suggestions": Do(ACTIVE, {"photo": b""}),
    "POST /animals/posts/{post_id}/like": Do(THEM),
    "POST /animals/posts/{post_id}/unlike": Do(THEM),
    "POST /animals/posts/{post_id}/comments": Do(THEM, {"text": "x", "key": "k"}),
    "POST /animals/comments/{comment_id}/delete": Do({"writer"}),
    "POST /animals/members/{name}/follow": Do(THEM),
    "POST /animals/members/{name}/unfollow": Do(THEM),
    "POST /animals/members/{name}/mute": Do(THEM),
    "POST /animals/members/{name}/block": Do(THEM),
    "POST /animals/members/{name}/unblock": Do(ACTIVE),
    "POST /animals/report": Do(THEM, REPORT),
    "POST /animals/appeals/{decision_id}": Do({"owner"}, {"text": "x"}, 404),
    "POST /animals/notifications/read": Do(MEMBERS - {"reader"}),
    "POST /animals/settings": Do(ACTIVE, {"display": "x"}),
    "POST /animals/data/export.zip": Do(MEMBERS - {"reader"}),
    "POST /animals/delete-account": Do(DOING, {"password": "wrong", "confirmed": "1"}),
    "POST /animals/posts/{post_id}/edit": Do({"owner"}, WORDS),
    "POST /animals/posts/{post_id}/enhancement": Do({"owner"}),
    "POST /animals/posts/{post_id}/enhancement/apply": Do(
        {"owner"}, {"version": "1", "picture": "original"}
    ),
    "POST /animals/posts/{post_id}/delete": Do({"owner"}),
    "POST /animals/posts/{post_id}/undo": Do({"owner"}),
    "POST /animals/moderation/cases/{case_id}": Do(STAFF, KEEP),
    "POST /animals/moderation/appeals/{appeal_id}": Do(STAFF, {"verdict": "uphold", "answer": "x"}),
    "POST /animals/search/image": Do(DOING, {"photo": b""}),
    "POST /api/animals/search/image": Do(DOING, {"photo": b""}),
    "POST /api/animals/events": Do(DOING | {"stranger"}, {"": []}),
    "POST /api/animals/posts": Do(ACTIVE, {"title": "x", "category": "cat", "photo": b""}),
    "POST /api/animals/photo-suggestions": Do(ACTIVE, {"photo": b""}),
    "POST /api/animals/posts/{post_id}/enhancement": Do({"owner"}),
    "PUT /api/animals/posts/{post_id}/enhancement": Do({"owner"}, {"enhanced": False, "version": 1}),
    "PUT /api/animals/posts/{post_id}/like": Do(THEM),
    "DELETE /api/animals/posts/{post_id}/like": Do(THEM),
    "POST /api/animals/posts/{post_id}/comments": Do(THEM, {"text": "x"}),
    "DELETE /api/animals/comments/{comment_id}": Do({"writer"}),
    "PUT /api/animals/members/{name}/follow": Do(THEM),
    "DELETE /api/animals/members/{name}/follow": Do(THEM),
    "PUT /api/animals/me/blocks/{name}": Do(THEM, {"kind": "mute"}),
    "DELETE /api/animals/me/blocks/{name}": Do(ACTIVE),
    "POST /api/animals/reports": Do(THEM, REPORT),
    "POST /api/animals/decisions/{decision_id}/appeal": Do({"owner"}, {"text": "x"}, 404),
    "POST /api/animals/me/notifications/read": Do(MEMBERS - {"reader"}),
    "PATCH /api/animals/me": Do(ACTIVE, {"display": "x"}),
    "PUT /api/animals/me/picture": Do(ACTIVE, {"photo": b""}),
    "DELETE /api/animals/me/picture": Do(ACTIVE),
    "DELETE /api/animals/me": Do(DOING, {"password": "wrong"}),
    "PATCH /api/animals/posts/{post_id}": Do({"owner"}, WORDS),
    "DELETE /api/animals/posts/{post_id}": Do({"owner"}),
    "POST /api/animals/posts/{post_id}/undo": Do({"owner"}),
    "POST /api/animals/moderation/cases/{case_id}/decision": Do(STAFF, KEEP),
    "POST /api/animals/moderation/decisions": Do(
        STAFF, {**KEEP, "subject": "post", "subject_id": "{post_id}"}
    ),
    "POST /api/animals/moderation/appeals/{appeal_id}/answer": Do(
        STAFF, {"overturn": False, "text": "x"}
    ),
    "POST /animals/join": Do(DOING),
}
UNTOUCHED = (
    "event",
    "rate_limit_counter",
    "account_token",
    "account_session",
)  # tables that change also when something is refused


@pytest.fixture(scope="module")
def world(shared):
    """One world for all tests: what is refused changes nothing, and what is done is done last."""
    return populated_site.gather(shared)


@pytest.fixture(scope="module")
def people(world):
    """A browser and a program for each role."""
    made = {}
    for role, name in ROLES.items():
        if name is None:
            made[role] = (visitor(world.app), visitor(world.app))
        elif role == "reader":
            made[role] = (bearer(world.res, world.app, name, ("read",)),) * 2
        else:
            made[role] = (signed_in(world.app, name), bearer(world.res, world.app, name))
    return made


def of(people, role, path):
    """What somebody uses for a path."""
    return people[role][path.startswith("/api")]


def filled(world, path, state="published"):
    """A path about the post in a state, and what is around it."""
    ids = {
        "post_id": world.posts[state],
        "digest": world.digests[state],
        "size": "list",
        "name": "hana",
        "category": "dog",
    }
    ids |= {
        "comment_id": world.comment,
        "case_id": world.case,
        "decision_id": world.held_decision,
        "appeal_id": world.appeal,
    }
    return re.sub(r"\{(\w+)\}", lambda found: str({**ids, "relation": "followers"}[found[1]]), path)


def about_posts(path):
    """Whether a path is about one post, or its picture."""
    return any(word in path + QUERY.get(path, "") for word in ("{post_id}", "{digest}"))


def to_sign_in(answer):
    return answer.status_code == 401 or (
        answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
    )


def test_no_route_is_missing_in_the_tables(world):
    names = {route.name for route in list_routes(world.app)}
    assert names == {f"GET {path}" for path in LOOK} | set(DO)


# ---- looking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", populated_site.STATES)
def test_everybody_opens_exactly_what_is_theirs(world, people, state):
    wrong = []
    for role, (path, may) in product(ROLES, LOOK.items()):
        if state != "published":
            if not about_posts(path):
                continue
            may = may & (OWN | STAFF)
        answer = of(people, role, path).get(filled(world, path + QUERY.get(path, ""), state))
        if role in may:
            good = not to_sign_in(answer) and answer.status_code in (200, 303)
        elif role == "stranger" and "stranger" not in LOOK[path] and LOOK[path] != NOT_BLOCKED:
            good = to_sign_in(answer)
        else:
            good = answer.status_code == (403 if LOOK[path] == STAFF else 404)
        if not good:
            wrong.append((role, path, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("role", ["stranger", "writer", "other", "blocked", "banned"])
def test_what_is_out_of_sight_looks_as_if_it_never_was(world, people, role):
    """The same page, the same headers, as for a number that no post ever had; also for who knows its old entity tag."""
    wrong = []
    for path, state in product(filter(about_posts, LOOK), HIDDEN):
        browser, ways = of(people, role, path), filled(world, path + QUERY.get(path, ""), state)
        never = filled(
            world,
            path.replace("{post_id}", "999").replace("{digest}", "f" * 64)
            + QUERY.get(path, "").replace("{post_id}", "999"),
        )
        known = bare(browser.get(ways)), bare(browser.get(never))
        tag = of(people, "owner", path).get(ways).headers.get("etag", "*")
        for headers in ({"If-None-Match": tag}, {"If-None-Match": "*"}):
            known += (bare(browser.get(ways, headers=headers)),)
        if len({*known}) > 1:
            wrong.append((path, state, known))
    assert wrong == []


def bare(answer):
    """An answer without what is new in each, or was asked for."""
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


def told(browser, path):
    """Everything that an answer tells, unpacked."""
    answer = browser.get(path)
    text = answer.text
    if answer.headers.get("content-type") == "application/zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
            text = "".join(
                packed.read(name).decode("utf-8", "replace") + name for name in packed.namelist()
            )
    return text + str(sorted(answer.headers.items()))


@pytest.mark.parametrize("role", ["stranger", "writer", "other", "blocked", "banned"])
def test_nothing_of_what_is_out_of_sight_is_told_anywhere(world, people, role):
    secret = {
        *(SECRET[state] for state in HIDDEN),
        *(world.digests[state] for state in HIDDEN),
        "zyxnote",
        "zyxappeal",
        "zyxban",
    }
    secret |= (
        set() if role == "writer" else {populated_site.UNDER, populated_site.GONE, "zyxreport"}
    )
    secret -= (
        {"zyxnote"} if role == "writer" else {"zyxban"} if role == "banned" else set()
    )  # they are told why
    secret |= (
        {*SECRET.values(), *world.digests.values(), "zyxabout", "zyxtalk"}
        if role == "blocked"
        else set()
    )
    wrong = []
    for path, state in product(LOOK, populated_site.STATES):
        if role == "blocked" and path.startswith(
            ("/animals/pictures", "/animals/autocomplete", "/api/animals/autocomplete")
        ):
            continue  # words that many have, and pictures whose address is known, are nobody's
        asked = filled(world, path + QUERY.get(path, ""), state)
        text = (
            told(of(people, role, path), asked)
            .replace(asked, "")
            .replace(quote(asked, safe=""), "")
        )
        wrong += [(path, state, word) for word in secret if word in text]
    assert wrong == []


@pytest.mark.parametrize("role", ["stranger", "writer", "other", "blocked", "banned", "owner"])
def test_a_search_for_what_is_out_of_sight_answers_as_one_for_what_never_was(world, people, role):
    wrong = []
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
            browser, words = of(people, role, path), (SECRET[state], "zyxnever")
            answers = [browser.get(path + word + tag).text.replace(word, "") for word in words]
            if len({re.sub(r"[0-9a-f]{16,}", "", text) for text in answers}) > 1:
                wrong.append((path, state, tag))
    assert wrong == []


def test_counts_are_of_what_is_in_sight(world, people):
    for role in ("stranger", "other", "owner"):
        program = people[role][1]
        hana = program.get("/api/animals/members/hana").json()
        assert (hana["posts"], hana["followers"]) == (1, 1)
        assert [each["id"] for each in program.get("/api/animals/posts").json()["items"]] == [
            world.posts["published"]
        ]
        found = program.get("/api/animals/autocomplete?q=shiba").json()
        assert [each["posts"] for each in found] == [1]
        post = program.get(f"/api/animals/posts/{world.posts['published']}").json()
        assert (post["comments"], post["likes"]) == (1, 1)
        assert [
            each["text"]
            for each in program.get(
                f"{post['url'].replace('/animals', '/api/animals')}/comments"
            ).json()["items"]
        ] == ["zyxtalk"]


# ---- doing ---------------------------------------------------------------------------------------------------------


def do(world, people, role, name, state="published"):
    """Somebody tries to do something, with everything that it needs but the right to."""
    method, path = name.split(" ")
    browser, sent = of(people, role, path), dict(DO[name].sent)
    sent = {
        key: filled(world, value, state) if isinstance(value, str) else value
        for key, value in sent.items()
    }
    headers, files = {"Idempotency-Key": f"{role}-{state}"}, None
    if "photo" in sent:
        sent.pop("photo")
        files = {"photo": ("x.jpg", members_and_posts.picture(70), "image/jpeg")}
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
    return browser.request(method, filled(world, path, state), headers=headers, **content)


def snapshot(res):
    """Every row of every table but those that change anyway."""
    with res.db.read() as db:
        return {
            table.name: db.execute(select(table)).all()
            for table in Base.metadata.sorted_tables
            if table.name not in UNTOUCHED
        }


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_theirs_is_refused_and_changes_nothing(world, people, role):
    wrong, before = [], snapshot(world.res)
    for name, state in product(DO, populated_site.STATES):
        may, sent, banned = DO[name]
        post = "{post_id}" in name or sent.get("subject_id") == "{post_id}"
        if (
            (state != "published" and not (post and role != "owner"))
            or (state == "published" and role in may)
            or (role in STAFF and role in may)
        ):
            continue
        answer = do(world, people, role, name, state)
        if role == "stranger":
            good = to_sign_in(answer)
        elif role == "reader":
            good = answer.status_code == 403
        elif role == "banned":
            good = answer.status_code == banned
        else:
            good = answer.status_code == (403 if may == STAFF else 404)
        if not good:
            wrong.append((name, state, answer.status_code, answer.text[:200]))
    assert wrong == []
    assert snapshot(world.res) == before


def test_what_is_theirs_is_done(world, people):
    """An answer about the thing itself: done, or that it is done already."""
    wrong = []
    for name, role in product(DO, ROLES):
        if role in DO[name].may:
            answer = do(world, people, role, name)
            if to_sign_in(answer) or answer.status_code not in (200, 201, 202, 204, 303, 400, 409):
                wrong.append((role, name, answer.status_code, answer.text[:200]))
    assert wrong == []
