"""Likes, follows and comments: once each, counted right whatever happens at the same time, and only between those who may see each other."""

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

STRANGER = None


@pytest.fixture
def ann(resources):
    return make_member(resources, "ann")


@pytest.fixture
def ben(resources):
    return make_member(resources, "ben")


def write(res, do, *given, now=NOW, **more):
    with res.db.write() as db:
        return do(db, *given, now=now, **more)


def read(res, do, *given, **more):
    with res.db.read() as db:
        return do(db, *given, **more)


def block(res, who, other, kind):
    write(res, members.block_member, who, other.name, kind)


def ban(res, who):
    with res.db.write() as db:
        db.execute(update(Member).where(Member.name == who.name).values(banned_at=NOW))


def counts(res, post_id):
    """(likes, comments) as the post says, and as its rows are."""
    with res.db.read() as db:
        kept = db.get(Post, post_id)
        rows = (select(func.count()).select_from(Like).where(Like.post_id == post_id),)
        rows += (
            select(func.count())
            .select_from(Comment)
            .where(Comment.post_id == post_id, Comment.state == "shown"),
        )
        return (kept.likes, kept.comments), tuple(db.scalar(query) for query in rows)


def told(res, who):
    return [
        (item.notification.kind, item.actor.name)
        for item in read(res, notifications.list_notifications, who).items
    ]


def names(page):
    return [one.name for one in page.items]


# ---- likes ---------------------------------------------------------------------------------------------------------


def test_liking_twice_is_one_like(resources, ann, ben):
    photo = make_post(resources, ben)
    assert [write(resources, engagement.like_post, ann, photo.id) for _ in range(2)] == [1, 1]
    assert write(resources, engagement.like_post, ben, photo.id) == 2
    assert [write(resources, engagement.unlike_post, ann, photo.id) for _ in range(2)] == [1, 1]
    assert counts(resources, photo.id) == ((1, 0), (1, 0))
    assert told(resources, ben) == [("like", "ann")]


def test_a_like_taken_back_and_given_anew_is_told_once(resources, ann, ben):
    photo = make_post(resources, ben)
    for do in (engagement.like_post, engagement.unlike_post, engagement.like_post):
        write(resources, do, ann, photo.id)
    assert told(resources, ben) == [("like", "ann")]


def test_a_liked_post_is_hotter(resources, ann, ben):
    photo = make_post(resources, ben)
    write(resources, engagement.like_post, ann, photo.id)
    with resources.db.read() as db:
        kept = db.get(Post, photo.id)
        assert kept.hot_score == pytest.approx(hot_score(kept.published_at, 1))
    write(resources, engagement.unlike_post, ann, photo.id)
    with resources.db.read() as db:
        assert db.get(Post, photo.id).hot_score == pytest.approx(hot_score(kept.published_at, 0))


@pytest.mark.parametrize(
    "do",
    [
        engagement.like_post,
        engagement.unlike_post,
        lambda *given, **more: engagement.add_comment(*given, "Hello", key="k", **more),
    ],
)
def test_nothing_is_left_at_a_post_that_one_does_not_see(resources, ann, ben, do):
    hidden = [
        make_post(resources, ben, state=state).id
        for state in ("checking", "held", "removed", "deleted")
    ]
    for post_id in (*hidden, 4711, 0, -1, 2**70):
        with pytest.raises(NotFound):
            write(resources, do, ann, post_id)
    with pytest.raises(Conflict, match="not published"):
        write(resources, do, ben, hidden[0])
    assert counts(resources, hidden[0]) == ((0, 0), (0, 0))


@pytest.mark.parametrize("by_ann", [True, False])
def test_who_blocks_or_is_blocked_can_do_nothing_with_the_other(resources, ann, ben, by_ann):
    photo = make_post(resources, ben)
    block(resources, *((ann, ben) if by_ann else (ben, ann)), "block")
    for do, given in (
        (engagement.like_post, [photo.id]),
        (engagement.add_comment, [photo.id, "Hello"]),
        (engagement.follow_member, ["ben"]),
    ):
        more = {"key": "k"} if do is engagement.add_comment else {}
        with pytest.raises(NotFound):
            write(resources, do, ann, *given, **more)
    for look, given in (
        (engagement.list_likers, photo.id),
        (engagement.list_comments, photo.id),
        (engagement.list_followers, "ben"),
    ):
        with pytest.raises(NotFound):
            read(resources, look, ann, given)


