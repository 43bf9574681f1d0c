"""Leaving for good: shut at once, then everything taken away piece by piece by a durable run, `leave-<member id>`.

From the second that somebody leaves nobody is signed in as them and nothing of theirs is shown (members.unseen_by). The run deletes in
short transactions, so that thousands of posts hold nobody up, and keeps the counts of others right with each. What stays: events under a
random pseudonym that leads nowhere, reports and decisions without whom they were about, and a digest by which the name is not given again.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from dbos import DBOS
from sqlalchemy import ColumnElement, CursorResult, delete, inspect, or_, select, tuple_, update
from sqlalchemy.orm import Session

from tanuki.animals import members, posts
from tanuki.animals.post_review import TRY_AGAIN_AFTER, forget
from tanuki.animals.tables import (
    Appeal,
    Case,
    Comment,
    Decision,
    Follow,
    Like,
    Member,
    Notification,
    Post,
    PostEdit,
    Report,
    Shut,
)
from tanuki.platform import accounts
from tanuki.platform.accounts import Person
from tanuki.platform.database.engine import Base
from tanuki.platform.durable_steps import stepping
from tanuki.platform.jobs import Work
from tanuki.platform.resources import Resources, current

T = TypeVar("T")
log = structlog.get_logger()

WORKFLOW = "leave"
ROWS = 200  # deleted in one transaction
POSTS = 25  # each with its place in the search and its tags
SHORTEST_REST, LONGEST_REST = 0.01, 1.0  # seconds between two transactions
LOOK_SECONDS = 60.0


def leave(db: Session, work: Work, who: Person, password: str, *, now: datetime) -> None:
    """Somebody leaves: from this transaction's commit on they are not there any more, and the run takes away what was theirs."""
    accounts.may_leave(db, who, password)
    me = members.of(db, who)
    accounts.disable(db, who.name, now=now, by=who.name)
    me.left_at = now
    db.flush()
    work.enqueue(db, WORKFLOW, run_id(me.id), me.id)


def run_id(member_id: int) -> str:
    """The run that takes away what was a member's."""
    return f"{WORKFLOW}-{member_id}"


def look() -> None:
    """Let runs that gave up go on: whoever left is owed it."""
    res, now = current(), datetime.now(UTC)
    res.work.resume_failed(WORKFLOW, before=now - TRY_AGAIN_AFTER)


CHORES: list[tuple[Callable[[], None], float]] = [(look, LOOK_SECONDS)]


# ---- what is taken away --------------------------------------------------------------------------------------------


def until_none(res: Resources, do: Callable[[Session], T]) -> Iterator[T]:
    """What transaction after transaction did, until one finds nothing to do.

    Between two it rests as long as the first took: a writer who waits for SQLite's lock looks for it only now and then, and would else never find it free.
    """
    while True:
        begun = time.monotonic()
        with res.db.write() as db:
            done = do(db)
        if not done:
            return
        took = time.monotonic() - begun
        yield done
        time.sleep(min(max(took, SHORTEST_REST), LONGEST_REST))


def all_of(res: Resources, do: Callable[[Session], int]) -> None:
    """The same for what needs nothing done in between."""
    for _ in until_none(res, do):
        pass


def some(db: Session, table: type[Base], whose: ColumnElement[bool]) -> int:
    """Some rows less; gives how many."""
    key = inspect(table).primary_key
    gone = db.execute(delete(table).where(tuple_(*key).in_(select(*key).where(whose).limit(ROWS))))
    assert isinstance(gone, CursorResult)
    return gone.rowcount


def leave_likes(res: Resources, now: datetime, member_id: int) -> None:
    """What they liked has a like less."""
    all_of(res, lambda db: some_likes(db, member_id))


def some_likes(db: Session, member_id: int) -> int:
    """Some of their likes, with the counts of the posts that they liked."""
    liked = db.scalars(
        select(Like.post_id).where(Like.member_id == member_id).order_by(Like.post_id).limit(ROWS)
    ).all()
    for post in posts.locked_all(db, liked):
        post.likes -= 1
        post.heat = (
            posts.heat(post.published_at, post.likes) if post.published_at is not None else 0.0
        )
    db.execute(delete(Like).where(Like.member_id == member_id, Like.post_id.in_(liked)))
    return len(liked)


def leave_comments(res: Resources, now: datetime, member_id: int) -> None:
    """What they wrote under posts is gone, and not counted any more."""
    all_of(res, lambda db: some_comments(db, member_id))


