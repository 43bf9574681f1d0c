"""Recall and latency of an index as it is served, beside the live index and two baselines.

Every model is asked for what an exact search finds on the same pictures. An index answers together
with an exact search over the features that are newer than it, as in production.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from tanuki.animals.similarity.dataset import Ids, ImageSet
from tanuki.animals.similarity.index import SimilarityIndex
from tanuki.animals.vision.evaluation import MAX_NIGHT_LIGHTNESS
from tanuki.animals.vision.nearest_neighbours import Vectors, find_nearest
from tanuki.platform.mlops.evaluation import ComparisonData, Labels, Measure, Numbers
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION

PHASH, RANDOM = "phash", "random"
EVALUATED_NEIGHBOURS = 10
OVERFETCH = 5
"""Times as many neighbours are fetched, because some pictures are no longer published."""
MAX_QUERIES_PER_CATEGORY = 200
QUERY_BLOCKS = 20
COSINE_TOLERANCE = 1e-5
"""Cosines that differ by less count as equal."""
TIMED_QUERIES, TIMING_ROUNDS = 100, 3
NO_NEIGHBOUR, NO_ANSWER = -1, -2
"""In place of a position: there are fewer neighbours; the encoder has not embedded the picture."""
PHASH_BITS = 64


@dataclass(frozen=True)
class Candidate:
    """An index, with the pictures by the encoder that it was built with."""

    index: SimilarityIndex
    images: ImageSet

    @property
    def max_features_id(self) -> int:
        """The index should have all features up to this id."""
        return int(self.index.description["max_features_id"])


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of a query: of the index, an exact search, and the live index.

    growth: how many times as many vectors as the live index it has, at least 1.
    """

    ms: float
    exact_ms: float
    champion_ms: float | None
    growth: float


# ---- recall ------------------------------------------------------------------------------------


def choose_queries(images: ImageSet) -> Ids:
    """Positions of the pictures that are queries: at most the same number of each category.

    Always in the same pseudo-random order.
    """
    shuffled = np.random.default_rng(1).permutation(len(images))
    counts: dict[str, int] = {}
    positions = []
    for position in shuffled.tolist():
        category = images.categories[position]
        counts[category] = counts.get(category, 0) + 1
        if counts[category] <= MAX_QUERIES_PER_CATEGORY:
            positions.append(position)
    return np.array(positions, dtype=np.int64)


