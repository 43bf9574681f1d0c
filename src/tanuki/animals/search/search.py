"""Searching the published posts by words, with filters and three orders, page by page.

Relevance is the same on every engine because it counts nothing: first come posts that have all words in the title, then those that need their tags, category or breed for it, then those that need the
description; the newest first within each.
"""

import base64
import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals.search.highlight import HighlightedText, highlight_text, make_snippet
from tanuki.animals.search.index import (
    ANYWHERE,
    IN_NAMES,
    IN_TITLE,
    PostTokenOffsets,
    filter_tokens,
)
from tanuki.animals.search.query_parser import Term, parse_query
from tanuki.animals.search.retrieval import (
    Filters,
    MatchedPost,
    Order,
    TokenQuery,
    Wanted,
    find_few_ids,
    find_first_posts,
    sort_posts,
)
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import UserError

SORTS = ("relevance", "newest", "likes")
MAX_QUERY_LENGTH = 200  # letters
MAX_TERMS_PER_QUERY = 12
MAX_HITS_PER_PAGE = 100
TIERS = (IN_TITLE, IN_NAMES, ANYWHERE)


class Hit(NamedTuple):
    """A post that was found, and what to show of it."""

    post_id: int
    title: HighlightedText
    snippet: HighlightedText


class SearchPage(NamedTuple):
    """One page of what was found; `next` is the place where the next one begins, None at the end."""

    posts: list[Hit]
    next: str | None
    terms: list[Term]


def search_posts(
    db: Session,
    query: str,
    *,
    hidden: Collection[int] = frozenset(),
    category: str | None = None,
    breed: str | None = None,
    tag: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    liked: bool = False,
    sort: str = "relevance",
    after: str | None = None,
    limit: int = 24,
) -> SearchPage:
    """The posts that have all of the query's words, but those of `hidden` members; `since` is in, `until` is not.

    A blank query with a category, breed or tag finds all of theirs. One of which nothing remains (signs, emoji, stopwords) finds nothing.
    """
    terms = validate_search(query, category, breed, sort, limit)
    chosen = filter_tokens(category, breed, *([tag] if tag is not None else []))
    if not terms and not (chosen and not query.strip()):
        return SearchPage([], None, [])
    filters = Filters(since, until, liked, frozenset(hidden))
    by_tier = sort == "relevance" and bool(terms)
    place = decode_place(
        after, "relevance" if by_tier else "likes" if sort == "likes" else "newest"
    )
    if by_tier:
        found = find_by_relevance(
            db, [required_tokens(terms, mark, chosen) for mark in TIERS], place, filters, limit + 1
        )
    else:
        found = find_first_posts(
            db,
            TokenQuery(required_tokens(terms, ANYWHERE, chosen)),
            Order(sort == "likes", place),
            filters,
            limit + 1,
        )
    following = (
        encode_place(found[limit - 1], sort if by_tier or sort == "likes" else "newest")
        if len(found) > limit
        else None
    )
    return SearchPage(load_hits(db, [each.id for each in found[:limit]], terms), following, terms)


def validate_search(
    query: str, category: str | None, breed: str | None, sort: str, limit: int
) -> list[Term]:
    """What the query asks for, once everything is something that can be asked for."""
    if sort not in SORTS:
        raise UserError(
            "Posts can be sorted by %(sorts)s, not by %(sort)s.",
            sorts=", ".join(SORTS),
            sort=sort[:30],
        )
    if category is not None and category not in CATEGORIES:
        raise UserError("There is no category %(category)s.", category=category[:30])
    if breed is not None and breed not in BREEDS:
        raise UserError("There is no breed %(breed)s.", breed=breed[:30])
    if not 1 <= limit <= MAX_HITS_PER_PAGE:
        raise UserError("A page has 1 to %(most)s posts.", most=MAX_HITS_PER_PAGE)
    if len(query) > MAX_QUERY_LENGTH:
        raise UserError("Please search with at most %(most)s characters.", most=MAX_QUERY_LENGTH)
    terms = parse_query(query)
    if len(terms) > MAX_TERMS_PER_QUERY:
        raise UserError("Please search with at most %(most)s words.", most=MAX_TERMS_PER_QUERY)
    return terms


def required_tokens(terms: list[Term], mark: str, chosen: list[str]) -> Wanted:
    """What is asked of the index: the terms, in the title or wherever the mark says, and what was chosen."""
    asked = tuple(
        tuple(tuple(mark + token for token in tokens) for tokens in term.alternatives)
        for term in terms
    )
    return (*asked, *(((token,),) for token in chosen))


def find_by_relevance(
    db: Session, tiers: list[Wanted], place: tuple[Any, ...] | None, filters: Filters, limit: int
) -> list[MatchedPost]:
    """The first posts by tier, the newest first within each."""
    tier, order = (place[0], Order(False, place[1:])) if place else (1, Order(False))
    common = find_few_ids(db, TokenQuery(tiers[-1])) is None
    found: list[MatchedPost] = []
    for number in range(tier, len(tiers) + 1):
        match = TokenQuery(tiers[number - 1], tiers[number - 2] if number > 1 else ())
        some = None if common else find_few_ids(db, match)
        more = (
            find_first_posts(db, match, order, filters, limit - len(found))
            if some is None
            else sort_posts(db, some, order, filters, limit - len(found))
        )
        found += [each._replace(tier=number) for each in more]
        if len(found) == limit:
            break
        order = Order(False)
    return found


def load_hits(db: Session, ids: list[int], terms: list[Term]) -> list[Hit]:
    """The posts with their hits marked."""
    texts = select(
        Post.id, Post.title, Post.description, PostTokenOffsets.title, PostTokenOffsets.description
    )
    words = {
        id: rest
        for id, *rest in db.execute(
            texts.join(PostTokenOffsets, PostTokenOffsets.post_id == Post.id).where(
                Post.id.in_(ids)
            )
        )
    }
    made = []
    for id in filter(words.__contains__, ids):
        title, description, at_title, at_description = words[id]
        made.append(
            Hit(
                id,
                highlight_text(title, terms, at_title),
                make_snippet(description, terms, at_description),
            )
        )
    return made


# ---- places --------------------------------------------------------------------------------------------------------


def encode_place(last: MatchedPost, sort: str) -> str:
    """Where the page after this post begins, for whoever asks for it next."""
    values = {"relevance": [last.tier], "likes": [last.likes], "newest": []}[sort]
    said = json.dumps(
        [sort, *values, last.published_at.isoformat(), last.id], separators=(",", ":")
    )
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def decode_place(written: str | None, sort: str) -> tuple[Any, ...] | None:
    """The values of the post after which the page begins. It comes back from outside: anything but what `write_place` wrote is refused."""
    if written is None:
        return None
    wrong = UserError("This page of the search is not there; please search again.")
    try:
        said = json.loads(
            base64.b64decode(
                written.encode() + b"=" * (-len(written) % 4), altchars=b"-_", validate=True
            )
        )
        kind, *numbers, at, id = said
        published_at = datetime.fromisoformat(at).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise wrong from None
    allowed = {"relevance": range(1, len(TIERS) + 1), "likes": range(2**31), "newest": None}[sort]
    right_number = (
        numbers == []
        if allowed is None
        else len(numbers) == 1 and type(numbers[0]) is int and numbers[0] in allowed
    )
    if kind != sort or not right_number or type(id) is not int or not 0 <= id < 2**31:
        raise wrong
    return (*numbers, published_at, id)
