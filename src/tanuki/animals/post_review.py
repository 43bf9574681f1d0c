"""After a post was sent: a durable run looks at its picture, checks it and publishes or holds it. And what is owed: checks that were lost, and the end of what was deleted.

The run of a post is `post-<id>`, enqueued in the transaction that accepted it; an edit is checked by `post-<id>-v<version>`.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import structlog
from dbos import DBOS
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from tanuki.animals import members, notifications, pagination, post_states
from tanuki.animals.images import photo_files
from tanuki.animals.moderation import cases
from tanuki.animals.posts import POST_REVIEW, UNDO_PERIOD, review_run_id
from tanuki.animals.search.normalize import fold
from tanuki.animals.similarity import search
from tanuki.animals.tables import BannedWord, BlockedImageHash, Member, Post, PostState
from tanuki.animals.vision import backfill, embeddings
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform import accounts, audit_log
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.durable_steps import stepping
from tanuki.platform.jobs import PROMPT_QUEUE
from tanuki.platform.resources import Resources, process_resources

log = structlog.get_logger()

PURGE, TIDY = "animals-purge", "animals-tidy"
EMBEDDING_ERRORS = (
    UserError,
    OSError,
    ValueError,
    LookupError,
    cv2.error,
    SQLAlchemyError,
)  # of the eyes, the objects, the records
SWEEP_SECONDS = 15.0
REVIEW_LOST_AFTER = timedelta(seconds=30)  # a post still unchecked by then is looked after
RESUME_FAILED_AFTER = timedelta(minutes=1)  # what failed is tried again, for as long as it is owed
PHOTO_UNUSED_AFTER = timedelta(hours=1)  # pictures are taken in a little before what uses them
POSTS_PER_PURGE = 50  # posts purged in one transaction
MAX_BANNED_WORD_LENGTH = 40
LATIN = re.compile(r"[a-z0-9]")


# ---- the run of a post ---------------------------------------------------------------------------------------------


def run_post_review(post_id: int) -> str:
    """A post from accepted to published or held; gives the state it then has. Running it twice leaves what running it once does."""
    return str(review_post(post_id))


@stepping("animals", POST_REVIEW)
def review_post(res: Resources, now: datetime, post_id: int) -> str:
    """Look, then check and publish or hold in one transaction. It need not be on the disk before the run goes on: what a power cut takes, the run does again."""
    embed_photo(res, now, post_id)  # what it finds that holds a post belongs into reason_to_hold()
    with res.db.write() as db:
        return run_checks(db, post_id, now=now)


def embed_photo(res: Resources, now: datetime, post_id: int) -> None:
    """Let the eyes look at the picture, once for all posts that have it. Eyes that are away keep no post: the look is owed, see batch.

    As long as the index of similar pictures is in the eyes that were live before, these look too, or nobody would find the post by its likeness.
    """
    try:
        with res.db.read() as db:
            digest, index = (
                db.scalar(select(Post.photo).where(Post.id == post_id)),
                search.find_current_index(res, db),
            )
        if digest is None or index is None:
            return
        embeddings.ensure_embedding(res, digest, now)
        if index.encoder_version != embeddings.image_encoder(res).live_version():
            embeddings.ensure_embedding(res, digest, now, index.encoder_version)
    except EMBEDDING_ERRORS as error:
        log.warning(
            "picture not looked at", post=post_id, error=type(error).__name__, why=str(error)[:200]
        )


def run_checks(db: Session, post_id: int, *, now: datetime) -> str:
    """Decide about a post that is still to be checked, or was published and then edited; what moderators have decided stays."""
    post = post_states.lock_post(db, post_id)
    if post is None:
        return "gone"
    state = (
        post.previous_state if post.state == PostState.DELETED else post.state
    )  # a deleted one is decided about too: an undo may bring it back
    if state not in (PostState.CHECKING, PostState.PUBLISHED):
        return str(state)
    why = find_hold_reason(db, post)
    if why is not None:
        post_states.hold_post(db, post, why, now=now)
        cases.open_case_for_held_post(db, post, now=now)
        notifications.notify(
            db,
            post.member_id,
            "held",
            about=review_run_id(post, post.version),
            post_id=post.id,
            values={"why": why},
            now=now,
        )
        log.info("post held", post=post_id, why=why)
    elif state == PostState.CHECKING:
        post_states.publish_post(db, post, now=now)
    return post.state


def find_hold_reason(db: Session, post: Post) -> str | None:
    """The first of posts.HELD_BY_RULE that a post falls under."""
    barred = (
        select(BlockedImageHash.digest)
        .where(BlockedImageHash.digest.in_(post_states.image_digests(post)))
        .exists()
    )
    barred_photo, banned_at = db.execute(
        select(barred, Member.banned_at).where(Member.id == post.member_id)
    ).one()
    if barred_photo:
        return "barred_photo"
    if (
        find_banned_word(
            db.scalars(select(BannedWord.word)),
            " ".join((post.title, post.description, *post.tags)),
        )
        is not None
    ):
        return "banned_word"
    return None if banned_at is None else "banned_member"


def find_banned_word(words: Iterable[str], text: str) -> str | None:
    """The first of some folded words that a text has: as a word of its own where it is written in Latin letters, anywhere otherwise."""
    text = fold(text)
    for word in words:
        if word in text and (
            not LATIN.match(word) or re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text)
        ):
            return word
    return None


post_review_workflow = DBOS.workflow(name=POST_REVIEW)(run_post_review)


# ---- words that hold a post ----------------------------------------------------------------------------------------


def list_banned_words(db: Session, who: Person) -> list[BannedWord]:
    """The words that hold a post, in order. For moderators."""
    accounts.require_role(who, "moderator")
    return list(db.scalars(select(BannedWord).order_by(BannedWord.word).limit(10_000)))


def ban_word(db: Session, who: Person, word: str, *, now: datetime) -> None:
    """From now on a post with this word is held for a moderator."""
    accounts.require_role(who, "moderator")
    folded = fold(
        members.validate_text(
            word,
            1,
            MAX_BANNED_WORD_LENGTH,
            msgid("A word has 1 to %(most)s characters; found %(found)s."),
        )
    )
    if insert_or_ignore(db, BannedWord, word=folded, by=who.name, at=now):
        audit_log.append_entry(db, audit_log.AuditedAction(actor=who.name, action="ban word", target=f"word:{folded}", details={}), now)


def allow_word(db: Session, who: Person, word: str, *, now: datetime) -> None:
    """A word holds posts no longer."""
    accounts.require_role(who, "moderator")
    banned = db.get(BannedWord, fold(word))
    if banned is not None:
        db.delete(banned)
        audit_log.append_entry(db, audit_log.AuditedAction(actor=who.name, action="allow word", target=f"word:{banned.word}", details={}), now)


# ---- what is owed --------------------------------------------------------------------------------------------------


def start_due_runs() -> None:
    """Start checks that are owed and were lost, and the purge when there is something to purge. Any number of workers may look at once."""
    res, now = process_resources(), datetime.now(UTC)
    start_lost_reviews(res, now)
    with res.db.read() as db:
        due = db.scalar(select(Post.id).where(*undo_expired(now)).limit(1))
    if due is not None:
        with res.db.write() as db:
            res.jobs.enqueue(db, PURGE, f"{PURGE}-{now:%Y%m%dT%H%M}")


def start_lost_reviews(res: Resources, now: datetime) -> int:
    """Start the run of each post that has waited long for its check and has none, and let failed ones go on; gives how many."""
    begun, last = 0, 0
    since = func.coalesce(Post.edited_at, Post.posted_at)
    owed = (
        select(Post)
        .where(Post.state == PostState.CHECKING, since < now - REVIEW_LOST_AFTER)
        .order_by(Post.id)
        .limit(pagination.MAX_PAGE_SIZE)
    )
    while True:
        with res.db.read() as db:
            found = db.scalars(owed.where(Post.id > last)).all()
        if not found:
            break
        last = found[-1].id
        runs = {post.id: (review_run_id(post), review_run_id(post, post.version)) for post in found}
        known = res.jobs.load_run_statuses({run for pair in runs.values() for run in pair})
        for post in found:
            first, after_edit = runs[post.id]
            if first in known and (after_edit in known or known[first] in ("queued", "running")):
                continue
            with res.db.write() as db:
                res.jobs.enqueue(
                    db,
                    POST_REVIEW,
                    first if first not in known else after_edit,
                    post.id,
                    queue=PROMPT_QUEUE,
                )
            begun += 1
    begun += res.jobs.resume_failed_runs(POST_REVIEW, before=now - RESUME_FAILED_AFTER)
    if begun:
        log.warning("owed checks begun", posts=begun)
    return begun


def undo_expired(now: datetime) -> tuple[Any, ...]:
    """What holds for a deleted post that can no longer be brought back."""
    return (Post.state == PostState.DELETED, Post.deleted_at < now - UNDO_PERIOD)


def erase_deleted_posts(res: Resources, now: datetime) -> int:
    """Everything of the posts that were deleted long enough ago gone for good: rows first, then pictures; a kill in between leaves those to forget_unused()."""
    gone = 0
    while True:
        with res.db.write() as db:
            ids = list(
                db.scalars(
                    select(Post.id)
                    .where(*undo_expired(now))
                    .order_by(Post.id)
                    .limit(POSTS_PER_PURGE)
                    .with_for_update(skip_locked=True)
                )
            )
            digests = post_states.erase_posts(db, ids)
        delete_photos(res, digests)
        gone += len(ids)
        if not ids:
            return gone


def delete_unused_photos(res: Resources, now: datetime) -> int:
    """Pictures that nothing uses: of profiles that have another one now, of posts that were given up, of purges that were killed."""
    with res.db.read() as db:
        digests = photo_files.unused(db, before=now - PHOTO_UNUSED_AFTER)
    return delete_photos(res, digests)


def delete_photos(res: Resources, digests: Iterable[str]) -> int:
    """Take away the pictures among these that nothing uses; each in a transaction of its own, because files cannot be brought back."""
    gone = 0
    for digest in digests:
        with res.db.write() as db:
            gone += photo_files.forget(db, res.objects, digest)
    return gone


erase, tidy = (
    stepping("animals", PURGE)(erase_deleted_posts),
    stepping("animals", TIDY)(delete_unused_photos),
)


@DBOS.workflow(name=PURGE)
def purge_deleted_posts() -> int:
    """When there is something to purge: posts that can no longer be brought back."""
    return int(erase())


@DBOS.workflow(name=TIDY)
def delete_unused_photos_hourly(due: datetime, _context: Any) -> int:
    """Every hour: pictures that nothing uses."""
    return int(tidy())


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": TIDY,
        "workflow_fn": delete_unused_photos_hourly,
        "schedule": "40 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
    *backfill.SCHEDULES,
]
CHORES: list[tuple[Callable[[], None], float]] = [(start_due_runs, SWEEP_SECONDS), *backfill.CHORES]
