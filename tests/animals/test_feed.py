"""The home feed: source pattern, propensities, paging while posts change, and hidden members."""

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

VISITOR = None


def write(res, statement, *values):
    with res.db.write() as db:
        db.execute(statement, *values)


def insert_posts(res, author, count=1, *, state="published", minutes_ago=0, likes=0):
    """Insert posts of one author a second apart, without a review; gives the ids, newest first."""
    with res.db.write() as db:
        member = members.require_member(db, author)
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
        existing_count = db.scalar(select(func.count()).select_from(Post))
        for number in range(count):
            at = NOW - timedelta(minutes=minutes_ago, seconds=count - number)
            publication = (
                {"published_at": at, "hot_score": hot_score(at, likes)}
                if state != "checking"
                else {}
            )
            texts = {"title": "A cat", "description": "", "tags": [], "category": "cat"}
            db.add(
                Post(
                    member_id=member.id,
                    key=f"k{existing_count + number}",
                    photo="0" * 64,
                    state=state,
                    posted_at=at,
                    likes=likes,
                    **texts,
                    **publication,
                )
            )
        db.flush()
        return list(db.scalars(select(Post.id).order_by(Post.id.desc()).limit(count)))


def follow(res, follower, followed):
    with res.db.write() as db:
        db.add(
            Follow(
                follower_id=members.require_member(db, follower).id,
                followed_id=members.require_member(db, followed).id,
                at=NOW,
            )
        )


def set_likes(res, post_id, likes):
    with res.db.write() as db:
        post = db.get(Post, post_id)
        post.likes, post.hot_score = likes, hot_score(post.published_at, likes)


def load_page(res, viewer, after=None, limit=10, now=NOW, request_id="r"):
    with res.db.read() as db:
        return feed.load_home_feed(
            db, viewer, after=after, limit=limit, now=now, request_id=request_id
        )


def load_all_pages(res, viewer, limit=10, between_pages=lambda _: None):
    """The items of all pages, as a viewer who scrolls to the end gets them."""
    items, after = [], None
    while True:
        page = load_page(res, viewer, after, limit, request_id=f"r{len(items)}")
        items += page.items
        if page.next is None:
            return items
        after = page.next
        between_pages(items)


def post_ids(items):
    return [item.post_id for item in items]


# ---- order of sources --------------------------------------------------------------------------

PATTERN = SOURCE_PATTERNS["member"]
SOURCES = {
    "following": list(range(100, 130)),
    "popular": list(range(200, 230)),
    "new": list(range(300, 380)),
}
some_ids = st.lists(st.integers(1, 60), unique=True, max_size=40)


def test_sources_alternate_by_the_pattern():
    placed = arrange_posts(SOURCES, PATTERN, first=0, places=20, seed="a")
    assert [item.source for item in placed] == [*PATTERN, *PATTERN]
    assert [item.post_id for item in placed if item.source == "following"] == list(range(100, 108))
    assert [(item.order, item.version) for item in placed] == [("first", 1)] * 20


def test_a_later_page_continues_the_pattern():
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
def test_no_duplicates_and_no_gaps(following, popular, new, first, places, seed):
    new = list(dict.fromkeys(new + following + popular))  # every post is also among the new ones
    placed = arrange_posts(
        {"following": following, "popular": popular, "new": new},
        PATTERN,
        first=first,
        places=places,
        seed=seed,
    )
    assert len(set(post_ids(placed))) == len(placed) == min(places, len(new))
    assert [item.position for item in placed] == list(range(first, first + len(placed)))
    assert all(0 < item.propensity <= 1 for item in placed)


@given(following=some_ids, popular=some_ids, new=some_ids, seeds=st.tuples(st.text(), st.text()))
def test_only_the_chance_source_depends_on_the_seed(following, popular, new, seeds):
    sources = {"following": following, "popular": popular, "new": new}
    first_feed, second_feed = (
        arrange_posts(sources, PATTERN, first=0, places=24, seed=seed) for seed in seeds
    )
    settled = [
        [item for item in placed if item.source != "chance"] for placed in (first_feed, second_feed)
    ]
    assert settled[0] == settled[1]
    assert {item.propensity for item in settled[0]} <= {1.0}


