"""Appeals: whom a decision is about says why it is wrong, once; another moderator than the one who decided upholds or overturns it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from tanuki.animals import members, notifications, pagination
from tanuki.animals.moderation import cases, decisions
from tanuki.animals.moderation.reasons import APPEALABLE_ACTIONS, BAN, RESTORE, UNBAN
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Appeal, AppealState, Case, Decision
from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.database.upsert import insert_or_ignore

APPEAL_PERIOD = timedelta(days=180)  # after the decision
MAX_APPEAL_LENGTH, MAX_ANSWER_LENGTH = 2_000, 1_000
APPEALS_PER_HOUR = 30  # appeals of one member


class AppealCase(NamedTuple):
    """An appeal with the decision that it is against, and that one's case."""

    appeal: Appeal
    decision: Decision
    case: Case


def can_appeal(db: Session, who: Person, decided: decisions.CaseDecision, *, now: datetime) -> bool:
    """Whether somebody can appeal against a decision: it is about them, against them, not too old, and they have not yet."""
    me = members.find_viewer_id(db, who)
    against_me = (
        me is not None
        and decided.case.member_id == me
        and decided.decision.action in APPEALABLE_ACTIONS
    )
    return (
        against_me
        and now - decided.decision.at <= APPEAL_PERIOD
        and find_appeal(db, decided.decision.id) is None
    )


def find_appeal(db: Session, decision_id: int) -> Appeal | None:
    """The appeal against a decision, if there is one."""
    return find_appeals(db, [decision_id]).get(decision_id)


def find_appeals(db: Session, decision_ids: Sequence[int]) -> dict[int, Appeal]:
    """The appeals against some decisions, by the decision."""
    return {
        each.decision_id: each
        for each in db.scalars(select(Appeal).where(Appeal.decision_id.in_(decision_ids)))
    }


def submit_appeal(
    db: Session, who: Person, decision_id: int, words: str, *, now: datetime
) -> Appeal:
    """Say why a decision is wrong. Who is banned may, too."""
    me, decided = members.require_member(db, who), decisions.load_decision(db, who, decision_id)
    if decided.case.member_id != me.id:
        raise NotFound("There is no such decision.")
    if decided.decision.action not in APPEALABLE_ACTIONS:
        raise UserError("Nothing was decided against you here.")
    if now - decided.decision.at > APPEAL_PERIOD:
        raise Conflict(
            "A decision can be appealed against for %(days)s days only.", days=APPEAL_PERIOD.days
        )
    words = members.validate_text(
        words,
        1,
        MAX_APPEAL_LENGTH,
        msgid("An appeal has 1 to %(most)s characters; found %(found)s."),
        lines=True,
    )
    rate_limit.use(db, who.name, "appeals", now=now, most=APPEALS_PER_HOUR, seconds=3600)
    if not insert_or_ignore(
        db, Appeal, decision_id=decision_id, member_id=me.id, text=words, at=now
    ):
        raise Conflict("You have appealed against this already.")
    made = find_appeal(db, decision_id)
    assert made is not None
    decisions.audit_case(
        db,
        f"member:{me.id}",
        decided.case,
        "appeal",
        {"appeal": made.id, "decision": decision_id},
        now=now,
    )
    return made


def select_open_appeals(db: Session, who: Person) -> Select[Appeal, Decision, Case]:
    """Open appeals that this moderator may answer: not against their own decisions, not their own."""
    require_role(who, "moderator")
    me = members.find_viewer_id(db, who) or 0
    joined = (
        select(Appeal, Decision, Case)
        .join(Decision, Decision.id == Appeal.decision_id)
        .join(Case, Case.id == Decision.case_id)
    )
    return joined.where(
        Appeal.state == AppealState.OPEN,
        Decision.decided_by != who.name,
        or_(Appeal.member_id.is_(None), Appeal.member_id != me),
    )


