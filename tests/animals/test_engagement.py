"""Likes, follows and comments: idempotence, visibility, paging, counts under parallel writes."""

import random
import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError

from tanuki.animals import engagement, members, notifications, post_states, posts
from tanuki.animals.post_states import hot_score
from tanuki.animals.tables import Comment, Follow, Like, Member, Post
from tanuki.errors import Conflict, NotAllowed, NotFound, TooMany, UserError
from tanuki.platform.database.engine import Database
from tanuki.platform.rate_limit import RateLimit
from tests.factories.members_and_posts import NOW, make_member, make_post, make_staff

VISITOR = None


@pytest.fixture
def ann(resources):
    return make_member(resources, "ann")


@pytest.fixture
def ben(resources):
    return make_member(resources, "ben")


def write(res, function, *args, now=NOW, **options):
    with res.db.write() as db:
        return function(db, *args, now=now, **options)


def read(res, function, *args, **options):
    with res.db.read() as db:
        return function(db, *args, **options)


def block(res, blocker, blocked, kind):
    write(res, members.block_member, blocker, blocked.name, kind)


def ban(res, person):
    with res.db.write() as db:
        db.execute(update(Member).where(Member.name == person.name).values(banned_at=NOW))


def load_counts(res, post_id):
    """(likes, comments) as stored with the post, and as counted from the rows."""
    with res.db.read() as db:
        post = db.get(Post, post_id)
        rows = (select(func.count()).select_from(Like).where(Like.post_id == post_id),)
        rows += (
            select(func.count())
            .select_from(Comment)
            .where(Comment.post_id == post_id, Comment.state == "shown"),
        )
        return (post.likes, post.comments), tuple(db.scalar(query) for query in rows)


def list_notifications(res, recipient):
    return [
        (item.notification.kind, item.actor.name)
        for item in read(res, notifications.list_notifications, recipient).items
    ]


def list_names(page):
    return [member.name for member in page.items]


# ---- likes -------------------------------------------------------------------------------------


def test_a_second_like_by_the_same_member_does_not_count(resources, ann, ben):
    post = make_post(resources, ben)
    assert [write(resources, engagement.like_post, ann, post.id) for _ in range(2)] == [1, 1]
    assert write(resources, engagement.like_post, ben, post.id) == 2
    assert [write(resources, engagement.unlike_post, ann, post.id) for _ in range(2)] == [1, 1]
    assert load_counts(resources, post.id) == ((1, 0), (1, 0))
    assert list_notifications(resources, ben) == [("like", "ann")]


def test_a_repeated_like_sends_one_notification(resources, ann, ben):
    post = make_post(resources, ben)
    for action in (engagement.like_post, engagement.unlike_post, engagement.like_post):
        write(resources, action, ann, post.id)
    assert list_notifications(resources, ben) == [("like", "ann")]


def test_a_like_raises_the_hot_score(resources, ann, ben):
    post = make_post(resources, ben)
    write(resources, engagement.like_post, ann, post.id)
    with resources.db.read() as db:
        row = db.get(Post, post.id)
        assert row.hot_score == pytest.approx(hot_score(row.published_at, 1))
    write(resources, engagement.unlike_post, ann, post.id)
    with resources.db.read() as db:
        assert db.get(Post, post.id).hot_score == pytest.approx(hot_score(row.published_at, 0))


@pytest.mark.parametrize(
    "action",
    [
        engagement.like_post,
        engagement.unlike_post,
        lambda *args, **options: engagement.add_comment(*args, "Hello", key="k", **options),
    ],
)
def test_a_hidden_post_cannot_be_liked_or_commented(resources, ann, ben, action):
    hidden = [
        make_post(resources, ben, state=state).id
        for state in ("checking", "held", "removed", "deleted")
    ]
    for post_id in (*hidden, 4711, 0, -1, 2**70):
        with pytest.raises(NotFound):
            write(resources, action, ann, post_id)
    with pytest.raises(Conflict, match="not published"):
        write(resources, action, ben, hidden[0])
    assert load_counts(resources, hidden[0]) == ((0, 0), (0, 0))


@pytest.mark.parametrize("by_ann", [True, False])
def test_a_block_prevents_all_interaction_in_both_directions(resources, ann, ben, by_ann):
    post = make_post(resources, ben)
    block(resources, *((ann, ben) if by_ann else (ben, ann)), "block")
    for action, args in (
        (engagement.like_post, [post.id]),
        (engagement.add_comment, [post.id, "Hello"]),
        (engagement.follow_member, ["ben"]),
    ):
        options = {"key": "k"} if action is engagement.add_comment else {}
        with pytest.raises(NotFound):
            write(resources, action, ann, *args, **options)
    for query, args in (
        (engagement.list_likers, post.id),
        (engagement.list_comments, post.id),
        (engagement.list_followers, "ben"),
    ):
        with pytest.raises(NotFound):
            read(resources, query, ann, args)


