"""The backfill of image features: with one worker process, then with two.

    python bench/animals_embed.py [--photos 2000]

The pictures are posted beforehand; `animals-embed` is enqueued, and the clock runs from its start to its end. A second worker should nearly double it on two cores.
"""

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import delete

from bench.lib.animals_site import Site, add_members, generate_photo
from bench.lib.reporting import RESULTS, print_target
from tanuki.animals import post_states, posts
from tanuki.animals.images import photo_files
from tanuki.animals.posts import Draft
from tanuki.animals.tables import ImageFeatures
from tanuki.animals.vision import backfill, embeddings
from tanuki.platform import accounts
from tanuki.platform.resources import Resources

LEAST = 1.7  # times as fast with the second worker
SECONDS = 3_600.0


def post_all(res: Resources, count: int) -> None:
    """So many published posts, with different pictures."""
    [(name, _)] = add_members(res, 1)
    with res.db.read() as db:
        who = accounts.find_person(db, name)
    assert who is not None
    with ThreadPoolExecutor(2) as pool:
        for n, accepted in enumerate(
            pool.map(lambda n: photo_files.clean_upload(res, generate_photo(n)), range(count))
        ):
            now = datetime.now(UTC)
            photo_files.store_files(res.objects, accepted)
            with res.db.write() as db:
                made = posts.create_post(
                    db,
                    res,
                    who,
                    posts.NewPost(Draft(f"cat {n}", "", (), "cat"), accepted, f"b-{n}", limit=None),
                    now=now,
                )
                post_states.publish_post(db, made, now=now)


def embedded(res: Resources, run_id: str) -> float:
    """Seconds of one run over everything."""
    with res.db.write() as db:
        db.execute(delete(ImageFeatures))
        res.jobs.enqueue(db, backfill.EMBED, run_id, None)
    while res.jobs.load_run(run_id).status == "queued":
        time.sleep(0.02)
    began = time.perf_counter()
    run = res.jobs.wait_for_run(run_id, seconds=SECONDS)
    assert run.status == "done", run
    return time.perf_counter() - began


def warm(site: Site, workers: int) -> None:
    """Start a worker and wait until it is there; the checks that were enqueued with the posts are done by the first."""
    site.begin("worker")
    site.processes[f"worker-{workers}"] = site.processes.pop("worker")
    with site.resources() as res:
        while any(res.jobs.count_queued_runs().values()):
            time.sleep(0.2)
    time.sleep(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=2000)
    options = parser.parse_args()
    speed = {}
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with site.resources() as res:
            post_all(res, options.photos)
            assert embeddings.image_encoder(res).version
        try:
            for workers in (1, 2):
                warm(site, workers)
                with site.resources() as res:
                    embedded(res, f"warm-{workers}")  # every worker has the model in memory then
                    speed[workers] = options.photos / embedded(res, f"timed-{workers}")
                print(f"  {workers} workers {speed[workers]:8.1f} pictures/s")
        finally:
            site.end()
    ratio = speed[2] / speed[1]
    print_target(
        ratio >= LEAST,
        f"{ratio:.2f} times as fast with a second worker (at least {LEAST}),"
        f" {os.cpu_count()} cores",
    )
    if options.photos >= 2000:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "animals_embed.json").write_text(
            json.dumps({"per_s": speed, "ratio": ratio}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
