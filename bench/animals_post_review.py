"""Post review: posts at a steady rate while others read, and how fast a backlog is worked off.

    python -m bench.animals_post_review [--seconds 60] [--rate 20] [--backlog 500]

On SQLite and PostgreSQL, with one worker process. Measured: milliseconds until a post is accepted,
from then until it is in the search index, and what readers wait with and without posts beside them.
No post may be lost.
"""

import argparse
import io
import itertools
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from PIL import Image
from sqlalchemy import insert, select

from bench.lib.animals_rows import insert_members
from bench.lib.engines import open_resources, start_engines
from bench.lib.reporting import print_figures, write_results
from bench.lib.timing import call_at_rate, quantile, run_threads, time_call
from tanuki.animals import post_queries, post_review, posts
from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import CleanPhoto
from tanuki.animals.posts import Draft, NewPost
from tanuki.animals.search.index import PostText
from tanuki.animals.search.search import search_posts
from tanuki.animals.tables import Post, PostState
from tanuki.app import bootstrap
from tanuki.platform import jobs
from tanuki.platform.accounts import AccountGrant, Person
from tanuki.platform.resources import Resources, set_process_resources
from tanuki.settings import Settings

MEMBERS, PHOTOS, SENDERS, READERS = 50, 20, 8, 2
READ_PAUSE_SECONDS = 0.05  # between two requests of a reader
POLL_SECONDS = 0.02
MAX_IDLE_SECONDS = 20.0
FIRST_BACKLOG_NUMBER = 10_000_000
REPORTED = (60.0, 20.0, 500)  # seconds, posts/s, backlog; results of a smaller run are not written
TEXT = "柴犬 散歩 公園 昼寝 三毛猫 膝の上 puppy garden morning sleepy sunshine window friend 雪 海"
TEXT_WORDS = TEXT.split()


@dataclass(frozen=True)
class Community:
    """Members who post, and photos that are decoded already: only what follows is measured."""

    res: Resources
    people: list[Person]
    photos: list[CleanPhoto]

    def send_post(self, number: int) -> int:
        """Create a post; it is committed when its id is returned."""
        chance = random.Random(number)
        draft = Draft(
            f"word{number} {' '.join(chance.sample(TEXT_WORDS, 3))}",
            " ".join(chance.sample(TEXT_WORDS, 10)),
            tuple(chance.sample(TEXT_WORDS, 3)),
            "dog",
            "shiba",
        )
        person = self.people[number % len(self.people)]
        photo = self.photos[number % len(self.photos)]
        new_post = NewPost(draft, photo, f"{number}", limit=None)
        return self.res.db.write_batched(
            lambda db: posts.create_post(db, self.res, person, new_post, now=datetime.now(UTC)).id
        )


@dataclass
class PostTimes:
    """Seconds until posts were accepted, and from then until they were in the search index."""

    accepted: list[float] = field(default_factory=list)
    indexed: list[float] = field(default_factory=list)
    pending: dict[int, float] = field(default_factory=dict)  # by post: when it was accepted


# ---- the community -------------------------------------------------------------------------------


def create_community(res: Resources) -> Community:
    now = datetime.now(UTC)
    names = {number: f"m{number}" for number in range(1, MEMBERS + 1)}
    grant = {"role": "member", "scope": "", "granted_at": now, "granted_by": "bench"}
    with res.db.write() as db:
        insert_members(db, names, now)
        db.execute(insert(AccountGrant), [{"name": name, **grant} for name in names.values()])
    photos = [photo_files.clean_upload(res, generate_photo(number)) for number in range(PHOTOS)]
    for photo in photos:
        photo_files.store_files(res.objects, photo)
    people = [Person(name, name, frozenset({("member", None)})) for name in names.values()]
    return Community(res, people, photos)


