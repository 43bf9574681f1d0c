"""What a member should know: told once for the same thing, never about oneself or by somebody who is blocked or muted."""

from datetime import datetime
from typing import Any, NamedTuple, TypeVarTuple

from sqlalchemy import Select, exists, func, or_, select, update
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Block, BlockKind, Member, Notification, Post, PostState
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore

Columns = TypeVarTuple("Columns")
MAX_UNSEEN_COUNT = 100  # unseen ones are counted up to here: nobody reads a larger number


class NotificationEntry(NamedTuple):
    """A notification with whom and what it is about, where that is still there."""

    notification: Notification
    actor: Member | None
    post: Post | None


def notify(
    db: Session,
    member_id: int,
    kind: str,
    *,
    about: str,
    now: datetime,
    actor_id: int | None = None,
    post_id: int | None = None,
    values: dict[str, Any] | None = None,
) -> bool:
    """Tell a member something, unless they did it themselves, do not want to hear of who did it, or were told before. Whether they were told."""
    if actor_id is not None and (actor_id == member_id or is_silenced(db, member_id, actor_id)):
        return False
    given = {"actor_id": actor_id, "post_id": post_id, "values": values or {}}
    return insert_or_ignore(
        db, Notification, member_id=member_id, kind=kind, dedup_key=about, at=now, **given
    )


def is_silenced(db: Session, member_id: int, actor_id: int) -> bool:
    """Whether a member mutes somebody, or one of them blocks the other."""
    shut_by_me = (Block.member_id == member_id) & (Block.target_id == actor_id)
    shut_by_them = (
        (Block.member_id == actor_id)
        & (Block.target_id == member_id)
        & (Block.kind == BlockKind.BLOCK)
    )
    return bool(db.scalar(select(exists().where(or_(shut_by_me, shut_by_them)))))


def list_notifications(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[NotificationEntry]:
    """What somebody was told, newest first."""
    wanted, limit = (
        filter_visible(select(Notification, Member, Post), members.require_member(db, who).id),
        pagination.clamp_page_size(limit),
    )
    if after is not None:
        wanted = wanted.where(Notification.id < pagination.parse_id_cursor(after))
    found = [
        NotificationEntry(*row)
        for row in db.execute(wanted.order_by(Notification.id.desc()).limit(limit + 1))
    ]
    return pagination.make_page(found, limit, lambda told: str(told.notification.id))


def filter_visible(wanted: Select[*Columns], member_id: int) -> Select[*Columns]:
    """Of a member's notifications those about what is still there: not a deleted post, nobody who is blocked, muted or gone."""
    return (
        wanted.select_from(Notification)
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
    """How many of them somebody has not seen; 100 also stands for more."""
    new = (
        filter_visible(select(Notification.id), members.require_member(db, who).id)
        .where(Notification.seen_at.is_(None))
        .limit(MAX_UNSEEN_COUNT)
    )
    return db.scalar(select(func.count()).select_from(new.subquery())) or 0


def mark_all_seen(db: Session, who: Person, *, now: datetime) -> None:
    """Somebody has seen all of them."""
    mine = update(Notification).where(
        Notification.member_id == members.require_member(db, who).id, Notification.seen_at.is_(None)
    )
    db.execute(mine.values(seen_at=now).execution_options(synchronize_session=False))
