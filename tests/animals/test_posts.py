"""Posts: idempotent creation, visibility, edits, deletion with undo, states and paging."""

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
from tanuki.animals.search.search import SearchOptions, search_posts
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


def send_post(res, author, *, key="k", seed=1, now=NOW, max_posts=None, **values):
    with res.db.write() as db:
        limit = None if max_posts is None else RateLimit("posts", max_posts, 3600)
        new_post = posts.NewPost(make_draft(**values), make_photo(seed), key, limit=limit)
        return posts.create_post(db, res, author, new_post, now=now)


def search_ids(res, query, viewer=None):
    with res.db.read() as db:
        return [
            hit.post_id
            for hit in search_posts(
                db,
                query,
                SearchOptions(
                    hidden=members.load_hidden_member_ids(db, members.find_viewer_id(db, viewer))
                ),
            ).posts
        ]


def newest_ids(res, viewer=None, **options):
    with res.db.read() as db:
        return [item.id for item in post_queries.list_newest_posts(db, viewer, **options).items]


def count_rows(res, table):
    with res.db.read() as db:
        return db.scalar(select(func.count()).select_from(table))


def load_visible_state(res, viewer=None):
    """Search hits, list items, tags and post counts as a viewer sees them."""
    with res.db.read() as db:
        counts = dict(db.execute(select(Member.name, Member.posts)).all())
        tags = sorted(db.execute(select(PostTag.tag, PostTag.post_id)).all())
        cards = [
            (item.id, item.published_at, item.hot_score, item.likes, item.reason)
            for item in post_queries.list_newest_posts(db, viewer).items
        ]
    return search_ids(res, "柴犬", viewer), cards, tags, counts


