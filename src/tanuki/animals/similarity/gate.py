"""Release gate of the similarity index.

An index is refused for faults: files that cannot be read, pictures that are missing, vectors that
the image model did not give, a slow or large search. Otherwise the platform's gate decides over
recall@10 and the results' categories, over all queries, by category and by light, beside the live
index and two baselines. Everything is measured as it is served, see recall_evaluation.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tanuki.animals.similarity import dataset, delta_index, index, recall_evaluation
from tanuki.animals.similarity.dataset import Ids, ImageSet
from tanuki.animals.similarity.index import INDEX_MODEL, SimilarityIndex
from tanuki.animals.similarity.messages import INDEX_TEXTS
from tanuki.animals.similarity.recall_evaluation import (
    EVALUATED_NEIGHBOURS,
    MAX_QUERIES_PER_CATEGORY,
    Candidate,
    Latency,
)
from tanuki.animals.similarity.subprocess_call import call_in_subprocess
from tanuki.animals.vision.evaluation import category_names
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.mlops import evaluation, rollout
from tanuki.platform.mlops.evaluation import (
    ComparisonData,
    Evaluation,
    Limits,
    Reason,
    Verdict,
)
from tanuki.platform.mlops.lifecycle import EvaluationRequest, ModelSpec, ReleasePolicy
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION, PREVIOUS
from tanuki.platform.mlops.runtimes import ModelError

MIN_INDEXED_IMAGES = 20
"""With fewer published pictures an index is of no use."""
MIN_CONTAINED = 0.99
"""Of the published pictures, what must be in the index."""
MIN_CONTAINED_OF_CATEGORY = 0.95
MIN_SELF_COSINE = 0.999
"""Of a vector in the index with the stored embedding."""
MAX_SLOWDOWN, SLOWDOWN_SLACK_MS = 2.0, 0.05
"""Times the live index's median for as many pictures; a difference that is always accepted."""
MAX_SLOWDOWN_TO_EXACT = 1.5
MAX_SIZE_RATIO, SIZE_SLACK_BYTES = 3.0, 5_000_000
"""Times the size of the vectors, and bytes that are always accepted."""
MAX_LOSS_IN_SMALL_CATEGORY = 0.08
"""Recall that a small category may lose to the live index."""
MIN_MISSED_NEIGHBOURS = 4
"""So many neighbours more must be missed in a small category, or it is not refused."""
INDEX_LIMITS = Limits(overall=0.02, slice=0.05, baseline_slice=0.5)


@dataclass(frozen=True)
class GateInput:
    """The files and pictures of an evaluation; it can be sent to another process.

    images: published pictures, by encoder version. newest_id: the largest id of features that the
    index may have.
    """

    version: str
    folder: Path
    champion: str | None
    champion_folder: Path | None
    images: Mapping[str, ImageSet]
    newest_id: int


def evaluate_index(request: EvaluationRequest) -> Evaluation:
    """The verdict on a version beside the live one, or beside the one before if it is live itself.

    The work is done in a child process. Raises UserError if there are too few pictures.
    """
    registry, version = request.registry, request.version
    with request.db.read() as db, ExitStack() as stack:
        champion = rollout.champion_version(db, registry, INDEX_MODEL)
        if champion == version:
            previous = rollout.version_with_alias(registry, INDEX_MODEL, PREVIOUS)
            champion = previous.version if previous else None
        folders = {
            number: registry.load(
                INDEX_MODEL, number, into=Path(stack.enter_context(TemporaryDirectory()))
            )
            for number in (version, champion)
            if number is not None
        }
        encoder_version = registry.get(INDEX_MODEL, version).parameters["encoder_version"]
        encoder_versions = {encoder_version}
        if champion is not None:
            description = index.read_description(folders[champion])
            encoder_versions.add(description["encoder_version"])
        gate_input = GateInput(
            version,
            folders[version],
            champion,
            None if champion is None else folders[champion],
            {name: dataset.load_published_images(db, name) for name in sorted(encoder_versions)},
            delta_index.find_settled_id(db, encoder_version, request.now),
        )
        return call_in_subprocess(evaluate_files, gate_input)


