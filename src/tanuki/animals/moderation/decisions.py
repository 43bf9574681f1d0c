"""Decisions of moderators, what follows from them at once, and their entries in the audit log.

The audit log holds codes and numbers only. A moderator's note to the owner is in the decision; the
audit log has its digest, so that a changed note is noticed, and a note can be erased when its owner
leaves without breaking the log's chain.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from tanuki.animals import engagement, members, notifications, pagination, post_states
from tanuki.animals.moderation import cases
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.reasons import ACTIONS_BY_SUBJECT, APPEALABLE_ACTIONS, REASONS
from tanuki.animals.notifications import NewNotification
from tanuki.animals.pagination import Page
from tanuki.animals.tables import (
    Action,
    Case,
    CaseState,
    CommentState,
    Decision,
    Member,
    NotificationKind,
    PostState,
    SubjectKind,
)
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import audit_log
from tanuki.platform.accounts import Person, require_role

MAX_NOTE_LENGTH = 1_000
NOTIFICATION_BY_ACTION = {
    Action.HOLD: NotificationKind.HELD,
    Action.REMOVE: NotificationKind.REMOVED,
    Action.RESTORE: NotificationKind.RESTORED,
    Action.WARN: NotificationKind.WARNED,
    Action.BAN: NotificationKind.BANNED,
    Action.UNBAN: NotificationKind.UNBANNED,
}
# States of a subject in which an action changes something: nothing is removed twice, and only what
# is hidden can be restored.
STATES_BY_ACTION: dict[Action, tuple[str | None, ...]] = {
    Action.HOLD: (PostState.CHECKING, PostState.PUBLISHED),
    Action.REMOVE: (
        PostState.CHECKING,
        PostState.PUBLISHED,
        PostState.HELD,
        CommentState.SHOWN,
        PostState.DELETED,
    ),
    Action.RESTORE: (PostState.HELD, PostState.REMOVED),
    Action.BAN: (None,),
    Action.UNBAN: ("banned",),
}


class Ruling(NamedTuple):
    """What a moderator decides: an action, a reason, and a note to the owner.

    Action and reason are codes from outside, which `record_decision` checks.
    """

    action: str
    reason: str
    note: str = ""


class CaseDecision(NamedTuple):
    """A decision with its case."""

    decision: Decision
    case: Case


def decide_case(
    db: Session, who: Person, case_id: int, ruling: Ruling, *, now: datetime
) -> Decision:
    """Decide an open case. The owner is notified unless nothing was wrong.

    Raises Conflict if somebody else decided it in the meantime, UserError for an action that the
    subject does not allow.
    """
    case = cases.load_case(db, who, case_id)
    db.refresh(case, with_for_update=True)
    if case.state != CaseState.OPEN:
        raise Conflict("Somebody has decided about this case meanwhile.")
    return record_decision(db, who, case, ruling, now=now)


def decide_subject(
    db: Session, who: Person, subject: SubjectRef, ruling: Ruling, *, now: datetime
) -> Decision:
    """Decide about a subject that nobody reported, or decide about it again."""
    require_role(who, "moderator")
    owner_id = cases.load_owner_id(db, who, subject)
    if owner_id == members.find_viewer_id(db, who):
        raise NotFound("There is no such case.")
    case = cases.open_case(db, subject, owner_id, now=now)
    return record_decision(db, who, case, ruling, now=now)


def possible_actions(db: Session, case: Case) -> list[Action]:
    """What can be decided about a case, given the state of its subject."""
    subject = cases.load_subject(db, case)
    missing = subject.state is None and case.subject != SubjectKind.MEMBER
    if missing or subject.member is None:
        return [Action.KEEP]
    return [
        action for action in ACTIONS_BY_SUBJECT[case.subject] if is_action_possible(subject, action)
    ]


def is_action_possible(subject: cases.Subject, action: Action) -> bool:
    """Whether an action would change anything about a subject."""
    if action in (Action.KEEP, Action.WARN):
        return True
    if action == Action.BAN:
        return subject.member is not None and subject.member.banned_at is None
    return subject.state in STATES_BY_ACTION[action]


def record_decision(
    db: Session, who: Person, case: Case, ruling: Ruling, *, now: datetime
) -> Decision:
    """Record a decision about a locked case, apply it, notify the owner and log it."""
    allowed = ACTIONS_BY_SUBJECT[case.subject]
    if ruling.action not in allowed:
        raise UserError(
            "%(action)s is not possible here; expected one of %(known)s.",
            action=ruling.action,
            known=", ".join(allowed),
        )
    action = Action(ruling.action)
    if ruling.reason not in REASONS:
        raise UserError(
            "%(reason)s is not a reason; expected one of %(known)s.",
            reason=ruling.reason,
            known=", ".join(REASONS),
        )
    if action not in possible_actions(db, case):
        raise Conflict("That changes nothing any more: look at the case again.")
    note = members.validate_text(
        ruling.note,
        0,
        MAX_NOTE_LENGTH,
        msgid("A note has at most %(most)s characters; found %(found)s."),
        lines=True,
    )
    decision = Decision(
        case_id=case.id,
        action=action,
        reason=ruling.reason,
        note=note,
        decided_by=who.name,
        at=now,
    )
    db.add(decision)
    case.state, case.decided_at = CaseState.DECIDED, now
    db.flush()
    apply_decision(db, case, decision, now=now)
    notify_owner(db, case, decision, now=now)
    details = {"decision": decision.id, "reason": decision.reason, "note": note_digest(note)}
    audit_case(db, who.name, case, action, details, now=now)
    return decision


def apply_decision(db: Session, case: Case, decision: Decision, *, now: datetime) -> None:
    """Change the subject as a decision says. Keeping a held post publishes it."""
    action, reason, note = decision.action, decision.reason, decision.note or None
    if action in (Action.BAN, Action.UNBAN):
        set_ban(db, case.member_id, reason if action == Action.BAN else None, now=now)
    elif case.subject == SubjectKind.POST:
        post = post_states.lock_post(db, case.subject_id)
        if post is None:
            return
        held = (post.previous_state or post.state) == PostState.HELD
        if action == Action.RESTORE or (action == Action.KEEP and held):
            post_states.publish_post(db, post, now=now)
        elif action == Action.HOLD:
            post_states.hold_post(db, post, reason, note=note, now=now)
        elif action == Action.REMOVE:
            post_states.remove_post(db, post, reason, note=note, now=now)
    elif case.subject == SubjectKind.COMMENT and action == Action.REMOVE:
        engagement.set_comment_state(
            db, case.subject_id, CommentState.REMOVED, reason=reason, note=note
        )
    elif case.subject == SubjectKind.COMMENT and action == Action.RESTORE:
        engagement.set_comment_state(db, case.subject_id, CommentState.SHOWN, note=note)


def notify_owner(db: Session, case: Case, decision: Decision, *, now: datetime) -> None:
    """Tell the owner what was decided and why."""
    kind = NOTIFICATION_BY_ACTION.get(decision.action)
    if kind is None or case.member_id is None:
        return
    values = {
        "decision": decision.id,
        "reason": decision.reason,
        "subject": case.subject,
        "note": decision.note,
    }
    post_id = case.subject_id if case.subject == SubjectKind.POST else None
    notification = NewNotification(kind, f"decision:{decision.id}", post_id=post_id, values=values)
    notifications.notify(db, case.member_id, notification, now=now)


def set_ban(db: Session, member_id: int | None, reason: str | None, *, now: datetime) -> None:
    """Ban a member, who may then only read, export their data, appeal and leave. Without a reason
    the ban is lifted."""
    db.execute(
        update(Member)
        .where(Member.id == member_id)
        .values(banned_at=now if reason else None, ban_reason=reason)
    )
    db.expire_all()


def audit_case(
    db: Session,
    actor: str,
    case: Case,
    action: str,
    details: Mapping[str, object],
    *,
    now: datetime,
) -> None:
    """Log an action about a case. Moderators are named; members appear as a number, which means
    nothing once they have left."""
    entry = audit_log.AuditedAction(
        actor=actor,
        action=action,
        target=f"{case.subject}:{case.subject_id}",
        details={"case": case.id, **details},
    )
    audit_log.append_entry(db, entry, now)


def note_digest(note: str) -> str | None:
    """16 hexadecimal digits that identify a note; None for an empty one."""
    return sha256(note.encode()).hexdigest()[:16] if note else None


# ---- lists of decisions --------------------------------------------------------------------------


def load_decision(db: Session, who: Person, decision_id: int) -> CaseDecision:
    """A decision, for moderators and for the member whom it is about."""
    query = select_decisions().where(Decision.id == decision_id)
    row = db.execute(query).first() if 0 < decision_id <= pagination.MAX_ID else None
    if row is None:
        raise NotFound("There is no such decision.")
    decided = CaseDecision(*row)
    member_id = members.find_viewer_id(db, who)
    own = member_id is not None and decided.case.member_id == member_id
    if not (own or members.is_moderator(who)):
        raise NotFound("There is no such decision.")
    return decided


def list_decisions(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[CaseDecision]:
    """All decisions but those about the moderator who asks, the newest first."""
    require_role(who, "moderator")
    member_id = members.find_viewer_id(db, who) or 0
    query = select_decisions().where((Case.member_id != member_id) | Case.member_id.is_(None))
    return page_of_decisions(db, query, after, limit)


def list_own_decisions(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[CaseDecision]:
    """Decisions about a member and their content that changed something, the newest first."""
    member = members.require_member(db, who)
    query = select_decisions().where(
        Case.member_id == member.id, Decision.action.in_([*NOTIFICATION_BY_ACTION])
    )
    return page_of_decisions(db, query, after, limit)


def select_decisions() -> Select[Decision, Case]:
    return select(Decision, Case).join(Case, Case.id == Decision.case_id)


def page_of_decisions(
    db: Session, query: Select[Decision, Case], after: str | None, limit: int
) -> Page[CaseDecision]:
    limit = pagination.clamp_page_size(limit)
    if after is not None:
        query = query.where(Decision.id < pagination.parse_id_cursor(after))
    rows = db.execute(query.order_by(Decision.id.desc()).limit(limit + 1))
    return pagination.make_page(
        [CaseDecision(*row) for row in rows],
        limit,
        lambda decided: pagination.id_cursor(decided.decision.id),
    )


assert set(APPEALABLE_ACTIONS) <= set(NOTIFICATION_BY_ACTION) <= set(Action)
