"""Likes, follows and comments.

Their counts stay right under concurrency: what is counted is locked first, and a count changes only
when a row was really inserted or deleted.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import CursorResult, Select, delete, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from tanuki.animals import (
    events,
    members,
    notifications,
    pagination,
    post_queries,
    post_states,
    posts,
)
from tanuki.animals.notifications import NewNotification
from tanuki.animals.pagination import Page
from tanuki.animals.tables import (
    Comment,
    CommentState,
    Follow,
    Like,
    Member,
    NotificationKind,
    Post,
    PostState,
)
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.rate_limit import RateLimit

LIKES_PER_MEMBER = RateLimit("like", 300, 3600)
UNLIKES_PER_MEMBER = RateLimit("unlike", 300, 3600)
COMMENTS_PER_MEMBER = RateLimit("comment", 60, 3600)
COMMENT_DELETIONS_PER_MEMBER = RateLimit("delete comment", 300, 3600)
FOLLOWS_PER_MEMBER = RateLimit("follow", 200, 3600)
UNFOLLOWS_PER_MEMBER = RateLimit("unfollow", 200, 3600)
MAX_FOLLOWS_PER_MEMBER = 2_000  # the home feed reads the posts of each of them
MAX_COMMENT_LENGTH = 1_000


class CommentWithAuthor(NamedTuple):
    """A comment and the member who wrote it."""

    comment: Comment
    member: Member


def lock_published_post(db: Session, post_id: int, who: Person) -> Post:
    """A published post that the person may see, locked because its counts are about to change."""
    post_states.lock_post(db, post_id)
    post = post_queries.load_visible_post(db, post_id, who)
    if post.state != PostState.PUBLISHED:
        raise Conflict("This post is not published; nobody can like it or write under it now.")
    return post


# ---- likes ---------------------------------------------------------------------------------------


def like_post(db: Session, who: Person, post_id: int, *, now: datetime) -> int:
    """Like a post, and give its number of likes. A second like changes nothing."""
    member = members.require_active_member(db, who)
    rate_limit.count_use(db, who.name, LIKES_PER_MEMBER, now)
    post = lock_published_post(db, post_id, who)
    if not insert_or_ignore(db, Like, post_id=post.id, member_id=member.id, at=now):
        return post.likes
    notification = NewNotification(
        NotificationKind.LIKE, f"post:{post.id}:member:{member.id}", member.id, post.id
    )
    notifications.notify(db, post.member_id, notification, now=now)
    events.record_action(db, member, "like", post=post.id, undone=False, now=now)
    return change_like_count(db, post, 1)


def unlike_post(db: Session, who: Person, post_id: int, *, now: datetime) -> int:
    """Take a like back, and give the post's number of likes."""
    member = members.require_active_member(db, who)
    rate_limit.count_use(db, who.name, UNLIKES_PER_MEMBER, now)
    post = lock_published_post(db, post_id, who)
    deleted = db.execute(delete(Like).where(Like.post_id == post.id, Like.member_id == member.id))
    assert isinstance(deleted, CursorResult)
    if not deleted.rowcount:
        return post.likes
    events.record_action(db, member, "like", post=post.id, undone=True, now=now)
    return change_like_count(db, post, -1)


def change_like_count(db: Session, post: Post, step: int) -> int:
    """Change the like count and the hot score of a locked post."""
    likes = post.likes + step
    hot_score = post_states.hot_score(post.published_at, likes) if post.published_at else 0.0
    db.execute(
        update(Post).where(Post.id == post.id).values(likes=Post.likes + step, hot_score=hot_score)
    )
    return likes


def list_likers(
    db: Session, viewer: Person | None, post_id: int, *, after: str | None = None, limit: int = 24
) -> Page[Member]:
    """The members who like a post, the latest like first."""
    post, limit = (
        post_queries.load_visible_post(db, post_id, viewer),
        pagination.clamp_page_size(limit),
    )
    hidden = members.hidden_member_ids(members.find_viewer_id(db, viewer), muted=False)
    query = (
        select(Member, Like.at)
        .join(Like, Like.member_id == Member.id)
        .where(Like.post_id == post.id, Member.id.not_in(hidden))
    )
    if after is not None:
        moment, member_id = pagination.parse_moment_cursor(after)
        query = query.where(
            or_(Like.at < moment, (Like.at == moment) & (Like.member_id < member_id))
        )
    rows = db.execute(query.order_by(Like.at.desc(), Like.member_id.desc()).limit(limit + 1))
    return page_of_members([(member, at) for member, at in rows], limit)


