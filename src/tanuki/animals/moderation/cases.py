"""Reports, and the queue of open cases: one open case per post, comment or member.

The queue is ordered by weight, which every report and its reason add to, and then by age.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from tanuki.animals import events, members, pagination, post_queries
from tanuki.animals.moderation.reasons import ACTIONS_BY_SUBJECT, HELD_POST_WEIGHT, REASONS
from tanuki.animals.pagination import Page
from tanuki.animals.tables import (
    Case,
    CaseState,
    Comment,
    CommentState,
    Decision,
    Member,
    Photo,
    Post,
    PostEdit,
    Report,
    SubjectKind,
)
from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.rate_limit import RateLimit

REPORTS_PER_MEMBER = RateLimit("report", 60, 3600)
MAX_REPORT_LENGTH = 1_000
MAX_EDITS_SHOWN = 10


class SubjectRef(NamedTuple):
    """What a report or a decision is about. The kind comes from outside and is checked in use."""

    kind: str
    id: int


@dataclass(frozen=True)
class Subject:
    """What a case is about, as far as it still exists."""

    kind: SubjectKind
    id: int
    member: Member | None
    post: Post | None = None
    comment: Comment | None = None
    photo: Photo | None = None
    edits: Sequence[PostEdit] = ()

    @property
    def state(self) -> str | None:
        """The state of the post or comment, `banned` for a banned member, otherwise None."""
        if self.kind == SubjectKind.MEMBER:
            banned = self.member is not None and self.member.banned_at is not None
            return "banned" if banned else None
        content = self.post if self.kind == SubjectKind.POST else self.comment
        return content.state if content is not None else None


class ReportWithReporter(NamedTuple):
    """A report and the member who made it; None once they have left."""

    report: Report
    reporter: Member | None


# ---- reports -------------------------------------------------------------------------------------


def report_subject(
    db: Session, who: Person, subject: SubjectRef, reason: str, text: str = "", *, now: datetime
) -> Case:
    """Report a post, comment or member that the person can see; gives the case.

    A second report by the same member changes nothing while the case is open. Raises UserError for
    an unknown reason and for one's own content.
    """
    member = members.require_active_member(db, who)
    if reason not in REASONS:
        raise UserError(
            "%(reason)s is not a reason; expected one of %(known)s.",
            reason=reason,
            known=", ".join(REASONS),
        )
    text = members.validate_text(
        text,
        0,
        MAX_REPORT_LENGTH,
        msgid("A report has at most %(most)s characters; found %(found)s."),
        lines=True,
    )
    owner_id = load_owner_id(db, who, subject)
    if owner_id == member.id:
        raise UserError("This is your own; you can change or delete it yourself.")
    rate_limit.count_use(db, who.name, REPORTS_PER_MEMBER, now)
    case = open_case(db, subject, owner_id, now=now)
    if insert_or_ignore(
        db, Report, case_id=case.id, reporter_id=member.id, reason=reason, text=text, at=now
    ):
        case.reports += 1
        case.weight += REASONS[reason].weight
        db.flush()
        values = {"subject": subject.kind, "subject_id": subject.id, "reason": reason}
        events.record_action(db, member, "report", now=now, **values)
    return case


def load_owner_id(db: Session, viewer: Person, subject: SubjectRef) -> int:
    """The member whose content this is. Raises NotFound if the viewer may not see it."""
    storable = 0 < subject.id <= pagination.MAX_ID
    if subject.kind == SubjectKind.POST:
        return post_queries.load_visible_post(db, subject.id, viewer).member_id
    if subject.kind == SubjectKind.COMMENT:
        comment = db.get(Comment, subject.id) if storable else None
        if comment is None or not may_see_comment(db, viewer, comment):
            raise NotFound("There is no such comment.")
        post_queries.load_visible_post(db, comment.post_id, viewer)
        return comment.member_id
    if subject.kind == SubjectKind.MEMBER:
        member = db.get(Member, subject.id) if storable else None
        if member is None:
            raise NotFound("There is no such member.")
        return members.load_profile(db, viewer, member.name).id
    raise UserError(
        "%(subject)s cannot be reported; expected one of %(known)s.",
        subject=subject.kind,
        known=", ".join(ACTIONS_BY_SUBJECT),
    )


def may_see_comment(db: Session, viewer: Person, comment: Comment) -> bool:
    """A comment that is not shown is visible to its author and to moderators."""
    return (
        comment.state == CommentState.SHOWN
        or comment.member_id == members.find_viewer_id(db, viewer)
        or members.is_moderator(viewer)
    )


def open_case(
    db: Session, subject: SubjectRef, member_id: int, *, now: datetime, weight: float = 0.0
) -> Case:
    """The open case about a subject, created if there is none; locked until the transaction ends.

    `member_id` is the subject's owner, `weight` that of a new case.
    """
    kind = SubjectKind(subject.kind)
    open_one = (
        select(Case)
        .where(Case.subject == kind, Case.subject_id == subject.id, Case.state == CaseState.OPEN)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    values = {"subject": kind, "subject_id": subject.id, "member_id": member_id}
    while True:  # again if somebody decides the case between the two statements
        insert_or_ignore(db, Case, weight=weight, opened_at=now, **values)
        case = db.scalar(open_one)
        if case is not None:
            return case


def open_case_for_held_post(db: Session, post: Post, *, now: datetime) -> Case:
    """The case in which a moderator decides about a post that a rule holds."""
    subject = SubjectRef(SubjectKind.POST, post.id)
    return open_case(db, subject, post.member_id, now=now, weight=HELD_POST_WEIGHT)


# ---- the queue -----------------------------------------------------------------------------------


def list_open_cases(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[Case]:
    """Open cases that this moderator may decide: the heaviest first, then the oldest."""
    cases, limit = select_open_cases(db, who), pagination.clamp_page_size(limit)
    if after is not None:
        cases = cases.where(tuple_(-Case.weight, Case.id) > tuple_(*parse_queue_cursor(after)))
    rows = db.scalars(cases.order_by(Case.weight.desc(), Case.id).limit(limit + 1)).all()
    return pagination.make_page(rows, limit, queue_cursor)


def queue_cursor(case: Case) -> str:
    """The cursor of a case in the queue."""
    return pagination.encode_cursor(float(case.weight), case.id)


def parse_queue_cursor(cursor: str) -> tuple[float, int]:
    """The negative weight and the id of a `queue_cursor`. Raises UserError for anything else."""
    values = pagination.decode_cursor(cursor)
    if len(values) != 2 or not isinstance(values[0], float):
        raise pagination.invalid_cursor()
    return -values[0], pagination.whole_number(values[1])


def select_open_cases(db: Session, who: Person) -> Select[Case]:
    """Open cases that are not about this moderator."""
    require_role(who, "moderator")
    member_id = members.find_viewer_id(db, who) or 0
    return select(Case).where(
        Case.state == CaseState.OPEN, or_(Case.member_id.is_(None), Case.member_id != member_id)
    )


def load_case_members(db: Session, cases: Sequence[Case]) -> dict[int, Member]:
    """The owners of the cases' subjects by id, as far as they are still members."""
    ids = {case.member_id for case in cases if case.member_id is not None}
    return {member.id: member for member in db.scalars(select(Member).where(Member.id.in_(ids)))}


