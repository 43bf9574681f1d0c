"""Posts as their owners handle them: sending, editing, deleting and undoing a deletion.

Sending is idempotent by key, and every new or edited post is reviewed by a durable run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tanuki.animals import events, members, post_states
from tanuki.animals.images import photo_files
from tanuki.animals.search import index
from tanuki.animals.search.normalize import fold
from tanuki.animals.tables import Member, Post, PostEdit, PostState, PostTag
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.jobs import PROMPT_QUEUE, Jobs
from tanuki.platform.rate_limit import RateLimit
from tanuki.platform.resources import Resources

POST_REVIEW = "post-review"  # the workflow
UNDO_PERIOD = timedelta(minutes=10)
POSTS_PER_MEMBER = RateLimit("posts", 60, 3600)
EDITS_PER_MEMBER = RateLimit("edits", 60, 3600)
MAX_TITLE_LENGTH, MAX_DESCRIPTION_LENGTH = 80, 2_000
MAX_TAG_LENGTH, MAX_TAGS_PER_POST = 30, 10
MAX_IDEMPOTENCY_KEY_LENGTH = 100


@dataclass(frozen=True)
class Draft:
    """The text of a post as it is stored. Raises UserError for what cannot be posted."""

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
        description = members.validate_text(
            self.description,
            0,
            MAX_DESCRIPTION_LENGTH,
            msgid("A description has at most %(most)s characters; found %(found)s."),
            lines=True,
        )
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
        object.__setattr__(self, "title", title)
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "tags", parse_tags(self.tags))
        object.__setattr__(self, "breed", breed)

    def content(self) -> dict[str, Any]:
        """The columns of a post that a draft fills."""
        return {
            "title": self.title,
            "description": self.description,
            "tags": list(self.tags),
            "category": self.category,
            "breed": self.breed,
        }


def parse_tags(texts: Sequence[str]) -> tuple[str, ...]:
    """Tags without their #, each once, whatever its case and width."""
    tags: dict[str, str] = {}
    for tag in (members.clean_text(text).lstrip("#＃").strip() for text in texts):
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


# ---- sending -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewPost:
    """A post to create. `key` is the sender's idempotency key, `source` the imported file."""

    draft: Draft
    photo: photo_files.CleanPhoto
    key: str
    source: str | None = None
    limit: RateLimit | None = POSTS_PER_MEMBER  # None for imports and examples


def create_post(
    db: Session, res: Resources, who: Person, new_post: NewPost, *, now: datetime
) -> Post:
    """Create a post in state `checking`; its review starts when this transaction commits.

    The same key again gives the same post, also from concurrent requests. Storing the photo's files
    before the transaction keeps it short.
    """
    member = members.require_active_member(db, who)
    check_idempotency_key(new_post.key)
    earlier = find_sent_post(db, member, new_post)
    if earlier is not None:
        return earlier
    if new_post.limit is not None:
        rate_limit.count_use(db, who.name, new_post.limit, now)
    photo = photo_files.save_photo(db, res.objects, new_post.photo, now=now)
    inserted = insert_or_ignore(
        db,
        Post,
        member_id=member.id,
        key=new_post.key,
        photo=photo.digest,
        posted_at=now,
        source=new_post.source,
        **new_post.draft.content(),
    )
    post = find_sent_post(db, member, new_post)
    assert post is not None
    if inserted:
        res.jobs.enqueue(db, POST_REVIEW, review_run_id(post), post.id, queue=PROMPT_QUEUE)
        values = {"post": post.id, "category": post.category, "breed": post.breed}
        events.record_action(db, member, "post", now=now, **values)
    return post


def check_idempotency_key(key: str) -> None:
    """Raises UserError for a key that is empty, too long or not printable."""
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH or members.clean_text(key) != key:
        raise UserError(
            "An idempotency key has 1 to %(most)s characters that can be seen.",
            most=MAX_IDEMPOTENCY_KEY_LENGTH,
        )