def test_chance_draws_match_the_propensity():
    draws, seed_count = Counter(), 4_000
    for seed in range(seed_count):
        for item in arrange_posts(SOURCES, PATTERN, first=0, places=20, seed=str(seed)):
            if item.source == "chance":
                draws[item.position, item.post_id] += 1
                assert item.propensity == 1 / CHANCE_CANDIDATES
    assert {position for position, _ in draws} == {7, 17}
    assert len(draws) == 2 * CHANCE_CANDIDATES
    expected = seed_count / CHANCE_CANDIDATES
    chi_squared = sum((count - expected) ** 2 / expected for count in draws.values())
    # With 98 degrees of freedom, chi-squared exceeds 160 once in 10,000 samples.
    assert chi_squared < 160


# ---- paging ------------------------------------------------------------------------------------


@pytest.fixture
def four_members(resources):
    return [make_member(resources, name) for name in ("ann", "ben", "cat", "dan")]


@pytest.mark.parametrize("viewer", ["ann", None])
def test_scrolling_to_the_end_shows_each_post_once(resources, four_members, viewer):
    ann, ben, cat, _ = four_members
    posted_ids = [
        *insert_posts(resources, ben, 30),
        *insert_posts(resources, cat, 30, likes=5),
        *insert_posts(resources, ann, 3),
    ]
    follow(resources, ann, ben)
    items = load_all_pages(resources, ann if viewer else None, limit=7)
    assert sorted(post_ids(items)) == sorted(posted_ids)
    assert [item.position for item in items] == list(range(63))
    assert ("following" in {item.source for item in items}) == (viewer is not None)


@pytest.mark.parametrize("seed", range(3))
def test_scrolling_has_no_duplicates_or_gaps_while_posts_change(resources, four_members, seed):
    ann, ben, cat, dan = four_members
    rng = random.Random(seed)
    original_ids = [
        post
        for author in four_members
        for post in insert_posts(resources, author, 25, minutes_ago=rng.randrange(300))
    ]
    follow(resources, ann, ben)
    deleted_ids = set()

    def change(items):
        shown_ids, unshown = (
            post_ids(items),
            [post for post in original_ids if post not in post_ids(items)],
        )
        for post in rng.sample(original_ids, 5):
            set_likes(resources, post, rng.randrange(1000))
        insert_posts(resources, rng.choice(four_members), 3, minutes_ago=-1)
        if unshown:
            deleted = rng.choice(unshown)
            deleted_ids.add(deleted)
            write(resources, update(Post).where(Post.id == deleted).values(state="deleted"))
        write(
            resources,
            update(Post).where(Post.id == rng.choice(shown_ids)).values(likes=0, hot_score=0.0),
        )
        if len(items) == 14:
            follow(resources, ann, cat)
        if len(items) == 28:
            write(resources, Follow.__table__.delete())
            follow(resources, ann, dan)

    seen_ids = post_ids(load_all_pages(resources, ann, limit=7, between_pages=change))
    assert len(set(seen_ids)) == len(seen_ids)
    assert set(seen_ids) <= set(original_ids)
    assert set(original_ids) - set(seen_ids) <= deleted_ids


def test_popular_is_by_hot_score_and_new_by_publication(resources, four_members):
    _, ben, *_ = four_members
    old = insert_posts(resources, ben, 20, minutes_ago=600)
    new = insert_posts(resources, ben, 60)
    set_likes(resources, old[3], 50)
    set_likes(resources, old[9], 500)
    by_source = {"popular": [], "new": []}
    for item in load_page(resources, None, limit=6).items:
        by_source[item.source].append(item.post_id)
    assert by_source["popular"][:2] == [old[9], old[3]]
    assert by_source["new"][:2] == new[:2]


def test_the_page_reports_all_considered_posts(resources, four_members):
    ids = insert_posts(resources, four_members[1], 90)
    page = load_page(resources, None, limit=10)
    assert set(post_ids(page.items)) < set(page.considered) == set(ids[: CHANCE_CANDIDATES + 10])
    assert page.request_id == "r"