def generate_photo(seed: int) -> bytes:
    """A JPEG of 640 × 480, another for each seed."""
    pixels = random.Random(seed).randbytes(64 * 48 * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", (64, 48), pixels).resize((640, 480)).save(file, "JPEG")
    return file.getvalue()


# ---- the worker process --------------------------------------------------------------------------


@contextmanager
def start_worker(res: Resources) -> Iterator[None]:
    """A worker process while the block lasts."""
    arguments = ["--worker", str(res.settings.home), res.db.url]
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run_worker(home: str, url: str) -> None:
    """Work in this process until its input ends."""
    settings = Settings.model_validate({"home": home, "database": url})
    res = bootstrap.create_resources(settings, upgrade=False)
    set_process_resources(res)
    with jobs.run_worker(res.db, "bench", periodic_tasks=post_review.PERIODIC_TASKS):
        print("ready", flush=True)
        sys.stdin.read()


# ---- measurements --------------------------------------------------------------------------------


def measure_backlog(community: Community, count: int) -> float:
    """Posts a second that a worker reviews when many wait; they are sent before it starts."""
    for number in range(count):
        community.send_post(FIRST_BACKLOG_NUMBER + number)
    checking = select(Post.id).where(Post.state == PostState.CHECKING).limit(1)
    with start_worker(community.res):
        started = time.perf_counter()
        while True:
            with community.res.db.read() as db:
                if db.scalar(checking) is None:
                    return count / (time.perf_counter() - started)
            time.sleep(0.05)


def measure_steady_rate(community: Community, seconds: float, rate: float) -> dict[str, float]:
    """Readers alone, then the same readers while posts come at a rate."""
    idle_seconds = min(seconds, MAX_IDLE_SECONDS)
    idle = read_during(community.res, lambda: time.sleep(idle_seconds))
    times, stop = PostTimes(), threading.Event()
    poller = threading.Thread(target=poll_index, args=(community.res, times, stop))
    poller.start()
    busy = read_during(community.res, lambda: send_at_rate(community, seconds, rate, times))
    stop.set()
    poller.join()
    return {
        "posts": len(times.accepted),
        "accept_p50_ms": 1000 * quantile(times.accepted, 0.5),
        "accept_p99_ms": 1000 * quantile(times.accepted, 0.99),
        "found_p50_ms": 1000 * quantile(times.indexed, 0.5),
        "found_p99_ms": 1000 * quantile(times.indexed, 0.99),
        "found_max_ms": 1000 * max(times.indexed),
        "read_idle_p99_ms": 1000 * quantile(idle, 0.99),
        "read_busy_p99_ms": 1000 * quantile(busy, 0.99),
    }


def send_at_rate(community: Community, seconds: float, rate: float, times: PostTimes) -> None:
    """Send posts at a rate, however long the earlier ones take."""

    def send_post(number: int) -> None:
        post_id, accept_seconds = time_call(lambda: community.send_post(number))
        times.accepted.append(accept_seconds)
        times.pending[post_id] = time.perf_counter()

    call_at_rate(rate, seconds, send_post, threads=SENDERS)


def poll_index(res: Resources, times: PostTimes, stop: threading.Event) -> None:
    """Note when each post is in the search index."""
    while times.pending or not stop.is_set():
        time.sleep(POLL_SECONDS)
        indexed = select(PostText.post_id).where(PostText.post_id.in_(list(times.pending)))
        with res.db.read() as db:
            post_ids = list(db.scalars(indexed))
        now = time.perf_counter()
        times.indexed += [now - times.pending.pop(post_id) for post_id in post_ids]


def read_during(res: Resources, work: Callable[[], None]) -> list[float]:
    """Seconds of the requests of readers while `work()` lasts."""
    seconds, stop = list[float](), threading.Event()

    def work_then_stop() -> None:
        work()
        stop.set()

    readers = [lambda: read_until(res, stop, seconds) for _ in range(READERS)]
    run_threads([work_then_stop, *readers])
    return seconds


def read_until(res: Resources, stop: threading.Event, seconds: list[float]) -> None:
    """Request a search and the newest posts in turns."""
    for number in itertools.count():
        if stop.wait(READ_PAUSE_SECONDS):
            return
        started = time.perf_counter()
        with res.db.read() as db:
            if number % 2:
                listed = post_queries.list_newest_posts(db, None).items
            else:
                hits = search_posts(db, TEXT_WORDS[number % len(TEXT_WORDS)]).posts
                post_ids = [hit.post_id for hit in hits]
                listed = post_queries.load_listed_posts(db, None, post_ids)
            post_queries.build_cards(db, None, listed)
        seconds.append(time.perf_counter() - started)


def measure_engine(url: str, options: argparse.Namespace) -> dict[str, float]:
    with open_resources(url) as res:
        community = create_community(res)
        figures = {"backlog_posts_per_s": measure_backlog(community, options.backlog)}
        with start_worker(res):
            figures |= measure_steady_rate(community, options.seconds, options.rate)
        unpublished = select(Post.id).where(Post.state != PostState.PUBLISHED).limit(1)
        with res.db.read() as db:
            assert db.scalar(unpublished) is None
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=20, help="posts a second")
    parser.add_argument("--backlog", type=int, default=500, help="posts that wait for the worker")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker(*options.worker)
        return
    results: dict[str, Any] = {"seconds": options.seconds, "posts_per_s": options.rate}
    with start_engines() as urls:
        for engine, url in urls.items():
            results[engine] = measure_engine(url, options)
            print(engine)
            print_figures(results[engine])
    sizes = (options.seconds, options.rate, options.backlog)
    if all(size >= reported for size, reported in zip(sizes, REPORTED, strict=True)):
        write_results("animals_post_review", results)


if __name__ == "__main__":
    main()
