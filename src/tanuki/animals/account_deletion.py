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

from tanuki.animals import members, post_states
from tanuki.animals.post_review import RESUME_FAILED_AFTER, delete_photos
from tanuki.animals.tables import (
    Appeal,
    Block,
    Case,
    CaseState,
    Comment,
    CommentState,
    Decision,
    Follow,
    Like,
    Member,
    Notification,
    Post,
    PostEdit,
    Report,
)
from tanuki.platform import accounts
from tanuki.platform.accounts import Person
from tanuki.platform.database.engine import Base
from tanuki.platform.durable_steps import stepping
from tanuki.platform.jobs import Jobs
from tanuki.platform.resources import Resources, process_resources

T = TypeVar("T")
log = structlog.get_logger()

ACCOUNT_DELETION = "leave"
ROWS_PER_TRANSACTION = 200  # deleted in one transaction
POSTS_PER_TRANSACTION = 25  # each with its place in the search and its tags
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.01, 1.0  # seconds between two transactions
RESUME_SECONDS = 60.0


def delete_account(db: Session, work: Jobs, who: Person, password: str, *, now: datetime) -> None:
    """Somebody leaves: from this transaction's commit on they are not there any more, and the run takes away what was theirs."""
    accounts.may_leave(db, who, password)
    me = members.require_member(db, who)
    accounts.disable_account(db, who.name, now=now, by=who.name)
    me.left_at = now
    db.flush()
    work.enqueue(db, ACCOUNT_DELETION, deletion_run_id(me.id), me.id)


def deletion_run_id(member_id: int) -> str:
    """The run that takes away what was a member's."""
    return f"{ACCOUNT_DELETION}-{member_id}"


def resume_failed_deletions() -> None:
    """Let runs that gave up go on: whoever left is owed it."""
    res, now = process_resources(), datetime.now(UTC)
    res.jobs.resume_failed_runs(ACCOUNT_DELETION, before=now - RESUME_FAILED_AFTER)


CHORES: list[tuple[Callable[[], None], float]] = [(resume_failed_deletions, RESUME_SECONDS)]


# ---- what is taken away --------------------------------------------------------------------------------------------


