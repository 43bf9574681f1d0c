"""The index of pictures by their embeddings, as the files of a model version: ScaNN over many, every vector compared while they are few.

A version is `model.json`, which says what is in it, `ids.npy` and either `index/` (ScaNN) or `vectors.npy`. How much of the tree a query looks at is not
set by hand: the build tries it on vectors of its own and keeps the least that finds what an exact search finds.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tanuki.platform.mlops.runtimes import Arrays, ModelError, Spec

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]

INDEX_MODEL, KIND = "animals-similarity-index", "similar"
FEW = 2_000  # below, comparing with every vector is as fast and misses nothing
DESCRIPTION, IDS, VECTORS, TREE = "model.json", "ids.npy", "vectors.npy", "index"
K, MOST = 10, 1_000  # neighbours when nobody says how many; the most that one may ask for
MOST_QUERIES = 256  # in one request

TRIED = 500  # vectors of its own that the build asks for
RECALL = 0.99  # of the ten nearest that it must find of them; new pictures fare a little worse than its own
OF_A_KIND = 0.97  # the same for each kind
SHARES = (
    0.01,
    0.015,
    0.02,
    0.03,
    0.04,
    0.06,
    0.08,
    0.12,
    0.16,
    0.24,
    0.36,
    0.5,
    0.75,
    1.0,
)  # of the leaves that a query looks into
REORDERED = (
    60,
    120,
    240,
    480,
)  # of the nearest by the quantised vectors whose true likeness is computed
SAMPLE = 250_000  # vectors from which the tree is learnt
AT_ONCE = 4_000_000  # products computed at once by an exact search


class Damaged(ModelError):
    """The files are not what their description says."""


@dataclass(frozen=True)
class Effort:
    """How far a query looks: leaves of the tree, and candidates whose true likeness is computed."""

    leaves: int
    reordered: int


# ---- building ------------------------------------------------------------------------------------------------------


def build(
    vectors: Vectors,
    ids: Ids,
    into: Path,
    said: Mapping[str, Any],
    kinds: Sequence[str] = (),
    *,
    threads: int = 1,
    few: int = FEW,
) -> dict[str, Any]:
    """Write an index of vectors of length 1 into a folder, and give its description, with what was `said` about it. `kinds` of which each must be found."""
    into.mkdir(parents=True, exist_ok=True)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    np.save(into / IDS, np.asarray(ids, dtype=np.int64))
    told: dict[str, Any] = {"method": "exact"}
    if len(vectors) < few:
        np.save(into / VECTORS, vectors)
    else:
        told = tree(vectors, into / TREE, kinds, threads)
    files = {
        file.relative_to(into).as_posix(): file.stat().st_size
        for file in sorted(into.rglob("*"))
        if file.is_file()
    }
    made = {
        "kind": KIND,
        "dimension": int(vectors.shape[1]),
        "count": len(vectors),
        **told,
        **said,
        **signature(int(vectors.shape[1])),
        "files": {name: size for name, size in files.items() if name != DESCRIPTION},
    }
    (into / DESCRIPTION).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return made


def signature(dimension: int) -> dict[str, Any]:
    """What goes into the model and comes out of it, as servers tell it."""
    return {
        "inputs": [
            {"name": "embedding", "datatype": "FP32", "shape": [-1, dimension]},
            {"name": "k", "datatype": "INT32", "shape": [1], "default": [K]},
        ],
        "outputs": [
            {"name": "ids", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
        ],
        "max_batch": MOST_QUERIES,
    }


def tree(vectors: Vectors, into: Path, kinds: Sequence[str], threads: int) -> dict[str, Any]:
    """ScaNN's tree with quantised vectors and the true ones to put the best in order."""
    from scann.scann_ops.py import scann_ops_pybind

    leaves = max(16, min(round(2 * len(vectors) ** 0.5), len(vectors) // 16))
    begun = scann_ops_pybind.builder(vectors, K, "dot_product").tree(
        leaves, max(1, leaves // 20), training_sample_size=SAMPLE
    )
    begun = begun.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(REORDERED[1])
    begun.set_n_training_threads(threads)
    made = begun.build()
    into.mkdir(exist_ok=True)
    made.serialize(str(into.resolve()), relative_path=True)
    effort, recall = tuned(made.searcher, vectors, leaves, kinds)
    return {"method": "scann", "leaves": leaves, "effort": asdict(effort), "recall": recall}


def tuned(
    searcher: Any, vectors: Vectors, leaves: int, kinds: Sequence[str]
) -> tuple[Effort, float]:
    """The quickest effort that finds enough of what an exact search finds, and how much that is; the greatest one when none does.

    Enough over all, and of each kind: few pictures that lie apart are the first that too little effort misses.
    """
    chosen, kind = tried(len(vectors), kinds)
    queries = vectors[chosen]
    true = [
        set(row) - {own}
        for own, row in zip(
            chosen.tolist(), nearest(vectors, queries, K + 1)[0].tolist(), strict=True
        )
    ]
    best: tuple[float, Effort, float] | None = None
    found = 0.0
    for reordered in REORDERED:
        for share in SHARES:
            effort = Effort(max(1, ceil(share * leaves)), reordered)
            begun = time.perf_counter()
            answers = [
                searcher.search(query, K + 1, effort.reordered, effort.leaves)[0]
                for query in queries
            ]
            spent = time.perf_counter() - begun
            hits = (
                np.array(
                    [
                        min(K, len(wanted.intersection(answer.tolist())))
                        for wanted, answer in zip(true, answers, strict=True)
                    ]
                )
                / K
            )
            found = float(hits.mean())
            if best is not None and spent > best[0]:
                break
            if (
                found >= RECALL
                and min(hits[kind == each].mean() for each in np.unique(kind)) >= OF_A_KIND
            ):
                best = (spent, effort, found)
                break
    return (best[1], best[2]) if best is not None else (Effort(leaves, REORDERED[-1]), found)


def tried(count: int, kinds: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Places of vectors that the build asks for, and their kinds: as many of each kind as there is room for."""
    mixed = np.random.default_rng(1).permutation(count)
    kind = np.asarray(kinds)[mixed] if len(kinds) else np.full(count, "")
    rank = np.empty(count, dtype=np.int64)
    for each in np.unique(kind):
        rank[kind == each] = np.arange(int((kind == each).sum()))
    first = np.argsort(rank, kind="stable")[:TRIED]
    return mixed[first], kind[first]


def nearest(vectors: Vectors, queries: Vectors, k: int) -> tuple[NDArray[np.intp], Vectors]:
    """Positions and likenesses of the k nearest of each query, the nearest first, by comparing with every vector."""
    k = min(k, len(vectors))
    positions = np.empty((len(queries), k), dtype=np.intp)
    likeness = np.empty((len(queries), k), dtype=np.float32)
    step = max(1, AT_ONCE // max(1, len(vectors)))
    for first in range(0, len(queries), step):
        scores = queries[first : first + step] @ vectors.T
        some = (
            np.argpartition(scores, -k, axis=1)[:, -k:]
            if k < len(vectors)
            else np.tile(np.arange(k), (len(scores), 1))
        )
        order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
        positions[first : first + step] = np.take_along_axis(some, order, axis=1)
        likeness[first : first + step] = np.take_along_axis(
            scores, positions[first : first + step], axis=1
        )
    return positions, likeness


# ---- answering -----------------------------------------------------------------------------------------------------


class Index:
    """An index that was read from its files. Threads may share it."""

    def __init__(self, folder: Path, said: Mapping[str, Any] | None = None) -> None:
        self.said = dict(said or described(folder))
        checked(folder, self.said)
        self.dimension = int(self.said["dimension"])
        self.ids: Ids = np.load(folder / IDS)
        self.vectors: Vectors | None = None
        if self.said["method"] == "exact":
            self.vectors = np.load(folder / VECTORS)
            shape: tuple[int, ...] = self.vectors.shape
        else:
            self.searcher = loaded(folder / TREE)
            self.effort, self.leaves = Effort(**self.said["effort"]), int(self.said["leaves"])
            shape = (self.searcher.size(), self.dimension)
        if shape != (len(self.ids), self.dimension):
            raise Damaged(
                "It has %(ids)s ids and vectors of %(shape)s.", ids=len(self.ids), shape=str(shape)
            )
        self.folder, self.spec = folder, Spec.read(self.said)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """What a server asks: the nearest of each row."""
        ids, scores = self.find(inputs["embedding"], int(inputs["k"][0]))
        return {"ids": ids, "scores": scores}

    def find(self, queries: Vectors, k: int = K) -> tuple[Ids, Vectors]:
        """Ids and likenesses of the k nearest of each query; -1 and 0 where there are fewer."""
        k = max(1, min(k, MOST))
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        if self.vectors is not None:
            found, likeness = nearest(self.vectors, queries, k)
            ids[:, : found.shape[1]], scores[:, : found.shape[1]] = self.ids[found], likeness
            return ids, scores
        leaves = min(self.leaves, ceil(self.effort.leaves * (1 + log2(max(k, K) / K) / 2)))
        for row, query in enumerate(queries):
            at, likeness = self.searcher.search(query, k, max(self.effort.reordered, 2 * k), leaves)
            ids[row, : len(at)], scores[row, : len(at)] = self.ids[at], likeness
        return ids, scores

    def all_vectors(self) -> Vectors:
        """Every vector, in the order of the ids."""
        return (
            self.vectors
            if self.vectors is not None
            else np.load(self.folder / TREE / "dataset.npy")
        )


def described(folder: Path) -> dict[str, Any]:
    """What an index's description says. Raises Damaged."""
    try:
        found = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Damaged("Its %(file)s cannot be read.", file=DESCRIPTION) from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise Damaged("Its %(file)s describes no index.", file=DESCRIPTION)
    return found


def checked(folder: Path, said: Mapping[str, Any]) -> None:
    """Refuse files that are not as long as they were when they were written: reading half of an index can end the process."""
    for name, size in said["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            raise Damaged("Its file %(file)s is incomplete.", file=name)


def loaded(folder: Path) -> Any:
    """ScaNN's searcher from its files."""
    from scann.scann_ops.py import scann_ops_pybind

    try:
        return scann_ops_pybind.load_searcher(
            str(folder.resolve()), assets_backcompat_shim=False
        ).searcher
    except (RuntimeError, ValueError) as error:
        raise Damaged("ScaNN cannot read its files.") from error
