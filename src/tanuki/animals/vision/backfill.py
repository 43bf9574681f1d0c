"""Durable runs that encode pictures in bulk: those without features, or all of them again.

Pictures without features are the work to do, so a run that was killed, or is started again,
continues where it was. A run is divided by the first digit of the pictures' digests; each worker
takes one part at a time, because encoding fills a core.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from dbos import DBOS, SetWorkflowID
from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from tanuki.animals.tables import ImageFeatures, Photo, Post, PostState
from tanuki.animals.vision import embeddings, registration
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.errors import UserError
from tanuki.platform.durable_steps import durable_step
from tanuki.platform.jobs import PART_SEPARATOR, PARTS_QUEUE
from tanuki.platform.mlops.runtimes import ModelError
from tanuki.platform.resources import Resources, process_resources

log = structlog.get_logger()

EMBED, CLASSIFY, HOURLY = "animals-embed", "animals-classify", "animals-embed-hourly"
NEW_VERSION = "new"
"""Instead of a version's number: the one made from the configured image model."""
IMAGES_PER_STEP = 32
MAX_IMAGES_IN_ONE_PART = 64
"""So few pictures are not divided between workers."""
ROWS_PER_FETCH = 2_000
HEX_DIGITS = "0123456789abcdef"
UNKNOWN_CATEGORY = "unknown"
BACKFILL_DELAY = timedelta(seconds=30)
"""A published picture that has no features after this time starts the first backfill."""
RETRY_DELAY = timedelta(minutes=5)
BACKFILL_CHECK_SECONDS = 15.0
CategoryCounts = list[tuple[str, str, int]]
"""Category by the owner, category by the image model, number of posts."""


@dataclass(frozen=True)
class BackfillPart:
    """The pictures whose digests begin with `prefix`, for one encoder version."""

    version: str
    prefix: str


# ---- workflows ---------------------------------------------------------------------------------


@DBOS.workflow(name=EMBED)
def embed_workflow(version: str | None = None) -> int:
    """Encode every picture that a version, or the live one, has no features of; gives how many."""
    return embed_missing(version)


def embed_missing(version: str | None = None) -> int:
    """The same, as part of another workflow."""
    encoder_version = resolve_version(version)
    return sum(run_parts(embed_part, encoder_version, split_missing(encoder_version)))


@DBOS.workflow(name=CLASSIFY)
def classify_workflow(again: bool) -> CategoryCounts:
    """Count published posts by the owner's and the image model's category.

    Pictures without features are encoded before; with `again` all others, too.
    """
    version = resolve_version(None)
    run_parts(embed_part, version, split_missing(version))
    if again:
        run_parts(reembed_part, version, split_embedded(version))
    return count_posts(version)


@DBOS.workflow(name="animals-embed-part")
def embed_part(version: str, prefix: str) -> int:
    return run_batches(embed_batch, BackfillPart(version, prefix))


@DBOS.workflow(name="animals-reembed-part")
def reembed_part(version: str, prefix: str) -> int:
    return run_batches(reembed_batch, BackfillPart(version, prefix))


def run_parts(part: Callable[[str, str], int], version: str, prefixes: Sequence[str]) -> list[int]:
    """The results of a run's parts: one is run here, several are run by all workers."""
    if len(prefixes) <= 1:
        return [part(version, prefix) for prefix in prefixes]
    handles = []
    for prefix in prefixes:
        name = part.__name__.removesuffix("_part")
        with SetWorkflowID(f"{DBOS.workflow_id}{PART_SEPARATOR}{name}-{prefix}"):
            handles.append(DBOS.enqueue_workflow(PARTS_QUEUE, part, version, prefix))
    return [handle.get_result() for handle in handles]


def run_batches(batch: Callable[[BackfillPart, str], tuple[int, str]], part: BackfillPart) -> int:
    """Run `batch` until a part has no more pictures; gives the sum of its results."""
    total, last = 0, ""
    while True:
        count, last = batch(part, last)
        if not last:
            return total
        total += count


# ---- steps -------------------------------------------------------------------------------------


@durable_step(EMBED)
def resolve_version(res: Resources, now: datetime, version: str | None) -> str:
    """The number of a version, of the live one, or of NEW_VERSION. Raises NotFound."""
    if version is None:
        return embeddings.image_encoder(res).version
    if version == NEW_VERSION:
        return registration.register_version(res, now)
    return res.registry.get(ENCODER_MODEL, version).version


@durable_step(EMBED)
def split_missing(res: Resources, now: datetime, version: str) -> list[str]:
    """Prefixes of the parts of all pictures without features."""
    with res.db.read() as db:
        return digest_prefixes(count_missing(db, version))


@durable_step(EMBED)
def split_embedded(res: Resources, now: datetime, version: str) -> list[str]:
    """Prefixes of the parts of all pictures with features."""
    with res.db.read() as db:
        return digest_prefixes(count_embedded(db, version))


def digest_prefixes(count: int) -> list[str]:
    """No part for no pictures, one for few, otherwise one for each first digit of a digest."""
    return [] if not count else [""] if count <= MAX_IMAGES_IN_ONE_PART else list(HEX_DIGITS)


