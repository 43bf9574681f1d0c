"""Posts: sending, editing, deleting and its undo, and every change of a post's state.

A post's state changes here and nowhere else, in one transaction with everything that follows from it: what the search knows, tags, and how many posts a member shows.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals import events, members
from tanuki.animals.images import photo_files
from tanuki.animals.search import index
from tanuki.animals.search.normalize import fold
from tanuki.animals.tables import (
    Member,
    Post,
    PostEdit,
    PostState,
    PostTag,
)
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.jobs import PROMPT_QUEUE, Jobs
from tanuki.platform.object_store import ObjectStore

POST_REVIEW = "post-review"  # the workflow
UNDO_PERIOD = timedelta(minutes=10)
POSTS_PER_HOUR = 60  # posts of one member, and edits
MAX_TITLE_LENGTH, MAX_DESCRIPTION_LENGTH, MAX_TAG_LENGTH, MAX_IDEMPOTENCY_KEY_LENGTH = (
    80,
    2_000,
    30,
    100,
)
MAX_TAGS_PER_POST = 10


@dataclass(frozen=True)
class Draft:
    """What somebody writes about a photo, as it is kept. Raises UserError for what cannot be posted."""

    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    category: str = "other"
    breed: str | None = None

    def __post_init__(self) -> None:
        title = members.validate_text(
            self.title,
            1,
            MAX_TITLE_LENGTH,
            msgid("A title has 1 to %(most)s characters; found %(found)s."),
        )
        described = msgid("A description has at most %(most)s characters; found %(found)s.")
        breed = self.breed or None
        if self.category not in CATEGORIES:
            raise UserError(
                "There is no category %(category)s; expected one of %(known)s.",
                category=self.category,
                known=", ".join(CATEGORIES),
            )
        if breed is not None and (breed not in BREEDS or BREEDS[breed].category != self.category):
            raise UserError(
                "There is no breed %(breed)s in the category %(category)s.",
                breed=breed,
                category=self.category,
            )
        made = {
            "title": title,
            "description": members.validate_text(
                self.description, 0, MAX_DESCRIPTION_LENGTH, described, lines=True
            ),
            "tags": parse_tags(self.tags),
            "breed": breed,
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def content(self) -> dict[str, Any]:
        """The columns of a post that it fills."""
        return {
            "title": self.title,
            "description": self.description,
            "tags": list(self.tags),
            "category": self.category,
            "breed": self.breed,
        }


def parse_tags(given: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Tags without their #, each once however it is written."""
    tags: dict[str, str] = {}
    for tag in (members.clean_text(tag).lstrip("#＃").strip() for tag in given):
        if len(tag) > MAX_TAG_LENGTH:
            raise UserError(
                "A tag has at most %(most)s characters; %(tag)s has %(found)s.",
                most=MAX_TAG_LENGTH,
                tag=tag[:MAX_TAG_LENGTH],
                found=len(tag),
            )
        if fold(tag):
            tags.setdefault(fold(tag), tag)
    if len(tags) > MAX_TAGS_PER_POST:
        raise UserError(
            "A post has at most %(most)s tags; found %(found)s.",
            most=MAX_TAGS_PER_POST,
            found=len(tags),
        )
    return tuple(tags.values())


# ---- what its owner does -------------------------------------------------------------------------------------------


def create_post(
    db: Session,
    objects: ObjectStore,
    work: Jobs,
    who: Person,
    draft: Draft,
    accepted: photo_files.Accepted,
    *,
    key: str,
    now: datetime,
    most: int | None = POSTS_PER_HOUR,
    source: str | None = None,
) -> Post:
    """A new post, still to be checked by the run that starts when this transaction commits. The same key again is the same post, also at the same time.

    Storing the picture with images.store() before the transaction keeps it short. `most` an hour; None for as many as one likes.
    """
    me = members.require_active_member(db, who)
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH or members.clean_text(key) != key:
        raise UserError(
            "An idempotency key has 1 to %(most)s characters that can be seen.",
            most=MAX_IDEMPOTENCY_KEY_LENGTH,
        )
    before = find_sent_post(db, me, key, draft, accepted)
    if before is not None:
        return before
    if most is not None:
        rate_limit.use(db, who.name, "posts", now=now, most=most, seconds=3600)
    photo = photo_files.keep(db, objects, accepted, now=now)
    new = insert_or_ignore(
        db,
        Post,
        member_id=me.id,
        key=key,
        photo=photo.digest,
        posted_at=now,
        source=source,
        **draft.content(),
    )
    post = find_sent_post(db, me, key, draft, accepted)
    assert post is not None
    if new:
        work.enqueue(db, POST_REVIEW, review_run_id(post), post.id, queue=PROMPT_QUEUE)
        events.record_action(
            db, me, "post", post=post.id, category=post.category, breed=post.breed, now=now
        )
    return post


