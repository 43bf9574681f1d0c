"""Similar pictures as the network answers them: how long, while posts come and go, with filters, and while a new index is built beside it.

    python bench/animals_similar.py [--posts 20000] [--seconds 20]

Posts, their pictures and the eyes' looks are made from a seed and written straight into a SQLite database; the index, the filters and the search are the network's own. A question is
timed whole, with its transaction. While another process makes indexes of the same pictures, as a worker does in a training, questions go on: p99 then against p99 before.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, update

import tanuki.app.metadata  # noqa: F401 every table
from tanuki.animals.similarity import dataset, delta_index, search
from tanuki.animals.similarity.index import INDEX_MODEL, nearest
from tanuki.animals.similarity.search import Asked
from tanuki.animals.similarity.training import build_index
from tanuki.animals.tables import ImageFeatures, Member, Photo, Post
from tanuki.app import bootstrap
from tanuki.app.processes import NICE
from tanuki.platform.accounts import Account
from tanuki.platform.mlops import rollout
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

RESULTS = Path(__file__).parent / "results" / "animals_similar.json"
EYES, MEMBERS, K, RARE = "1", 1_000, 10, "fish"
AT_ONCE = 10_000
BESIDE = 1.5  # times the p99 of an idle machine that it may have beside a training
KEPT = {"encoder_version": EYES, "classes": [], "animal_score": 1.0, "lightness": 0.5, "sharpness": 1.0, "phash": "0" * 16}


@dataclass(frozen=True)
class World:
    """A network whose pictures have these embeddings; post, look and picture n are of vector n - 1."""

    res: Resources
    vectors: np.ndarray


@contextmanager
def network(vectors: np.ndarray) -> Iterator[World]:
    """So many posts, every hundredth of them of a rare category, with an index that is live."""
    with tempfile.TemporaryDirectory() as folder:
        res = bootstrap.create_resources(Settings(home=Path(folder)))
        try:
            fill(res, vectors)
            put_live(res, "1")
            yield World(res, vectors)
        finally:
            bootstrap.close_resources(res)


def fill(res: Resources, vectors: np.ndarray) -> None:
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
        rollout.put(db, "animals-image-encoder", now, files={EYES: "none"}, champion=EYES)
    for first in range(0, len(vectors), AT_ONCE):
        with res.db.write() as db:
            add(db, range(first + 1, min(first + AT_ONCE, len(vectors)) + 1), vectors, now)


def add(db: Any, numbers: Any, vectors: np.ndarray, now: datetime) -> None:
    """Posts of these numbers, published, with their pictures and looks."""
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
                "category": RARE if n % 100 == 0 else "cat",
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
                **KEPT,
            }
            for n in numbers
        ],
    )


def put_live(res: Resources, version: str) -> float:
    """An index of all looks, built as a training builds it, and live without the gate; gives the seconds of its build."""
    now = datetime.now(UTC)
    with res.db.read() as db:
        found, newest = dataset.every(db, EYES), delta_index.as_of(db, EYES, now)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        build_index(found, Path(folder), newest)
        spent = time.perf_counter() - begun
        for file in (each for each in Path(folder).rglob("*") if each.is_file()):
            res.registry.files.put(
                f"similar/{version}/{file.relative_to(folder).as_posix()}", file.read_bytes()
            )
    with res.db.write() as db:
        rollout.put(db, INDEX_MODEL, now, files={version: f"similar/{version}"}, champion=version)
    res.models.refresh()
    return spent


def ask(world: World, post_id: int, **asked: Any) -> list[int]:
    with world.res.db.read() as db:
        found = search.to_post(
            world.res, db, None, post_id, k=K, asked=Asked(**asked), now=datetime.now(UTC)
        )
    return [each.post_id for each in found]


# ---- what is measured ----------------------------------------------------------------------------------------------


def changes(world: World, rounds: int = 50) -> dict[str, Any]:
    """Posts come, are hidden and come back between questions: how many of those changes the next question saw. Twins of what is asked about, so the nearest there are."""
    res, seen, count = world.res, 0, len(world.vectors)
    vectors = world.vectors
    for turn in range(rounds):
        asked, number = 1 + turn * (count // rounds), count + turn + 1
        vectors = np.vstack([vectors, vectors[asked - 1 : asked]])
        now = datetime.now(UTC)
        with res.db.write() as db:
            add(db, [number], vectors, now)
        seen += ask(world, asked)[0] == number
        old = ask(world, asked)[1]
        with res.db.write() as db:
            db.execute(update(Post).where(Post.id.in_([number, old])).values(state="held"))
        seen += not {number, old} & {*ask(world, asked)}
        with res.db.write() as db:
            db.execute(update(Post).where(Post.id == old).values(state="published"))
            db.execute(delete(Post).where(Post.id == number))
            db.execute(delete(Photo).where(Photo.digest == f"{number:064x}"))
        found = ask(world, asked)
        seen += old in found and number not in found
    return {"changes": 3 * rounds, "seen": seen}


def filled(world: World, questions: int = 100) -> dict[str, Any]:
    """Questions with a filter that one in a hundred posts passes: recall against comparing with all of those, and milliseconds."""
    allowed = np.arange(100, len(world.vectors) + 1, 100)
    hits, spent = [], []
    for asked in (
        np.random.default_rng(4).choice(
            len(world.vectors), min(questions, len(world.vectors)), replace=False
        )
        + 1
    ):
        near = nearest(world.vectors[allowed - 1], world.vectors[asked - 1][None, :], K + 1)[0][0]
        true = [each for each in allowed[near].tolist() if each != asked][:K]
        begun = time.perf_counter()
        found = ask(world, int(asked), category=RARE)
        spent.append(1_000 * (time.perf_counter() - begun))
        hits.append(len({*found} & {*true}) / max(1, len(true)))
    return {"filtered_recall": float(np.mean(hits)), "filtered_ms": statistics.median(spent)}


def timed(world: World, seconds: float, until: threading.Event | None = None) -> dict[str, float]:
    """Milliseconds of questions one after the other, for so long or until told."""
    spent, chance = [], np.random.default_rng(5)
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or (until is not None and not until.is_set()):
        asked = int(chance.integers(1, len(world.vectors) + 1))
        start_ = time.perf_counter()
        ask(world, asked)
        spent.append(1_000 * (time.perf_counter() - start_))
    spent.sort()
    return {
        "questions": len(spent),
        "p50_ms": spent[len(spent) // 2],
        "p99_ms": spent[int(0.99 * len(spent))],
    }


def beside_training(world: World, seconds: float) -> dict[str, Any]:
    """Questions on an idle machine, then as long while another process, as a worker would, makes indexes of the same pictures one after the other, and each goes live."""
    timed(world, 1.0)
    alone, ended, built = timed(world, seconds), threading.Event(), []
    home = world.res.settings.home

    def train(pool: ProcessPoolExecutor) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            built.append(pool.submit(as_worker, home, str(len(built) + 2)).result())
            world.res.models.refresh()
        ended.set()

    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=os.nice, initargs=(NICE,)
    ) as pool:
        pool.submit(int).result()
        thread = threading.Thread(target=train, args=(pool,))
        thread.start()
        beside = timed(world, 0.0, ended)
        thread.join()
    return {
        "alone": alone,
        "beside": beside,
        "built_s": statistics.median(built),
        "builds": len(built),
        "times": beside["p99_ms"] / alone["p99_ms"],
    }


def as_worker(home: Path, version: str) -> float:
    """What a worker does in a training; gives the seconds of its build."""
    res = bootstrap.create_resources(Settings(home=home))
    try:
        return put_live(res, version)
    finally:
        bootstrap.close_resources(res)


def main() -> None:
    from bench.nearest_neighbours import image_like

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="Of questions on an idle machine."
    )
    options = parser.parse_args()
    with network(image_like(options.posts)) as world:
        told = {
            "posts": options.posts,
            **beside_training(world, options.seconds),
            **filled(world),
            **changes(world),
        }
    for name in ("alone", "beside"):
        print(
            f"{name:8} {told[name]['questions']:6} questions  p50 {told[name]['p50_ms']:6.1f} ms  p99 {told[name]['p99_ms']:6.1f} ms"
        )
    print(
        f"{told['builds']} builds of {told['built_s']:.1f} s; p99 beside them {told['times']:.2f} × (at most {BESIDE})"
    )
    print(
        f"1 % filter: recall {told['filtered_recall']:.3f}, {told['filtered_ms']:.1f} ms; {told['seen']} of {told['changes']} changes seen by the next question"
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
