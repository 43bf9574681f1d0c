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

from tanuki.animals import engagement, members, notifications, pagination, posts
from tanuki.animals.moderation import cases
from tanuki.animals.moderation.reasons import (
    ACTIONS,
    AGAINST,
    BAN,
    HOLD,
    KEEP,
    POSSIBLE,
    REASONS,
    REMOVE,
    RESTORE,
    UNBAN,
    WARN,
)
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Case, Decision, Member
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import audit_log
from tanuki.platform.accounts import Person, require

NOTE_LONGEST = 1_000
TOLD = {
    HOLD: "held",
    REMOVE: "removed",
    RESTORE: "restored",
    WARN: "warned",
    BAN: "banned",
    UNBAN: "unbanned",
}  # kinds of notifications
FITS = {  # what may be done with a thing in a state: nothing is removed twice, and only what is out of sight comes back
    HOLD: ("checking", "published"),
    REMOVE: ("checking", "published", "held", "shown", "deleted"),
    RESTORE: ("held", "removed"),
    BAN: (None,),
    UNBAN: ("banned",),
}


class Decided(NamedTuple):
    """A decision with its case."""

    decision: Decision
    case: Case


def decide(
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
    found = cases.case(db, who, case_id)
    db.refresh(found, with_for_update=True)
    if found.state != "open":
        raise Conflict("Somebody has decided about this case meanwhile.")
    return settle(db, who, found, action, reason, note, now=now)


def act(
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
    require(who, "moderator")
    owner_id = cases.owner_of(db, who, subject, subject_id)
    if owner_id == members.viewer_id(db, who):
        raise NotFound("There is no such case.")
    return settle(
        db,
        who,
        cases.open_case(db, subject, subject_id, owner_id, now=now),
        action,
        reason,
        note,
        now=now,
    )


def possible(db: Session, case: Case) -> list[str]:
    """What can be done about a case as things stand."""
    subject = cases.subject_of(db, case)
    gone = subject.state is None and case.subject != "member"
    return (
        [KEEP]
        if gone or subject.member is None
        else [action for action in POSSIBLE[case.subject] if fits(subject, action)]
    )


def fits(subject: cases.Subject, action: str) -> bool:
    """Whether an action changes anything about a thing, and can."""
    if action in (KEEP, WARN):
        return True
    if action == BAN:
        return subject.member is not None and subject.member.banned_at is None
    return subject.state in FITS[action]


def settle(
    db: Session, who: Person, case: Case, action: str, reason: str, note: str, *, now: datetime
) -> Decision:
    """Put a decision about a locked case on record and do what it says."""
    if action not in POSSIBLE[case.subject]:
        raise UserError(
            "%(action)s is not possible here; expected one of %(known)s.",
            action=action,
            known=", ".join(POSSIBLE[case.subject]),
        )
    if reason not in REASONS:
        raise UserError(
            "%(reason)s is not a reason; expected one of %(known)s.",
            reason=reason,
            known=", ".join(REASONS),
        )
    if action not in possible(db, case):
        raise Conflict("That changes nothing any more: look at the case again.")
    note = members.words(
        note,
        0,
        NOTE_LONGEST,
        msgid("A note has at most %(most)s characters; found %(found)s."),
        lines=True,
    )
    made = Decision(case_id=case.id, action=action, reason=reason, note=note, by=who.name, at=now)
    db.add(made)
    case.state, case.decided_at = "decided", now
    db.flush()
    carry_out(db, case, action, reason, note or None, now=now)
    if action in TOLD and case.member_id is not None:
        values = {"decision": made.id, "reason": reason, "subject": case.subject, "note": note}
        post_id = case.subject_id if case.subject == "post" else None
        notifications.tell(
            db,
            case.member_id,
            TOLD[action],
            about=f"decision:{made.id}",
            post_id=post_id,
            values=values,
            now=now,
        )
    entered(
        db,
        who.name,
        case,
        action,
        {"decision": made.id, "reason": reason, "note": digest(note)},
        now=now,
    )
    return made


def carry_out(
    db: Session, case: Case, action: str, reason: str, note: str | None, *, now: datetime
) -> None:
    """What a decision does to what it is about. Looking at a held post and finding nothing wrong publishes it."""
    if action in (BAN, UNBAN):
        ban(db, case.member_id, reason if action == BAN else None, now=now)
    elif case.subject == "post":
        post = posts.locked(db, case.subject_id)
        if post is None:
            return
        if action == RESTORE or (action == KEEP and (post.before or post.state) == "held"):
            posts.publish(db, post, now=now)
        elif action in (HOLD, REMOVE):
            posts.withdraw(
                db, post, {HOLD: "held", REMOVE: "removed"}[action], reason, note=note, now=now
            )
    elif case.subject == "comment" and action in (REMOVE, RESTORE):
        engagement.turn(
            db,
            case.subject_id,
            "removed" if action == REMOVE else "shown",
            why=reason if action == REMOVE else None,
            note=note,
        )


def ban(db: Session, member_id: int | None, why: str | None, *, now: datetime) -> None:
    """From now on a member may only read, take their data along, appeal and leave; with no reason, they may write again."""
    banned = {"banned_at": now if why else None, "banned_why": why}
    db.execute(update(Member).where(Member.id == member_id).values(**banned))
    db.expire_all()


def entered(
    db: Session, by: str, case: Case, what: str, values: Mapping[str, object], *, now: datetime
) -> None:
    """Into the trail: a moderator by name, a member by a number, which leads nowhere once they left."""
    about = f"{case.subject}:{case.subject_id}"
    audit_log.add(db, by=by, what=what, about=about, values={"case": case.id, **values}, now=now)


def digest(note: str) -> str | None:
    """By which a note is known again."""
    return sha256(note.encode()).hexdigest()[:16] if note else None


# ---- what was decided ----------------------------------------------------------------------------------------------


def decision(db: Session, who: Person, decision_id: int) -> Decided:
    """A decision, for moderators and for whom it is about."""
    wanted = (
        select(Decision, Case)
        .join(Case, Case.id == Decision.case_id)
        .where(Decision.id == decision_id)
    )
    row = db.execute(wanted).first() if 0 < decision_id <= pagination.LARGEST else None
    found = Decided(*row) if row is not None else None
    me = members.viewer_id(db, who)
    mine = found is not None and me is not None and found.case.member_id == me
    if found is None or not (mine or members.moderates(who)):
        raise NotFound("There is no such decision.")
    return found


def latest(db: Session, who: Person, *, after: str | None = None, limit: int = 24) -> Page[Decided]:
    """What moderators decided, newest first; not what was decided about the one who asks."""
    require(who, "moderator")
    me, limit = members.viewer_id(db, who), pagination.size(limit)
    wanted = (
        select(Decision, Case)
        .join(Case, Case.id == Decision.case_id)
        .where((Case.member_id != (me or 0)) | Case.member_id.is_(None))
    )
    if after is not None:
        wanted = wanted.where(Decision.id < pagination.id_of(after))
    found = [
        Decided(*row) for row in db.execute(wanted.order_by(Decision.id.desc()).limit(limit + 1))
    ]
    return pagination.page(found, limit, lambda each: str(each.decision.id))


def mine(db: Session, who: Person, *, after: str | None = None, limit: int = 24) -> Page[Decided]:
    """Decisions about somebody and what is theirs that changed something, newest first."""
    me, limit = members.of(db, who), pagination.size(limit)
    wanted = (
        select(Decision, Case)
        .join(Case, Case.id == Decision.case_id)
        .where(Case.member_id == me.id, Decision.action.in_([*TOLD]))
    )
    if after is not None:
        wanted = wanted.where(Decision.id < pagination.id_of(after))
    found = [
        Decided(*row) for row in db.execute(wanted.order_by(Decision.id.desc()).limit(limit + 1))
    ]
    return pagination.page(found, limit, lambda each: str(each.decision.id))


assert set(AGAINST) <= set(TOLD) <= set(ACTIONS)