def some_comments(db: Session, member_id: int) -> int:
    """Some of their comments, with the counts of the posts under which they stood."""
    written = select(Comment.id, Comment.post_id).where(Comment.member_id == member_id)
    under = {
        row.id: row.post_id
        for row in db.execute(written.order_by(Comment.post_id, Comment.id).limit(ROWS))
    }
    found = {post.id: post for post in posts.locked_all(db, under.values())}
    for post_id in db.scalars(
        select(Comment.post_id).where(Comment.id.in_(under), Comment.state == "shown")
    ):
        found[post_id].comments -= 1
    db.execute(delete(Comment).where(Comment.id.in_(under)))
    return len(under)


def leave_others(res: Resources, now: datetime, member_id: int) -> None:
    """What is between them and others: follows, with the others' counts, blocks and mutes, and what anybody was told by them or they were told."""
    all_of(res, lambda db: some_follows(db, member_id))
    all_of(
        res, lambda db: some(db, Shut, or_(Shut.member_id == member_id, Shut.other_id == member_id))
    )
    all_of(
        res,
        lambda db: some(
            db,
            Notification,
            or_(Notification.member_id == member_id, Notification.actor_id == member_id),
        ),
    )


def some_follows(db: Session, member_id: int) -> int:
    """Some of those who follow them or whom they follow; only the others' counts matter still."""
    followed = db.scalars(
        select(Follow.followed_id).where(Follow.follower_id == member_id).limit(ROWS)
    ).all()
    followers = db.scalars(
        select(Follow.follower_id).where(Follow.followed_id == member_id).limit(ROWS)
    ).all()
    members.lock(db, *followed, *followers)
    db.execute(update(Member).where(Member.id.in_(followed)).values(followers=Member.followers - 1))
    db.execute(
        update(Member).where(Member.id.in_(followers)).values(following=Member.following - 1)
    )
    db.execute(
        delete(Follow).where(Follow.follower_id == member_id, Follow.followed_id.in_(followed))
    )
    db.execute(
        delete(Follow).where(Follow.followed_id == member_id, Follow.follower_id.in_(followers))
    )
    return len(followed) + len(followers)


def leave_posts(res: Resources, now: datetime, member_id: int) -> None:
    """First what others left at their posts, which may be much; then the posts, and the pictures that nobody else has."""
    theirs = select(Post.id).where(Post.member_id == member_id)
    for about in (Like.post_id, Comment.post_id, Notification.post_id, PostEdit.post_id):
        all_of(res, lambda db, about=about: some(db, about.class_, about.in_(theirs)))  # type: ignore[misc]
    for digests in until_none(
        res, lambda db: posts.erase(db, list(db.scalars(theirs.order_by(Post.id).limit(POSTS))))
    ):
        forget(res, digests)  # a kill before this leaves them for tidy()


def leave_moderation(res: Resources, now: datetime, member_id: int) -> None:
    """Reports and cases stay, without whom they were by and about, and without words that could tell."""
    with res.db.write() as db:
        about_them = select(Case.id).where(Case.member_id == member_id)
        decided = select(Decision.id).where(Decision.case_id.in_(about_them))
        either = or_(Appeal.member_id == member_id, Appeal.decision_id.in_(decided))
        for change in (
            update(Report).where(Report.case_id.in_(about_them)).values(words=""),
            update(Report)
            .where(Report.reporter_id == member_id)
            .values(words="", reporter_id=None),
            update(Appeal).where(either).values(words="", answer=None, member_id=None),
            update(Decision).where(Decision.case_id.in_(about_them)).values(note=""),
            update(Case)
            .where(Case.member_id == member_id, Case.state == "open")
            .values(state="decided", decided_at=now),
            update(Case)
            .where(Case.member_id == member_id)
            .values(subject_id=-Case.id, member_id=None),
        ):
            db.execute(change.execution_options(synchronize_session=False))


def leave_name(res: Resources, now: datetime, member_id: int) -> None:
    """At last they themselves, and their account; a digest keeps their name from being given to anybody else.

    What they were just doing when they left may have come after the other steps; so those are done once more.
    """
    for part in PARTS:
        part(res, now, member_id)
    with res.db.write() as db:
        me = db.get(Member, member_id)
        if me is None:
            return
        who, picture = Person(me.name, me.display, frozenset()), me.photo
        db.delete(me)
        db.flush()
        accounts.leave(db, who, None, now=now)
    forget(res, [picture] if picture else [])
    log.info("member left", member=member_id)


# ---- the run -------------------------------------------------------------------------------------------------------

PARTS = (leave_likes, leave_comments, leave_others, leave_posts, leave_moderation)
STEPS = tuple(stepping("animals", WORKFLOW)(part) for part in (*PARTS, leave_name))


def take_away(member_id: int) -> None:
    """Everything of a member who left, step by step. Doing any of it twice is doing it once."""
    for step in STEPS:
        step(member_id)


take_away_run = DBOS.workflow(name=WORKFLOW)(take_away)
