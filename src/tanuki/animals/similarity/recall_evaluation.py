"""An index tried as it is served: asked for what an exact search finds, beside the live one and two plain rules, on the same pictures; and timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tanuki.animals.similarity.dataset import Pictures
from tanuki.animals.similarity.index import Ids, Index, Vectors, nearest
from tanuki.animals.vision.evaluation import DARK
from tanuki.platform.mlops.evaluation import ComparisonData, Measure, Numbers

CHALLENGED, CHAMPION, TWINS, CHANCE = "challenger", "champion", "twins", "chance"
K = 10
OVER = 5  # times as many are asked for, because some are not published any more
OF_CATEGORY = 200  # pictures of each that are asked for
BLOCKS = 20
NEAR = 1e-5  # cosines that differ by less are the same
TIMED, ROUNDS = 100, 3


@dataclass(frozen=True)
class Candidate:
    """An index that was read, with the pictures as its eyes see them."""

    index: Index
    pictures: Pictures

    @property
    def as_of(self) -> int:
        """Looks up to this one should be in it."""
        return int(self.index.said["max_features_id"])


# ---- asked for what an exact search finds --------------------------------------------------------------------------


def chosen(pictures: Pictures) -> Ids:
    """Places of the pictures that are asked for: of each category the same number at most, in an order by chance that is always the same."""
    mixed = np.random.default_rng(1).permutation(len(pictures))
    taken: dict[str, int] = {}
    kept = []
    for place in mixed.tolist():
        taken[pictures.category[place]] = taken.get(pictures.category[place], 0) + 1
        if taken[pictures.category[place]] <= OF_CATEGORY:
            kept.append(place)
    return np.array(kept, dtype=np.int64)


def as_case(ours: Candidate, theirs: Candidate | None, asked: Ids) -> ComparisonData:
    """What the platform's gate is asked: of each picture's nearest, the share that was missed, and the share that is of another category."""
    pictures = ours.pictures
    k = min(K, len(pictures) // 2)
    answers = {
        CHALLENGED: answered(ours, asked, k),
        TWINS: twins(pictures, asked, k),
        CHANCE: by_chance(pictures, asked, k),
        **({CHAMPION: of_champion(theirs, pictures, asked, k)} if theirs is not None else {}),
    }
    eyes = {name: theirs.pictures if name == CHAMPION and theirs else pictures for name in answers}
    last = {
        id(each): furthest(each, pictures, asked, k)
        for each in {id(eye): eye for eye in eyes.values()}.values()
    }
    missed = {
        name: missing(eyes[name], pictures, asked, each, last[id(eyes[name])])
        for name, each in answers.items()
    }
    kinds = np.array(pictures.category)
    strange = {name: another_kind(eyes[name], kinds[asked], each) for name, each in answers.items()}
    every = np.ones(len(asked))
    return ComparisonData(
        block=blocks(kinds[asked].tolist()),
        slices={
            "category": kinds[asked].tolist(),
            "light": np.where(pictures.light[asked] < DARK, "night", "day").tolist(),
        },
        measures=[
            Measure("missed", missed, denominator=every),
            Measure("kind", strange, denominator=every, must_beat_baseline=False),
        ],
        challenger=CHALLENGED,
        champion=CHAMPION if theirs is not None else None,
        baselines=(TWINS, CHANCE),
    )


def blocks(kinds: Sequence[str]) -> list[str]:
    """Pictures by turns into the blocks that the gate draws again, each category for itself, so that each is in as many as it can be."""
    taken: dict[str, int] = {}
    made = []
    for n, kind in enumerate(kinds):
        made.append(f"{taken.get(kind, n) % BLOCKS:02}")
        taken[kind] = taken.get(kind, n) + 1
    return made


def answered(candidate: Candidate, asked: Ids, k: int) -> Ids:
    """Places of the k pictures that are found for each, as it is served: with the looks that are newer, without what is not published, without itself; -1 where there are fewer."""
    pictures, queries = candidate.pictures, candidate.pictures.vectors[asked]
    place = {int(look_id): n for n, look_id in enumerate(pictures.ids)}
    newer = np.flatnonzero(pictures.ids > candidate.as_of)
    fresh = (
        newer[nearest(pictures.vectors[newer], queries, k + 1)[0]]
        if len(newer)
        else np.empty((len(asked), 0), dtype=np.int64)
    )
    found = np.full((len(asked), k), -1, dtype=np.int64)
    for row, at in enumerate(asked.tolist()):
        ids = candidate.index.find(queries[row : row + 1], OVER * (k + 1))[0][0]
        some = np.array(
            sorted(
                {*(place[each] for each in ids.tolist() if each in place), *fresh[row].tolist()}
                - {at}
            ),
            dtype=np.int64,
        )
        order = np.argsort(-(pictures.vectors[some] @ queries[row]), kind="stable")[:k]
        found[row, : len(order)] = some[order]
    return found


def of_champion(theirs: Candidate, pictures: Pictures, asked: Ids, k: int) -> Ids:
    """What the live index finds; it may have other eyes, which may not have looked at a picture yet: then it has no answer, -2."""
    places = np.array(
        [theirs.pictures.places.get(pictures.digests[at], -1) for at in asked.tolist()],
        dtype=np.int64,
    )
    found = np.full((len(asked), k), -2, dtype=np.int64)
    known = places >= 0
    found[known] = answered(theirs, places[known], k)
    return found


def furthest(theirs: Pictures, pictures: Pictures, asked: Ids, k: int) -> Numbers:
    """How alike the last of each picture's k nearest is in these eyes; NaN where they have not looked at it."""
    places = np.array(
        [theirs.places.get(pictures.digests[at], -1) for at in asked.tolist()], dtype=np.int64
    )
    last = np.full(len(asked), np.nan)
    last[places >= 0] = nearest(theirs.vectors, theirs.vectors[places[places >= 0]], k + 1)[1][
        :, -1
    ]
    return last


