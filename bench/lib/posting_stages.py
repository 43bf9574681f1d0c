"""Posting through the whole site beside the ceiling that its single stages allow.

Every core runs the stages of one post one after the other, because cores that all work are slower
than one. The ceiling is what the cores could do if nothing but these stages cost anything.
"""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

from dbos import DBOS
from fastapi import FastAPI, File, Form, UploadFile
from sqlalchemy import func, select
from starlette.testclient import TestClient

from bench.lib.animals_site import Client, Site, add_members
from bench.lib.reporting import print_target, write_results
from bench.lib.timing import run_threads, time_call
from tanuki.animals import post_review, posts
from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import CleanPhoto
from tanuki.animals.posts import Draft, NewPost
from tanuki.animals.tables import Post, PostState
from tanuki.platform import accounts, jobs
from tanuki.platform.accounts import Person
from tanuki.platform.durable_steps import dbos_step
from tanuki.platform.jobs import RunStatus
from tanuki.platform.resources import Resources

TARGET_SHARE = 0.60
CLIENTS = 8
PHOTOS_PER_STAGE = 60
WARM_UP_POSTS = 6
EMPTY_RUNS = 200
POSTS_PER_TOKEN = 40  # below the hourly limit
POLL_SECONDS = 0.05
REPORTED_POSTS = 400  # results of a smaller run are not written
KEY_PREFIX = "site-"  # of the posts that count
Measurement = Callable[[Resources, list[bytes]], dict[str, float]]
"""Median seconds of one post by stage."""


# ---- single stages -------------------------------------------------------------------------------


def measure_stages(photos: list[bytes], extra: Sequence[Measurement] = ()) -> dict[str, float]:
    """Seconds of each stage of one post while every core does the same.

    `extra` measures stages beside those of posting with the image model off.
    """
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(measure_in_process, photos, extra) for _ in range(cores)]
        results = [future.result() for future in futures]
    return {stage: statistics.mean(result[stage] for result in results) for stage in results[0]}


def measure_in_process(photos: list[bytes], extra: Sequence[Measurement]) -> dict[str, float]:
    """The stages in this process, on a home folder of its own."""
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder)).resources() as res:
        seconds = {**measure_posting(res, photos), **measure_empty_run()}
        for measure in extra:
            seconds |= measure(res, photos)
        return seconds


def measure_posting(res: Resources, photos: list[bytes]) -> dict[str, float]:
    """From the upload to the checks of the worker."""
    [(name, _)] = add_members(res, 1)
    with res.db.read() as db:
        person = accounts.find_person(db, name)
    assert person is not None
    client = TestClient(create_upload_app())
    photo_files.clean_upload(res, photos[0])  # loads what is loaded once
    results = [
        measure_one_post(res, client, person, number, photo) for number, photo in enumerate(photos)
    ]
    return {stage: statistics.median(result[stage] for result in results) for stage in results[0]}


def measure_one_post(
    res: Resources, client: TestClient, person: Person, number: int, upload: bytes
) -> dict[str, float]:
    now = datetime.now(UTC)
    form = {"files": {"photo": ("a.jpg", upload, "image/jpeg")}, "data": {"title": "cat"}}
    _, upload_s = time_call(lambda: client.post("/", **form))
    photo, picture_s = time_call(lambda: photo_files.clean_upload(res, upload))
    _, files_s = time_call(lambda: photo_files.store_files(res.objects, photo))
    post_id, records_s = time_call(lambda: create_post(res, person, number, photo))
    _, check_s = time_call(
        lambda: res.db.write_batched(lambda db: post_review.run_checks(db, post_id, now=now))
    )
    return {
        "upload": upload_s,
        "picture": picture_s,
        "files": files_s,
        "records": records_s,
        "check": check_s,
    }


def create_post(res: Resources, person: Person, number: int, photo: CleanPhoto) -> int:
    draft = Draft(f"cat number {number} ねこ", "For a bench.", (), "cat")
    new_post = NewPost(draft, photo, f"stage-{number}", limit=None)
    return res.db.write_batched(
        lambda db: posts.create_post(db, res, person, new_post, now=datetime.now(UTC)).id
    )


def create_upload_app() -> FastAPI:
    """An application that only takes the upload."""
    app = FastAPI()

    @app.post("/")
    def count_bytes(
        photo: Annotated[UploadFile, File()], title: Annotated[str, Form()]
    ) -> dict[str, int]:
        return {"bytes": len(photo.file.read())}

    return app


