"""How each engine is asked which posts have which tokens, and the three ways to the first page of them in an order.

A word that every third post has must not cost reading every third post, on either engine. So the first page is looked for where the order begins (`walk`: a few hundred posts, each asked for its tokens);
where they do not fill it, the index is asked for all posts with the tokens, but for no more than a few thousand (`few`), and these are put in order; only where there are more, the walk goes on, and in the
end all of them are put in order (`all_of`). The work grows with the square root of the number of posts, but for words that are common and whose posts stand all at the end of the order.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, bindparam, column, text
from sqlalchemy.orm import Session

from tanuki.platform.database.types import Utc

FIRST_SCAN_POSTS, LONG_SCAN_POSTS = 400, 4_000  # posts
MAX_FEW_POSTS = 2_000  # posts: putting so many in order takes some milliseconds

Wanted = tuple[
    tuple[tuple[str, ...], ...], ...
]  # all of these, each by any of its alternatives, which want all of their tokens


class TokenQuery(NamedTuple):
    """Posts that have these tokens, and have not those."""

    wanted: Wanted
    without: Wanted = ()


class Order(NamedTuple):
    """What comes first, and where the page begins: after the post with these values."""

    by_likes: bool
    after: tuple[Any, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return ("likes", "published_at", "id") if self.by_likes else ("published_at", "id")


class Filters(NamedTuple):
    """Which posts the viewer wants, and may, see."""

    since: datetime | None = None
    until: datetime | None = None
    liked: bool = False
    hidden: frozenset[int] = frozenset()


class MatchedPost(NamedTuple):
    """A post and what puts it in order."""

    id: int
    likes: int
    published_at: datetime
    tier: int = 0  # of relevance


def find_first_posts(
    db: Session, match: TokenQuery, order: Order, filters: Filters, limit: int
) -> list[MatchedPost]:
    """The first posts that match, in order."""
    found = scan_posts(db, match, order, filters, limit, FIRST_SCAN_POSTS)
    if len(found) == limit:
        return found
    ids = find_few_ids(db, match)
    if ids is not None:
        return sort_posts(db, ids, order, filters, limit)
    found = scan_posts(db, match, order, filters, limit, LONG_SCAN_POSTS)
    return found if len(found) == limit else sort_all_matches(db, match, order, filters, limit)


def find_few_ids(db: Session, match: TokenQuery) -> list[int] | None:
    """The ids of all posts that match, in no order; None where they are many."""
    if is_sqlite(db):
        asked = text("select rowid from post_fts where post_fts match :match limit :most")
    else:
        asked = text(
            "select post_id from post_text where tokens @@ cast(:match as tsquery) limit :most"
        )
    ids = [
        int(id)
        for id in db.scalars(
            asked, {"match": match_expression(db, match), "most": MAX_FEW_POSTS + 1}
        )
    ]
    return ids if len(ids) <= MAX_FEW_POSTS else None


def scan_posts(
    db: Session, match: TokenQuery, order: Order, filters: Filters, limit: int, most: int
) -> list[MatchedPost]:
    """The first posts that match among so many that stand at the beginning of the order."""
    if is_sqlite(db):
        words = "cross join post_text t on t.post_id = p.id"
    else:
        words = "cross join lateral (select tokens from post_text where post_id = p.id offset 0) t"
    holds, values = token_condition(db, match)
    inner = f"select {selected_columns(filters)} from post p where {' and '.join(where_conditions(order, filters))} order by {order_by(order)} limit :most"
    return fetch_posts(
        db,
        f"from ({inner}) p {words} where {holds}",
        order,
        filters,
        limit,
        {**values, "most": most},
    )


def sort_posts(
    db: Session, ids: list[int], order: Order, filters: Filters, limit: int
) -> list[MatchedPost]:
    """These posts, put in order."""
    if is_sqlite(db):
        posts, given = "json_each(:ids) i cross join post p on p.id = i.value", json.dumps(ids)
    else:
        posts, given = (
            "unnest(cast(:ids as integer[])) i(id) cross join lateral (select * from post where id = i.id offset 0) p",
            f"{{{','.join(map(str, ids))}}}",
        )
    return fetch_posts(
        db,
        f"from {posts} where {' and '.join(where_conditions(order, filters))}",
        order,
        filters,
        limit,
        {"ids": given},
    )


def sort_all_matches(
    db: Session, match: TokenQuery, order: Order, filters: Filters, limit: int
) -> list[MatchedPost]:
    """All posts that match, put in order: for what is common, but nowhere near the beginning of the order."""
    if is_sqlite(db):
        posts = "post_fts cross join post p on p.id = post_fts.rowid where post_fts match :match"
    else:
        posts = (
            "post_text t join post p on p.id = t.post_id where t.tokens @@ cast(:match as tsquery)"
        )
    return fetch_posts(
        db,
        f"from {posts} and {' and '.join(where_conditions(order, filters))}",
        order,
        filters,
        limit,
        {"match": match_expression(db, match)},
    )


def fetch_posts(
    db: Session, what: str, order: Order, filters: Filters, limit: int, values: dict[str, Any]
) -> list[MatchedPost]:
    """The rows of a query over posts `p`, in order, without the hidden members' ones."""
    values |= {"limit": limit, "since": filters.since, "until": filters.until}
    values |= {
        f"after_{name}": value
        for name, value in zip(order.columns, order.after or (), strict=False)
    }
    typed: list[BindParameter[Any]] = [
        bindparam(name, type_=Utc()) for name in ("since", "until", "after_published_at")
    ]
    if filters.hidden:
        what += " and p.member_id not in :hidden"
        values["hidden"] = sorted(filters.hidden)
        typed.append(bindparam("hidden", expanding=True))
    asked = text(
        f"select p.id, p.likes, p.published_at {what} order by {order_by(order)} limit :limit"
    )
    used = set(re.findall(r":(\w+)", asked.text))
    asked = asked.bindparams(*(parameter for parameter in typed if parameter.key in used))
    columns: tuple[ColumnElement[Any], ...] = (
        column("id"),
        column("likes"),
        column("published_at", Utc()),
    )
    return [
        MatchedPost(*row)
        for row in db.execute(asked.columns(*columns), {name: values[name] for name in used})
    ]


