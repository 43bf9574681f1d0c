"""The eyes look at everything: pictures without a look, or all of them again, in durable runs spread over the workers.

What is owed is what has no look, so a run that was killed, or is done again, goes on where it was. The parts of a run are the pictures whose digests
begin alike; each worker takes one part at a time, because looking fills a core.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from dbos import DBOS, SetWorkflowID
from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from tanuki.animals.tables import ImageFeatures, Photo, Post
from tanuki.animals.vision import embeddings, registration
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.errors import UserError
from tanuki.platform.durable_steps import stepping
from tanuki.platform.jobs import PART, PARTS
from tanuki.platform.mlops.runtimes import ModelError
from tanuki.platform.resources import Resources, current

log = structlog.get_logger()

EMBED, CLASSIFY, HOURLY = "animals-embed", "animals-classify", "animals-embed-hourly"
NEW = "new"  # instead of a version: the one made from the network of the settings
AT_ONCE = 32  # pictures in a step
FEW = 64  # pictures that are not worth a part for each worker
READ_AT_ONCE = 2_000
DIGITS = "0123456789abcdef"
UNKNOWN = "unknown"
OWED_AFTER = timedelta(seconds=30)  # a published picture that nobody has looked at by then
TRY_AGAIN_AFTER = timedelta(minutes=5)
CHORE_SECONDS = 15.0
Counts = list[tuple[str, str, int]]  # a category as owners say, as the eyes say, and how many posts

step = stepping("eyes", EMBED)


# ---- the runs ------------------------------------------------------------------------------------------------------


def embed(wanted: str | None = None) -> int:
    """Look at every picture that a version, the live one unless said, has not looked at; gives how many those were."""
    version = open_eyes(wanted)
    return sum(spread(see_run, version, cut(version)))


def classify(again: bool) -> Counts:
    """What the eyes take every published post for beside what its owner says; with `again` every picture is looked at anew before."""
    version = open_eyes(None)
    spread(see_run, version, cut(version))
    if again:
        spread(again_run, version, cut_again(version))
    return count_posts(version)  # type: ignore[no-any-return]


def spread(run: Callable[..., Any], version: str, begins: Sequence[str]) -> list[Any]:
    """The results of a run's parts, by how digests begin: here when there is one, otherwise by all workers."""
    if len(begins) <= 1:
        return [run(version, each) for each in begins]
    started = []
    for begin in begins:
        with SetWorkflowID(f"{DBOS.workflow_id}{PART}{run.__name__.removesuffix('_run')}-{begin}"):
            started.append(DBOS.enqueue_workflow(PARTS, run, version, begin))
    return [each.get_result() for each in started]


@step
def open_eyes(res: Resources, now: datetime, wanted: str | None) -> str:
    """The version that is to look. Raises NotFound when it is not registered."""
    if wanted is None:
        return embeddings.image_encoder(res).version
    if wanted == NEW:
        return registration.registered(res, now)
    return res.registry.get(ENCODER_MODEL, wanted).version


@step
def cut(res: Resources, now: datetime, version: str) -> list[str]:
    """How the digests of each part's pictures begin, of those without a look."""
    with res.db.read() as db:
        return parts(owed(db, version))


@step
def cut_again(res: Resources, now: datetime, version: str) -> list[str]:
    """The same of those with one."""
    with res.db.read() as db:
        return parts(looked_at(db, version))


def parts(count: int) -> list[str]:
    """None for no pictures, one for a few, otherwise one for each first digit of a digest."""
    return [] if not count else [""] if count <= FEW else list(DIGITS)


@DBOS.workflow(name="animals-embed-part")
def see_run(version: str, begin: str) -> int:
    """A part: every picture that has no look yet."""
    return through(see_some, version, begin)


@DBOS.workflow(name="animals-again-part")
def again_run(version: str, begin: str) -> int:
    """A part: every picture that has a look is looked at again."""
    return through(see_again, version, begin)


def through(some: Callable[..., Any], version: str, begin: str) -> int:
    """Take some pictures after the other whose digests begin so, until there are no more; gives how many."""
    done, last = 0, ""
    while True:
        new, last = some(version, begin, last)
        if not last:
            return done
        done += new


embed_run = DBOS.workflow(name=EMBED)(embed)
classify_run = DBOS.workflow(name=CLASSIFY)(classify)


# ---- steps ---------------------------------------------------------------------------------------------------------


def missing(version: str) -> Select[str]:
    """Digests of pictures of posts that a version has not looked at."""
    posted = select(Post.id).where(Post.photo == Photo.digest).exists()
    return select(Photo.digest).where(
        posted, ~select(ImageFeatures.id).where(ImageFeatures.encoder_version == version, ImageFeatures.digest == Photo.digest).exists()
    )


