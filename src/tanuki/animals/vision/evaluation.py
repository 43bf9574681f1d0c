"""May other eyes go live? They are asked beside the live ones whether a picture's neighbours are of its kind, over the published pictures that both have looked at.

A loss is the share of a picture's ten nearest that are of another category than its post says, by exact search. People choose the categories, so neither version had
a hand in them. The floor is chance: the share of other categories among all pictures.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from tanuki.animals.tables import ImageFeatures, Post
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.errors import UserError
from tanuki.platform.mlops import evaluation
from tanuki.platform.mlops.evaluation import ComparisonData, Limits, Measure, Numbers
from tanuki.platform.mlops.tables import GateVerdict

CHALLENGED, CHAMPION, CHANCE = "challenger", "champion", "chance"
FEWEST = 50  # pictures that both have looked at
MOST = 20_000  # that are compared, the newest
ROWS_AT_ONCE = 500
K = 10
BLOCKS = 20
DARK = 0.3  # mean lightness of a night picture, or below
LIMITS = Limits(overall=0.02, slice=0.15, baseline_slice=0.5)
MEASURES = {
    "strangers": {
        "en": "share of another category among the ten nearest",
        "ja": "近い10枚に別の種類が混じる割合",
    }
}
SLICES = {  # kinds of pictures that are told apart, in words; of other gates over pictures, too
    "category": {"en": "Category", "ja": "カテゴリー"},
    "light": {"en": "Light", "ja": "明るさ"},
    "light:night": {"en": "dark pictures", "ja": "暗い写真"},
    "light:day": {"en": "light pictures", "ja": "明るい写真"},
    **{f"category:{key}": {"en": name.en, "ja": name.ja} for key, name in CATEGORIES.items()},
}
WORDS = {
    "nan": {
        "en": "{rows:,} of {of:,} drawn pictures got no embedding that can be used.",
        "ja": "{of:,}枚のテスト画像のうち{rows:,}枚で、使える埋め込みが得られません。",
    }
}


def judged(db: Session, version: str, champion: str, now: datetime, by: str) -> GateVerdict:
    """The verdict about a version that has looked at what the live one has, ready to be kept. Raises UserError when there is too little to compare."""
    categories, light, ours, theirs = both(db, version, champion)
    if len(categories) < FEWEST:
        raise UserError(
            "Both versions have looked at %(found)s published pictures; comparing them needs %(fewest)s.",
            found=len(categories),
            fewest=FEWEST,
        )
    counts = Counter(categories)
    strangers = np.array(
        [1 - (counts[category] - 1) / (len(categories) - 1) for category in categories]
    )
    losses = {
        CHALLENGED: strangers_near(ours, categories),
        CHAMPION: strangers_near(theirs, categories),
        CHANCE: strangers,
    }
    slices = {
        "category": categories,
        "light": ["night" if each < DARK else "day" for each in light],
    }
    block = [f"{n % BLOCKS:02d}" for n in range(len(categories))]
    verdict = evaluation.compare_models(
        ComparisonData(block, slices, [Measure("strangers", losses)], CHALLENGED, CHAMPION, [CHANCE]), LIMITS
    )
    means = {name: float(np.nanmean(each)) for name, each in losses.items()}
    report = {
        "pictures": len(categories),
        "strangers": means,
        "limits": asdict(LIMITS),
        **verdict.as_json(),
    }
    return GateVerdict(
        model=ENCODER_MODEL, version=version, champion=champion, go=verdict.go, report=report, at=now, by=by
    )


def both(
    db: Session, version: str, champion: str
) -> tuple[list[str], list[float], NDArray[np.float32], NDArray[np.float32]]:
    """The newest published pictures that two versions have looked at: category of a post, lightness, and the embeddings of each."""
    one, other = aliased(ImageFeatures), aliased(ImageFeatures)
    kinds = (
        select(Post.photo, func.min(Post.category).label("category"))
        .where(Post.state == "published")
        .group_by(Post.photo)
        .subquery()
    )
    wanted = (
        select(kinds.c.category, one.lightness, one.embedding, other.embedding)
        .join(one, one.digest == kinds.c.photo)
        .join(other, other.digest == kinds.c.photo)
        .where(one.encoder_version == version, other.encoder_version == champion)
    )
    found = db.execute(wanted.order_by(one.id.desc()).limit(MOST)).all()
    ours, theirs = (vectors([row[n] for row in found]) for n in (2, 3))
    return [row[0] for row in found], [row[1] for row in found], ours, theirs


def vectors(kept: Sequence[bytes]) -> NDArray[np.float32]:
    """Embeddings as looks keep them, one a row, each of length 1."""
    width = len(kept[0]) // 2 if kept else 0
    made = np.frombuffer(b"".join(kept), "<f2").astype(np.float32).reshape(len(kept), width)
    lengths: NDArray[np.float32] = np.linalg.norm(made, axis=1, keepdims=True)
    return made / lengths


def strangers_near(embeddings: NDArray[np.float32], categories: Sequence[str]) -> Numbers:
    """For each picture the share of its ten nearest that are of another category."""
    kinds = np.asarray(categories)
    made = np.empty(len(kinds))
    for start in range(0, len(kinds), ROWS_AT_ONCE):
        cosines = embeddings[start : start + ROWS_AT_ONCE] @ embeddings.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        near = np.argpartition(-cosines, K, axis=1)[:, :K]
        made[start : start + len(cosines)] = (
            kinds[near] != kinds[start : start + len(cosines), None]
        ).mean(axis=1)
    return made


def words(reason: Mapping[str, Any], lang: str) -> str:
    """A reason as a sentence."""
    return evaluation.words(reason, lang, more=WORDS, kinds=SLICES, measures=MEASURES)