def build_comparison(
    candidate: Candidate, champion: Candidate | None, queries: Ids
) -> ComparisonData:
    """The losses of all models on the same queries, for the platform's gate.

    Two measures: the share of the true nearest neighbours that is missed, and the share of the
    results that is of another category.
    """
    images = candidate.images
    categories = np.array(images.categories)[queries]
    k = min(EVALUATED_NEIGHBOURS, len(images) // 2)
    results = {
        CHALLENGER: search_as_served(candidate, queries, k),
        PHASH: phash_baseline(images, queries, k),
        RANDOM: random_baseline(images, queries, k),
    }
    image_sets = dict.fromkeys(results, images)
    kth = dict.fromkeys(results, kth_similarity(images, images, queries, k))
    if champion is not None:
        results[CHAMPION] = search_champion(champion, images, queries, k)
        image_sets[CHAMPION] = champion.images
        if champion.images is not images:
            kth[CHAMPION] = kth_similarity(champion.images, images, queries, k)
        else:
            kth[CHAMPION] = kth[CHALLENGER]
    losses = {
        name: recall_loss(
            image_sets[name], find_queries(image_sets[name], images, queries), positions, kth[name]
        )
        for name, positions in results.items()
    }
    mismatches = {
        name: category_mismatch(image_sets[name], categories.tolist(), positions)
        for name, positions in results.items()
    }
    every_query = np.ones(len(queries))
    return ComparisonData(
        block=assign_blocks(categories.tolist()),
        slices={
            "category": categories.tolist(),
            "light": np.where(
                images.lightness[queries] < MAX_NIGHT_LIGHTNESS, "night", "day"
            ).tolist(),
        },
        measures=[
            Measure("recall_loss", losses, denominator=every_query),
            Measure("category_mismatch", mismatches, every_query, must_beat_baseline=False),
        ],
        challenger=CHALLENGER,
        champion=CHAMPION if champion is not None else None,
        baselines=(PHASH, RANDOM),
    )


def assign_blocks(categories: Sequence[str]) -> list[str]:
    """A bootstrap block for each query; each category is spread over as many as possible."""
    next_block: dict[str, int] = {}
    blocks = []
    for row, category in enumerate(categories):
        block = next_block.get(category, row)
        blocks.append(f"{block % QUERY_BLOCKS:02}")
        next_block[category] = block + 1
    return blocks


def search_as_served(candidate: Candidate, queries: Ids, k: int) -> Ids:
    """Positions of the k results of each query, as users get them; NO_NEIGHBOUR if fewer.

    That is: with the features that are newer than the index, without pictures that are no longer
    published, and without the query itself.
    """
    images, vectors = candidate.images, candidate.images.vectors[queries]
    position_of = {int(features_id): n for n, features_id in enumerate(images.ids)}
    newer = np.flatnonzero(images.ids > candidate.max_features_id)
    delta = (
        newer[find_nearest(images.vectors[newer], vectors, k + 1)[0]]
        if len(newer)
        else np.empty((len(queries), 0), dtype=np.int64)
    )
    results = np.full((len(queries), k), NO_NEIGHBOUR, dtype=np.int64)
    for row, own in enumerate(queries.tolist()):
        ids = candidate.index.find(vectors[row : row + 1], OVERFETCH * (k + 1))[0][0]
        indexed = {
            position_of[features_id] for features_id in ids.tolist() if features_id in position_of
        }
        positions = np.array(sorted({*indexed, *delta[row].tolist()} - {own}), dtype=np.int64)
        order = np.argsort(-(images.vectors[positions] @ vectors[row]), kind="stable")[:k]
        results[row, : len(order)] = positions[order]
    return results


def search_champion(champion: Candidate, images: ImageSet, queries: Ids, k: int) -> Ids:
    """Positions of the live index's results, in its own pictures.

    Its encoder may not have embedded a query yet: then the row is NO_ANSWER.
    """
    positions = find_queries(champion.images, images, queries)
    results = np.full((len(queries), k), NO_ANSWER, dtype=np.int64)
    embedded = positions >= 0
    results[embedded] = search_as_served(champion, positions[embedded], k)
    return results


def find_queries(images: ImageSet, query_images: ImageSet, queries: Ids) -> Ids:
    """Positions in `images` of the pictures at `queries` of another set; -1 if one is not there."""
    return np.array(
        [
            images.positions.get(query_images.digests[position], NO_NEIGHBOUR)
            for position in queries.tolist()
        ],
        dtype=np.int64,
    )


def kth_similarity(images: ImageSet, query_images: ImageSet, queries: Ids, k: int) -> Numbers:
    """Cosine of each query with its true k-th neighbour in `images`; NaN if it is not there."""
    positions = find_queries(images, query_images, queries)
    present = positions >= 0
    cosines = np.full(len(queries), np.nan)
    _, nearest = find_nearest(images.vectors, images.vectors[positions[present]], k + 1)
    cosines[present] = nearest[:, -1]  # the first one is the query itself
    return cosines


def recall_loss(images: ImageSet, positions: Ids, results: Ids, kth: Numbers) -> Numbers:
    """1 − recall@k under the encoder of `images`; NaN if the query has no answer.

    A result counts as correct if it is at least as similar as the true k-th neighbour (`kth`).
    `positions` are those of the queries in `images`.
    """
    vectors = images.vectors
    cosines = np.einsum(
        "ijk,ik->ij", vectors[np.maximum(results, 0)], vectors[np.maximum(positions, 0)]
    )
    correct = (cosines >= kth[:, None] - COSINE_TOLERANCE) & (results >= 0)
    k = results.shape[1]
    loss = 1 - np.minimum(k, correct.sum(axis=1)) / k
    return np.where(np.isnan(kth) | (results[:, 0] == NO_ANSWER), np.nan, loss)


def category_mismatch(images: ImageSet, categories: Labels, results: Ids) -> Numbers:
    """The share of results of another category than the query's; a missing result counts as one."""
    result_category = np.array([*images.categories, ""])[np.maximum(results, NO_NEIGHBOUR)]
    mismatch = (result_category != np.asarray(categories)[:, None]).mean(axis=1)
    return np.where(results[:, 0] == NO_ANSWER, np.nan, mismatch.astype(np.float64))


# ---- baselines ---------------------------------------------------------------------------------


def random_baseline(images: ImageSet, queries: Ids, k: int) -> Ids:
    """k random pictures for each query."""
    random = np.random.default_rng(2)
    others = np.arange(len(images))
    return np.array(
        [random.choice(np.delete(others, own), k, replace=False) for own in queries.tolist()],
        dtype=np.int64,
    )


def phash_baseline(images: ImageSet, queries: Ids, k: int) -> Ids:
    """The k pictures with the nearest perceptual hashes: what is possible without an encoder."""
    results = np.empty((len(queries), k), dtype=np.int64)
    for row, own in enumerate(queries.tolist()):
        distances = np.bitwise_count(images.phash ^ images.phash[own]).astype(np.int64)
        distances[own] = PHASH_BITS + 1
        results[row] = np.argsort(distances, kind="stable")[:k]
    return results


# ---- latency -----------------------------------------------------------------------------------


def measure_latency(candidate: Candidate, champion: Candidate | None, queries: Ids) -> Latency:
    """Time single queries of all searches in turn, so that other load affects all alike."""
    vectors = candidate.images.vectors
    searches: dict[str, Callable[[Vectors], object]] = {
        "ms": lambda query: candidate.index.find(query, EVALUATED_NEIGHBOURS),
        "exact_ms": lambda query: find_nearest(vectors, query, EVALUATED_NEIGHBOURS),
    }
    own_queries = [vectors[position] for position in queries[:TIMED_QUERIES].tolist()]
    samples = {"ms": own_queries, "exact_ms": own_queries}
    growth = 1.0
    if champion is not None:
        live = champion.index
        searches["champion_ms"] = lambda query: live.find(query, EVALUATED_NEIGHBOURS)
        samples["champion_ms"] = list(champion.images.vectors[:TIMED_QUERIES])
        growth = max(1.0, len(candidate.index.ids) / max(1, len(live.ids)))
    medians = time_searches(searches, samples)
    return Latency(medians["ms"], medians["exact_ms"], medians.get("champion_ms"), growth)


def time_searches(
    searches: Mapping[str, Callable[[Vectors], object]], samples: Mapping[str, Sequence[Vectors]]
) -> dict[str, float]:
    """Median milliseconds of each search over its sample queries."""
    milliseconds: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(TIMING_ROUNDS):
        for name, search in searches.items():
            for query in samples[name]:
                start = perf_counter()
                search(query[None, :])
                milliseconds[name].append(1_000 * (perf_counter() - start))
    return {name: float(np.median(values)) for name, values in milliseconds.items()}
