"""The home feed: its pattern, chance and propensities; nothing twice and nothing missing however much changes; nobody who is not to be seen."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, insert, select, text, update

from tanuki.animals import feed, members
from tanuki.animals.feed import (
    CHANCE_CANDIDATES,
    MAX_POSTS_PER_SESSION,
    SOURCE_PATTERNS,
    FeedSession,
    arrange_posts,
    decode_session,
    encode_session,
)
from tanuki.animals.post_states import hot_score
from tanuki.animals.tables import Block, Follow, Member, Photo, Post
from tanuki.errors import UserError
from tests.factories.members_and_posts import NOW, make_member

STRANGER = None


def write(res, statement, *values):
    with res.db.write() as db:
        db.execute(statement, *values)


def add(res, who, count=1, *, state="published", minutes_ago=0, likes=0):
    """Posts of somebody's, a second apart, without the work of sending them; gives their ids, newest first."""
    with res.db.write() as db:
        me = members.require_member(db, who)
        if db.get(Photo, "0" * 64) is None:
            db.execute(
                insert(Photo).values(
                    digest="0" * 64,
                    width=1,
                    height=1,
                    bytes=1,
                    colour="#000000",
                    source="jpeg",
                    added_at=NOW,
                )
            )
        begun = db.scalar(select(func.count()).select_from(Post))
        for number in range(count):
            at = NOW - timedelta(minutes=minutes_ago, seconds=count - number)
            shown = (
                {"published_at": at, "hot_score": hot_score(at, likes)}
                if state != "checking"
                else {}
            )
            words = {"title": "A cat", "description": "", "tags": [], "category": "cat"}
            db.add(
                Post(
                    member_id=me.id,
                    key=f"k{begun + number}",
                    photo="0" * 64,
                    state=state,
                    posted_at=at,
                    likes=likes,
                    **words,
                    **shown,
                )
            )
        db.flush()
        return list(db.scalars(select(Post.id).order_by(Post.id.desc()).limit(count)))


def follow(res, who, other):
    with res.db.write() as db:
        db.add(
            Follow(
                follower_id=members.require_member(db, who).id,
                followed_id=members.require_member(db, other).id,
                at=NOW,
            )
        )


def like(res, post_id, likes):
    with res.db.write() as db:
        post = db.get(Post, post_id)
        post.likes, post.hot_score = likes, hot_score(post.published_at, likes)


def page(res, viewer, after=None, limit=10, now=NOW, request_id="r"):
    with res.db.read() as db:
        return feed.load_home_feed(
            db, viewer, after=after, limit=limit, now=now, request_id=request_id
        )


def scroll(res, viewer, limit=10, between=lambda shown: None):
    """All pages, as somebody who goes on and on sees them."""
    items, after = [], None
    while True:
        found = page(res, viewer, after, limit, request_id=f"r{len(items)}")
        items += found.items
        if found.next is None:
            return items
        after = found.next
        between(items)


def ids(items):
    return [item.post_id for item in items]


# ---- the order, pure -----------------------------------------------------------------------------------------------

PATTERN = SOURCE_PATTERNS["member"]
SOURCES = {
    "following": list(range(100, 130)),
    "popular": list(range(200, 230)),
    "new": list(range(300, 380)),
}
some_ids = st.lists(st.integers(1, 60), unique=True, max_size=40)


def test_sources_take_turns_in_the_pattern():
    placed = arrange_posts(SOURCES, PATTERN, first=0, places=20, seed="a")
    assert [item.source for item in placed] == [*PATTERN, *PATTERN]
    assert [item.post_id for item in placed if item.source == "following"] == list(range(100, 108))
    assert [(item.order, item.version) for item in placed] == [("first", 1)] * 20


def test_a_later_page_goes_on_in_the_pattern():
    placed = arrange_posts(SOURCES, PATTERN, first=7, places=5, seed="a")
    assert [(item.position, item.source) for item in placed] == [
        (7 + n, PATTERN[(7 + n) % 10]) for n in range(5)
    ]


@given(
    following=some_ids,
    popular=some_ids,
    new=some_ids,
    first=st.integers(0, 30),
    places=st.integers(1, 40),
    seed=st.text(),
)
def test_no_post_twice_and_no_place_empty_before_the_end(
    following, popular, new, first, places, seed
):
    new = list(dict.fromkeys(new + following + popular))  # whatever there is, is also among the new
    placed = arrange_posts(
        {"following": following, "popular": popular, "new": new},
        PATTERN,
        first=first,
        places=places,
        seed=seed,
    )
    assert len(set(ids(placed))) == len(placed) == min(places, len(new))
    assert [item.position for item in placed] == list(range(first, first + len(placed)))
    assert all(0 < item.propensity <= 1 for item in placed)


