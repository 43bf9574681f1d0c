"""What moderators decide about a case, what follows from it at once, and the trail: who did what about which thing, and when.

The trail holds codes and numbers only. What a moderator wrote to the owner stands in the decision; the trail has its digest, so that a note
changed later is noticed, and who leaves can be forgotten without breaking the chain.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tanuki.animals import engagement, members, notifications, pagination, post_states
from tanuki.animals.moderation import cases
from tanuki.animals.moderation.reasons import (
    ACTIONS,
    ACTIONS_BY_SUBJECT,
    APPEALABLE_ACTIONS,
    BAN,
    HOLD,
    KEEP,
    REASONS,
    REMOVE,
    RESTORE,
    UNBAN,
    WARN,
)
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Case, CaseState, CommentState, Decision, Member, PostState
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import audit_log
from tanuki.platform.accounts import Person, require_role

MAX_NOTE_LENGTH = 1_000
NOTIFICATION_BY_ACTION = {
    HOLD: "held",
    REMOVE: "removed",
    RESTORE: "restored",
    WARN: "warned",
    BAN: "banned",
    UNBAN: "unbanned",
}  # kinds of notifications
STATES_BY_ACTION = {  # what may be done with a thing in a state: nothing is removed twice, and only what is out of sight comes back
    HOLD: (PostState.CHECKING, PostState.PUBLISHED),
    REMOVE: (
        PostState.CHECKING,
        PostState.PUBLISHED,
        PostState.HELD,
        CommentState.SHOWN,
        PostState.DELETED,
    ),
    RESTORE: (PostState.HELD, PostState.REMOVED),
    BAN: (None,),
    UNBAN: ("banned",),
}


class CaseDecision(NamedTuple):
    """A decision with its case."""

    decision: Decision
    case: Case


def decide_case(
    db: Session,
    who: Person,
    case_id: int,
    action: str,
    reason: str,
    note: str = "",
    *,
    now: datetime,
) -> Decision:
    """Decide about an open case. The owner is told what was decided and why, unless nothing was wrong.

    Raises Conflict when somebody else decided meanwhile, UserError for an action that does not fit what the case is about.
    """
    found = cases.load_case(db, who, case_id)
    db.refresh(found, with_for_update=True)
    if found.state != CaseState.OPEN:
        raise Conflict("Somebody has decided about this case meanwhile.")
    return record_decision(db, who, found, action, reason, note, now=now)


def decide_subject(
    db: Session,
    who: Person,
    subject: str,
    subject_id: int,
    action: str,
    reason: str,
    note: str = "",
    *,
    now: datetime,
) -> Decision:
    """Decide about something that nobody reported, or decide anew."""
    require_role(who, "moderator")
    owner_id = cases.load_owner_id(db, who, subject, subject_id)
    if owner_id == members.find_viewer_id(db, who):
        raise NotFound("There is no such case.")
    return record_decision(
        db,
        who,
        cases.open_case(db, subject, subject_id, owner_id, now=now),
        action,
        reason,
        note,
        now=now,
    )


def possible_actions(db: Session, case: Case) -> list[str]:
    """What can be done about a case as things stand."""
    subject = cases.load_subject(db, case)
    gone = subject.state is None and case.subject != "member"
    return (
        [KEEP]
        if gone or subject.member is None
        else [
            action
            for action in ACTIONS_BY_SUBJECT[case.subject]
            if is_action_possible(subject, action)
        ]
    )


def is_action_possible(subject: cases.Subject, action: str) -> bool:
    """Whether an action changes anything about a thing, and can."""
    if action in (KEEP, WARN):
        return True
    if action == BAN:
        return subject.member is not None and subject.member.banned_at is None
    return subject.state in STATES_BY_ACTION[action]


def record_decision(
    db: Session, who: Person, case: Case, action: str, reason: str, note: str, *, now: datetime
) -> Decision:
    """Put a decision about a locked case on record and do what it says."""
    if action not in ACTIONS_BY_SUBJECT[case.subject]:
        raise UserError(
            "%(action)s is not possible here; expected one of %(known)s.",
            action=action,
            known=", ".join(ACTIONS_BY_SUBJECT[case.subject]),
        )
    if reason not in REASONS:
        raise UserError(
            "%(reason)s is not a reason; expected one of %(known)s.",
            reason=reason,
            known=", ".join(REASONS),
        )
    if action not in possible_actions(db, case):
        raise Conflict("That changes nothing any more: look at the case again.")
    note = members.validate_text(
        note,
        0,
        MAX_NOTE_LENGTH,
        msgid("A note has at most %(most)s characters; found %(found)s."),
        lines=True,
    )
    made = Decision(
        case_id=case.id, action=action, reason=reason, note=note, decided_by=who.name, at=now
    )
    db.add(made)
    case.state, case.decided_at = CaseState.DECIDED, now
    db.flush()
    apply_decision(db, case, action, reason, note or None, now=now)
    if action in NOTIFICATION_BY_ACTION and case.member_id is not None:
        values = {"decision": made.id, "reason": reason, "subject": case.subject, "note": note}
        post_id = case.subject_id if case.subject == "post" else None
        notifications.notify(
            db,
            case.member_id,
            NOTIFICATION_BY_ACTION[action],
            about=f"decision:{made.id}",
            post_id=post_id,
            values=values,
            now=now,
        )
    audit_case(
        db,
        who.name,
        case,
        action,
        {"decision": made.id, "reason": reason, "note": note_digest(note)},
        now=now,
    )
    return made


def apply_decision(
    db: Session, case: Case, action: str, reason: str, note: str | None, *, now: datetime
) -> None:
    """What a decision does to what it is about. Looking at a held post and finding nothing wrong publishes it."""
    if action in (BAN, UNBAN):
        set_ban(db, case.member_id, reason if action == BAN else None, now=now)
    elif case.subject == "post":
        post = post_states.lock_post(db, case.subject_id)
        if post is None:
            return
        if action == RESTORE or (
            action == KEEP and (post.previous_state or post.state) == PostState.HELD
        ):
            post_states.publish_post(db, post, now=now)
        elif action in (HOLD, REMOVE):
            post_states.withdraw_post(
                db,
                post,
                {HOLD: PostState.HELD, REMOVE: PostState.REMOVED}[action],
                reason,
                note=note,
                now=now,
            )
    elif case.subject == "comment" and action in (REMOVE, RESTORE):
        engagement.set_comment_state(
            db,
            case.subject_id,
            CommentState.REMOVED if action == REMOVE else CommentState.SHOWN,
            why=reason if action == REMOVE else None,
            note=note,
        )


def set_ban(db: Session, member_id: int | None, why: str | None, *, now: datetime) -> None:
    """From now on a member may only read, take their data along, appeal and leave; with no reason, they may write again."""
    banned = {"banned_at": now if why else None, "ban_reason": why}
    db.execute(update(Member).where(Member.id == member_id).values(**banned))
    db.expire_all()


def audit_case(
    db: Session, by: str, case: Case, what: str, values: Mapping[str, object], *, now: datetime
) -> None:
    """Into the trail: a moderator by name, a member by a number, which leads nowhere once they left."""
    about = f"{case.subject}:{case.subject_id}"
    audit_log.append_entry(
        db,
        audit_log.AuditedAction(
            actor=by, action=what, target=about, details={"case": case.id, **values}
        ),
        now,
    )


def note_digest(note: str) -> str | None:
    """By which a note is known again."""
    return sha256(note.encode()).hexdigest()[:16] if note else None


# ---- what was decided ----------------------------------------------------------------------------------------------


def load_decision(db: Session, who: Person, decision_id: int) -> CaseDecision:
    """A decision, for moderators and for whom it is about."""
    wanted = (
        select(Decision, Case)
        .join(Case, Case.id == Decision.case_id)
        .where(Decision.id == decision_id)
    )
    row = db.execute(wanted).first() if 0 < decision_id <= pagination.MAX_ID else None
    found = CaseDecision(*row) if row is not None else None
    me = members.find_viewer_id(db, who)
    mine = found is not None and me is not None and found.case.member_id == me
    if found is None or not (mine or members.is_moderator(who)):
        raise NotFound("There is no such decision.")
    return found


def list_decisions(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[CaseDecision]:
    """What moderators decided, newest first; not what was decided about the one who asks."""
    require_role(who, "moderator")
    me, limit = members.find_viewer_id(db, who), pagination.clamp_page_size(limit)
    wanted = (
        select(Decision, Case)
        .join(Case, Case.id == Decision.case_id)
        .where((Case.member_id != (me or 0)) | Case.member_id.is_(None))
    )
    if after is not None:
        wanted = wanted.where(Decision.id < pagination.parse_id_cursor(after))
    found = [
        CaseDecision(*row)
        for row in db.execute(wanted.order_by(Decision.id.desc()).limit(limit + 1))
    ]
    return pagination.make_page(found, limit, lambda each: str(each.decision.id))


def list_own_decisions(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[CaseDecision]:
    """Decisions about somebody and what is theirs that changed something, newest first."""
    me, limit = members.require_member(db, who), pagination.clamp_page_size(limit)
    wanted = (
        select(Decision, Case)
        .join(Case, Case.id == Decision.case_id)
        .where(Case.member_id == me.id, Decision.action.in_([*NOTIFICATION_BY_ACTION]))
    )
    if after is not None:
        wanted = wanted.where(Decision.id < pagination.parse_id_cursor(after))
    found = [
        CaseDecision(*row)
        for row in db.execute(wanted.order_by(Decision.id.desc()).limit(limit + 1))
    ]
    return pagination.make_page(found, limit, lambda each: str(each.decision.id))


assert set(APPEALABLE_ACTIONS) <= set(NOTIFICATION_BY_ACTION) <= set(ACTIONS)
