"""States of posts, and everything that follows from a change of state.

A post's state changes in this module and in `posts`, nowhere else, in one transaction with the
search index, the tags and the number of posts that a member shows.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import log10

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from tanuki.animals import pagination
from tanuki.animals.search import index
from tanuki.animals.search.normalize import fold
from tanuki.animals.tables import (
    BlockedImageHash,
    Comment,
    Like,
    Member,
    Notification,
    Post,
    PostEdit,
    PostState,
    PostTag,
)
from tanuki.errors import NotFound
from tanuki.i18n import msgid
from tanuki.platform.database.upsert import insert_or_ignore

LOCKED_POSTS = "tanuki_locked_posts"  # in a session's info: the posts that it has locked
HOT_SCORE_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
HOT_SCORE_SECONDS_PER_TENFOLD_LIKES = (
    43_200  # a post is as hot as one with a tenth of its likes that is so much younger
)
HOLD_RULE_MESSAGES = {  # why a post waits for a moderator although nobody has looked at it: a code, and what its owner is told
    "barred_photo": msgid("Moderators have removed this picture before."),
    "banned_word": msgid("It has a word that is not used here."),
    "banned_member": msgid("You were banned before it was published."),
}


def lock_post(db: Session, post_id: int) -> Post | None:
    """A post as it is now and stays until the transaction ends, whatever others do."""
    kept: dict[int, Post] = db.info.setdefault(LOCKED_POSTS, {})
    if post_id not in kept and 0 < post_id <= pagination.MAX_ID:
        found = db.scalar(
            select(Post).where(Post.id == post_id).with_for_update(),
            execution_options={"populate_existing": True},
        )
        if found is None:
            return None
        kept[post_id] = found
    return kept.get(post_id)


def lock_posts(db: Session, post_ids: Iterable[int]) -> Sequence[Post]:
    """The same for several, in one order, so that two never wait for each other."""
    wanted = select(Post).where(Post.id.in_(post_ids)).order_by(Post.id).with_for_update()
    return db.scalars(wanted, execution_options={"populate_existing": True}).all()


def publish_post(db: Session, post: Post, *, now: datetime) -> None:
    """Everybody may see it: after its check, or because a moderator gives it back. A deleted one is published by the undo."""
    found = relock_post(db, post)
    was = found.previous_state if found.state == PostState.DELETED else found.state
    if was == PostState.REMOVED:
        unblock_images(db, found)
    if found.state == PostState.DELETED:
        found.previous_state = PostState.PUBLISHED
    elif found.state != PostState.PUBLISHED:
        found.state = PostState.PUBLISHED
        list_post(db, found, now)
    found.reason = found.note = None
    db.flush()


def hold_post(db: Session, post: Post, why: str, *, note: str | None = None, now: datetime) -> None:
    """Only its owner and moderators may see it until a moderator decides. Why: one of HELD_BY_RULE or of moderation's reasons."""
    withdraw_post(db, post, PostState.HELD, why, note=note, now=now)


def withdraw_post(
    db: Session, post: Post, state: str, why: str, *, note: str | None = None, now: datetime
) -> None:
    """Take a post out of sight: held for a while, or removed. The picture of a removed one is held when it is posted again."""
    assert state in (PostState.HELD, PostState.REMOVED)
    found = relock_post(db, post)
    if found.state == PostState.PUBLISHED:
        unlist_post(db, found)
    if found.state == PostState.DELETED:
        found.previous_state = state
    else:
        found.state = state
    found.reason, found.note = why, note
    db.flush()
    if state == PostState.REMOVED:
        for digest in image_digests(found):
            insert_or_ignore(db, BlockedImageHash, digest=digest, reason=why, at=now)


def relock_post(db: Session, post: Post) -> Post:
    """The same post, locked and as it is now."""
    found = lock_post(db, post.id)
    if found is None:
        raise NotFound("There is no such post.")
    return found


def list_post(db: Session, post: Post, now: datetime) -> None:
    """Into the lists, in its old place when it had one, into the search, and counted."""
    if post.published_at is None:
        post.published_at = now
    post.hot_score = hot_score(post.published_at, post.likes)
    db.flush()
    index.index_post(db, post)
    db.add_all(PostTag(tag=fold(tag), post_id=post.id) for tag in post.tags)
    db.execute(update(Member).where(Member.id == post.member_id).values(posts=Member.posts + 1))


def unlist_post(db: Session, post: Post) -> None:
    """Out of the search and no longer counted; the lists leave it out by its state."""
    index.unindex_post(db, post.id)
    db.execute(delete(PostTag).where(PostTag.post_id == post.id))
    db.execute(update(Member).where(Member.id == post.member_id).values(posts=Member.posts - 1))


def hot_score(published_at: datetime, likes: int) -> float:
    """The order of popular posts: ten times the likes count as much as twelve hours. It changes with likes only, so that lists by it are cheap."""
    return (
        log10(1 + likes)
        + (published_at - HOT_SCORE_EPOCH).total_seconds() / HOT_SCORE_SECONDS_PER_TENFOLD_LIKES
    )


def unblock_images(db: Session, post: Post) -> None:
    """A removed post comes back: its picture may be posted again, unless another removed post has it."""
    for digest in image_digests(post):
        has = (Post.photo == digest) | (Post.original == digest)
        others = select(Post.id).where(
            has,
            Post.id != post.id,
            (Post.state == PostState.REMOVED) | (Post.previous_state == PostState.REMOVED),
        )
        if db.scalar(others.limit(1)) is None:
            db.execute(delete(BlockedImageHash).where(BlockedImageHash.digest == digest))


def image_digests(post: Post) -> list[str]:
    """The digests of a post's picture and, where a better one is shown, of the one that was sent."""
    return [post.photo] if post.original is None else [post.photo, post.original]


def erase_posts(db: Session, post_ids: list[int]) -> list[str]:
    """Posts and everything about them gone for good; gives the digests of their pictures, for images.forget() in a later transaction."""
    found = lock_posts(db, post_ids)
    shown = [post for post in found if post.state == PostState.PUBLISHED]
    index.write_rows(db, [], gone=[post.id for post in shown])
    for member_id, count in sorted(Counter(post.member_id for post in shown).items()):
        db.execute(update(Member).where(Member.id == member_id).values(posts=Member.posts - count))
    for table in (Like, Comment, Notification, PostEdit, PostTag):
        db.execute(delete(table).where(table.post_id.in_(post_ids)))
    db.execute(delete(Post).where(Post.id.in_(post_ids)))
    db.info.pop(LOCKED_POSTS, None)
    return sorted({digest for post in found for digest in image_digests(post)})
