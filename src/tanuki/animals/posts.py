"""Posts: sending, editing, deleting and its undo, and every change of a post's state.

A post's state changes here and nowhere else, in one transaction with everything that follows from it: what the search knows, tags, and how many posts a member shows.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log10
from typing import Any, NamedTuple

from sqlalchemy import Select, literal, select, true, tuple_, update
from sqlalchemy import delete as delete_from
from sqlalchemy.orm import Session

from tanuki.animals import events, members, pagination
from tanuki.animals.images import photo_files
from tanuki.animals.pagination import Page
from tanuki.animals.search import index
from tanuki.animals.search.normalize import fold
from tanuki.animals.tables import (
    BarredPhoto,
    Comment,
    Follow,
    Like,
    Member,
    Notification,
    Photo,
    Post,
    PostEdit,
    PostTag,
)
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.database.engine import add_once
from tanuki.platform.jobs import PROMPT, Work
from tanuki.platform.object_store import Objects

AFTER_POST = "after-post"
UNDO = timedelta(minutes=10)
AN_HOUR = 60  # posts of one member, and edits
TITLE_LONGEST, DESCRIPTION_LONGEST, TAG_LONGEST, KEY_LONGEST = 80, 2_000, 30, 100
TAGS_MOST = 10
LOCKED = "tanuki_posts_locked"  # in a session's info: the posts that it has locked
HEAT_BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
HEAT_SECONDS = 43_200  # a post is as hot as one with a tenth of its likes that is so much younger
HELD_BY_RULE = {  # why a post waits for a moderator although nobody has looked at it: a code, and what its owner is told
    "barred_photo": msgid("Moderators have removed this picture before."),
    "banned_word": msgid("It has a word that is not used here."),
    "banned_member": msgid("You were banned before it was published."),
}


@dataclass(frozen=True)
class Draft:
    """What somebody writes about a photo, as it is kept. Raises UserError for what cannot be posted."""

    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    category: str = "other"
    breed: str | None = None

    def __post_init__(self) -> None:
        title = members.words(
            self.title,
            1,
            TITLE_LONGEST,
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
            "description": members.words(
                self.description, 0, DESCRIPTION_LONGEST, described, lines=True
            ),
            "tags": as_tags(self.tags),
            "breed": breed,
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def values(self) -> dict[str, Any]:
        """The columns of a post that it fills."""
        return {
            "title": self.title,
            "description": self.description,
            "tags": list(self.tags),
            "category": self.category,
            "breed": self.breed,
        }


def as_tags(given: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Tags without their #, each once however it is written."""
    tags: dict[str, str] = {}
    for tag in (members.clean(tag).lstrip("#＃").strip() for tag in given):
        if len(tag) > TAG_LONGEST:
            raise UserError(
                "A tag has at most %(most)s characters; %(tag)s has %(found)s.",
                most=TAG_LONGEST,
                tag=tag[:TAG_LONGEST],
                found=len(tag),
            )
        if fold(tag):
            tags.setdefault(fold(tag), tag)
    if len(tags) > TAGS_MOST:
        raise UserError(
            "A post has at most %(most)s tags; found %(found)s.", most=TAGS_MOST, found=len(tags)
        )
    return tuple(tags.values())


# ---- what its owner does -------------------------------------------------------------------------------------------