# ---- pieces of queries ---------------------------------------------------------------------------------------------


def where_conditions(order: Order, filters: Filters) -> Iterator[str]:
    """What is asked of posts `p` that an index on them answers."""
    yield "p.state = 'published'"
    if filters.since is not None:
        yield "p.published_at >= :since"
    if filters.until is not None:
        yield "p.published_at < :until"
    if filters.liked:
        yield "p.likes > 0"
    if order.after is not None:
        yield after_condition(order)


def after_condition(order: Order) -> str:
    """Posts `p` that come later in the order."""
    return f"({', '.join(f'p.{name}' for name in order.columns)}) < ({', '.join(f':after_{name}' for name in order.columns)})"


def selected_columns(filters: Filters) -> str:
    """The columns of posts `p` that a query goes on with; whose it is stands in no index on posts, so it is read only when it matters."""
    return "p.id, p.likes, p.published_at" + (", p.member_id" if filters.hidden else "")


def order_by(order: Order) -> str:
    return ", ".join(f"p.{name} desc" for name in order.columns)


def is_sqlite(db: Session) -> bool:
    """Whether it is SQLite."""
    return db.connection().dialect.name == "sqlite"


def match_expression(db: Session, match: TokenQuery) -> str:
    """The match as the engine's index is asked. Tokens hold letters and digits only, so quoting them is all that is needed."""
    quote, both, either, no = (
        ('"', " AND ", " OR ", " NOT ") if is_sqlite(db) else ("'", " & ", " | ", " & !")
    )
    said = join_terms(match.wanted, lambda token: f"{quote}{token}{quote}", both, either)
    return (
        f"({said}){no}({join_terms(match.without, lambda token: f'{quote}{token}{quote}', both, either)})"
        if match.without
        else said
    )


def token_condition(db: Session, match: TokenQuery) -> tuple[str, dict[str, str]]:
    """The match asked of one row `t` of post_text: SQL and its values."""
    if not is_sqlite(db):
        return "t.tokens @@ cast(:match as tsquery)", {"match": match_expression(db, match)}
    values: dict[str, str] = {}

    def holds(token: str) -> str:
        name = f"token{len(values)}"
        values[name] = f" {token} "
        return f"instr(t.tokens, :{name}) > 0"

    said = join_terms(match.wanted, holds, " and ", " or ")
    return (
        f"({said}) and not ({join_terms(match.without, holds, ' and ', ' or ')})"
        if match.without
        else said
    ), values


def join_terms(wanted: Wanted, say: Callable[[str], str], both: str, either: str) -> str:
    """All of the terms, any of a term's alternatives, all of an alternative's tokens, in an engine's words."""
    terms = [[both.join(map(say, tokens)) for tokens in term] for term in wanted]
    return both.join(f"({either.join(f'({tokens})' for tokens in term)})" for term in terms)
