"""The home feed: posts of followed members, popular and new posts by turns, and some by chance.

A feed session is one scroll through the feed. The cursor holds the session's beginning and the
posts that it has shown, so no post comes twice, whatever happens meanwhile. A learned ranker would
replace `arrange_posts`; it can be trained on the logged events, which have every candidate and the
propensity of every position.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import accumulate, pairwise

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from tanuki.animals import members, pagination
from tanuki.animals.events import RankedPost
from tanuki.animals.tables import Follow, Post, PostState
from tanuki.platform.accounts import Person

FEED_ORDER, FEED_ORDER_VERSION = "first", 1
# The source of each position, over and over. If a source has no post left, the next one steps in.
SOURCE_PATTERNS = {
    "member": (
        "following",
        "popular",
        "following",
        "new",
        "following",
        "popular",
        "following",
        "chance",
        "popular",
        "new",
    ),
    "visitor": (
        "popular",
        "new",
        "popular",
        "new",
        "popular",
        "popular",
        "new",
        "chance",
        "popular",
        "new",
    ),
}
SOURCES = ("following", "popular", "new")
# Candidates of one followed member per page: nobody fills a page alone, and following thousands
# stays cheap.
MAX_POSTS_PER_FOLLOWED_MEMBER = 4
CHANCE_CANDIDATES = 50  # a position by chance is drawn from so many of the newest unseen posts
MAX_POSTS_PER_SESSION = 1_000  # after that the page offers the list of the newest posts
NEWEST = (Post.published_at.desc(), Post.id.desc())


@dataclass(frozen=True)
class FeedPage:
    """One page of the home feed. `considered` are all its candidates, shown or not."""

    items: tuple[RankedPost, ...]
    next: str | None
    request_id: str
    considered: tuple[int, ...]


@dataclass(frozen=True)
class FeedSession:
    """One scroll through the feed: its beginning (later posts are left out) and what it showed."""

    since: datetime
    shown: frozenset[int]


def load_home_feed(
    db: Session,
    viewer: Person | None,
    *,
    after: str | None = None,
    limit: int = 24,
    now: datetime,
    request_id: str,
) -> FeedPage:
    """A page of the home feed, for a member or for a visitor.

    `after` is the cursor of the page before; None begins a session. `request_id` must be unique,
    because chance is drawn from it. Raises UserError for a bad cursor.
    """
    limit = pagination.clamp_page_size(limit)
    session = FeedSession(now, frozenset()) if after is None else decode_session(after, now)
    viewer_id = members.find_viewer_id(db, viewer)
    newest = select_newest(session, viewer_id).limit(limit + CHANCE_CANDIDATES)
    sources = {
        "following": list(db.scalars(select_followed(db, session, viewer_id, limit)))
        if viewer_id is not None
        else [],
        "popular": list(db.scalars(select_hottest(session, viewer_id).limit(limit))),
        "new": list(db.scalars(newest)),
    }
    pattern = SOURCE_PATTERNS["visitor" if viewer_id is None else "member"]
    items = arrange_posts(sources, pattern, first=len(session.shown), places=limit, seed=request_id)
    considered = tuple(dict.fromkeys(post_id for source in SOURCES for post_id in sources[source]))
    shown = session.shown.union(item.post_id for item in items)
    has_more = len(considered) > len(items) and len(shown) < MAX_POSTS_PER_SESSION
    cursor = encode_session(FeedSession(session.since, shown)) if has_more else None
    return FeedPage(items, cursor, request_id, considered)


# ---- candidates ----------------------------------------------------------------------------------


def session_conditions(
    session: FeedSession,
    published_at: InstrumentedAttribute[datetime | None] | ColumnElement[datetime] = (
        Post.published_at
    ),
) -> list[ColumnElement[bool]]:
    """Candidates were published before the session began and have not been shown in it."""
    conditions = [Post.state == PostState.PUBLISHED, published_at <= session.since]
    if session.shown:
        # Literals, because a thousand parameters cost more than the query.
        shown = bindparam(
            "shown", sorted(session.shown), Integer, expanding=True, literal_execute=True
        )
        conditions.append(Post.id.not_in(shown))
    return conditions


def select_newest(session: FeedSession, viewer_id: int | None) -> Select[int]:
    """The last published posts first."""
    hidden = members.hidden_member_ids(viewer_id)
    return (
        select(Post.id)
        .where(*session_conditions(session), Post.member_id.not_in(hidden))
        .order_by(*NEWEST)
    )


def select_hottest(session: FeedSession, viewer_id: int | None) -> Select[int]:
    """Posts by hot score. Their moment is hidden from SQLite in `coalesce`; otherwise it would take
    the index on moments instead of the one on hot scores."""
    published_at = func.coalesce(Post.published_at, session.since)
    hidden = members.hidden_member_ids(viewer_id)
    return (
        select(Post.id)
        .where(*session_conditions(session, published_at), Post.member_id.not_in(hidden))
        .order_by(Post.hot_score.desc(), Post.id.desc())
    )


def select_followed(db: Session, session: FeedSession, viewer_id: int, limit: int) -> Select[int]:
    """The newest posts of followed members: a few of each, then the newest of those.

    The cost therefore depends on the number of followed members, not on the number of their posts.
    """
    of_one = (
        select(Post.id, Post.published_at)
        .where(Post.member_id == Follow.followed_id, *session_conditions(session))
        .order_by(*NEWEST)
        .limit(MAX_POSTS_PER_FOLLOWED_MEMBER)
    )
    follows = (
        Follow.follower_id == viewer_id,
        Follow.followed_id.not_in(members.hidden_member_ids(viewer_id)),
    )
    # SQLite has no LATERAL, and PostgreSQL is slow with IN and a limited subquery.
    if db.get_bind().dialect.name == "sqlite":
        posts = (
            select(Post.id)
            .select_from(Follow)
            .join(Post, Post.id.in_(of_one.with_only_columns(Post.id).correlate(Follow)))
        )
        return posts.where(*follows).order_by(*NEWEST).limit(limit)
    lateral = of_one.correlate(Follow).lateral("of_one")
    posts = select(lateral.c.id).select_from(Follow).join(lateral, true()).where(*follows)
    return posts.order_by(lateral.c.published_at.desc(), lateral.c.id.desc()).limit(limit)


# ---- the order -----------------------------------------------------------------------------------


def arrange_posts(
    sources: dict[str, list[int]], pattern: tuple[str, ...], *, first: int, places: int, seed: str
) -> tuple[RankedPost, ...]:
    """Posts at the positions from `first` on, each at most once. Pure: the same seed gives the same
    page.

    Positions by chance are filled last, each from the posts that no other position took, all
    equally likely. What the other positions show therefore does not depend on chance (propensity
    1), and a position by chance shows each of its n candidates with propensity 1 / n.
    """
    kinds = [pattern[position % len(pattern)] for position in range(first, first + places)]
    fixed = fill_by_turns(sources, kinds)
    taken = {post_id for _, post_id in fixed}
    candidates = [post_id for post_id in sources["new"] if post_id not in taken]
    candidates = candidates[:CHANCE_CANDIDATES]
    drawn = iter(
        sorted(candidates, key=lambda post_id: sha256(f"{seed}:{post_id}".encode()).digest())
    )
    turns, posts = iter(fixed), list[RankedPost]()
    for kind in kinds:
        source, post_id = (
            ("chance", next(drawn, None)) if kind == "chance" else next(turns, (kind, None))
        )
        if post_id is not None:
            propensity = 1 / len(candidates) if source == "chance" else 1.0
            position = first + len(posts)
            posts.append(
                RankedPost(post_id, source, position, propensity, FEED_ORDER, FEED_ORDER_VERSION)
            )
    return tuple(posts)


def fill_by_turns(sources: dict[str, list[int]], kinds: list[str]) -> list[tuple[str, int]]:
    """(source, post) for each position that is not by chance, as long as there are posts."""
    waiting: dict[str, Iterator[int]] = {source: iter(sources[source]) for source in SOURCES}
    taken: set[int] = set()
    filled = []
    for kind in kinds:
        if kind == "chance":
            continue
        start = SOURCES.index(kind)
        for source in SOURCES[start:] + SOURCES[:start]:
            post_id = next((post_id for post_id in waiting[source] if post_id not in taken), None)
            if post_id is not None:
                taken.add(post_id)
                filled.append((source, post_id))
                break
    return filled


# ---- the cursor ----------------------------------------------------------------------------------


def encode_session(session: FeedSession) -> str:
    """The cursor of a session: its beginning, and the differences between the sorted ids of the
    posts that it has shown.

    With 1,100 of a million posts it has 2,930 characters, of two thousand million 5,660 (random
    ids), which is well below the 8 KB of proxies. Seven-bit bytes instead of JSON saved 7 %.
    """
    steps = [later - earlier for earlier, later in pairwise([0, *sorted(session.shown)])]
    return pagination.encode_cursor(pagination.microseconds_of(session.since), steps)


def decode_session(cursor: str, now: datetime) -> FeedSession:
    """The session of a cursor. Raises UserError for anything that `encode_session` did not write.

    A beginning in the future, which only a forged cursor has, becomes `now`.
    """
    values = pagination.decode_cursor(cursor)
    if len(values) != 2 or not isinstance(values[1], list):
        raise pagination.invalid_cursor()
    since = pagination.moment_of(values[0])
    steps = [pagination.whole_number(step) for step in values[1]]
    if len(steps) > MAX_POSTS_PER_SESSION + pagination.MAX_PAGE_SIZE:
        raise pagination.invalid_cursor()
    shown = frozenset(accumulate(steps))
    if max(shown, default=0) > pagination.MAX_ID:
        raise pagination.invalid_cursor()
    return FeedSession(min(since, now), shown)
