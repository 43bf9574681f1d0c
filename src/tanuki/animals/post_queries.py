"""Who may see which post and photo, and lists of posts, page by page."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, literal, select, true, tuple_
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.pagination import Page
from tanuki.animals.session_cache import SessionCache
from tanuki.animals.tables import Follow, Like, Member, Photo, Post, PostState
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.errors import NotFound
from tanuki.platform.accounts import Person

HIDDEN_PAIRS = SessionCache[tuple[int | None, int], bool]("hidden_pairs")  # (viewer, owner)


class Card(NamedTuple):
    """A post with what is shown around it."""

    post: Post
    photo: Photo
    member: Member
    liked_by_me: bool
    followed: bool


# ---- one post, one photo -------------------------------------------------------------------------


def load_visible_post(db: Session, post_id: int, viewer: Person | None) -> Post:
    """A post that the viewer may see. Raises NotFound for others.

    Published posts are visible to everybody who is not blocked, other posts to their owner and to
    moderators.
    """
    post = db.get(Post, post_id) if 0 < post_id <= pagination.MAX_ID else None
    if post is None:
        raise NotFound("There is no such post.")
    viewer_id = members.find_viewer_id(db, viewer)
    if viewer_id == post.member_id or members.is_moderator(viewer):
        return post
    if post.state != PostState.PUBLISHED or is_hidden_from(db, viewer_id, post.member_id):
        raise NotFound("There is no such post.")
    return post


def is_hidden_from(db: Session, viewer_id: int | None, owner_id: int) -> bool:
    """Whether a member's content is hidden from a viewer; read once in a session."""
    cached = HIDDEN_PAIRS.entries(db)
    if (viewer_id, owner_id) not in cached:
        hidden = members.hidden_member_ids(viewer_id, muted=False)
        found = db.scalar(select(true()).where(literal(owner_id).in_(hidden)))
        cached[viewer_id, owner_id] = bool(found)
    return cached[viewer_id, owner_id]


def load_visible_photo(db: Session, viewer: Person | None, digest: str) -> Photo:
    """A photo of a post or a profile that the viewer may see. Raises NotFound for others.

    Shared caches may keep only what a viewer of None gets.
    """
    viewer_id = members.find_viewer_id(db, viewer)
    hidden = members.hidden_member_ids(viewer_id, muted=False)
    # An original that is shown enhanced is visible only to its owner and to moderators.
    shown, original = Post.photo == Photo.digest, Post.original == Photo.digest
    if members.is_moderator(viewer):
        post = select(Post.id).where(shown | original)
    else:
        public = shown & (Post.state == PostState.PUBLISHED) & Post.member_id.not_in(hidden)
        own = (Post.member_id == viewer_id) & (shown | original)
        post = select(Post.id).where(public if viewer_id is None else public | own)
    profile = select(Member.id).where(
        Member.photo == Photo.digest, Member.left_at.is_(None), Member.id.not_in(hidden)
    )
    photo = db.scalar(select(Photo).where(Photo.digest == digest, post.exists() | profile.exists()))
    if photo is None:
        raise NotFound("There is no such picture.")
    return photo


# ---- lists ---------------------------------------------------------------------------------------


def list_newest_posts(
    db: Session,
    viewer: Person | None,
    *,
    category: str | None = None,
    after: str | None = None,
    limit: int = 24,
) -> Page[Post]:
    """Published posts, of one category or of all, the last published first."""
    query = select_listed_posts(db, viewer)
    if category is not None:
        if category not in CATEGORIES:
            raise NotFound("There is no such category.")
        query = query.where(Post.category == category)
    return page_by_publication(db, query, after, limit)


def list_member_posts(
    db: Session, viewer: Person | None, name: str, *, after: str | None = None, limit: int = 24
) -> Page[Post]:
    """A member's published posts, the last published first.

    Members see all of their own posts that are not deleted, the last sent first.
    """
    member = members.load_profile(db, viewer, name)
    query = select(Post).where(Post.member_id == member.id)
    if members.find_viewer_id(db, viewer) != member.id:
        return page_by_publication(db, query.where(Post.state == PostState.PUBLISHED), after, limit)
    limit = pagination.clamp_page_size(limit)
    query = query.where(Post.state != PostState.DELETED)
    if after is not None:
        query = query.where(Post.id < pagination.parse_id_cursor(after))
    rows = db.scalars(query.order_by(Post.id.desc()).limit(limit + 1)).all()
    return pagination.make_page(rows, limit, lambda post: pagination.id_cursor(post.id))


def page_by_publication(
    db: Session, query: Select[Post], after: str | None, limit: int
) -> Page[Post]:
    """A page of published posts, the last published first.

    A post that is published again after a hold or an undo keeps its place, so nothing moves.
    """
    limit = pagination.clamp_page_size(limit)
    if after is not None:
        query = query.where(
            tuple_(Post.published_at, Post.id) < tuple_(*pagination.parse_moment_cursor(after))
        )
    rows = db.scalars(query.order_by(Post.published_at.desc(), Post.id.desc()).limit(limit + 1))
    return pagination.make_page(rows.all(), limit, publication_cursor)


def publication_cursor(post: Post) -> str:
    """The cursor of a post in lists by publication."""
    assert post.published_at is not None
    return pagination.moment_cursor(post.published_at, post.id)


def select_listed_posts(db: Session, viewer: Person | None) -> Select[Post]:
    """The posts that lists show to a viewer."""
    hidden = members.hidden_member_ids(members.find_viewer_id(db, viewer))
    return select(Post).where(Post.state == PostState.PUBLISHED, Post.member_id.not_in(hidden))


def load_listed_posts(db: Session, viewer: Person | None, ids: Sequence[int]) -> list[Post]:
    """Those of the posts that lists show to a viewer, in the order of the ids."""
    if not ids:
        return []
    hidden = members.hidden_member_ids(members.find_viewer_id(db, viewer))
    rows = db.scalars(select(Post).where(Post.id.in_(ids), Post.member_id.not_in(hidden)))
    # The state is compared here: in the query, SQLite would read all published posts.
    posts = {post.id: post for post in rows if post.state == PostState.PUBLISHED}
    return [posts[id_] for id_ in ids if id_ in posts]


def build_cards(db: Session, viewer: Person | None, posts: Sequence[Post]) -> list[Card]:
    """Posts with their photos and members, and whether the viewer likes and follows them.

    The number of queries does not depend on the number of posts.
    """
    if not posts:
        return []
    ids, viewer_id = [post.id for post in posts], members.find_viewer_id(db, viewer)
    joined = (
        select(Post.id, Photo, Member)
        .join(Photo, Photo.digest == Post.photo)
        .join(Member, Member.id == Post.member_id)
        .where(Post.id.in_(ids))
    )
    around = {id_: (photo, member) for id_, photo, member in db.execute(joined)}
    liked: set[int] = set()
    followed: set[int] = set()
    if viewer_id is not None:
        likes = select(Like.post_id).where(Like.member_id == viewer_id, Like.post_id.in_(ids))
        liked.update(db.scalars(likes))
        follows = select(Follow.followed_id).where(
            Follow.follower_id == viewer_id,
            Follow.followed_id.in_({post.member_id for post in posts}),
        )
        followed.update(db.scalars(follows))
    return [
        Card(post, *around[post.id], post.id in liked, post.member_id in followed)
        for post in posts
        if post.id in around
    ]
