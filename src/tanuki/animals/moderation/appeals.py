"""Appeals: the member whom a decision is about objects once, and another moderator answers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from tanuki.animals import members, notifications, pagination
from tanuki.animals.moderation import cases, decisions
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.decisions import CaseDecision, Ruling
from tanuki.animals.moderation.reasons import APPEALABLE_ACTIONS
from tanuki.animals.notifications import NewNotification
from tanuki.animals.pagination import Page
from tanuki.animals.tables import (
    Action,
    Appeal,
    AppealState,
    Case,
    Decision,
    NotificationKind,
    SubjectKind,
)
from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.rate_limit import RateLimit

APPEAL_PERIOD = timedelta(days=180)  # after the decision
APPEALS_PER_MEMBER = RateLimit("appeals", 30, 3600)
MAX_APPEAL_LENGTH = 2_000
MAX_ANSWER_LENGTH = 1_000


class AppealCase(NamedTuple):
    """An appeal, the decision that it objects to, and the decision's case."""

    appeal: Appeal
    decision: Decision
    case: Case


def can_appeal(db: Session, who: Person, decided: CaseDecision, *, now: datetime) -> bool:
    """Whether a person can appeal against a decision: it is about them and unfavourable, not older
    than the appeal period, and they have not appealed yet."""
    member_id = members.find_viewer_id(db, who)
    return (
        member_id is not None
        and decided.case.member_id == member_id
        and decided.decision.action in APPEALABLE_ACTIONS
        and now - decided.decision.at <= APPEAL_PERIOD
        and find_appeal(db, decided.decision.id) is None
    )


def find_appeal(db: Session, decision_id: int) -> Appeal | None:
    """The appeal against a decision, if there is one."""
    return find_appeals(db, [decision_id]).get(decision_id)


def find_appeals(db: Session, decision_ids: Sequence[int]) -> dict[int, Appeal]:
    """The appeals against some decisions, by decision id."""
    appeals = db.scalars(select(Appeal).where(Appeal.decision_id.in_(decision_ids)))
    return {appeal.decision_id: appeal for appeal in appeals}


def submit_appeal(
    db: Session, who: Person, decision_id: int, text: str, *, now: datetime
) -> Appeal:
    """Appeal against a decision; a banned member may, too.

    Raises Conflict after the appeal period and for a second appeal, UserError for a decision that
    took nothing away.
    """
    member, decided = (
        members.require_member(db, who),
        decisions.load_decision(db, who, decision_id),
    )
    if decided.case.member_id != member.id:
        raise NotFound("There is no such decision.")
    if decided.decision.action not in APPEALABLE_ACTIONS:
        raise UserError("Nothing was decided against you here.")
    if now - decided.decision.at > APPEAL_PERIOD:
        raise Conflict(
            "A decision can be appealed against for %(days)s days only.", days=APPEAL_PERIOD.days
        )
    text = members.validate_text(
        text,
        1,
        MAX_APPEAL_LENGTH,
        msgid("An appeal has 1 to %(most)s characters; found %(found)s."),
        lines=True,
    )
    rate_limit.count_use(db, who.name, APPEALS_PER_MEMBER, now)
    if not insert_or_ignore(
        db, Appeal, decision_id=decision_id, member_id=member.id, text=text, at=now
    ):
        raise Conflict("You have appealed against this already.")
    appeal = find_appeal(db, decision_id)
    assert appeal is not None
    details = {"appeal": appeal.id, "decision": decision_id}
    decisions.audit_case(db, f"member:{member.id}", decided.case, "appeal", details, now=now)
    return appeal


# ---- the queue -----------------------------------------------------------------------------------


def select_appeals() -> Select[Appeal, Decision, Case]:
    return (
        select(Appeal, Decision, Case)
        .join(Decision, Decision.id == Appeal.decision_id)
        .join(Case, Case.id == Decision.case_id)
    )


def select_open_appeals(db: Session, who: Person) -> Select[Appeal, Decision, Case]:
    """Open appeals that a moderator may answer: not their own, not against their own decisions."""
    require_role(who, "moderator")
    member_id = members.find_viewer_id(db, who) or 0
    return select_appeals().where(
        Appeal.state == AppealState.OPEN,
        Decision.decided_by != who.name,
        or_(Appeal.member_id.is_(None), Appeal.member_id != member_id),
    )


