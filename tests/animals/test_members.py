"""Joining, the profile, blocking and muting: what each member may see of another and what a banned one may do."""

import threading

import pytest
from sqlalchemy import func, select, update

from tanuki.animals import members
from tanuki.animals.tables import BlockedImageHash, Follow, Member, Photo
from tanuki.errors import NotAllowed, NotFound, UserError
from tanuki.platform.accounts import Person
from tests.factories.members_and_posts import NOW, make_member, make_staff

STRANGER = None


def follow(res, follower, followed):
    with res.db.write() as db:
        one, other = members.require_member(db, follower), members.require_member(db, followed)
        db.add(Follow(follower_id=one.id, followed_id=other.id, at=NOW))
        one.following += 1
        other.followers += 1


def test_joining_twice_is_joining_once(resources):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        first = members.require_member(db, rex)
        assert members.join_community(db, rex, now=NOW).id == first.id
        assert (first.display, first.posts, first.events) == ("Rex", 0, True)
        assert db.scalar(select(func.count()).select_from(Member)) == 1


def test_joining_twice_at_the_same_time_is_joining_once(resources):
    rex = make_staff(resources, "rex", "member")
    together, failed = threading.Barrier(4), []

    def join():
        together.wait()
        try:
            with resources.db.write() as db:
                members.join_community(db, rex, now=NOW)
        except UserError as error:
            failed.append(error)

    threads = [threading.Thread(target=join) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with resources.db.read() as db:
        assert (db.scalar(select(func.count()).select_from(Member)), failed) == (1, [])


def test_nobody_becomes_a_member_without_the_role(embedded):
    manager = Person("mia", "Mia", frozenset({("manager", "chiba")}))
    with embedded.db.write() as db:
        with pytest.raises(NotAllowed):
            members.join_community(db, manager, now=NOW)
        with pytest.raises(NotFound):
            members.require_member(db, manager)
        assert members.find_viewer_id(db, manager) is members.find_viewer_id(db, STRANGER) is None


def test_a_banned_member_reads_and_cannot_write(resources):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        members.require_member(db, rex).banned_at = NOW
    with resources.db.write() as db:
        assert members.require_member(db, rex).name == "rex"
        for write in (
            members.require_active_member,
            lambda db, who: members.update_profile(
                db, who, members.ProfileChange(about="hello"), now=NOW
            ),
        ):
            with pytest.raises(NotAllowed, match="banned"):
                write(db, rex)


def test_who_left_is_not_there(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    with resources.db.write() as db:
        gone = members.require_member(db, rex).id
        db.execute(update(Member).where(Member.id == gone).values(left_at=NOW))
    with resources.db.read() as db:
        assert members.find_viewer_id(db, rex) is None
        assert (
            members.load_hidden_member_ids(db, None)
            == members.load_hidden_member_ids(db, members.find_viewer_id(db, ann))
            == {gone}
        )
        for viewer in (rex, ann, STRANGER):
            with pytest.raises(NotFound):
                members.load_profile(db, viewer, "rex")


# ---- the profile ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Rex \t the   dog ", "Rex the dog"),
        ("ポチ\x00\x1b\ud800!", "ポチ!"),
        ("evil\u202etxt", "eviltxt"),
        ("か\u3099", "が"),
        ("👩‍🦰🐈", "👩‍🦰🐈"),
        ("<b>Rex</b>", "<b>Rex</b>"),
    ],
)
def test_a_name_is_kept_as_it_can_be_seen(resources, given, kept):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        members.update_profile(db, rex, members.ProfileChange(display=given), now=NOW)
    with resources.db.read() as db:
        assert members.load_profile(db, None, "REX").display == kept


@pytest.mark.parametrize("given", ["", "   ", "\u200d\ufe0f", "x" * 41, "\u3000"])
def test_a_name_that_cannot_be_seen_or_is_too_long_is_refused(embedded, given):
    rex = make_member(embedded, "rex")
    with embedded.db.write() as db, pytest.raises(UserError, match="1 to 40 characters"):
        members.update_profile(db, rex, members.ProfileChange(display=given), now=NOW)


def test_about_keeps_its_lines_and_what_is_not_given_stays(embedded):
    rex = make_member(embedded, "rex")
    with embedded.db.write() as db:
        members.update_profile(
            db, rex, members.ProfileChange(about="one\r\n\r\ntwo\n", events=False), now=NOW
        )
        members.update_profile(db, rex, members.ProfileChange(display="R"), now=NOW)
        found = members.require_member(db, rex)
        assert (found.display, found.about, found.events) == ("R", "one\n\ntwo", False)
        with pytest.raises(UserError, match="at most 500"):
            members.update_profile(db, rex, members.ProfileChange(about="x" * 501), now=NOW)


