"""The states of posts: every change of state, with everything that follows from it.

A post's state, the search index, the tags and the number of posts that a member shows change
together, in one transaction, here and in `posts`, and nowhere else.
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
from tanuki.animals.session_cache import SessionCache
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

HOT_SCORE_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
HOT_SCORE_SECONDS = 43_200  # ten times the likes count as much as being younger by 12 hours
HOLD_RULE_MESSAGES = {  # rules that hold a post for a moderator, by code, and what the owner reads
    "blocked_image": msgid("Moderators have removed this picture before."),
    "banned_word": msgid("It has a word that is not used here."),
    "banned_member": msgid("You were banned before it was published."),
}
LOCKED_POSTS = SessionCache[int, Post]("locked_posts")


# ---- locks ---------------------------------------------------------------------------------------


def lock_post(db: Session, post_id: int) -> Post | None:
    """A post as it is now, locked until the transaction ends; None if there is none."""
    locked = LOCKED_POSTS.entries(db)
    if post_id not in locked and 0 < post_id <= pagination.MAX_ID:
        post = db.scalar(
            select(Post).where(Post.id == post_id).with_for_update(),
            execution_options={"populate_existing": True},
        )
        if post is None:
            return None
        locked[post_id] = post
    return locked.get(post_id)


def lock_posts(db: Session, post_ids: Iterable[int]) -> Sequence[Post]:
    """Several posts, locked in the order of their ids, so that two transactions never wait for each
    other."""
    posts = select(Post).where(Post.id.in_(post_ids)).order_by(Post.id).with_for_update()
    return db.scalars(posts, execution_options={"populate_existing": True}).all()


def relock_post(db: Session, post: Post) -> Post:
    """The same post, locked and as it is now."""
    locked = lock_post(db, post.id)
    if locked is None:
        raise NotFound("There is no such post.")
    return locked


# ---- changes of state ----------------------------------------------------------------------------


def publish_post(db: Session, post: Post, *, now: datetime) -> None:
    """Publish a post: after its review, or because a moderator restores it.

    A deleted post is only marked; undoing the deletion publishes it.
    """
    post = relock_post(db, post)
    state = post.previous_state if post.state == PostState.DELETED else post.state
    if state == PostState.REMOVED:
        unblock_images(db, post)
    if post.state == PostState.DELETED:
        post.previous_state = PostState.PUBLISHED
    elif post.state != PostState.PUBLISHED:
        post.state = PostState.PUBLISHED
        list_post(db, post, now)
    post.reason = post.note = None
    db.flush()


def hold_post(
    db: Session, post: Post, reason: str, *, note: str | None = None, now: datetime
) -> None:
    """Hide a post from everybody but its owner and moderators until a moderator decides.

    `reason` is one of `HOLD_RULE_MESSAGES` or of the moderators' reasons.
    """
    hide_post(db, post, PostState.HELD, reason, note)


def remove_post(
    db: Session, post: Post, reason: str, *, note: str | None = None, now: datetime
) -> None:
    """Hide a post for good. A new post with the same image will be held."""
    post = hide_post(db, post, PostState.REMOVED, reason, note)
    for digest in image_digests(post):
        insert_or_ignore(db, BlockedImageHash, digest=digest, reason=reason, at=now)


def hide_post(db: Session, post: Post, state: PostState, reason: str, note: str | None) -> Post:
    """Set a hidden state, which a deleted post will have when its deletion is undone."""
    post = relock_post(db, post)
    if post.state == PostState.PUBLISHED:
        unlist_post(db, post)
    if post.state == PostState.DELETED:
        post.previous_state = state
    else:
        post.state = state
    post.reason, post.note = reason, note
    db.flush()
    return post


def list_post(db: Session, post: Post, now: datetime) -> None:
    """Enter a post into lists, search and counts, at its old place if it was published before."""
    if post.published_at is None:
        post.published_at = now
    post.hot_score = hot_score(post.published_at, post.likes)
    db.flush()
    index.index_post(db, post)
    db.add_all(PostTag(tag=fold(tag), post_id=post.id) for tag in post.tags)
    db.execute(update(Member).where(Member.id == post.member_id).values(posts=Member.posts + 1))


def unlist_post(db: Session, post: Post) -> None:
    """Take a post out of search and counts; lists leave it out because of its state."""
    index.unindex_post(db, post.id)
    db.execute(delete(PostTag).where(PostTag.post_id == post.id))
    db.execute(update(Member).where(Member.id == post.member_id).values(posts=Member.posts - 1))


def hot_score(published_at: datetime, likes: int) -> float:
    """The order of popular posts: log10(1 + likes), plus the age in units of 12 hours.

    It changes only with likes and never with time, so an index can hold the order. Reddit's "hot"
    ranking is built alike.
    """
    return log10(1 + likes) + (published_at - HOT_SCORE_EPOCH).total_seconds() / HOT_SCORE_SECONDS


# ---- images --------------------------------------------------------------------------------------


def unblock_images(db: Session, post: Post) -> None:
    """Allow the images of a restored post again, unless another removed post has them."""
    for digest in image_digests(post):
        has_image = (Post.photo == digest) | (Post.original == digest)
        removed = (Post.state == PostState.REMOVED) | (Post.previous_state == PostState.REMOVED)
        others = select(Post.id).where(has_image, Post.id != post.id, removed)
        if db.scalar(others.limit(1)) is None:
            db.execute(delete(BlockedImageHash).where(BlockedImageHash.digest == digest))


def image_digests(post: Post) -> list[str]:
    """The digests of a post's photo and, if that is an enhanced one, of the original."""
    return [post.photo] if post.original is None else [post.photo, post.original]


# ---- the end -------------------------------------------------------------------------------------


def erase_posts(db: Session, post_ids: list[int]) -> list[str]:
    """Delete posts for good, with everything about them.

    Gives the digests of their images, which the caller deletes in later transactions.
    """
    posts = lock_posts(db, post_ids)
    published = [post for post in posts if post.state == PostState.PUBLISHED]
    index.write_rows(db, [], gone=[post.id for post in published])
    for member_id, count in sorted(Counter(post.member_id for post in published).items()):
        db.execute(update(Member).where(Member.id == member_id).values(posts=Member.posts - count))
    for table in (Like, Comment, Notification, PostEdit, PostTag):
        db.execute(delete(table).where(table.post_id.in_(post_ids)))
    db.execute(delete(Post).where(Post.id.in_(post_ids)))
    LOCKED_POSTS.clear(db)
    return sorted({digest for post in posts for digest in image_digests(post)})
