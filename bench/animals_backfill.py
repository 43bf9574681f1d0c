"""Throughput of the embedding backfill with one worker process and with two.

    python -m bench.animals_backfill [--photos 2000]

The pictures are posted beforehand. The clock runs from the start to the end of one backfill, with
the image model in every worker's memory. Target: the second worker nearly doubles the throughput.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import delete

from bench.lib.animals_site import Site, add_members, generate_photo
from bench.lib.reporting import print_target, write_results
from tanuki.animals import post_states, posts
from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import CleanPhoto
from tanuki.animals.posts import Draft, NewPost
from tanuki.animals.tables import ImageFeatures
from tanuki.animals.vision import backfill, embeddings
from tanuki.platform import accounts
from tanuki.platform.accounts import Person
from tanuki.platform.jobs import RunStatus
from tanuki.platform.resources import Resources

MIN_SPEEDUP = 1.7  # by the second worker
BACKFILL_TIMEOUT_SECONDS = 3_600.0
WORKER_START_SECONDS = 3.0
REPORTED_PHOTOS = 2_000  # results of a smaller run are not written


def publish_photos(res: Resources, count: int) -> None:
    """So many published posts with different photos."""
    [(name, _)] = add_members(res, 1)
    with res.db.read() as db:
        owner = accounts.find_person(db, name)
    assert owner is not None

    def clean_photo(number: int) -> CleanPhoto:
        return photo_files.clean_upload(res, generate_photo(number))

    with ThreadPoolExecutor(2) as pool:
        for number, photo in enumerate(pool.map(clean_photo, range(count))):
            photo_files.store_files(res.objects, photo)
            publish_photo(res, owner, photo, number)


def publish_photo(res: Resources, owner: Person, photo: CleanPhoto, number: int) -> None:
    now, draft = datetime.now(UTC), Draft(f"cat {number}", category="cat")
    new_post = NewPost(draft, photo, f"backfill-{number}", limit=None)
    with res.db.write() as db:
        post = posts.create_post(db, res, owner, new_post, now=now)
        post_states.publish_post(db, post, now=now)


def add_worker(site: Site, number: int) -> None:
    """Start one more worker, and wait until all runs in the queue, such as reviews, have ended."""
    site.start("worker")
    site.processes[f"worker-{number}"] = site.processes.pop("worker")
    with site.resources() as res:
        while any(res.jobs.count_queued_runs().values()):
            time.sleep(0.2)
    time.sleep(WORKER_START_SECONDS)


def time_backfill(res: Resources, run_id: str) -> float:
    """Seconds of a backfill of all pictures, from its start to its end."""
    with res.db.write() as db:
        db.execute(delete(ImageFeatures))
        res.jobs.enqueue(db, backfill.EMBED, run_id, None)
    while res.jobs.load_run(run_id).status == RunStatus.QUEUED:
        time.sleep(0.02)
    start = time.perf_counter()
    run = res.jobs.wait_for_run(run_id, seconds=BACKFILL_TIMEOUT_SECONDS)
    assert run.status == RunStatus.DONE, run
    return time.perf_counter() - start


def measure_throughput(site: Site, photos: int) -> dict[int, float]:
    """Pictures per second, by number of workers."""
    rates = {}
    for workers in (1, 2):
        add_worker(site, workers)
        with site.resources() as res:
            time_backfill(res, f"warm-{workers}")  # loads the model into every worker's memory
            rates[workers] = photos / time_backfill(res, f"timed-{workers}")
        print(f"  {workers} workers {rates[workers]:8.1f} pictures/s", flush=True)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=REPORTED_PHOTOS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with site.resources() as res:
            publish_photos(res, options.photos)
            assert embeddings.image_encoder(res).version  # registers the image model
        try:
            rates = measure_throughput(site, options.photos)
        finally:
            site.stop()
    ratio = rates[2] / rates[1]
    print_target(
        ratio >= MIN_SPEEDUP,
        f"{ratio:.2f} × as fast with a second worker (at least {MIN_SPEEDUP}),"
        f" {os.cpu_count()} cores",
    )
    if options.photos >= REPORTED_PHOTOS:
        write_results("animals_backfill", {"per_s": rates, "ratio": ratio})


if __name__ == "__main__":
    main()