def page_of_members(rows: list[tuple[Member, datetime]], limit: int) -> Page[Member]:
    """A page of members, with the moments that order them."""
    page = pagination.make_page(
        rows, limit, lambda row: pagination.moment_cursor(row[1], row[0].id)
    )
    return Page([member for member, _ in page.items], page.next)


# ---- follows -------------------------------------------------------------------------------------


def follow_member(db: Session, who: Person, name: str, *, now: datetime) -> Member:
    """Follow a member, and give that member. A second follow changes nothing."""
    member = members.require_active_member(db, who)
    rate_limit.count_use(db, who.name, FOLLOWS_PER_MEMBER, now)
    followed = members.load_profile(db, who, name)
    if followed.id == member.id:
        raise UserError("You cannot follow yourself.")
    members.lock_members(db, member.id, followed.id)
    db.refresh(member)
    if members.is_blocked_between(db, member.id, followed.id):
        raise NotFound("There is no such member.")
    if member.following >= MAX_FOLLOWS_PER_MEMBER:
        raise UserError("You can follow at most %(most)s members.", most=MAX_FOLLOWS_PER_MEMBER)
    if insert_or_ignore(db, Follow, follower_id=member.id, followed_id=followed.id, at=now):
        db.execute(
            update(Member).where(Member.id == member.id).values(following=Member.following + 1)
        )
        db.execute(
            update(Member).where(Member.id == followed.id).values(followers=Member.followers + 1)
        )
        notification = NewNotification(NotificationKind.FOLLOW, f"member:{member.id}", member.id)
        notifications.notify(db, followed.id, notification, now=now)
        whom = events.pseudonym_of(followed)
        events.record_action(db, member, "follow", whom=whom, undone=False, now=now)
    db.refresh(followed)
    return followed


def unfollow_member(db: Session, who: Person, name: str, *, now: datetime) -> Member:
    """Stop following a member, and give that member."""
    member = members.require_active_member(db, who)
    rate_limit.count_use(db, who.name, UNFOLLOWS_PER_MEMBER, now)
    followed = members.load_profile(db, who, name)
    members.lock_members(db, member.id, followed.id)
    if members.remove_follow(db, member.id, followed.id):
        whom = events.pseudonym_of(followed)
        events.record_action(db, member, "follow", whom=whom, undone=True, now=now)
    db.refresh(followed)
    return followed


def list_followers(
    db: Session, viewer: Person | None, name: str, *, after: str | None = None, limit: int = 24
) -> Page[Member]:
    """The members who follow a member, the latest first."""
    member = members.load_profile(db, viewer, name)
    query = (
        select(Member, Follow.at)
        .join(Follow, Follow.follower_id == Member.id)
        .where(Follow.followed_id == member.id)
    )
    return page_of_follows(db, viewer, query, Follow.follower_id, after=after, limit=limit)


def list_following(
    db: Session, viewer: Person | None, name: str, *, after: str | None = None, limit: int = 24
) -> Page[Member]:
    """The members whom a member follows, the latest first."""
    member = members.load_profile(db, viewer, name)
    query = (
        select(Member, Follow.at)
        .join(Follow, Follow.followed_id == Member.id)
        .where(Follow.follower_id == member.id)
    )
    return page_of_follows(db, viewer, query, Follow.followed_id, after=after, limit=limit)


def page_of_follows(
    db: Session,
    viewer: Person | None,
    query: Select[Member, datetime],
    listed: InstrumentedAttribute[int],
    *,
    after: str | None,
    limit: int,
) -> Page[Member]:
    """A page of a query of members and the moments of their follows.

    `listed` is the column of the listed members. Ordering by it, and not by the equal `Member.id`,
    lets the index on follows give the order.
    """
    limit = pagination.clamp_page_size(limit)
    hidden = members.hidden_member_ids(members.find_viewer_id(db, viewer), muted=False)
    query = query.where(Member.id.not_in(hidden))
    if after is not None:
        moment, member_id = pagination.parse_moment_cursor(after)
        query = query.where(or_(Follow.at < moment, (Follow.at == moment) & (listed < member_id)))
    rows = db.execute(query.order_by(Follow.at.desc(), listed.desc()).limit(limit + 1))
    return page_of_members([(member, at) for member, at in rows], limit)


# ---- comments ------------------------------------------------------------------------------------


