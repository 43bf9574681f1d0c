"""Durability under SIGKILL: server and worker are killed at random while members post and like.

    python -m bench.animals_kill [--kills 50]

Every acknowledged post and like must be stored once, and no post may stay unreviewed.
"""

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bench.lib.animals_site import API, Client, Response, Site, add_members, generate_photos
from bench.lib.reporting import print_figures, print_target, write_results
from tanuki.animals.tables import Like, Post, PostState
from tanuki.platform.event_log import Event

PAUSE_SECONDS = (0.6, 2.5)  # between a start and the next kill
POSTS_PER_MEMBER = 55  # below the hourly limit
MEMBERS_AT_A_TIME = 4
REVIEW_TIMEOUT_SECONDS = 90
KILLS_REPORTED = 50  # results of a shorter run are not written
MUST_BE_ZERO = (
    *("lost_posts", "posts_twice", "lost_likes", "wrong_counts", "left_checking", "refused"),
)


class MemberThread(threading.Thread):
    """Posts and likes, and repeats each request with the same key until it is acknowledged."""

    def __init__(
        self, client: Client, member: str, photos: list[bytes], stop: threading.Event
    ) -> None:
        super().__init__()
        self.client, self.member, self.photos, self.stop = client, member, photos, stop
        self.posts: dict[str, int] = {}
        self.likes: set[int] = set()
        self.retries = 0
        self.refusals: list[str] = []

    def run(self) -> None:
        for number in range(POSTS_PER_MEMBER):
            if self.stop.is_set():
                return
            key, photo = f"{self.member}-{number}", self.photos[number % len(self.photos)]
            post = self.repeat(
                lambda key=key, photo=photo: self.client.post(key, photo, f"kill {key}"), 201
            )
            if post is None:
                continue
            self.posts[key] = post["id"]
            path = f"{API}/posts/{post['id']}/like"
            like = self.repeat(lambda path=path: self.client.request("PUT", path), 200, retry=409)
            if like is not None:
                self.likes.add(post["id"])

    def repeat(self, send: Callable[[], Response], expected: int, retry: int = 0) -> Any | None:
        """Send until the response has the expected status; status `retry` means: not yet."""
        while not self.stop.is_set():
            response = send()
            if response.status == expected:
                return response.json
            if response.status not in (0, 500, 503, retry):
                self.refusals.append(f"{response.status} {response.body[:200]!r}")
                return None
            self.retries += 1
            time.sleep(0.05)
        return None


def kill_at_random(site: Site, members: list[MemberThread], kills: int, seed: int) -> Counter[str]:
    """Kill and restart processes while a few members are active; gives the kills by command."""
    chance, killed = random.Random(seed), Counter[str]()
    site.start("serve")
    site.start("worker")
    for member in members[:MEMBERS_AT_A_TIME]:
        member.start()
    waiting = members[MEMBERS_AT_A_TIME:]
    while sum(killed.values()) < kills:
        time.sleep(chance.uniform(*PAUSE_SECONDS))
        command = chance.choice(("serve", "worker"))
        site.kill(command)
        killed[command] += 1
        site.start(command)
        if waiting and sum(member.is_alive() for member in members) < MEMBERS_AT_A_TIME:
            waiting.pop().start()
    return killed


def wait_for_reviews(site: Site) -> None:
    """Wait until no post is in state `checking`, or until the timeout."""
    deadline = time.time() + REVIEW_TIMEOUT_SECONDS
    checking = select(func.count()).where(Post.state == PostState.CHECKING)
    while time.time() < deadline:
        with site.resources() as res, res.db.read() as db:
            if not db.scalar(checking):
                return
        time.sleep(1)


def compare_with_database(db: Session, members: Sequence[MemberThread]) -> dict[str, int]:
    """What was acknowledged, and how the database differs from it."""
    stored = {
        key: (post_id, state)
        for key, post_id, state in db.execute(select(Post.key, Post.id, Post.state))
    }
    repeated = select(Post.key).group_by(Post.member_id, Post.key).having(func.count() > 1)
    liked = set(db.scalars(select(Like.post_id)))
    likes = select(func.count()).where(Like.post_id == Post.id).scalar_subquery()
    acknowledged = {key: post_id for member in members for key, post_id in member.posts.items()}
    return {
        "acknowledged_posts": len(acknowledged),
        "acknowledged_likes": sum(len(member.likes) for member in members),
        "sent_again": sum(member.retries for member in members),
        "events": db.scalar(select(func.count()).select_from(Event)) or 0,
        "lost_posts": sum(
            stored.get(key, (0, ""))[0] != post_id for key, post_id in acknowledged.items()
        ),
        "posts_twice": len(db.scalars(repeated).all()),
        "lost_likes": sum(post_id not in liked for member in members for post_id in member.likes),
        "wrong_counts": db.scalar(select(func.count()).where(Post.likes != likes)) or 0,
        "left_checking": sum(state == PostState.CHECKING for _, state in stored.values()),
        "refused": sum(len(member.refusals) for member in members),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS_REPORTED)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    photos, stop = generate_photos(200), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with site.resources() as res:
            names_and_tokens = add_members(res, 12)
        members = [
            MemberThread(Client(site, token), name, photos, stop)
            for name, token in names_and_tokens
        ]
        try:
            killed = kill_at_random(site, members, options.kills, options.seed)
            time.sleep(3)
            stop.set()
            for member in members:
                if member.ident:
                    member.join()
            wait_for_reviews(site)
        finally:
            site.stop()
        with site.resources() as res, res.db.read() as db:
            results = {"kills": dict(killed), **compare_with_database(db, members)}
    print_figures(results)
    for member in members:
        for refusal in member.refusals[:2]:
            print(f"  {refusal}")
    met = all(results[name] == 0 for name in MUST_BE_ZERO)
    print_target(met, f"{', '.join(MUST_BE_ZERO)}: all 0")
    if options.kills >= KILLS_REPORTED:
        write_results("animals_kill", results)


if __name__ == "__main__":
    main()