def count_open_cases(db: Session, who: Person) -> int:
    """How many cases wait for this moderator."""
    return db.scalar(select(func.count()).select_from(select_open_cases(db, who).subquery())) or 0


def load_case(db: Session, who: Person, case_id: int) -> Case:
    """A case, for a moderator. Nobody sees a case about themselves: it names the reporters."""
    require_role(who, "moderator")
    case = db.get(Case, case_id) if 0 < case_id <= pagination.MAX_ID else None
    if case is None or (
        case.member_id is not None and case.member_id == members.find_viewer_id(db, who)
    ):
        raise NotFound("There is no such case.")
    return case


def load_subject(db: Session, case: Case) -> Subject:
    """What a case is about, as it is now, with the post's earlier texts."""
    member = db.get(Member, case.member_id) if case.member_id is not None else None
    if case.subject == SubjectKind.MEMBER:
        photo = db.get(Photo, member.photo) if member is not None and member.photo else None
        return Subject(SubjectKind.MEMBER, case.subject_id, member, photo=photo)
    if case.subject == SubjectKind.COMMENT:
        comment = db.get(Comment, case.subject_id)
        post = db.get(Post, comment.post_id) if comment is not None else None
        return Subject(SubjectKind.COMMENT, case.subject_id, member, post=post, comment=comment)
    post = db.get(Post, case.subject_id)
    edits = db.scalars(
        select(PostEdit)
        .where(PostEdit.post_id == case.subject_id)
        .order_by(PostEdit.id.desc())
        .limit(MAX_EDITS_SHOWN)
    ).all()
    photo = db.get(Photo, post.photo) if post is not None else None
    return Subject(SubjectKind.POST, case.subject_id, member, post=post, photo=photo, edits=edits)


def list_reports(db: Session, case: Case) -> list[ReportWithReporter]:
    """The reports of a case, the first one first."""
    reports = (
        select(Report, Member)
        .outerjoin(Member, Member.id == Report.reporter_id)
        .where(Report.case_id == case.id)
        .order_by(Report.id)
        .limit(pagination.MAX_PAGE_SIZE)
    )
    return [ReportWithReporter(*row) for row in db.execute(reports)]


def list_related_decisions(db: Session, case: Case) -> list[Decision]:
    """Decisions about the same subject or the same member, the newest first."""
    same_subject = (Case.subject == case.subject) & (Case.subject_id == case.subject_id)
    related = (
        same_subject
        if case.member_id is None
        else same_subject | (Case.member_id == case.member_id)
    )
    decisions = (
        select(Decision)
        .join(Case, Case.id == Decision.case_id)
        .where(related)
        .order_by(Decision.id.desc())
        .limit(pagination.MAX_PAGE_SIZE)
    )
    return list(db.scalars(decisions))


def has_reported(db: Session, who: Person, subject: SubjectRef) -> bool:
    """Whether a person has reported a subject whose case is still open."""
    member_id = members.find_viewer_id(db, who)
    about_subject = (
        (Case.subject == SubjectKind(subject.kind))
        & (Case.subject_id == subject.id)
        & (Case.state == CaseState.OPEN)
    )
    report = exists().where(
        about_subject, Report.case_id == Case.id, Report.reporter_id == member_id
    )
    return bool(db.scalar(select(report)))