@given(following=some_ids, popular=some_ids, new=some_ids, seeds=st.tuples(st.text(), st.text()))
def test_what_is_not_left_to_chance_does_not_depend_on_it(following, popular, new, seeds):
    sources = {"following": following, "popular": popular, "new": new}
    one, other = (arrange_posts(sources, PATTERN, first=0, places=24, seed=seed) for seed in seeds)
    settled = [[item for item in placed if item.source != "chance"] for placed in (one, other)]
    assert settled[0] == settled[1]
    assert {item.propensity for item in settled[0]} <= {1.0}


def test_each_post_comes_by_chance_as_often_as_its_propensity_says():
    drawn, rounds = Counter(), 4_000
    for seed in range(rounds):
        for item in arrange_posts(SOURCES, PATTERN, first=0, places=20, seed=str(seed)):
            if item.source == "chance":
                drawn[item.position, item.post_id] += 1
                assert item.propensity == 1 / CHANCE_CANDIDATES
    assert {position for position, _ in drawn} == {7, 17}
    assert len(drawn) == 2 * CHANCE_CANDIDATES
    expected = rounds / CHANCE_CANDIDATES
    spread = sum((count - expected) ** 2 / expected for count in drawn.values())
    assert spread < 160  # chi-squared with 98 degrees of freedom: more than that once in 10,000


# ---- walking through it --------------------------------------------------------------------------------------------


@pytest.fixture
def four(resources):
    return [make_member(resources, name) for name in ("ann", "ben", "cat", "dan")]


@pytest.mark.parametrize("viewer", ["ann", None])
def test_who_walks_to_the_end_sees_each_post_once(resources, four, viewer):
    ann, ben, cat, _ = four
    posted = [*add(resources, ben, 30), *add(resources, cat, 30, likes=5), *add(resources, ann, 3)]
    follow(resources, ann, ben)
    seen = scroll(resources, ann if viewer else None, limit=7)
    assert sorted(ids(seen)) == sorted(posted)
    assert [item.position for item in seen] == list(range(63))
    assert ("following" in {item.source for item in seen}) == (viewer is not None)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_comes_twice_and_nothing_is_missed_while_everything_changes(resources, four, seed):
    ann, ben, cat, dan = four
    chance = random.Random(seed)
    posted = [
        post for who in four for post in add(resources, who, 25, minutes_ago=chance.randrange(300))
    ]
    follow(resources, ann, ben)
    gone = set()

    def change(items):
        shown, left = ids(items), [post for post in posted if post not in ids(items)]
        for post in chance.sample(posted, 5):
            like(resources, post, chance.randrange(1000))
        add(resources, chance.choice(four), 3, minutes_ago=-1)
        if left:
            deleted = chance.choice(left)
            gone.add(deleted)
            write(resources, update(Post).where(Post.id == deleted).values(state="deleted"))
        write(
            resources,
            update(Post).where(Post.id == chance.choice(shown)).values(likes=0, hot_score=0.0),
        )
        if len(items) == 14:
            follow(resources, ann, cat)
        if len(items) == 28:
            write(resources, Follow.__table__.delete())
            follow(resources, ann, dan)

    seen = ids(scroll(resources, ann, limit=7, between=change))
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(posted)
    assert set(posted) - set(seen) <= gone


def test_popular_ones_are_the_hottest_and_new_ones_the_newest(resources, four):
    _, ben, *_ = four
    old = add(resources, ben, 20, minutes_ago=600)
    new = add(resources, ben, 60)
    like(resources, old[3], 50)
    like(resources, old[9], 500)
    by_source = {"popular": [], "new": []}
    for item in page(resources, None, limit=6).items:
        by_source[item.source].append(item.post_id)
    assert by_source["popular"][:2] == [old[9], old[3]]
    assert by_source["new"][:2] == new[:2]


def test_what_could_have_been_shown_is_told(resources, four):
    posted = add(resources, four[1], 90)
    found = page(resources, None, limit=10)
    assert set(ids(found.items)) < set(found.considered) == set(posted[: CHANCE_CANDIDATES + 10])
    assert found.request_id == "r"


