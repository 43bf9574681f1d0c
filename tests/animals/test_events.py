"""The event log: pseudonyms, consent, feed impressions, actions of members and browser beacons."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from tanuki.animals import engagement, events, feed, members, posts
from tanuki.animals.events import (
    EVENT_KINDS,
    Viewer,
    identify_viewer,
    listing_events,
    rank_in_order,
    search_events,
)
from tanuki.animals.moderation import cases
from tanuki.animals.tables import Member
from tanuki.errors import TooMany, UserError
from tanuki.platform import maintenance
from tanuki.platform.event_log import Event
from tanuki.platform.rate_limit import RateLimit
from tests.factories.members_and_posts import NOW, make_member, make_post, make_staff

VISITOR = None
NO_HEADERS: dict[str, str] = {}


@pytest.fixture
def ann(resources):
    return make_member(resources, "ann")


@pytest.fixture
def ben(resources):
    return make_member(resources, "ben")


def load_events(res, *kinds):
    """(kind, person, values) of the events not yet exported to the warehouse, by kind."""
    with res.db.read() as db:
        all_events = db.scalars(select(Event).order_by(Event.kind, Event.id)).all()
    return [
        (event.kind, event.person, event.values)
        for event in all_events
        if not kinds or event.kind in kinds
    ]


def load_pseudonym(res, person):
    with res.db.read() as db:
        return members.require_member(db, person).pseudonym


def withdraw_consent(res, person):
    with res.db.write() as db:
        db.execute(update(Member).where(Member.name == person.name).values(events=False))


def record_beacon(res, viewer, body, headers=NO_HEADERS, now=NOW, address="1.2.3.4"):
    with res.db.write() as db:
        return events.record_beacon(db, viewer, body, headers, address=address, now=now)


# ---- consent -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "is_logged"),
    [
        ({}, True),
        ({"dnt": "0"}, True),
        ({"dnt": "1"}, False),
        ({"sec-gpc": "1"}, False),
        ({"dnt": "0", "sec-gpc": "1"}, False),
    ],
)
def test_a_browser_that_opts_out_is_not_logged(embedded, headers, is_logged):
    ann = make_member(embedded, "ann")
    with embedded.db.read() as db:
        assert [identify_viewer(db, viewer, headers) is not None for viewer in (ann, VISITOR)] == [
            is_logged,
            is_logged,
        ]


def test_a_viewer_is_a_pseudonym_or_anonymous(embedded):
    ann, mod = make_member(embedded, "ann"), make_staff(embedded, "mod")
    with embedded.db.read() as db:
        assert identify_viewer(db, ann, {}) == Viewer(load_pseudonym(embedded, ann))
        assert identify_viewer(db, VISITOR, {}) == identify_viewer(db, mod, {}) == Viewer(None)
        assert "ann" not in load_pseudonym(embedded, ann)
    withdraw_consent(embedded, ann)
    with embedded.db.read() as db:
        assert identify_viewer(db, ann, {}) is None


def test_no_events_without_consent():
    placed = rank_in_order([1], "new", order="newest")
    assert (
        listing_events(None, "home", placed, request_id="r", now=NOW)
        == search_events(None, ["cat"], 3, request_id="r", now=NOW)
        == []
    )
    assert listing_events(Viewer("p"), "home", (), request_id="r", now=NOW) == []


# ---- impressions -------------------------------------------------------------------------------


def test_a_feed_page_is_in_the_warehouse_with_all_considered_posts(resources, ann, ben):
    ids = [make_post(resources, ben).id for _ in range(12)]
    with resources.db.read() as db:
        page = feed.load_home_feed(db, ann, limit=10, now=NOW, request_id="request-1")
        viewer = identify_viewer(db, ann, {})
    new_events = listing_events(
        viewer, "home", page.items, considered=page.considered, request_id=page.request_id, now=NOW
    )
    resources.events.write_now(new_events)
    maintenance.export_events_now(resources, NOW)
    with resources.db.read() as db:
        [request] = resources.warehouse.query_facts(db, "select * from events_request").to_dicts()
        rows = resources.warehouse.query_facts(
            db, "select * from events_impression order by position"
        ).to_dicts()
    assert set(request["considered"]) == set(ids)
    assert (request["shown"], request["ordering"], request["version"], request["page"]) == (
        10,
        "first",
        1,
        "home",
    )
    assert [(row["post"], row["position"], row["source"]) for row in rows] == [
        (item.post_id, item.position, item.source) for item in page.items
    ]
    assert {row["propensity"] for row in rows if row["source"] != "chance"} == {1.0}
    assert [row["propensity"] for row in rows if row["source"] == "chance"] == [1 / 3]
    assert {
        (row["request"], row["considered"], row["person"], row["happened_at"]) for row in rows
    } == {("request-1", 12, load_pseudonym(resources, ann), NOW)}
    assert {row["more"] for row in (*rows, request)} == {None}


def test_items_of_a_list_without_chance_have_propensity_1():
    placed = rank_in_order([7, 5], "search", first=24, order="relevance")
    assert [(item.post_id, item.position, item.propensity) for item in placed] == [
        (7, 24, 1.0),
        (5, 25, 1.0),
    ]
    request, _ = listing_events(Viewer(None), "search", placed, request_id="r", now=NOW)
    assert request.values["considered"] == [7, 5]


def test_logged_search_terms_are_limited_in_number_and_length():
    [search_event] = search_events(Viewer(None), ["柴犬" * 40] * 30, 3, request_id="r", now=NOW)
    assert (
        len(search_event.values["terms"]),
        len(search_event.values["terms"][0]),
        search_event.values["results"],
    ) == (
        12,
        40,
        3,
    )


def test_every_logged_value_has_its_column(resources, ann, ben):
    post = make_post(resources, ben, category="dog", breed="shiba")
    with resources.db.write() as db:
        engagement.like_post(db, ann, post.id, now=NOW)
        engagement.unlike_post(db, ann, post.id, now=NOW)
        engagement.follow_member(db, ann, "ben", now=NOW)
        engagement.unfollow_member(db, ann, "ben", now=NOW)
        engagement.add_comment(db, ann, post.id, "Hello", key="k", now=NOW)
        cases.report_subject(db, ann, cases.SubjectRef("post", post.id), "spam", now=NOW)
        viewer = identify_viewer(db, ann, {})
        suggested = {
            "request": "request-1",
            "offered": [{"what": "tag", "value": "nap", "lang": "en", "source": "image_model"}],
        }
        events.record_suggestions(
            db, members.require_member(db, ann), post.id, json.dumps(suggested), {0}, now=NOW
        )
    resources.events.write_now(
        listing_events(
            viewer,
            "home",
            rank_in_order([post.id], "new", order="newest"),
            request_id="request-1",
            now=NOW,
        )
    )
    resources.events.write_now(search_events(viewer, ["cat"], 3, request_id="request-1", now=NOW))
    values = {"post": post.id, "request": "request-1", "position": 0}
    record_beacon(
        resources,
        ann,
        [
            {"kind": "seen", **values},
            {"kind": "open", **values},
            {"kind": "dwell", "ms": 9, **values},
        ],
    )
    maintenance.export_events_now(resources, NOW)
    with resources.db.read() as db:
        for kind in EVENT_KINDS:
            frame = resources.warehouse.query_facts(db, f"select * from {kind.table.name}")
            assert frame["more"].null_count() == frame.height > 0, kind.name
            assert [name for name in kind.schema if frame[name].null_count()] == [], kind.name


# ---- actions of members ------------------------------------------------------------------------


def test_events_are_logged_in_the_transaction_of_the_action(resources, ann, ben):
    post = make_post(resources, ben)
    with resources.db.write() as db:
        engagement.like_post(db, ann, post.id, now=NOW)
        engagement.like_post(db, ann, post.id, now=NOW)
        engagement.follow_member(db, ann, "ben", now=NOW)
    with pytest.raises(ZeroDivisionError), resources.db.write() as db:
        engagement.unlike_post(db, ann, post.id, now=NOW)
        raise ZeroDivisionError
    assert load_events(resources, "like", "follow") == [
        (
            "follow",
            load_pseudonym(resources, ann),
            {"whom": load_pseudonym(resources, ben), "undone": False},
        ),
        ("like", load_pseudonym(resources, ann), {"post": post.id, "undone": False}),
    ]
    assert load_events(resources, "post") == [
        (
            "post",
            load_pseudonym(resources, ben),
            {"post": post.id, "category": "cat", "breed": None},
        )
    ]


def test_a_member_without_consent_appears_in_no_event(resources, ann, ben):
    withdraw_consent(resources, ben)
    post = make_post(resources, ben)
    with resources.db.write() as db:
        engagement.like_post(db, ben, post.id, now=NOW)
        engagement.add_comment(db, ben, post.id, "Hello", key="k", now=NOW)
        engagement.follow_member(db, ben, "ann", now=NOW)
        engagement.follow_member(db, ann, "ben", now=NOW)
    assert load_events(resources) == [
        ("follow", load_pseudonym(resources, ann), {"whom": None, "undone": False})
    ]
    assert load_pseudonym(resources, ben) not in str(load_events(resources))


def test_a_post_event_is_logged_once_despite_undo(resources, ben):
    post = make_post(resources, ben)
    with resources.db.write() as db:
        posts.delete_post(db, ben, post.id, now=NOW)
        posts.undo_delete(db, ben, post.id, now=NOW)
    assert len(load_events(resources, "post")) == 1


# ---- beacons of browsers -----------------------------------------------------------------------


def test_a_beacon_logs_seen_open_and_dwell_events(resources, ann):
    body = [
        {"kind": "seen", "post": 3, "request": "request-1", "position": 0},
        {"kind": "open", "post": 3},
        {"kind": "dwell", "post": 3, "ms": 4_000_000, "extra": "ignored"},
    ]
    assert record_beacon(resources, ann, body) == record_beacon(resources, VISITOR, body) == 3
    person = load_pseudonym(resources, ann)
    assert sorted(load_events(resources), key=str) == sorted(
        [
            (kind, logged_person, values)
            for logged_person in (person, None)
            for kind, values in [
                ("seen", {"post": 3, "request": "request-1", "position": 0}),
                ("open", {"post": 3, "request": None, "position": None}),
                (
                    "dwell",
                    {"post": 3, "request": None, "position": None, "ms": events.MAX_DWELL_MS},
                ),
            ]
        ],
        key=str,
    )


def test_a_beacon_without_consent_logs_nothing(resources, ann):
    body = [{"kind": "open", "post": 3}]
    assert record_beacon(resources, ann, body, {"dnt": "1"}) == 0
    withdraw_consent(resources, ann)
    assert record_beacon(resources, ann, body) == 0
    assert load_events(resources) == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (None, "a list"),
        ({"kind": "open", "post": 1}, "a list"),
        ([{"kind": "open", "post": 1}] * 101, "at most 100"),
        (["open"], "an object"),
        ([{"kind": "like", "post": 1}], "like is not a kind"),
        ([{"post": 1}], "None is not a kind"),
        ([{"kind": ["open"], "post": 1}], "not a kind"),
        ([{"kind": "open"}], "post is a whole number"),
        ([{"kind": "open", "post": 0}], "post is a whole number"),
        ([{"kind": "open", "post": True}], "post is a whole number"),
        ([{"kind": "open", "post": 2**70}], "post is a whole number"),
        ([{"kind": "open", "post": "1"}], "post is a whole number"),
        ([{"kind": "open", "post": 1, "position": -1}], "position is a whole number"),
        ([{"kind": "seen", "post": 1, "request": "x" * 65}], "request is not one of ours"),
        ([{"kind": "seen", "post": 1, "request": "<script>alert"}], "request is not one of ours"),
        ([{"kind": "seen", "post": 1, "request": 5}], "request is not one of ours"),
        ([{"kind": "dwell", "post": 1}], "ms is a whole number"),
        ([{"kind": "dwell", "post": 1, "ms": -5}], "ms is a whole number"),
        (
            [{"kind": "open", "post": 1}, {"kind": "dwell", "post": 1, "ms": 1.5}],
            "ms is a whole number",
        ),
    ],
)
def test_an_invalid_beacon_is_refused_as_a_whole(embedded, body, why):
    with pytest.raises(UserError, match=why):
        record_beacon(embedded, VISITOR, body)
    assert load_events(embedded) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["kind", "post", "request", "position", "ms"]), inner)
    ),
    max_leaves=12,
)


@given(
    json_values
    | st.lists(
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from(["seen", "open", "dwell"]),
                "post": json_values,
                "ms": json_values,
            }
        )
    )
)
def test_an_arbitrary_beacon_is_refused_or_valid(body):
    try:
        browser_events = [events.parse_event(item) for item in events.parse_event_list(body)]
    except UserError:
        return
    assert all(
        kind in events.BROWSER_EVENT_KINDS and values["post"] > 0 for kind, values in browser_events
    )


def test_beacons_are_rate_limited(resources, ann, monkeypatch):
    monkeypatch.setattr(events, "MEMBER_BEACONS", RateLimit("beacon", 2, 3600))
    monkeypatch.setattr(events, "VISITOR_BEACONS", RateLimit("beacon", 3, 3600))
    body = [{"kind": "open", "post": 3}]
    for viewer, max_beacons in ((ann, 2), (VISITOR, 3)):
        for _ in range(max_beacons):
            record_beacon(resources, viewer, body)
        with pytest.raises(TooMany):
            record_beacon(resources, viewer, body)
    assert record_beacon(resources, VISITOR, body, address="5.6.7.8") == 1
    assert record_beacon(resources, ann, body, now=NOW + timedelta(hours=1)) == 1
