"""Impression logging of pages: listings with their order, seen and opened posts, consent."""

import json
import re

import pytest
from sqlalchemy import select

from tanuki.animals import members
from tanuki.platform.event_log import Event
from tests.factories.http_clients import csrf, signed_in, visitor
from tests.factories.members_and_posts import NOW, make_member, make_post


@pytest.fixture
def logged_events(embedded):
    """The events logged so far, by kind."""

    def read_events():
        embedded.events.write_later()
        embedded.events.close()
        with embedded.db.read() as db:
            events_by_kind = {}
            for event in db.scalars(select(Event).order_by(Event.id)):
                events_by_kind.setdefault(event.kind, []).append((event.person, event.values))
            return events_by_kind

    return read_events


def send_events(browser, *items, token=None):
    body = items[0] if isinstance(items[0], str) else json.dumps(items)
    return browser.post(
        "/animals/events",
        data={"csrf": token or csrf(browser, "/animals"), "events": body},
    )


def test_a_listing_is_logged_with_its_order_and_the_page_names_the_request(
    app, embedded, logged_events
):
    hana = make_member(embedded, "hana")
    post_ids = [make_post(embedded, hana, title=f"Cat {n}", seed=n % 2).id for n in range(3)]
    with embedded.db.read() as db:
        pseudonym = members.require_member(db, make_member(embedded, "ken")).pseudonym
    ken = signed_in(app, "ken")
    pages = {
        page: ken.get(path).text
        for page, path in {
            "home": "/animals",
            "newest": "/animals/newest",
            "category": "/animals/categories/cat",
            "search": "/animals/search?q=cat",
            "member": "/animals/members/hana",
        }.items()
    }
    impressions = {
        values["page"]: (person, values) for person, values in logged_events()["impression"]
    }
    for page, text in pages.items():
        person, values = impressions[page]
        assert person == pseudonym
        assert values["request"] == re.search(r'data-request="([0-9a-f]{16})"', text)[1]
        positions = {value["post"]: value["position"] for value in values["posts"]}
        assert positions == {
            int(id_): int(at)
            for id_, at in re.findall(r'data-post="(\d+)" data-position="(\d+)"', text)
        }
        assert sorted(positions) == sorted(post_ids)


def test_a_search_is_logged_with_its_terms(app, embedded, logged_events):
    make_post(embedded, make_member(embedded, "hana"), title="柴犬の散歩")
    browser = visitor(app)
    browser.get("/animals/search?q=柴犬の散歩")
    browser.get("/animals/search")
    (search_event,) = logged_events()["search"]
    assert (search_event[0], search_event[1]["results"]) == (None, 1)
    assert "柴犬" in search_event[1]["terms"]


def test_a_browser_reports_seen_posts_in_batches(app, embedded, logged_events):
    post = make_post(embedded, make_member(embedded, "hana"))
    seen_event = {"kind": "seen", "post": post.id, "request": "0123456789abcdef", "position": 4}
    browser = visitor(app)
    assert (
        send_events(
            browser,
            seen_event,
            {"kind": "open", "post": post.id},
            {"kind": "dwell", "post": post.id, "ms": 900},
        ).status_code
        == 204
    )
    events_by_kind = logged_events()
    assert events_by_kind["seen"][0][1]["position"] == 4
    assert events_by_kind["dwell"][0][1]["ms"] == 900


def test_a_malformed_batch_is_refused(app, embedded):
    browser = visitor(app)
    for body in (
        "no json",
        "{}",
        "[" * 5_000,
        '[{"kind": "impression", "post": 1}]',
        '[{"kind": "seen"}]',
    ):
        assert send_events(browser, body).status_code == 400, body
    assert send_events(browser, "[]", token="0" * 64).status_code == 403


def test_nothing_is_logged_without_consent(app, embedded, logged_events):
    post = make_post(embedded, make_member(embedded, "hana"))
    with embedded.db.write() as db:
        members.update_profile(
            db, make_member(embedded, "ken"), members.ProfileChange(events=False), now=NOW
        )
    ken, opted_out_visitor = signed_in(app, "ken"), visitor(app, headers={"Sec-GPC": "1"})
    for browser in (ken, opted_out_visitor):
        browser.get("/animals")
        browser.get("/animals/search?q=cat")
        assert send_events(browser, {"kind": "open", "post": post.id}).status_code == 204
    assert set(logged_events()) <= {"post"}  # hana's own
