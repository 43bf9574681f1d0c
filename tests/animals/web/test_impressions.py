"""What the pages tell those who learn: what was shown with its order, what was in sight and opened; nothing of who does not want it."""

import json
import re

import pytest
from sqlalchemy import select

from tanuki.animals import members
from tanuki.platform.event_log import Event
from tests.factories.http_clients import csrf, signed_in, visitor
from tests.factories.members_and_posts import NOW, member, post


@pytest.fixture
def told(embedded):
    """What was written so far, by kind."""

    def read():
        embedded.events.write_later()
        embedded.events.close()
        with embedded.db.read() as db:
            found = {}
            for event in db.scalars(select(Event).order_by(Event.id)):
                found.setdefault(event.kind, []).append((event.person, event.values))
            return found

    return read


def beacon(browser, *seen, token=None):
    told = seen[0] if isinstance(seen[0], str) else json.dumps(seen)
    return browser.post(
        "/animals/events", data={"csrf": token or csrf(browser, "/animals"), "events": told}
    )


def test_a_list_is_told_with_its_order_and_the_page_knows_the_request(app, embedded, told):
    hana = member(embedded, "hana")
    made = [post(embedded, hana, title=f"Cat {n}", seed=n % 2).id for n in range(3)]
    with embedded.db.read() as db:
        pseudonym = members.require_member(db, member(embedded, "ken")).pseudonym
    ken = signed_in(app, "ken")
    pages = {page: ken.get(path).text for page, path in {"home": "/animals", "newest": "/animals/newest", "category": "/animals/categories/cat", "search": "/animals/search?q=cat", "member": "/animals/members/hana"}.items()}  # fmt: skip
    impressions = {values["page"]: (person, values) for person, values in told()["impression"]}
    for page, text in pages.items():
        person, values = impressions[page]
        assert person == pseudonym
        assert values["request"] == re.search(r'data-request="([0-9a-f]{16})"', text)[1]
        shown = {value["post"]: value["position"] for value in values["posts"]}
        assert shown == {
            int(id_): int(at)
            for id_, at in re.findall(r'data-post="(\d+)" data-position="(\d+)"', text)
        }
        assert sorted(shown) == sorted(made)


def test_a_search_is_told_by_its_words(app, embedded, told):
    post(embedded, member(embedded, "hana"), title="柴犬の散歩")
    browser = visitor(app)
    browser.get("/animals/search?q=柴犬の散歩")
    browser.get("/animals/search")
    (found,) = told()["search"]
    assert (found[0], found[1]["results"]) == (None, 1)
    assert "柴犬" in found[1]["terms"]


def test_a_browser_tells_in_batches_what_was_in_sight(app, embedded, told):
    made = post(embedded, member(embedded, "hana"))
    seen = {"kind": "seen", "post": made.id, "request": "0123456789abcdef", "position": 4}
    browser = visitor(app)
    assert (
        beacon(
            browser,
            seen,
            {"kind": "open", "post": made.id},
            {"kind": "dwell", "post": made.id, "ms": 900},
        ).status_code
        == 204
    )
    found = told()
    assert found["seen"][0][1]["position"] == 4
    assert found["dwell"][0][1]["ms"] == 900


def test_what_is_no_batch_is_refused(app, embedded):
    browser = visitor(app)
    for wrong in (
        "no json",
        "{}",
        "[" * 5_000,
        '[{"kind": "impression", "post": 1}]',
        '[{"kind": "seen"}]',
    ):
        assert beacon(browser, wrong).status_code == 400, wrong
    assert beacon(browser, "[]", token="0" * 64).status_code == 403


def test_who_does_not_want_it_leaves_no_trace(app, embedded, told):
    made = post(embedded, member(embedded, "hana"))
    with embedded.db.write() as db:
        members.update_profile(db, member(embedded, "ken"), members.ProfileChange(events=False), now=NOW)
    ken, stranger = signed_in(app, "ken"), visitor(app, headers={"Sec-GPC": "1"})
    for browser in (ken, stranger):
        browser.get("/animals")
        browser.get("/animals/search?q=cat")
        assert beacon(browser, {"kind": "open", "post": made.id}).status_code == 204
    assert set(told()) <= {"post"}  # hana's own
