"""What is logged of what people see and do: completely, under pseudonyms, never of who does not want it; and what browsers may tell."""

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

STRANGER = None
NO_HEADERS: dict[str, str] = {}


@pytest.fixture
def ann(resources):
    return make_member(resources, "ann")


@pytest.fixture
def ben(resources):
    return make_member(resources, "ben")


def kept(res, *kinds):
    """(kind, person, values) of what is waiting for the warehouse, by kind."""
    with res.db.read() as db:
        found = db.scalars(select(Event).order_by(Event.kind, Event.id)).all()
    return [
        (each.kind, each.person, each.values) for each in found if not kinds or each.kind in kinds
    ]


def pseudonym(res, who):
    with res.db.read() as db:
        return members.require_member(db, who).pseudonym


def refuse(res, who):
    with res.db.write() as db:
        db.execute(update(Member).where(Member.name == who.name).values(events=False))


def beacon(res, viewer, body, headers=NO_HEADERS, now=NOW, address="1.2.3.4"):
    with res.db.write() as db:
        return events.record_beacon(db, viewer, body, headers, address=address, now=now)


# ---- who may be watched --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({}, True),
        ({"dnt": "0"}, True),
        ({"dnt": "1"}, False),
        ({"sec-gpc": "1"}, False),
        ({"dnt": "0", "sec-gpc": "1"}, False),
    ],
)
def test_a_browser_that_asks_not_to_be_followed_is_not(embedded, headers, may):
    ann = make_member(embedded, "ann")
    with embedded.db.read() as db:
        assert [identify_viewer(db, viewer, headers) is not None for viewer in (ann, STRANGER)] == [
            may,
            may,
        ]


def test_a_member_is_a_pseudonym_and_a_stranger_nobody(embedded):
    ann, mod = make_member(embedded, "ann"), make_staff(embedded, "mod")
    with embedded.db.read() as db:
        assert identify_viewer(db, ann, {}) == Viewer(pseudonym(embedded, ann))
        assert identify_viewer(db, STRANGER, {}) == identify_viewer(db, mod, {}) == Viewer(None)
        assert "ann" not in pseudonym(embedded, ann)
    refuse(embedded, ann)
    with embedded.db.read() as db:
        assert identify_viewer(db, ann, {}) is None


def test_nothing_is_made_of_who_is_not_watched():
    placed = rank_in_order([1], "new", order="newest")
    assert (
        listing_events(None, "home", placed, request_id="r", now=NOW)
        == search_events(None, ["cat"], 3, request_id="r", now=NOW)
        == []
    )
    assert listing_events(Viewer("p"), "home", (), request_id="r", now=NOW) == []


# ---- what was shown ------------------------------------------------------------------------------------------------


def test_a_page_of_the_feed_is_told_in_the_warehouse_with_all_that_could_have_been_on_it(
    resources, ann, ben
):
    ids = [make_post(resources, ben).id for _ in range(12)]
    with resources.db.read() as db:
        found = feed.load_home_feed(db, ann, limit=10, now=NOW, request_id="request-1")
        who = identify_viewer(db, ann, {})
    told = listing_events(
        who, "home", found.items, considered=found.considered, request_id=found.request_id, now=NOW
    )
    resources.events.write_now(told)
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
        (p.post_id, p.position, p.source) for p in found.items
    ]
    assert {row["propensity"] for row in rows if row["source"] != "chance"} == {1.0}
    assert [row["propensity"] for row in rows if row["source"] == "chance"] == [1 / 3]
    assert {
        (row["request"], row["considered"], row["person"], row["happened_at"]) for row in rows
    } == {("request-1", 12, pseudonym(resources, ann), NOW)}
    assert {row["more"] for row in (*rows, request)} == {None}


def test_lists_without_chance_show_what_they_show():
    placed = rank_in_order([7, 5], "search", first=24, order="relevance")
    assert [(each.post_id, each.position, each.propensity) for each in placed] == [
        (7, 24, 1.0),
        (5, 25, 1.0),
    ]
    request, _ = listing_events(Viewer(None), "search", placed, request_id="r", now=NOW)
    assert request.values["considered"] == [7, 5]


def test_of_a_search_the_terms_are_kept_and_not_too_many():
    [told] = search_events(Viewer(None), ["柴犬" * 40] * 30, 3, request_id="r", now=NOW)
    assert (len(told.values["terms"]), len(told.values["terms"][0]), told.values["results"]) == (
        12,
        40,
        3,
    )