def find_sent_post(
    db: Session, me: Member, key: str, draft: Draft, accepted: photo_files.Accepted
) -> Post | None:
    """What a member has sent with a key before. Raises Conflict when it was something else."""
    found = db.scalar(select(Post).where(Post.member_id == me.id, Post.key == key))
    if found is not None and (
        (found.original or found.photo) != accepted.digest
        or (found.version == 1 and post_content(found) != draft.content())
    ):
        raise Conflict(
            "Something else was posted with this idempotency key; use a new one for each post."
        )
    return found


def review_run_id(post: Post, version: int = 1) -> str:
    """The run that checks a post: the first one, or the one after an edit."""
    return f"post-{post.id}" if version == 1 else f"post-{post.id}-v{version}"


def post_content(post: Post) -> dict[str, Any]:
    """What a post says, as Draft.values() gives it."""
    return {
        name: getattr(post, name) for name in ("title", "description", "tags", "category", "breed")
    }


def edit_post(
    db: Session, work: Jobs, who: Person, post_id: int, draft: Draft, *, version: int, now: datetime
) -> Post:
    """Change what a post says. A published one stays in sight while its new words are checked; one that a rule holds for its words is checked again."""
    post = lock_own_post(db, who, post_id)
    if post.state == PostState.DELETED:
        raise NotFound("There is no such post.")
    if post.state == PostState.REMOVED:
        raise Conflict(
            "Moderators have removed this post; you can appeal against it, but not change it."
        )
    if version != post.version:
        raise Conflict(
            "This post was changed meanwhile; look at it again and make your change anew."
        )
    if draft.content() == post_content(post):
        return post
    rate_limit.use(db, who.name, "edits", now=now, most=POSTS_PER_HOUR, seconds=3600)
    db.add(PostEdit(post_id=post.id, version=post.version, content=post_content(post), at=now))
    for name, value in draft.content().items():
        setattr(post, name, value)
    post.version, post.edited_at = post.version + 1, now
    if post.state == PostState.PUBLISHED:
        db.flush()
        index.index_post(db, post)
        db.execute(delete_from(PostTag).where(PostTag.post_id == post.id))
        db.add_all(PostTag(tag=fold(tag), post_id=post.id) for tag in post.tags)
    unchecked = post.state == PostState.CHECKING
    if post.state == PostState.HELD and post.reason == "banned_word":
        post.state, post.reason, post.note = PostState.CHECKING, None, None
    if not unchecked and post.state in (PostState.PUBLISHED, PostState.CHECKING):
        work.enqueue(db, POST_REVIEW, review_run_id(post, post.version), post.id, queue=PROMPT_QUEUE)
    db.flush()
    return post


def delete_post(db: Session, who: Person, post_id: int, *, now: datetime) -> Post:
    """Take a post out of sight; its owner can undo it for a while, then it is gone."""
    post = lock_own_post(db, who, post_id)
    if post.state == PostState.DELETED:
        return post
    if post.state == PostState.PUBLISHED:
        post_states.unlist_post(db, post)
    post.previous_state, post.state, post.deleted_at = post.state, PostState.DELETED, now
    db.flush()
    return post


def undo_delete(db: Session, who: Person, post_id: int, *, now: datetime) -> Post:
    """Bring a deleted post back as it was: in its place in the lists, with its likes and comments, and found again."""
    post = lock_own_post(db, who, post_id)
    if post.state != PostState.DELETED:
        return post
    assert post.previous_state is not None
    assert post.deleted_at is not None
    if now - post.deleted_at > UNDO_PERIOD:
        raise Conflict(
            "A deleted post can be brought back for %(minutes)s minutes only.",
            minutes=UNDO_PERIOD // timedelta(minutes=1),
        )
    post.state, post.previous_state, post.deleted_at = post.previous_state, None, None
    if post.state == PostState.PUBLISHED:
        post_states.list_post(db, post, now)
    db.flush()
    return post


def lock_own_post(db: Session, who: Person, post_id: int) -> Post:
    """A post of somebody's own, locked until the transaction ends, by somebody who may write."""
    me = members.require_active_member(db, who)
    post = post_states.lock_post(db, post_id)
    if post is None or post.member_id != me.id:
        raise NotFound("There is no such post.")
    return post