def find_sent_post(db: Session, member: Member, new_post: NewPost) -> Post | None:
    """The post that a member sent with this key before. Raises Conflict if it was another one."""
    post = db.scalar(select(Post).where(Post.member_id == member.id, Post.key == new_post.key))
    if post is not None and (
        (post.original or post.photo) != new_post.photo.digest
        or (post.version == 1 and post_content(post) != new_post.draft.content())
    ):
        raise Conflict(
            "Something else was posted with this idempotency key; use a new one for each post."
        )
    return post


def review_run_id(post: Post, version: int = 1) -> str:
    """The durable run that reviews a post: the first one, or the one after an edit."""
    return f"post-{post.id}" if version == 1 else f"post-{post.id}-v{version}"


def post_content(post: Post) -> dict[str, Any]:
    """The text of a post, as `Draft.content` gives it."""
    return {
        name: getattr(post, name) for name in ("title", "description", "tags", "category", "breed")
    }


# ---- editing and deleting ------------------------------------------------------------------------


class PostVersion(NamedTuple):
    """The version of a post that an edit is based on."""

    post_id: int
    version: int


def edit_post(
    db: Session, jobs: Jobs, who: Person, base: PostVersion, draft: Draft, *, now: datetime
) -> Post:
    """Change the text of a post and have it reviewed again.

    A published post stays visible during the review. A post that a banned word holds is reviewed
    anew. Raises Conflict if the post has another version by now, or was removed.
    """
    post = lock_own_post(db, who, base.post_id)
    if post.state == PostState.DELETED:
        raise NotFound("There is no such post.")
    if post.state == PostState.REMOVED:
        raise Conflict(
            "Moderators have removed this post; you can appeal against it, but not change it."
        )
    if base.version != post.version:
        raise Conflict(
            "This post was changed meanwhile; look at it again and make your change anew."
        )
    if draft.content() == post_content(post):
        return post
    rate_limit.count_use(db, who.name, EDITS_PER_MEMBER, now)
    db.add(PostEdit(post_id=post.id, version=post.version, content=post_content(post), at=now))
    for name, value in draft.content().items():
        setattr(post, name, value)
    post.version, post.edited_at = post.version + 1, now
    if post.state == PostState.PUBLISHED:
        db.flush()
        index.index_post(db, post)
        db.execute(delete(PostTag).where(PostTag.post_id == post.id))
        db.add_all(PostTag(tag=fold(tag), post_id=post.id) for tag in post.tags)
    review_due = post.state == PostState.PUBLISHED
    if post.state == PostState.HELD and post.reason == "banned_word":
        post.state, post.reason, post.note = PostState.CHECKING, None, None
        review_due = True
    if review_due:
        run_id = review_run_id(post, post.version)
        jobs.enqueue(db, POST_REVIEW, run_id, post.id, queue=PROMPT_QUEUE)
    db.flush()
    return post


def delete_post(db: Session, who: Person, post_id: int, *, now: datetime) -> Post:
    """Delete a post. Its owner can undo that for a while, then it is erased."""
    post = lock_own_post(db, who, post_id)
    if post.state == PostState.DELETED:
        return post
    if post.state == PostState.PUBLISHED:
        post_states.unlist_post(db, post)
    post.previous_state, post.state, post.deleted_at = post.state, PostState.DELETED, now
    db.flush()
    return post


def undo_delete(db: Session, who: Person, post_id: int, *, now: datetime) -> Post:
    """Undo a deletion: the post has its place in lists, its likes and its comments again.

    Raises Conflict after the undo period.
    """
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
    """One's own post, locked until the transaction ends. Raises NotAllowed for banned members."""
    member = members.require_active_member(db, who)
    post = post_states.lock_post(db, post_id)
    if post is None or post.member_id != member.id:
        raise NotFound("There is no such post.")
    return post