def test_a_banned_member_cannot_like_follow_or_comment(resources, ann, ben):
    post = make_post(resources, ben)
    ban(resources, ann)
    for action, *args in (
        (engagement.like_post, post.id),
        (engagement.unlike_post, post.id),
        (engagement.follow_member, "ben"),
        (engagement.unfollow_member, "ben"),
    ):
        with pytest.raises(NotAllowed, match="banned"):
            write(resources, action, ann, *args)
    with pytest.raises(NotAllowed, match="banned"):
        write(resources, engagement.add_comment, ann, post.id, "Hello", key="k")


def test_staff_without_membership_cannot_like(resources, ben):
    post = make_post(resources, ben)
    with pytest.raises(NotFound, match="not a member"):
        write(resources, engagement.like_post, make_staff(resources, "mod"), post.id)


def test_likes_are_limited_per_hour(resources, ann, ben, monkeypatch):
    monkeypatch.setattr(engagement, "LIKES_PER_MEMBER", RateLimit("like", 3, 3600))
    post_ids = [make_post(resources, ben).id for _ in range(4)]
    for post_id in post_ids[:3]:
        write(resources, engagement.like_post, ann, post_id)
    with pytest.raises(TooMany):
        write(resources, engagement.like_post, ann, post_ids[3])
    assert write(resources, engagement.like_post, ben, post_ids[3]) == 1
    assert (
        write(resources, engagement.like_post, ann, post_ids[3], now=NOW + timedelta(hours=1)) == 2
    )


