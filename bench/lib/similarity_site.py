"""A site of posts with given embeddings and a live similarity index, and measures of its searches.

Posts, photos and features are written straight into a SQLite database. The index, the filters and
the search are the site's own.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import delete, insert, update
from sqlalchemy.orm import Session

import tanuki.app.metadata  # noqa: F401 every table
from bench.lib.timing import time_call
from bench.lib.vectors import Vectors
from tanuki.animals.similarity import dataset, delta_index
from tanuki.animals.similarity.index import INDEX_MODEL, build_index
from tanuki.animals.similarity.search import SimilarFilter, SimilaritySearch
from tanuki.animals.similarity.subprocess_call import call_in_subprocess
from tanuki.animals.tables import ImageFeatures, Member, Photo, Post, PostState
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.animals.vision.nearest_neighbours import find_nearest
from tanuki.app import bootstrap
from tanuki.platform.accounts import Account
from tanuki.platform.mlops import rollout
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

ENCODER_VERSION = "1"
MEMBERS = 1_000
NEIGHBOURS = 10
COMMON_CATEGORY, RARE_CATEGORY = "cat", "fish"
POSTS_PER_RARE_POST = 100
POSTS_PER_TRANSACTION = 10_000
CHANGES_PER_ROUND = 3
PHOTO = {"width": 1, "height": 1, "bytes": 1, "colour": "#000000", "source": "jpeg"}
POST = {"title": "x", "description": "", "tags": [], "state": PostState.PUBLISHED}
FEATURES = {
    "encoder_version": ENCODER_VERSION,
    "classes": [],
    "animal_score": 1.0,
    "lightness": 0.5,
    "sharpness": 1.0,
    "phash": "0" * 16,
}


@dataclass(frozen=True)
class SimilaritySite:
    """A site with these embeddings: post, photo and features n have vector n - 1."""

    res: Resources
    vectors: Vectors

    def search(self, post_id: int, category: str | None = None) -> list[int]:
        """Ids of the posts most similar to one, as a visitor gets them, in a transaction."""
        with self.res.db.read() as db:
            search = SimilaritySearch(self.res, db, None, datetime.now(UTC))
            posts = search.similar_to_post(post_id, NEIGHBOURS, SimilarFilter(category))
        return [post.post_id for post in posts]


@contextmanager
def open_similarity_site(vectors: Vectors) -> Iterator[SimilaritySite]:
    """A site with a post for each vector, every hundredth of the rare category."""
    with tempfile.TemporaryDirectory() as folder:
        res = bootstrap.create_resources(Settings(home=Path(folder)))
        try:
            create_posts(res, vectors)
            build_live_index(res, "1")
            yield SimilaritySite(res, vectors)
        finally:
            bootstrap.close_resources(res)


# ---- rows ----------------------------------------------------------------------------------------


def create_posts(res: Resources, vectors: Vectors) -> None:
    now = datetime.now(UTC)
    with res.db.write() as db:
        add_owners(db, now)
        set_champion(db, ENCODER_MODEL, ENCODER_VERSION, "none", now)
    for first in range(0, len(vectors), POSTS_PER_TRANSACTION):
        last = min(first + POSTS_PER_TRANSACTION, len(vectors))
        with res.db.write() as db:
            add_posts(db, range(first + 1, last + 1), vectors, now)


def add_owners(db: Session, now: datetime) -> None:
    names = {number: f"m{number}" for number in range(1, MEMBERS + 1)}
    account = {
        "password_hash": "-",
        "password_changed_at": now,
        "created_at": now,
        "created_by": "bench",
    }
    accounts = [{"name": name, "display_name": name, **account} for name in names.values()]
    members = [
        {"id": number, "name": name, "display": name, "pseudonym": name, "joined_at": now}
        for number, name in names.items()
    ]
    db.execute(insert(Account), accounts)
    db.execute(insert(Member), members)


def set_champion(db: Session, model: str, version: str, prefix: str, now: datetime) -> None:
    """Make a version live whose files are below `prefix`, without the gate."""
    with rollout.change_rollout(db, model, now) as change:
        change.files = {**change.files, version: prefix}
        change.champion = version


def photo_digest(number: int) -> str:
    return f"{number:064x}"


def add_posts(db: Session, numbers: Sequence[int], vectors: Vectors, now: datetime) -> None:
    """Published posts with these numbers, their photos and features."""
    photos = [{"digest": photo_digest(number), "added_at": now, **PHOTO} for number in numbers]
    posts = [
        {
            "id": number,
            "member_id": 1 + number % MEMBERS,
            "key": str(number),
            "photo": photo_digest(number),
            "category": COMMON_CATEGORY if number % POSTS_PER_RARE_POST else RARE_CATEGORY,
            "posted_at": now,
            "published_at": now,
            **POST,
        }
        for number in numbers
    ]
    features = [
        {
            "id": number,
            "digest": photo_digest(number),
            "embedding": vectors[number - 1].astype("<f2").tobytes(),
            "at": now,
            **FEATURES,
        }
        for number in numbers
    ]
    db.execute(insert(Photo), photos)
    db.execute(insert(Post), posts)
    db.execute(insert(ImageFeatures), features)


def build_live_index(res: Resources, version: str) -> float:
    """Build an index as a training does, live without the gate; gives the seconds of the build."""
    now = datetime.now(UTC)
    with res.db.read() as db:
        images = dataset.load_all_images(db, ENCODER_VERSION)
        newest = delta_index.find_settled_id(db, ENCODER_VERSION, now)
    prefix = f"similar/{version}"
    with tempfile.TemporaryDirectory() as folder:
        _, seconds = time_call(
            lambda: call_in_subprocess(build_index, images, Path(folder), newest)
        )
        store_files(res, Path(folder), prefix)
    with res.db.write() as db:
        set_champion(db, INDEX_MODEL, version, prefix, now)
    res.models.refresh()
    return seconds


def store_files(res: Resources, folder: Path, prefix: str) -> None:
    """Store the files of a folder in the model registry's store, below `prefix`."""
    for file in folder.rglob("*"):
        if file.is_file():
            name = f"{prefix}/{file.relative_to(folder).as_posix()}"
            res.registry.files.put(name, file.read_bytes())


