"""Search of published posts, with filters, three orders and pages.

Relevance is the same on every engine, because nothing is counted: first come posts that have all
words in the title, then those that need their tags, category or breed for it, then those that need
the description; within each of these tiers, the newest first.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals import pagination
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
    PageQuery,
    Terms,
    TokenQuery,
    find_few_ids,
    find_first_posts,
    sort_posts,
)
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import UserError

SORTS = ("relevance", "newest", "likes")
MAX_QUERY_LENGTH = 200
MAX_TERMS_PER_QUERY = 12
MAX_HITS_PER_PAGE = 100
TIERS = (IN_TITLE, IN_NAMES, ANYWHERE)


class Hit(NamedTuple):
    """A post that was found, with its title and a snippet highlighted."""

    post_id: int
    title: HighlightedText
    snippet: HighlightedText


class SearchPage(NamedTuple):
    """One page of hits. `next` is the cursor of the next page, None at the end."""

    posts: list[Hit]
    next: str | None
    terms: list[Term]


@dataclass(frozen=True)
class SearchOptions:
    """How a search is narrowed and sorted, and which page of it is wanted.

    hidden: ids of members whose posts are left out. `since` is included, `until` is not.
    liked: only posts with likes. sort: one of SORTS. after: the cursor of the page.
    """

    hidden: Collection[int] = frozenset()
    category: str | None = None
    breed: str | None = None
    tag: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    liked: bool = False
    sort: str = "relevance"
    after: str | None = None
    limit: int = 24


def search_posts(
    db: Session,
    query: str,
    options: SearchOptions = SearchOptions(),
) -> SearchPage:
    """The published posts that have all words of a query and fulfil the filters.

    An empty query with a category, a breed or a tag finds all of their posts; a query of which
    nothing remains (signs, emoji, stopwords) finds nothing. Raises UserError for values out of
    range and for a bad cursor.
    """
    terms = validate_search(query, options)
    tags = [options.tag] if options.tag is not None else []
    chosen = filter_tokens(options.category, options.breed, *tags)
    if not terms and not (chosen and not query.strip()):
        return SearchPage([], None, [])
    filters = Filters(options.since, options.until, options.liked, frozenset(options.hidden))
    order = "newest" if options.sort == "relevance" and not terms else options.sort
    place, limit = decode_place(options.after, order), options.limit
    if order == "relevance":
        tiers = [required_tokens(terms, mark, chosen) for mark in TIERS]
        rows = find_by_relevance(db, tiers, place, filters, limit + 1)
    else:
        tokens = TokenQuery(required_tokens(terms, ANYWHERE, chosen))
        page = PageQuery(Order(order == "likes", place), filters, limit + 1)
        rows = find_first_posts(db, tokens, page)
    cursor = encode_place(rows[limit - 1], order) if len(rows) > limit else None
    return SearchPage(load_hits(db, [row.id for row in rows[:limit]], terms), cursor, terms)


def validate_search(query: str, options: SearchOptions) -> list[Term]:
    """The terms of a query, after checking all values. Raises UserError for those out of range."""
    category, breed = options.category, options.breed
    if options.sort not in SORTS:
        raise UserError(
            "Posts can be sorted by %(sorts)s, not by %(sort)s.",
            sorts=", ".join(SORTS),
            sort=options.sort[:30],
        )
    if category is not None and category not in CATEGORIES:
        raise UserError("There is no category %(category)s.", category=category[:30])
    if breed is not None and breed not in BREEDS:
        raise UserError("There is no breed %(breed)s.", breed=breed[:30])
    if not 1 <= options.limit <= MAX_HITS_PER_PAGE:
        raise UserError("A page has 1 to %(most)s posts.", most=MAX_HITS_PER_PAGE)
    if len(query) > MAX_QUERY_LENGTH:
        raise UserError("Please search with at most %(most)s characters.", most=MAX_QUERY_LENGTH)
    terms = parse_query(query)
    if len(terms) > MAX_TERMS_PER_QUERY:
        raise UserError("Please search with at most %(most)s words.", most=MAX_TERMS_PER_QUERY)
    return terms


def required_tokens(terms: list[Term], mark: str, chosen: list[str]) -> Terms:
    """The tokens to ask the index for: those of the terms under a mark, and the chosen filters."""
    marked = tuple(
        tuple(tuple(mark + token for token in tokens) for tokens in term.alternatives)
        for term in terms
    )
    return (*marked, *(((token,),) for token in chosen))


def find_by_relevance(
    db: Session, tiers: list[Terms], place: tuple[Any, ...] | None, filters: Filters, limit: int
) -> list[MatchedPost]:
    """The first posts by tier, the newest first within each."""
    tier, order = (place[0], Order(False, place[1:])) if place else (1, Order(False))
    is_common = find_few_ids(db, TokenQuery(tiers[-1])) is None
    posts: list[MatchedPost] = []
    for number in range(tier, len(tiers) + 1):
        match = TokenQuery(tiers[number - 1], tiers[number - 2] if number > 1 else ())
        page = PageQuery(order, filters, limit - len(posts))
        ids = None if is_common else find_few_ids(db, match)
        more = find_first_posts(db, match, page) if ids is None else sort_posts(db, ids, page)
        posts += [post._replace(tier=number) for post in more]
        if len(posts) == limit:
            break
        order = Order(False)
    return posts


def load_hits(db: Session, ids: list[int], terms: list[Term]) -> list[Hit]:
    """The posts in the order of the ids, with their hits highlighted."""
    query = (
        select(
            Post.id,
            Post.title,
            Post.description,
            PostTokenOffsets.title,
            PostTokenOffsets.description,
        )
        .join(PostTokenOffsets, PostTokenOffsets.post_id == Post.id)
        .where(Post.id.in_(ids))
    )
    hits = {}
    for id_, title, description, title_offsets, description_offsets in db.execute(query):
        highlighted = highlight_text(title, terms, title_offsets)
        snippet = make_snippet(description, terms, description_offsets)
        hits[id_] = Hit(id_, highlighted, snippet)
    return [hits[id_] for id_ in ids if id_ in hits]


# ---- cursors -------------------------------------------------------------------------------------


def encode_place(last: MatchedPost, sort: str) -> str:
    """The cursor of the page after a post."""
    values = {"relevance": [last.tier], "likes": [last.likes], "newest": []}[sort]
    published_at = pagination.microseconds_of(last.published_at)
    return pagination.encode_cursor(sort, *values, published_at, last.id)


def decode_place(cursor: str | None, sort: str) -> tuple[Any, ...] | None:
    """The values of the post after which the page begins, in the columns of the order.

    Raises UserError for anything that `encode_place` did not write for this order.
    """
    if cursor is None:
        return None
    kind, *values = pagination.decode_cursor(cursor) or [None]
    size = 2 if sort == "newest" else 3
    if kind != sort or len(values) != size:
        raise pagination.invalid_cursor()
    *numbers, moment, id_ = values
    if sort == "relevance" and numbers[0] not in range(1, len(TIERS) + 1):
        raise pagination.invalid_cursor()
    return (
        *(pagination.whole_number(number) for number in numbers),
        pagination.moment_of(moment),
        pagination.whole_number(id_),
    )
