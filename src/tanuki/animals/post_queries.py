"""Who may see which post and photo, and the lists of posts, page by page."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, literal, select, true, tuple_
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Follow, Like, Member, Photo, Post, PostState
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.errors import NotFound
from tanuki.platform.accounts import Person


class Card(NamedTuple):
    """A post with what is shown around it."""

    post: Post
    photo: Photo
    member: Member
    liked_by_me: bool
    followed: bool


def load_visible_post(db: Session, post_id: int, viewer: Person | None) -> Post:
    """A post, if this viewer may see it: a published one everybody whom its owner does not block, another one only its owner and moderators."""
    found = db.get(Post, post_id) if 0 < post_id <= pagination.MAX_ID else None
    if found is None:
        raise NotFound("There is no such post.")
    me = members.find_viewer_id(db, viewer)
    if me == found.member_id or members.is_moderator(viewer):
        return found
    if found.state != PostState.PUBLISHED or is_hidden_from(db, me, found.member_id):
        raise NotFound("There is no such post.")
    return found


def is_hidden_from(db: Session, viewer_id: int | None, owner_id: int) -> bool:
    """Whether somebody's things are kept from a viewer; asked once in a session, because every part of a page asks."""
    known: dict[tuple[int | None, int], bool] = db.info.setdefault("shut_off", {})
    if (viewer_id, owner_id) not in known:
        asked = select(true()).where(
            literal(owner_id).in_(members.hidden_member_ids(viewer_id, muted=False))
        )
        known[viewer_id, owner_id] = bool(db.scalar(asked))
    return known[viewer_id, owner_id]


def list_newest_posts(
    db: Session,
    viewer: Person | None,
    *,
    category: str | None = None,
    after: str | None = None,
    limit: int = 24,
) -> Page[Post]:
    """Published posts, of one category or all, the last published first."""
    wanted = select_listed_posts(db, viewer)
    if category is not None:
        if category not in CATEGORIES:
            raise NotFound("There is no such category.")
        wanted = wanted.where(Post.category == category)
    return page_by_publication(db, wanted, after, limit)


def list_member_posts(
    db: Session, viewer: Person | None, name: str, *, after: str | None = None, limit: int = 24
) -> Page[Post]:
    """A member's posts, newest first. They themselves also see those that are not published, in the order in which they sent them."""
    member = members.load_profile(db, viewer, name)
    theirs = select(Post).where(Post.member_id == member.id)
    if members.find_viewer_id(db, viewer) != member.id:
        return page_by_publication(
            db, theirs.where(Post.state == PostState.PUBLISHED), after, limit
        )
    theirs = (
        theirs.where(Post.state != PostState.DELETED)
        .order_by(Post.id.desc())
        .limit(pagination.clamp_page_size(limit) + 1)
    )
    if after is not None:
        theirs = theirs.where(Post.id < pagination.parse_id_cursor(after))
    return pagination.make_page(
        db.scalars(theirs).all(), pagination.clamp_page_size(limit), lambda post: str(post.id)
    )


def page_by_publication(
    db: Session, wanted: Select[Post], after: str | None, limit: int
) -> Page[Post]:
    """A page of published posts, the last published first. Who comes back after a hold or an undo keeps its place, so nothing moves."""
    limit = pagination.clamp_page_size(limit)
    if after is not None:
        wanted = wanted.where(
            tuple_(Post.published_at, Post.id) < tuple_(*pagination.parse_moment_cursor(after))
        )
    found = db.scalars(
        wanted.order_by(Post.published_at.desc(), Post.id.desc()).limit(limit + 1)
    ).all()
    return pagination.make_page(found, limit, publication_cursor)


def publication_cursor(post: Post) -> str:
    """Where a published post stands in lists by publication."""
    assert post.published_at is not None
    return pagination.moment_cursor(post.published_at, post.id)


def select_listed_posts(db: Session, viewer: Person | None) -> Select[Post]:
    """The posts that lists show somebody."""
    return select(Post).where(
        Post.state == PostState.PUBLISHED,
        Post.member_id.not_in(members.hidden_member_ids(members.find_viewer_id(db, viewer))),
    )


def load_listed_posts(db: Session, viewer: Person | None, ids: Sequence[int]) -> list[Post]:
    """Those of the posts that lists show somebody, in the order of the ids."""
    if not ids:
        return []
    seen = Post.member_id.not_in(members.hidden_member_ids(members.find_viewer_id(db, viewer)))
    asked = db.scalars(select(Post).where(Post.id.in_(ids), seen))
    found = {
        post.id: post for post in asked if post.state == PostState.PUBLISHED
    }  # asked for in the query, SQLite would read all that is published
    return [found[id_] for id_ in ids if id_ in found]


def build_cards(db: Session, viewer: Person | None, posts: Sequence[Post]) -> list[Card]:
    """Posts with their photos, members, and whether the viewer likes them and follows who posted; in the same few queries however many they are."""
    if not posts:
        return []
    ids, me = [post.id for post in posts], members.find_viewer_id(db, viewer)
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


def load_visible_photo(db: Session, viewer: Person | None, digest: str) -> Photo:
    """A photo that a post or a profile has which this viewer may see. What nobody may see (viewer None) must not be kept by caches beside others' pictures."""
    me = members.find_viewer_id(db, viewer)
    unseen = members.hidden_member_ids(me, muted=False)
    shown, sent = (
        Post.photo == Photo.digest,
        Post.original == Photo.digest,
    )  # what was sent and is not shown is its owner's
    if members.is_moderator(viewer):
        post = select(Post.id).where(shown | sent)
    else:
        public = shown & (Post.state == PostState.PUBLISHED) & Post.member_id.not_in(unseen)
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