def owed(db: Session, version: str) -> int:
    """How many pictures a version has not looked at."""
    return db.scalar(select(func.count()).select_from(missing(version).subquery())) or 0


def looked_at(db: Session, version: str) -> int:
    """How many it has."""
    return db.scalar(select(func.count()).select_from(ImageFeatures).where(ImageFeatures.encoder_version == version)) or 0


def progress(res: Resources, version: str | None) -> tuple[int, int]:
    """How many pictures a version, the live one unless said, has looked at, and of how many; of none before there is one."""
    version = version or embeddings.image_encoder(res).live_version()
    if version is None:
        return 0, 0
    with res.db.read() as db:
        done = looked_at(db, version)
        return done, done + owed(db, version)


def see_owed(res: Resources, now: datetime, version: str, begin: str, last: str) -> tuple[int, str]:
    """Look at the next few pictures after a digest: how many looks are new, and the last digest, empty when there are no more."""
    wanted = (
        missing(version)
        .where(Photo.digest.startswith(begin), Photo.digest > last)
        .order_by(Photo.digest)
        .limit(AT_ONCE)
    )
    with res.db.read() as db:
        digests = list(db.scalars(wanted))
    return several(res, digests, lambda some: embeddings.embed_images(res, some, version, now)), digests[
        -1
    ] if digests else ""


def look_again(
    res: Resources, now: datetime, version: str, begin: str, last: str
) -> tuple[int, str]:
    """The same for pictures that have a look, which is replaced: it keeps its id."""
    wanted = select(ImageFeatures.digest).where(
        ImageFeatures.encoder_version == version, ImageFeatures.digest.startswith(begin), ImageFeatures.digest > last
    )
    with res.db.read() as db:
        digests = list(db.scalars(wanted.order_by(ImageFeatures.digest).limit(AT_ONCE)))
    return several(res, digests, lambda some: replace_looks(res, some, version, now)), digests[
        -1
    ] if digests else ""


def several(res: Resources, digests: list[str], do: Callable[[list[str]], int]) -> int:
    """Do something with pictures; when it cannot be done with one of them, with all the others. Raises ModelError: then it can be done with none."""
    if not digests:
        return 0
    try:
        return do(digests)
    except ModelError:
        raise
    except UserError as wrong:
        if len(digests) > 1:
            return sum(several(res, [digest], do) for digest in digests)
        log.warning("picture not looked at", digest=digests[0], why=str(wrong))
        return 0


def replace_looks(res: Resources, digests: list[str], version: str, now: datetime) -> int:
    """Look at pictures again."""
    seen = embeddings.encode_stored_images(res, digests, version)
    with res.db.write() as db:
        for digest, each in zip(digests, seen, strict=True):
            values = embeddings.feature_columns(digest, version, each, now)
            db.execute(
                update(ImageFeatures).where(ImageFeatures.encoder_version == version, ImageFeatures.digest == digest).values(**values)
            )
    return len(digests)


see_some, see_again = step(see_owed), step(look_again)


@step
def count_posts(res: Resources, now: datetime, version: str) -> Counts:
    """Published posts with a look, by category as owners say and as the eyes say."""
    counts: Counter[tuple[str, str]] = Counter()
    wanted = (
        select(Post.category, ImageFeatures)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(Post.state == "published", ImageFeatures.encoder_version == version)
    )
    with res.db.read() as db:
        for category, look in db.execute(wanted.execution_options(yield_per=READ_AT_ONCE)):
            subject = embeddings.identify_subject(look)
            counts[category, UNKNOWN if subject is None else subject.category] += 1
    return [(owner, eyes, count) for (owner, eyes), count in sorted(counts.items())]


# ---- what is owed --------------------------------------------------------------------------------------------------


def look_after() -> None:
    """Make the eyes when the first picture is published, so that later ones are looked at when they are posted; and let runs that failed go on."""
    res, now = current(), datetime.now(UTC)
    if embeddings.image_encoder(res).live_version() is None:
        with res.db.read() as db:
            waits = db.scalar(
                select(Post.id)
                .where(Post.state == "published", Post.published_at < now - OWED_AFTER)
                .limit(1)
            )
        if waits is not None:
            with res.db.write() as db:
                res.work.enqueue(db, EMBED, f"{EMBED}-first", None)
    res.work.resume_failed(EMBED, before=now - TRY_AGAIN_AFTER)


@DBOS.workflow(name=HOURLY)
def embed_hourly(due: datetime, _context: Any) -> int:
    """Every hour: pictures that were posted while the eyes were away."""
    return embed()


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": HOURLY,
        "workflow_fn": embed_hourly,
        "schedule": "20 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
CHORES: list[tuple[Callable[[], None], float]] = [(look_after, CHORE_SECONDS)]