def add_comment(
    db: Session, who: Person, post_id: int, text: str, *, key: str, now: datetime
) -> Comment:
    """Comment on a post. The same idempotency key again gives the same comment."""
    member = members.require_active_member(db, who)
    posts.check_idempotency_key(key)
    text = members.validate_text(
        text,
        1,
        MAX_COMMENT_LENGTH,
        msgid("A comment has 1 to %(most)s characters; found %(found)s."),
        lines=True,
    )
    earlier = find_sent_comment(db, member, key, (post_id, text))
    if earlier is not None:
        return earlier
    rate_limit.count_use(db, who.name, COMMENTS_PER_MEMBER, now)
    post = lock_published_post(db, post_id, who)
    inserted = insert_or_ignore(
        db, Comment, post_id=post.id, member_id=member.id, key=key, text=text, at=now
    )
    comment = find_sent_comment(db, member, key, (post_id, text))
    assert comment is not None
    if inserted:
        db.execute(update(Post).where(Post.id == post.id).values(comments=Post.comments + 1))
        notification = NewNotification(
            NotificationKind.COMMENT, f"comment:{comment.id}", member.id, post.id
        )
        notifications.notify(db, post.member_id, notification, now=now)
        events.record_action(db, member, "comment", post=post.id, now=now)
    return comment


def find_sent_comment(
    db: Session, member: Member, key: str, sent: tuple[int, str]
) -> Comment | None:
    """The comment that a member sent with this key before.

    Raises Conflict if it was not the same post id and text.
    """
    comment = db.scalar(select(Comment).where(Comment.member_id == member.id, Comment.key == key))
    if comment is not None and (comment.post_id, comment.text) != sent:
        raise Conflict(
            "Something else was written with this idempotency key; use a new one for each comment."
        )
    return comment


def list_comments(
    db: Session, viewer: Person | None, post_id: int, *, after: str | None = None, limit: int = 24
) -> Page[CommentWithAuthor]:
    """The comments on a post, the oldest first.

    Authors also see their comments that moderators removed, because they may appeal.
    """
    post = post_queries.load_visible_post(db, post_id, viewer)
    viewer_id, limit = members.find_viewer_id(db, viewer), pagination.clamp_page_size(limit)
    own_removed = (Comment.state == CommentState.REMOVED) & (Comment.member_id == viewer_id)
    query = (
        select(Comment, Member)
        .join(Member, Member.id == Comment.member_id)
        .where(
            Comment.post_id == post.id,
            or_(Comment.state == CommentState.SHOWN, own_removed),
            Comment.member_id.not_in(members.hidden_member_ids(viewer_id)),
        )
    )
    if after is not None:
        query = query.where(Comment.id > pagination.parse_id_cursor(after))
    rows = db.execute(query.order_by(Comment.id).limit(limit + 1))
    return pagination.make_page(
        [CommentWithAuthor(*row) for row in rows],
        limit,
        lambda row: pagination.id_cursor(row.comment.id),
    )


def delete_comment(db: Session, who: Person, comment_id: int, *, now: datetime) -> Comment:
    """Delete one's own comment."""
    member = members.require_active_member(db, who)
    rate_limit.count_use(db, who.name, COMMENT_DELETIONS_PER_MEMBER, now)
    comment = db.get(Comment, comment_id) if 0 < comment_id <= pagination.MAX_ID else None
    if comment is None or comment.member_id != member.id:
        raise NotFound("There is no such comment.")
    return set_comment_state(
        db, comment_id, CommentState.DELETED, reason=comment.reason, note=comment.note
    )


def set_comment_state(
    db: Session,
    comment_id: int,
    state: CommentState,
    *,
    reason: str | None = None,
    note: str | None = None,
) -> Comment:
    """Change the state of a comment, and the post's count with it.

    This is the only place that does so. A deleted comment stays deleted.
    """
    post_id = db.scalar(select(Comment.post_id).where(Comment.id == comment_id)) or 0
    post_states.lock_post(db, post_id)
    comment = db.scalar(
        select(Comment)
        .where(Comment.id == comment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if comment is None:
        raise NotFound("There is no such comment.")
    if comment.state == CommentState.DELETED:
        return comment
    step = (state == CommentState.SHOWN) - (comment.state == CommentState.SHOWN)
    if step:
        db.execute(
            update(Post).where(Post.id == comment.post_id).values(comments=Post.comments + step)
        )
    comment.state, comment.reason, comment.note = state, reason, note
    db.flush()
    return comment