def accept(
    db: Session,
    objects: Objects,
    work: Work,
    who: Person,
    draft: Draft,
    accepted: photo_files.Accepted,
    *,
    key: str,
    now: datetime,
    most: int | None = AN_HOUR,
    source: str | None = None,
) -> Post:
    """A new post, still to be checked by the run that starts when this transaction commits. The same key again is the same post, also at the same time.

    Storing the picture with images.store() before the transaction keeps it short. `most` an hour; None for as many as one likes.
    """
    me = members.active(db, who)
    if not 1 <= len(key) <= KEY_LONGEST or members.clean(key) != key:
        raise UserError(
            "An idempotency key has 1 to %(most)s characters that can be seen.", most=KEY_LONGEST
        )
    before = sent(db, me, key, draft, accepted)
    if before is not None:
        return before
    if most is not None:
        rate_limit.use(db, who.name, "posts", now=now, most=most, seconds=3600)
    photo = photo_files.keep(db, objects, accepted, now=now)
    new = add_once(
        db,
        Post,
        member_id=me.id,
        key=key,
        photo=photo.digest,
        posted_at=now,
        source=source,
        **draft.values(),
    )
    post = sent(db, me, key, draft, accepted)
    assert post is not None
    if new:
        work.enqueue(db, AFTER_POST, run_id(post), post.id, queue=PROMPT)
        events.did(db, me, "post", post=post.id, category=post.category, breed=post.breed, now=now)
    return post


def sent(
    db: Session, me: Member, key: str, draft: Draft, accepted: photo_files.Accepted
) -> Post | None:
    """What a member has sent with a key before. Raises Conflict when it was something else."""
    found = db.scalar(select(Post).where(Post.member_id == me.id, Post.key == key))
    if found is not None and (
        (found.original or found.photo) != accepted.digest
        or (found.version == 1 and words(found) != draft.values())
    ):
        raise Conflict(
            "Something else was posted with this idempotency key; use a new one for each post."
        )
    return found


def run_id(post: Post, version: int = 1) -> str:
    """The run that checks a post: the first one, or the one after an edit."""
    return f"post-{post.id}" if version == 1 else f"post-{post.id}-v{version}"


def words(post: Post) -> dict[str, Any]:
    """What a post says, as Draft.values() gives it."""
    return {
        name: getattr(post, name) for name in ("title", "description", "tags", "category", "breed")
    }


def edit(
    db: Session, work: Work, who: Person, post_id: int, draft: Draft, *, version: int, now: datetime
) -> Post:
    """Change what a post says. A published one stays in sight while its new words are checked; one that a rule holds for its words is checked again."""
    post = own(db, who, post_id)
    if post.state == "deleted":
        raise NotFound("There is no such post.")
    if post.state == "removed":
        raise Conflict(
            "Moderators have removed this post; you can appeal against it, but not change it."
        )
    if version != post.version:
        raise Conflict(
            "This post was changed meanwhile; look at it again and make your change anew."
        )
    if draft.values() == words(post):
        return post
    rate_limit.use(db, who.name, "edits", now=now, most=AN_HOUR, seconds=3600)
    db.add(PostEdit(post_id=post.id, version=post.version, words=words(post), at=now))
    for name, value in draft.values().items():
        setattr(post, name, value)
    post.version, post.edited_at = post.version + 1, now
    if post.state == "published":
        db.flush()
        index.put(db, post)
        db.execute(delete_from(PostTag).where(PostTag.post_id == post.id))
        db.add_all(PostTag(tag=fold(tag), post_id=post.id) for tag in post.tags)
    unchecked = post.state == "checking"
    if post.state == "held" and post.why == "banned_word":
        post.state, post.why, post.note = "checking", None, None
    if not unchecked and post.state in ("published", "checking"):
        work.enqueue(db, AFTER_POST, run_id(post, post.version), post.id, queue=PROMPT)
    db.flush()
    return post


def delete(db: Session, who: Person, post_id: int, *, now: datetime) -> Post:
    """Take a post out of sight; its owner can undo it for a while, then it is gone."""
    post = own(db, who, post_id)
    if post.state == "deleted":
        return post
    if post.state == "published":
        hide(db, post)
    post.before, post.state, post.deleted_at = post.state, "deleted", now
    db.flush()
    return post


def undo(db: Session, who: Person, post_id: int, *, now: datetime) -> Post:
    """Bring a deleted post back as it was: in its place in the lists, with its likes and comments, and found again."""
    post = own(db, who, post_id)
    if post.state != "deleted":
        return post
    assert post.before is not None
    assert post.deleted_at is not None
    if now - post.deleted_at > UNDO:
        raise Conflict(
            "A deleted post can be brought back for %(minutes)s minutes only.",
            minutes=UNDO // timedelta(minutes=1),
        )
    post.state, post.before, post.deleted_at = post.before, None, None
    if post.state == "published":
        show(db, post, now)
    db.flush()
    return post


