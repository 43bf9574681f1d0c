"""The home feed in its first simple order: posts of followed members, popular ones and new ones by turns, and now and then one by chance.

What has been shown in a walk through the feed travels in the cursor, so that no post comes twice whatever happens meanwhile; ordering
by a model replaces `arrange`, and learns from what is logged of it: which posts were considered, and how likely each place was.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, select, true
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.events import RankedPost
from tanuki.animals.tables import Follow, Post, PostState
from tanuki.errors import UserError
from tanuki.platform.accounts import Person

FEED_ORDER, FEED_ORDER_VERSION = "first", 1
SOURCE_PATTERNS = {  # which source fills which place, over and over; a source that has nothing left is stood in for by the next one
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
MAX_POSTS_PER_FOLLOWED_MEMBER = 4  # followed posts of one member that a page considers: nobody fills it alone, and following thousands stays cheap
CHANCE_CANDIDATES = (
    50  # a place by chance is drawn from so many of the newest posts that the walk has not shown
)
MAX_POSTS_PER_SESSION = (
    1_000  # posts in one walk; who wants more goes on with the newest, page by page
)
MAX_CURSOR_LENGTH = 12_000  # characters
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FeedPage:
    """One page of the home feed. `considered` are the posts that could have stood on it, shown or not."""

    items: tuple[RankedPost, ...]
    next: str | None
    request_id: str
    considered: tuple[int, ...]


@dataclass(frozen=True)
class FeedSession:
    """How far somebody has come: the moment they began, later posts are not shown, and what they were shown."""

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
    """A page of posts for somebody, or for nobody we know. `request_id` must be new for each page: chance is drawn from it."""
    limit = pagination.clamp_page_size(limit)
    walk = FeedSession(now, frozenset()) if after is None else decode_session(after, now)
    viewer_id = members.find_viewer_id(db, viewer)
    sources = {
        "following": []
        if viewer_id is None
        else list(db.scalars(select_followed(db, walk, viewer_id, limit))),
        "popular": list(db.scalars(select_hottest(walk, viewer_id).limit(limit))),
        "new": list(db.scalars(select_newest(walk, viewer_id).limit(limit + CHANCE_CANDIDATES))),
    }
    pattern = SOURCE_PATTERNS["visitor" if viewer_id is None else "member"]
    items = arrange_posts(sources, pattern, first=len(walk.shown), places=limit, seed=request_id)
    considered = tuple(dict.fromkeys(post_id for source in SOURCES for post_id in sources[source]))
    seen = walk.shown.union(item.post_id for item in items)
    more = len(considered) > len(items) and len(seen) < MAX_POSTS_PER_SESSION
    return FeedPage(
        items,
        encode_session(FeedSession(walk.since, seen)) if more else None,
        request_id,
        considered,
    )


# ---- what there is -------------------------------------------------------------------------------------------------

NEWEST = (Post.published_at.desc(), Post.id.desc())


def session_conditions(
    walk: FeedSession, published_at: Any = Post.published_at
) -> list[ColumnElement[bool]]:
    """What a post must be: published by the walk's beginning, and not shown in it yet."""
    wanted = [Post.state == PostState.PUBLISHED, published_at <= walk.since]
    if walk.shown:  # as numbers in the text: a thousand parameters cost more than the query
        wanted.append(
            Post.id.not_in(
                bindparam(
                    "shown", sorted(walk.shown), Integer, expanding=True, literal_execute=True
                )
            )
        )
    return wanted


def select_newest(walk: FeedSession, viewer_id: int | None) -> Select[int]:
    """Posts, the last published first."""
    return (
        select(Post.id)
        .where(
            *session_conditions(walk), Post.member_id.not_in(members.hidden_member_ids(viewer_id))
        )
        .order_by(*NEWEST)
    )


def select_hottest(walk: FeedSession, viewer_id: int | None) -> Select[int]:
    """Posts, those first that are liked much for their age. Their moment is compared in a way that no index offers itself for: SQLite would take the wrong one."""
    wanted = session_conditions(walk, func.coalesce(Post.published_at, walk.since))
    by_heat = (Post.hot_score.desc(), Post.id.desc())
    return (
        select(Post.id)
        .where(*wanted, Post.member_id.not_in(members.hidden_member_ids(viewer_id)))
        .order_by(*by_heat)
    )


