"""Members: joining, profiles, blocks and mutes, and what a banned member can do."""

import threading

import pytest
from sqlalchemy import func, select, update

from tanuki.animals import members
from tanuki.animals.tables import BlockedImageHash, Follow, Member, Photo
from tanuki.errors import NotAllowed, NotFound, UserError
from tanuki.platform.accounts import Person
from tests.factories.members_and_posts import NOW, make_member, make_staff

VISITOR = None


def follow(res, follower, followed):
    with res.db.write() as db:
        follower_row, followed_row = (
            members.require_member(db, follower),
            members.require_member(db, followed),
        )
        db.add(Follow(follower_id=follower_row.id, followed_id=followed_row.id, at=NOW))
        follower_row.following += 1
        followed_row.followers += 1


def test_a_second_join_changes_nothing(resources):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        member = members.require_member(db, rex)
        assert members.join_community(db, rex, now=NOW).id == member.id
        assert (member.display, member.posts, member.events) == ("Rex", 0, True)
        assert db.scalar(select(func.count()).select_from(Member)) == 1


def test_parallel_joins_create_one_member(resources):
    rex = make_staff(resources, "rex", "member")
    barrier, errors = threading.Barrier(4), []

    def join():
        barrier.wait()
        try:
            with resources.db.write() as db:
                members.join_community(db, rex, now=NOW)
        except UserError as error:
            errors.append(error)

    threads = [threading.Thread(target=join) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with resources.db.read() as db:
        assert (db.scalar(select(func.count()).select_from(Member)), errors) == (1, [])


def test_joining_requires_the_member_role(embedded):
    manager = Person("mia", "Mia", frozenset({("manager", "chiba")}))
    with embedded.db.write() as db:
        with pytest.raises(NotAllowed):
            members.join_community(db, manager, now=NOW)
        with pytest.raises(NotFound):
            members.require_member(db, manager)
        assert members.find_viewer_id(db, manager) is members.find_viewer_id(db, VISITOR) is None


def test_a_banned_member_can_read_and_not_write(resources):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        members.require_member(db, rex).banned_at = NOW
    with resources.db.write() as db:
        assert members.require_member(db, rex).name == "rex"
        for write in (
            members.require_active_member,
            lambda db, person: members.update_profile(
                db, person, members.ProfileChange(about="hello"), now=NOW
            ),
        ):
            with pytest.raises(NotAllowed, match="banned"):
                write(db, rex)


def test_a_deleted_account_is_hidden_from_everybody(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    with resources.db.write() as db:
        deleted_id = members.require_member(db, rex).id
        db.execute(update(Member).where(Member.id == deleted_id).values(left_at=NOW))
    with resources.db.read() as db:
        assert members.find_viewer_id(db, rex) is None
        assert (
            members.load_hidden_member_ids(db, None)
            == members.load_hidden_member_ids(db, members.find_viewer_id(db, ann))
            == {deleted_id}
        )
        for viewer in (rex, ann, VISITOR):
            with pytest.raises(NotFound):
                members.load_profile(db, viewer, "rex")


# ---- the profile -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("display_name", "expected"),
    [
        ("  Rex \t the   dog ", "Rex the dog"),
        ("ポチ\x00\x1b\ud800!", "ポチ!"),
        ("evil\u202etxt", "eviltxt"),
        ("か\u3099", "が"),
        ("👩‍🦰🐈", "👩‍🦰🐈"),
        ("<b>Rex</b>", "<b>Rex</b>"),
    ],
)
def test_a_display_name_is_normalised(resources, display_name, expected):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        members.update_profile(db, rex, members.ProfileChange(display=display_name), now=NOW)
    with resources.db.read() as db:
        assert members.load_profile(db, None, "REX").display == expected


@pytest.mark.parametrize("display_name", ["", "   ", "\u200d\ufe0f", "x" * 41, "\u3000"])
def test_an_invisible_or_too_long_display_name_is_refused(embedded, display_name):
    rex = make_member(embedded, "rex")
    with embedded.db.write() as db, pytest.raises(UserError, match="1 to 40 characters"):
        members.update_profile(db, rex, members.ProfileChange(display=display_name), now=NOW)


def test_a_profile_change_keeps_other_fields_and_line_breaks(embedded):
    rex = make_member(embedded, "rex")
    with embedded.db.write() as db:
        members.update_profile(
            db, rex, members.ProfileChange(about="one\r\n\r\ntwo\n", events=False), now=NOW
        )
        members.update_profile(db, rex, members.ProfileChange(display="R"), now=NOW)
        member = members.require_member(db, rex)
        assert (member.display, member.about, member.events) == ("R", "one\n\ntwo", False)
        with pytest.raises(UserError, match="at most 500"):
            members.update_profile(db, rex, members.ProfileChange(about="x" * 501), now=NOW)


def test_a_profile_photo_is_set_and_cleared_and_never_a_blocked_one(resources):
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


# ---- blocking and muting -----------------------------------------------------------------------


def test_a_block_hides_both_members_from_each_other_and_not_from_moderators(resources):
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


def test_a_muted_member_notices_nothing(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    with resources.db.write() as db:
        members.block_member(db, rex, "ann", "mute", now=NOW)
    with resources.db.read() as db:
        muter_id, muted_id = (
            members.require_member(db, rex).id,
            members.load_profile(db, rex, "ann").id,
        )
        assert members.load_hidden_member_ids(db, muter_id) == {muted_id}
        assert set(db.scalars(members.hidden_member_ids(muter_id, muted=False))) == set()
        assert members.load_hidden_member_ids(db, muted_id) == set()
        assert members.load_profile(db, ann, "rex").name == "rex"


def test_a_block_ends_follows_and_corrects_the_counts(resources):
    rex, ann, bob = (make_member(resources, name) for name in ("rex", "ann", "bob"))
    for pair in ((rex, ann), (ann, rex), (bob, rex)):
        follow(resources, *pair)
    with resources.db.write() as db:
        members.block_member(db, rex, "ann", "mute", now=NOW)
        members.block_member(db, rex, "ann", "block", now=NOW)
        members.block_member(db, rex, "ann", "block", now=NOW)
    with resources.db.read() as db:
        assert [
            (member.following, member.followers)
            for member in db.scalars(select(Member).order_by(Member.id))
        ] == [(0, 1), (0, 0), (1, 0)]
        assert db.scalar(select(func.count()).select_from(Follow)) == 1


def test_unblocking_ends_a_block(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    with resources.db.write() as db:
        members.block_member(db, rex, "ann", "block", now=NOW)
        assert [(block.kind, member.name) for block, member in members.list_blocks(db, rex)] == [
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
def test_invalid_blocks_are_refused(embedded, name, kind, sentence):
    rex = make_member(embedded, "rex")
    make_member(embedded, "ann")
    with embedded.db.write() as db, pytest.raises(UserError, match=sentence):
        members.block_member(db, rex, name, kind, now=NOW)
