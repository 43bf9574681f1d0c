"""Review of posts: a durable run embeds a post's photo, runs the checks, and publishes or holds it.

The run of a post is `post-<id>`, enqueued in the transaction that created it; an edit is reviewed
by `post-<id>-v<version>`. This module also restarts lost reviews and erases what was deleted.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import structlog
from dbos import DBOS
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from tanuki.animals import notifications, pagination, post_states
from tanuki.animals.banned_words import find_banned_word
from tanuki.animals.images import photo_files
from tanuki.animals.moderation import cases
from tanuki.animals.notifications import NewNotification
from tanuki.animals.posts import POST_REVIEW, UNDO_PERIOD, review_run_id
from tanuki.animals.similarity import search
from tanuki.animals.tables import (
    BannedWord,
    BlockedImageHash,
    Member,
    NotificationKind,
    Post,
    PostState,
)
from tanuki.animals.vision import backfill, embeddings
from tanuki.errors import UserError
from tanuki.platform.durable_steps import durable_step
from tanuki.platform.jobs import PROMPT_QUEUE
from tanuki.platform.resources import Resources, process_resources

log = structlog.get_logger()

PURGE, UNUSED_PHOTOS = "animals-purge", "animals-unused-photos"
# What the image model, the object store and the database raise when they are out of reach.
EMBEDDING_ERRORS = (UserError, OSError, ValueError, LookupError, cv2.error, SQLAlchemyError)
SWEEP_SECONDS = 15.0
REVIEW_LOST_AFTER = timedelta(seconds=30)  # in state `checking`
RESUME_FAILED_AFTER = timedelta(minutes=1)  # failed runs are resumed until they succeed
PHOTO_UNUSED_AFTER = timedelta(hours=1)  # a photo is stored shortly before the row that uses it
POSTS_PER_PURGE = 50  # in one transaction


# ---- the review ----------------------------------------------------------------------------------


def run_post_review(post_id: int) -> str:
    """Review a post and give its state. Repeating it changes nothing."""
    return review_post(post_id)


@durable_step(POST_REVIEW)
def review_post(res: Resources, now: datetime, post_id: int) -> str:
    """Compute the embedding, then run the checks and publish or hold the post in one transaction.

    The commit does not wait for the disk; after a power failure the workflow repeats this step. A
    check of the photo's content would belong into `find_hold_reason`.
    """
    embed_photo(res, now, post_id)
    with res.db.write() as db:
        return run_checks(db, post_id, now=now)


def embed_photo(res: Resources, now: datetime, post_id: int) -> None:
    """Compute the embedding of a post's photo, once for all posts that have it.

    If the image model is unreachable the post is not delayed; the backfill adds the embedding
    later. While the live similarity index was still built with the previous model, compute that
    model's embedding as well, so that the new post appears in similar-image results.
    """
    try:
        with res.db.read() as db:
            digest = db.scalar(select(Post.photo).where(Post.id == post_id))
            index = search.find_current_index(res, db)
        if digest is None or index is None:
            return
        embeddings.ensure_embedding(res, digest, now)
        if index.encoder_version != embeddings.image_encoder(res).live_version():
            embeddings.ensure_embedding(res, digest, now, index.encoder_version)
    except EMBEDDING_ERRORS as error:
        log.warning(
            "photo not embedded", post=post_id, error=type(error).__name__, why=str(error)[:200]
        )


def run_checks(db: Session, post_id: int, *, now: datetime) -> str:
    """Publish or hold a post that is in review, or was published and then edited; gives its state.

    Moderators' decisions stay. A deleted post is decided as well, because its owner may undo the
    deletion.
    """
    post = post_states.lock_post(db, post_id)
    if post is None:
        return "gone"
    state = post.previous_state if post.state == PostState.DELETED else post.state
    if state not in (PostState.CHECKING, PostState.PUBLISHED):
        return str(state)
    reason = find_hold_reason(db, post)
    if reason is not None:
        post_states.hold_post(db, post, reason, now=now)
        cases.open_case_for_held_post(db, post, now=now)
        notification = NewNotification(
            NotificationKind.HELD,
            review_run_id(post, post.version),
            post_id=post.id,
            values={"why": reason},
        )
        notifications.notify(db, post.member_id, notification, now=now)
        log.info("post held", post=post_id, why=reason)
    elif state == PostState.CHECKING:
        post_states.publish_post(db, post, now=now)
    return post.state


def find_hold_reason(db: Session, post: Post) -> str | None:
    """The first of `post_states.HOLD_RULE_MESSAGES` that applies to a post."""
    blocked = (
        select(BlockedImageHash.digest)
        .where(BlockedImageHash.digest.in_(post_states.image_digests(post)))
        .exists()
    )
    owner = select(blocked, Member.banned_at).where(Member.id == post.member_id)
    has_blocked_image, banned_at = db.execute(owner).one()
    if has_blocked_image:
        return "blocked_image"
    text = " ".join((post.title, post.description, *post.tags))
    if find_banned_word(db.scalars(select(BannedWord.word)), text) is not None:
        return "banned_word"
    return None if banned_at is None else "banned_member"


post_review_workflow = DBOS.workflow(name=POST_REVIEW)(run_post_review)


# ---- lost reviews --------------------------------------------------------------------------------


def start_due_runs() -> None:
    """Restart lost reviews, and start the purge if a deleted post is due. Every worker may do this
    at the same time."""
    res, now = process_resources(), datetime.now(UTC)
    start_lost_reviews(res, now)
    with res.db.read() as db:
        due = db.scalar(select(Post.id).where(*undo_expired(now)).limit(1))
    if due is not None:
        with res.db.write() as db:
            res.jobs.enqueue(db, PURGE, f"{PURGE}-{now:%Y%m%dT%H%M}")


def start_lost_reviews(res: Resources, now: datetime) -> int:
    """Start the review of every post that has waited for long and has none, and resume failed
    ones; gives how many."""
    started, last_id = 0, 0
    waiting_since = func.coalesce(Post.edited_at, Post.posted_at)
    waiting = (
        select(Post)
        .where(Post.state == PostState.CHECKING, waiting_since < now - REVIEW_LOST_AFTER)
        .order_by(Post.id)
        .limit(pagination.MAX_PAGE_SIZE)
    )
    while True:
        with res.db.read() as db:
            posts = db.scalars(waiting.where(Post.id > last_id)).all()
        if not posts:
            break
        last_id = posts[-1].id
        run_ids = {
            post.id: (review_run_id(post), review_run_id(post, post.version)) for post in posts
        }
        states = res.jobs.load_run_statuses(
            {run_id for pair in run_ids.values() for run_id in pair}
        )
        for post in posts:
            first, after_edit = run_ids[post.id]
            if first in states and (after_edit in states or states[first] in ("queued", "running")):
                continue
            run_id = first if first not in states else after_edit
            with res.db.write() as db:
                res.jobs.enqueue(db, POST_REVIEW, run_id, post.id, queue=PROMPT_QUEUE)
            started += 1
    started += res.jobs.resume_failed_runs(POST_REVIEW, before=now - RESUME_FAILED_AFTER)
    if started:
        log.warning("lost reviews started", posts=started)
    return started


# ---- deleted posts and unused photos -------------------------------------------------------------


def undo_expired(now: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The conditions of a deleted post whose deletion can no longer be undone."""
    return (Post.state == PostState.DELETED, Post.deleted_at < now - UNDO_PERIOD)


