"""The posts with some tokens, in an order: how each engine is asked, and three ways to a page.

A word that every third post has must not cost reading every third post, on either engine. So the
first page is searched from the beginning of the order: `scan_posts` tests the tokens of a few
hundred posts. If these do not fill the page, the index is asked for all matching posts, but for no
more than a few thousand (`find_few_ids`), which are then sorted. Only if there are more, the scan
continues, and as the last resort all matches are sorted (`sort_all_matches`). The work grows with
the square root of the number of posts, except for common words whose posts are all at the end of
the order.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, bindparam, column, text
from sqlalchemy.orm import Session

from tanuki.platform.database.types import Utc

FIRST_SCAN_POSTS, LONG_SCAN_POSTS = 400, 4_000
MAX_FEW_POSTS = 2_000  # sorting so many takes some milliseconds

# Every term must be matched by one of its alternatives, which needs all of its tokens.
Terms = tuple[tuple[tuple[str, ...], ...], ...]


class TokenQuery(NamedTuple):
    """Posts that have the tokens of `wanted` and not those of `without`."""

    wanted: Terms
    without: Terms = ()


class Order(NamedTuple):
    """The order, and the values of the post after which the page begins."""

    by_likes: bool
    after: tuple[Any, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return ("likes", "published_at", "id") if self.by_likes else ("published_at", "id")


class Filters(NamedTuple):
    """Which posts the viewer asked for and may see."""

    since: datetime | None = None
    until: datetime | None = None
    liked: bool = False
    hidden: frozenset[int] = frozenset()


class MatchedPost(NamedTuple):
    """A post with the values that order it."""

    id: int
    likes: int
    published_at: datetime
    tier: int = 0  # of relevance


class PageQuery(NamedTuple):
    """One page of posts: their order, the filters, and how many."""

    order: Order
    filters: Filters
    limit: int


def find_first_posts(db: Session, match: TokenQuery, page: PageQuery) -> list[MatchedPost]:
    """The first matching posts, in order."""
    posts = scan_posts(db, match, page, FIRST_SCAN_POSTS)
    if len(posts) == page.limit:
        return posts
    ids = find_few_ids(db, match)
    if ids is not None:
        return sort_posts(db, ids, page)
    posts = scan_posts(db, match, page, LONG_SCAN_POSTS)
    return posts if len(posts) == page.limit else sort_all_matches(db, match, page)


def find_few_ids(db: Session, match: TokenQuery) -> list[int] | None:
    """The ids of all matching posts, unordered; None if there are more than a few."""
    if is_sqlite(db):
        query = "select rowid from post_fts where post_fts match :match limit :most"
    else:
        query = "select post_id from post_text where tokens @@ cast(:match as tsquery) limit :most"
    values = {"match": match_expression(db, match), "most": MAX_FEW_POSTS + 1}
    ids = [int(id_) for id_ in db.scalars(text(query), values)]
    return ids if len(ids) <= MAX_FEW_POSTS else None


def scan_posts(db: Session, match: TokenQuery, page: PageQuery, scanned: int) -> list[MatchedPost]:
    """The first matching posts among the `scanned` first posts of the order."""
    if is_sqlite(db):
        tokens = "cross join post_text t on t.post_id = p.id"
    else:
        tokens = "cross join lateral (select tokens from post_text where post_id = p.id offset 0) t"
    condition, values = token_condition(db, match)
    first_posts = (
        f"select {selected_columns(page.filters)} from post p"
        f" where {where_conditions(page)} order by {order_by(page.order)} limit :scanned"
    )
    source = f"from ({first_posts}) p {tokens} where {condition}"
    return fetch_posts(db, source, page, {**values, "scanned": scanned})


def sort_posts(db: Session, ids: list[int], page: PageQuery) -> list[MatchedPost]:
    """The first of some posts, in order."""
    if is_sqlite(db):
        posts, parameter = "json_each(:ids) i cross join post p on p.id = i.value", json.dumps(ids)
    else:
        posts, parameter = (
            "unnest(cast(:ids as integer[])) i(id)"
            " cross join lateral (select * from post where id = i.id offset 0) p",
            f"{{{','.join(map(str, ids))}}}",
        )
    source = f"from {posts} where {where_conditions(page)}"
    return fetch_posts(db, source, page, {"ids": parameter})


def sort_all_matches(db: Session, match: TokenQuery, page: PageQuery) -> list[MatchedPost]:
    """The first of all matching posts: for common words that are not near the order's beginning."""
    if is_sqlite(db):
        posts = "post_fts cross join post p on p.id = post_fts.rowid where post_fts match :match"
    else:
        posts = (
            "post_text t join post p on p.id = t.post_id where t.tokens @@ cast(:match as tsquery)"
        )
    source = f"from {posts} and {where_conditions(page)}"
    return fetch_posts(db, source, page, {"match": match_expression(db, match)})


