"""Nearest neighbours: our index beside exact search, faiss, hnswlib and usearch, on the same vectors.

Then over HTTP, under changes and with filters.

    python -m bench.nearest_neighbours [--hdf5 vectors.hdf5] [--images 100000]
        [--clustered 1000000] [--posts 100000]

Vectors of length 1, one query at a time, by one thread; the graphs of the others are built by all
cores. Every index is used with the least effort that finds 97 % of the ten nearest on half of the
queries; it is measured on the other half. `--hdf5` takes a file of ann-benchmarks (train, test) and
needs h5py. The image-like vectors are categories, breeds and pictures with more variance along a
few directions than along others, as embeddings have. The clustered ones are many small clusters.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

from bench.animals_similarity import (  # noqa: E402
    make_champion,
    measure_changes,
    measure_filter,
    open_site,
)
from bench.lib.vectors import generate_clustered, generate_image_like, normalise_vectors  # noqa: E402
from tanuki.animals.similarity import index  # noqa: E402
from tanuki.animals.similarity.dataset import ImageSet  # noqa: E402
from tanuki.animals.similarity.index import SimilarityIndex  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "ann.json"
K, RECALL, TIMES, OVER_HTTP, FILTERED = 10, 0.97, 20.0, 0.5, 0.95
SECONDS = 2.0  # that each is timed at least
CORES = os.cpu_count() or 1  # that build the peers' graphs
BATCH = 256  # queries in one request over HTTP
Search = Callable[[np.ndarray], np.ndarray]  # one query; positions of the nearest


# ---- vectors ------------------------------------------------------------------------------------


def of_file(file: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Vectors and queries of an HDF5 file; None when they cannot be read."""
    try:
        import h5py
    except ImportError:
        print(f"{file.name} is left out: reading it needs h5py (`pip install h5py`).")
        return None
    if not file.is_file():
        print(f"{file} is left out: there is no such file.")
        return None
    with h5py.File(file) as opened:
        return normalise_vectors(opened["train"][:].astype(np.float32)), normalise_vectors(
            opened["test"][:].astype(np.float32)
        )


# ---- the indexes --------------------------------------------------------------------------------


def exact(vectors: np.ndarray) -> Search:
    def search(query: np.ndarray) -> np.ndarray:
        scores = vectors @ query
        some = np.argpartition(scores, -K)[-K:]
        return some[np.argsort(-scores[some])]

    return search


def ours(vectors: np.ndarray, folder: Path) -> list[tuple[str, Search]]:
    """Our index as its build left it: the effort is chosen there."""
    count = len(vectors)
    images = ImageSet(
        "bench",
        np.arange(count),
        vectors,
        [""] * count,
        [],
        np.zeros(count, np.float32),
        np.zeros(count, np.uint64),
    )
    index.build_index(images, folder, count)
    made = SimilarityIndex(folder)
    return [("", lambda query: made.find(query[None, :], K)[0][0])]


def faiss_flat(vectors: np.ndarray) -> list[tuple[str, Search]]:
    import faiss

    faiss.omp_set_num_threads(1)
    made = faiss.IndexFlatIP(vectors.shape[1])
    made.add(vectors)
    return [("", lambda query: made.search(query[None, :], K)[1][0])]


def faiss_hnsw(vectors: np.ndarray) -> list[tuple[str, Search]]:
    import faiss

    faiss.omp_set_num_threads(CORES)
    made = faiss.IndexHNSWFlat(vectors.shape[1], 24, faiss.METRIC_INNER_PRODUCT)
    made.hnsw.efConstruction = 120
    made.add(vectors)
    faiss.omp_set_num_threads(1)

    def at(effort: int) -> Search:
        def search(query: np.ndarray) -> np.ndarray:
            made.hnsw.efSearch = effort
            return made.search(query[None, :], K)[1][0]

        return search

    return [(f"ef {effort}", at(effort)) for effort in EFFORTS]


def hnswlib_(vectors: np.ndarray) -> list[tuple[str, Search]]:
    import hnswlib

    made = hnswlib.Index(space="ip", dim=vectors.shape[1])
    made.init_index(max_elements=len(vectors), ef_construction=120, M=24)
    made.add_items(vectors, num_threads=CORES)
    made.set_num_threads(1)

    def at(effort: int) -> Search:
        def search(query: np.ndarray) -> np.ndarray:
            made.set_ef(effort)
            return made.knn_query(query, k=K, num_threads=1)[0][0]

        return search

    return [(f"ef {effort}", at(effort)) for effort in EFFORTS]