def test_likers_are_paged_stably_without_blocked_members(resources, ben):
    post = make_post(resources, ben)
    fans = [make_member(resources, f"fan{number}") for number in range(7)]
    for number, fan in enumerate(fans):
        write(
            resources, engagement.like_post, fan, post.id, now=NOW + timedelta(seconds=number // 2)
        )
    first_page = read(resources, engagement.list_likers, VISITOR, post.id, limit=3)
    write(resources, engagement.like_post, ben, post.id, now=NOW + timedelta(minutes=1))
    other_pages = read(
        resources, engagement.list_likers, VISITOR, post.id, after=first_page.next, limit=10
    )
    assert list_names(first_page) + list_names(other_pages) == [
        f"fan{number}" for number in (6, 5, 4, 3, 2, 1, 0)
    ]
    assert other_pages.next is None
    block(resources, ben, fans[6], "block")
    block(resources, ben, fans[5], "mute")
    assert list_names(read(resources, engagement.list_likers, ben, post.id))[:2] == ["ben", "fan5"]


# ---- follows -----------------------------------------------------------------------------------


def load_follow_counts(res, person):
    with res.db.read() as db:
        member = members.require_member(db, person)
        return member.following, member.followers


def test_a_second_follow_does_not_count(resources, ann, ben):
    assert [write(resources, engagement.follow_member, ann, "Ben").followers for _ in range(2)] == [
        1,
        1,
    ]
    assert (load_follow_counts(resources, ann), load_follow_counts(resources, ben)) == (
        (1, 0),
        (0, 1),
    )
    assert list_notifications(resources, ben) == [("follow", "ann")]
    assert list_names(read(resources, engagement.list_followers, VISITOR, "ben")) == ["ann"]
    assert list_names(read(resources, engagement.list_following, VISITOR, "ann")) == ["ben"]
    assert [
        write(resources, engagement.unfollow_member, ann, "ben").followers for _ in range(2)
    ] == [0, 0]
    assert (load_follow_counts(resources, ann), load_follow_counts(resources, ben)) == (
        (0, 0),
        (0, 0),
    )


def test_a_block_ends_follows_in_both_directions(resources, ann, ben):
    write(resources, engagement.follow_member, ann, "ben")
    write(resources, engagement.follow_member, ben, "ann")
    block(resources, ben, ann, "block")
    assert (load_follow_counts(resources, ann), load_follow_counts(resources, ben)) == (
        (0, 0),
        (0, 0),
    )
    assert read(resources, lambda db: db.scalar(select(func.count()).select_from(Follow))) == 0


def test_follows_of_oneself_unknown_members_or_too_many_are_refused(
    resources, ann, ben, monkeypatch
):
    with pytest.raises(UserError, match="yourself"):
        write(resources, engagement.follow_member, ann, "ann")
    with pytest.raises(NotFound):
        write(resources, engagement.follow_member, ann, "nobody")
    monkeypatch.setattr(engagement, "MAX_FOLLOWS_PER_MEMBER", 1)
    write(resources, engagement.follow_member, ann, "ben")
    make_member(resources, "cat")
    with pytest.raises(UserError, match="at most 1"):
        write(resources, engagement.follow_member, ann, "cat")


def test_followers_are_paged_without_blocked_and_deleted_members(resources, ben):
    fans = [make_member(resources, f"fan{number}") for number in range(6)]
    for number, fan in enumerate(fans):
        write(
            resources,
            engagement.follow_member,
            fan,
            "ben",
            now=NOW + timedelta(seconds=number // 2),
        )
    block(resources, fans[0], fans[1], "block")
    with resources.db.write() as db:
        members.require_member(db, fans[2]).left_at = NOW
    first_page = read(resources, engagement.list_followers, fans[0], "ben", limit=2)
    other_pages = read(
        resources, engagement.list_followers, fans[0], "ben", after=first_page.next, limit=2
    )
    assert (list_names(first_page), list_names(other_pages), other_pages.next) == (
        ["fan5", "fan4"],
        ["fan3", "fan0"],
        None,
    )


# ---- comments ----------------------------------------------------------------------------------


def comment_on(res, author, post, comment_text="Hello", key=None, **options):
    return write(
        res,
        engagement.add_comment,
        author,
        post.id,
        comment_text,
        key=key or comment_text,
        **options,
    )


def list_comment_texts(res, viewer, post, **options):
    return [
        remark.comment.text
        for remark in read(res, engagement.list_comments, viewer, post.id, **options).items
    ]


def test_a_repeated_key_gives_the_same_comment(resources, ann, ben):
    post = make_post(resources, ben)
    assert (
        comment_on(resources, ann, post, "Hello", key="k").id
        == comment_on(resources, ann, post, "Hello", key="k").id
    )
    assert comment_on(resources, ben, post, "Hello", key="k").text == "Hello"
    assert load_counts(resources, post.id) == ((0, 2), (0, 2))
    assert list_notifications(resources, ben) == [("comment", "ann")]
    with pytest.raises(Conflict, match="key"):
        comment_on(resources, ann, post, "Something else", key="k")


@pytest.mark.parametrize("comment_text", ["", "   ", "\n\t", "\u200b", "x" * 1001])
def test_an_empty_or_too_long_comment_is_refused(resources, ann, ben, comment_text):
    with pytest.raises(UserError, match="1 to 1000"):
        comment_on(resources, ann, make_post(resources, ben), comment_text, key="k")


def test_a_comment_is_stored_as_plain_text(resources, ann, ben):
    post = make_post(resources, ben)
    assert (
        comment_on(resources, ann, post, "<b>猫</b>\r\nかわいい", key="a").text
        == "<b>猫</b>\nかわいい"
    )
    assert len(comment_on(resources, ann, post, "猫" * 1000, key="b").text) == 1000
    for key in ("", "k" * 101):
        with pytest.raises(UserError, match="key"):
            write(resources, engagement.add_comment, ann, post.id, "Hello", key=key)


def test_comments_are_paged_stably_in_order(resources, ann, ben):
    post = make_post(resources, ben)
    comments = [comment_on(resources, ann, post, str(number)) for number in range(5)]
    first_page = read(resources, engagement.list_comments, VISITOR, post.id, limit=2)
    write(resources, engagement.delete_comment, ann, comments[0].id)
    comment_on(resources, ben, post, "5")
    other_pages = read(
        resources, engagement.list_comments, VISITOR, post.id, after=first_page.next, limit=10
    )
    assert [remark.comment.text for remark in (*first_page.items, *other_pages.items)] == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
    ]
    assert {remark.member.name for remark in other_pages.items} == {"ann", "ben"}


def test_only_the_author_can_delete_a_comment(resources, ann, ben):
    post = make_post(resources, ben)
    comment = comment_on(resources, ann, post)
    for person, comment_id in ((ben, comment.id), (ann, 4711), (ann, 2**70)):
        with pytest.raises(NotFound):
            write(resources, engagement.delete_comment, person, comment_id)
    for _ in range(2):
        assert write(resources, engagement.delete_comment, ann, comment.id).state == "deleted"
    assert (list_comment_texts(resources, ben, post), load_counts(resources, post.id)) == (
        [],
        ((0, 0), (0, 0)),
    )


def test_a_removed_comment_is_visible_to_its_author_and_can_be_restored(resources, ann, ben):
    post = make_post(resources, ben)
    comment = comment_on(resources, ann, post)

    def set_state(state, **options):
        with resources.db.write() as db:
            engagement.set_comment_state(db, comment.id, state, **options)
        return (
            list_comment_texts(resources, ann, post),
            list_comment_texts(resources, ben, post),
            load_counts(resources, post.id),
        )

    assert set_state("removed", reason="spam", note="No.") == (["Hello"], [], ((0, 0), (0, 0)))
    assert set_state("shown") == (["Hello"], ["Hello"], ((0, 1), (0, 1)))
    assert set_state("removed", reason="spam") == (["Hello"], [], ((0, 0), (0, 0)))
    write(resources, engagement.delete_comment, ann, comment.id)
    assert set_state("shown") == ([], [], ((0, 0), (0, 0)))
    with pytest.raises(NotFound), resources.db.write() as db:
        engagement.set_comment_state(db, 4711, "removed")


def test_comments_of_muted_and_blocked_members_are_hidden(resources, ann, ben):
    post = make_post(resources, ben)
    for name, kind in (("cat", "mute"), ("dan", "block")):
        author = make_member(resources, name)
        comment_on(resources, author, post, name)
        block(resources, ann, author, kind)
    comment_on(resources, ben, post, "Hello")
    assert (
        list_comment_texts(resources, ann, post),
        list_comment_texts(resources, ben, post),
    ) == (
        ["Hello"],
        ["cat", "dan", "Hello"],
    )


# ---- parallel writes ---------------------------------------------------------------------------


def run_in_parallel(tasks):
    """Run all tasks at the same moment; gives their errors."""
    barrier, errors = threading.Barrier(len(tasks)), []

    def run(task):
        barrier.wait()
        try:
            task()
        except (UserError, DBAPIError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.parametrize("is_batched", [True, False])
def test_counts_are_correct_under_fifty_parallel_writers(resources, ben, is_batched):
    post_ids = [make_post(resources, ben).id for _ in range(3)]
    people = [make_member(resources, f"m{number}") for number in range(10)]
    second_database = Database(resources.db.url)  # for the database a second process

    def write_at_random(number):
        person, rng = people[number % 10], random.Random(number)
        db = (resources.db, second_database)[number % 2]

        def apply_action(action, *args, **options):
            if is_batched:
                db.write_batched(lambda session: action(session, person, *args, now=NOW, **options))
            else:
                with db.write() as session:
                    action(session, person, *args, now=NOW, **options)

        for turn in range(3):
            order = rng.sample(post_ids, 3)
            apply_action(engagement.like_post, order[0])
            apply_action(engagement.add_comment, order[1], "Hello", key=f"{order[1]}-{turn}")
            apply_action(engagement.unlike_post, order[2])
            apply_action(
                rng.choice([engagement.follow_member, engagement.unfollow_member]),
                f"m{(number + 1 + turn) % 10}",
            )

    errors = run_in_parallel(
        [lambda number=number: write_at_random(number) for number in range(50)]
    )
    second_database.close()
    assert errors == []
    for post_id in post_ids:
        stored_counts, row_counts = load_counts(resources, post_id)
        assert stored_counts == row_counts
    with resources.db.read() as db:
        for member in db.scalars(select(Member)):
            assert member.following == db.scalar(
                select(func.count()).where(Follow.follower_id == member.id)
            )
            assert member.followers == db.scalar(
                select(func.count()).where(Follow.followed_id == member.id)
            )


def test_a_block_parallel_to_a_follow_leaves_no_follow(resources, ann, ben):
    for _ in range(5):
        errors = run_in_parallel(
            [
                lambda: write(resources, engagement.follow_member, ann, "ben"),
                lambda: write(resources, engagement.follow_member, ben, "ann"),
                lambda: block(resources, ben, ann, "block"),
                lambda: block(resources, ann, ben, "block"),
            ]
        )
        assert {type(error) for error in errors} <= {NotFound}
        assert (load_follow_counts(resources, ann), load_follow_counts(resources, ben)) == (
            (0, 0),
            (0, 0),
        )
        with resources.db.write() as db:
            members.unblock_member(db, ann, "ben")
            members.unblock_member(db, ben, "ann")


def test_a_like_parallel_to_a_deletion_leaves_no_like(resources, ben):
    post = make_post(resources, ben)
    people = [make_member(resources, f"m{number}") for number in range(6)]

    def delete_and_erase():
        write(resources, posts.delete_post, ben, post.id)
        with resources.db.write() as db:
            post_states.erase_posts(db, [post.id])

    errors = run_in_parallel(
        [
            delete_and_erase,
            *(
                lambda person=person: write(resources, engagement.like_post, person, post.id)
                for person in people
            ),
        ]
    )
    assert {type(error) for error in errors} <= {NotFound}
    assert read(resources, lambda db: db.scalar(select(func.count()).select_from(Like))) == 0
