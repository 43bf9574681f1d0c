"""Posts: sent once, seen by whom they may be, edited, deleted and brought back, in lists that stay put."""

import threading
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from tanuki.animals import members, notifications, post_queries, post_states, posts
from tanuki.animals.images import photo_files
from tanuki.animals.notifications import NewNotification
from tanuki.animals.search.search import search_posts
from tanuki.animals.tables import (
    BlockedImageHash,
    Comment,
    Follow,
    Like,
    Member,
    Notification,
    NotificationKind,
    Photo,
    Post,
    PostEdit,
    PostTag,
)
from tanuki.errors import Conflict, NotAllowed, NotFound, TooMany, UserError
from tanuki.platform.rate_limit import RateLimit
from tests.factories import members_and_posts
from tests.factories.members_and_posts import (
    NOW,
    make_draft,
    make_member,
    make_photo,
    make_post,
    make_staff,
)

STATES = ("checking", "published", "held", "removed", "deleted")
LATER = NOW + timedelta(minutes=1)


def send(res, who, *, key="k", seed=1, now=NOW, most=None, **words):
    with res.db.write() as db:
        limit = None if most is None else RateLimit("posts", most, 3600)
        new_post = posts.NewPost(make_draft(**words), make_photo(seed), key, limit=limit)
        return posts.create_post(db, res, who, new_post, now=now)


def found(res, words, viewer=None):
    """Ids of the posts that the search finds."""
    with res.db.read() as db:
        return [
            hit.post_id
            for hit in search_posts(
                db,
                words,
                hidden=members.load_hidden_member_ids(db, members.find_viewer_id(db, viewer)),
            ).posts
        ]


def newest(res, viewer=None, **options):
    with res.db.read() as db:
        return [item.id for item in post_queries.list_newest_posts(db, viewer, **options).items]


def count(res, table):
    with res.db.read() as db:
        return db.scalar(select(func.count()).select_from(table))


def everything(res, viewer=None):
    """What follows from a post's state, as somebody sees it: search, lists, tags, counts."""
    with res.db.read() as db:
        counts = dict(db.execute(select(Member.name, Member.posts)).all())
        tags = sorted(db.execute(select(PostTag.tag, PostTag.post_id)).all())
        wares = [
            (item.id, item.published_at, item.hot_score, item.likes, item.reason)
            for item in post_queries.list_newest_posts(db, viewer).items
        ]
    return found(res, "柴犬", viewer), wares, tags, counts


# ---- drafts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"title": "  A   cat\n"}, {"title": "A cat"}),
        ({"description": "one\r\ntwo\x00  "}, {"description": "one\ntwo"}),
        ({"tags": ["#Cat", "cat", "ＣＡＴ", "", "#", "猫"]}, {"tags": ("Cat", "猫")}),
        ({"category": "dog", "breed": ""}, {"breed": None}),
        ({"title": "<script>alert(1)</script>"}, {"title": "<script>alert(1)</script>"}),
        (
            {
                "title": "あ" * 80,
                "description": "い" * 2000,
                "tags": [f"{n:030}" for n in range(10)],
            },
            {"title": "あ" * 80},
        ),
    ],
)
def test_a_draft_is_kept_as_it_can_be_seen(given, kept):
    made = make_draft(**given)
    assert {name: getattr(made, name) for name in kept} == kept


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"title": " \u200b "}, "1 to 80 characters; found 0"),
        ({"title": "x" * 81}, "found 81"),
        ({"description": "x" * 2001}, "at most 2000"),
        ({"tags": [f"t{n}" for n in range(11)]}, "at most 10 tags; found 11"),
        ({"tags": ["x" * 31]}, "at most 30 characters"),
        ({"category": "plant"}, "no category plant"),
        ({"category": "cat", "breed": "shiba"}, "no breed shiba in the category cat"),
        ({"category": "cat", "breed": "unicorn"}, "no breed unicorn"),
    ],
)
def test_a_draft_that_cannot_be_posted_is_refused_with_a_sentence(given, sentence):
    with pytest.raises(UserError, match=sentence):
        make_draft(**given)


