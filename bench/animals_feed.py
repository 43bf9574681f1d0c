"""Home feed at 100,000 posts, on SQLite and PostgreSQL: milliseconds of first and later pages.

    python -m bench.animals_feed [--posts 100000] [--rounds 300]

For a visitor, and for members who follow 30, very many, or only inactive members. Beside them the
list of the newest posts: the least that any page costs.
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from bench.lib.animals_rows import insert_members, insert_photos
from bench.lib.engines import open_database, start_postgres
from bench.lib.reporting import write_results
from bench.lib.timing import quantile, time_call
from tanuki.animals import feed, post_queries, post_states
from tanuki.animals.engagement import MAX_FOLLOWS_PER_MEMBER
from tanuki.animals.tables import Block, BlockKind, Follow, Post, PostState
from tanuki.platform.accounts import Person
from tanuki.platform.database.engine import Database

NOW = datetime(2026, 5, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
MEMBERS = 5_000
POSTS_PER_INSERT = 10_000
LATER_PAGE = 30  # pages before it
REPORTED_POSTS, REPORTED_ROUNDS = 100_000, 300  # results of a smaller run are not written

# Ids of the members who read.
FEW_FOLLOWS, MANY_FOLLOWS, INACTIVE_FOLLOWS = 1, 2, 3
VIEWERS = {
    "visitor": None,
    "follows 30": FEW_FOLLOWS,
    f"follows {MAX_FOLLOWS_PER_MEMBER}": MANY_FOLLOWS,
    "follows 20 inactive": INACTIVE_FOLLOWS,
}
Query = Callable[[Session], object]


# ---- the site ------------------------------------------------------------------------------------


def fill_database(database: Database, post_count: int) -> None:
    """Posts of a year; a few members post much and most little, and few posts have many likes."""
    chance = random.Random(1)
    with database.write() as db:
        insert_members(db, {id_: f"m{id_}" for id_ in range(1, MEMBERS + 1)}, NOW)
        insert_photos(db, ["0"], NOW)
        for first in range(0, post_count, POSTS_PER_INSERT):
            numbers = range(first, min(first + POSTS_PER_INSERT, post_count))
            db.execute(
                insert(Post), [generate_post(chance, number, post_count) for number in numbers]
            )
        follow(db, FEW_FOLLOWS, chance.sample(range(10, MEMBERS), 30))
        follow(db, MANY_FOLLOWS, chance.sample(range(10, MEMBERS), MAX_FOLLOWS_PER_MEMBER))
        follow(db, INACTIVE_FOLLOWS, range(MEMBERS - 20, MEMBERS))
        mute = {"member_id": FEW_FOLLOWS, "kind": BlockKind.MUTE, "at": NOW}
        db.execute(insert(Block), [{"target_id": id_, **mute} for id_ in range(100, 200)])
        if not database.embedded:
            db.execute(text("analyze"))


def generate_post(chance: random.Random, number: int, post_count: int) -> dict[str, Any]:
    at = NOW - YEAR + YEAR * number / post_count
    likes = int(chance.paretovariate(1.2)) - 1
    return {
        "member_id": int(MEMBERS * chance.random() ** 2) + 1,
        "key": str(number),
        "title": "A cat",
        "description": "",
        "tags": [],
        "category": "cat",
        "photo": "0",
        "state": PostState.PUBLISHED,
        "posted_at": at,
        "published_at": at,
        "likes": likes,
        "hot_score": post_states.hot_score(at, likes),
    }


def follow(db: Session, member_id: int, followed_ids: list[int] | range) -> None:
    db.execute(
        insert(Follow),
        [
            {"follower_id": member_id, "followed_id": followed_id, "at": NOW}
            for followed_id in followed_ids
        ],
    )


# ---- the pages -----------------------------------------------------------------------------------


def measure_pages(url: str, post_count: int, rounds: int) -> dict[str, dict[str, float]]:
    """The times of every page on one engine."""
    with open_database(url) as database:
        fill_database(database, post_count)
        queries: dict[str, Query] = {"newest": lambda db: post_queries.list_newest_posts(db, None)}
        for name, member_id in VIEWERS.items():
            person = None if member_id is None else create_person(f"m{member_id}")
            for page in (0, LATER_PAGE):
                cursor = find_cursor(database, person, page)
                queries[f"{name}, page {page + 1}"] = create_page_query(person, cursor)
        return {name: time_query(database, query, rounds) for name, query in queries.items()}


def create_person(name: str) -> Person:
    return Person(name, name, frozenset({("member", None)}))


def create_page_query(person: Person | None, cursor: str | None) -> Query:
    return lambda db: feed.load_home_feed(db, person, after=cursor, now=NOW, request_id="r")


def find_cursor(database: Database, person: Person | None, pages: int) -> str | None:
    """The cursor after so many pages."""
    cursor = None
    for number in range(pages):
        with database.read() as db:
            page = feed.load_home_feed(db, person, after=cursor, now=NOW, request_id=str(number))
        cursor = page.next
    return cursor


def time_query(database: Database, query: Query, rounds: int) -> dict[str, float]:
    """Milliseconds of one query, each time in a database session of its own, as in a request."""

    def run_query() -> None:
        with database.read() as db:
            query(db)

    times_ms = [1000 * time_call(run_query)[1] for _ in range(rounds)]
    return {"p50_ms": quantile(times_ms, 0.5), "p99_ms": quantile(times_ms, 0.99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=REPORTED_POSTS)
    parser.add_argument("--rounds", type=int, default=REPORTED_ROUNDS)
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder, start_postgres() as postgres_url:
        for engine, url, post_count in (
            ("sqlite", f"sqlite:///{folder}/tenth.db", options.posts // 10),
            ("sqlite", f"sqlite:///{folder}/all.db", options.posts),
            ("postgres", postgres_url, options.posts),
        ):
            name = f"{engine}, {post_count} posts"
            results[name] = measure_pages(url, post_count, options.rounds)
            print(name)
            for page, times in results[name].items():
                print(f"  {page:<28} p50 {times['p50_ms']:7.2f} ms  p99 {times['p99_ms']:7.2f} ms")
    if options.posts >= REPORTED_POSTS and options.rounds >= REPORTED_ROUNDS:
        write_results("animals_feed", results)


if __name__ == "__main__":
    main()
