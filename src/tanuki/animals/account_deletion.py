"""Account deletion: the member disappears at once, and a durable run deletes their data in pieces.

From the commit of `delete_account` on nobody is signed in as the member, and nothing of theirs is
shown (see `members.hidden_member_ids`). The run `account-deletion-<member id>` deletes in short
transactions, so that thousands of posts delay nobody, and keeps the counts of others right with
each. What stays: events under a pseudonym that leads nowhere, reports and decisions without the
member, and a digest that keeps the name from being given again.
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
from tanuki.platform.durable_steps import durable_step
from tanuki.platform.jobs import Jobs
from tanuki.platform.resources import Resources, process_resources

T = TypeVar("T")
log = structlog.get_logger()

ACCOUNT_DELETION = "account-deletion"
ROWS_PER_TRANSACTION = 200
POSTS_PER_TRANSACTION = 25  # each with its search index entry and its tags
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.01, 1.0  # between two transactions
RESUME_SECONDS = 60.0


def delete_account(db: Session, jobs: Jobs, who: Person, password: str, *, now: datetime) -> None:
    """Delete a person's own account: it disappears with this commit, and a run deletes its data."""
    accounts.require_may_leave(db, who, password)
    member = members.require_member(db, who)
    accounts.disable_account(db, who.name, now=now, actor=who.name)
    member.left_at = now
    db.flush()
    jobs.enqueue(db, ACCOUNT_DELETION, deletion_run_id(member.id), member.id)


def deletion_run_id(member_id: int) -> str:
    """The durable run that deletes a member's data."""
    return f"{ACCOUNT_DELETION}-{member_id}"


def resume_failed_deletions() -> None:
    """Resume failed runs until they succeed: the deletion was promised."""
    res, now = process_resources(), datetime.now(UTC)
    res.jobs.resume_failed_runs(ACCOUNT_DELETION, before=now - RESUME_FAILED_AFTER)


PERIODIC_TASKS: list[tuple[Callable[[], None], float]] = [(resume_failed_deletions, RESUME_SECONDS)]


# ---- many short transactions ---------------------------------------------------------------------