def select_followed(db: Session, walk: FeedSession, viewer_id: int, limit: int) -> Select[int]:
    """The newest posts of followed members: a few of each, then the newest of those, so that it costs by how many are followed and not by how much they post."""
    each = select(Post.id, Post.published_at).where(
        Post.member_id == Follow.followed_id, *session_conditions(walk)
    )
    each = each.order_by(*NEWEST).limit(MAX_POSTS_PER_FOLLOWED_MEMBER)
    mine = (
        Follow.follower_id == viewer_id,
        Follow.followed_id.not_in(members.hidden_member_ids(viewer_id)),
    )
    if (
        db.get_bind().dialect.name == "sqlite"
    ):  # knows no LATERAL, PostgreSQL no quick IN of this kind
        theirs = (
            select(Post.id)
            .select_from(Follow)
            .join(Post, Post.id.in_(each.with_only_columns(Post.id).correlate(Follow)))
        )
        return theirs.where(*mine).order_by(*NEWEST).limit(limit)
    one = each.correlate(Follow).lateral("one")
    theirs = select(one.c.id).select_from(Follow).join(one, true()).where(*mine)
    return theirs.order_by(one.c.published_at.desc(), one.c.id.desc()).limit(limit)


# ---- the order -----------------------------------------------------------------------------------------------------


def arrange_posts(
    sources: dict[str, list[int]], pattern: tuple[str, ...], *, first: int, places: int, seed: str
) -> tuple[RankedPost, ...]:
    """Posts in their places, each at most once. Pure: the same seed gives the same page.

    Places by chance are filled last, each from the posts that no other place took, all equally likely; so what the other places show
    does not depend on chance (propensity 1), and a place by chance shows each of n posts with propensity 1 / n.
    """
    kinds = [pattern[place % len(pattern)] for place in range(first, first + places)]
    settled = fill_by_turns(sources, kinds)
    taken = {post_id for _, post_id in settled}
    drawn_from = [post_id for post_id in sources["new"] if post_id not in taken][:CHANCE_CANDIDATES]
    drawn = iter(
        sorted(drawn_from, key=lambda post_id: sha256(f"{seed}:{post_id}".encode()).digest())
    )
    turns, placed = iter(settled), list[RankedPost]()
    for kind in kinds:
        source, post_id = (
            ("chance", next(drawn, None)) if kind == "chance" else next(turns, (kind, None))
        )
        if post_id is not None:
            chance = 1 / len(drawn_from) if source == "chance" else 1.0
            placed.append(
                RankedPost(
                    post_id, source, first + len(placed), chance, FEED_ORDER, FEED_ORDER_VERSION
                )
            )
    return tuple(placed)


def fill_by_turns(sources: dict[str, list[int]], kinds: list[str]) -> list[tuple[str, int]]:
    """(source, post) for each place that is not left to chance, as long as there are posts."""
    waiting: dict[str, Iterator[int]] = {source: iter(sources[source]) for source in SOURCES}
    taken: set[int] = set()
    settled = []
    for kind in kinds:
        if kind == "chance":
            continue
        turn = SOURCES[SOURCES.index(kind) :] + SOURCES[: SOURCES.index(kind)]
        for source in turn:
            post_id = next((post_id for post_id in waiting[source] if post_id not in taken), None)
            if post_id is not None:
                taken.add(post_id)
                settled.append((source, post_id))
                break
    return settled


# ---- the cursor ----------------------------------------------------------------------------------------------------


def encode_session(walk: FeedSession) -> str:
    """A walk as letters for an address: the moment and the shown posts' ids as steps between them, about two letters a post."""
    begun = (walk.since - EPOCH) // timedelta(microseconds=1)
    ids = sorted(walk.shown)
    steps = [later - earlier for earlier, later in zip([0, *ids], ids, strict=False)]
    return urlsafe_b64encode(b"".join(map(as_bytes, [begun, *steps]))).decode().rstrip("=")


def decode_session(cursor: str, now: datetime) -> FeedSession:
    """The walk that a cursor stands for."""
    wrong = UserError("There is no such place in the list; begin again at its first page.")
    if len(cursor) > MAX_CURSOR_LENGTH or not cursor.isascii():
        raise wrong
    try:
        begun, *steps = as_numbers(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        since = EPOCH + timedelta(microseconds=begun)
    except (Base64Error, ValueError, OverflowError):
        raise wrong from None
    shown, last = set(), 0
    for step in steps:
        last += step
        shown.add(last)
    if last > LARGEST or len(shown) > MAX_POSTS_PER_SESSION + pagination.MAX_PAGE_SIZE:
        raise wrong
    return FeedSession(min(since, now), frozenset(shown))


LARGEST = 2**31 - 1  # an id


def as_bytes(number: int) -> bytes:
    """A number in as few bytes as it needs, seven bits in each."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def as_numbers(content: Iterable[int]) -> list[int]:
    """The numbers that were made bytes. Raises ValueError when the last one is cut off."""
    numbers, number, bits = [], 0, 0
    for byte in content:
        number |= (byte & 127) << bits
        bits += 7
        if byte < 128:
            numbers.append(number)
            number = bits = 0
    if bits or not numbers:
        raise ValueError("cut off")
    return numbers
