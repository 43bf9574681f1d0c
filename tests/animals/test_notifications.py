"""What members are told: once, in order, in pages that stay put, and never by somebody they do not want to hear of."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from tanuki.animals import members, notifications, pagination
from tanuki.animals.notifications import NewNotification
from tanuki.animals.tables import Member, NotificationKind
from tanuki.errors import NotFound, UserError
from tests.factories.members_and_posts import NOW, make_member


def tell(res, who, actor, kind="like", about="post:1", **more):
    with res.db.write() as db:
        return notifications.notify(
            db,
            members.require_member(db, who).id,
            NewNotification(
                NotificationKind(kind),
                about,
                actor_id=actor and members.require_member(db, actor).id,
                **more,
            ),
            now=NOW,
        )


def told(res, who, **options):
    with res.db.read() as db:
        return notifications.list_notifications(db, who, **options)


def unseen(res, who):
    with res.db.read() as db:
        return notifications.count_unseen(db, who)


def test_the_same_thing_is_told_once(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    assert [
        tell(resources, rex, ann),
        tell(resources, rex, ann),
        tell(resources, rex, ann, about="post:2"),
    ] == [True, False, True]
    (second, first) = told(resources, rex).items
    assert (first.notification.dedup_key, first.actor.name, second.notification.dedup_key) == (
        "post:1",
        "ann",
        "post:2",
    )
    assert unseen(resources, rex) == 2


def test_nobody_is_told_of_what_they_did_themselves(resources):
    rex = make_member(resources, "rex")
    assert not tell(resources, rex, rex)
    assert tell(resources, rex, None, kind="held", values={"why": "banned_words"})
    (only,) = told(resources, rex).items
    assert (only.actor, only.post, only.notification.values) == (
        None,
        None,
        {"why": "banned_words"},
    )


@pytest.mark.parametrize(("shutter", "other", "kind", "heard"), [("rex", "ann", "mute", False), ("rex", "ann", "block", False), ("ann", "rex", "block", False), ("ann", "rex", "mute", True)])  # fmt: skip
def test_who_is_blocked_or_muted_is_not_heard_from_then_on_and_no_longer_shown(
    resources, shutter, other, kind, heard
):
    people = {name: make_member(resources, name) for name in ("rex", "ann")}
    tell(resources, people["rex"], people["ann"], about="before")
    with resources.db.write() as db:
        members.block_member(db, people[shutter], other, kind, now=NOW)
    assert tell(resources, people["rex"], people["ann"], about="after") is heard
    assert (
        len(told(resources, people["rex"]).items)
        == unseen(resources, people["rex"])
        == (2 if heard else 0)
    )


def test_who_left_is_no_longer_shown(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    tell(resources, rex, ann)
    with resources.db.write() as db:
        db.execute(update(Member).where(Member.name == "ann").values(left_at=NOW))
    assert told(resources, rex).items == []


def test_seen_ones_stay_and_are_no_longer_counted(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    tell(resources, rex, ann)
    tell(resources, ann, rex)
    with resources.db.write() as db:
        notifications.mark_all_seen(db, rex, now=NOW + timedelta(seconds=1))
    assert (unseen(resources, rex), unseen(resources, ann)) == (0, 1)
    assert told(resources, rex).items[0].notification.seen_at == NOW + timedelta(seconds=1)


def test_pages_go_through_all_of_them_once_while_new_ones_come(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    for n in range(7):
        tell(resources, rex, ann, about=str(n))
    seen, after = [], None
    while True:
        page = told(resources, rex, after=after, limit=3)
        seen += [item.notification.dedup_key for item in page.items]
        tell(resources, rex, ann, about=f"new {len(seen)}")
        if (after := page.next) is None:
            break
    assert seen == list("6543210")


def test_somebody_who_is_no_member_has_none(embedded):
    rex = make_member(embedded, "rex")
    with embedded.db.write() as db:
        db.execute(update(Member).values(left_at=NOW))
    with pytest.raises(NotFound):
        told(embedded, rex)


# ---- places in lists -----------------------------------------------------------------------------------------------


@given(
    st.datetimes(timezones=st.just(NOW.tzinfo), min_value=pagination.EPOCH.replace(tzinfo=None)),
    st.integers(0, pagination.MAX_ID),
)
def test_a_place_leads_back_to_its_moment_and_id(moment, id_):
    assert pagination.parse_moment_cursor(pagination.moment_cursor(moment, id_)) == (moment, id_)


@settings(max_examples=200)
@given(st.text() | st.from_regex(r"[0-9]{1,30}-?[0-9]{0,30}", fullmatch=True))
def test_a_place_that_we_did_not_give_gets_a_sentence_or_is_one(place):
    for read in (pagination.parse_moment_cursor, pagination.parse_id_cursor):
        try:
            read(place)
        except UserError as error:
            assert "no such place" in str(error)