def fetch_posts(
    db: Session, source: str, page: PageQuery, values: dict[str, Any]
) -> list[MatchedPost]:
    """The page's rows of a source of posts `p`, in order, without those of hidden members."""
    order, filters = page.order, page.filters
    values |= {"limit": page.limit, "since": filters.since, "until": filters.until}
    values |= {
        f"after_{name}": value
        for name, value in zip(order.columns, order.after or (), strict=False)
    }
    typed: list[BindParameter[Any]] = [
        bindparam(name, type_=Utc()) for name in ("since", "until", "after_published_at")
    ]
    if filters.hidden:
        source += " and p.member_id not in :hidden"
        values["hidden"] = sorted(filters.hidden)
        typed.append(bindparam("hidden", expanding=True))
    query = text(
        f"select p.id, p.likes, p.published_at {source} order by {order_by(order)} limit :limit"
    )
    used = set(re.findall(r":(\w+)", query.text))
    query = query.bindparams(*(parameter for parameter in typed if parameter.key in used))
    columns: tuple[ColumnElement[Any], ...] = (
        column("id"),
        column("likes"),
        column("published_at", Utc()),
    )
    rows = db.execute(query.columns(*columns), {name: values[name] for name in used})
    return [MatchedPost(*row) for row in rows]


# ---- parts of queries ----------------------------------------------------------------------------


def where_conditions(page: PageQuery) -> str:
    """The conditions on posts `p` that an index on posts can answer."""
    conditions = ["p.state = 'published'"]
    if page.filters.since is not None:
        conditions.append("p.published_at >= :since")
    if page.filters.until is not None:
        conditions.append("p.published_at < :until")
    if page.filters.liked:
        conditions.append("p.likes > 0")
    if page.order.after is not None:
        conditions.append(after_condition(page.order))
    return " and ".join(conditions)


def after_condition(order: Order) -> str:
    """The condition that a post `p` comes later in the order."""
    columns = ", ".join(f"p.{name}" for name in order.columns)
    values = ", ".join(f":after_{name}" for name in order.columns)
    return f"({columns}) < ({values})"


def selected_columns(filters: Filters) -> str:
    """The columns of posts `p` that a query needs.

    No index on posts has the owner, so it is read only if there are hidden members.
    """
    return "p.id, p.likes, p.published_at" + (", p.member_id" if filters.hidden else "")


def order_by(order: Order) -> str:
    return ", ".join(f"p.{name} desc" for name in order.columns)


def is_sqlite(db: Session) -> bool:
    return db.connection().dialect.name == "sqlite"


def match_expression(db: Session, match: TokenQuery) -> str:
    """The query in the language of the engine's index.

    Tokens have letters and digits only, so quotes are enough.
    """
    quote, both, either, no = (
        ('"', " AND ", " OR ", " NOT ") if is_sqlite(db) else ("'", " & ", " | ", " & !")
    )
    wanted = join_terms(match.wanted, lambda token: f"{quote}{token}{quote}", both, either)
    if not match.without:
        return wanted
    without = join_terms(match.without, lambda token: f"{quote}{token}{quote}", both, either)
    return f"({wanted}){no}({without})"


def token_condition(db: Session, match: TokenQuery) -> tuple[str, dict[str, str]]:
    """The query as an SQL condition on one row `t` of post_text, with its values."""
    if not is_sqlite(db):
        return "t.tokens @@ cast(:match as tsquery)", {"match": match_expression(db, match)}
    values: dict[str, str] = {}

    def holds(token: str) -> str:
        name = f"token{len(values)}"
        values[name] = f" {token} "
        return f"instr(t.tokens, :{name}) > 0"

    wanted = join_terms(match.wanted, holds, " and ", " or ")
    if not match.without:
        return wanted, values
    without = join_terms(match.without, holds, " and ", " or ")
    return f"({wanted}) and not ({without})", values


def join_terms(wanted: Terms, say: Callable[[str], str], both: str, either: str) -> str:
    """All terms, any alternative of each, and all tokens of that, with these operators."""
    terms = [[both.join(map(say, tokens)) for tokens in term] for term in wanted]
    return both.join(f"({either.join(f'({tokens})' for tokens in term)})" for term in terms)