def repeat_with_results(res: Resources, do: Callable[[Session], T]) -> Iterator[T]:
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
        time.sleep(min(max(took, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS))


def repeat_until_none(res: Resources, do: Callable[[Session], int]) -> None:
    """The same for what needs nothing done in between."""
    for _ in repeat_with_results(res, do):
        pass


def delete_rows(db: Session, table: type[Base], whose: ColumnElement[bool]) -> int:
    """Some rows less; gives how many."""
    key = inspect(table).primary_key
    gone = db.execute(
        delete(table).where(tuple_(*key).in_(select(*key).where(whose).limit(ROWS_PER_TRANSACTION)))
    )
    assert isinstance(gone, CursorResult)
    return gone.rowcount


def erase_likes(res: Resources, now: datetime, member_id: int) -> None:
    """What they liked has a like less."""
    repeat_until_none(res, lambda db: delete_likes(db, member_id))


def delete_likes(db: Session, member_id: int) -> int:
    """Some of their likes, with the counts of the posts that they liked."""
    liked = db.scalars(
        select(Like.post_id)
        .where(Like.member_id == member_id)
        .order_by(Like.post_id)
        .limit(ROWS_PER_TRANSACTION)
    ).all()
    for post in post_states.lock_posts(db, liked):
        post.likes -= 1
        post.hot_score = (
            post_states.hot_score(post.published_at, post.likes)
            if post.published_at is not None
            else 0.0
        )
    db.execute(delete(Like).where(Like.member_id == member_id, Like.post_id.in_(liked)))
    return len(liked)


def erase_comments(res: Resources, now: datetime, member_id: int) -> None:
    """What they wrote under posts is gone, and not counted any more."""
    repeat_until_none(res, lambda db: delete_comments(db, member_id))


def delete_comments(db: Session, member_id: int) -> int:
    """Some of their comments, with the counts of the posts under which they stood."""
    written = select(Comment.id, Comment.post_id).where(Comment.member_id == member_id)
    under = {
        row.id: row.post_id
        for row in db.execute(
            written.order_by(Comment.post_id, Comment.id).limit(ROWS_PER_TRANSACTION)
        )
    }
    found = {post.id: post for post in post_states.lock_posts(db, under.values())}
    for post_id in db.scalars(
        select(Comment.post_id).where(Comment.id.in_(under), Comment.state == CommentState.SHOWN)
    ):
        found[post_id].comments -= 1
    db.execute(delete(Comment).where(Comment.id.in_(under)))
    return len(under)


def erase_relations(res: Resources, now: datetime, member_id: int) -> None:
    """What is between them and others: follows, with the others' counts, blocks and mutes, and what anybody was told by them or they were told."""
    repeat_until_none(res, lambda db: delete_follows(db, member_id))
    repeat_until_none(
        res,
        lambda db: delete_rows(
            db, Block, or_(Block.member_id == member_id, Block.target_id == member_id)
        ),
    )
    repeat_until_none(
        res,
        lambda db: delete_rows(
            db,
            Notification,
            or_(Notification.member_id == member_id, Notification.actor_id == member_id),
        ),
    )


def delete_follows(db: Session, member_id: int) -> int:
    """Some of those who follow them or whom they follow; only the others' counts matter still."""
    followed = db.scalars(
        select(Follow.followed_id)
        .where(Follow.follower_id == member_id)
        .limit(ROWS_PER_TRANSACTION)
    ).all()
    followers = db.scalars(
        select(Follow.follower_id)
        .where(Follow.followed_id == member_id)
        .limit(ROWS_PER_TRANSACTION)
    ).all()
    members.lock_members(db, *followed, *followers)
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


def erase_member_posts(res: Resources, now: datetime, member_id: int) -> None:
    """First what others left at their posts, which may be much; then the posts, and the pictures that nobody else has."""
    theirs = select(Post.id).where(Post.member_id == member_id)
    for about in (Like.post_id, Comment.post_id, Notification.post_id, PostEdit.post_id):
        repeat_until_none(
            res, lambda db, about=about: delete_rows(db, about.class_, about.in_(theirs))
        )  # type: ignore[misc]
    for digests in repeat_with_results(
        res,
        lambda db: post_states.erase_posts(
            db, list(db.scalars(theirs.order_by(Post.id).limit(POSTS_PER_TRANSACTION)))
        ),
    ):
        delete_photos(res, digests)  # a kill before this leaves them for tidy()


def anonymize_moderation(res: Resources, now: datetime, member_id: int) -> None:
    """Reports and cases stay, without whom they were by and about, and without words that could tell."""
    with res.db.write() as db:
        about_them = select(Case.id).where(Case.member_id == member_id)
        decided = select(Decision.id).where(Decision.case_id.in_(about_them))
        either = or_(Appeal.member_id == member_id, Appeal.decision_id.in_(decided))
        for change in (
            update(Report).where(Report.case_id.in_(about_them)).values(text=""),
            update(Report).where(Report.reporter_id == member_id).values(text="", reporter_id=None),
            update(Appeal).where(either).values(text="", answer=None, member_id=None),
            update(Decision).where(Decision.case_id.in_(about_them)).values(note=""),
            update(Case)
            .where(Case.member_id == member_id, Case.state == CaseState.OPEN)
            .values(state=CaseState.DECIDED, decided_at=now),
            update(Case)
            .where(Case.member_id == member_id)
            .values(subject_id=-Case.id, member_id=None),
        ):
            db.execute(change.execution_options(synchronize_session=False))


def erase_name(res: Resources, now: datetime, member_id: int) -> None:
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
    delete_photos(res, [picture] if picture else [])
    log.info("member left", member=member_id)


# ---- the run -------------------------------------------------------------------------------------------------------

PARTS = (erase_likes, erase_comments, erase_relations, erase_member_posts, anonymize_moderation)
STEPS = tuple(stepping("animals", ACCOUNT_DELETION)(part) for part in (*PARTS, erase_name))


def erase_member(member_id: int) -> None:
    """Everything of a member who left, step by step. Doing any of it twice is doing it once."""
    for step in STEPS:
        step(member_id)


erase_member_workflow = DBOS.workflow(name=ACCOUNT_DELETION)(erase_member)
