"""Likes, follows and comments, whose counts are right whatever happens at the same time: what is counted is locked, and counted when a row really came or went."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import CursorResult, delete, or_, select, update
from sqlalchemy.orm import Session

from tanuki.animals import (
    events,
    members,
    notifications,
    pagination,
    post_queries,
    post_states,
    posts,
)
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Comment, CommentState, Follow, Like, Member, Post, PostState
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore

HOUR = 3600
ACTIONS_PER_HOUR = {
    "like": 300,
    "unlike": 300,
    "comment": 60,
    "delete comment": 300,
    "follow": 200,
    "unfollow": 200,
}  # how often a member may, in an hour
MAX_FOLLOWS_PER_MEMBER = 2_000  # whom one member may follow; the home feed looks at each of them
MAX_COMMENT_LENGTH = 1_000


class CommentWithAuthor(NamedTuple):
    """A comment with who wrote it."""

    comment: Comment
    member: Member


def enforce_rate_limit(db: Session, who: Person, what: str, now: datetime) -> None:
    """Count one more of these things, unless there were too many in this hour."""
    rate_limit.use(db, who.name, what, now=now, most=ACTIONS_PER_HOUR[what], seconds=HOUR)


def lock_published_post(db: Session, post_id: int, who: Person) -> Post:
    """A post that others see too, locked until this transaction ends: its counts are about to change."""
    post_states.lock_post(db, post_id)
    post = post_queries.load_visible_post(db, post_id, who)
    if post.state != PostState.PUBLISHED:
        raise Conflict("This post is not published; nobody can like it or write under it now.")
    return post


# ---- likes ---------------------------------------------------------------------------------------------------------


def like_post(db: Session, who: Person, post_id: int, *, now: datetime) -> int:
    """Somebody likes a post; liking it again changes nothing. How many like it."""
    me = members.require_active_member(db, who)
    enforce_rate_limit(db, who, "like", now)
    post = lock_published_post(db, post_id, who)
    if not insert_or_ignore(db, Like, post_id=post.id, member_id=me.id, at=now):
        return post.likes
    about = f"post:{post.id}:member:{me.id}"
    notifications.notify(
        db, post.member_id, "like", about=about, actor_id=me.id, post_id=post.id, now=now
    )
    events.record_action(db, me, "like", post=post.id, undone=False, now=now)
    return change_like_count(db, post, 1)


def unlike_post(db: Session, who: Person, post_id: int, *, now: datetime) -> int:
    """Somebody likes a post no longer. How many still do."""
    me = members.require_active_member(db, who)
    enforce_rate_limit(db, who, "unlike", now)
    post = lock_published_post(db, post_id, who)
    gone = db.execute(delete(Like).where(Like.post_id == post.id, Like.member_id == me.id))
    assert isinstance(gone, CursorResult)
    if not gone.rowcount:
        return post.likes
    events.record_action(db, me, "like", post=post.id, undone=True, now=now)
    return change_like_count(db, post, -1)


def change_like_count(db: Session, post: Post, step: int) -> int:
    """Count a like more or less of a locked post, which is then hotter or cooler."""
    likes = post.likes + step
    hot_score = post_states.hot_score(post.published_at, likes) if post.published_at else 0.0
    db.execute(
        update(Post).where(Post.id == post.id).values(likes=Post.likes + step, hot_score=hot_score)
    )
    return likes


def list_likers(
    db: Session, viewer: Person | None, post_id: int, *, after: str | None = None, limit: int = 24
) -> Page[Member]:
    """Who likes a post, the latest first."""
    post, limit = (
        post_queries.load_visible_post(db, post_id, viewer),
        pagination.clamp_page_size(limit),
    )
    wanted = (
        select(Member, Like.at)
        .join(Like, Like.member_id == Member.id)
        .where(Like.post_id == post.id)
    )
    wanted = wanted.where(
        Member.id.not_in(members.hidden_member_ids(members.find_viewer_id(db, viewer), muted=False))
    )
    if after is not None:
        moment, member_id = pagination.parse_moment_cursor(after)
        wanted = wanted.where(
            or_(Like.at < moment, (Like.at == moment) & (Like.member_id < member_id))
        )
    found = db.execute(
        wanted.order_by(Like.at.desc(), Like.member_id.desc()).limit(limit + 1)
    ).all()
    return page_of_members([(member, at) for member, at in found], limit)


def page_of_members(found: list[tuple[Member, datetime]], limit: int) -> Page[Member]:
    """A page of members who did something at some moment."""
    paged = pagination.make_page(
        found, limit, lambda one: pagination.moment_cursor(one[1], one[0].id)
    )
    return Page([member for member, _ in paged.items], paged.next)


# ---- follows -------------------------------------------------------------------------------------------------------


def follow_member(db: Session, who: Person, name: str, *, now: datetime) -> Member:
    """Somebody wants to see a member's posts; following again changes nothing. The followed member."""
    me = members.require_active_member(db, who)
    enforce_rate_limit(db, who, "follow", now)
    other = members.load_profile(db, who, name)
    if other.id == me.id:
        raise UserError("You cannot follow yourself.")
    members.lock_members(db, me.id, other.id)
    db.refresh(me)
    if members.is_blocked_between(db, me.id, other.id):
        raise NotFound("There is no such member.")
    if me.following >= MAX_FOLLOWS_PER_MEMBER:
        raise UserError("You can follow at most %(most)s members.", most=MAX_FOLLOWS_PER_MEMBER)
    if insert_or_ignore(db, Follow, follower_id=me.id, followed_id=other.id, at=now):
        db.execute(update(Member).where(Member.id == me.id).values(following=Member.following + 1))
        db.execute(
            update(Member).where(Member.id == other.id).values(followers=Member.followers + 1)
        )
        notifications.notify(
            db, other.id, "follow", about=f"member:{me.id}", actor_id=me.id, now=now
        )
        events.record_action(
            db, me, "follow", whom=events.pseudonym_of(other), undone=False, now=now
        )
    db.refresh(other)
    return other


