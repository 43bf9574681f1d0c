"""Latency of similarity searches while a training builds indexes, their filters and freshness.

    python -m bench.animals_similarity [--posts 20000] [--seconds 20]

A search is timed whole, with its transaction, in this process. First on an idle machine, then while
another process builds one index of the same photos after the other, as a worker does in a training.
Targets: p99 at most 1.5 × that without training; recall at least 0.95 with a filter that one post
in a hundred passes; each change of a post is in the very next result.
"""

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bench.lib.reporting import print_target, write_results
from bench.lib.similarity_site import (
    SimilaritySite,
    build_live_index,
    measure_changes,
    measure_filter,
    open_similarity_site,
)
from bench.lib.timing import quantile, time_call
from bench.lib.vectors import generate_image_like
from tanuki.app import bootstrap
from tanuki.app.processes import WORKER_NICENESS
from tanuki.settings import Settings

MAX_P99_RATIO = 1.5
MIN_FILTERED_RECALL = 0.95
WARM_UP_SECONDS = 1.0
REPORTED_POSTS = 20_000  # results of a smaller run are not written


def time_searches(site: SimilaritySite, proceed: Callable[[float], bool]) -> dict[str, float]:
    """Milliseconds of searches, one after the other, while `proceed(seconds since the start)`."""
    chance, start = np.random.default_rng(5), time.perf_counter()
    times_ms = []
    while proceed(time.perf_counter() - start):
        post_id = int(chance.integers(1, len(site.vectors) + 1))
        _, seconds = time_call(lambda post_id=post_id: site.search(post_id))
        times_ms.append(1_000 * seconds)
    return {
        "searches": len(times_ms),
        "p50_ms": quantile(times_ms, 0.5),
        "p99_ms": quantile(times_ms, 0.99),
    }


def measure_during_training(site: SimilaritySite, seconds: float) -> dict[str, Any]:
    """Searches on an idle machine, then while another process builds live indexes."""
    time_searches(site, lambda elapsed: elapsed < WARM_UP_SECONDS)
    idle = time_searches(site, lambda elapsed: elapsed < seconds)
    ended = threading.Event()
    build_seconds: list[float] = []
    home = site.res.settings.home

    def train(pool: ProcessPoolExecutor) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            version = str(len(build_seconds) + 2)
            build_seconds.append(pool.submit(build_as_worker, home, version).result())
            site.res.models.refresh()
        ended.set()

    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=os.nice, initargs=(WORKER_NICENESS,)
    ) as pool:
        pool.submit(int).result()  # starts the process
        thread = threading.Thread(target=train, args=(pool,))
        thread.start()
        training = time_searches(site, lambda _: not ended.is_set())
        thread.join()
    return {
        "idle": idle,
        "training": training,
        "build_s": statistics.median(build_seconds),
        "builds": len(build_seconds),
        "p99_ratio": training["p99_ms"] / idle["p99_ms"],
    }


def build_as_worker(home: Path, version: str) -> float:
    """Build a live index of a home folder; gives the seconds."""
    res = bootstrap.create_resources(Settings(home=home))
    try:
        return build_live_index(res, version)
    finally:
        bootstrap.close_resources(res)


def print_results(results: dict[str, Any]) -> None:
    for name in ("idle", "training"):
        latency = results[name]
        print(
            f"{name:10}{latency['searches']:6} searches"
            f"  p50 {latency['p50_ms']:6.1f} ms  p99 {latency['p99_ms']:6.1f} ms"
        )
    ratio, recall = results["p99_ratio"], results["filtered_recall"]
    print_target(
        ratio <= MAX_P99_RATIO,
        f"p99 {ratio:.2f} × beside {results['builds']} builds of {results['build_s']:.1f} s"
        f" (at most {MAX_P99_RATIO})",
    )
    print_target(
        recall >= MIN_FILTERED_RECALL,
        f"1 % filter: recall {recall:.3f} (at least {MIN_FILTERED_RECALL}),"
        f" {results['filtered_ms']:.1f} ms",
    )
    print_target(
        results["reflected"] == results["changes"],
        f"{results['reflected']} of {results['changes']} changes in the next result",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=REPORTED_POSTS)
    parser.add_argument("--seconds", type=float, default=20.0, help="Of searches when idle.")
    options = parser.parse_args()
    with open_similarity_site(generate_image_like(options.posts)) as site:
        results = {
            "posts": options.posts,
            **measure_during_training(site, options.seconds),
            **measure_filter(site),
            **measure_changes(site),
        }
    print_results(results)
    if options.posts >= REPORTED_POSTS:
        write_results("animals_similarity", results)


if __name__ == "__main__":
    main()