def repeat_with_results(res: Resources, delete_some: Callable[[Session], T]) -> Iterator[T]:
    """The results of `delete_some`, called in one transaction after another until it gives nothing.

    The pause after a transaction is as long as the transaction took. A writer that waits for
    SQLite's lock polls for it, and would never find it free without pauses.
    """
    while True:
        started = time.monotonic()
        with res.db.write() as db:
            result = delete_some(db)
        if not result:
            return
        elapsed = time.monotonic() - started
        yield result
        time.sleep(min(max(elapsed, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS))


def repeat_until_none(res: Resources, delete_some: Callable[[Session], int]) -> None:
    """Call `delete_some` in one transaction after another until it deletes nothing."""
    for _ in repeat_with_results(res, delete_some):
        pass


def delete_rows(db: Session, table: type[Base], condition: ColumnElement[bool]) -> int:
    """Delete some of the rows that fulfil a condition; gives how many."""
    key = inspect(table).primary_key
    some = select(*key).where(condition).limit(ROWS_PER_TRANSACTION)
    deleted = db.execute(delete(table).where(tuple_(*key).in_(some)))
    assert isinstance(deleted, CursorResult)
    return deleted.rowcount


# ---- the steps -----------------------------------------------------------------------------------


def erase_likes(res: Resources, now: datetime, member_id: int) -> None:
    """Delete the member's likes, and count them down."""
    repeat_until_none(res, lambda db: delete_likes(db, member_id))


def delete_likes(db: Session, member_id: int) -> int:
    post_ids = db.scalars(
        select(Like.post_id)
        .where(Like.member_id == member_id)
        .order_by(Like.post_id)
        .limit(ROWS_PER_TRANSACTION)
    ).all()
    for post in post_states.lock_posts(db, post_ids):
        post.likes -= 1
        post.hot_score = (
            post_states.hot_score(post.published_at, post.likes)
            if post.published_at is not None
            else 0.0
        )
    db.execute(delete(Like).where(Like.member_id == member_id, Like.post_id.in_(post_ids)))
    return len(post_ids)


def erase_comments(res: Resources, now: datetime, member_id: int) -> None:
    """Delete the member's comments, and count the shown ones down."""
    repeat_until_none(res, lambda db: delete_comments(db, member_id))


def delete_comments(db: Session, member_id: int) -> int:
    some = (
        select(Comment.id, Comment.post_id)
        .where(Comment.member_id == member_id)
        .order_by(Comment.post_id, Comment.id)
        .limit(ROWS_PER_TRANSACTION)
    )
    post_ids = {row.id: row.post_id for row in db.execute(some)}
    posts = {post.id: post for post in post_states.lock_posts(db, post_ids.values())}
    shown = select(Comment.post_id).where(
        Comment.id.in_(post_ids), Comment.state == CommentState.SHOWN
    )
    for post_id in db.scalars(shown):
        posts[post_id].comments -= 1
    db.execute(delete(Comment).where(Comment.id.in_(post_ids)))
    return len(post_ids)


def erase_relations(res: Resources, now: datetime, member_id: int) -> None:
    """Delete what connects the member with others: follows, with the others' counts, blocks and
    mutes, and notifications to and about the member."""
    blocks = or_(Block.member_id == member_id, Block.target_id == member_id)
    notifications = or_(Notification.member_id == member_id, Notification.actor_id == member_id)
    repeat_until_none(res, lambda db: delete_follows(db, member_id))
    repeat_until_none(res, lambda db: delete_rows(db, Block, blocks))
    repeat_until_none(res, lambda db: delete_rows(db, Notification, notifications))


def delete_follows(db: Session, member_id: int) -> int:
    followed_ids = db.scalars(
        select(Follow.followed_id)
        .where(Follow.follower_id == member_id)
        .limit(ROWS_PER_TRANSACTION)
    ).all()
    follower_ids = db.scalars(
        select(Follow.follower_id)
        .where(Follow.followed_id == member_id)
        .limit(ROWS_PER_TRANSACTION)
    ).all()
    members.lock_members(db, *followed_ids, *follower_ids)
    db.execute(
        update(Member).where(Member.id.in_(followed_ids)).values(followers=Member.followers - 1)
    )
    db.execute(
        update(Member).where(Member.id.in_(follower_ids)).values(following=Member.following - 1)
    )
    db.execute(
        delete(Follow).where(Follow.follower_id == member_id, Follow.followed_id.in_(followed_ids))
    )
    db.execute(
        delete(Follow).where(Follow.followed_id == member_id, Follow.follower_id.in_(follower_ids))
    )
    return len(followed_ids) + len(follower_ids)


def erase_member_posts(res: Resources, now: datetime, member_id: int) -> None:
    """Delete the member's posts: first what others left on them, which may be much, then the posts,
    then the photos that nobody else uses. `delete_unused_photos` deletes photos that an interrupted
    run left."""
    post_ids = select(Post.id).where(Post.member_id == member_id)
    for column in (Like.post_id, Comment.post_id, Notification.post_id, PostEdit.post_id):
        table, condition = column.class_, column.in_(post_ids)
        repeat_until_none(
            res,
            lambda db, table=table, condition=condition: delete_rows(db, table, condition),  # type: ignore[misc]
        )
    some = post_ids.order_by(Post.id).limit(POSTS_PER_TRANSACTION)
    for digests in repeat_with_results(
        res, lambda db: post_states.erase_posts(db, list(db.scalars(some)))
    ):
        delete_photos(res, digests)


def anonymize_moderation(res: Resources, now: datetime, member_id: int) -> None:
    """Keep reports, cases and decisions, but without the member and without any free text."""
    cases = select(Case.id).where(Case.member_id == member_id)
    decisions = select(Decision.id).where(Decision.case_id.in_(cases))
    appeals = or_(Appeal.member_id == member_id, Appeal.decision_id.in_(decisions))
    with res.db.write() as db:
        for change in (
            update(Report).where(Report.case_id.in_(cases)).values(text=""),
            update(Report).where(Report.reporter_id == member_id).values(text="", reporter_id=None),
            update(Appeal).where(appeals).values(text="", answer=None, member_id=None),
            update(Decision).where(Decision.case_id.in_(cases)).values(note=""),
            update(Case)
            .where(Case.member_id == member_id, Case.state == CaseState.OPEN)
            .values(state=CaseState.DECIDED, decided_at=now),
            update(Case)
            .where(Case.member_id == member_id)
            .values(subject_id=-Case.id, member_id=None),
        ):
            db.execute(change.execution_options(synchronize_session=False))


def erase_name(res: Resources, now: datetime, member_id: int) -> None:
    """Delete the member and the account; a digest keeps the name from being given again.

    Requests that were under way when the member left may have written after the other steps, so
    those steps are repeated first.
    """
    for erase in ERASURES:
        erase(res, now, member_id)
    with res.db.write() as db:
        member = db.get(Member, member_id)
        if member is None:
            return
        person, photo = Person(member.name, member.display, frozenset()), member.photo
        db.delete(member)
        db.flush()
        accounts.delete_own_account(db, person, None, now=now)
    delete_photos(res, [photo] if photo else [])
    log.info("member left", member=member_id)


# ---- the run -------------------------------------------------------------------------------------

ERASURES = (erase_likes, erase_comments, erase_relations, erase_member_posts, anonymize_moderation)
STEPS = tuple(durable_step(ACCOUNT_DELETION)(erase) for erase in (*ERASURES, erase_name))


def erase_member(member_id: int) -> None:
    """Delete all data of a member who left, step by step. Repeating any step changes nothing."""
    for step in STEPS:
        step(member_id)


erase_member_workflow = DBOS.workflow(name=ACCOUNT_DELETION)(erase_member)