def erase_deleted_posts(res: Resources, now: datetime) -> int:
    """Erase the posts whose undo period is over; gives how many.

    Rows go first, then photos. If the process is killed in between, `delete_unused_photos` deletes
    those photos.
    """
    erased = 0
    due = (
        select(Post.id)
        .where(*undo_expired(now))
        .order_by(Post.id)
        .limit(POSTS_PER_PURGE)
        .with_for_update(skip_locked=True)
    )
    while True:
        with res.db.write() as db:
            ids = list(db.scalars(due))
            digests = post_states.erase_posts(db, ids)
        delete_photos(res, digests)
        erased += len(ids)
        if not ids:
            return erased


def delete_unused_photos(res: Resources, now: datetime) -> int:
    """Delete the photos that no post or profile uses: replaced profile photos, posts that were
    never completed, interrupted purges. Gives how many."""
    with res.db.read() as db:
        digests = photo_files.find_unused_photos(db, before=now - PHOTO_UNUSED_AFTER)
    return delete_photos(res, digests)


def delete_photos(res: Resources, digests: Iterable[str]) -> int:
    """Delete those of the photos that nothing uses, one per transaction, because deleted files
    cannot be rolled back."""
    deleted = 0
    for digest in digests:
        with res.db.write() as db:
            deleted += photo_files.delete_unused_photo(db, res.objects, digest)
    return deleted


erase_deleted_posts_step = durable_step(PURGE)(erase_deleted_posts)
delete_unused_photos_step = durable_step(UNUSED_PHOTOS)(delete_unused_photos)


@DBOS.workflow(name=PURGE)
def purge_deleted_posts() -> int:
    return erase_deleted_posts_step()


@DBOS.workflow(name=UNUSED_PHOTOS)
def delete_unused_photos_hourly(due: datetime, _context: object) -> int:
    return delete_unused_photos_step()


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": UNUSED_PHOTOS,
        "workflow_fn": delete_unused_photos_hourly,
        "schedule": "40 * * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
    *backfill.SCHEDULES,
]
PERIODIC_TASKS: list[tuple[Callable[[], None], float]] = [
    (start_due_runs, SWEEP_SECONDS),
    *backfill.PERIODIC_TASKS,
]