def list_open_appeals(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[AppealCase]:
    """Appeals that wait for this moderator, the oldest first."""
    wanted, limit = select_open_appeals(db, who), pagination.clamp_page_size(limit)
    if after is not None:
        wanted = wanted.where(Appeal.id > pagination.parse_id_cursor(after))
    found = [AppealCase(*row) for row in db.execute(wanted.order_by(Appeal.id).limit(limit + 1))]
    return pagination.make_page(found, limit, lambda each: str(each.appeal.id))


def count_open_appeals(db: Session, who: Person) -> int:
    """How many appeals wait for this moderator."""
    return (
        db.scalar(
            select(func.count()).select_from(
                select_open_appeals(db, who).with_only_columns(Appeal.id).subquery()
            )
        )
        or 0
    )


def load_appeal(db: Session, who: Person, appeal_id: int) -> AppealCase:
    """An appeal, for moderators; not one's own."""
    require_role(who, "moderator")
    joined = (
        select(Appeal, Decision, Case)
        .join(Decision, Decision.id == Appeal.decision_id)
        .join(Case, Case.id == Decision.case_id)
    )
    row = (
        db.execute(joined.where(Appeal.id == appeal_id)).first()
        if 0 < appeal_id <= pagination.MAX_ID
        else None
    )
    me = members.find_viewer_id(db, who)
    if row is None or (me is not None and row[0].member_id == me):
        raise NotFound("There is no such appeal.")
    return AppealCase(*row)


def answer_appeal(
    db: Session, who: Person, appeal_id: int, *, overturn: bool, words: str, now: datetime
) -> Appeal:
    """Uphold a decision, or overturn it: then what it took away comes back. Raises NotAllowed for who decided it."""
    asked = load_appeal(db, who, appeal_id)
    db.refresh(asked.appeal, with_for_update=True)
    if asked.decision.decided_by == who.name:
        raise NotAllowed("You made this decision; another moderator answers the appeal.")
    if asked.appeal.state != AppealState.OPEN:
        raise Conflict("Somebody has answered this appeal meanwhile.")
    words = members.validate_text(
        words,
        1,
        MAX_ANSWER_LENGTH,
        msgid("An answer has 1 to %(most)s characters; found %(found)s."),
        lines=True,
    )
    found = asked.appeal
    found.state, found.decided_by, found.decided_at, found.answer = (
        (AppealState.OVERTURNED if overturn else AppealState.UPHELD),
        who.name,
        now,
        words,
    )
    db.flush()
    values = {
        "appeal": found.id,
        "decision": asked.decision.id,
        "answer": decisions.note_digest(words),
    }
    decisions.audit_case(db, who.name, asked.case, found.state, values, now=now)
    if overturn:
        revert_decision(db, who, asked, now=now)
    if found.member_id is not None:
        told = {
            "decision": asked.decision.id,
            "state": found.state,
            "answer": words,
            "subject": asked.case.subject,
        }
        post_id = asked.case.subject_id if asked.case.subject == "post" else None
        notifications.notify(
            db,
            found.member_id,
            "appeal",
            about=f"appeal:{found.id}",
            post_id=post_id,
            values=told,
            now=now,
        )
    return found


def revert_decision(db: Session, who: Person, asked: AppealCase, *, now: datetime) -> None:
    """Take back what a decision did, by a decision of its own. A warning, and what is gone or came back meanwhile, need none."""
    subject, subject_id, back = asked.case.subject, asked.case.subject_id, RESTORE
    if asked.decision.action == BAN:
        subject, subject_id, back = "member", asked.case.member_id or 0, UNBAN
    about = Case(subject=subject, subject_id=subject_id, member_id=asked.case.member_id)
    if asked.case.member_id is not None and back in decisions.possible_actions(db, about):
        case = cases.open_case(db, subject, subject_id, asked.case.member_id, now=now)
        decisions.record_decision(db, who, case, back, asked.decision.reason, "", now=now)