def unfollow_member(db: Session, who: Person, name: str, *, now: datetime) -> Member:
    """Somebody follows a member no longer. The member."""
    me = members.require_active_member(db, who)
    enforce_rate_limit(db, who, "unfollow", now)
    other = members.load_profile(db, who, name)
    members.lock_members(db, me.id, other.id)
    if members.remove_follow(db, me.id, other.id):
        events.record_action(
            db, me, "follow", whom=events.pseudonym_of(other), undone=True, now=now
        )
    db.refresh(other)
    return other


def list_followers(
    db: Session, viewer: Person | None, name: str, *, after: str | None = None, limit: int = 24
) -> Page[Member]:
    """Who follows a member, the latest first."""
    return list_follows(db, viewer, name, after, limit, mine=True)


def list_following(
    db: Session, viewer: Person | None, name: str, *, after: str | None = None, limit: int = 24
) -> Page[Member]:
    """Whom a member follows, the latest first."""
    return list_follows(db, viewer, name, after, limit, mine=False)


def list_follows(
    db: Session, viewer: Person | None, name: str, after: str | None, limit: int, *, mine: bool
) -> Page[Member]:
    """A page of a member's followers, or of those whom they follow."""
    whose, limit = members.load_profile(db, viewer, name), pagination.clamp_page_size(limit)
    one, other = (
        (Follow.followed_id, Follow.follower_id)
        if mine
        else (Follow.follower_id, Follow.followed_id)
    )
    wanted = select(Member, Follow.at).join(Follow, other == Member.id).where(one == whose.id)
    wanted = wanted.where(
        Member.id.not_in(members.hidden_member_ids(members.find_viewer_id(db, viewer), muted=False))
    )
    if after is not None:
        moment, member_id = pagination.parse_moment_cursor(after)
        wanted = wanted.where(or_(Follow.at < moment, (Follow.at == moment) & (other < member_id)))
    found = db.execute(wanted.order_by(Follow.at.desc(), other.desc()).limit(limit + 1)).all()
    return page_of_members([(member, at) for member, at in found], limit)


# ---- comments ------------------------------------------------------------------------------------------------------