def test_the_feed_has_only_published_posts(resources, four_members):
    for state in ("checking", "held", "removed", "deleted"):
        insert_posts(resources, four_members[1], 3, state=state)
    published_ids = insert_posts(resources, four_members[1], 1)
    assert (
        post_ids(load_page(resources, four_members[1]).items)
        == post_ids(load_page(resources, VISITOR).items)
        == published_ids
    )


@pytest.mark.parametrize(
    ("kind", "is_ann_blocking", "visible"),
    [("mute", True, False), ("block", True, False), ("block", False, False), ("mute", False, True)],
)
def test_posts_of_blocked_and_muted_members_are_left_out(
    resources, four_members, kind, is_ann_blocking, visible
):
    ann, ben, *_ = four_members
    ids = insert_posts(resources, ben, 5)
    follow(resources, ann, ben)
    with resources.db.write() as db:
        member_id, target_id = (
            members.require_member(db, ann).id,
            members.require_member(db, ben).id,
        )[:: 1 if is_ann_blocking else -1]
        db.add(Block(member_id=member_id, target_id=target_id, kind=kind, at=NOW))
    assert sorted(post_ids(load_page(resources, ann).items)) == (sorted(ids) if visible else [])
    assert len(load_page(resources, VISITOR).items) == 5


def test_posts_of_deleted_accounts_are_left_out(resources, four_members):
    insert_posts(resources, four_members[1], 5)
    follow(resources, four_members[0], four_members[1])
    write(resources, update(Member).where(Member.name == "ben").values(left_at=NOW))
    assert [load_page(resources, viewer).items for viewer in (*four_members[:1], VISITOR)] == [
        (),
        (),
    ]


def test_the_feed_is_empty_without_posts(resources, four_members):
    page = load_page(resources, four_members[0])
    assert (page.items, page.next, page.considered) == ((), None, ())


# ---- queries -----------------------------------------------------------------------------------


def test_query_count_does_not_grow_with_posts(resources, four_members):
    ann, ben, *_ = four_members
    statements = []
    event.listen(
        resources.db.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )

    def count_queries(**options):
        statements.clear()
        page = load_page(resources, ann, **options)
        return len(statements), page.next

    insert_posts(resources, ben, 1)
    count_of_few, _ = count_queries()
    insert_posts(resources, ben, 300)
    follow(resources, ann, ben)
    count_of_many, after = count_queries(limit=100)
    count_of_later_page, _ = count_queries(limit=100, after=after)
    assert count_of_few == count_of_many == count_of_later_page <= 5


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


# ---- cursor ------------------------------------------------------------------------------------


@given(
    shown_ids=st.sets(st.integers(1, 2**31 - 1), max_size=300), microseconds=st.integers(0, 10**15)
)
def test_a_cursor_decodes_to_the_same_session(shown_ids, microseconds):
    session = FeedSession(NOW - timedelta(microseconds=microseconds), frozenset(shown_ids))
    assert decode_session(encode_session(session), NOW) == session


def test_the_longest_cursor_fits_in_a_url():
    rng = random.Random(1)
    assert (
        len(
            encode_session(
                FeedSession(NOW, frozenset(rng.sample(range(1, 5_000_000), MAX_POSTS_PER_SESSION)))
            )
        )
        < 4_000
    )


def test_a_session_never_starts_in_the_future():
    assert (
        decode_session(encode_session(FeedSession(NOW + timedelta(days=1), frozenset())), NOW).since
        == NOW
    )


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]{0,40}", fullmatch=True))
def test_an_arbitrary_cursor_is_refused_or_valid(cursor):
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
def test_invalid_cursors_are_refused(cursor):
    with pytest.raises(UserError, match="begin again"):
        decode_session(cursor, NOW)


def test_a_feed_session_has_a_maximum_length(resources, four_members):
    insert_posts(resources, four_members[1], MAX_POSTS_PER_SESSION + 60)
    items = load_all_pages(resources, None, limit=100)
    assert MAX_POSTS_PER_SESSION <= len(items) < MAX_POSTS_PER_SESSION + 100
