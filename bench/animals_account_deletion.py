"""Account deletion of a member with 5,000 posts, on SQLite and PostgreSQL.

    python -m bench.animals_account_deletion [--scale 1.0]

Measured: seconds until nothing of the member is visible, seconds until the durable run has deleted
all of it, and how long the transactions of others wait meanwhile. The member also gave 10,000
likes, received 25,000 from five members, wrote 5,000 comments and has 2,000 followers.
"""

import argparse
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from bench.lib.animals_rows import insert_members, insert_photos
from bench.lib.engines import open_resources, start_engines
from bench.lib.reporting import print_figures, write_results
from bench.lib.timing import quantile, time_call
from tanuki.animals import account_deletion, members, post_states
from tanuki.animals.search import index
from tanuki.animals.tables import (
    Comment,
    Follow,
    Like,
    Member,
    Notification,
    NotificationKind,
    Post,
    PostState,
)
from tanuki.platform import accounts, jobs
from tanuki.platform.accounts import NewUser, Person
from tanuki.platform.jobs import RunStatus
from tanuki.platform.resources import Resources, set_process_resources

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NAME, PASSWORD = "zeb", "four words for a bench"
POSTS_PER_TRANSACTION = 200
WRITE_PAUSE_SECONDS = 0.02  # between the transactions of others
REPORTED_SCALE = 1.0  # results of a smaller run are not written


@dataclass(frozen=True)
class Sizes:
    """How much the member has, and the posts of others."""

    posts: int = 5_000
    other_posts: int = 20_000
    likes_given: int = 10_000
    likes_received: int = 25_000
    comments: int = 5_000
    followers: int = 2_000

    def scaled(self, scale: float) -> "Sizes":
        return Sizes(*(round(size * scale) for size in vars(self).values()))


# ---- the site ------------------------------------------------------------------------------------


def fill_site(res: Resources, sizes: Sizes) -> Person:
    """A very active member among many."""
    with res.db.write() as db:
        accounts.add_user(db, NewUser(NAME, [("member", None)], password=PASSWORD), NOW)
        person = accounts.find_person(db, NAME)
        assert person is not None
        member_id = members.join_community(db, person, now=NOW).id
        followers = {member_id + number: f"m{number}" for number in range(1, sizes.followers + 1)}
        insert_members(db, followers, NOW)
        add_posts(db, member_id, list(followers), sizes)
    with res.db.write() as db:
        add_reactions(db, member_id, list(followers), sizes)
    index_posts(res, member_id)
    return person


def add_posts(db: Session, member_id: int, follower_ids: list[int], sizes: Sizes) -> None:
    """The member's posts, each with its own photo, and those of the followers, all with one."""
    insert_photos(db, [str(number) for number in range(sizes.posts + 1)], NOW)
    post = {
        "description": "A brown cat sleeps on the window sill in the sun",
        "category": "cat",
        "tags": ["cat", "sun", "sleep"],
        "state": PostState.PUBLISHED,
        "posted_at": NOW,
        "published_at": NOW,
        "hot_score": post_states.hot_score(NOW, 5),
        "likes": 5,
        "comments": 1,
    }
    own = [
        {
            "member_id": member_id,
            "key": str(number),
            "photo": str(number),
            "title": f"Cat number {number}",
            **post,
        }
        for number in range(sizes.posts)
    ]
    others = [
        {
            "member_id": follower_ids[number % len(follower_ids)],
            "key": f"o{number}",
            "photo": str(sizes.posts),
            "title": "Dog",
            **post,
        }
        for number in range(sizes.other_posts)
    ]
    db.execute(insert(Post), own + others)


