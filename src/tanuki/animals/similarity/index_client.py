"""The live index: which version answers, with which encoder, and its results, cached.

What answers is read from the rollout, as the model servers do; the registry is not loaded.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from tanuki.animals.similarity.dataset import Ids
from tanuki.animals.similarity.index import DEFAULT_NEIGHBOURS, INDEX_MODEL
from tanuki.animals.vision.nearest_neighbours import Vectors
from tanuki.platform.accounts import Person
from tanuki.platform.mlops import rollout, runtimes
from tanuki.platform.mlops.runtimes import ModelError
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.resources import Resources

MAX_CACHED_RESULTS = 4_096


@dataclass(frozen=True)
class LiveIndex:
    """The index that answers.

    version: None if none was released; then everything is compared exactly.
    max_features_id: it has all features up to this id. count: how many.
    single_encoder: its challenger, if there is one, has the same encoder version, so a query may be
    answered by either.
    """

    version: str | None
    encoder_version: str
    max_features_id: int = 0
    count: int = 0
    single_encoder: bool = True


@dataclass(frozen=True)
class IndexResult:
    """Ids of features and their cosines, the nearest first, and the version that answered."""

    ids: Ids
    scores: Vectors
    version: str | None


class ResultCache:
    """Results of the live index by version, query and k; the last used ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._results: OrderedDict[tuple[str, bytes, int], IndexResult] = OrderedDict()

    def get(self, key: tuple[str, bytes, int]) -> IndexResult | None:
        with self._lock:
            return self._results.get(key)

    def put(self, key: tuple[str, bytes, int], result: IndexResult) -> None:
        with self._lock:
            self._results[key] = result
            while len(self._results) > MAX_CACHED_RESULTS:
                self._results.popitem(last=False)


def find_live_index(res: Resources, db: Session, encoder_version: str) -> LiveIndex:
    """What answers now; before the first release an empty index of `encoder_version`."""
    current = rollout.load_rollout(db, INDEX_MODEL)
    if current is None or current.champion is None:
        return LiveIndex(None, encoder_version)
    files = res.registry.files
    champion = load_description(files, current.files[current.champion])
    challenger = (
        load_description(files, current.files[current.challenger])
        if current.challenger in current.files
        else champion
    )
    return LiveIndex(
        current.champion,
        champion["encoder_version"],
        champion["max_features_id"],
        champion["count"],
        single_encoder=challenger["encoder_version"] == champion["encoder_version"],
    )


@lru_cache(maxsize=16)
def load_description(files: ObjectStore, prefix: str) -> dict[str, Any]:
    """The model.json of a version, whose files never change. Raises ModelError."""
    description = runtimes.read_description(files, prefix)
    if description is None:
        raise ModelError("It has no model.json, which says how it is run.")
    return description


def query_index(
    res: Resources, index: LiveIndex, query: Vectors, k: int, viewer: Person | None
) -> IndexResult:
    """The k nearest pictures that the index has; the same query is sent once for each version.

    Permissions are no part of the result, so it is cached for everybody. A canary's results are
    not: they are for some people only.
    """
    if index.version is None:
        return IndexResult(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), None)
    cache = res.process_cache.get(ResultCache, ResultCache)
    key = (index.version, sha256(query.tobytes()).digest(), k)
    cached = cache.get(key)
    if cached is not None:
        return cached
    answer = res.models.infer(
        INDEX_MODEL,
        {
            "embedding": query[None, :].astype(np.float32),
            "k": np.array([max(k, DEFAULT_NEIGHBOURS)], dtype=np.int32),
        },
        version=None if index.single_encoder else index.version,
        person=viewer.name if viewer is not None else None,
    )
    ids, scores = answer.outputs["ids"][0], answer.outputs["scores"][0]
    result = IndexResult(ids[ids >= 0], scores[ids >= 0], answer.version)
    if answer.version == index.version:
        cache.put(key, result)
    return result
