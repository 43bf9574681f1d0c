"""SIGKILL of web server and worker at random, fifty times, while members post and like: whatever was acknowledged is there, once, and nothing stays unchecked.

python bench/animals_kill.py [--kills 50]
"""

import argparse
import json
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import func, select

from bench.lib.animals_site import API, RESULTS, Program, Site, people, pictures, verdict
from tanuki.animals.tables import Like, Post
from tanuki.platform.event_log import Event

PAUSE = (0.6, 2.5)  # seconds between a start and the next kill


class Member(threading.Thread):
    """Posts, likes and says what it saw, and sends each again with the same key until it is acknowledged."""

    def __init__(
        self, site: Site, name: str, token: str, photos: list[bytes], stop: threading.Event
    ) -> None:
        super().__init__()
        self.program, self.called, self.photos, self.stop = Program(site, token), name, photos, stop
        self.posts: dict[str, int] = {}
        self.likes: set[int] = set()
        self.events: set[str] = set()
        self.retries = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        n = 0
        while not self.stop.is_set() and n < 55:
            key, liked = f"{self.called}-{n}", None
            made = self.until(
                lambda k=key, n=n: self.program.post(
                    k, self.photos[n % len(self.photos)], f"kill {k}"
                ),
                201,
            )
            if made is not None:
                self.posts[key] = made["id"]
                liked = self.until(
                    lambda i=made["id"]: self.program.ask("PUT", f"{API}/posts/{i}/like"),
                    200,
                    unless=409,
                )
            if liked is not None:
                self.likes.add(made["id"])
            n += 1

    def until(self, ask, wanted: int, unless: int = 0):
        """Ask until it is answered as wanted. `unless`: an answer that is as good, but acknowledges nothing."""
        while not self.stop.is_set():
            answer = ask()
            if answer.status == wanted:
                return answer.json
            if answer.status == unless:
                time.sleep(0.05)
            elif answer.status not in (0, 500, 503):
                self.wrong.append(f"{answer.status} {answer.body[:200]!r}")
                return None
            self.retries += 1
            time.sleep(0.05)
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice, photos = random.Random(options.seed), pictures(200)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        site = Site(home)
        with site.resources() as res:
            known = people(res, 12)
        stop = threading.Event()
        members = [Member(site, name, token, photos, stop) for name, token in known]
        killed: Counter[str] = Counter()
        try:
            site.begin("serve")
            site.begin("worker")
            for member in members[:4]:
                member.start()
            waiting = members[4:]
            while sum(killed.values()) < options.kills:
                time.sleep(dice.uniform(*PAUSE))
                which = dice.choice(("serve", "worker"))
                site.kill(which)
                killed[which] += 1
                site.begin(which)
                running = [member for member in members if member.is_alive()]
                if len(running) < 4 and waiting:
                    waiting.pop().start()
            time.sleep(3)
            stop.set()
            for member in members:
                if member.ident:
                    member.join()
            end = time.time() + 90
            while time.time() < end:
                with site.resources() as res, res.db.read() as db:
                    stuck = db.scalar(select(func.count()).where(Post.state == "checking")) or 0
                if not stuck:
                    break
                time.sleep(1)
        finally:
            site.end()
        with site.resources() as res, res.db.read() as db:
            states = {
                key: (id_, state)
                for key, id_, state in db.execute(select(Post.key, Post.id, Post.state))
            }
            twice = len(
                db.scalars(
                    select(Post.key).group_by(Post.member_id, Post.key).having(func.count() > 1)
                ).all()
            )
            likes = set(db.scalars(select(Like.post_id)))
            counted = (
                db.scalar(
                    select(func.count())
                    .select_from(Post)
                    .where(
                        Post.likes
                        != select(func.count()).where(Like.post_id == Post.id).scalar_subquery()
                    )
                )
                or 0
            )
            events = db.scalar(select(func.count()).select_from(Event)) or 0
    acknowledged = {key: id_ for member in members for key, id_ in member.posts.items()}
    found = {
        "kills": dict(killed),
        "acknowledged_posts": len(acknowledged),
        "acknowledged_likes": sum(len(member.likes) for member in members),
        "sent_again": sum(member.retries for member in members),
        "events": events,
        "lost_posts": sum(states.get(key, (0, ""))[0] != id_ for key, id_ in acknowledged.items()),
        "posts_twice": twice,
        "lost_likes": sum(id_ not in likes for member in members for id_ in member.likes),
        "wrong_counts": counted,
        "left_checking": sum(state == "checking" for _, state in states.values()),
        "refused": sum(len(member.wrong) for member in members),
    }
    for name, value in found.items():
        print(f"  {name:20} {value}")
    for member in members:
        for wrong in member.wrong[:2]:
            print(f"  {wrong}")
    zero = ("lost_posts", "posts_twice", "lost_likes", "wrong_counts", "left_checking", "refused")
    print(f"{verdict(all(found[name] == 0 for name in zero))} {', '.join(zero)}: all 0")
    if options.kills >= 50:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "animals_kill.json").write_text(
            json.dumps(found, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
