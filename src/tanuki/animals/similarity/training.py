"""The durable run that builds a similarity index: embed, build, evaluate, release, clean up.

The live index changes in the step `evaluate_and_release` and nowhere else. A run that is killed
continues with the step it was in. A repeated step finds what it has done: features are stored once,
a version of this run is neither built nor evaluated twice.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from dbos import DBOS
from sqlalchemy import func, select

from tanuki import __version__
from tanuki.animals.similarity import dataset, delta_index, index
from tanuki.animals.similarity.gate import MIN_INDEXED_IMAGES
from tanuki.animals.similarity.index import INDEX_MODEL
from tanuki.animals.similarity.subprocess_call import call_in_subprocess
from tanuki.animals.tables import Post, PostState
from tanuki.animals.vision import backfill, embeddings
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.durable_steps import durable_step
from tanuki.platform.mlops import rollout
from tanuki.platform.mlops.tables import Decision
from tanuki.platform.resources import Resources

log = structlog.get_logger()

TRAINING = "similarity-index-training"
TOO_FEW_IMAGES = "too few images"
"""The outcome of a run that has nothing to build an index from."""
MAX_INDEX_VERSIONS = 14
"""One is built each night, as large as all embeddings together."""


@dataclass(frozen=True)
class TrainingInput:
    """The encoder whose embeddings are indexed, and the number of published pictures."""

    encoder_version: str
    published_images: int


def training_run_id(begun: datetime | str) -> str:
    """The id of a day's run, or of a run that somebody started at a moment."""
    if isinstance(begun, datetime):
        return f"{TRAINING}-{begun:%Y%m%dT%H%M%S}"
    return f"{TRAINING}-{begun}"


@DBOS.workflow(name=TRAINING)
def training_workflow() -> str:
    """Build an index of all pictures; on GO it is live. Gives GO, NO-GO or TOO_FEW_IMAGES.

    Pictures without features are embedded before, in parts of this run, by all workers.
    """
    training_input = choose_encoder()
    if training_input.published_images < MIN_INDEXED_IMAGES:
        return TOO_FEW_IMAGES
    backfill.embed_missing(training_input.encoder_version)
    version = build_version(training_input.encoder_version)
    decision = evaluate_and_release(version)
    delete_old_versions()
    return decision


@durable_step(TRAINING)
def choose_encoder(res: Resources, now: datetime) -> TrainingInput:
    with res.db.read() as db:
        count = (
            db.scalar(
                select(func.count(Post.photo.distinct())).where(Post.state == PostState.PUBLISHED)
            )
            or 0
        )
    if count < MIN_INDEXED_IMAGES:
        log.info("no index built", images=count, fewest=MIN_INDEXED_IMAGES)
        return TrainingInput("", count)
    return TrainingInput(embeddings.image_encoder(res).version, count)


@durable_step(TRAINING)
def build_version(res: Resources, now: datetime, encoder_version: str) -> str:
    """Build and register an index of all features of an encoder; gives its version."""
    run_id = DBOS.workflow_id or TRAINING
    for version in res.registry.versions(INDEX_MODEL):
        if version.parameters.get("run") == run_id:
            return version.version
    with res.db.read() as db:
        max_features_id = delta_index.find_settled_id(db, encoder_version, now)
        images = dataset.load_all_images(db, encoder_version)
        first_day = (
            db.scalar(select(func.min(Post.published_at)).where(Post.state == PostState.PUBLISHED))
            or now
        )
    with TemporaryDirectory() as folder:
        description = call_in_subprocess(index.build_index, images, Path(folder), max_features_id)
        size = sum(description["files"].values())
        fields = ("method", "dimension", "encoder_version", "max_features_id", "count")
        optional_fields = ("leaves", "search_parameters")
        built = res.registry.save(
            INDEX_MODEL,
            Path(folder),
            parameters={
                "run": run_id,
                **{name: description[name] for name in fields},
                **{name: description[name] for name in optional_fields if name in description},
            },
            metrics={
                "bytes": float(size),
                "recall_of_own_vectors": float(description.get("recall", 1.0)),
            },
            data_window=(first_day.date().isoformat(), now.date().isoformat()),
            code_version=__version__,
        )
    log.info("index built", version=built.version, images=len(images), bytes=size)
    return built.version


@durable_step(TRAINING)
def evaluate_and_release(res: Resources, now: datetime, version: str) -> str:
    """Record the gate's verdict on a version and, on GO, make it live; gives the decision."""
    outcome = res.lifecycle.evaluate_and_release(INDEX_MODEL, version, actor=SYSTEM, now=now)
    if outcome.released:
        res.models.refresh()
    return str(Decision.GO if outcome.verdict.go else Decision.NO_GO)


@durable_step(TRAINING)
def delete_old_versions(res: Resources, now: datetime) -> int:
    """Delete the oldest versions that no server and no alias needs; gives how many."""
    with res.db.read() as db:
        current = rollout.load_rollout(db, INDEX_MODEL)
    served = () if current is None else current.files
    old = [
        version
        for version in res.registry.versions(INDEX_MODEL)[MAX_INDEX_VERSIONS:]
        if version.version not in served and not version.aliases
    ]
    for version in old:
        res.registry.discard(INDEX_MODEL, version.version)
    return len(old)
