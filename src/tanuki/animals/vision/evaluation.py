"""Release gate of the image encoder.

A new version is compared with the live one over the newest published photos that both have
embedded: how often do a photo's nearest neighbours belong to its own category? The loss is the
share of a photo's ten nearest, by exact search, whose posts are of another category. People choose
the categories, so neither version had a part in them. The baseline is chance: the share of other
categories among all photos. A first version has nothing to be compared with; it is only refused if
its embeddings are unusable.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from tanuki.animals.tables import ImageFeatures, Post, PostState
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.animals.vision.embeddings import decode_embeddings
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.animals.vision.nearest_neighbours import Vectors, find_other_nearest
from tanuki.animals.vision.onnx_export import EMBEDDING, INPUT
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.mlops import evaluation, rollout
from tanuki.platform.mlops.evaluation import (
    ComparisonData,
    Evaluation,
    Limits,
    Measure,
    Numbers,
    Reason,
    Verdict,
)
from tanuki.platform.mlops.lifecycle import EvaluationRequest, ModelSpec
from tanuki.platform.mlops.reasons import ReasonTexts
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION, PREVIOUS
from tanuki.platform.mlops.runtimes import Runner

CHANCE = "chance"
MIN_COMPARED_IMAGES = 50
MAX_COMPARED_IMAGES = 20_000
"""The newest ones."""
COMPARED_NEIGHBOURS = 10
EVALUATION_BLOCKS = 20
MAX_NIGHT_LIGHTNESS = 0.3
"""A photo with at most this mean lightness is in the slice "dark pictures"."""
ENCODER_LIMITS = Limits(overall=0.02, slice=0.15, baseline_slice=0.5)
NOISE_IMAGES, NOISE_SEED = 6, 1
LENGTH_TOLERANCE = 1e-3
"""How far the length of an embedding may be from 1."""

IMAGE_SLICES: dict[str, str] = {
    "category": msgid("Category"),
    "light": msgid("Light"),
    "light:night": msgid("dark pictures"),
    "light:day": msgid("light pictures"),
}
ENCODER_TEXTS = ReasonTexts(
    messages={
        "unusable_embeddings": msgid(
            "%(rows)s of %(of)s test pictures got no embedding that can be used."
        )
    },
    slices=IMAGE_SLICES,
    measures={
        "category_mismatch": msgid("share of another category among the ten nearest"),
    },
)


def category_names(db: Session, lang: str) -> dict[str, str]:
    """The names of categories in a language, by key: labels of the slices of a verdict."""
    return {key: str(getattr(name, lang)) for key, name in CATEGORIES.items()}


def evaluate_encoder(request: EvaluationRequest) -> Evaluation:
    """The verdict on a version beside the live one, or beside the one before if it is live itself.

    Raises UserError if the two versions have embedded too few published photos.
    """
    with request.db.read() as db:
        champion = rollout.champion_version(db, request.registry, ENCODER_MODEL)
        if champion == request.version:
            previous = rollout.version_with_alias(request.registry, ENCODER_MODEL, PREVIOUS)
            champion = previous.version if previous else None
        if champion is not None:
            images = load_common_images(db, request.version, champion)
    if champion is None:
        return evaluate_first_version(request)
    return compare_versions(request.version, champion, images)


# ---- the first version -------------------------------------------------------------------------


def evaluate_first_version(request: EvaluationRequest) -> Evaluation:
    """The verdict on a version that has no champion to be compared with."""
    registry = request.registry
    prefix = registry.prefix(ENCODER_MODEL, request.version)
    reasons = find_faults(registry.load_runner(prefix, request.cache))
    verdict = Verdict(not reasons, reasons)
    return Evaluation(request.version, None, verdict, {"images": NOISE_IMAGES, **verdict.as_json()})


def find_faults(runner: Runner) -> list[Reason]:
    """Embeddings of noise that are not numbers, not of length 1, or equal for all pictures."""
    shape = [NOISE_IMAGES if size == -1 else size for size in runner.spec.inputs[0].shape]
    noise = np.random.default_rng(NOISE_SEED).integers(0, 256, size=shape, dtype=np.uint8)
    noise[1::2] //= 4  # dark ones as well
    embeddings = np.concatenate(
        [runner.run({INPUT: noise[n : n + 1]})[EMBEDDING] for n in range(NOISE_IMAGES)]
    )
    lengths = np.linalg.norm(embeddings, axis=1)
    usable = np.isfinite(embeddings).all(axis=1) & (np.abs(lengths - 1) < LENGTH_TOLERANCE)
    if usable.all() and len(np.unique(embeddings.round(4), axis=0)) == NOISE_IMAGES:
        return []
    unusable = int(NOISE_IMAGES - usable.sum()) or NOISE_IMAGES
    return [{"code": "unusable_embeddings", "rows": unusable, "of": NOISE_IMAGES}]


# ---- beside the live version -------------------------------------------------------------------


@dataclass(frozen=True)
class CommonImages:
    """Published photos that two versions have embedded: category, lightness, both embeddings."""

    categories: list[str]
    lightness: list[float]
    challenger: Vectors
    champion: Vectors


def load_common_images(db: Session, version: str, champion: str) -> CommonImages:
    challenger_features, champion_features = aliased(ImageFeatures), aliased(ImageFeatures)
    photos = (
        select(Post.photo, func.min(Post.category).label("category"))
        .where(Post.state == PostState.PUBLISHED)
        .group_by(Post.photo)
        .subquery()
    )
    rows = db.execute(
        select(
            photos.c.category,
            challenger_features.lightness,
            challenger_features.embedding,
            champion_features.embedding,
        )
        .join(challenger_features, challenger_features.digest == photos.c.photo)
        .join(champion_features, champion_features.digest == photos.c.photo)
        .where(
            challenger_features.encoder_version == version,
            champion_features.encoder_version == champion,
        )
        .order_by(challenger_features.id.desc())
        .limit(MAX_COMPARED_IMAGES)
    ).all()
    return CommonImages(
        [row[0] for row in rows],
        [row[1] for row in rows],
        decode_embeddings([row[2] for row in rows]),
        decode_embeddings([row[3] for row in rows]),
    )


def compare_versions(version: str, champion: str, images: CommonImages) -> Evaluation:
    """The verdict on a version beside the live one. Raises UserError for too few photos."""
    count, categories = len(images.categories), images.categories
    if count < MIN_COMPARED_IMAGES:
        raise UserError(
            "Both versions have embedded %(found)s published pictures;"
            " comparing them needs %(fewest)s.",
            found=count,
            fewest=MIN_COMPARED_IMAGES,
        )
    sizes = Counter(categories)
    losses = {
        CHALLENGER: neighbour_category_mismatch(images.challenger, categories),
        CHAMPION: neighbour_category_mismatch(images.champion, categories),
        CHANCE: np.array([1 - (sizes[category] - 1) / (count - 1) for category in categories]),
    }
    verdict = evaluation.compare_models(
        ComparisonData(
            block=[f"{n % EVALUATION_BLOCKS:02d}" for n in range(count)],
            slices={
                "category": categories,
                "light": [
                    "night" if value < MAX_NIGHT_LIGHTNESS else "day" for value in images.lightness
                ],
            },
            measures=[Measure("category_mismatch", losses)],
            challenger=CHALLENGER,
            champion=CHAMPION,
            baselines=[CHANCE],
        ),
        ENCODER_LIMITS,
    )
    report = {
        "images": count,
        "category_mismatch": {name: float(np.nanmean(loss)) for name, loss in losses.items()},
        "limits": asdict(ENCODER_LIMITS),
        **verdict.as_json(),
    }
    return Evaluation(version, champion, verdict, report)


def neighbour_category_mismatch(vectors: Vectors, categories: Sequence[str]) -> Numbers:
    """For each picture the share of its ten nearest others that are of another category."""
    names = np.asarray(categories)
    nearest = find_other_nearest(vectors, COMPARED_NEIGHBOURS)
    return np.asarray((names[nearest] != names[:, None]).mean(axis=1), np.float64)


ENCODER_SPEC = ModelSpec(
    name=ENCODER_MODEL,
    title=msgid("Image model"),
    evaluate=evaluate_encoder,
    texts=ENCODER_TEXTS,
    load_labels=category_names,
)