def usearch_(vectors: np.ndarray) -> list[tuple[str, Search]]:
    from usearch.index import Index as Other

    made = Other(
        ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=24, expansion_add=120
    )
    made.add(np.arange(len(vectors)), vectors, threads=CORES)

    def at(effort: int) -> Search:
        def search(query: np.ndarray) -> np.ndarray:
            made.expansion_search = effort
            return made.search(query, K, threads=1).keys

        return search

    return [(f"ef {effort}", at(effort)) for effort in EFFORTS]


EFFORTS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
PEERS: dict[str, Callable[[np.ndarray], list[tuple[str, Search]]]] = {
    "faiss Flat": faiss_flat,
    "faiss HNSW": faiss_hnsw,
    "hnswlib": hnswlib_,
    "usearch": usearch_,
}


# ---- measured -----------------------------------------------------------------------------------


def recall(search: Search, queries: np.ndarray, true: np.ndarray) -> float:
    return float(
        np.mean(
            [
                len({*map(int, search(query))} & {*row}) / K
                for query, row in zip(queries, true.tolist(), strict=True)
            ]
        )
    )


def speed(search: Search, queries: np.ndarray, seconds: float) -> float:
    """Queries a second, in the median of five turns."""
    rates = []
    for _ in range(5):
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds / 5:
            search(queries[done % len(queries)])
            done += 1
        rates.append(done / (time.perf_counter() - begun))
    return float(np.median(rates))


def compared(
    vectors: np.ndarray, queries: np.ndarray, peers: list[str], seconds: float, folder: Path
) -> Iterator[dict[str, Any]]:
    """Each index: its build, and recall and speed with the least effort that is enough."""
    true = index.find_nearest(vectors, queries, K)[0]
    half = len(queries) // 2
    search = exact(vectors)
    yield {
        "index": "exact (numpy)",
        "build_s": 0.0,
        "effort": "",
        "recall": 1.0,
        "per_s": speed(search, queries, seconds),
    }
    makers: dict[str, Callable[[np.ndarray], list[tuple[str, Search]]]] = {
        "ours (ScaNN)": lambda given: ours(given, folder)
    }
    makers |= {name: PEERS[name] for name in peers}
    for name, make in makers.items():
        begun = time.perf_counter()
        ways = make(vectors)
        build = time.perf_counter() - begun
        effort, search = next(
            (
                way
                for way in ways
                if len(ways) == 1 or recall(way[1], queries[:half], true[:half]) >= RECALL
            ),
            ways[-1],
        )
        yield {
            "index": name,
            "build_s": build,
            "effort": effort,
            "recall": recall(search, queries[half:], true[half:]),
            "per_s": speed(search, queries, seconds),
        }


def over_http(folder: Path, queries: np.ndarray, seconds: float) -> dict[str, float]:
    """Queries a second of our index in process and over HTTP with binary tensors, many a request."""
    from tanuki.platform.serving import client

    made = SimilarityIndex(folder)
    inputs = {
        "embedding": np.resize(queries, (BATCH, queries.shape[1])),
        "k": np.array([K], np.int32),
    }
    here = BATCH * speed(lambda _: made.run(inputs), queries, seconds)
    with tempfile.TemporaryDirectory() as home:
        server, url = served(Path(home), folder)
        try:
            there = client.connect_model_server(url)
            there.infer(index.INDEX_MODEL, inputs)
            http = BATCH * speed(lambda _: there.infer(index.INDEX_MODEL, inputs), queries, seconds)
        finally:
            server.terminate()
            server.wait(timeout=30)
    return {"in_process_per_s": here, "http_per_s": http, "share": http / here}