def test_a_banned_member_writes_nothing(resources, ann, ben):
    photo = make_post(resources, ben)
    ban(resources, ann)
    for do, *given in (
        (engagement.like_post, photo.id),
        (engagement.unlike_post, photo.id),
        (engagement.follow_member, "ben"),
        (engagement.unfollow_member, "ben"),
    ):
        with pytest.raises(NotAllowed, match="banned"):
            write(resources, do, ann, *given)
    with pytest.raises(NotAllowed, match="banned"):
        write(resources, engagement.add_comment, ann, photo.id, "Hello", key="k")


def test_who_is_no_member_likes_nothing(resources, ben):
    photo = make_post(resources, ben)
    with pytest.raises(NotFound, match="not a member"):
        write(resources, engagement.like_post, make_staff(resources, "mod"), photo.id)


def test_too_many_likes_wait_for_the_next_hour(resources, ann, ben, monkeypatch):
    monkeypatch.setattr(engagement, "LIKES_PER_MEMBER", RateLimit("like", 3, 3600))
    photos = [make_post(resources, ben).id for _ in range(4)]
    for photo in photos[:3]:
        write(resources, engagement.like_post, ann, photo)
    with pytest.raises(TooMany):
        write(resources, engagement.like_post, ann, photos[3])
    assert write(resources, engagement.like_post, ben, photos[3]) == 1
    assert write(resources, engagement.like_post, ann, photos[3], now=NOW + timedelta(hours=1)) == 2