# ---- sent once -----------------------------------------------------------------------------------------------------


def test_a_post_is_there_for_its_owner_at_once_and_its_check_is_begun_with_it(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    made = send(resources, rex, title="柴犬のポチ")
    assert (made.state, made.version, made.posted_at) == ("checking", 1, NOW)
    assert [run.id for run in resources.jobs.list_runs()] == [f"post-{made.id}"]
    with resources.db.read() as db:
        assert post_queries.load_visible_post(db, made.id, rex).title == "柴犬のポチ"
        with pytest.raises(NotFound):
            post_queries.load_visible_post(db, made.id, ann)
        assert db.get(Photo, made.photo).width == 96
    assert resources.objects.exists(photo_files.object_key(made.photo, "full"))
    assert found(resources, "柴犬", rex) == newest(resources, rex) == []


def test_nothing_is_begun_when_the_transaction_fails(embedded):
    rex = make_member(embedded, "rex")
    with pytest.raises(UserError), embedded.db.write() as db:
        posts.create_post(
            db, embedded, rex, posts.NewPost(make_draft(), make_photo(), "k"), now=NOW
        )
        raise UserError("no")
    assert (count(embedded, Post), embedded.jobs.list_runs()) == (0, [])


def test_the_same_key_is_the_same_post_and_each_member_has_their_own_keys(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    assert send(resources, rex).id == send(resources, rex, now=LATER).id
    assert send(resources, rex, key="other").id != send(resources, ann).id
    assert (count(resources, Post), count(resources, Photo)) == (3, 1)


@pytest.mark.parametrize("other", [{"seed": 2}, {"title": "Another cat"}])
def test_the_same_key_with_something_else_is_refused(embedded, other):
    rex = make_member(embedded, "rex")
    send(embedded, rex)
    with pytest.raises(Conflict, match="Something else"):
        send(embedded, rex, **other)


def test_an_edited_post_is_still_the_one_that_was_sent(embedded):
    rex = make_member(embedded, "rex")
    sent = send(embedded, rex)
    with embedded.db.write() as db:
        posts.edit_post(
            db,
            embedded.jobs,
            rex,
            posts.PostVersion(sent.id, 1),
            make_draft("Another title"),
            now=NOW,
        )
    assert send(embedded, rex).id == sent.id


def test_the_same_key_many_times_at_once_is_one_post(resources):
    rex = make_member(resources, "rex")
    begin, made, accepted_once = threading.Barrier(8), [], make_photo(1)
    assert resources.jobs.client

    def sending():
        begin.wait()
        with resources.db.write() as db:
            sent = posts.create_post(
                db, resources, rex, posts.NewPost(make_draft(), accepted_once, "k"), now=NOW
            )
        made.append(sent.id)

    threads = [threading.Thread(target=sending) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(made) == 8
    assert (
        len(set(made)),
        count(resources, Post),
        count(resources, Photo),
        len(resources.jobs.list_runs()),
    ) == (1, 1, 1, 1)


@pytest.mark.parametrize("key", ["", "x" * 101, "a\x00b", " a"])
def test_a_key_that_cannot_be_kept_is_refused(embedded, key):
    with pytest.raises(UserError, match="idempotency key"):
        send(embedded, make_member(embedded, "rex"), key=key)


def test_sixty_posts_an_hour_and_a_repeated_one_costs_nothing(resources):
    rex = make_member(resources, "rex")
    for n in range(3):
        send(resources, rex, key=f"{n}", most=3)
        send(resources, rex, key=f"{n}", most=3)
    with pytest.raises(TooMany):
        send(resources, rex, key="more", most=3)
    send(resources, rex, key="later", most=3, now=NOW + timedelta(hours=1))
    assert (count(resources, Post), posts.POSTS_PER_MEMBER.max_uses) == (4, 60)


# ---- who sees what -------------------------------------------------------------------------------------------------


def test_who_sees_a_post_in_each_state(resources):
    owner, other, blocked, blocker = (
        make_member(resources, name) for name in ("owner", "other", "blocked", "blocker")
    )
    mod, blocked_mod = (
        make_staff(resources, "mod"),
        make_member(resources, "blocked-mod", roles=("member", "moderator")),
    )
    with resources.db.write() as db:
        members.block_member(db, owner, "blocked", "block", now=NOW)
        members.block_member(db, blocker, "owner", "block", now=NOW)
        members.block_member(db, owner, "blocked-mod", "block", now=NOW)
    made = {state: make_post(resources, owner, title="柴犬", state=state) for state in STATES}
    viewers = {
        "owner": owner,
        "mod": mod,
        "blocked-mod": blocked_mod,
        "other": other,
        "stranger": None,
        "blocked": blocked,
        "blocker": blocker,
    }
    public = {made["published"].id}
    with resources.db.read() as db:
        seen, pictures, listed, many = {}, {}, {}, {}
        for name, viewer in viewers.items():
            seen[name] = {
                state
                for state, each in made.items()
                if sees(post_queries.load_visible_post, db, each.id, viewer)
            }
            pictures[name] = {
                state
                for state, each in made.items()
                if sees(post_queries.load_visible_photo, db, viewer, each.photo)
            }
            listed[name] = {item.id for item in post_queries.list_newest_posts(db, viewer).items}
            many[name] = {
                each.id
                for each in post_queries.load_listed_posts(
                    db, viewer, [each.id for each in made.values()]
                )
            }
        all_states, shown, nothing = set(STATES), {"published"}, set()
        assert seen == pictures == {
            "owner": all_states, "mod": all_states, "blocked-mod": all_states, "other": shown, "stranger": shown, "blocked": nothing, "blocker": nothing,
        }  # fmt: skip
        assert (
            listed
            == many
            == {
                name: set() if name in ("blocked", "blocker", "blocked-mod") else public
                for name in viewers
            }
        )
        assert {item.id for item in post_queries.list_member_posts(db, owner, "owner").items} == {
            each.id for each in made.values()
        } - {made["deleted"].id}
        assert {
            item.id for item in post_queries.list_member_posts(db, other, "owner").items
        } == public
        assert {
            item.id for item in post_queries.list_member_posts(db, mod, "owner").items
        } == public
        with pytest.raises(NotFound):
            post_queries.list_member_posts(db, blocked, "owner")
    assert found(resources, "柴犬", other) == found(resources, "柴犬") == list(public)


def sees(look, *what):
    try:
        look(*what)
    except NotFound:
        return False
    return True


def test_a_post_that_is_not_there_is_not_found_whatever_its_number(resources):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        for id_ in (0, -1, 999, 2**31, 2**63, 10**30):
            assert not sees(post_queries.load_visible_post, db, id_, rex)
            with pytest.raises(NotFound):
                posts.delete_post(db, rex, id_, now=NOW)


def test_a_muted_members_posts_are_left_out_of_lists_and_still_there(embedded):
    rex, ann = make_member(embedded, "rex"), make_member(embedded, "ann")
    made = make_post(embedded, ann)
    with embedded.db.write() as db:
        members.block_member(db, rex, "ann", "mute", now=NOW)
    assert (newest(embedded, rex), newest(embedded, ann)) == ([], [made.id])
    with embedded.db.read() as db:
        assert post_queries.load_visible_post(db, made.id, rex).id == made.id
        assert [item.id for item in post_queries.list_member_posts(db, rex, "ann").items] == [
            made.id
        ]
        assert post_queries.load_listed_posts(db, rex, [made.id]) == []


def test_who_left_takes_their_posts_out_of_sight(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    made = make_post(resources, ann)
    with resources.db.write() as db:
        members.require_member(db, ann).left_at = NOW
    assert newest(resources, rex) == newest(resources) == []
    with resources.db.read() as db:
        for viewer in (rex, None, ann):
            assert not sees(post_queries.load_visible_post, db, made.id, viewer)
            assert not sees(post_queries.load_visible_photo, db, viewer, made.photo)


def test_a_picture_is_seen_while_a_post_or_a_profile_has_it(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    held = make_post(resources, rex, state="held", seed=5)
    with resources.db.read() as db:
        assert not sees(post_queries.load_visible_photo, db, ann, held.photo)
        assert not sees(post_queries.load_visible_photo, db, ann, "nothing")
    with resources.db.write() as db:
        members.update_profile(
            db, ann, members.ProfileChange(photo=db.get(Photo, held.photo)), now=NOW
        )
    with resources.db.read() as db:
        assert post_queries.load_visible_photo(db, None, held.photo).digest == held.photo
    other = make_post(resources, ann, seed=6)
    with resources.db.write() as db:
        assert post_queries.load_visible_photo(db, None, other.photo).digest == other.photo
        posts.delete_post(db, ann, other.id, now=NOW)
        assert not sees(post_queries.load_visible_photo, db, None, other.photo)


# ---- editing -------------------------------------------------------------------------------------------------------


def edit(res, who, made, *, version=1, now=LATER, **words):
    with res.db.write() as db:
        return posts.edit_post(
            db, res.jobs, who, posts.PostVersion(made.id, version), make_draft(**words), now=now
        )


def test_an_edited_post_stays_in_its_place_is_found_by_its_new_words_and_checked_again(resources):
    rex = make_member(resources, "rex")
    first, second = (
        make_post(resources, rex, title="柴犬", tags=("inu",)),
        make_post(resources, rex, title="三毛猫"),
    )
    edited = edit(resources, rex, first, title="秋田犬", tags=("akita", "犬"))
    assert (edited.state, edited.version, edited.edited_at) == ("published", 2, LATER)
    assert newest(resources) == [second.id, first.id]
    assert (found(resources, "柴犬"), found(resources, "秋田犬")) == ([], [first.id])
    with resources.db.read() as db:
        assert sorted(db.scalars(select(PostTag.tag))) == ["akita", "犬"]
        (was,) = db.scalars(select(PostEdit))
        assert (was.version, was.content["title"], was.content["tags"]) == (1, "柴犬", ["inu"])
    assert f"post-{first.id}-v2" in [run.id for run in resources.jobs.list_runs()]


def test_an_edit_of_what_was_changed_meanwhile_is_refused(embedded):
    rex = make_member(embedded, "rex")
    made = make_post(embedded, rex)
    edit(embedded, rex, made, title="first")
    with pytest.raises(Conflict, match="changed meanwhile"):
        edit(embedded, rex, made, title="second")
    assert edit(embedded, rex, made, version=2, title="first").version == 2
    assert edit(embedded, rex, made, version=2, title="second").version == 3


def test_of_two_edits_at_once_one_wins(resources):
    rex = make_member(resources, "rex")
    made, begin, ended = make_post(resources, rex), threading.Barrier(2), []

    def editing(title):
        begin.wait()
        try:
            ended.append(edit(resources, rex, made, title=title).title)
        except Conflict:
            ended.append(None)

    threads = [threading.Thread(target=editing, args=(title,)) for title in ("one", "two")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert Counter(each is None for each in ended) == {True: 1, False: 1}
    assert count(resources, PostEdit) == 1


@pytest.mark.parametrize(
    ("state", "why", "then", "begun"),
    [
        ("checking", None, "checking", False),
        ("published", None, "published", True),
        ("held", "banned_word", "checking", True),
        ("held", "cruelty", "held", False),
        ("held", "blocked_image", "held", False),
    ],
)
def test_what_an_edit_does_in_each_state(embedded, state, why, then, begun):
    rex = make_member(embedded, "rex")
    made = make_post(embedded, rex, state=state, why=why)
    assert edit(embedded, rex, made, title="new").state == then
    assert (f"post-{made.id}-v2" in [run.id for run in embedded.jobs.list_runs()]) == begun


@pytest.mark.parametrize(("state", "error"), [("removed", Conflict), ("deleted", NotFound)])
def test_what_was_taken_away_cannot_be_edited(embedded, state, error):
    rex = make_member(embedded, "rex")
    made = make_post(embedded, rex, state=state)
    with pytest.raises(error):
        edit(embedded, rex, made, title="new")


def test_nobody_but_its_owner_changes_a_post(embedded):
    rex, ann, mod = (
        make_member(embedded, "rex"),
        make_member(embedded, "ann"),
        make_member(embedded, "mod", roles=("member", "moderator")),
    )
    made = make_post(embedded, rex)
    changes = [
        lambda db, who: posts.edit_post(
            db, embedded.jobs, who, posts.PostVersion(made.id, 1), make_draft("mine"), now=NOW
        ),
        lambda db, who: posts.delete_post(db, who, made.id, now=NOW),
        lambda db, who: posts.undo_delete(db, who, made.id, now=NOW),
    ]
    for who in (ann, mod):
        for change in changes:
            with pytest.raises(NotFound), embedded.db.write() as db:
                change(db, who)


def test_a_banned_member_cannot_post_edit_delete_or_bring_back(embedded):
    rex = make_member(embedded, "rex")
    made = make_post(embedded, rex)
    with embedded.db.write() as db:
        members.require_member(db, rex).banned_at = NOW
    with embedded.db.write() as db:
        for write in (
            lambda: posts.create_post(
                db, embedded, rex, posts.NewPost(make_draft(), make_photo(), "new"), now=NOW
            ),
            lambda: posts.edit_post(
                db, embedded.jobs, rex, posts.PostVersion(made.id, 1), make_draft("new"), now=NOW
            ),
            lambda: posts.delete_post(db, rex, made.id, now=NOW),
            lambda: posts.undo_delete(db, rex, made.id, now=NOW),
        ):
            with pytest.raises(NotAllowed):
                write()
        assert post_queries.load_visible_post(db, made.id, rex).id == made.id


# ---- deleting and its undo -----------------------------------------------------------------------------------------


def test_a_deleted_post_is_nowhere_and_an_undo_brings_all_of_it_back(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    make_post(resources, rex, title="柴犬 one", tags=("犬",))
    made = make_post(resources, rex, title="柴犬 two", tags=("犬", "walk"), now=LATER)
    make_post(resources, ann, title="柴犬 three", now=LATER)
    with resources.db.write() as db:
        liked = db.get(Post, made.id)
        liked.likes, liked.comments = 12, 3
        liked.hot_score = post_states.hot_score(liked.published_at, 12)
        notifications.notify(
            db,
            liked.member_id,
            NewNotification(
                NotificationKind.LIKE, "x", members.require_member(db, ann).id, made.id
            ),
            now=NOW,
        )
    before = everything(resources)
    with resources.db.write() as db:
        posts.delete_post(db, rex, made.id, now=LATER)
        posts.delete_post(db, rex, made.id, now=LATER + timedelta(minutes=5))
        assert notifications.count_unseen(db, rex) == 0
    (words, wares, tags, counts) = everything(resources)
    assert made.id not in [*words, *(ware[0] for ware in wares), *(tag[1] for tag in tags)]
    assert counts == {"rex": 1, "ann": 1}
    with resources.db.write() as db:
        posts.undo_delete(db, rex, made.id, now=LATER + timedelta(minutes=10))
        posts.undo_delete(db, rex, made.id, now=LATER + timedelta(days=10))
        assert notifications.count_unseen(db, rex) == 1
    assert everything(resources) == before


@pytest.mark.parametrize("state", ["checking", "held", "removed"])
def test_an_undo_gives_back_the_state_that_was(embedded, state):
    rex = make_member(embedded, "rex")
    made = make_post(embedded, rex, state=state, why="cruelty")
    with embedded.db.write() as db:
        posts.delete_post(db, rex, made.id, now=NOW)
        assert posts.undo_delete(db, rex, made.id, now=NOW).state == state
    assert newest(embedded) == found(embedded, "cat") == []
    with embedded.db.read() as db:
        assert db.scalar(select(Member.posts)) == 0


@pytest.mark.parametrize(
    ("decide", "then"), [("publish", "published"), ("hold", "held"), ("remove", "removed")]
)
def test_what_is_decided_about_a_deleted_post_holds_when_it_comes_back(embedded, decide, then):
    rex = make_member(embedded, "rex")
    made = make_post(embedded, rex, state="checking")
    with embedded.db.write() as db:
        posts.delete_post(db, rex, made.id, now=NOW)
    with embedded.db.write() as db:
        {
            "publish": lambda: post_states.publish_post(db, made, now=NOW),
            "hold": lambda: post_states.hold_post(db, made, "banned_word", now=NOW),
            "remove": lambda: post_states.remove_post(db, made, "cruelty", now=NOW),
        }[decide]()
    assert newest(embedded) == found(embedded, "cat") == []
    with embedded.db.write() as db:
        assert posts.undo_delete(db, rex, made.id, now=LATER).state == then
    assert newest(embedded) == found(embedded, "cat") == ([made.id] if then == "published" else [])


def test_after_ten_minutes_a_deleted_post_does_not_come_back(embedded):
    rex = make_member(embedded, "rex")
    made = make_post(embedded, rex, state="deleted")
    with embedded.db.write() as db, pytest.raises(Conflict, match="10 minutes"):
        posts.undo_delete(db, rex, made.id, now=NOW + posts.UNDO_PERIOD + timedelta(microseconds=1))


# ---- states --------------------------------------------------------------------------------------------------------


def test_a_post_that_is_held_and_given_back_is_where_it_was(resources):
    rex = make_member(resources, "rex")
    made = make_post(resources, rex, title="柴犬", tags=("犬",))
    make_post(resources, rex, now=LATER)
    before = everything(resources)
    for hide in (post_states.hold_post, post_states.remove_post):
        with resources.db.write() as db:
            hide(db, made, "cruelty", note="look at the tail", now=LATER)
            assert (
                post_queries.load_visible_post(db, made.id, rex).reason,
                post_queries.load_visible_post(db, made.id, rex).note,
            ) == (
                "cruelty",
                "look at the tail",
            )
        assert (found(resources, "柴犬"), count(resources, PostTag), len(newest(resources))) == (
            [],
            0,
            1,
        )
        with resources.db.write() as db:
            post_states.publish_post(db, made, now=LATER + timedelta(hours=1))
            post_states.publish_post(db, made, now=LATER + timedelta(hours=2))
        assert everything(resources) == before


def test_the_picture_of_a_removed_post_is_blocked_until_none_that_has_it_is_removed(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    one, two = (
        make_post(resources, rex, state="removed", seed=3),
        make_post(resources, ann, state="removed", seed=3),
    )
    with resources.db.write() as db:
        post_states.publish_post(db, one, now=NOW)
        assert db.get(BlockedImageHash, one.photo) is not None
        posts.delete_post(db, ann, two.id, now=NOW)
        post_states.publish_post(db, two, now=NOW)
        assert db.get(BlockedImageHash, one.photo, populate_existing=True) is None


def test_nothing_of_an_erased_post_is_left(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    made, kept = (
        make_post(resources, rex, title="柴犬", tags=("犬",)),
        make_post(resources, rex, title="柴犬"),
    )
    with resources.db.write() as db:
        other = members.require_member(db, ann).id
        db.add(Like(post_id=made.id, member_id=other, at=NOW))
        db.add(Comment(post_id=made.id, member_id=other, key="k", text="nice", at=NOW))
        notifications.notify(
            db,
            made.member_id,
            NewNotification(NotificationKind.LIKE, "x", other, made.id),
            now=NOW,
        )
        posts.edit_post(
            db,
            resources.jobs,
            rex,
            posts.PostVersion(made.id, 1),
            make_draft("柴犬 again"),
            now=NOW,
        )
    with resources.db.write() as db:
        assert post_states.erase_posts(db, [made.id, 12345]) == [made.photo]
    assert found(resources, "柴犬") == newest(resources) == [kept.id]
    assert [
        count(resources, table) for table in (Like, Comment, Notification, PostEdit, PostTag, Post)
    ] == [0, 0, 0, 0, 0, 1]
    with resources.db.read() as db:
        assert db.scalar(select(Member.posts).where(Member.name == "rex")) == 1


# ---- lists ---------------------------------------------------------------------------------------------------------


def test_lists_are_newest_first_and_categories_hold_their_own(resources):
    rex = make_member(resources, "rex")
    cat, dog, cat_again = (
        make_post(resources, rex, category=category, now=NOW) for category in ("cat", "dog", "cat")
    )
    assert newest(resources) == [cat_again.id, dog.id, cat.id]
    assert (newest(resources, category="cat"), newest(resources, category="bird")) == (
        [cat_again.id, cat.id],
        [],
    )
    with pytest.raises(NotFound):
        newest(resources, category="plant")
    with pytest.raises(UserError, match="no such place"):
        newest(resources, after="1-2-3")


def test_an_owner_sees_what_they_sent_in_their_order_and_others_what_is_published_in_that_order(
    resources,
):
    rex = make_member(resources, "rex")
    late, held, early = (
        make_post(resources, rex, state=state, now=now)
        for state, now in (("published", LATER), ("held", NOW), ("published", NOW))
    )
    with resources.db.read() as db:
        own = post_queries.list_member_posts(db, rex, "rex", limit=2)
        rest = post_queries.list_member_posts(db, rex, "rex", after=own.next, limit=2)
        assert [each.id for each in (*own.items, *rest.items)] == [early.id, held.id, late.id]
        assert [item.id for item in post_queries.list_member_posts(db, None, "rex").items] == [
            late.id,
            early.id,
        ]


def test_many_come_in_the_order_asked_for_and_only_those_to_be_seen(resources):
    rex = make_member(resources, "rex")
    made = [
        make_post(resources, rex, state=state)
        for state in ("published", "held", "published", "deleted")
    ]
    with resources.db.read() as db:
        asked = [made[2].id, 999, made[1].id, made[0].id, made[3].id]
        assert [each.id for each in post_queries.load_listed_posts(db, rex, asked)] == [
            made[2].id,
            made[0].id,
        ]
        assert post_queries.load_listed_posts(db, rex, []) == []


@contextmanager
def queries(res):
    """The statements that the block sends to the database."""
    sent = []

    def note(connection, cursor, statement, *_):
        sent.append(statement)

    event.listen(res.db.engine, "before_cursor_execute", note)
    yield sent
    event.remove(res.db.engine, "before_cursor_execute", note)


def test_cards_say_what_is_around_a_post_in_as_many_queries_for_one_as_for_many(resources):
    rex, ann, bob = (make_member(resources, name) for name in ("rex", "ann", "bob"))
    made = [make_post(resources, who) for who in (rex, ann, bob) for _ in range(3)]
    with resources.db.write() as db:
        me, followed = members.require_member(db, rex).id, members.require_member(db, ann).id
        db.add(Follow(follower_id=me, followed_id=followed, at=NOW))
        db.add_all(Like(post_id=each.id, member_id=me, at=NOW) for each in made[2:5])
    asked = {}
    for number in (1, 9):
        with resources.db.read() as db, queries(resources) as sent:
            shown = post_queries.build_cards(
                db,
                rex,
                post_queries.load_listed_posts(db, rex, [each.id for each in made[:number]]),
            )
        asked[number] = len(sent)
    assert asked[1] == asked[9] <= 6
    assert [card.post.id for card in shown] == [each.id for each in made]
    assert [card.photo.digest for card in shown] == [each.photo for each in made]
    assert [card.member.name for card in shown] == ["rex"] * 3 + ["ann"] * 3 + ["bob"] * 3
    assert [card.liked_by_me for card in shown] == [False] * 2 + [True] * 3 + [False] * 4
    assert [card.followed for card in shown] == [False] * 3 + [True] * 3 + [False] * 3
    with resources.db.read() as db:
        assert not any(
            card.liked_by_me or card.followed
            for card in post_queries.build_cards(
                db, None, post_queries.load_listed_posts(db, None, [each.id for each in made])
            )
        )


ACTS = ["post", "delete", "undo", "hold", "publish"]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moves=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 30)), max_size=12),
    limit=st.integers(1, 4),
)
def test_paging_shows_nothing_twice_and_misses_nothing_that_was_there_all_the_time(
    resources, moves, limit
):
    """Between any two pages somebody posts, deletes, brings back, holds or gives back."""
    rex = make_member(resources, "rex")
    for n in range(6):
        make_post(resources, rex, seed=1, now=NOW + timedelta(seconds=n // 2))
    with resources.db.read() as db:
        always = {each.id for each in db.scalars(select(Post).where(Post.state == "published"))}
    seen, after, waiting, walked = [], None, list(moves), Counter()
    while True:
        with resources.db.read() as db:
            page = post_queries.list_newest_posts(db, None, after=after, limit=limit)
        seen += [item.id for item in page.items]
        for act, which in waiting[:2]:
            always -= {move(resources, rex, act, which)}
        del waiting[:2]
        if (after := page.next) is None:
            break
        walked[after] += 1
        assert walked[after] == 1
    assert len(seen) == len(set(seen))
    assert always <= set(seen)
    with resources.db.read() as db:
        assert db.scalar(select(Member.posts)) == db.scalar(
            select(func.count()).select_from(Post).where(Post.state == "published")
        )


def move(res, who, act, which):
    """One change to some post; gives its id."""
    if act == "post":
        return make_post(res, who, seed=1, now=NOW + timedelta(minutes=which)).id
    with res.db.write() as db:
        made = list(db.scalars(select(Post).order_by(Post.id)))
        chosen = made[which % len(made)]
        {
            "delete": lambda: posts.delete_post(db, who, chosen.id, now=NOW),
            "undo": lambda: posts.undo_delete(db, who, chosen.id, now=NOW),
            "hold": lambda: post_states.hold_post(db, chosen, "other", now=NOW),
            "publish": lambda: post_states.publish_post(db, chosen, now=NOW),
        }[act]()
        return chosen.id


def test_counts_are_right_when_many_change_at_once(resources):
    rex = make_member(resources, "rex")
    made = [make_post(resources, rex, seed=1) for _ in range(6)]
    begin, failed = threading.Barrier(6), []

    def churn(mine):
        begin.wait()
        try:
            for _ in range(3):
                with resources.db.write() as db:
                    posts.delete_post(db, rex, mine.id, now=NOW)
                with resources.db.write() as db:
                    posts.undo_delete(db, rex, mine.id, now=NOW)
            with resources.db.write() as db:
                post_states.hold_post(db, mine, "other", now=NOW)
        except UserError as error:
            failed.append(error)

    threads = [threading.Thread(target=churn, args=(each,)) for each in made]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failed == []
    with resources.db.read() as db:
        assert db.scalar(select(Member.posts)) == 0


def test_heat_is_worth_ten_times_the_likes_in_twelve_hours():
    day = datetime(2026, 1, 1, tzinfo=UTC)
    assert post_states.hot_score(day, 9) == pytest.approx(
        post_states.hot_score(day + timedelta(hours=12), 0)
    )
    assert (
        post_states.hot_score(day, 99)
        > post_states.hot_score(day, 9)
        > post_states.hot_score(day, 0)
    )


def test_the_zoo_gives_each_post_its_own_picture_and_key(embedded):
    rex = make_member(embedded, "rex")
    one, two = make_post(embedded, rex), make_post(embedded, rex)
    assert one.photo != two.photo
    assert (
        members_and_posts.make_picture(1)
        == members_and_posts.make_picture(1)
        != members_and_posts.make_picture(2)
    )
