"""Pictures as the eyes might have seen them, made from a seed: kinds of animals, within them races, and pictures around those."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tanuki.animals.similarity import dataset, index
from tanuki.animals.similarity.dataset import Pictures
from tanuki.animals.similarity.index import Index
from tanuki.animals.similarity.recall_evaluation import Candidate

SHARES = {"cat": 0.45, "dog": 0.35, "bird": 0.14, "sea": 0.05, "small": 0.01}


def made(count: int, *, dimension: int = 48, seed: int = 1, eyes: str = "1") -> Pictures:
    """So many pictures."""
    drawn = np.random.default_rng(seed)
    kind = drawn.choice(len(SHARES), count, p=list(SHARES.values()))
    kinds, races = (
        drawn.normal(size=(len(SHARES), dimension)),
        drawn.normal(size=(len(SHARES) * 40, dimension)) * 0.8,
    )
    vectors = (
        kinds[kind]
        + races[kind * 40 + drawn.integers(0, 40, count)]
        + drawn.normal(size=(count, dimension)) * 0.4
    )
    return Pictures(
        eyes,
        np.arange(1, count + 1, dtype=np.int64) * 3,
        dataset.unit(vectors.astype(np.float16).astype(np.float32)),
        [f"digest-{n}" for n in range(count)],
        [list(SHARES)[each] for each in kind],
        drawn.random(count).astype(np.float32),
        drawn.integers(0, 2**63, count).astype(np.uint64),
    )


def part(shown: Pictures, first: int, last: int) -> Pictures:
    """Some of them."""
    return Pictures(
        shown.eyes,
        *(var[first:last] for var in vars(shown).values() if not isinstance(var, str | dict)),
    )


def mixed(shown: Pictures, seed: int) -> Pictures:
    """The same pictures in another order, by which another tree is learnt."""
    order = np.random.default_rng(seed).permutation(len(shown))
    values = [
        [var[n] for n in order] if isinstance(var, list) else var[order]
        for var in vars(shown).values()
        if not isinstance(var, str | dict)
    ]
    return Pictures(shown.eyes, *values)


def candidate(
    shown: Pictures, folder: Path, *, vectors: Any = None, ids: Any = None, **said: Any
) -> Candidate:
    """An index of pictures, or of other vectors that say they are theirs."""
    build(shown, folder, vectors=vectors, ids=ids, **said)
    return Candidate(Index(folder), shown)


def build(
    shown: Pictures,
    folder: Path,
    *,
    vectors: Any = None,
    ids: Any = None,
    few: int = index.FEW,
    **said: Any,
) -> Mapping[str, Any]:
    """The files of one."""
    vectors, ids = (
        (shown.vectors if vectors is None else vectors),
        (shown.ids if ids is None else ids),
    )
    kinds = shown.category if len(vectors) == len(shown) and (vectors is shown.vectors) else ()
    return index.build(
        vectors,
        ids,
        folder,
        {"encoder_version": shown.eyes, "max_features_id": int(shown.ids[-1]), **said},
        kinds,
        few=few,
    )
