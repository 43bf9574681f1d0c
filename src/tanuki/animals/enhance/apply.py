"""A post shows the better picture, or the one that was sent again. It is made once, waits beside the picture it was made of, and is taken in as any other is."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from tanuki.animals import members, posts
from tanuki.animals.enhance.advice import Advice, advice, better, decoded
from tanuki.animals.images import photo_files
from tanuki.animals.tables import Photo, Post, PostEdit
from tanuki.errors import Conflict, NotFound
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.jobs import PROMPT, Work
from tanuki.platform.object_store import Objects
from tanuki.platform.resources import Resources

AN_HOUR = 30  # pictures made better for one member
BETTER_ALREADY = msgid("The post shows the better picture already.")
SHOWS_ORIGINAL = msgid("The post shows the picture that was sent.")
NOT_NOW = msgid("The picture of this post cannot be changed now.")
STATES = ("checking", "published")  # in which a post's picture may change


@dataclass(frozen=True)
class Offer:
    """A post of one's own, its picture, the one that was sent where that is another, what would help, and whether the better one was made."""

    post: Post
    photo: Photo
    original: Photo | None
    advice: Advice
    made: bool


def offer(db: Session, objects: Objects, who: Person, post_id: int) -> Offer:
    """What is offered to the owner of a post."""
    post = posts.load_visible_post(db, post_id, who)
    if post.member_id != members.find_viewer_id(db, who):
        raise NotFound("There is no such post.")
    original = db.get(Photo, post.original) if post.original is not None else None
    asked = Advice(larger=False, lighter=False, why_not=NOT_NOW)
    if post.state in STATES:
        asked = advice(decoded(objects.get(photo_files.key(post.original or post.photo, "full"))))
    return Offer(
        post,
        db.get_one(Photo, post.photo),
        original,
        asked,
        waits(objects, post.original or post.photo),
    )


def waits(objects: Objects, digest: str) -> bool:
    """Whether the better picture of one was made."""
    return objects.exists(photo_files.key(digest, photo_files.BETTER))


def make(res: Resources, who: Person, post_id: int, *, now: datetime) -> None:
    """Make the better picture of a post of one's own. Raises UserError where nothing helps, TooMany after AN_HOUR."""
    with res.db.write() as db:
        post = of_own(db, who, post_id)
        if post.original is not None:
            raise Conflict(BETTER_ALREADY)
        digest = post.photo
        if waits(res.objects, digest):
            return
        rate_limit.use(db, who.name, "better", now=now, most=AN_HOUR, seconds=3600)
    content = better(res.objects.get(photo_files.key(digest, "full")))
    res.objects.put(
        photo_files.key(digest, photo_files.BETTER), photo_files.accept(content).files["full"]
    )


def of_own(db: Session, who: Person, post_id: int) -> Post:
    """A post whose picture somebody may change."""
    post = posts.lock_own_post(db, who, post_id)
    if post.state not in STATES:
        raise NotFound("There is no such post.")
    return post


def waiting(db: Session, objects: Objects, who: Person, post_id: int) -> bytes:
    """The better picture that was made for a post of one's own and is not shown yet."""
    post = posts.load_visible_post(db, post_id, who)
    if (
        post.member_id != members.find_viewer_id(db, who)
        or post.original is not None
        or not waits(objects, post.photo)
    ):
        raise NotFound("There is no such picture.")
    return objects.get(photo_files.key(post.photo, photo_files.BETTER))


def accepted(res: Resources, who: Person, post_id: int) -> photo_files.Accepted:
    """The same, taken in as any picture that is sent, and stored."""
    with res.db.read() as db:
        members.require_active_member(db, who)
        content = waiting(db, res.objects, who, post_id)
    made = photo_files.accept(content)
    photo_files.store(res.objects, made)
    return made


def take(
    db: Session,
    objects: Objects,
    work: Work,
    who: Person,
    post_id: int,
    better_one: photo_files.Accepted,
    *,
    version: int,
    now: datetime,
) -> Post:
    """Show the better picture from now on; the one that was sent is kept. `better_one` is what accepted() gave."""
    post = of_own(db, who, post_id)
    if post.original is not None:
        raise Conflict(BETTER_ALREADY)
    photo = photo_files.keep(db, objects, better_one, now=now)
    return show(db, work, who, post, photo.digest, post.photo, version=version, now=now)


def put_back(
    db: Session, work: Work, who: Person, post_id: int, *, version: int, now: datetime
) -> Post:
    """Show the picture that was sent again."""
    post = of_own(db, who, post_id)
    if post.original is None:
        raise Conflict(SHOWS_ORIGINAL)
    return show(db, work, who, post, post.original, None, version=version, now=now)


def show(
    db: Session,
    work: Work,
    who: Person,
    post: Post,
    digest: str,
    original: str | None,
    *,
    version: int,
    now: datetime,
) -> Post:
    """Change a post's picture as an edit: only of the version that was seen, counted, on record, and checked again by a run that looks at the new picture."""
    if version != post.version:
        raise Conflict(
            "This post was changed meanwhile; look at it again and make your change anew."
        )
    rate_limit.use(db, who.name, "edits", now=now, most=posts.POSTS_PER_HOUR, seconds=3600)
    db.add(PostEdit(post_id=post.id, version=post.version, words=posts.post_content(post), at=now))
    post.photo, post.original = digest, original
    post.version, post.edited_at = post.version + 1, now
    db.flush()
    if post.state == "published":
        work.enqueue(db, posts.POST_REVIEW, posts.review_run_id(post, post.version), post.id, queue=PROMPT)
    return post