def add_comment(
    db: Session, who: Person, post_id: int, words: str, *, key: str, now: datetime
) -> Comment:
    """Somebody writes under a post. The same key again is the same comment."""
    me = members.require_active_member(db, who)
    if not 1 <= len(key) <= posts.MAX_IDEMPOTENCY_KEY_LENGTH or members.clean_text(key) != key:
        raise UserError(
            "An idempotency key has 1 to %(most)s characters that can be seen.",
            most=posts.MAX_IDEMPOTENCY_KEY_LENGTH,
        )
    words = members.validate_text(
        words,
        1,
        MAX_COMMENT_LENGTH,
        msgid("A comment has 1 to %(most)s characters; found %(found)s."),
        lines=True,
    )
    before = find_comment_by_key(db, me, key, post_id, words)
    if before is not None:
        return before
    enforce_rate_limit(db, who, "comment", now)
    post = lock_published_post(db, post_id, who)
    added = insert_or_ignore(
        db, Comment, post_id=post.id, member_id=me.id, key=key, text=words, at=now
    )
    made = find_comment_by_key(db, me, key, post_id, words)
    assert made is not None
    if added:
        db.execute(update(Post).where(Post.id == post.id).values(comments=Post.comments + 1))
        about = f"comment:{made.id}"
        notifications.notify(
            db, post.member_id, "comment", about=about, actor_id=me.id, post_id=post.id, now=now
        )
        events.record_action(db, me, "comment", post=post.id, now=now)
    return made


def find_comment_by_key(
    db: Session, me: Member, key: str, post_id: int, words: str
) -> Comment | None:
    """What a member has written with a key before. Raises Conflict when it was something else."""
    found = db.scalar(select(Comment).where(Comment.member_id == me.id, Comment.key == key))
    if found is not None and (found.post_id, found.text) != (post_id, words):
        raise Conflict(
            "Something else was written with this idempotency key; use a new one for each comment."
        )
    return found


def list_comments(
    db: Session, viewer: Person | None, post_id: int, *, after: str | None = None, limit: int = 24
) -> Page[CommentWithAuthor]:
    """What is written under a post, in the order it was written. One that moderators removed is seen by its writer, who may appeal."""
    post, limit, viewer_id = (
        post_queries.load_visible_post(db, post_id, viewer),
        pagination.clamp_page_size(limit),
        members.find_viewer_id(db, viewer),
    )
    wanted = (
        select(Comment, Member)
        .join(Member, Member.id == Comment.member_id)
        .where(Comment.post_id == post.id)
    )
    wanted = wanted.where(
        or_(
            Comment.state == CommentState.SHOWN,
            (Comment.state == CommentState.REMOVED) & (Comment.member_id == viewer_id),
        )
    )
    wanted = wanted.where(Comment.member_id.not_in(members.hidden_member_ids(viewer_id)))
    if after is not None:
        wanted = wanted.where(Comment.id > pagination.parse_id_cursor(after))
    found = [
        CommentWithAuthor(*row) for row in db.execute(wanted.order_by(Comment.id).limit(limit + 1))
    ]
    return pagination.make_page(found, limit, lambda remark: str(remark.comment.id))


def delete_comment(db: Session, who: Person, comment_id: int, *, now: datetime) -> Comment:
    """Somebody takes back what they wrote."""
    me = members.require_active_member(db, who)
    enforce_rate_limit(db, who, "delete comment", now)
    found = db.get(Comment, comment_id) if 0 < comment_id <= pagination.MAX_ID else None
    if found is None or found.member_id != me.id:
        raise NotFound("There is no such comment.")
    return set_comment_state(
        db, comment_id, CommentState.DELETED, why=found.reason, note=found.note
    )


def set_comment_state(
    db: Session, comment_id: int, state: str, *, why: str | None = None, note: str | None = None
) -> Comment:
    """A comment is removed by moderators, shown again, or deleted by its writer: the only place where its state changes, and the post's count with it.

    One that its writer deleted stays deleted.
    """
    post_id = db.scalar(select(Comment.post_id).where(Comment.id == comment_id)) or 0
    post_states.lock_post(db, post_id)
    found = db.scalar(
        select(Comment)
        .where(Comment.id == comment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound("There is no such comment.")
    if found.state == CommentState.DELETED:
        return found
    step = (state == CommentState.SHOWN) - (found.state == CommentState.SHOWN)
    if step:
        db.execute(
            update(Post).where(Post.id == found.post_id).values(comments=Post.comments + step)
        )
    found.state, found.reason, found.note = state, why, note
    db.flush()
    return found
