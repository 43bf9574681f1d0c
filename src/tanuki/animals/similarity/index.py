"""The similarity index: approximate nearest neighbours of embeddings, as a model's files.

A version is `model.json`, its description, `ids.npy`, and either `index/` (a ScaNN tree) or, for
few pictures, `vectors.npy` (an exact search). The share of the tree that a query searches is not
set by hand: the build measures recall on its own vectors and stores the fastest parameters that
find what an exact search finds.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, log2
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tanuki.animals.similarity.dataset import Ids, ImageSet
from tanuki.animals.vision.nearest_neighbours import Vectors, find_nearest
from tanuki.platform.mlops.runtimes import Arrays, ModelError, ModelSignature

INDEX_MODEL, INDEX_KIND = "animals-similarity-index", "similarity-index"
EXACT_BELOW = 2_000
"""With fewer vectors an exact search is as fast and misses nothing."""
DESCRIPTION_FILE, IDS_FILE, VECTORS_FILE = "model.json", "ids.npy", "vectors.npy"
SCANN_FOLDER = "index"
DEFAULT_NEIGHBOURS, MAX_NEIGHBOURS = 10, 1_000
MAX_QUERIES_PER_REQUEST = 256

TUNING_QUERIES = 500
"""Vectors of its own that a build searches for."""
MIN_RECALL = 0.99
"""recall@10 of its own vectors that the parameters must reach; new pictures reach a little less."""
MIN_CATEGORY_RECALL = 0.97
LEAF_SHARES = (
    *(0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08),
    *(0.12, 0.16, 0.24, 0.36, 0.5, 0.75, 1.0),
)
"""Shares of the leaves that a query may search."""
REORDER_COUNTS = (60, 120, 240, 480)
"""How many candidates, by the quantised vectors, may get their exact cosine computed."""
TREE_TRAINING_VECTORS = 250_000


class CorruptIndex(ModelError):
    """The files are not what their description says."""


class Searcher(Protocol):
    """What is used of ScaNN's searcher, which has no types."""

    def search(
        self, query: Vectors, k: int, reorder: int, leaves: int
    ) -> tuple[NDArray[np.intp], Vectors]: ...

    def size(self) -> int: ...


@dataclass(frozen=True)
class SearchParameters:
    """Leaves of the tree to search, and candidates to reorder by exact cosine."""

    leaves: int
    reorder: int


@dataclass(frozen=True)
class BuildOptions:
    """Threads of a build, and the number of vectors below which the search is exact."""

    threads: int = 1
    exact_below: int = EXACT_BELOW


# ---- building ----------------------------------------------------------------------------------