def own(db: Session, who: Person, post_id: int) -> Post:
    """A post of somebody's own, locked until the transaction ends, by somebody who may write."""
    me = members.active(db, who)
    post = locked(db, post_id)
    if post is None or post.member_id != me.id:
        raise NotFound("There is no such post.")
    return post


def locked(db: Session, post_id: int) -> Post | None:
    """A post as it is now and stays until the transaction ends, whatever others do."""
    kept: dict[int, Post] = db.info.setdefault(LOCKED, {})
    if post_id not in kept and 0 < post_id <= pagination.LARGEST:
        found = db.scalar(
            select(Post).where(Post.id == post_id).with_for_update(),
            execution_options={"populate_existing": True},
        )
        if found is None:
            return None
        kept[post_id] = found
    return kept.get(post_id)


def locked_all(db: Session, post_ids: Iterable[int]) -> Sequence[Post]:
    """The same for several, in one order, so that two never wait for each other."""
    wanted = select(Post).where(Post.id.in_(post_ids)).order_by(Post.id).with_for_update()
    return db.scalars(wanted, execution_options={"populate_existing": True}).all()


# ---- states --------------------------------------------------------------------------------------------------------


def publish(db: Session, post: Post, *, now: datetime) -> None:
    """Everybody may see it: after its check, or because a moderator gives it back. A deleted one is published by the undo."""
    found = again(db, post)
    was = found.before if found.state == "deleted" else found.state
    if was == "removed":
        unbar(db, found)
    if found.state == "deleted":
        found.before = "published"
    elif found.state != "published":
        found.state = "published"
        show(db, found, now)
    found.why = found.note = None
    db.flush()


def hold(db: Session, post: Post, why: str, *, note: str | None = None, now: datetime) -> None:
    """Only its owner and moderators may see it until a moderator decides. Why: one of HELD_BY_RULE or of moderation's reasons."""
    withdraw(db, post, "held", why, note=note, now=now)


def withdraw(
    db: Session, post: Post, state: str, why: str, *, note: str | None = None, now: datetime
) -> None:
    """Take a post out of sight: held for a while, or removed. The picture of a removed one is held when it is posted again."""
    assert state in ("held", "removed")
    found = again(db, post)
    if found.state == "published":
        hide(db, found)
    if found.state == "deleted":
        found.before = state
    else:
        found.state = state
    found.why, found.note = why, note
    db.flush()
    if state == "removed":
        for digest in pictures(found):
            add_once(db, BarredPhoto, digest=digest, why=why, at=now)


def again(db: Session, post: Post) -> Post:
    """The same post, locked and as it is now."""
    found = locked(db, post.id)
    if found is None:
        raise NotFound("There is no such post.")
    return found


def show(db: Session, post: Post, now: datetime) -> None:
    """Into the lists, in its old place when it had one, into the search, and counted."""
    if post.published_at is None:
        post.published_at = now
    post.heat = heat(post.published_at, post.likes)
    db.flush()
    index.put(db, post)
    db.add_all(PostTag(tag=fold(tag), post_id=post.id) for tag in post.tags)
    db.execute(update(Member).where(Member.id == post.member_id).values(posts=Member.posts + 1))


def hide(db: Session, post: Post) -> None:
    """Out of the search and no longer counted; the lists leave it out by its state."""
    index.take(db, post.id)
    db.execute(delete_from(PostTag).where(PostTag.post_id == post.id))
    db.execute(update(Member).where(Member.id == post.member_id).values(posts=Member.posts - 1))


def heat(published_at: datetime, likes: int) -> float:
    """The order of popular posts: ten times the likes count as much as twelve hours. It changes with likes only, so that lists by it are cheap."""
    return log10(1 + likes) + (published_at - HEAT_BEGAN).total_seconds() / HEAT_SECONDS