def served(home: Path, folder: Path) -> tuple[Any, str]:
    """A model server of its own process that answers with these files."""
    from datetime import UTC, datetime

    from tanuki.app import bootstrap
    from tanuki.settings import Settings

    res = bootstrap.create_resources(Settings(home=home))
    try:
        for file in (each for each in folder.rglob("*") if each.is_file()):
            res.registry.files.put(
                f"bench/{file.relative_to(folder).as_posix()}", file.read_bytes()
            )
        with res.db.write() as db:
            make_champion(db, index.INDEX_MODEL, "1", "bench", datetime.now(UTC))
    finally:
        bootstrap.close_resources(res)
    set_to = {
        "TANUKI_HOME": str(home),
        "TANUKI_MODEL_SERVER_PORT": "0",
        "TANUKI_MODEL_SERVER_GRPC_PORT": "0",
        "TANUKI_PREDICTION_SAMPLE_RATE": "0",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "tanuki", "models", "serve"],
        env={**os.environ, **set_to},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    for line in server.stdout or ():
        if "http://" in line:
            return server, line.split("http://")[1].join(["http://", ""]).split("/v2")[0].strip()
    raise RuntimeError("the model server did not begin")


# ---- told ---------------------------------------------------------------------------------------


def show(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """A table, and what falls short."""
    base = rows[0]["per_s"]
    print(f"\n{name}\n{'':16}{'build s':>9}{'effort':>10}{'recall':>9}{'per s':>10}{'× exact':>9}")
    for row in rows:
        row["times_exact"] = row["per_s"] / base
        print(
            f"{row['index']:16}{row['build_s']:9.1f}{row['effort']:>10}{row['recall']:9.3f}{row['per_s']:10.0f}{row['times_exact']:9.1f}"
        )
    mine = rows[1]
    short = [] if mine["recall"] >= RECALL else [f"{name}: recall {mine['recall']:.3f} < {RECALL}"]
    return short + (
        []
        if mine["times_exact"] >= TIMES
        else [f"{name}: {mine['times_exact']:.1f} × exact < {TIMES}"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hdf5", type=Path, help="A file with the data sets train and test.")
    parser.add_argument("--images", type=int, default=100_000, help="Image-like vectors; 0: none.")
    parser.add_argument(
        "--clustered", type=int, default=1_000_000, help="Clustered vectors; 0: none."
    )
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument(
        "--posts",
        type=int,
        default=100_000,
        help="Posts of the network that is searched while it changes; 0: none.",
    )
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    sets: dict[str, Callable[[], tuple[np.ndarray, np.ndarray] | None]] = {}
    if options.hdf5:
        sets[options.hdf5.name] = lambda: of_file(options.hdf5)
    for name, count, make in (
        ("image-like", options.images, generate_image_like),
        ("clustered", options.clustered, generate_clustered),
    ):
        if count:
            sets[f"{count:,} {name}"] = lambda make=make, count=count: np.split(
                make(count + options.queries), [count]
            )
    results: dict[str, Any] = {
        "targets": {
            "recall": RECALL,
            "times_exact": TIMES,
            "http_share": OVER_HTTP,
            "filtered_recall": FILTERED,
        },
        "sets": {},
    }
    short: list[str] = []
    for name, made in sets.items():
        found = made()
        if found is None:
            continue
        vectors, queries = found[0], found[1][: options.queries]
        with tempfile.TemporaryDirectory() as folder:
            rows = list(compared(vectors, queries, options.peers, options.seconds, Path(folder)))
            short += show(f"{name} ({vectors.shape[1]} numbers each)", rows)
            http = over_http(Path(folder), queries, options.seconds)
        print(
            f"over HTTP, {BATCH} queries a request: {http['http_per_s']:.0f} a second,"
            f" in process {http['in_process_per_s']:.0f}: {http['share']:.0%}"
        )
        short += (
            []
            if http["share"] >= OVER_HTTP
            else [f"{name}: HTTP keeps {http['share']:.0%} < {OVER_HTTP:.0%}"]
        )
        results["sets"][name] = {"rows": rows, "http": http}
    if options.posts:
        vectors = generate_image_like(options.posts, seed=3)
        with open_site(vectors) as world:
            results["network"] = {**measure_changes(world), **measure_filter(world)}
        told = results["network"]
        print(
            f"\n{options.posts:,} posts: {told['seen']} of {told['changes']} changes in the next query;"
            f" 1 % filter: recall {told['filtered_recall']:.3f}, {told['filtered_ms']:.1f} ms"
        )
        short += (
            [] if told["seen"] == told["changes"] else ["a change was not seen by the next query"]
        )
        short += (
            []
            if told["filtered_recall"] >= FILTERED
            else [f"1 % filter: recall {told['filtered_recall']:.3f} < {FILTERED}"]
        )
    results |= {
        "short": short,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\nall as wanted" if not short else "\nshort of what is wanted:\n  " + "\n  ".join(short))
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