def test_a_profile_has_a_picture_until_it_is_taken_away_but_not_one_that_was_removed(resources):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        for digest in ("good", "bad"):
            db.add(
                Photo(
                    digest=digest,
                    width=1,
                    height=1,
                    bytes=1,
                    colour="#000000",
                    source="jpeg",
                    added_at=NOW,
                )
            )
        db.flush()
        db.add(BlockedImageHash(digest="bad", reason="blood", at=NOW))
        members.update_profile(db, rex, members.ProfileChange(photo=db.get(Photo, "good")), now=NOW)
        with pytest.raises(UserError, match="removed this picture"):
            members.update_profile(
                db, rex, members.ProfileChange(photo=db.get(Photo, "bad")), now=NOW
            )
        assert (
            members.update_profile(db, rex, members.ProfileChange(about="kept"), now=NOW).photo
            == "good"
        )
        assert (
            members.update_profile(db, rex, members.ProfileChange(photo=None), now=NOW).photo
            is None
        )


# ---- blocking and muting -------------------------------------------------------------------------------------------


def test_who_blocks_and_is_blocked_do_not_see_each_other_but_moderators_see_both(resources):
    rex, ann, mod = (
        make_member(resources, "rex"),
        make_member(resources, "ann"),
        make_member(resources, "mod", roles=("member", "moderator")),
    )
    with resources.db.write() as db:
        for name in ("ann", "mod"):
            members.block_member(db, rex, name, "block", now=NOW)
    with resources.db.read() as db:
        for viewer, name in ((rex, "ann"), (ann, "rex"), (rex, "mod")):
            with pytest.raises(NotFound):
                members.load_profile(db, viewer, name)
        assert members.load_profile(db, mod, "rex").name == "rex"
        assert members.load_profile(db, None, "rex").name == "rex"
        ids = {name: members.load_profile(db, mod, name).id for name in ("rex", "ann", "mod")}
        assert members.load_hidden_member_ids(db, ids["ann"]) == {ids["rex"]}
        assert members.load_hidden_member_ids(db, ids["rex"]) == {ids["ann"], ids["mod"]}
        assert members.is_blocked_between(db, ids["ann"], ids["rex"])
        assert not members.is_blocked_between(db, ids["ann"], ids["mod"])


def test_who_is_muted_stays_there_and_does_not_notice(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    with resources.db.write() as db:
        members.block_member(db, rex, "ann", "mute", now=NOW)
    with resources.db.read() as db:
        me, other = members.require_member(db, rex).id, members.load_profile(db, rex, "ann").id
        assert members.load_hidden_member_ids(db, me) == {other}
        assert set(db.scalars(members.hidden_member_ids(me, muted=False))) == set()
        assert members.load_hidden_member_ids(db, other) == set()
        assert members.load_profile(db, ann, "rex").name == "rex"


def test_blocking_ends_following_both_ways_and_the_counts_follow(resources):
    rex, ann, bob = (make_member(resources, name) for name in ("rex", "ann", "bob"))
    for pair in ((rex, ann), (ann, rex), (bob, rex)):
        follow(resources, *pair)
    with resources.db.write() as db:
        members.block_member(db, rex, "ann", "mute", now=NOW)
        members.block_member(db, rex, "ann", "block", now=NOW)
        members.block_member(db, rex, "ann", "block", now=NOW)
    with resources.db.read() as db:
        assert [
            (each.following, each.followers)
            for each in db.scalars(select(Member).order_by(Member.id))
        ] == [(0, 1), (0, 0), (1, 0)]
        assert db.scalar(select(func.count()).select_from(Follow)) == 1


def test_a_block_is_not_weakened_by_muting_and_ends_when_it_is_taken_back(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    with resources.db.write() as db:
        members.block_member(db, rex, "ann", "block", now=NOW)
        assert [(block.kind, other.name) for block, other in members.list_blocks(db, rex)] == [
            ("block", "ann")
        ]
        members.unblock_member(db, rex, "ann")
        members.unblock_member(db, rex, "ann")
        assert members.list_blocks(db, rex) == []
        assert members.load_profile(db, ann, "rex").name == "rex"


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("rex", "mute", "yourself"),
        ("ann", "hate", "mute or block"),
        ("zoe", "mute", "no such member"),
    ],
)
def test_what_cannot_be_blocked_is_refused(embedded, name, kind, sentence):
    rex = make_member(embedded, "rex")
    make_member(embedded, "ann")
    with embedded.db.write() as db, pytest.raises(UserError, match=sentence):
        members.block_member(db, rex, name, kind, now=NOW)