def list_open_appeals(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[AppealCase]:
    """Appeals that wait for this moderator, the oldest first."""
    query, limit = select_open_appeals(db, who), pagination.clamp_page_size(limit)
    if after is not None:
        query = query.where(Appeal.id > pagination.parse_id_cursor(after))
    rows = db.execute(query.order_by(Appeal.id).limit(limit + 1))
    return pagination.make_page(
        [AppealCase(*row) for row in rows],
        limit,
        lambda open_appeal: pagination.id_cursor(open_appeal.appeal.id),
    )


def count_open_appeals(db: Session, who: Person) -> int:
    """How many appeals wait for this moderator."""
    ids = select_open_appeals(db, who).with_only_columns(Appeal.id).subquery()
    return db.scalar(select(func.count()).select_from(ids)) or 0


def load_appeal(db: Session, who: Person, appeal_id: int) -> AppealCase:
    """An appeal, for a moderator who did not make it."""
    require_role(who, "moderator")
    query = select_appeals().where(Appeal.id == appeal_id)
    row = db.execute(query).first() if 0 < appeal_id <= pagination.MAX_ID else None
    member_id = members.find_viewer_id(db, who)
    if row is None or (member_id is not None and row[0].member_id == member_id):
        raise NotFound("There is no such appeal.")
    return AppealCase(*row)


def answer_appeal(
    db: Session, who: Person, appeal_id: int, *, overturn: bool, text: str, now: datetime
) -> Appeal:
    """Uphold a decision, or overturn it, which reverts it.

    Raises NotAllowed for the moderator who made the decision, Conflict if the appeal has been
    answered.
    """
    appeal, decision, case = load_appeal(db, who, appeal_id)
    db.refresh(appeal, with_for_update=True)
    if decision.decided_by == who.name:
        raise NotAllowed("You made this decision; another moderator answers the appeal.")
    if appeal.state != AppealState.OPEN:
        raise Conflict("Somebody has answered this appeal meanwhile.")
    text = members.validate_text(
        text,
        1,
        MAX_ANSWER_LENGTH,
        msgid("An answer has 1 to %(most)s characters; found %(found)s."),
        lines=True,
    )
    appeal.state = AppealState.OVERTURNED if overturn else AppealState.UPHELD
    appeal.decided_by = who.name
    appeal.decided_at = now
    appeal.answer = text
    db.flush()
    details = {
        "appeal": appeal.id,
        "decision": decision.id,
        "answer": decisions.note_digest(text),
    }
    decisions.audit_case(db, who.name, case, appeal.state, details, now=now)
    if overturn:
        revert_decision(db, who, decision, case, now=now)
    notify_appellant(db, AppealCase(appeal, decision, case), now=now)
    return appeal


def notify_appellant(db: Session, answered: AppealCase, *, now: datetime) -> None:
    """Tell the member who appealed how the appeal was answered."""
    appeal, decision, case = answered
    if appeal.member_id is None:
        return
    values = {
        "decision": decision.id,
        "state": appeal.state,
        "answer": appeal.answer,
        "subject": case.subject,
    }
    post_id = case.subject_id if case.subject == SubjectKind.POST else None
    notification = NewNotification(
        NotificationKind.APPEAL, f"appeal:{appeal.id}", post_id=post_id, values=values
    )
    notifications.notify(db, appeal.member_id, notification, now=now)


def revert_decision(
    db: Session, who: Person, decision: Decision, case: Case, *, now: datetime
) -> None:
    """Revert a decision by another one: restore, or lift the ban. There is nothing to revert about
    a warning, or if the subject is gone or has been restored already."""
    action, subject = Action.RESTORE, SubjectRef(case.subject, case.subject_id)
    if decision.action == Action.BAN:
        action, subject = Action.UNBAN, SubjectRef(SubjectKind.MEMBER, case.member_id or 0)
    about = Case(subject=SubjectKind(subject.kind), subject_id=subject.id, member_id=case.member_id)
    if case.member_id is not None and action in decisions.possible_actions(db, about):
        new_case = cases.open_case(db, subject, case.member_id, now=now)
        ruling = Ruling(action, decision.reason)
        decisions.record_decision(db, who, new_case, ruling, now=now)