INDEX_SPEC = ModelSpec(
    name=INDEX_MODEL,
    title=msgid("Index of similar pictures"),
    evaluate=evaluate_index,
    texts=INDEX_TEXTS,
    # Whoever queries the index reads from it which encoder's embeddings it takes.
    release_policy=ReleasePolicy(same_interface=False),
    load_labels=category_names,
)


def evaluate_files(gate_input: GateInput) -> Evaluation:
    """The verdict on files of a version beside those of the live one."""
    champion = None
    if gate_input.champion_folder is not None:
        champion = open_candidate(gate_input.champion_folder, gate_input.images)
    try:
        candidate = open_candidate(gate_input.folder, gate_input.images)
    except ModelError as error:
        verdict = Verdict(False, [{"code": "unreadable", "why": str(error)}])
        report = {"limits": asdict(INDEX_LIMITS), **verdict.as_json()}
        return Evaluation(gate_input.version, gate_input.champion, verdict, report)
    verdict, measurements = compare_candidates(candidate, champion, gate_input.newest_id)
    report = {
        "images": len(candidate.images),
        "encoder_version": candidate.images.encoder_version,
        "limits": asdict(INDEX_LIMITS),
        **measurements,
        **verdict.as_json(),
    }
    return Evaluation(gate_input.version, gate_input.champion, verdict, report)


def open_candidate(folder: Path, images: Mapping[str, ImageSet]) -> Candidate:
    """An index, loaded, with the pictures by its encoder. Raises ModelError."""
    loaded = SimilarityIndex(folder)
    encoder_version = str(loaded.description.get("encoder_version"))
    if encoder_version not in images:
        raise ModelError(
            "It was built with version %(version)s of the image model; expected %(known)s.",
            version=encoder_version,
            known=", ".join(images),
        )
    return Candidate(loaded, images[encoder_version])