def test_every_value_that_is_logged_has_its_column(resources, ann, ben):
    photo = make_post(resources, ben, category="dog", breed="shiba")
    with resources.db.write() as db:
        engagement.like_post(db, ann, photo.id, now=NOW)
        engagement.unlike_post(db, ann, photo.id, now=NOW)
        engagement.follow_member(db, ann, "ben", now=NOW)
        engagement.unfollow_member(db, ann, "ben", now=NOW)
        engagement.add_comment(db, ann, photo.id, "Hello", key="k", now=NOW)
        cases.report_subject(db, ann, cases.SubjectRef("post", photo.id), "spam", now=NOW)
        who = identify_viewer(db, ann, {})
        suggested = {
            "request": "request-1",
            "offered": [{"what": "tag", "value": "nap", "lang": "en", "source": "image_model"}],
        }
        events.record_suggestions(
            db, members.require_member(db, ann), photo.id, json.dumps(suggested), {0}, now=NOW
        )
    resources.events.write_now(
        listing_events(
            who,
            "home",
            rank_in_order([photo.id], "new", order="newest"),
            request_id="request-1",
            now=NOW,
        )
    )
    resources.events.write_now(search_events(who, ["cat"], 3, request_id="request-1", now=NOW))
    told = {"post": photo.id, "request": "request-1", "position": 0}
    beacon(
        resources,
        ann,
        [{"kind": "seen", **told}, {"kind": "open", **told}, {"kind": "dwell", "ms": 9, **told}],
    )
    maintenance.export_events_now(resources, NOW)
    with resources.db.read() as db:
        for kind in EVENT_KINDS:
            frame = resources.warehouse.query_facts(db, f"select * from {kind.table.name}")
            assert frame["more"].null_count() == frame.height > 0, kind.name
            assert [name for name in kind.schema if frame[name].null_count()] == [], kind.name


# ---- what members did ----------------------------------------------------------------------------------------------


def test_acts_are_kept_in_the_transaction_of_the_act(resources, ann, ben):
    photo = make_post(resources, ben)
    with resources.db.write() as db:
        engagement.like_post(db, ann, photo.id, now=NOW)
        engagement.like_post(db, ann, photo.id, now=NOW)
        engagement.follow_member(db, ann, "ben", now=NOW)
    with pytest.raises(ZeroDivisionError), resources.db.write() as db:
        engagement.unlike_post(db, ann, photo.id, now=NOW)
        raise ZeroDivisionError
    assert kept(resources, "like", "follow") == [
        ("follow", pseudonym(resources, ann), {"whom": pseudonym(resources, ben), "undone": False}),
        ("like", pseudonym(resources, ann), {"post": photo.id, "undone": False}),
    ]
    assert kept(resources, "post") == [
        ("post", pseudonym(resources, ben), {"post": photo.id, "category": "cat", "breed": None})
    ]


def test_who_said_no_leaves_no_trace_in_what_they_do_and_in_what_others_do(resources, ann, ben):
    refuse(resources, ben)
    photo = make_post(resources, ben)
    with resources.db.write() as db:
        engagement.like_post(db, ben, photo.id, now=NOW)
        engagement.add_comment(db, ben, photo.id, "Hello", key="k", now=NOW)
        engagement.follow_member(db, ben, "ann", now=NOW)
        engagement.follow_member(db, ann, "ben", now=NOW)
    assert kept(resources) == [
        ("follow", pseudonym(resources, ann), {"whom": None, "undone": False})
    ]
    assert pseudonym(resources, ben) not in str(kept(resources))


def test_what_is_deleted_and_brought_back_was_posted_once(resources, ben):
    photo = make_post(resources, ben)
    with resources.db.write() as db:
        posts.delete_post(db, ben, photo.id, now=NOW)
        posts.undo_delete(db, ben, photo.id, now=NOW)
    assert len(kept(resources, "post")) == 1


# ---- what browsers tell --------------------------------------------------------------------------------------------


def test_a_browser_tells_what_was_seen_opened_and_looked_at(resources, ann):
    told = [
        {"kind": "seen", "post": 3, "request": "request-1", "position": 0},
        {"kind": "open", "post": 3},
        {"kind": "dwell", "post": 3, "ms": 4_000_000, "extra": "ignored"},
    ]
    assert beacon(resources, ann, told) == beacon(resources, STRANGER, told) == 3
    person = pseudonym(resources, ann)
    assert sorted(kept(resources), key=str) == sorted(
        [
            (kind, who, values)
            for who in (person, None)
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


def test_what_must_not_be_logged_is_not(resources, ann):
    told = [{"kind": "open", "post": 3}]
    assert beacon(resources, ann, told, {"dnt": "1"}) == 0
    refuse(resources, ann)
    assert beacon(resources, ann, told) == 0
    assert kept(resources) == []


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
def test_anything_else_is_refused_as_a_whole(embedded, body, why):
    with pytest.raises(UserError, match=why):
        beacon(embedded, STRANGER, body)
    assert kept(embedded) == []


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
def test_no_body_breaks_it(body):
    try:
        told = [events.parse_event(each) for each in events.parse_event_list(body)]
    except UserError:
        return
    assert all(kind in events.BROWSER_EVENT_KINDS and values["post"] > 0 for kind, values in told)


def test_too_many_messages_wait(resources, ann, monkeypatch):
    monkeypatch.setattr(events, "MEMBER_BEACONS", RateLimit("beacon", 2, 3600))
    monkeypatch.setattr(events, "VISITOR_BEACONS", RateLimit("beacon", 3, 3600))
    told = [{"kind": "open", "post": 3}]
    for viewer, most in ((ann, 2), (STRANGER, 3)):
        for _ in range(most):
            beacon(resources, viewer, told)
        with pytest.raises(TooMany):
            beacon(resources, viewer, told)
    assert beacon(resources, STRANGER, told, address="5.6.7.8") == 1
    assert beacon(resources, ann, told, now=NOW + timedelta(hours=1)) == 1