def add_reactions(db: Session, member_id: int, follower_ids: list[int], sizes: Sizes) -> None:
    """Likes, comments, follows and notifications."""
    own = Post.member_id == member_id
    own_posts = db.scalars(select(Post.id).where(own)).all()
    other_posts = db.scalars(select(Post.id).where(~own).order_by(Post.id)).all()
    given = [
        {"post_id": post_id, "member_id": member_id, "at": NOW}
        for post_id in other_posts[: sizes.likes_given]
    ]
    received = [
        {
            "post_id": own_posts[number % sizes.posts],
            "member_id": follower_ids[number // sizes.posts],
            "at": NOW,
        }
        for number in range(sizes.likes_received)
    ]
    db.execute(insert(Like), given + received)
    db.execute(
        insert(Comment),
        [
            {
                "post_id": post_id,
                "member_id": member_id,
                "key": str(post_id),
                "text": "What a nice cat that is!",
                "at": NOW,
            }
            for post_id in other_posts[: sizes.comments]
        ],
    )
    db.execute(
        insert(Follow),
        [
            {"follower_id": follower_id, "followed_id": member_id, "at": NOW}
            for follower_id in follower_ids
        ],
    )
    notification = {
        "kind": NotificationKind.LIKE,
        "at": NOW,
        "values": {},
        "actor_id": follower_ids[0],
    }
    db.execute(
        insert(Notification),
        [
            {
                "member_id": member_id,
                "dedup_key": str(number),
                "post_id": own_posts[number % sizes.posts],
                **notification,
            }
            for number in range(sizes.likes_received)
        ],
    )


def index_posts(res: Resources, member_id: int) -> None:
    """Put the member's posts into the search index."""
    with res.db.read() as db:
        post_ids = db.scalars(select(Post.id).where(Post.member_id == member_id)).all()
    for first in range(0, len(post_ids), POSTS_PER_TRANSACTION):
        some = post_ids[first : first + POSTS_PER_TRANSACTION]
        with res.db.write() as db:
            for post in db.scalars(select(Post).where(Post.id.in_(some))):
                index.index_post(db, post)


# ---- the deletion --------------------------------------------------------------------------------


def measure_deletion(url: str, sizes: Sizes) -> dict[str, float]:
    """Fill a site on one engine and delete the member's account."""
    with open_resources(url) as res:
        person = fill_site(res, sizes)
        with res.db.read() as db:
            member_id = members.require_member(db, person).id
        _, hidden_s = time_call(lambda: delete_account(res, person))
        set_process_resources(res)
        waits, deleted_s = time_call(lambda: write_until_deleted(res, member_id))
        with res.db.read() as db:
            assert db.get(Member, member_id) is None
            likes = select(func.count()).select_from(Like).where(Like.member_id == member_id)
            assert not db.scalar(likes)
    return {
        "hidden_s": hidden_s,
        "deleted_s": deleted_s,
        "writes_beside": len(waits),
        "wait_p50_s": quantile(waits, 0.5),
        "wait_p99_s": quantile(waits, 0.99),
        "wait_max_s": quantile(waits, 1.0),
    }


def delete_account(res: Resources, person: Person) -> None:
    with res.db.write() as db:
        account_deletion.delete_account(db, res.jobs, person, PASSWORD, now=datetime.now(UTC))


def write_until_deleted(res: Resources, member_id: int) -> list[float]:
    """Work off the durable run of the deletion; gives the seconds of the writes beside it."""
    run_id, waits = account_deletion.deletion_run_id(member_id), []
    with jobs.run_worker(res.db, "bench"):
        while res.jobs.load_run(run_id).status in (RunStatus.QUEUED, RunStatus.RUNNING):
            waits.append(time_call(lambda: write_one_row(res))[1])
            time.sleep(WRITE_PAUSE_SECONDS)
    return waits


def write_one_row(res: Resources) -> None:
    """A short transaction of somebody else."""
    moment = time.perf_counter()
    with res.db.write() as db:
        db.execute(
            insert(accounts.DeletedAccountName).values(
                digest=str(moment), at=NOW + timedelta(seconds=moment)
            )
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=REPORTED_SCALE, help="of all numbers")
    options = parser.parse_args()
    sizes, results = Sizes().scaled(options.scale), {}
    with start_engines() as urls:
        for engine, url in urls.items():
            results[engine] = measure_deletion(url, sizes)
            print(engine, sizes)
            print_figures(results[engine])
    if options.scale >= REPORTED_SCALE:
        write_results("animals_account_deletion", results)


if __name__ == "__main__":
    main()