def test_who_likes_a_post_is_listed_in_pages_that_stay_put(resources, ben):
    photo = make_post(resources, ben)
    fans = [make_member(resources, f"fan{number}") for number in range(7)]
    for number, fan in enumerate(fans):
        write(
            resources, engagement.like_post, fan, photo.id, now=NOW + timedelta(seconds=number // 2)
        )
    first = read(resources, engagement.list_likers, STRANGER, photo.id, limit=3)
    write(resources, engagement.like_post, ben, photo.id, now=NOW + timedelta(minutes=1))
    rest = read(resources, engagement.list_likers, STRANGER, photo.id, after=first.next, limit=10)
    assert names(first) + names(rest) == [f"fan{number}" for number in (6, 5, 4, 3, 2, 1, 0)]
    assert rest.next is None
    block(resources, ben, fans[6], "block")
    block(resources, ben, fans[5], "mute")
    assert names(read(resources, engagement.list_likers, ben, photo.id))[:2] == ["ben", "fan5"]


# ---- follows -------------------------------------------------------------------------------------------------------


def following(res, who):
    with res.db.read() as db:
        me = members.require_member(db, who)
        return me.following, me.followers


def test_following_twice_is_following_once(resources, ann, ben):
    assert [write(resources, engagement.follow_member, ann, "Ben").followers for _ in range(2)] == [
        1,
        1,
    ]
    assert (following(resources, ann), following(resources, ben)) == ((1, 0), (0, 1))
    assert told(resources, ben) == [("follow", "ann")]
    assert names(read(resources, engagement.list_followers, STRANGER, "ben")) == ["ann"]
    assert names(read(resources, engagement.list_following, STRANGER, "ann")) == ["ben"]
    assert [
        write(resources, engagement.unfollow_member, ann, "ben").followers for _ in range(2)
    ] == [0, 0]
    assert (following(resources, ann), following(resources, ben)) == ((0, 0), (0, 0))


def test_a_block_ends_following_both_ways(resources, ann, ben):
    write(resources, engagement.follow_member, ann, "ben")
    write(resources, engagement.follow_member, ben, "ann")
    block(resources, ben, ann, "block")
    assert (following(resources, ann), following(resources, ben)) == ((0, 0), (0, 0))
    assert read(resources, lambda db: db.scalar(select(func.count()).select_from(Follow))) == 0


def test_nobody_follows_themselves_or_nobody_or_everybody(resources, ann, ben, monkeypatch):
    with pytest.raises(UserError, match="yourself"):
        write(resources, engagement.follow_member, ann, "ann")
    with pytest.raises(NotFound):
        write(resources, engagement.follow_member, ann, "nobody")
    monkeypatch.setattr(engagement, "MAX_FOLLOWS_PER_MEMBER", 1)
    write(resources, engagement.follow_member, ann, "ben")
    make_member(resources, "cat")
    with pytest.raises(UserError, match="at most 1"):
        write(resources, engagement.follow_member, ann, "cat")


def test_followers_come_in_pages_without_who_is_blocked_or_leaving(resources, ben):
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
    first = read(resources, engagement.list_followers, fans[0], "ben", limit=2)
    rest = read(resources, engagement.list_followers, fans[0], "ben", after=first.next, limit=2)
    assert (names(first), names(rest), rest.next) == (["fan5", "fan4"], ["fan3", "fan0"], None)


# ---- comments ------------------------------------------------------------------------------------------------------


def say(res, who, photo, words="Hello", key=None, **more):
    return write(res, engagement.add_comment, who, photo.id, words, key=key or words, **more)


def said(res, viewer, photo, **more):
    return [
        remark.comment.text
        for remark in read(res, engagement.list_comments, viewer, photo.id, **more).items
    ]


def test_the_same_key_is_the_same_comment(resources, ann, ben):
    photo = make_post(resources, ben)
    assert (
        say(resources, ann, photo, "Hello", key="k").id
        == say(resources, ann, photo, "Hello", key="k").id
    )
    assert say(resources, ben, photo, "Hello", key="k").text == "Hello"
    assert counts(resources, photo.id) == ((0, 2), (0, 2))
    assert told(resources, ben) == [("comment", "ann")]
    with pytest.raises(Conflict, match="key"):
        say(resources, ann, photo, "Something else", key="k")


@pytest.mark.parametrize("words", ["", "   ", "\n\t", "\u200b", "x" * 1001])
def test_a_comment_has_words_and_not_too_many(resources, ann, ben, words):
    with pytest.raises(UserError, match="1 to 1000"):
        say(resources, ann, make_post(resources, ben), words, key="k")


def test_a_comment_is_kept_as_text(resources, ann, ben):
    photo = make_post(resources, ben)
    assert (
        say(resources, ann, photo, "<b>猫</b>\r\nかわいい", key="a").text == "<b>猫</b>\nかわいい"
    )
    assert len(say(resources, ann, photo, "猫" * 1000, key="b").text) == 1000
    for key in ("", "k" * 101):
        with pytest.raises(UserError, match="key"):
            write(resources, engagement.add_comment, ann, photo.id, "Hello", key=key)


def test_comments_come_in_order_in_pages_that_stay_put(resources, ann, ben):
    photo = make_post(resources, ben)
    written = [say(resources, ann, photo, str(number)) for number in range(5)]
    first = read(resources, engagement.list_comments, STRANGER, photo.id, limit=2)
    write(resources, engagement.delete_comment, ann, written[0].id)
    say(resources, ben, photo, "5")
    rest = read(resources, engagement.list_comments, STRANGER, photo.id, after=first.next, limit=10)
    assert [remark.comment.text for remark in (*first.items, *rest.items)] == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
    ]
    assert {remark.member.name for remark in rest.items} == {"ann", "ben"}


def test_a_comment_is_taken_back_by_its_writer_only(resources, ann, ben):
    photo = make_post(resources, ben)
    comment = say(resources, ann, photo)
    for who, comment_id in ((ben, comment.id), (ann, 4711), (ann, 2**70)):
        with pytest.raises(NotFound):
            write(resources, engagement.delete_comment, who, comment_id)
    for _ in range(2):
        assert write(resources, engagement.delete_comment, ann, comment.id).state == "deleted"
    assert (said(resources, ben, photo), counts(resources, photo.id)) == ([], ((0, 0), (0, 0)))


