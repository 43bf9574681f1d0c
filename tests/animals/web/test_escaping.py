"""Escaping: texts that people write or put into URLs stay texts on pages and in JSON."""

import io
import re
from html.parser import HTMLParser
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest

from tanuki.animals import post_review
from tanuki.animals import web as animals_web
from tanuki.platform import resources as resources_file
from tanuki.platform.web import app as web
from tests.factories import members_and_posts
from tests.factories.api_routes import list_routes
from tests.factories.http_clients import PASSWORD, bearer, csrf, signed_in, visitor

API = "/api/animals"
FIELDS = (
    "name",
    "about",
    "title",
    "description",
    "tag",
    "comment",
    "report",
    "note",
    "appeal",
    "answer",
    "label",
    "request",
)
PEOPLE = ("hana", "taro", "mona", "saki", None)


def hostile_text(field: str) -> str:
    """A text that becomes an element where it is not escaped, and 49 where a template runs it."""
    return (
        f"'\"><zyx-{field} onzyx=1>{{{{7*7}}}}%s"[:30]
        if field in ("tag", "name")
        else f"'\"><zyx-{field} onzyx=1 x='{{{{7*7}}}}%(x)s&lt;"
    )


class Page(HTMLParser):
    """The elements of a page with their attributes, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def contains_text(self, text: str) -> bool:
        """Whether the page shows a text unchanged."""
        values = [value or "" for _, attributes in self.elements for value in attributes.values()]
        return text in "".join(self.texts) or any(text in value for value in values)

    def list_faults(self) -> list[str]:
        """Elements and attributes that only an unescaped text can cause."""
        faults = [tag for tag, _ in self.elements if not re.fullmatch(r"[a-z]+[1-6]?", tag)]
        for tag, attributes in self.elements:
            faults += [
                f"{tag} {name}"
                for name in attributes
                if not re.fullmatch(r"[a-z]+([-:][a-z]+)*", name, re.I) or name.startswith("on")
            ]
            faults += [
                f"{tag} {value}"
                for name, value in attributes.items()
                if name in ("href", "src", "action", "formaction") and is_unsafe_url(value)
            ]
        return faults + [
            f"script {attributes}"
            for tag, attributes in self.elements
            if tag == "script" and not (attributes.get("src") or "").startswith("/static/")
        ]


def is_unsafe_url(value: str | None) -> bool:
    """Whether a URL is a script or leads to another site."""
    return not (value or "").startswith(("/", "#", "?")) and value not in ("", None)


@pytest.fixture(scope="module")
def site(shared):
    """A site whose members write only hostile texts."""
    resources_file.set_process_resources(shared)
    for name in ("hana", "taro"):
        members_and_posts.make_member(shared, name)
    for name in ("mona", "saki"):
        members_and_posts.make_staff(shared, name)
    app = web.create_app(shared, [animals_web.SYSTEM])
    hana, taro, mona, saki = (bearer(shared, app, str(name)) for name in PEOPLE[:4])
    hana.patch(
        f"{API}/me", json={"display": hostile_text("name"), "about": hostile_text("about")}
    ).raise_for_status()
    form = {
        "title": hostile_text("title"),
        "description": hostile_text("description"),
        "category": "cat",
        "tags": [hostile_text("tag")],
    }
    post_ids = []
    for number in range(2):
        files = {
            "photo": (
                "'\"><zyx-file>.jpg",
                io.BytesIO(members_and_posts.make_picture(number)),
                "image/jpeg",
            )
        }
        post_ids.append(
            hana.post(
                f"{API}/posts", data=form, files=files, headers={"Idempotency-Key": f"k{number}"}
            ).json()["id"]
        )
    with shared.db.write() as db:
        for post_id in post_ids:
            post_review.run_checks(db, post_id, now=members_and_posts.NOW)
    taro.patch(f"{API}/me", json={"display": hostile_text("name")}).raise_for_status()
    comment_id = taro.post(
        f"{API}/posts/{post_ids[0]}/comments",
        json={"text": hostile_text("comment")},
        headers={"Idempotency-Key": "c"},
    ).json()["id"]
    taro.put(f"{API}/posts/{post_ids[0]}/like").raise_for_status()
    taro.put(f"{API}/members/hana/follow").raise_for_status()
    hana.patch(
        f"{API}/posts/{post_ids[0]}",
        json={"version": 1, **form, "description": hostile_text("description") + "!"},
    ).raise_for_status()
    ids = {"post_id": post_ids[0], "comment_id": comment_id}
    for number, subject in enumerate(("post", "post", "comment", "member")):
        subject_id = [post_ids[0], post_ids[1], comment_id, 1][number]
        report = {
            "subject": subject,
            "subject_id": subject_id,
            "reason": "other",
            "text": hostile_text("report"),
        }
        reporter = hana if subject == "comment" else taro
        case_id = reporter.post(f"{API}/reports", json=report).json()["case_id"]
        if subject_id == post_ids[1]:
            decision = mona.post(
                f"{API}/moderation/cases/{case_id}/decision",
                json={"action": "remove", "reason": "other", "note": hostile_text("note")},
            ).json()
            ids["appeal_id"] = hana.post(
                f"{API}/decisions/{decision['id']}/appeal", json={"text": hostile_text("appeal")}
            ).json()["id"]
        else:
            ids["case_id"] = case_id if subject == "post" else ids["case_id"]
    ruling = {
        "subject": "member",
        "subject_id": 1,
        "action": "warn",
        "reason": "other",
        "note": hostile_text("note"),
    }
    ids["decision_id"] = mona.post(f"{API}/moderation/decisions", json=ruling).json()["id"]
    appeal_answer = {"overturn": False, "text": hostile_text("answer")}
    saki.post(
        f"{API}/moderation/appeals/{ids['appeal_id']}/answer", json=appeal_answer
    ).raise_for_status()
    browser = signed_in(app, "hana")
    browser.post(
        "/account/tokens",
        data={"csrf": csrf(browser), "label": hostile_text("label"), "scope": "read"},
    ).raise_for_status()
    new_browser = visitor(app)
    new_browser.post(
        "/sign-up",
        data={
            "csrf": csrf(new_browser, "/sign-up"),
            "name": "new",
            "display": hostile_text("name"),
            "password": PASSWORD,
            "again": PASSWORD,
        },
    )
    return (
        app,
        ids,
        {name: visitor(app) if name is None else signed_in(app, name) for name in PEOPLE},
    )


def fill_path(route: Any, ids: dict[str, Any], **hostile_values: str) -> str:
    """A route's path with existing values, or with odd ones."""
    defaults = {
        "name": "hana",
        "relation": "followers",
        "category": "cat",
        "size": "list",
        "digest": "0",
        **ids,
    }
    return route.fill_path(
        **{**defaults, **{key: quote(value, safe="") for key, value in hostile_values.items()}}
    )


