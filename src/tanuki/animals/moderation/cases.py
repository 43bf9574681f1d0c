"""Reports and the queue they make: one open case for each post, comment or member, the most urgent first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from tanuki.animals import events, members, pagination, post_queries
from tanuki.animals.moderation.reasons import ACTIONS_BY_SUBJECT, HELD_WEIGHT, REASONS
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
)
from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.database.upsert import insert_or_ignore

REPORTS_PER_HOUR = 60  # reports of one member
MAX_REPORT_LENGTH = 1_000
MAX_EDITS_SHOWN = 10


@dataclass(frozen=True)
class Subject:
    """What a case is about, as far as it is still there; `state` of a member is banned or nothing."""

    kind: str
    id: int
    member: Member | None
    post: Post | None = None
    comment: Comment | None = None
    photo: Photo | None = None
    edits: Sequence[PostEdit] = ()

    @property
    def state(self) -> str | None:
        """Its state now; None when it has none, or is gone."""
        if self.kind == "member":
            return (
                "banned" if self.member is not None and self.member.banned_at is not None else None
            )
        found = self.post if self.kind == "post" else self.comment
        return found.state if found is not None else None


class ReportWithReporter(NamedTuple):
    """A report with who made it; None once they left."""

    report: Report
    reporter: Member | None


# ---- reports -------------------------------------------------------------------------------------------------------


def report_subject(
    db: Session,
    who: Person,
    subject: str,
    subject_id: int,
    reason: str,
    words: str = "",
    *,
    now: datetime,
) -> Case:
    """Somebody says that something they can see is not right. Saying so again while the case is open changes nothing."""
    me = members.require_active_member(db, who)
    if reason not in REASONS:
        raise UserError(
            "%(reason)s is not a reason; expected one of %(known)s.",
            reason=reason,
            known=", ".join(REASONS),
        )
    words = members.validate_text(
        words,
        0,
        MAX_REPORT_LENGTH,
        msgid("A report has at most %(most)s characters; found %(found)s."),
        lines=True,
    )
    owner_id = load_owner_id(db, who, subject, subject_id)
    if owner_id == me.id:
        raise UserError("This is your own; you can change or delete it yourself.")
    rate_limit.use(db, who.name, "report", now=now, most=REPORTS_PER_HOUR, seconds=3600)
    case = open_case(db, subject, subject_id, owner_id, now=now)
    if insert_or_ignore(
        db, Report, case_id=case.id, reporter_id=me.id, reason=reason, text=words, at=now
    ):
        case.reports += 1
        case.weight += REASONS[reason].weight
        db.flush()
        events.record_action(
            db, me, "report", subject=subject, subject_id=subject_id, reason=reason, now=now
        )
    return case


def load_owner_id(db: Session, viewer: Person, subject: str, subject_id: int) -> int:
    """Whose a thing is, if this viewer may see it."""
    if subject == "post":
        return post_queries.load_visible_post(db, subject_id, viewer).member_id
    if subject == "comment":
        comment = db.get(Comment, subject_id) if 0 < subject_id <= pagination.MAX_ID else None
        mine = comment is not None and comment.member_id == members.find_viewer_id(db, viewer)
        if comment is None or not (
            comment.state == CommentState.SHOWN or mine or members.is_moderator(viewer)
        ):
            raise NotFound("There is no such comment.")
        post_queries.load_visible_post(db, comment.post_id, viewer)
        return comment.member_id
    if subject == "member":
        member = db.get(Member, subject_id) if 0 < subject_id <= pagination.MAX_ID else None
        if member is None:
            raise NotFound("There is no such member.")
        return members.load_profile(db, viewer, member.name).id
    raise UserError(
        "%(subject)s cannot be reported; expected one of %(known)s.",
        subject=subject,
        known=", ".join(ACTIONS_BY_SUBJECT),
    )


def open_case(
    db: Session,
    subject: str,
    subject_id: int,
    member_id: int,
    *,
    now: datetime,
    weight: float = 0.0,
) -> Case:
    """The open case about a thing, made when there is none; locked until the transaction ends."""
    wanted = (
        select(Case)
        .where(Case.subject == subject, Case.subject_id == subject_id, Case.state == CaseState.OPEN)
        .with_for_update()
    )
    insert_or_ignore(
        db,
        Case,
        subject=subject,
        subject_id=subject_id,
        member_id=member_id,
        weight=weight,
        opened_at=now,
    )
    while (
        found := db.scalar(wanted.execution_options(populate_existing=True))
    ) is None:  # decided between the two: a new one
        insert_or_ignore(
            db,
            Case,
            subject=subject,
            subject_id=subject_id,
            member_id=member_id,
            weight=weight,
            opened_at=now,
        )
    return found


def open_case_for_held_post(db: Session, post: Post, *, now: datetime) -> Case:
    """A rule holds a post: a moderator must look."""
    return open_case(db, "post", post.id, post.member_id, now=now, weight=HELD_WEIGHT)


# ---- the queue -----------------------------------------------------------------------------------------------------


def list_open_cases(
    db: Session, who: Person, *, after: str | None = None, limit: int = 24
) -> Page[Case]:
    """Open cases that this moderator may decide, the most urgent first, then the oldest."""
    wanted, limit = select_open_cases(db, who), pagination.clamp_page_size(limit)
    if after is not None:
        weight, _, id_ = after.partition("-")
        try:
            last = -float(weight), pagination.parse_id_cursor(id_)
        except ValueError:
            raise pagination.invalid_cursor() from None
        wanted = wanted.where(tuple_(-Case.weight, Case.id) > tuple_(*last))
    found = db.scalars(wanted.order_by(Case.weight.desc(), Case.id).limit(limit + 1)).all()
    return pagination.make_page(found, limit, queue_cursor)


def queue_cursor(case: Case) -> str:
    """Where a case stands in the queue."""
    return f"{case.weight}-{case.id}"


def select_open_cases(db: Session, who: Person) -> Select[Case]:
    """Open cases that are not about this moderator."""
    require_role(who, "moderator")
    me = members.find_viewer_id(db, who)
    return select(Case).where(
        Case.state == CaseState.OPEN, or_(Case.member_id.is_(None), Case.member_id != (me or 0))
    )


def load_case_members(db: Session, found: Sequence[Case]) -> dict[int, Member]:
    """Whose the subjects of cases are, by id, as far as they are still there."""
    ids = {case.member_id for case in found if case.member_id is not None}
    return {member.id: member for member in db.scalars(select(Member).where(Member.id.in_(ids)))}


def count_open_cases(db: Session, who: Person) -> int:
    """How many cases wait for this moderator."""
    return db.scalar(select(func.count()).select_from(select_open_cases(db, who).subquery())) or 0


def load_case(db: Session, who: Person, case_id: int) -> Case:
    """A case. Nobody looks at one about themselves: who reported them is in it."""
    require_role(who, "moderator")
    found = db.get(Case, case_id) if 0 < case_id <= pagination.MAX_ID else None
    if found is None or (
        found.member_id is not None and found.member_id == members.find_viewer_id(db, who)
    ):
        raise NotFound("There is no such case.")
    return found


def load_subject(db: Session, case: Case) -> Subject:
    """What a case is about, as it is now, and what it said before."""
    member = db.get(Member, case.member_id) if case.member_id is not None else None
    if case.subject == "member":
        photo = db.get(Photo, member.photo) if member is not None and member.photo else None
        return Subject("member", case.subject_id, member, photo=photo)
    comment = db.get(Comment, case.subject_id) if case.subject == "comment" else None
    post = (
        db.get(Post, comment.post_id if comment is not None else case.subject_id)
        if case.subject == "post" or comment
        else None
    )
    if case.subject == "comment":
        return Subject("comment", case.subject_id, member, post=post, comment=comment)
    edits = db.scalars(
        select(PostEdit)
        .where(PostEdit.post_id == case.subject_id)
        .order_by(PostEdit.id.desc())
        .limit(MAX_EDITS_SHOWN)
    ).all()
    photo = db.get(Photo, post.photo) if post is not None else None
    return Subject("post", case.subject_id, member, post=post, photo=photo, edits=edits)


def list_reports(db: Session, case: Case) -> list[ReportWithReporter]:
    """What was reported, the first one first."""
    wanted = (
        select(Report, Member)
        .outerjoin(Member, Member.id == Report.reporter_id)
        .where(Report.case_id == case.id)
    )
    return [
        ReportWithReporter(*row)
        for row in db.execute(wanted.order_by(Report.id).limit(pagination.MAX_PAGE_SIZE))
    ]


def list_related_decisions(db: Session, case: Case) -> list[Decision]:
    """Decisions about the same thing and about the same member, newest first."""
    same = (Case.subject == case.subject) & (Case.subject_id == case.subject_id)
    related = same if case.member_id is None else same | (Case.member_id == case.member_id)
    wanted = select(Decision).join(Case, Case.id == Decision.case_id).where(related)
    return list(db.scalars(wanted.order_by(Decision.id.desc()).limit(pagination.MAX_PAGE_SIZE)))


def has_reported(db: Session, who: Person, subject: str, subject_id: int) -> bool:
    """Whether somebody has reported a thing whose case is still open."""
    me = members.find_viewer_id(db, who)
    about = (
        (Case.subject == subject) & (Case.subject_id == subject_id) & (Case.state == CaseState.OPEN)
    )
    return bool(
        db.scalar(
            select(exists().where(about, Report.case_id == Case.id, Report.reporter_id == me))
        )
    )
