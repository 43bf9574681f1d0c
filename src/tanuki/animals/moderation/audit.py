"""The audit log as moderators read it: what was done to posts, comments, members and words."""

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tanuki.platform import audit_log
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.audit_log import AuditLogEntry

TARGET_KINDS = ("post", "comment", "member", "case", "word")
"""Kinds of targets in this log; the platform's log also has others, such as model releases."""


def list_audit_entries(
    db: Session,
    person: Person,
    *,
    target: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[AuditLogEntry]:
    """Entries, newest first: all or those about a target, with ids below `before`."""
    require_role(person, "moderator")
    statement = select(AuditLogEntry).where(
        or_(*(AuditLogEntry.target.startswith(f"{kind}:") for kind in TARGET_KINDS))
    )
    if target is not None:
        statement = statement.where(AuditLogEntry.target == target)
    if before is not None:
        statement = statement.where(AuditLogEntry.id < before)
    return list(db.scalars(statement.order_by(AuditLogEntry.id.desc()).limit(limit)))


def find_altered_entry(db: Session, person: Person) -> int | None:
    """The first id of the whole log that is missing or altered; None when it is intact."""
    require_role(person, "moderator")
    return audit_log.find_broken_entry(db)
