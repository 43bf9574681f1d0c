"""Similar photos as the site finds them: latency, changes, filters, and a build at the same time.

    python -m bench.animals_similarity [--posts 20000] [--seconds 20]

Posts, pictures and their features are made from a seed and written straight into a SQLite database.
Index, filters and search are the site's own. A search is timed whole, with its transaction. Then
another process builds indexes of the same pictures, as a worker does in a training, while searches
go on: their p99 is compared with the p99 before.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, update
from sqlalchemy.orm import Session

import tanuki.app.metadata  # noqa: F401 every table
from bench.lib.vectors import generate_image_like
from tanuki.animals.similarity import dataset, delta_index
from tanuki.animals.similarity.index import INDEX_MODEL, build_index
from tanuki.animals.similarity.search import SimilarFilter, SimilaritySearch
from tanuki.animals.similarity.subprocess_call import call_in_subprocess
from tanuki.animals.tables import ImageFeatures, Member, Photo, Post
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.animals.vision.nearest_neighbours import find_nearest
from tanuki.app import bootstrap
from tanuki.app.processes import WORKER_NICENESS
from tanuki.platform.accounts import Account
from tanuki.platform.mlops import rollout
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

RESULTS = Path(__file__).parent / "results" / "animals_similarity.json"
ENCODER_VERSION, MEMBERS, NEIGHBOURS, RARE_CATEGORY = "1", 1_000, 10, "fish"
POSTS_PER_TRANSACTION = 10_000
MAX_P99_RATIO = 1.5
"""p99 beside a training, relative to that of an idle machine."""
FEATURES = {
    "encoder_version": ENCODER_VERSION,
    "classes": [],
    "animal_score": 1.0,
    "lightness": 0.5,
    "sharpness": 1.0,
    "phash": "0" * 16,
}


@dataclass(frozen=True)
class Site:
    """A site whose pictures have these embeddings; post, features and picture n have vector n - 1."""

    res: Resources
    vectors: np.ndarray


@contextmanager
def open_site(vectors: np.ndarray) -> Iterator[Site]:
    """So many posts, every hundredth of them of a rare category, with an index that is live."""
    with tempfile.TemporaryDirectory() as folder:
        res = bootstrap.create_resources(Settings(home=Path(folder)))
        try:
            create_posts(res, vectors)
            build_live_index(res, "1")
            yield Site(res, vectors)
        finally:
            bootstrap.close_resources(res)


def create_posts(res: Resources, vectors: np.ndarray) -> None:
    now = datetime.now(UTC)
    names = [f"m{number}" for number in range(1, MEMBERS + 1)]
    with res.db.write() as db:
        account = {
            "password_hash": "-",
            "password_changed_at": now,
            "created_at": now,
            "created_by": "bench",
        }
        db.execute(insert(Account), [{"name": name, "display": name, **account} for name in names])
        db.execute(
            insert(Member),
            [
                {"id": n, "name": name, "display": name, "pseudonym": name, "joined_at": now}
                for n, name in enumerate(names, 1)
            ],
        )
        make_champion(db, ENCODER_MODEL, ENCODER_VERSION, "none", now)
    for first in range(0, len(vectors), POSTS_PER_TRANSACTION):
        with res.db.write() as db:
            last = min(first + POSTS_PER_TRANSACTION, len(vectors))
            add_posts(db, range(first + 1, last + 1), vectors, now)


def make_champion(db: Session, model: str, version: str, prefix: str, now: datetime) -> None:
    """Let a version answer whose files are below `prefix`."""
    with rollout.change_rollout(db, model, now) as row:
        row.files = {**row.files, version: prefix}
        row.champion = version


def add_posts(db: Session, numbers: Sequence[int], vectors: np.ndarray, now: datetime) -> None:
    """Published posts with these numbers, with their pictures and features."""
    photo = {
        "width": 1,
        "height": 1,
        "bytes": 1,
        "colour": "#000000",
        "source": "jpeg",
        "added_at": now,
    }
    post = {
        "title": "x",
        "description": "",
        "tags": [],
        "state": "published",
        "posted_at": now,
        "published_at": now,
    }
    db.execute(insert(Photo), [{"digest": f"{n:064x}", **photo} for n in numbers])
    db.execute(
        insert(Post),
        [
            {
                "id": n,
                "member_id": 1 + n % MEMBERS,
                "key": str(n),
                "photo": f"{n:064x}",
                "category": RARE_CATEGORY if n % 100 == 0 else "cat",
                **post,
            }
            for n in numbers
        ],
    )
    db.execute(
        insert(ImageFeatures),
        [
            {
                "id": n,
                "digest": f"{n:064x}",
                "embedding": vectors[n - 1].astype("<f2").tobytes(),
                "at": now,
                **FEATURES,
            }
            for n in numbers
        ],
    )


def build_live_index(res: Resources, version: str) -> float:
    """Build an index as a training does, live without the gate; gives the seconds of the build."""
    now = datetime.now(UTC)
    with res.db.read() as db:
        images = dataset.load_all_images(db, ENCODER_VERSION)
        newest = delta_index.find_settled_id(db, ENCODER_VERSION, now)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        call_in_subprocess(build_index, images, Path(folder), newest)
        spent = time.perf_counter() - begun
        for file in (path for path in Path(folder).rglob("*") if path.is_file()):
            res.registry.files.put(
                f"similar/{version}/{file.relative_to(folder).as_posix()}", file.read_bytes()
            )
    with res.db.write() as db:
        make_champion(db, INDEX_MODEL, version, f"similar/{version}", now)
    res.models.refresh()
    return spent


def search_similar(site: Site, post_id: int, category: str | None = None) -> list[int]:
    with site.res.db.read() as db:
        search = SimilaritySearch(site.res, db, None, datetime.now(UTC))
        posts = search.similar_to_post(post_id, NEIGHBOURS, SimilarFilter(category))
    return [post.post_id for post in posts]


# ---- measurements ------------------------------------------------------------------------------


def measure_changes(site: Site, rounds: int = 50) -> dict[str, Any]:
    """How many changes (a post comes, is hidden, comes back) the very next search reflects.

    The posts have the embedding of the post that is searched with, so they are the nearest.
    """
    res, seen, count = site.res, 0, len(site.vectors)
    vectors = site.vectors
    for turn in range(rounds):
        query, number = 1 + turn * (count // rounds), count + turn + 1
        vectors = np.vstack([vectors, vectors[query - 1 : query]])
        now = datetime.now(UTC)
        with res.db.write() as db:
            add_posts(db, [number], vectors, now)
        seen += search_similar(site, query)[0] == number
        old = search_similar(site, query)[1]
        with res.db.write() as db:
            db.execute(update(Post).where(Post.id.in_([number, old])).values(state="held"))
        seen += not {number, old} & {*search_similar(site, query)}
        with res.db.write() as db:
            db.execute(update(Post).where(Post.id == old).values(state="published"))
            db.execute(delete(Post).where(Post.id == number))
            db.execute(delete(Photo).where(Photo.digest == f"{number:064x}"))
        found = search_similar(site, query)
        seen += old in found and number not in found
    return {"changes": 3 * rounds, "seen": seen}


def measure_filter(site: Site, questions: int = 100) -> dict[str, Any]:
    """Searches with a filter that 1 % of the posts pass: recall beside an exact search, and ms."""
    allowed = np.arange(100, len(site.vectors) + 1, 100)
    hits, spent = [], []
    for query in (
        np.random.default_rng(4).choice(
            len(site.vectors), min(questions, len(site.vectors)), replace=False
        )
        + 1
    ):
        near = find_nearest(
            site.vectors[allowed - 1], site.vectors[query - 1][None, :], NEIGHBOURS + 1
        )[0][0]
        true = [post for post in allowed[near].tolist() if post != query][:NEIGHBOURS]
        begun = time.perf_counter()
        found = search_similar(site, int(query), RARE_CATEGORY)
        spent.append(1_000 * (time.perf_counter() - begun))
        hits.append(len({*found} & {*true}) / max(1, len(true)))
    return {"filtered_recall": float(np.mean(hits)), "filtered_ms": statistics.median(spent)}


def time_searches(
    site: Site, seconds: float, until: threading.Event | None = None
) -> dict[str, float]:
    """Milliseconds of searches one after the other, for so long or until the event."""
    spent, chance = [], np.random.default_rng(5)
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or (until is not None and not until.is_set()):
        query = int(chance.integers(1, len(site.vectors) + 1))
        start_ = time.perf_counter()
        search_similar(site, query)
        spent.append(1_000 * (time.perf_counter() - start_))
    spent.sort()
    return {
        "questions": len(spent),
        "p50_ms": spent[len(spent) // 2],
        "p99_ms": spent[int(0.99 * len(spent))],
    }


def measure_beside_training(site: Site, seconds: float) -> dict[str, Any]:
    """Searches on an idle machine, then while another process builds one live index after another."""
    time_searches(site, 1.0)
    alone, ended, built = time_searches(site, seconds), threading.Event(), []
    home = site.res.settings.home

    def train(pool: ProcessPoolExecutor) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            built.append(pool.submit(build_as_worker, home, str(len(built) + 2)).result())
            site.res.models.refresh()
        ended.set()

    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=os.nice, initargs=(WORKER_NICENESS,)
    ) as pool:
        pool.submit(int).result()
        thread = threading.Thread(target=train, args=(pool,))
        thread.start()
        beside = time_searches(site, 0.0, ended)
        thread.join()
    return {
        "alone": alone,
        "beside": beside,
        "built_s": statistics.median(built),
        "builds": len(built),
        "times": beside["p99_ms"] / alone["p99_ms"],
    }


def build_as_worker(home: Path, version: str) -> float:
    """Build an index in a process of its own; gives the seconds."""
    res = bootstrap.create_resources(Settings(home=home))
    try:
        return build_live_index(res, version)
    finally:
        bootstrap.close_resources(res)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="Of questions on an idle machine."
    )
    options = parser.parse_args()
    with open_site(generate_image_like(options.posts)) as site:
        figures = {
            "posts": options.posts,
            **measure_beside_training(site, options.seconds),
            **measure_filter(site),
            **measure_changes(site),
        }
    for name in ("alone", "beside"):
        latency = figures[name]
        print(
            f"{name:8} {latency['questions']:6} searches"
            f"  p50 {latency['p50_ms']:6.1f} ms  p99 {latency['p99_ms']:6.1f} ms"
        )
    print(
        f"{figures['builds']} builds of {figures['built_s']:.1f} s;"
        f" p99 beside them {figures['times']:.2f} × (at most {MAX_P99_RATIO})"
    )
    print(f"1 % filter: recall {figures['filtered_recall']:.3f}, {figures['filtered_ms']:.1f} ms")
    print(f"{figures['seen']} of {figures['changes']} changes reflected by the next search")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