def missing(theirs: Pictures, pictures: Pictures, asked: Ids, found: Ids, last: Numbers) -> Numbers:
    """Of each picture's k nearest in the eyes that were asked, the share that was not found; as near as the last of them is as good."""
    places = np.array(
        [theirs.places.get(pictures.digests[at], 0) for at in asked.tolist()], dtype=np.int64
    )
    likeness = np.einsum("ijk,ik->ij", theirs.vectors[np.maximum(found, 0)], theirs.vectors[places])
    good = (likeness >= last[:, None] - NEAR) & (found >= 0)
    lost = 1 - np.minimum(found.shape[1], good.sum(axis=1)) / found.shape[1]
    return np.where(np.isnan(last) | (found[:, 0] == -2), np.nan, lost)


def another_kind(theirs: Pictures, kinds: Any, found: Ids) -> Numbers:
    """The share of what was found that is of another category; what was not found counts as such."""
    category = np.array([*theirs.category, ""])
    other = (category[np.maximum(found, -1)] != kinds[:, None]).mean(axis=1).astype(np.float64)
    other[found[:, 0] == -2] = np.nan
    return np.asarray(other)


# ---- plain rules ---------------------------------------------------------------------------------------------------


def by_chance(pictures: Pictures, asked: Ids, k: int) -> Ids:
    """Any k pictures."""
    drawn = np.random.default_rng(2)
    return np.array(
        [
            drawn.choice(np.delete(np.arange(len(pictures)), at), k, replace=False)
            for at in asked.tolist()
        ],
        dtype=np.int64,
    )


def twins(pictures: Pictures, asked: Ids, k: int) -> Ids:
    """The k pictures whose perceptual hashes differ least: what one has without a network that learnt to see."""
    found = np.empty((len(asked), k), dtype=np.int64)
    for row, at in enumerate(asked.tolist()):
        apart = np.bitwise_count(pictures.phash ^ pictures.phash[at]).astype(np.int64)
        apart[at] = 65
        found[row] = np.argsort(apart, kind="stable")[:k]
    return found


# ---- time ----------------------------------------------------------------------------------------------------------


def measured(ours: Candidate, theirs: Candidate | None, asked: Ids) -> dict[str, Any]:
    """Milliseconds of a query in the median, of all by turns, so that what else the machine does hits all alike."""
    queries = [ours.pictures.vectors[at] for at in asked[:TIMED].tolist()]
    asks: dict[str, tuple[Any, Sequence[Vectors]]] = {
        "ms": (lambda query: ours.index.find(query, K), queries),
        "exact_ms": (lambda query: nearest(ours.pictures.vectors, query, K), queries),
    }
    if theirs is not None:
        asks["champion_ms"] = (
            lambda query: theirs.index.find(query, K),
            [theirs.pictures.vectors[n] for n in range(min(TIMED, len(theirs.pictures)))],
        )
    spent: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(ROUNDS):
        for name, (ask, given) in asks.items():
            for query in given:
                begun = perf_counter()
                ask(query[None, :])
                spent[name].append(1_000 * (perf_counter() - begun))
    told: dict[str, Any] = {name: float(np.median(each)) for name, each in spent.items()}
    told["more"] = (
        max(1.0, len(ours.index.ids) / max(1, len(theirs.index.ids))) if theirs is not None else 1.0
    )
    return told
