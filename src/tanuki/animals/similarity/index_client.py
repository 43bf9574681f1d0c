"""Which index answers now, and in whose eyes: read from what the servers read, so that nobody need load the registry to ask."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from tanuki.animals.similarity.index import INDEX_MODEL, Ids, K, Vectors
from tanuki.platform.accounts import Person
from tanuki.platform.mlops import rollout, runtimes
from tanuki.platform.mlops.runtimes import ModelError
from tanuki.platform.object_store import Objects
from tanuki.platform.resources import Resources

ANSWERS = 4_096  # of an index that are remembered


@dataclass(frozen=True)
class Live:
    """The index that answers: its version, the version of the eyes whose embeddings it has, up to which look, and how many. No version: none was released."""

    version: str | None
    eyes: str
    max_features_id: int = 0
    count: int = 0
    steady: bool = True  # nobody gets the answers of another version with other eyes


def live(res: Resources, db: Session, eyes: str) -> Live:
    """What answers now; before the first release nothing does, and everything is compared in the `eyes` given."""
    plan = rollout.plan(db, INDEX_MODEL)
    if plan is None or plan.champion is None:
        return Live(None, eyes)
    said = description(res.registry.files, plan.files[plan.champion])
    other = (
        description(res.registry.files, plan.files[plan.challenger])
        if plan.challenger in plan.files
        else said
    )
    return Live(
        plan.champion,
        said["encoder_version"],
        said["max_features_id"],
        said["count"],
        steady=other["encoder_version"] == said["encoder_version"],
    )


@lru_cache(maxsize=16)
def description(files: Objects, prefix: str) -> dict[str, Any]:
    """What a version's files say about it; they never change."""
    told = runtimes.described(files, prefix)
    if told is None:
        raise ModelError("It has no model.json, which says how it is run.")
    return told


# ---- its answers ---------------------------------------------------------------------------------------------------

_answers: OrderedDict[tuple[str, str, bytes, int], tuple[Ids, Vectors, str]] = OrderedDict()
_turn = threading.Lock()


def nearest(
    res: Resources, now: Live, query: Vectors, k: int, viewer: Person | None
) -> tuple[Ids, Vectors, str | None]:
    """Look ids and likenesses of the k nearest that the index knows, and the version that said so. The same question is asked once as long as the index stays.

    Who may see what is not its business, so what it said may be remembered for everybody.
    """
    if now.version is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), None
    key = (res.db.url, now.version, sha256(query.tobytes()).digest(), k)
    with _turn:
        known = _answers.get(key)
    if known is not None:
        return known
    inputs = {
        "embedding": query[None, :].astype(np.float32),
        "k": np.array([max(k, K)], dtype=np.int32),
    }
    person = viewer.name if viewer is not None else None
    answer = res.models.infer(
        INDEX_MODEL, inputs, version=None if now.steady else now.version, person=person
    )
    ids, scores = answer.outputs["ids"][0], answer.outputs["scores"][0]
    made = (ids[ids >= 0], scores[ids >= 0], answer.version)
    if answer.version == now.version:  # a canary's answers are not everybody's
        with _turn:
            _answers[key] = made
            while len(_answers) > ANSWERS:
                _answers.popitem(last=False)
    return made