def list_urls(app: Any, ids: dict[str, Any]) -> list[str]:
    """Every page, and every page with a hostile text in each part of its URL."""
    urls = [
        "/account",
        "/api",
        "/sign-in",
        "/sign-up",
        f"/nowhere/{quote(hostile_text('request'))}",
        f"/sign-in?next={quote(hostile_text('request'))}",
    ]
    for route in list_routes(app):
        if route.method != "GET":
            continue
        query = (
            {"q": hostile_text("title")}
            if "search" in route.path
            else {"subject": "post", "id": ids["post_id"]}
        )
        common = "&".join(
            f"{name}={quote(str(value))}"
            for name, value in query.items()
            if name in route.query_fields
        )
        urls.append(f"{fill_path(route, ids)}?{common}")
        urls += [
            fill_path(route, ids, **{name: hostile_text("request")}) for name in route.path_fields
        ]
        urls += [
            f"{fill_path(route, ids)}?{common}&{name}={quote(hostile_text('request'))}"
            for name in route.query_fields
        ]
    return urls


def find_faults(response: Any) -> list[str]:
    """What is wrong with a response."""
    media_type = response.headers.get("content-type", "").partition(";")[0]
    faults = [
        f"{name}: {value}"
        for name, value in response.headers.items()
        if "<" in value or "onzyx=" in value
    ]
    faults += [] if response.status_code < 500 else [str(response.status_code)]
    faults += [] if response.headers["x-content-type-options"] == "nosniff" else ["nosniff"]
    faults += [] if "unsafe" not in response.headers["content-security-policy"] else ["policy"]
    if media_type == "text/html":
        faults += Page(response.text).list_faults()
    elif media_type in ("text/javascript", "application/manifest+json"):
        faults += ["nasty"] if "zyx" in response.text else []
    elif media_type not in (
        "application/json",
        "application/problem+json",
        "application/zip",
        "image/jpeg",
        "",
    ):
        faults.append(media_type)
    return faults


@pytest.fixture(scope="module")
def crawl_result(site):
    """The faults of every page for every person, and the fields whose text some page shows."""
    app, ids, browsers = site
    faults: list[tuple[str | None, str, str]] = []
    visible_fields: set[str] = set()
    for name, path in product(PEOPLE, list_urls(app, ids)):
        response = browsers[name].get(path)
        faults += [(name, path, fault) for fault in find_faults(response)]
        visible_fields.update(
            field for field in FIELDS if Page(response.text).contains_text(hostile_text(field))
        )
    return faults, visible_fields


def test_no_page_renders_a_text_as_markup(crawl_result):
    assert crawl_result[0] == []


def test_every_text_is_shown_unchanged(crawl_result):
    """Proves that the test above covers every field."""
    assert crawl_result[1] == set(FIELDS)


def test_refused_forms_show_sent_values_as_text(site):
    app, ids, browsers = site
    faults, echo_count = [], 0
    for name in ("hana", "saki"):
        token = csrf(browsers[name], "/animals/credits")
        for route in list_routes(app):
            if (
                route.method != "POST"
                or route.path.startswith("/api")
                or route.path == "/animals/delete-account"
            ):
                continue
            for hostile_field in ("", *route.body_fields):
                values = {
                    field: hostile_text("request") * (200 if field == hostile_field else 1)
                    for field in route.body_fields
                    if field not in ("photo", "camera")
                }
                response = browsers[name].post(
                    fill_path(route, ids), data={"csrf": token, **values}
                )
                assert response.status_code < 500, route.name
                faults += [(route.name, fault) for fault in find_faults(response)]
                echo_count += "zyx-request" in response.text
    assert faults == []
    assert echo_count > 10


def test_json_has_texts_unchanged(site):
    app, ids, _ = site
    post = visitor(app).get(f"{API}/posts/{ids['post_id']}").json()
    assert (post["title"], post["description"], post["tags"], post["display"]) == (
        hostile_text("title"),
        hostile_text("description") + "!",
        [hostile_text("tag")],
        hostile_text("name"),
    )
    assert visitor(app).get(f"{API}/posts/{ids['post_id']}/comments").json()["items"][0][
        "text"
    ] == hostile_text("comment")
    hit = visitor(app).get(f"{API}/search", params={"q": "zyx-title"}).json()["items"][0]
    assert "".join(part["text"] for part in hit["title"]) == hostile_text("title")