def build_index(
    images: ImageSet, folder: Path, max_features_id: int, options: BuildOptions | None = None
) -> dict[str, Any]:
    """Write an index into a folder; gives its description.

    max_features_id: the index has all features up to this id; newer ones are compared separately.
    Each category of `images`, if these have categories, must reach MIN_CATEGORY_RECALL.
    """
    options = options or BuildOptions()
    folder.mkdir(parents=True, exist_ok=True)
    vectors = np.ascontiguousarray(images.vectors, dtype=np.float32)
    np.save(folder / IDS_FILE, np.asarray(images.ids, dtype=np.int64))
    method: dict[str, Any] = {"method": "exact"}
    if len(vectors) < options.exact_below:
        np.save(folder / VECTORS_FILE, vectors)
    else:
        method = build_scann_tree(
            vectors, images.categories, folder / SCANN_FOLDER, options.threads
        )
    dimension = int(vectors.shape[1])
    description = {
        "kind": INDEX_KIND,
        "dimension": dimension,
        "count": len(vectors),
        **method,
        "encoder_version": images.encoder_version,
        "max_features_id": max_features_id,
        **describe_signature(dimension),
        "files": {
            file.relative_to(folder).as_posix(): file.stat().st_size
            for file in sorted(folder.rglob("*"))
            if file.is_file() and file != folder / DESCRIPTION_FILE
        },
    }
    text = json.dumps(description, indent=1) + "\n"
    (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    return description


def describe_signature(dimension: int) -> dict[str, Any]:
    """The inputs and outputs of the model, as model servers describe them."""
    return {
        "inputs": [
            {"name": "embedding", "datatype": "FP32", "shape": [-1, dimension]},
            {"name": "k", "datatype": "INT32", "shape": [1], "default": [DEFAULT_NEIGHBOURS]},
        ],
        "outputs": [
            {"name": "ids", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
        ],
        "max_batch": MAX_QUERIES_PER_REQUEST,
    }


def build_scann_tree(
    vectors: Vectors, categories: Sequence[str], folder: Path, threads: int
) -> dict[str, Any]:
    """Write ScaNN's tree of quantised vectors; gives its part of the description."""
    from scann.scann_ops.py import scann_ops_pybind

    leaves = max(16, min(round(2 * len(vectors) ** 0.5), len(vectors) // 16))
    builder = (
        scann_ops_pybind.builder(vectors, DEFAULT_NEIGHBOURS, "dot_product")
        .tree(leaves, max(1, leaves // 20), training_sample_size=TREE_TRAINING_VECTORS)
        .score_ah(2, anisotropic_quantization_threshold=0.2)
        .reorder(REORDER_COUNTS[1])
    )
    builder.set_n_training_threads(threads)
    tree = builder.build()
    folder.mkdir(exist_ok=True)
    tree.serialize(str(folder.resolve()), relative_path=True)
    parameters, recall = tune_search_parameters(tree.searcher, vectors, leaves, categories)
    return {
        "method": "scann",
        "leaves": leaves,
        "search_parameters": asdict(parameters),
        "recall": recall,
    }


def tune_search_parameters(
    searcher: Searcher, vectors: Vectors, leaves: int, categories: Sequence[str]
) -> tuple[SearchParameters, float]:
    """The fastest parameters that reach the recall over all and in each category, and that recall.

    The slowest parameters if none reaches it. Each category counts because small, isolated ones are
    the first that a narrow search misses.
    """
    chosen, category = choose_tuning_queries(len(vectors), categories)
    queries = vectors[chosen]
    neighbours = find_nearest(vectors, queries, DEFAULT_NEIGHBOURS + 1)[0]
    expected = [
        set(row) - {own} for own, row in zip(chosen.tolist(), neighbours.tolist(), strict=True)
    ]
    best: tuple[float, SearchParameters, float] | None = None
    recall = 0.0
    for reorder in REORDER_COUNTS:
        for share in LEAF_SHARES:
            parameters = SearchParameters(max(1, ceil(share * leaves)), reorder)
            start = time.perf_counter()
            results = [
                searcher.search(query, DEFAULT_NEIGHBOURS + 1, reorder, parameters.leaves)[0]
                for query in queries
            ]
            seconds = time.perf_counter() - start
            hits = [
                min(DEFAULT_NEIGHBOURS, len(true.intersection(result.tolist())))
                for true, result in zip(expected, results, strict=True)
            ]
            recalls = np.array(hits) / DEFAULT_NEIGHBOURS
            recall = float(recalls.mean())
            if best is not None and seconds > best[0]:
                break
            lowest = min(recalls[category == name].mean() for name in np.unique(category))
            if recall >= MIN_RECALL and lowest >= MIN_CATEGORY_RECALL:
                best = (seconds, parameters, recall)
                break
    if best is not None:
        return best[1], best[2]
    return SearchParameters(leaves, REORDER_COUNTS[-1]), recall


def choose_tuning_queries(
    count: int, categories: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Positions of the tuning queries, drawn evenly from each category, and their categories."""
    shuffled = np.random.default_rng(1).permutation(count)
    category = np.asarray(categories)[shuffled] if len(categories) else np.full(count, "")
    rank_in_category = np.empty(count, dtype=np.int64)
    for name in np.unique(category):
        members = category == name
        rank_in_category[members] = np.arange(int(members.sum()))
    first = np.argsort(rank_in_category, kind="stable")[:TUNING_QUERIES]
    return shuffled[first], category[first]


# ---- searching ---------------------------------------------------------------------------------


class SimilarityIndex:
    """An index loaded from its files; a runner of the model. Threads may share it.

    Raises CorruptIndex for files that are incomplete or do not belong together.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.description = dict(description or read_description(folder))
        check_file_sizes(folder, self.description)
        self.dimension = int(self.description["dimension"])
        self.ids: Ids = np.load(folder / IDS_FILE)
        self.vectors: Vectors | None = None
        if self.description["method"] == "exact":
            self.vectors = np.load(folder / VECTORS_FILE)
            shape: tuple[int, ...] = self.vectors.shape
        else:
            self.searcher = load_searcher(folder / SCANN_FOLDER)
            self.parameters = SearchParameters(**self.description["search_parameters"])
            self.leaves = int(self.description["leaves"])
            shape = (self.searcher.size(), self.dimension)
        if shape != (len(self.ids), self.dimension):
            raise CorruptIndex(
                "It has %(ids)s ids and vectors of %(shape)s.", ids=len(self.ids), shape=str(shape)
            )
        self.spec = ModelSignature.from_json(self.description)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """A model server's request: the nearest neighbours of each row of `embedding`."""
        ids, scores = self.find(inputs["embedding"], int(inputs["k"][0]))
        return {"ids": ids, "scores": scores}

    def find(self, queries: Vectors, k: int = DEFAULT_NEIGHBOURS) -> tuple[Ids, Vectors]:
        """Ids and cosines of each query's k nearest, queries × k; -1 and 0 where there are fewer.

        k is at most MAX_NEIGHBOURS.
        """
        k = max(1, min(k, MAX_NEIGHBOURS))
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        if self.vectors is not None:
            positions, cosines = find_nearest(self.vectors, queries, k)
            width = positions.shape[1]
            ids[:, :width], scores[:, :width] = self.ids[positions], cosines
            return ids, scores
        # The tuning was for ten neighbours: more of them need more leaves.
        widening = 1 + log2(max(k, DEFAULT_NEIGHBOURS) / DEFAULT_NEIGHBOURS) / 2
        leaves = min(self.leaves, ceil(self.parameters.leaves * widening))
        reorder = max(self.parameters.reorder, 2 * k)
        for row, query in enumerate(queries):
            positions, cosines = self.searcher.search(query, k, reorder, leaves)
            ids[row, : len(positions)] = self.ids[positions]
            scores[row, : len(positions)] = cosines
        return ids, scores

    def all_vectors(self) -> Vectors:
        """Every vector, in the order of `ids`."""
        if self.vectors is not None:
            return self.vectors
        return np.asarray(np.load(self.folder / SCANN_FOLDER / "dataset.npy"), np.float32)


def read_description(folder: Path) -> dict[str, Any]:
    """An index's model.json. Raises CorruptIndex."""
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptIndex("Its %(file)s cannot be read.", file=DESCRIPTION_FILE) from error
    if not isinstance(description, dict) or description.get("kind") != INDEX_KIND:
        raise CorruptIndex("Its %(file)s does not describe an index.", file=DESCRIPTION_FILE)
    return description


def check_file_sizes(folder: Path, description: Mapping[str, Any]) -> None:
    """Raise CorruptIndex for a file of another length than when it was written.

    ScaNN may end the process when it loads half of an index.
    """
    for name, size in description["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            raise CorruptIndex("Its file %(file)s is incomplete.", file=name)


def load_searcher(folder: Path) -> Searcher:
    from scann.scann_ops.py import scann_ops_pybind

    try:
        loaded = scann_ops_pybind.load_searcher(str(folder.resolve()), assets_backcompat_shim=False)
    except (RuntimeError, ValueError) as error:
        raise CorruptIndex("ScaNN cannot read its files.") from error
    searcher: Searcher = loaded.searcher
    return searcher
