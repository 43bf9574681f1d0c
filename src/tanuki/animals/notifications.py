"""Notifications: each event is told once, and never about oneself or about somebody whom the member
mutes or blocks."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVarTuple

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.pagination import Page
from tanuki.animals.tables import (
    Member,
    Notification,
    NotificationKind,
    Post,
    PostState,
)
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore

Columns = TypeVarTuple("Columns")
MAX_UNSEEN_COUNT = 100  # unseen notifications are counted up to here


@dataclass(frozen=True)
class NewNotification:
    """A notification to send. `dedup_key` says what makes two the same, such as `post:12`.

    `actor_id` is the member who caused it, if a member did.
    """

    kind: NotificationKind
    dedup_key: str
    actor_id: int | None = None
    post_id: int | None = None
    values: dict[str, Any] = field(default_factory=dict)


class NotificationEntry(NamedTuple):
    """A notification with its actor and its post, where they still exist."""

    notification: Notification
    actor: Member | None
    post: Post | None


def notify(db: Session, member_id: int, notification: NewNotification, *, now: datetime) -> bool:
    """Notify a member, and say whether that was done.

    It is not if the member caused it, hides the actor, or got the same notification before.
    """
    actor_id = notification.actor_id
    if actor_id is not None and (
        actor_id == member_id or members.is_silenced(db, member_id, actor_id)
    ):
        return False
    return insert_or_ignore(
        db,
        Notification,
        member_id=member_id,
        kind=notification.kind,
        dedup_key=notification.dedup_key,
        actor_id=actor_id,
        post_id=notification.post_id,
        values=notification.values,
        at=now,
    )


def list_notifications(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[NotificationEntry]:
    """A member's notifications, the newest first."""
    member = members.require_member(db, who)
    query = filter_visible(select(Notification, Member, Post), member.id)
    limit = pagination.clamp_page_size(limit)
    if after is not None:
        query = query.where(Notification.id < pagination.parse_id_cursor(after))
    rows = db.execute(query.order_by(Notification.id.desc()).limit(limit + 1))
    return pagination.make_page(
        [NotificationEntry(*row) for row in rows],
        limit,
        lambda entry: pagination.id_cursor(entry.notification.id),
    )


def filter_visible(query: Select[*Columns], member_id: int) -> Select[*Columns]:
    """Only a member's notifications whose actor they may see and whose post is not deleted."""
    return (
        query.select_from(Notification)
        .outerjoin(Member, Member.id == Notification.actor_id)
        .outerjoin(Post, Post.id == Notification.post_id)
        .where(
            Notification.member_id == member_id,
            or_(
                Notification.actor_id.is_(None),
                Notification.actor_id.not_in(members.hidden_member_ids(member_id)),
            ),
            or_(Notification.post_id.is_(None), Post.state != PostState.DELETED),
        )
    )


def count_unseen(db: Session, who: Person) -> int:
    """How many notifications a member has not seen, at most `MAX_UNSEEN_COUNT`."""
    member = members.require_member(db, who)
    unseen = (
        filter_visible(select(Notification.id), member.id)
        .where(Notification.seen_at.is_(None))
        .limit(MAX_UNSEEN_COUNT)
    )
    return db.scalar(select(func.count()).select_from(unseen.subquery())) or 0


def mark_all_seen(db: Session, who: Person, *, now: datetime) -> None:
    unseen = update(Notification).where(
        Notification.member_id == members.require_member(db, who).id, Notification.seen_at.is_(None)
    )
    db.execute(unseen.values(seen_at=now).execution_options(synchronize_session=False))
