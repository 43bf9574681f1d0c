"""Nearest neighbours: our index beside exact search, faiss, hnswlib and usearch on equal vectors.

    python -m bench.nearest_neighbours [--hdf5 FILE] [--images 100000] [--clustered 1000000]
        [--posts 100000]

Vectors have length 1. One query at a time, on one thread; all cores build the peers' graphs. Each
index searches with the least effort that reaches a recall@10 of 0.97 on half of the queries. Recall
is measured on the other half. `--hdf5` takes a file of ann-benchmarks (data sets train and test)
and needs h5py. Image-like vectors are of categories and breeds and vary more along a few directions
than along others, as embeddings do. Clustered vectors are of many small clusters. Then our index is
asked over HTTP, many queries in a request, and a site's searches are checked under changes and with
a filter.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy starts its threads

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from bench.lib.model_server import start_model_server  # noqa: E402
from bench.lib.reporting import print_target, write_results  # noqa: E402
from bench.lib.similarity_site import (  # noqa: E402
    measure_changes,
    measure_filter,
    open_similarity_site,
    set_champion,
    store_files,
)
from bench.lib.timing import time_call  # noqa: E402
from bench.lib.vectors import (  # noqa: E402
    Vectors,
    generate_clustered,
    generate_image_like,
    normalise_vectors,
)
from tanuki.animals.similarity.dataset import ImageSet  # noqa: E402
from tanuki.animals.similarity.index import (  # noqa: E402
    INDEX_MODEL,
    SimilarityIndex,
    build_index,
)
from tanuki.animals.vision.nearest_neighbours import find_nearest  # noqa: E402
from tanuki.app import bootstrap  # noqa: E402
from tanuki.platform.serving import client  # noqa: E402
from tanuki.settings import Settings  # noqa: E402

NEIGHBOURS = 10
MIN_RECALL = 0.97
MIN_SPEEDUP = 20.0  # over exact search
MIN_HTTP_SHARE = 0.5
MIN_FILTERED_RECALL = 0.95
TIMED_SECONDS = 2.0  # at least, for each index
TIMED_ROUNDS = 5
QUERIES_PER_REQUEST = 256  # over HTTP
BUILD_THREADS = os.cpu_count() or 1  # of the peers' graphs
GRAPH_DEGREE, BUILD_EFFORT = 24, 120
EFFORTS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
"""Candidates that a search of a graph keeps."""
REPORTED_IMAGES, REPORTED_CLUSTERED = 100_000, 1_000_000  # results of a smaller run are not written

Search = Callable[[Vectors], NDArray[Any]]
"""Of one query: the positions of its nearest neighbours."""


@dataclass(frozen=True)
class Variant:
    """An index searched with a certain effort."""

    effort: str
    search: Search


Builder = Callable[[Vectors], list[Variant]]
"""Builds an index; gives it with each effort, the least first."""


@dataclass(frozen=True)
class VectorSet:
    """Vectors and queries of a data set."""

    name: str
    vectors: Vectors
    queries: Vectors


# ---- data sets -----------------------------------------------------------------------------------


def generate_sets(options: argparse.Namespace) -> Iterator[VectorSet]:
    """The data sets of the options, one at a time; a file that cannot be read is left out."""
    if options.hdf5:
        try:
            yield read_hdf5(options.hdf5, options.queries)
        except (ImportError, OSError) as error:
            print(f"{options.hdf5} is left out: {error}. Reading it needs h5py.")
    generators = (
        ("image-like", options.images, generate_image_like),
        ("clustered", options.clustered, generate_clustered),
    )
    for name, count, generate in generators:
        if count:
            vectors, queries = np.split(generate(count + options.queries), [count])
            yield VectorSet(f"{count:,} {name}", vectors, queries)


def read_hdf5(file: Path, queries: int) -> VectorSet:
    """A file of ann-benchmarks. Raises OSError, and ImportError without h5py."""
    import h5py

    with h5py.File(file) as data:
        train, test = (data[name][:].astype(np.float32) for name in ("train", "test"))
    return VectorSet(file.name, normalise_vectors(train), normalise_vectors(test)[:queries])


# ---- the indexes ---------------------------------------------------------------------------------


def search_exactly(vectors: Vectors) -> Search:
    """Exact search in NumPy."""

    def search(query: Vectors) -> NDArray[Any]:
        scores = vectors @ query
        nearest = np.argpartition(scores, -NEIGHBOURS)[-NEIGHBOURS:]
        return nearest[np.argsort(-scores[nearest])]

    return search


def build_our_index(vectors: Vectors, folder: Path) -> list[Variant]:
    """Our index as its build wrote it, which also chose the effort."""
    count = len(vectors)
    unknown = np.zeros(count)
    images = ImageSet(
        encoder_version="bench",
        ids=np.arange(count),
        vectors=vectors,
        digests=[""] * count,
        categories=[],
        lightness=unknown.astype(np.float32),
        phash=unknown.astype(np.uint64),
    )
    build_index(images, folder, count)
    index = SimilarityIndex(folder)
    return [Variant("", lambda query: index.find(query[None, :], NEIGHBOURS)[0][0])]


def build_faiss_flat(vectors: Vectors) -> list[Variant]:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return [Variant("", lambda query: index.search(query[None, :], NEIGHBOURS)[1][0])]


def build_faiss_hnsw(vectors: Vectors) -> list[Variant]:
    import faiss

    faiss.omp_set_num_threads(BUILD_THREADS)
    index = faiss.IndexHNSWFlat(vectors.shape[1], GRAPH_DEGREE, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_EFFORT
    index.add(vectors)
    faiss.omp_set_num_threads(1)

    def search(query: Vectors, effort: int) -> NDArray[Any]:
        index.hnsw.efSearch = effort
        return index.search(query[None, :], NEIGHBOURS)[1][0]

    return list_variants(search)


def build_hnswlib(vectors: Vectors) -> list[Variant]:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=BUILD_EFFORT, M=GRAPH_DEGREE)
    index.add_items(vectors, num_threads=BUILD_THREADS)
    index.set_num_threads(1)

    def search(query: Vectors, effort: int) -> NDArray[Any]:
        index.set_ef(effort)
        return index.knn_query(query, k=NEIGHBOURS, num_threads=1)[0][0]

    return list_variants(search)


def build_usearch(vectors: Vectors) -> list[Variant]:
    from usearch.index import Index

    index = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=GRAPH_DEGREE,
        expansion_add=BUILD_EFFORT,
    )
    index.add(np.arange(len(vectors)), vectors, threads=BUILD_THREADS)

    def search(query: Vectors, effort: int) -> NDArray[Any]:
        index.expansion_search = effort
        return index.search(query, NEIGHBOURS, threads=1).keys

    return list_variants(search)


def list_variants(search: Callable[[Vectors, int], NDArray[Any]]) -> list[Variant]:
    return [
        Variant(f"ef {effort}", lambda query, effort=effort: search(query, effort))
        for effort in EFFORTS
    ]


PEERS: dict[str, Builder] = {
    "faiss Flat": build_faiss_flat,
    "faiss HNSW": build_faiss_hnsw,
    "hnswlib": build_hnswlib,
    "usearch": build_usearch,
}


# ---- measures ------------------------------------------------------------------------------------


def measure_recall(search: Search, queries: Vectors, expected: NDArray[np.intp]) -> float:
    """recall@10, given the positions of an exact search."""
    hits = [
        len({*row} & {*map(int, search(query))})
        for query, row in zip(queries, expected.tolist(), strict=True)
    ]
    return float(np.mean(hits)) / NEIGHBOURS


def measure_rate(call: Callable[[Vectors], object], queries: Vectors, seconds: float) -> float:
    """Calls per second with one query after the other: the median of five rounds."""
    rates = []
    for _ in range(TIMED_ROUNDS):
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds / TIMED_ROUNDS:
            call(queries[calls % len(queries)])
            calls += 1
        rates.append(calls / (time.perf_counter() - start))
    return float(np.median(rates))


def compare_indexes(
    data: VectorSet, builders: Mapping[str, Builder], seconds: float
) -> list[dict[str, Any]]:
    """A row for exact search and for each index: build, effort, recall and rate."""
    expected, _ = find_nearest(data.vectors, data.queries, NEIGHBOURS)
    half = len(data.queries) // 2
    exact_rate = measure_rate(search_exactly(data.vectors), data.queries, seconds)
    rows: list[dict[str, Any]] = [
        {"index": "exact (numpy)", "build_s": 0.0, "effort": "", "recall": 1.0, "per_s": exact_rate}
    ]
    for name, build in builders.items():
        variants, build_seconds = time_call(lambda build=build: build(data.vectors))
        variant = choose_variant(variants, data.queries[:half], expected[:half])
        rows.append(
            {
                "index": name,
                "build_s": build_seconds,
                "effort": variant.effort,
                "recall": measure_recall(variant.search, data.queries[half:], expected[half:]),
                "per_s": measure_rate(variant.search, data.queries, seconds),
            }
        )
    return [{**row, "times_exact": row["per_s"] / exact_rate} for row in rows]


def choose_variant(
    variants: Sequence[Variant], queries: Vectors, expected: NDArray[np.intp]
) -> Variant:
    """The least effort that reaches the recall, otherwise the most."""
    for variant in variants[:-1]:
        if measure_recall(variant.search, queries, expected) >= MIN_RECALL:
            return variant
    return variants[-1]


def measure_http(folder: Path, queries: Vectors, seconds: float) -> dict[str, float]:
    """Queries per second of our index in process and over HTTP, many in a request."""
    index = SimilarityIndex(folder)
    inputs = {
        "embedding": np.resize(queries, (QUERIES_PER_REQUEST, queries.shape[1])),
        "k": np.array([NEIGHBOURS], np.int32),
    }
    in_process = measure_rate(lambda _: index.run(inputs), queries, seconds)
    with tempfile.TemporaryDirectory() as home:
        release_index(Path(home), folder)
        with start_model_server(home) as url:
            server = client.connect_model_server(url)
            server.infer(INDEX_MODEL, inputs)  # loads the index
            http = measure_rate(lambda _: server.infer(INDEX_MODEL, inputs), queries, seconds)
    return {
        "in_process_per_s": QUERIES_PER_REQUEST * in_process,
        "http_per_s": QUERIES_PER_REQUEST * http,
        "share": http / in_process,
    }


def release_index(home: Path, folder: Path) -> None:
    """Make the files of an index live on a new home folder."""
    res = bootstrap.create_resources(Settings(home=home))
    try:
        store_files(res, folder, "bench")
        with res.db.write() as db:
            set_champion(db, INDEX_MODEL, "1", "bench", datetime.now(UTC))
    finally:
        bootstrap.close_resources(res)


# ---- the report ----------------------------------------------------------------------------------


class Report:
    """Prints figures and targets, and collects the results and the targets that were missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        self.results: dict[str, Any] = {
            "targets": {
                "recall": MIN_RECALL,
                "times_exact": MIN_SPEEDUP,
                "http_share": MIN_HTTP_SHARE,
                "filtered_recall": MIN_FILTERED_RECALL,
            },
            "sets": {},
        }

    def check_target(self, met: bool, text: str) -> None:
        print_target(met, text)
        if not met:
            self.missed.append(text)

    def add_set(self, data: VectorSet, rows: list[dict[str, Any]], http: dict[str, float]) -> None:
        """Figures of a data set; the second row is ours."""
        self.results["sets"][data.name] = {"rows": rows, "http": http}
        print(f"\n{data.name} ({data.vectors.shape[1]} dimensions)")
        print(f"{'':16}{'build s':>9}{'effort':>10}{'recall':>9}{'per s':>10}{'× exact':>9}")
        for row in rows:
            print(
                f"{row['index']:16}{row['build_s']:9.1f}{row['effort']:>10}{row['recall']:9.3f}"
                f"{row['per_s']:10.0f}{row['times_exact']:9.1f}"
            )
        print(
            f"over HTTP, {QUERIES_PER_REQUEST} queries per request: {http['http_per_s']:.0f} per"
            f" second, in process {http['in_process_per_s']:.0f}"
        )
        recall, speedup, share = rows[1]["recall"], rows[1]["times_exact"], http["share"]
        self.check_target(
            recall >= MIN_RECALL, f"{data.name}: recall {recall:.3f} (at least {MIN_RECALL})"
        )
        self.check_target(
            speedup >= MIN_SPEEDUP, f"{data.name}: {speedup:.1f} × exact (at least {MIN_SPEEDUP})"
        )
        self.check_target(
            share >= MIN_HTTP_SHARE,
            f"{data.name}: {share:.0%} over HTTP (at least {MIN_HTTP_SHARE:.0%})",
        )

    def add_site(self, posts: int, figures: dict[str, float]) -> None:
        """Figures of a site's searches."""
        self.results["site"] = figures
        recall, changes = figures["filtered_recall"], figures["changes"]
        print(f"\n{posts:,} posts, 1 % filter: {figures['filtered_ms']:.1f} ms")
        self.check_target(
            figures["reflected"] == changes,
            f"{figures['reflected']} of {changes} changes in the next result",
        )
        self.check_target(
            recall >= MIN_FILTERED_RECALL,
            f"1 % filter: recall {recall:.3f} (at least {MIN_FILTERED_RECALL})",
        )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hdf5", type=Path, metavar="FILE", help="Data sets train and test.")
    parser.add_argument(
        "--images", type=int, default=REPORTED_IMAGES, help="Image-like vectors; 0: none."
    )
    parser.add_argument(
        "--clustered", type=int, default=REPORTED_CLUSTERED, help="Clustered vectors; 0: none."
    )
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument(
        "--posts", type=int, default=100_000, help="Posts of the site that changes; 0: none."
    )
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--seconds", type=float, default=TIMED_SECONDS)
    return parser.parse_args()


def main() -> None:
    options, report = parse_options(), Report()
    for data in generate_sets(options):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            builders: dict[str, Builder] = {
                "ours (ScaNN)": lambda vectors, folder=folder: build_our_index(vectors, folder)
            }
            builders |= {peer: PEERS[peer] for peer in options.peers}
            rows = compare_indexes(data, builders, options.seconds)
            report.add_set(data, rows, measure_http(folder, data.queries, options.seconds))
    if options.posts:
        with open_similarity_site(generate_image_like(options.posts, seed=3)) as site:
            report.add_site(options.posts, {**measure_changes(site), **measure_filter(site)})
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    results = {**report.results, "missed": report.missed, "peak_mb": peak_mb}
    if options.images >= REPORTED_IMAGES and options.clustered >= REPORTED_CLUSTERED:
        write_results("nearest_neighbours", results)
    sys.exit(1 if report.missed else 0)


if __name__ == "__main__":
    main()