def test_a_removed_comment_is_seen_by_its_writer_and_can_come_back(resources, ann, ben):
    photo = make_post(resources, ben)
    comment = say(resources, ann, photo)

    def turn(state, **more):
        with resources.db.write() as db:
            engagement.set_comment_state(db, comment.id, state, **more)
        return said(resources, ann, photo), said(resources, ben, photo), counts(resources, photo.id)

    assert turn("removed", reason="spam", note="No.") == (["Hello"], [], ((0, 0), (0, 0)))
    assert turn("shown") == (["Hello"], ["Hello"], ((0, 1), (0, 1)))
    assert turn("removed", reason="spam") == (["Hello"], [], ((0, 0), (0, 0)))
    write(resources, engagement.delete_comment, ann, comment.id)
    assert turn("shown") == ([], [], ((0, 0), (0, 0)))
    with pytest.raises(NotFound), resources.db.write() as db:
        engagement.set_comment_state(db, 4711, "removed")


def test_comments_of_the_muted_and_blocked_are_not_shown(resources, ann, ben):
    photo = make_post(resources, ben)
    for name, kind in (("cat", "mute"), ("dan", "block")):
        other = make_member(resources, name)
        say(resources, other, photo, name)
        block(resources, ann, other, kind)
    say(resources, ben, photo, "Hello")
    assert (said(resources, ann, photo), said(resources, ben, photo)) == (
        ["Hello"],
        ["cat", "dan", "Hello"],
    )


# ---- at the same time ----------------------------------------------------------------------------------------------


def at_once(tasks):
    """Run all at the same moment; gives what went wrong."""
    begin, wrong = threading.Barrier(len(tasks)), []

    def run(task):
        begin.wait()
        try:
            task()
        except (UserError, DBAPIError, AssertionError) as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.parametrize("together", [True, False])
def test_counts_are_right_when_fifty_do_everything_at_once(resources, ben, together):
    photos = [make_post(resources, ben).id for _ in range(3)]
    people = [make_member(resources, f"m{number}") for number in range(10)]
    beside = Database(resources.db.url)  # another process, as far as the database can tell

    def busy(number):
        who, chance = people[number % 10], random.Random(number)
        db = (resources.db, beside)[number % 2]

        def do(what, *given, **more):
            if together:
                db.write_batched(lambda session: what(session, who, *given, now=NOW, **more))
            else:
                with db.write() as session:
                    what(session, who, *given, now=NOW, **more)

        for turn in range(3):
            order = chance.sample(photos, 3)
            do(engagement.like_post, order[0])
            do(engagement.add_comment, order[1], "Hello", key=f"{order[1]}-{turn}")
            do(engagement.unlike_post, order[2])
            do(
                chance.choice([engagement.follow_member, engagement.unfollow_member]),
                f"m{(number + 1 + turn) % 10}",
            )

    wrong = at_once([lambda number=number: busy(number) for number in range(50)])
    beside.close()
    assert wrong == []
    for photo in photos:
        kept, rows = counts(resources, photo)
        assert kept == rows
    with resources.db.read() as db:
        for one in db.scalars(select(Member)):
            assert one.following == db.scalar(
                select(func.count()).where(Follow.follower_id == one.id)
            )
            assert one.followers == db.scalar(
                select(func.count()).where(Follow.followed_id == one.id)
            )


def test_a_block_beside_a_follow_leaves_no_follow(resources, ann, ben):
    for _ in range(5):
        wrong = at_once(
            [
                lambda: write(resources, engagement.follow_member, ann, "ben"),
                lambda: write(resources, engagement.follow_member, ben, "ann"),
                lambda: block(resources, ben, ann, "block"),
                lambda: block(resources, ann, ben, "block"),
            ]
        )
        assert {type(error) for error in wrong} <= {NotFound}
        assert (following(resources, ann), following(resources, ben)) == ((0, 0), (0, 0))
        with resources.db.write() as db:
            members.unblock_member(db, ann, "ben")
            members.unblock_member(db, ben, "ann")


def test_what_is_deleted_meanwhile_is_not_liked(resources, ben):
    photo = make_post(resources, ben)
    people = [make_member(resources, f"m{number}") for number in range(6)]

    def gone():
        write(resources, posts.delete_post, ben, photo.id)
        with resources.db.write() as db:
            post_states.erase_posts(db, [photo.id])

    wrong = at_once(
        [
            gone,
            *(
                lambda who=who: write(resources, engagement.like_post, who, photo.id)
                for who in people
            ),
        ]
    )
    assert {type(error) for error in wrong} <= {NotFound}
    assert read(resources, lambda db: db.scalar(select(func.count()).select_from(Like))) == 0