# ---- drafts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
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
def test_a_draft_stores_its_visible_text(values, expected):
    draft = make_draft(**values)
    assert {name: getattr(draft, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("values", "sentence"),
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
def test_an_invalid_draft_is_refused_with_a_reason(values, sentence):
    with pytest.raises(UserError, match=sentence):
        make_draft(**values)


# ---- creating ----------------------------------------------------------------------------------


def test_a_new_post_is_visible_to_its_owner_and_its_review_starts(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    post = send_post(resources, rex, title="柴犬のポチ")
    assert (post.state, post.version, post.posted_at) == ("checking", 1, NOW)
    assert [run.id for run in resources.jobs.list_runs()] == [f"post-{post.id}"]
    with resources.db.read() as db:
        assert post_queries.load_visible_post(db, post.id, rex).title == "柴犬のポチ"
        with pytest.raises(NotFound):
            post_queries.load_visible_post(db, post.id, ann)
        assert db.get(Photo, post.photo).width == 96
    assert resources.objects.exists(photo_files.object_key(post.photo, "full"))
    assert search_ids(resources, "柴犬", rex) == newest_ids(resources, rex) == []


def test_no_review_starts_when_the_transaction_fails(embedded):
    rex = make_member(embedded, "rex")
    with pytest.raises(UserError), embedded.db.write() as db:
        posts.create_post(
            db, embedded, rex, posts.NewPost(make_draft(), make_photo(), "k"), now=NOW
        )
        raise UserError("no")
    assert (count_rows(embedded, Post), embedded.jobs.list_runs()) == (0, [])


def test_a_repeated_key_gives_the_same_post_and_keys_belong_to_one_member(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    assert send_post(resources, rex).id == send_post(resources, rex, now=LATER).id
    assert send_post(resources, rex, key="other").id != send_post(resources, ann).id
    assert (count_rows(resources, Post), count_rows(resources, Photo)) == (3, 1)


@pytest.mark.parametrize("changes", [{"seed": 2}, {"title": "Another cat"}])
def test_the_same_key_with_other_content_is_refused(embedded, changes):
    rex = make_member(embedded, "rex")
    send_post(embedded, rex)
    with pytest.raises(Conflict, match="Something else"):
        send_post(embedded, rex, **changes)


def test_a_repeated_key_finds_the_post_after_an_edit(embedded):
    rex = make_member(embedded, "rex")
    post = send_post(embedded, rex)
    with embedded.db.write() as db:
        posts.edit_post(
            db,
            embedded.jobs,
            rex,
            posts.PostVersion(post.id, 1),
            make_draft("Another title"),
            now=NOW,
        )
    assert send_post(embedded, rex).id == post.id


def test_parallel_requests_with_one_key_create_one_post(resources):
    rex = make_member(resources, "rex")
    barrier, post_ids, photo = threading.Barrier(8), [], make_photo(1)
    assert resources.jobs.client

    def create():
        barrier.wait()
        with resources.db.write() as db:
            post = posts.create_post(
                db, resources, rex, posts.NewPost(make_draft(), photo, "k"), now=NOW
            )
        post_ids.append(post.id)

    threads = [threading.Thread(target=create) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(post_ids) == 8
    assert (
        len(set(post_ids)),
        count_rows(resources, Post),
        count_rows(resources, Photo),
        len(resources.jobs.list_runs()),
    ) == (1, 1, 1, 1)


@pytest.mark.parametrize("key", ["", "x" * 101, "a\x00b", " a"])
def test_an_invalid_key_is_refused(embedded, key):
    with pytest.raises(UserError, match="idempotency key"):
        send_post(embedded, make_member(embedded, "rex"), key=key)


def test_posts_are_limited_per_hour_and_a_repeated_key_does_not_count(resources):
    rex = make_member(resources, "rex")
    for n in range(3):
        send_post(resources, rex, key=f"{n}", max_posts=3)
        send_post(resources, rex, key=f"{n}", max_posts=3)
    with pytest.raises(TooMany):
        send_post(resources, rex, key="more", max_posts=3)
    send_post(resources, rex, key="later", max_posts=3, now=NOW + timedelta(hours=1))
    assert (count_rows(resources, Post), posts.POSTS_PER_MEMBER.max_uses) == (4, 60)


# ---- visibility --------------------------------------------------------------------------------


def test_visibility_of_a_post_by_state_and_viewer(resources):
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
    posts_by_state = {
        state: make_post(resources, owner, title="柴犬", state=state) for state in STATES
    }
    viewers = {
        "owner": owner,
        "mod": mod,
        "blocked-mod": blocked_mod,
        "other": other,
        "visitor": None,
        "blocked": blocked,
        "blocker": blocker,
    }
    published_ids = {posts_by_state["published"].id}
    with resources.db.read() as db:
        visible_states, visible_photos, listed_ids, loaded_ids = {}, {}, {}, {}
        for name, viewer in viewers.items():
            visible_states[name] = {
                state
                for state, post in posts_by_state.items()
                if can_see(post_queries.load_visible_post, db, post.id, viewer)
            }
            visible_photos[name] = {
                state
                for state, post in posts_by_state.items()
                if can_see(post_queries.load_visible_photo, db, viewer, post.photo)
            }
            listed_ids[name] = {
                item.id for item in post_queries.list_newest_posts(db, viewer).items
            }
            loaded_ids[name] = {
                post.id
                for post in post_queries.load_listed_posts(
                    db, viewer, [post.id for post in posts_by_state.values()]
                )
            }
        all_states, published_only, no_states = set(STATES), {"published"}, set()
        assert visible_states == visible_photos == {
            "owner": all_states, "mod": all_states, "blocked-mod": all_states,
            "other": published_only, "visitor": published_only,
            "blocked": no_states, "blocker": no_states,
        }  # fmt: skip
        assert (
            listed_ids
            == loaded_ids
            == {
                name: set() if name in ("blocked", "blocker", "blocked-mod") else published_ids
                for name in viewers
            }
        )
        assert {item.id for item in post_queries.list_member_posts(db, owner, "owner").items} == {
            post.id for post in posts_by_state.values()
        } - {posts_by_state["deleted"].id}
        assert {
            item.id for item in post_queries.list_member_posts(db, other, "owner").items
        } == published_ids
        assert {
            item.id for item in post_queries.list_member_posts(db, mod, "owner").items
        } == published_ids
        with pytest.raises(NotFound):
            post_queries.list_member_posts(db, blocked, "owner")
    assert (
        search_ids(resources, "柴犬", other) == search_ids(resources, "柴犬") == list(published_ids)
    )


def can_see(load, *args):
    try:
        load(*args)
    except NotFound:
        return False
    return True


def test_an_id_without_a_post_is_not_found(resources):
    rex = make_member(resources, "rex")
    with resources.db.write() as db:
        for id_ in (0, -1, 999, 2**31, 2**63, 10**30):
            assert not can_see(post_queries.load_visible_post, db, id_, rex)
            with pytest.raises(NotFound):
                posts.delete_post(db, rex, id_, now=NOW)


def test_posts_of_a_muted_member_are_visible_but_not_listed(embedded):
    rex, ann = make_member(embedded, "rex"), make_member(embedded, "ann")
    post = make_post(embedded, ann)
    with embedded.db.write() as db:
        members.block_member(db, rex, "ann", "mute", now=NOW)
    assert (newest_ids(embedded, rex), newest_ids(embedded, ann)) == ([], [post.id])
    with embedded.db.read() as db:
        assert post_queries.load_visible_post(db, post.id, rex).id == post.id
        assert [item.id for item in post_queries.list_member_posts(db, rex, "ann").items] == [
            post.id
        ]
        assert post_queries.load_listed_posts(db, rex, [post.id]) == []


def test_posts_of_a_deleted_account_are_hidden(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    post = make_post(resources, ann)
    with resources.db.write() as db:
        members.require_member(db, ann).left_at = NOW
    assert newest_ids(resources, rex) == newest_ids(resources) == []
    with resources.db.read() as db:
        for viewer in (rex, None, ann):
            assert not can_see(post_queries.load_visible_post, db, post.id, viewer)
            assert not can_see(post_queries.load_visible_photo, db, viewer, post.photo)


def test_a_photo_is_visible_while_a_post_or_profile_uses_it(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    held_post = make_post(resources, rex, state="held", seed=5)
    with resources.db.read() as db:
        assert not can_see(post_queries.load_visible_photo, db, ann, held_post.photo)
        assert not can_see(post_queries.load_visible_photo, db, ann, "nothing")
    with resources.db.write() as db:
        members.update_profile(
            db, ann, members.ProfileChange(photo=db.get(Photo, held_post.photo)), now=NOW
        )
    with resources.db.read() as db:
        assert post_queries.load_visible_photo(db, None, held_post.photo).digest == held_post.photo
    other_post = make_post(resources, ann, seed=6)
    with resources.db.write() as db:
        assert (
            post_queries.load_visible_photo(db, None, other_post.photo).digest == other_post.photo
        )
        posts.delete_post(db, ann, other_post.id, now=NOW)
        assert not can_see(post_queries.load_visible_photo, db, None, other_post.photo)


# ---- editing -----------------------------------------------------------------------------------


def edit_post(res, person, post, *, version=1, now=LATER, **values):
    with res.db.write() as db:
        return posts.edit_post(
            db, res.jobs, person, posts.PostVersion(post.id, version), make_draft(**values), now=now
        )


def test_an_edited_post_keeps_its_place_is_reindexed_and_reviewed_again(resources):
    rex = make_member(resources, "rex")
    edited_post, other_post = (
        make_post(resources, rex, title="柴犬", tags=("inu",)),
        make_post(resources, rex, title="三毛猫"),
    )
    result = edit_post(resources, rex, edited_post, title="秋田犬", tags=("akita", "犬"))
    assert (result.state, result.version, result.edited_at) == ("published", 2, LATER)
    assert newest_ids(resources) == [other_post.id, edited_post.id]
    assert (search_ids(resources, "柴犬"), search_ids(resources, "秋田犬")) == (
        [],
        [edited_post.id],
    )
    with resources.db.read() as db:
        assert sorted(db.scalars(select(PostTag.tag))) == ["akita", "犬"]
        (former,) = db.scalars(select(PostEdit))
        assert (former.version, former.content["title"], former.content["tags"]) == (
            1,
            "柴犬",
            ["inu"],
        )
    assert f"post-{edited_post.id}-v2" in [run.id for run in resources.jobs.list_runs()]


def test_an_edit_of_an_old_version_is_refused(embedded):
    rex = make_member(embedded, "rex")
    post = make_post(embedded, rex)
    edit_post(embedded, rex, post, title="first")
    with pytest.raises(Conflict, match="changed meanwhile"):
        edit_post(embedded, rex, post, title="second")
    assert edit_post(embedded, rex, post, version=2, title="first").version == 2
    assert edit_post(embedded, rex, post, version=2, title="second").version == 3


def test_of_two_parallel_edits_one_is_refused(resources):
    rex = make_member(resources, "rex")
    post, barrier, results = make_post(resources, rex), threading.Barrier(2), []

    def edit_title(title):
        barrier.wait()
        try:
            results.append(edit_post(resources, rex, post, title=title).title)
        except Conflict:
            results.append(None)

    threads = [threading.Thread(target=edit_title, args=(title,)) for title in ("one", "two")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert Counter(result is None for result in results) == {True: 1, False: 1}
    assert count_rows(resources, PostEdit) == 1


@pytest.mark.parametrize(
    ("state", "why", "new_state", "starts_review"),
    [
        ("checking", None, "checking", False),
        ("published", None, "published", True),
        ("held", "banned_word", "checking", True),
        ("held", "cruelty", "held", False),
        ("held", "blocked_image", "held", False),
    ],
)
def test_state_after_an_edit(embedded, state, why, new_state, starts_review):
    rex = make_member(embedded, "rex")
    post = make_post(embedded, rex, state=state, why=why)
    assert edit_post(embedded, rex, post, title="new").state == new_state
    assert (f"post-{post.id}-v2" in [run.id for run in embedded.jobs.list_runs()]) == starts_review


@pytest.mark.parametrize(("state", "error"), [("removed", Conflict), ("deleted", NotFound)])
def test_a_removed_or_deleted_post_cannot_be_edited(embedded, state, error):
    rex = make_member(embedded, "rex")
    post = make_post(embedded, rex, state=state)
    with pytest.raises(error):
        edit_post(embedded, rex, post, title="new")


def test_only_the_owner_can_change_a_post(embedded):
    rex, ann, mod = (
        make_member(embedded, "rex"),
        make_member(embedded, "ann"),
        make_member(embedded, "mod", roles=("member", "moderator")),
    )
    post = make_post(embedded, rex)
    changes = [
        lambda db, person: posts.edit_post(
            db, embedded.jobs, person, posts.PostVersion(post.id, 1), make_draft("mine"), now=NOW
        ),
        lambda db, person: posts.delete_post(db, person, post.id, now=NOW),
        lambda db, person: posts.undo_delete(db, person, post.id, now=NOW),
    ]
    for person in (ann, mod):
        for change in changes:
            with pytest.raises(NotFound), embedded.db.write() as db:
                change(db, person)


def test_a_banned_member_cannot_post_edit_delete_or_undo(embedded):
    rex = make_member(embedded, "rex")
    post = make_post(embedded, rex)
    with embedded.db.write() as db:
        members.require_member(db, rex).banned_at = NOW
    with embedded.db.write() as db:
        for write in (
            lambda: posts.create_post(
                db, embedded, rex, posts.NewPost(make_draft(), make_photo(), "new"), now=NOW
            ),
            lambda: posts.edit_post(
                db, embedded.jobs, rex, posts.PostVersion(post.id, 1), make_draft("new"), now=NOW
            ),
            lambda: posts.delete_post(db, rex, post.id, now=NOW),
            lambda: posts.undo_delete(db, rex, post.id, now=NOW),
        ):
            with pytest.raises(NotAllowed):
                write()
        assert post_queries.load_visible_post(db, post.id, rex).id == post.id


# ---- deletion and undo -------------------------------------------------------------------------


def test_a_deleted_post_is_hidden_and_undo_restores_everything(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    make_post(resources, rex, title="柴犬 one", tags=("犬",))
    post = make_post(resources, rex, title="柴犬 two", tags=("犬", "walk"), now=LATER)
    make_post(resources, ann, title="柴犬 three", now=LATER)
    with resources.db.write() as db:
        row = db.get(Post, post.id)
        row.likes, row.comments = 12, 3
        row.hot_score = post_states.hot_score(row.published_at, 12)
        notifications.notify(
            db,
            row.member_id,
            NewNotification(
                NotificationKind.LIKE, "x", members.require_member(db, ann).id, post.id
            ),
            now=NOW,
        )
    before = load_visible_state(resources)
    with resources.db.write() as db:
        posts.delete_post(db, rex, post.id, now=LATER)
        posts.delete_post(db, rex, post.id, now=LATER + timedelta(minutes=5))
        assert notifications.count_unseen(db, rex) == 0
    (hits, cards, tags, counts) = load_visible_state(resources)
    assert post.id not in [*hits, *(ware[0] for ware in cards), *(tag[1] for tag in tags)]
    assert counts == {"rex": 1, "ann": 1}
    with resources.db.write() as db:
        posts.undo_delete(db, rex, post.id, now=LATER + timedelta(minutes=10))
        posts.undo_delete(db, rex, post.id, now=LATER + timedelta(days=10))
        assert notifications.count_unseen(db, rex) == 1
    assert load_visible_state(resources) == before


@pytest.mark.parametrize("state", ["checking", "held", "removed"])
def test_undo_restores_the_former_state(embedded, state):
    rex = make_member(embedded, "rex")
    post = make_post(embedded, rex, state=state, why="cruelty")
    with embedded.db.write() as db:
        posts.delete_post(db, rex, post.id, now=NOW)
        assert posts.undo_delete(db, rex, post.id, now=NOW).state == state
    assert newest_ids(embedded) == search_ids(embedded, "cat") == []
    with embedded.db.read() as db:
        assert db.scalar(select(Member.posts)) == 0


@pytest.mark.parametrize(
    ("decide", "final_state"), [("publish", "published"), ("hold", "held"), ("remove", "removed")]
)
def test_a_decision_on_a_deleted_post_applies_after_undo(embedded, decide, final_state):
    rex = make_member(embedded, "rex")
    post = make_post(embedded, rex, state="checking")
    with embedded.db.write() as db:
        posts.delete_post(db, rex, post.id, now=NOW)
    with embedded.db.write() as db:
        {
            "publish": lambda: post_states.publish_post(db, post, now=NOW),
            "hold": lambda: post_states.hold_post(db, post, "banned_word", now=NOW),
            "remove": lambda: post_states.remove_post(db, post, "cruelty", now=NOW),
        }[decide]()
    assert newest_ids(embedded) == search_ids(embedded, "cat") == []
    with embedded.db.write() as db:
        assert posts.undo_delete(db, rex, post.id, now=LATER).state == final_state
    assert (
        newest_ids(embedded)
        == search_ids(embedded, "cat")
        == ([post.id] if final_state == "published" else [])
    )


def test_undo_is_refused_after_ten_minutes(embedded):
    rex = make_member(embedded, "rex")
    post = make_post(embedded, rex, state="deleted")
    with embedded.db.write() as db, pytest.raises(Conflict, match="10 minutes"):
        posts.undo_delete(db, rex, post.id, now=NOW + posts.UNDO_PERIOD + timedelta(microseconds=1))


# ---- states ------------------------------------------------------------------------------------


def test_a_held_post_returns_to_its_place_when_published(resources):
    rex = make_member(resources, "rex")
    post = make_post(resources, rex, title="柴犬", tags=("犬",))
    make_post(resources, rex, now=LATER)
    before = load_visible_state(resources)
    for hide in (post_states.hold_post, post_states.remove_post):
        with resources.db.write() as db:
            hide(db, post, "cruelty", note="look at the tail", now=LATER)
            assert (
                post_queries.load_visible_post(db, post.id, rex).reason,
                post_queries.load_visible_post(db, post.id, rex).note,
            ) == (
                "cruelty",
                "look at the tail",
            )
        assert (
            search_ids(resources, "柴犬"),
            count_rows(resources, PostTag),
            len(newest_ids(resources)),
        ) == (
            [],
            0,
            1,
        )
        with resources.db.write() as db:
            post_states.publish_post(db, post, now=LATER + timedelta(hours=1))
            post_states.publish_post(db, post, now=LATER + timedelta(hours=2))
        assert load_visible_state(resources) == before


def test_a_photo_is_blocked_while_a_removed_post_uses_it(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    first_post, second_post = (
        make_post(resources, rex, state="removed", seed=3),
        make_post(resources, ann, state="removed", seed=3),
    )
    with resources.db.write() as db:
        post_states.publish_post(db, first_post, now=NOW)
        assert db.get(BlockedImageHash, first_post.photo) is not None
        posts.delete_post(db, ann, second_post.id, now=NOW)
        post_states.publish_post(db, second_post, now=NOW)
        assert db.get(BlockedImageHash, first_post.photo, populate_existing=True) is None


def test_erasing_a_post_deletes_everything_that_belongs_to_it(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    erased_post, remaining_post = (
        make_post(resources, rex, title="柴犬", tags=("犬",)),
        make_post(resources, rex, title="柴犬"),
    )
    with resources.db.write() as db:
        member_id = members.require_member(db, ann).id
        db.add(Like(post_id=erased_post.id, member_id=member_id, at=NOW))
        db.add(Comment(post_id=erased_post.id, member_id=member_id, key="k", text="nice", at=NOW))
        notifications.notify(
            db,
            erased_post.member_id,
            NewNotification(NotificationKind.LIKE, "x", member_id, erased_post.id),
            now=NOW,
        )
        posts.edit_post(
            db,
            resources.jobs,
            rex,
            posts.PostVersion(erased_post.id, 1),
            make_draft("柴犬 again"),
            now=NOW,
        )
    with resources.db.write() as db:
        assert post_states.erase_posts(db, [erased_post.id, 12345]) == [erased_post.photo]
    assert search_ids(resources, "柴犬") == newest_ids(resources) == [remaining_post.id]
    assert [
        count_rows(resources, table)
        for table in (Like, Comment, Notification, PostEdit, PostTag, Post)
    ] == [0, 0, 0, 0, 0, 1]
    with resources.db.read() as db:
        assert db.scalar(select(Member.posts).where(Member.name == "rex")) == 1


# ---- lists -------------------------------------------------------------------------------------


def test_lists_are_newest_first_and_filter_by_category(resources):
    rex = make_member(resources, "rex")
    cat, dog, cat_again = (
        make_post(resources, rex, category=category, now=NOW) for category in ("cat", "dog", "cat")
    )
    assert newest_ids(resources) == [cat_again.id, dog.id, cat.id]
    assert (newest_ids(resources, category="cat"), newest_ids(resources, category="bird")) == (
        [cat_again.id, cat.id],
        [],
    )
    with pytest.raises(NotFound):
        newest_ids(resources, category="plant")
    with pytest.raises(UserError, match="no such place"):
        newest_ids(resources, after="1-2-3")


def test_a_profile_lists_posts_by_sending_time_to_the_owner_and_by_publication_to_others(
    resources,
):
    rex = make_member(resources, "rex")
    late_post, held_post, early_post = (
        make_post(resources, rex, state=state, now=now)
        for state, now in (("published", LATER), ("held", NOW), ("published", NOW))
    )
    with resources.db.read() as db:
        first_page = post_queries.list_member_posts(db, rex, "rex", limit=2)
        second_page = post_queries.list_member_posts(db, rex, "rex", after=first_page.next, limit=2)
        assert [post.id for post in (*first_page.items, *second_page.items)] == [
            early_post.id,
            held_post.id,
            late_post.id,
        ]
        assert [item.id for item in post_queries.list_member_posts(db, None, "rex").items] == [
            late_post.id,
            early_post.id,
        ]


def test_listed_posts_come_in_the_requested_order_without_hidden_ones(resources):
    rex = make_member(resources, "rex")
    all_posts = [
        make_post(resources, rex, state=state)
        for state in ("published", "held", "published", "deleted")
    ]
    with resources.db.read() as db:
        requested_ids = [all_posts[2].id, 999, all_posts[1].id, all_posts[0].id, all_posts[3].id]
        assert [post.id for post in post_queries.load_listed_posts(db, rex, requested_ids)] == [
            all_posts[2].id,
            all_posts[0].id,
        ]
        assert post_queries.load_listed_posts(db, rex, []) == []


@contextmanager
def record_queries(res):
    """The statements that the block sends to the database."""
    statements = []

    def record(connection, cursor, statement, *_):
        statements.append(statement)

    event.listen(res.db.engine, "before_cursor_execute", record)
    yield statements
    event.remove(res.db.engine, "before_cursor_execute", record)


def test_cards_need_the_same_number_of_queries_for_one_post_as_for_many(resources):
    rex, ann, bob = (make_member(resources, name) for name in ("rex", "ann", "bob"))
    all_posts = [make_post(resources, person) for person in (rex, ann, bob) for _ in range(3)]
    with resources.db.write() as db:
        member_id, followed_id = (
            members.require_member(db, rex).id,
            members.require_member(db, ann).id,
        )
        db.add(Follow(follower_id=member_id, followed_id=followed_id, at=NOW))
        db.add_all(Like(post_id=post.id, member_id=member_id, at=NOW) for post in all_posts[2:5])
    query_counts = {}
    for number in (1, 9):
        with resources.db.read() as db, record_queries(resources) as statements:
            cards = post_queries.build_cards(
                db,
                rex,
                post_queries.load_listed_posts(db, rex, [post.id for post in all_posts[:number]]),
            )
        query_counts[number] = len(statements)
    assert query_counts[1] == query_counts[9] <= 6
    assert [card.post.id for card in cards] == [post.id for post in all_posts]
    assert [card.photo.digest for card in cards] == [post.photo for post in all_posts]
    assert [card.member.name for card in cards] == ["rex"] * 3 + ["ann"] * 3 + ["bob"] * 3
    assert [card.liked_by_me for card in cards] == [False] * 2 + [True] * 3 + [False] * 4
    assert [card.followed for card in cards] == [False] * 3 + [True] * 3 + [False] * 3
    with resources.db.read() as db:
        assert not any(
            card.liked_by_me or card.followed
            for card in post_queries.build_cards(
                db, None, post_queries.load_listed_posts(db, None, [post.id for post in all_posts])
            )
        )


ACTIONS = ["post", "delete", "undo", "hold", "publish"]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moves=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 30)), max_size=12),
    limit=st.integers(1, 4),
)
def test_paging_has_no_duplicates_and_misses_no_lasting_post(resources, moves, limit):
    """Between two pages posts are created, deleted, restored, held or published."""
    rex = make_member(resources, "rex")
    for n in range(6):
        make_post(resources, rex, seed=1, now=NOW + timedelta(seconds=n // 2))
    with resources.db.read() as db:
        lasting_ids = {
            post.id for post in db.scalars(select(Post).where(Post.state == "published"))
        }
    seen_ids, after, pending_moves, visits = [], None, list(moves), Counter()
    while True:
        with resources.db.read() as db:
            page = post_queries.list_newest_posts(db, None, after=after, limit=limit)
        seen_ids += [item.id for item in page.items]
        for action, number in pending_moves[:2]:
            lasting_ids -= {apply_action(resources, rex, action, number)}
        del pending_moves[:2]
        if (after := page.next) is None:
            break
        visits[after] += 1
        assert visits[after] == 1
    assert len(seen_ids) == len(set(seen_ids))
    assert lasting_ids <= set(seen_ids)
    with resources.db.read() as db:
        assert db.scalar(select(Member.posts)) == db.scalar(
            select(func.count()).select_from(Post).where(Post.state == "published")
        )


def apply_action(res, person, action, number):
    """Create a post or change one of the posts; gives its id."""
    if action == "post":
        return make_post(res, person, seed=1, now=NOW + timedelta(minutes=number)).id
    with res.db.write() as db:
        all_posts = list(db.scalars(select(Post).order_by(Post.id)))
        post = all_posts[number % len(all_posts)]
        {
            "delete": lambda: posts.delete_post(db, person, post.id, now=NOW),
            "undo": lambda: posts.undo_delete(db, person, post.id, now=NOW),
            "hold": lambda: post_states.hold_post(db, post, "other", now=NOW),
            "publish": lambda: post_states.publish_post(db, post, now=NOW),
        }[action]()
        return post.id


def test_post_counts_are_correct_under_parallel_changes(resources):
    rex = make_member(resources, "rex")
    all_posts = [make_post(resources, rex, seed=1) for _ in range(6)]
    barrier, errors = threading.Barrier(6), []

    def change_post(post):
        barrier.wait()
        try:
            for _ in range(3):
                with resources.db.write() as db:
                    posts.delete_post(db, rex, post.id, now=NOW)
                with resources.db.write() as db:
                    posts.undo_delete(db, rex, post.id, now=NOW)
            with resources.db.write() as db:
                post_states.hold_post(db, post, "other", now=NOW)
        except UserError as error:
            errors.append(error)

    threads = [threading.Thread(target=change_post, args=(post,)) for post in all_posts]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == []
    with resources.db.read() as db:
        assert db.scalar(select(Member.posts)) == 0


def test_hot_score_of_twelve_hours_equals_ten_times_the_likes():
    day = datetime(2026, 1, 1, tzinfo=UTC)
    assert post_states.hot_score(day, 9) == pytest.approx(
        post_states.hot_score(day + timedelta(hours=12), 0)
    )
    assert (
        post_states.hot_score(day, 99)
        > post_states.hot_score(day, 9)
        > post_states.hot_score(day, 0)
    )


def test_the_factory_gives_each_post_its_own_picture_and_key(embedded):
    rex = make_member(embedded, "rex")
    first_post, second_post = make_post(embedded, rex), make_post(embedded, rex)
    assert first_post.photo != second_post.photo
    assert (
        members_and_posts.make_picture(1)
        == members_and_posts.make_picture(1)
        != members_and_posts.make_picture(2)
    )
