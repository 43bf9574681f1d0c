"""Posting through the whole site beside the ceiling that its single stages allow: an upload by itself, picture, files, records, check, an empty durable run.

    python bench/animals_posting.py [--posts 400]

Each stage is timed by itself, one after the other, in as many processes as there are cores, because cores that all work are slower than one; the ceiling is what they could do if nothing but these stages cost anything. The site is `tanuki serve` and `tanuki worker`;
members post as fast as they are answered, and the clock stops when the last post is published.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

from dbos import DBOS
from fastapi import FastAPI, File, Form, UploadFile
from sqlalchemy import func, select
from starlette.testclient import TestClient

from bench.lib.animals_site import RESULTS, Program, Site, people, pictures, verdict
from tanuki.animals import post_review, posts
from tanuki.animals.images import photo_files
from tanuki.animals.posts import Draft
from tanuki.animals.tables import Post
from tanuki.platform import accounts, jobs
from tanuki.platform.durable_steps import durable
from tanuki.platform.resources import Resources

LEAST = 0.60
CLIENTS = 8
STAGED = 60  # photos that the stages are timed with
RUNS = 200


def timed(do: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    made = do()
    return made, time.perf_counter() - began


def stages(
    photos: list[bytes], *more: Callable[[Resources, list[bytes]], dict[str, float]]
) -> dict[str, float]:
    """Median seconds of each stage of one post while every core does the same; `more` are stages beside those of posting with eyes shut."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        each = [one.result() for one in [pool.submit(staged, photos, more) for _ in range(cores)]]
    return {stage: statistics.mean(one[stage] for one in each) for stage in each[0]}


def staged(
    photos: list[bytes], more: Sequence[Callable[[Resources, list[bytes]], dict[str, float]]]
) -> dict[str, float]:
    """The stages in this process, on a home folder of its own."""
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder)).resources() as res:
        who = people(res, 1)[0][0]
        return {
            **posted(res, who, photos),
            **run(),
            **{stage: took for each in more for stage, took in each(res, photos).items()},
        }


def posted(res: Resources, name: str, photos: list[bytes]) -> dict[str, float]:
    """From the upload to what the worker decides."""
    took: dict[str, list[float]] = {
        "upload": [],
        "picture": [],
        "files": [],
        "records": [],
        "check": [],
    }
    with res.db.read() as db:
        who = accounts.find_person(db, name)
    assert who is not None
    client = TestClient(bare())
    photo_files.clean_upload(res, photos[0])
    for n, photo in enumerate(photos):
        now = datetime.now(UTC)
        took["upload"].append(
            timed(
                lambda p=photo: client.post(
                    "/", files={"photo": ("a.jpg", p, "image/jpeg")}, data={"title": "cat"}
                )
            )[1]
        )
        accepted, seconds = timed(lambda p=photo: photo_files.clean_upload(res, p))
        took["picture"].append(seconds)
        took["files"].append(timed(lambda a=accepted: photo_files.store_files(res.objects, a))[1])
        draft = Draft(f"cat number {n} ねこ", "For a bench.", (), "cat")

        def keep(
            db: Any, a: Any = accepted, n: int = n, d: Draft = draft, now: datetime = now
        ) -> int:
            return posts.create_post(db, res, who, posts.NewPost(d, a, f"stage-{n}", limit=None), now=now).id

        made, seconds = timed(lambda do=keep: res.db.write_batched(do))
        took["records"].append(seconds)
        took["check"].append(
            timed(
                lambda id_=made, now=now: res.db.write_batched(
                    lambda db: post_review.run_checks(db, id_, now=now)
                )
            )[1]
        )
    return {stage: statistics.median(each) for stage, each in took.items()}


@DBOS.workflow(name="bench-run")
def empty_run() -> None:
    """As the run of a post, with nothing to do."""
    empty_step()


@durable("bench_step", attempts=3)
def empty_step() -> None:
    """Nothing."""


def run() -> dict[str, float]:
    """Seconds of the processor that a durable run takes from its queue to its end, in a worker with nothing else to do."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Site(Path(folder)).resources() as res,
        jobs.run_worker(res.db, "bench"),
    ):
        for part in ("warm", "timed"):
            ids = [f"{part}-{n}" for n in range(RUNS)]
            with res.db.write() as db:
                for each in ids:
                    res.jobs.enqueue(db, "bench-run", each, queue=jobs.PROMPT_QUEUE)
            began = time.process_time()
            while any(status != "done" for status in res.jobs.load_run_statuses(ids[-1:]).values()):
                time.sleep(0.1)
            took = time.process_time() - began
    return {"run": took / RUNS}


def bare() -> FastAPI:
    """An application that only takes the upload."""
    app = FastAPI()

    @app.post("/")
    def take(photo: Annotated[UploadFile, File()], title: Annotated[str, Form()]) -> dict[str, int]:
        return {"bytes": len(photo.file.read())}

    return app


def through_the_site(site: Site, tokens: list[str], photos: list[bytes]) -> float:
    """Posts a second, from the first sent to the last published."""
    lock, number, wrong = threading.Lock(), [0], []

    def run(token_numbers: list[str]) -> None:
        programs = [Program(site, token) for token in token_numbers]
        while True:
            with lock:
                n = number[0]
                number[0] += 1
            if n >= len(photos):
                return
            answer = programs[n % len(programs)].post(
                f"site-{n}", photos[n], f"cat number {n} ねこ"
            )
            if answer.status != 201:
                wrong.append(answer.body[:200])

    threads = [threading.Thread(target=run, args=(tokens[n::CLIENTS],)) for n in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(f"{len(wrong)} posts were refused: {wrong[0]!r}")
    with site.resources() as res:
        while True:
            with res.db.read() as db:
                left = (
                    db.scalar(
                        select(func.count())
                        .select_from(Post)
                        .where(Post.key.startswith("site-"), Post.state != "published")
                    )
                    or 0
                )
            if not left:
                return len(photos) / (time.perf_counter() - began)
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=400)
    options = parser.parse_args()
    photos = pictures(options.posts + STAGED)
    each = stages(photos[:STAGED])
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with site.resources() as res:
            known = people(res, options.posts // 40 + CLIENTS)
        try:
            site.begin("serve")
            site.begin("worker")
            warm = Program(site, known[1][1])
            for n in range(6):
                warm.post(f"warm-{n}", photos[n], "warm")
            time.sleep(2)
            reached = through_the_site(site, [token for _, token in known[2:]], photos[STAGED:])
        finally:
            site.end()
    report(each, reached, RESULTS / "animals_posting.json" if options.posts >= 400 else None)


def report(each: dict[str, float], reached: float, into: Path | None) -> None:
    """Print how much of what its single stages allow the site reached; `each` in seconds a post, `reached` in posts a second."""
    cores = os.cpu_count() or 1
    ceiling = cores / sum(each.values())
    for stage, seconds in each.items():
        print(f"  {stage:10} {seconds * 1000:8.1f} ms")
    print(f"  ceiling of {cores} cores {ceiling:8.1f} posts/s")
    print(f"  the site         {reached:8.1f} posts/s")
    print(
        f"{verdict(reached >= LEAST * ceiling)} {reached / ceiling:.2f} of the ceiling (at least {LEAST})"
    )
    if into is not None:
        into.parent.mkdir(exist_ok=True)
        found = {
            "stages_s": each,
            "ceiling_per_s": ceiling,
            "site_per_s": reached,
            "share": reached / ceiling,
        }
        into.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