def test_only_published_posts(resources, four):
    for state in ("checking", "held", "removed", "deleted"):
        add(resources, four[1], 3, state=state)
    shown = add(resources, four[1], 1)
    assert ids(page(resources, four[1]).items) == ids(page(resources, STRANGER).items) == shown


@pytest.mark.parametrize(
    ("kind", "by_ann", "seen"),
    [("mute", True, False), ("block", True, False), ("block", False, False), ("mute", False, True)],
)
def test_nobody_hidden(resources, four, kind, by_ann, seen):
    ann, ben, *_ = four
    posted = add(resources, ben, 5)
    follow(resources, ann, ben)
    with resources.db.write() as db:
        one, other = (members.require_member(db, ann).id, members.require_member(db, ben).id)[
            :: 1 if by_ann else -1
        ]
        db.add(Block(member_id=one, target_id=other, kind=kind, at=NOW))
    assert sorted(ids(page(resources, ann).items)) == (sorted(posted) if seen else [])
    assert len(page(resources, STRANGER).items) == 5


def test_nobody_who_is_leaving(resources, four):
    add(resources, four[1], 5)
    follow(resources, four[0], four[1])
    write(resources, update(Member).where(Member.name == "ben").values(left_at=NOW))
    assert [page(resources, viewer).items for viewer in (*four[:1], STRANGER)] == [(), ()]


def test_an_empty_network_has_an_empty_feed(resources, four):
    found = page(resources, four[0])
    assert (found.items, found.next, found.considered) == ((), None, ())


# ---- what it costs -------------------------------------------------------------------------------------------------


def test_as_many_queries_however_much_there_is(resources, four):
    ann, ben, *_ = four
    counted = []
    event.listen(
        resources.db.engine, "before_cursor_execute", lambda *given: counted.append(given[2])
    )

    def queries(**options):
        counted.clear()
        found = page(resources, ann, **options)
        return len(counted), found.next

    add(resources, ben, 1)
    few, _ = queries()
    add(resources, ben, 300)
    follow(resources, ann, ben)
    many, after = queries(limit=100)
    later, _ = queries(limit=100, after=after)
    assert few == many == later <= 5


@pytest.mark.parametrize(
    ("source", "index"),
    [(feed.select_hottest, "ix_post_hot_score"), (feed.select_newest, "ix_post_newest")],
)
def test_the_lists_are_read_from_their_indexes(embedded, source, index):
    query = source(FeedSession(NOW, frozenset({1, 2})), None).limit(10)
    with embedded.db.read() as db:
        plan = query.compile(db.get_bind(), compile_kwargs={"literal_binds": True})
        steps = [row[3] for row in db.execute(text(f"explain query plan {plan}"))]
    assert any(index in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps), steps


# ---- the cursor ----------------------------------------------------------------------------------------------------


@given(shown=st.sets(st.integers(1, 2**31 - 1), max_size=300), microseconds=st.integers(0, 10**15))
def test_a_feed_session_is_the_same_after_its_cursor(shown, microseconds):
    begun = FeedSession(NOW - timedelta(microseconds=microseconds), frozenset(shown))
    assert decode_session(encode_session(begun), NOW) == begun


def test_a_long_feed_session_still_fits_into_an_address():
    chance = random.Random(1)
    assert (
        len(
            encode_session(
                FeedSession(
                    NOW, frozenset(chance.sample(range(1, 5_000_000), MAX_POSTS_PER_SESSION))
                )
            )
        )
        < 4_000
    )


def test_a_feed_session_never_sees_what_is_still_to_come():
    assert (
        decode_session(encode_session(FeedSession(NOW + timedelta(days=1), frozenset())), NOW).since
        == NOW
    )


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]{0,40}", fullmatch=True))
def test_any_other_cursor_is_refused_or_harmless(cursor):
    try:
        assert decode_session(cursor, NOW).since <= NOW
    except UserError as refused:
        assert "begin again" in str(refused)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "a" * 20_000,
        "猫",
        "_" * 3_000,
        "ééé",
        encode_session(FeedSession(NOW, frozenset({2**31}))),
    ],
)
def test_these_cursors_are_refused(cursor):
    with pytest.raises(UserError, match="begin again"):
        decode_session(cursor, NOW)


def test_a_feed_session_ends(resources, four):
    add(resources, four[1], MAX_POSTS_PER_SESSION + 60)
    seen = scroll(resources, None, limit=100)
    assert MAX_POSTS_PER_SESSION <= len(seen) < MAX_POSTS_PER_SESSION + 100
