"""Notifications: deduplication, order, stable paging, and blocked or muted members."""

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


def notify(res, recipient, actor, kind="like", dedup_key="post:1", **options):
    with res.db.write() as db:
        return notifications.notify(
            db,
            members.require_member(db, recipient).id,
            NewNotification(
                NotificationKind(kind),
                dedup_key,
                actor_id=actor and members.require_member(db, actor).id,
                **options,
            ),
            now=NOW,
        )


def list_notifications(res, recipient, **options):
    with res.db.read() as db:
        return notifications.list_notifications(db, recipient, **options)


def count_unseen(res, recipient):
    with res.db.read() as db:
        return notifications.count_unseen(db, recipient)


def test_a_repeated_notification_is_dropped(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    assert [
        notify(resources, rex, ann),
        notify(resources, rex, ann),
        notify(resources, rex, ann, dedup_key="post:2"),
    ] == [True, False, True]
    (second_item, first_item) = list_notifications(resources, rex).items
    assert (
        first_item.notification.dedup_key,
        first_item.actor.name,
        second_item.notification.dedup_key,
    ) == (
        "post:1",
        "ann",
        "post:2",
    )
    assert count_unseen(resources, rex) == 2


def test_members_are_not_notified_of_their_own_actions(resources):
    rex = make_member(resources, "rex")
    assert not notify(resources, rex, rex)
    assert notify(resources, rex, None, kind="held", values={"why": "banned_words"})
    (item,) = list_notifications(resources, rex).items
    assert (item.actor, item.post, item.notification.values) == (
        None,
        None,
        {"why": "banned_words"},
    )


@pytest.mark.parametrize(
    ("blocker", "target", "kind", "is_notified"),
    [
        ("rex", "ann", "mute", False),
        ("rex", "ann", "block", False),
        ("ann", "rex", "block", False),
        ("ann", "rex", "mute", True),
    ],
)
def test_blocks_and_mutes_stop_and_hide_notifications(
    resources, blocker, target, kind, is_notified
):
    people = {name: make_member(resources, name) for name in ("rex", "ann")}
    notify(resources, people["rex"], people["ann"], dedup_key="before")
    with resources.db.write() as db:
        members.block_member(db, people[blocker], target, kind, now=NOW)
    assert notify(resources, people["rex"], people["ann"], dedup_key="after") is is_notified
    assert (
        len(list_notifications(resources, people["rex"]).items)
        == count_unseen(resources, people["rex"])
        == (2 if is_notified else 0)
    )


def test_notifications_of_a_deleted_account_are_hidden(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    notify(resources, rex, ann)
    with resources.db.write() as db:
        db.execute(update(Member).where(Member.name == "ann").values(left_at=NOW))
    assert list_notifications(resources, rex).items == []


def test_seen_notifications_stay_listed_and_are_not_counted(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    notify(resources, rex, ann)
    notify(resources, ann, rex)
    with resources.db.write() as db:
        notifications.mark_all_seen(db, rex, now=NOW + timedelta(seconds=1))
    assert (count_unseen(resources, rex), count_unseen(resources, ann)) == (0, 1)
    assert list_notifications(resources, rex).items[0].notification.seen_at == NOW + timedelta(
        seconds=1
    )


def test_paging_has_no_duplicates_while_notifications_arrive(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    for n in range(7):
        notify(resources, rex, ann, dedup_key=str(n))
    seen_keys, after = [], None
    while True:
        page = list_notifications(resources, rex, after=after, limit=3)
        seen_keys += [item.notification.dedup_key for item in page.items]
        notify(resources, rex, ann, dedup_key=f"new {len(seen_keys)}")
        if (after := page.next) is None:
            break
    assert seen_keys == list("6543210")


def test_a_deleted_account_cannot_list_notifications(embedded):
    rex = make_member(embedded, "rex")
    with embedded.db.write() as db:
        db.execute(update(Member).values(left_at=NOW))
    with pytest.raises(NotFound):
        list_notifications(embedded, rex)


# ---- cursors -----------------------------------------------------------------------------------


@given(
    st.datetimes(timezones=st.just(NOW.tzinfo), min_value=pagination.EPOCH.replace(tzinfo=None)),
    st.integers(0, pagination.MAX_ID),
)
def test_a_cursor_decodes_to_its_moment_and_id(moment, id_):
    assert pagination.parse_moment_cursor(pagination.moment_cursor(moment, id_)) == (moment, id_)


@settings(max_examples=200)
@given(st.text() | st.from_regex(r"[0-9]{1,30}-?[0-9]{0,30}", fullmatch=True))
def test_an_arbitrary_cursor_is_refused_or_valid(cursor):
    for parse in (pagination.parse_moment_cursor, pagination.parse_id_cursor):
        try:
            parse(cursor)
        except UserError as error:
            assert "no such place" in str(error)