def embed_images(res: Resources, now: datetime, part: BackfillPart, after: str) -> tuple[int, str]:
    """Encode a part's next pictures, by digest; "" as `after` is the beginning.

    Gives how many features are new, and the last digest, "" if there was no picture left.
    """
    with res.db.read() as db:
        digests = list(
            db.scalars(
                select_missing(part.version)
                .where(Photo.digest.startswith(part.prefix), Photo.digest > after)
                .order_by(Photo.digest)
                .limit(IMAGES_PER_STEP)
            )
        )
    count = skip_unreadable(
        digests, lambda readable: embeddings.embed_images(res, readable, part.version, now)
    )
    return count, digests[-1] if digests else ""


def reembed_images(
    res: Resources, now: datetime, part: BackfillPart, after: str
) -> tuple[int, str]:
    """The same for pictures that have features. These are replaced and keep their ids."""
    with res.db.read() as db:
        digests = list(
            db.scalars(
                select(ImageFeatures.digest)
                .where(
                    ImageFeatures.encoder_version == part.version,
                    ImageFeatures.digest.startswith(part.prefix),
                    ImageFeatures.digest > after,
                )
                .order_by(ImageFeatures.digest)
                .limit(IMAGES_PER_STEP)
            )
        )
    count = skip_unreadable(
        digests, lambda readable: replace_features(res, readable, part.version, now)
    )
    return count, digests[-1] if digests else ""


embed_batch = durable_step(EMBED)(embed_images)
reembed_batch = durable_step(EMBED)(reembed_images)


def skip_unreadable(digests: list[str], encode: Callable[[list[str]], int]) -> int:
    """Encode pictures together; if one of them cannot be read, one by one without it.

    Raises ModelError: then no picture can be encoded.
    """
    if not digests:
        return 0
    try:
        return encode(digests)
    except ModelError:
        raise
    except UserError as error:
        if len(digests) > 1:
            return sum(skip_unreadable([digest], encode) for digest in digests)
        log.warning("picture not encoded", digest=digests[0], reason=str(error))
        return 0


def replace_features(res: Resources, digests: list[str], version: str, now: datetime) -> int:
    outputs = embeddings.encode_stored_images(res, digests, version)
    with res.db.write() as db:
        for digest, output in zip(digests, outputs, strict=True):
            db.execute(
                update(ImageFeatures)
                .where(ImageFeatures.encoder_version == version, ImageFeatures.digest == digest)
                .values(**embeddings.feature_columns(digest, output, now))
            )
    return len(digests)


@durable_step(CLASSIFY)
def count_posts(res: Resources, now: datetime, version: str) -> CategoryCounts:
    """Published posts with features, by the owner's and the image model's category."""
    counts: Counter[tuple[str, str]] = Counter()
    rows = (
        select(Post.category, ImageFeatures)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(Post.state == PostState.PUBLISHED, ImageFeatures.encoder_version == version)
    )
    with res.db.read() as db:
        for category, features in db.execute(rows.execution_options(yield_per=ROWS_PER_FETCH)):
            subject = embeddings.identify_subject(features)
            counts[category, UNKNOWN_CATEGORY if subject is None else subject.category] += 1
    return [(owner, model, count) for (owner, model), count in sorted(counts.items())]


# ---- progress ----------------------------------------------------------------------------------


def select_missing(version: str) -> Select[str]:
    """Digests of pictures of posts that a version has no features of."""
    has_post = select(Post.id).where(Post.photo == Photo.digest).exists()
    has_features = (
        select(ImageFeatures.id)
        .where(ImageFeatures.encoder_version == version, ImageFeatures.digest == Photo.digest)
        .exists()
    )
    return select(Photo.digest).where(has_post, ~has_features)


def count_missing(db: Session, version: str) -> int:
    return db.scalar(select(func.count()).select_from(select_missing(version).subquery())) or 0


def count_embedded(db: Session, version: str) -> int:
    return (
        db.scalar(
            select(func.count())
            .select_from(ImageFeatures)
            .where(ImageFeatures.encoder_version == version)
        )
        or 0
    )


def measure_progress(res: Resources, version: str | None) -> tuple[int, int]:
    """How many pictures a version, or the live one, has encoded, and of how many.

    (0, 0) before there is a live version.
    """
    version = version or embeddings.image_encoder(res).live_version()
    if version is None:
        return 0, 0
    with res.db.read() as db:
        done = count_embedded(db, version)
        return done, done + count_missing(db, version)


# ---- periodic ------------------------------------------------------------------------------------


def start_owed_backfill() -> None:
    """Start the first backfill when the first picture is published, and resume failed ones.

    The first backfill builds the first version; from then on each new post is encoded in its run.
    """
    res, now = process_resources(), datetime.now(UTC)
    if embeddings.image_encoder(res).live_version() is None:
        with res.db.read() as db:
            post_id = db.scalar(
                select(Post.id)
                .where(
                    Post.state == PostState.PUBLISHED,
                    Post.published_at < now - BACKFILL_DELAY,
                )
                .limit(1)
            )
        if post_id is not None:
            with res.db.write() as db:
                res.jobs.enqueue(db, EMBED, f"{EMBED}-first", None)
    res.jobs.resume_failed_runs(EMBED, before=now - RETRY_DELAY)


@DBOS.workflow(name=HOURLY)
def embed_hourly(due: datetime, _context: object) -> int:
    """Encode pictures that were posted while the image model could not be reached."""
    return embed_missing()


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": HOURLY,
        "workflow_fn": embed_hourly,
        "schedule": "20 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
PERIODIC_TASKS: list[tuple[Callable[[], None], float]] = [
    (start_owed_backfill, BACKFILL_CHECK_SECONDS)
]