def unbar(db: Session, post: Post) -> None:
    """A removed post comes back: its picture may be posted again, unless another removed post has it."""
    for digest in pictures(post):
        has = (Post.photo == digest) | (Post.original == digest)
        others = select(Post.id).where(
            has, Post.id != post.id, (Post.state == "removed") | (Post.before == "removed")
        )
        if db.scalar(others.limit(1)) is None:
            db.execute(delete_from(BarredPhoto).where(BarredPhoto.digest == digest))


def pictures(post: Post) -> list[str]:
    """The digests of a post's picture and, where a better one is shown, of the one that was sent."""
    return [post.photo] if post.original is None else [post.photo, post.original]


def erase(db: Session, post_ids: list[int]) -> list[str]:
    """Posts and everything about them gone for good; gives the digests of their pictures, for images.forget() in a later transaction."""
    found = locked_all(db, post_ids)
    shown = [post for post in found if post.state == "published"]
    index.store(db, [], gone=[post.id for post in shown])
    for member_id, count in sorted(Counter(post.member_id for post in shown).items()):
        db.execute(update(Member).where(Member.id == member_id).values(posts=Member.posts - count))
    for table in (Like, Comment, Notification, PostEdit, PostTag):
        db.execute(delete_from(table).where(table.post_id.in_(post_ids)))
    db.execute(delete_from(Post).where(Post.id.in_(post_ids)))
    db.info.pop(LOCKED, None)
    return sorted({digest for post in found for digest in pictures(post)})


# ---- who sees what -------------------------------------------------------------------------------------------------


class Card(NamedTuple):
    """A post with what is shown around it."""

    post: Post
    photo: Photo
    member: Member
    liked_by_me: bool
    followed: bool


def visible(db: Session, post_id: int, viewer: Person | None) -> Post:
    """A post, if this viewer may see it: a published one everybody whom its owner does not block, another one only its owner and moderators."""
    found = db.get(Post, post_id) if 0 < post_id <= pagination.LARGEST else None
    if found is None:
        raise NotFound("There is no such post.")
    me = members.viewer_id(db, viewer)
    if me == found.member_id or members.moderates(viewer):
        return found
    if found.state != "published" or shut_off(db, me, found.member_id):
        raise NotFound("There is no such post.")
    return found


def shut_off(db: Session, viewer_id: int | None, owner_id: int) -> bool:
    """Whether somebody's things are kept from a viewer; asked once in a session, because every part of a page asks."""
    known: dict[tuple[int | None, int], bool] = db.info.setdefault("shut_off", {})
    if (viewer_id, owner_id) not in known:
        asked = select(true()).where(
            literal(owner_id).in_(members.unseen_by(viewer_id, muted=False))
        )
        known[viewer_id, owner_id] = bool(db.scalar(asked))
    return known[viewer_id, owner_id]


def newest(
    db: Session,
    viewer: Person | None,
    *,
    category: str | None = None,
    after: str | None = None,
    limit: int = 24,
) -> Page[Post]:
    """Published posts, of one category or all, the last published first."""
    wanted = published(db, viewer)
    if category is not None:
        if category not in CATEGORIES:
            raise NotFound("There is no such category.")
        wanted = wanted.where(Post.category == category)
    return by_publication(db, wanted, after, limit)


def of_member(
    db: Session, viewer: Person | None, name: str, *, after: str | None = None, limit: int = 24
) -> Page[Post]:
    """A member's posts, newest first. They themselves also see those that are not published, in the order in which they sent them."""
    member = members.profile(db, viewer, name)
    theirs = select(Post).where(Post.member_id == member.id)
    if members.viewer_id(db, viewer) != member.id:
        return by_publication(db, theirs.where(Post.state == "published"), after, limit)
    theirs = (
        theirs.where(Post.state != "deleted")
        .order_by(Post.id.desc())
        .limit(pagination.size(limit) + 1)
    )
    if after is not None:
        theirs = theirs.where(Post.id < pagination.id_of(after))
    return pagination.page(
        db.scalars(theirs).all(), pagination.size(limit), lambda post: str(post.id)
    )