def compare_candidates(
    candidate: Candidate, champion: Candidate | None, newest_id: int
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict on an index, and the measurements for its report. Raises UserError."""
    images = candidate.images
    if len(images) < MIN_INDEXED_IMAGES:
        raise UserError(
            "There are %(found)s published pictures; an index needs %(fewest)s.",
            found=len(images),
            fewest=MIN_INDEXED_IMAGES,
        )
    reasons = find_index_faults(candidate, newest_id)
    if any(reason["code"] == "dimension_mismatch" for reason in reasons):
        return Verdict(False, reasons), {}
    queries = recall_evaluation.choose_queries(images)
    comparison = recall_evaluation.build_comparison(candidate, champion, queries)
    latency = recall_evaluation.measure_latency(candidate, champion, queries)
    reasons += [
        *check_latency(latency),
        *check_size(candidate),
        *find_small_category_losses(comparison),
    ]
    recall = 1 - comparison.measures[0].losses[CHALLENGER]
    measurements = {
        **asdict(latency),
        "recall": float(recall.mean()),
        "queries": len(queries),
        "index": {**candidate.index.description, "files": None},
    }
    return evaluation.compare_models(comparison, INDEX_LIMITS, reasons), measurements


# ---- faults ------------------------------------------------------------------------------------


def find_index_faults(candidate: Candidate, newest_id: int) -> list[Reason]:
    """A wrong dimension, vectors that are not numbers or not the stored ones, missing pictures."""
    loaded, images = candidate.index, candidate.images
    dimension = int(images.vectors.shape[1])
    if loaded.dimension != dimension:
        return [
            {"code": "dimension_mismatch", "index": loaded.dimension, "encoder": dimension},
        ]
    reasons: list[Reason] = []
    vectors = loaded.all_vectors()
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        reasons.append({"code": "not_finite", "rows": int((~finite).sum()), "of": len(vectors)})
    if candidate.max_features_id > newest_id:
        reasons.append(
            {"code": "future_images", "index": candidate.max_features_id, "newest": newest_id}
        )
    row_of = {int(features_id): row for row, features_id in enumerate(loaded.ids)}
    due = np.flatnonzero(images.ids <= candidate.max_features_id)
    rows = np.array([row_of.get(int(images.ids[n]), -1) for n in due], dtype=np.int64)
    contained = rows >= 0
    reasons += find_missing_images(images, due, contained)
    if contained.any():
        with np.errstate(invalid="ignore"):
            cosines = np.einsum(
                "ij,ij->i", vectors[rows[contained]], images.vectors[due[contained]]
            )
        different = int((np.abs(cosines) < MIN_SELF_COSINE).sum())
        if different > (1 - MIN_CONTAINED) * contained.sum():
            reasons.append(
                {"code": "different_vectors", "rows": different, "of": int(contained.sum())}
            )
    return reasons


def find_missing_images(images: ImageSet, due: Ids, contained: NDArray[np.bool_]) -> list[Reason]:
    """Too many published pictures that are not in the index: of all, or else of a category.

    `due` are positions of the pictures that should be in it, `contained` says which of them are.
    """
    if not len(due):
        return []
    if contained.mean() < MIN_CONTAINED:
        return [{"code": "missing_images", "rows": int((~contained).sum()), "of": len(due)}]
    category = np.array(images.categories)[due]
    reasons: list[Reason] = []
    for name in np.unique(category):
        of_category = contained[category == name]
        if of_category.mean() < MIN_CONTAINED_OF_CATEGORY:
            reasons.append(
                {
                    "code": "missing_images_slice",
                    "slice": "category",
                    "label": str(name),
                    "rows": int((~of_category).sum()),
                    "of": len(of_category),
                }
            )
    return reasons


def check_latency(latency: Latency) -> list[Reason]:
    """Slower than the live index, beyond its growth, or than comparing every picture."""
    ms, champion_ms, exact_ms = latency.ms, latency.champion_ms, latency.exact_ms
    if champion_ms is not None and ms > max(
        MAX_SLOWDOWN * champion_ms * latency.growth, champion_ms + SLOWDOWN_SLACK_MS
    ):
        times = ms / max(champion_ms, 1e-9)
        return [
            {
                "code": "slower_than_champion",
                "challenger": ms,
                "champion": champion_ms,
                "times": times,
            }
        ]
    if ms > max(MAX_SLOWDOWN_TO_EXACT * exact_ms, exact_ms + SLOWDOWN_SLACK_MS):
        return [{"code": "slower_than_exact", "challenger": ms, "exact": exact_ms}]
    return []


def check_size(candidate: Candidate) -> list[Reason]:
    """Much larger than the vectors that it was built from."""
    size = sum(candidate.index.description["files"].values())
    most = round(MAX_SIZE_RATIO * candidate.images.vectors.nbytes + SIZE_SLACK_BYTES)
    if size <= most:
        return []
    return [{"code": "too_large", "megabytes": size / 1e6, "most": most / 1e6}]


def find_small_category_losses(comparison: ComparisonData) -> list[Reason]:
    """Small categories, where every photo was used as a query, that lose recall.

    Their loss has no sampling error, so the difference is compared directly, without a significance
    test, however few photos there are.
    """
    if comparison.champion is None:
        return []
    losses, reasons = comparison.measures[0].losses, []
    category = np.asarray(comparison.slices["category"])
    answered = np.isfinite(losses[CHALLENGER]) & np.isfinite(losses[CHAMPION])
    for name in np.unique(category):
        inside = (category == name) & answered
        rows = int(inside.sum())
        if not 0 < rows < MAX_QUERIES_PER_CATEGORY:
            continue
        challenger = float(losses[CHALLENGER][inside].mean())
        champion = float(losses[CHAMPION][inside].mean())
        missed = (challenger - champion) * rows * EVALUATED_NEIGHBOURS
        if challenger - champion > MAX_LOSS_IN_SMALL_CATEGORY and missed >= MIN_MISSED_NEIGHBOURS:
            reasons.append(
                {
                    "code": "worse_small_category",
                    "slice": "category",
                    "label": str(name),
                    "challenger": challenger,
                    "champion": champion,
                    "rows": rows,
                }
            )
    return reasons