@DBOS.workflow(name="bench-run")
def run_empty_workflow() -> None:
    """As the review of a post, with nothing to do."""
    run_empty_step()


@dbos_step("bench_step", attempts=3)
def run_empty_step() -> None:
    pass


def measure_empty_run() -> dict[str, float]:
    """Processor seconds of an empty durable run, from its queue to its end, in an idle worker."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Site(Path(folder)).resources() as res,
        jobs.run_worker(res.db, "bench"),
    ):
        work_off_empty_runs(res, "warm")
        started = time.process_time()
        work_off_empty_runs(res, "timed")
        return {"durable_run": (time.process_time() - started) / EMPTY_RUNS}


def work_off_empty_runs(res: Resources, prefix: str) -> None:
    run_ids = [f"{prefix}-{number}" for number in range(EMPTY_RUNS)]
    with res.db.write() as db:
        for run_id in run_ids:
            res.jobs.enqueue(db, "bench-run", run_id, queue=jobs.PROMPT_QUEUE)
    while res.jobs.load_run_statuses(run_ids[-1:]).get(run_ids[-1]) != RunStatus.DONE:
        time.sleep(0.1)


# ---- the whole site ------------------------------------------------------------------------------


@contextmanager
def start_site(
    post_count: int, photos: list[bytes], prepare: Callable[[Resources], object] = lambda _: None
) -> Iterator[tuple[Site, list[str]]]:
    """A site with web server and worker that has answered some posts; gives tokens of members."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with site.resources() as res:
            count = post_count // POSTS_PER_TOKEN + CLIENTS + 1
            first, *tokens = [token for _, token in add_members(res, count)]
            prepare(res)
        try:
            site.start("serve")
            site.start("worker")
            client = Client(site, first)
            for number in range(WARM_UP_POSTS):
                client.post(f"warm-{number}", photos[number], "warm")
            time.sleep(2)
            yield site, tokens
        finally:
            site.stop()


def post_through_site(site: Site, tokens: list[str], photos: list[bytes]) -> float:
    """Seconds from the first post to the last publication; clients post as fast as they can."""
    lock, numbers, refusals = threading.Lock(), iter(range(len(photos))), list[bytes]()

    def post_photos(own_tokens: list[str]) -> None:
        clients = [Client(site, token) for token in own_tokens]
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            response = clients[number % len(clients)].post(
                f"{KEY_PREFIX}{number}", photos[number], f"cat number {number} ねこ"
            )
            if response.status != 201:
                refusals.append(response.body[:200])

    started = time.perf_counter()
    run_threads(
        [
            lambda own_tokens=tokens[first::CLIENTS]: post_photos(own_tokens)
            for first in range(CLIENTS)
        ]
    )
    if refusals:
        raise SystemExit(f"{len(refusals)} posts were refused: {refusals[0]!r}")
    with site.resources() as res:
        while count_unpublished(res):
            time.sleep(POLL_SECONDS)
        return time.perf_counter() - started


def count_unpublished(res: Resources) -> int:
    unpublished = (Post.key.startswith(KEY_PREFIX), Post.state != PostState.PUBLISHED)
    with res.db.read() as db:
        return db.scalar(select(func.count()).select_from(Post).where(*unpublished)) or 0


def report_share(name: str, stages: dict[str, float], posts: int, seconds: float) -> None:
    """Print and write which share of the ceiling the site reached.

    `stages` are seconds of one post by stage; the site published `posts` in `seconds`.
    """
    cores = os.cpu_count() or 1
    ceiling, rate = cores / sum(stages.values()), posts / seconds
    share = rate / ceiling
    for stage, stage_seconds in stages.items():
        print(f"  {stage:16} {stage_seconds * 1000:8.1f} ms")
    print(f"  ceiling of {cores} cores {ceiling:7.1f} posts/s")
    print(f"  the site           {rate:6.1f} posts/s")
    print_target(share >= TARGET_SHARE, f"{share:.2f} of the ceiling (at least {TARGET_SHARE})")
    if posts >= REPORTED_POSTS:
        results = {
            "stages_s": stages,
            "ceiling_per_s": ceiling,
            "site_per_s": rate,
            "share": share,
        }
        write_results(name, results)
