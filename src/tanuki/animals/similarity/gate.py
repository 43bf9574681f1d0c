"""May an index answer? It is read, counted through and timed, then asked for what an exact search finds, beside the live one and two plain rules.

Every model answers as it is served: the index together with an exact search over the looks that are newer. What is refused in any case (files that cannot
be read, pictures that are absent, vectors that are not the eyes') is a fault; the rest is the platform's gate over the share of the ten nearest that
was missed, by category and by light.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tanuki.animals.similarity.dataset import Pictures
from tanuki.animals.similarity.index import Ids, Index
from tanuki.animals.similarity.recall_evaluation import (
    CHALLENGED,
    CHAMPION,
    OF_CATEGORY,
    Candidate,
    K,
    as_case,
    chosen,
    measured,
)
from tanuki.errors import UserError
from tanuki.platform.mlops import evaluation
from tanuki.platform.mlops.evaluation import ComparisonData, Evaluation, Limits, Reason, Verdict
from tanuki.platform.mlops.runtimes import ModelError

FEWEST = 20  # pictures; with fewer an index is of no use
CONTAINED, OF_ONE_CATEGORY = 0.99, 0.95  # of the published pictures that must be in it
ALIKE = 0.999  # cosine of a vector with the one that the eyes kept
SLOWER, SLACK_MS = (
    2.0,
    0.05,
)  # times the live index's median for as many pictures; what is never too much
SLOWER_THAN_EXACT = 1.5
LARGER, ROOM = 3.0, 5_000_000  # times the vectors themselves, and bytes beside them
SMALL = 0.08  # in a category of which all pictures were asked for: share of neighbours missed more than by the live one
FEW_MISSED = 4  # and how many at least
LIMITS = Limits(overall=0.02, slice=0.05, baseline_slice=0.5)


def judged(
    version: str,
    champion: str | None,
    folders: Mapping[str, Path],
    pictures: Mapping[str, Pictures],
    newest: int,
) -> Evaluation:
    """The gate over a version beside the live one, whose files are in folders. `pictures` by version of the eyes; `newest`: the largest id of a look."""
    theirs = None if champion is None else opened(folders[champion], pictures)
    try:
        ours = opened(folders[version], pictures)
    except ModelError as error:
        verdict = Verdict(False, [{"code": "unreadable", "why": str(error)}])
        return Evaluation(version, champion, verdict, {"limits": asdict(LIMITS), **verdict.as_json()})
    verdict, found = judge(ours, theirs, newest)
    report = {
        "pictures": len(ours.pictures),
        "encoder_version": ours.pictures.eyes,
        "limits": asdict(LIMITS),
        **found,
        **verdict.as_json(),
    }
    return Evaluation(version, champion, verdict, report)


def opened(folder: Path, pictures: Mapping[str, Pictures]) -> Candidate:
    """A version, read, with the pictures of its eyes. Raises ModelError when it cannot be."""
    index = Index(folder)
    if index.said.get("encoder_version") not in pictures:
        raise ModelError(
            "It is of version %(eyes)s of the eyes; expected %(known)s.",
            eyes=index.said.get("encoder_version"),
            known=", ".join(pictures),
        )
    return Candidate(index, pictures[index.said["encoder_version"]])


def judge(ours: Candidate, theirs: Candidate | None, newest: int) -> tuple[Verdict, dict[str, Any]]:
    """The verdict about an index, and what was measured."""
    if len(ours.pictures) < FEWEST:
        raise UserError(
            "There are %(found)s published pictures; an index needs %(fewest)s.",
            found=len(ours.pictures),
            fewest=FEWEST,
        )
    reasons = broken(ours, newest)
    if any(reason["code"] == "dimension" for reason in reasons):
        return Verdict(False, reasons), {}
    asked = chosen(ours.pictures)
    case = as_case(ours, theirs, asked)
    told = measured(ours, theirs, asked)
    reasons += slow(told) + large(ours)
    recall = 1 - case.measures[0].losses[CHALLENGED]
    found = {
        **told,
        "recall": float(recall.mean()),
        "queries": len(asked),
        "index": {**ours.index.said, "files": None},
    }
    return evaluation.compare_models(case, LIMITS, [*reasons, *worse_in_small(case)]), found


# ---- what is wrong before anything is compared ---------------------------------------------------------------------


def broken(ours: Candidate, newest: int) -> list[Reason]:
    """What no index may be: of another dimension, of vectors that are no numbers or not what the eyes saw, without some of the pictures."""
    index, pictures = ours.index, ours.pictures
    if index.dimension != pictures.vectors.shape[1]:
        return [
            {
                "code": "dimension",
                "found": index.dimension,
                "wanted": int(pictures.vectors.shape[1]),
            }
        ]
    reasons: list[Reason] = []
    vectors = index.all_vectors()
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        reasons.append({"code": "nan", "rows": int((~finite).sum()), "of": len(vectors)})
    if ours.as_of > newest:
        reasons.append({"code": "ahead", "found": ours.as_of, "newest": newest})
    place = {int(look_id): n for n, look_id in enumerate(index.ids)}
    due = np.flatnonzero(pictures.ids <= ours.as_of)
    at = np.array([place.get(int(pictures.ids[n]), -1) for n in due], dtype=np.int64)
    reasons += absent(pictures, due, at >= 0)
    both = at >= 0
    if both.any():
        with np.errstate(invalid="ignore"):
            cosine = np.einsum("ij,ij->i", vectors[at[both]], pictures.vectors[due[both]])
        wrong = int((np.abs(cosine) < ALIKE).sum())
        if wrong > (1 - CONTAINED) * both.sum():
            reasons.append({"code": "other", "rows": wrong, "of": int(both.sum())})
    return reasons


def absent(pictures: Pictures, due: Ids, there: Any) -> list[Reason]:
    """Published pictures that are not in it: of all, and of one category."""
    if not len(due):
        return []
    if there.mean() < CONTAINED:
        return [{"code": "lost", "rows": int((~there).sum()), "of": len(due)}]
    category = np.array(pictures.category)[due]
    lost = [(label, there[category == label]) for label in np.unique(category)]
    return [
        {
            "code": "lost_slice",
            "slice": "category",
            "label": str(label),
            "rows": int((~kept).sum()),
            "of": len(kept),
        }
        for label, kept in lost
        if kept.mean() < OF_ONE_CATEGORY
    ]


def slow(told: dict[str, Any]) -> list[Reason]:
    """Slower than the live one by more than more pictures make it, or than comparing with every picture."""
    reasons: list[Reason] = []
    ours, exact, theirs = told["ms"], told["exact_ms"], told.get("champion_ms")
    if theirs is not None and ours > max(SLOWER * theirs * told["more"], theirs + SLACK_MS):
        reasons.append(
            {"code": "slow", "ours": ours, "theirs": theirs, "times": ours / max(theirs, 1e-9)}
        )
    elif ours > max(SLOWER_THAN_EXACT * exact, exact + SLACK_MS):
        reasons.append({"code": "slow_exact", "ours": ours, "theirs": exact})
    return reasons


def large(ours: Candidate) -> list[Reason]:
    """Much larger than what it was made from."""
    size, most = (
        sum(ours.index.said["files"].values()),
        round(LARGER * ours.pictures.vectors.nbytes + ROOM),
    )
    return [{"code": "large", "found": size / 1e6, "most": most / 1e6}] if size > most else []


def worse_in_small(case: ComparisonData) -> list[Reason]:
    """Categories of which every picture was asked for: what is missed there is no chance of drawing them, so it needs no test, and may be in few."""
    if case.champion is None:
        return []
    losses, reasons = case.measures[0].losses, []
    label = np.asarray(case.slices["category"])
    for value in np.unique(label):
        inside = (label == value) & np.isfinite(losses[CHALLENGED]) & np.isfinite(losses[CHAMPION])
        if not 0 < inside.sum() < OF_CATEGORY:
            continue
        ours, theirs = (float(losses[name][inside].mean()) for name in (CHALLENGED, CHAMPION))
        if ours - theirs > SMALL and (ours - theirs) * inside.sum() * K >= FEW_MISSED:
            told = {"ours": ours, "theirs": theirs, "rows": int(inside.sum())}
            reasons.append(
                {"code": "worse_small", "slice": "category", "label": str(value), **told}
            )
    return reasons
