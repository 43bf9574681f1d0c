"""Sustained load: 20 posts a second for five minutes with readers beside, on one machine.

    python -m bench.animals_load [--seconds 300] [--rate 20] [--readers 10] [--postgres]

`tanuki serve` and `tanuki worker` are processes of their own. Posts (JPEGs of 640 × 480) and reads
come at a fixed rate, however long the answers take. Targets: nothing lost, found within a second,
and readers hardly slower than on an idle site.
"""

import argparse
import os
import random
import tempfile
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from bench.lib.animals_site import API, Client, Site, add_members, generate_photos
from bench.lib.engines import start_postgres
from bench.lib.reporting import print_figures, print_target, write_results
from bench.lib.timing import call_at_rate, quantile
from tanuki.animals.tables import Post, PostState
from tanuki.animals.vision import registration

PATHS = (
    "/animals",
    "/animals/newest",
    f"{API}/feed",
    f"{API}/posts?limit=24",
    f"{API}/search?q=cat",
    "/animals/posts/{post}",
    "/animals/search?q=bench",
)
NEWEST_FIRST = f"{API}/search?q=%E3%81%AD%E3%81%93&sort=newest&limit=60"
LIMITS = {"lost": 0, "found_p99_s": 1.0, "readers_p99_ratio": 1.5}
POSTS_PER_TOKEN = 50  # below the hourly limit
IDLE_SECONDS = 30.0
REPORTED = (300, 20)  # seconds and posts/s; results of a smaller run are not written


@dataclass
class Sent:
    """Posts that were sent: when each was acknowledged, by id, and the seconds that it took."""

    acknowledged: dict[int, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    refused: int = 0


def read_pages(site: Site, rate: float, seconds: float) -> list[float]:
    """Read pages at a rate; gives the seconds of each."""
    durations: list[float] = []
    local = threading.local()

    def read_page(number: int) -> None:
        client = local.__dict__.setdefault("client", Client(site))
        path = PATHS[number % len(PATHS)].format(post=random.randint(1, 40))
        response = client.request("GET", path)
        if response.status != 200:
            raise SystemExit(f"{path} answered {response.status}: {response.body[:200]!r}")
        durations.append(response.seconds)

    call_at_rate(rate, seconds, read_page, threads=8)
    return durations


def send_posts(
    site: Site, rate: float, seconds: float, tokens: list[str], photos: list[bytes]
) -> Sent:
    """Post photos at a rate, the members in turn."""
    sent = Sent()
    clients = [(Client(site, token), threading.Lock()) for token in tokens]

    def send_post(number: int) -> None:
        client, lock = clients[number % len(clients)]
        with lock:
            photo = photos[number % len(photos)]
            response = client.post(f"load-{number}", photo, f"cat number {number} ねこ")
        if response.status != 201:
            sent.refused += 1
            return
        sent.acknowledged[response.json["id"]] = time.perf_counter()
        sent.seconds.append(response.seconds)

    call_at_rate(rate, seconds, send_post, threads=16)
    return sent


def poll_search(site: Site, stop: threading.Event, first_hits: dict[int, float]) -> None:
    """Note when each post is first in the search's results, newest first."""
    client = Client(site)
    while not stop.is_set():
        response = client.request("GET", NEWEST_FIRST)
        now = time.perf_counter()
        for item in response.json["items"] if response.status == 200 else []:
            first_hits.setdefault(item["post"]["id"], now)
        stop.wait(0.1)


def measure(home: Path, database: str, options: argparse.Namespace) -> dict[str, float]:
    """The whole load on a fresh home folder."""
    site, photos = (
        Site(home, database),
        generate_photos(min(2_000, int(options.rate * options.seconds))),
    )
    with site.resources() as res:
        count = int(options.rate * options.seconds / POSTS_PER_TOKEN) + 2
        tokens = [token for _, token in add_members(res, count)]
        registration.ensure_live_version(res, datetime.now(UTC))  # as on a site that is not new
    try:
        site.start("serve")
        site.start("worker")
        warm_up = send_posts(site, 10, 5, tokens[-2:], photos[:60])
        time.sleep(3)
        idle = read_pages(site, options.readers, min(IDLE_SECONDS, options.seconds))
        stop, first_hits, busy = threading.Event(), {}, []
        poller = threading.Thread(target=poll_search, args=(site, stop, first_hits))
        poller.start()
        readers = threading.Thread(
            target=lambda: busy.extend(read_pages(site, options.readers, options.seconds))
        )
        readers.start()
        sent = send_posts(site, options.rate, options.seconds, tokens[:-2], photos)
        readers.join()
        deadline = time.time() + 30
        while time.time() < deadline and not sent.acknowledged.keys() <= first_hits.keys():
            time.sleep(0.5)
        stop.set()
        poller.join()
    finally:
        site.stop()
    with site.resources() as res, res.db.read() as db:
        states = dict(db.execute(select(Post.state, func.count()).group_by(Post.state)).all())
    waits = [
        first_hits.get(post_id, float("inf")) - moment
        for post_id, moment in sent.acknowledged.items()
    ]
    return {
        "posts": len(sent.acknowledged),
        "refused": sent.refused,
        "lost": len(sent.acknowledged) + len(warm_up.acknowledged) - sum(states.values()),
        "unpublished": sum(states.values()) - states.get(PostState.PUBLISHED, 0),
        "post_p50_s": quantile(sent.seconds, 0.5),
        "post_p99_s": quantile(sent.seconds, 0.99),
        "found_p50_s": max(0.0, quantile(waits, 0.5)),
        "found_p99_s": max(0.0, quantile(waits, 0.99)),
        "idle_p50_s": quantile(idle, 0.5),
        "idle_p99_s": quantile(idle, 0.99),
        "busy_p50_s": quantile(busy, 0.5),
        "busy_p99_s": quantile(busy, 0.99),
        "readers_p99_ratio": quantile(busy, 0.99) / quantile(idle, 0.99),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--rate", type=float, default=20, help="posts a second")
    parser.add_argument("--readers", type=float, default=10, help="pages a second")
    parser.add_argument(
        "--postgres", action="store_true", help="on a PostgreSQL of its own instead of SQLite"
    )
    options = parser.parse_args()
    engine = start_postgres() if options.postgres else nullcontext("")
    with tempfile.TemporaryDirectory() as folder, engine as database:
        home = Path(folder) / "home"
        home.mkdir()
        figures = measure(home, database, options)
    name = "PostgreSQL" if options.postgres else "SQLite"
    print(
        f"{os.cpu_count()} cores, {name}, {options.rate:.0f} posts/s for {options.seconds:.0f} s, "
        f"{options.readers:.0f} pages/s beside"
    )
    print_figures(figures)
    for figure, limit in LIMITS.items():
        value = figures[figure]
        print_target(value <= limit, f"{figure} {value:.3f} (at most {limit})")
    if (options.seconds, options.rate) >= REPORTED:
        file = "animals_load_postgres" if options.postgres else "animals_load"
        write_results(file, {"limits": LIMITS, **figures})


if __name__ == "__main__":
    main()
