"""Enhanced photos of posts: made once, shown to the owner first, applied as an edit, and undone.

The enhanced photo waits in the object store beside the photo that it was made of. When its owner
applies it, it goes through the same steps as an upload.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from tanuki.animals import members, post_queries, posts
from tanuki.animals.enhance.advice import Advice, advise, decode_own_jpeg, enhance_photo
from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import CleanPhoto, object_key
from tanuki.animals.posts import PostVersion
from tanuki.animals.tables import Photo, Post, PostEdit, PostState
from tanuki.errors import Conflict, NotFound
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.jobs import PROMPT_QUEUE, Jobs
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.rate_limit import RateLimit
from tanuki.platform.resources import Resources

ENHANCEMENTS_PER_MEMBER = RateLimit("enhancements", 30, 3600)
ALREADY_ENHANCED = msgid("The post shows the improved photo already.")
SHOWS_ORIGINAL = msgid("The post shows the original photo.")
NOT_CHANGEABLE = msgid("The photo of this post cannot be changed now.")
CHANGEABLE_STATES = (PostState.CHECKING, PostState.PUBLISHED)


@dataclass(frozen=True)
class EnhancementOffer:
    """What its owner is offered for a post.

    photo: the one that is shown. original: the one that was sent, if an enhanced one is shown.
    made: the enhanced photo waits to be applied.
    """

    post: Post
    photo: Photo
    original: Photo | None
    advice: Advice
    made: bool


def load_offer(db: Session, objects: ObjectStore, who: Person, post_id: int) -> EnhancementOffer:
    """Raises NotFound for a post of somebody else."""
    post = post_queries.load_visible_post(db, post_id, who)
    if post.member_id != members.find_viewer_id(db, who):
        raise NotFound("There is no such post.")
    original_digest = post.original or post.photo
    advice = Advice(larger=False, lighter=False, why_not=NOT_CHANGEABLE)
    if post.state in CHANGEABLE_STATES:
        advice = advise(decode_own_jpeg(objects.get(object_key(original_digest, "full"))))
    return EnhancementOffer(
        post,
        db.get_one(Photo, post.photo),
        db.get(Photo, post.original) if post.original is not None else None,
        advice,
        enhancement_exists(objects, original_digest),
    )


def enhancement_exists(objects: ObjectStore, digest: str) -> bool:
    return objects.exists(object_key(digest, photo_files.ENHANCED))


def make_enhancement(res: Resources, who: Person, post_id: int, *, now: datetime) -> None:
    """Make the enhanced photo of one's own post.

    Raises UserError if nothing would improve it, TooMany beyond ENHANCEMENTS_PER_MEMBER.
    """
    with res.db.write() as db:
        post = lock_changeable_post(db, who, post_id)
        if post.original is not None:
            raise Conflict(ALREADY_ENHANCED)
        digest = post.photo
        if enhancement_exists(res.objects, digest):
            return
        rate_limit.count_use(db, who.name, ENHANCEMENTS_PER_MEMBER, now)
    jpeg = enhance_photo(res.objects.get(object_key(digest, "full")))
    photo = photo_files.clean_upload(res, jpeg)
    res.objects.put(object_key(digest, photo_files.ENHANCED), photo.files["full"])


def lock_changeable_post(db: Session, who: Person, post_id: int) -> Post:
    """One's own post, locked, if its photo may be changed. Raises NotFound, NotAllowed."""
    post = posts.lock_own_post(db, who, post_id)
    if post.state not in CHANGEABLE_STATES:
        raise NotFound("There is no such post.")
    return post


def read_enhancement(db: Session, objects: ObjectStore, who: Person, post_id: int) -> bytes:
    """The enhanced photo of one's own post that waits to be applied. Raises NotFound."""
    post = post_queries.load_visible_post(db, post_id, who)
    is_own = post.member_id == members.find_viewer_id(db, who)
    if not is_own or post.original is not None or not enhancement_exists(objects, post.photo):
        raise NotFound("There is no such picture.")
    return objects.get(object_key(post.photo, photo_files.ENHANCED))


def store_enhancement(res: Resources, who: Person, post_id: int) -> CleanPhoto:
    """Clean the waiting photo as if it were uploaded, and store its files."""
    with res.db.read() as db:
        members.require_active_member(db, who)
        content = read_enhancement(db, res.objects, who, post_id)
    photo = photo_files.clean_upload(res, content)
    photo_files.store_files(res.objects, photo)
    return photo


def apply_enhancement(
    db: Session, res: Resources, who: Person, base: PostVersion, photo: CleanPhoto, *, now: datetime
) -> Post:
    """Show the enhanced photo from now on, and keep the original one.

    `photo` is what store_enhancement() gave. Raises Conflict if the post has another version by
    now, or shows the enhanced photo already.
    """
    post = lock_changeable_post(db, who, base.post_id)
    if post.original is not None:
        raise Conflict(ALREADY_ENHANCED)
    check_version(post, base)
    record = photo_files.save_photo(db, res.objects, photo, now=now)
    return change_photo(db, res.jobs, who, post, ShownPhoto(record.digest, post.photo), now=now)


def restore_original(
    db: Session, jobs: Jobs, who: Person, base: PostVersion, *, now: datetime
) -> Post:
    """Show the original photo again. Raises Conflict as apply_enhancement() does."""
    post = lock_changeable_post(db, who, base.post_id)
    if post.original is None:
        raise Conflict(SHOWS_ORIGINAL)
    check_version(post, base)
    return change_photo(db, jobs, who, post, ShownPhoto(post.original, None), now=now)


def check_version(post: Post, base: PostVersion) -> None:
    if base.version != post.version:
        raise Conflict(
            "This post was changed meanwhile; look at it again and make your change anew."
        )


class ShownPhoto(NamedTuple):
    """Digests of the photo that a post shows, and of the original if that is another one."""

    digest: str
    original: str | None


def change_photo(
    db: Session, jobs: Jobs, who: Person, post: Post, shown: ShownPhoto, *, now: datetime
) -> Post:
    """Change a post's photo as an edit: counted, recorded, and reviewed by a run of its own."""
    rate_limit.count_use(db, who.name, posts.EDITS_PER_MEMBER, now)
    content = posts.post_content(post)
    db.add(PostEdit(post_id=post.id, version=post.version, content=content, at=now))
    post.photo, post.original = shown
    post.version, post.edited_at = post.version + 1, now
    db.flush()
    if post.state == PostState.PUBLISHED:
        run_id = posts.review_run_id(post, post.version)
        jobs.enqueue(db, posts.POST_REVIEW, run_id, post.id, queue=PROMPT_QUEUE)
    return post