def by_publication(db: Session, wanted: Select[Post], after: str | None, limit: int) -> Page[Post]:
    """A page of published posts, the last published first. Who comes back after a hold or an undo keeps its place, so nothing moves."""
    limit = pagination.size(limit)
    if after is not None:
        wanted = wanted.where(
            tuple_(Post.published_at, Post.id) < tuple_(*pagination.moment_of(after))
        )
    found = db.scalars(
        wanted.order_by(Post.published_at.desc(), Post.id.desc()).limit(limit + 1)
    ).all()
    return pagination.page(found, limit, place)


def place(post: Post) -> str:
    """Where a published post stands in lists by publication."""
    assert post.published_at is not None
    return pagination.at_moment(post.published_at, post.id)


def published(db: Session, viewer: Person | None) -> Select[Post]:
    """The posts that lists show somebody."""
    return select(Post).where(
        Post.state == "published",
        Post.member_id.not_in(members.unseen_by(members.viewer_id(db, viewer))),
    )


def many(db: Session, viewer: Person | None, ids: Sequence[int]) -> list[Post]:
    """Those of the posts that lists show somebody, in the order of the ids."""
    if not ids:
        return []
    seen = Post.member_id.not_in(members.unseen_by(members.viewer_id(db, viewer)))
    asked = db.scalars(select(Post).where(Post.id.in_(ids), seen))
    found = {
        post.id: post for post in asked if post.state == "published"
    }  # asked for in the query, SQLite would read all that is published
    return [found[id_] for id_ in ids if id_ in found]


def cards(db: Session, viewer: Person | None, posts: Sequence[Post]) -> list[Card]:
    """Posts with their photos, members, and whether the viewer likes them and follows who posted; in the same few queries however many they are."""
    if not posts:
        return []
    ids, me = [post.id for post in posts], members.viewer_id(db, viewer)
    joined = (
        select(Post.id, Photo, Member)
        .join(Photo, Photo.digest == Post.photo)
        .join(Member, Member.id == Post.member_id)
    )
    around = {
        id_: (photo, member) for id_, photo, member in db.execute(joined.where(Post.id.in_(ids)))
    }
    liked: set[int] = set()
    followed: set[int] = set()
    if me is not None:
        liked.update(
            db.scalars(select(Like.post_id).where(Like.member_id == me, Like.post_id.in_(ids)))
        )
        owners = {post.member_id for post in posts}
        followed.update(
            db.scalars(
                select(Follow.followed_id).where(
                    Follow.follower_id == me, Follow.followed_id.in_(owners)
                )
            )
        )
    return [
        Card(post, *around[post.id], post.id in liked, post.member_id in followed)
        for post in posts
        if post.id in around
    ]


def picture(db: Session, viewer: Person | None, digest: str) -> Photo:
    """A photo that a post or a profile has which this viewer may see. What nobody may see (viewer None) must not be kept by caches beside others' pictures."""
    me = members.viewer_id(db, viewer)
    unseen = members.unseen_by(me, muted=False)
    shown, sent = (
        Post.photo == Photo.digest,
        Post.original == Photo.digest,
    )  # what was sent and is not shown is its owner's
    if members.moderates(viewer):
        post = select(Post.id).where(shown | sent)
    else:
        public = shown & (Post.state == "published") & Post.member_id.not_in(unseen)
        post = select(Post.id).where(
            public if me is None else public | ((Post.member_id == me) & (shown | sent))
        )
    profile = select(Member.id).where(
        Member.photo == Photo.digest, Member.left_at.is_(None), Member.id.not_in(unseen)
    )
    found = db.scalar(select(Photo).where(Photo.digest == digest, post.exists() | profile.exists()))
    if found is None:
        raise NotFound("There is no such picture.")
    return found