# ---- measures ------------------------------------------------------------------------------------


def measure_changes(site: SimilaritySite, rounds: int = 50) -> dict[str, int]:
    """How many changes (a post is published, hidden, restored) the very next search reflects.

    A new post has the embedding of the post that is the query, so it is the nearest.
    """
    res, vectors, count = site.res, site.vectors, len(site.vectors)
    reflected = 0
    for turn in range(rounds):
        query, new = 1 + turn * (count // rounds), count + turn + 1
        vectors = np.vstack([vectors, vectors[query - 1 : query]])
        with res.db.write() as db:
            add_posts(db, [new], vectors, datetime.now(UTC))
        first, second = site.search(query)[:2]
        reflected += first == new
        with res.db.write() as db:
            set_state(db, [new, second], PostState.HELD)
        reflected += not {new, second} & {*site.search(query)}
        with res.db.write() as db:
            set_state(db, [second], PostState.PUBLISHED)
            db.execute(delete(Post).where(Post.id == new))
            db.execute(delete(Photo).where(Photo.digest == photo_digest(new)))
        result = site.search(query)
        reflected += second in result and new not in result
    return {"changes": CHANGES_PER_ROUND * rounds, "reflected": reflected}


def set_state(db: Session, post_ids: Sequence[int], state: PostState) -> None:
    db.execute(update(Post).where(Post.id.in_(post_ids)).values(state=state))


def measure_filter(site: SimilaritySite, queries: int = 100) -> dict[str, float]:
    """Searches with a filter that 1 % of the posts pass: recall beside exact search, median ms."""
    count = len(site.vectors)
    rare = np.arange(POSTS_PER_RARE_POST, count + 1, POSTS_PER_RARE_POST)
    chosen = np.random.default_rng(4).choice(count, min(queries, count), replace=False) + 1
    recalls, times_ms = [], []
    for query in chosen.tolist():
        vector = site.vectors[query - 1][None, :]
        positions, _ = find_nearest(site.vectors[rare - 1], vector, NEIGHBOURS + 1)
        nearest = [post_id for post_id in rare[positions[0]].tolist() if post_id != query]
        expected = {*nearest[:NEIGHBOURS]}
        result, seconds = time_call(lambda query=query: site.search(query, RARE_CATEGORY))
        times_ms.append(1_000 * seconds)
        recalls.append(len(expected.intersection(result)) / max(1, len(expected)))
    return {"filtered_recall": float(np.mean(recalls)), "filtered_ms": float(np.median(times_ms))}
