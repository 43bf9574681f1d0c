"""Reports and the queue they make: one open case for each post, comment or member, the most urgent first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from tanuki.animals import events, members, pagination, posts
from tanuki.animals.moderation.reasons import HELD_WEIGHT, POSSIBLE, REASONS
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Case, Comment, Decision, Member, Photo, Post, PostEdit, Report
from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person, require
from tanuki.platform.database.engine import add_once

AN_HOUR = 60  # reports of one member
WORDS_LONGEST = 1_000
EDITS_SHOWN = 10


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


class Reported(NamedTuple):
    """A report with who made it; None once they left."""

    report: Report
    reporter: Member | None


# ---- reports -------------------------------------------------------------------------------------------------------


def report(
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
    me = members.active(db, who)
    if reason not in REASONS:
        raise UserError(
            "%(reason)s is not a reason; expected one of %(known)s.",
            reason=reason,
            known=", ".join(REASONS),
        )
    words = members.words(
        words,
        0,
        WORDS_LONGEST,
        msgid("A report has at most %(most)s characters; found %(found)s."),
        lines=True,
    )
    owner_id = owner_of(db, who, subject, subject_id)
    if owner_id == me.id:
        raise UserError("This is your own; you can change or delete it yourself.")
    rate_limit.use(db, who.name, "report", now=now, most=AN_HOUR, seconds=3600)
    case = open_case(db, subject, subject_id, owner_id, now=now)
    if add_once(db, Report, case_id=case.id, reporter_id=me.id, reason=reason, words=words, at=now):
        case.reports += 1
        case.weight += REASONS[reason].weight
        db.flush()
        events.did(db, me, "report", subject=subject, subject_id=subject_id, reason=reason, now=now)
    return case


def owner_of(db: Session, viewer: Person, subject: str, subject_id: int) -> int:
    """Whose a thing is, if this viewer may see it."""
    if subject == "post":
        return posts.visible(db, subject_id, viewer).member_id
    if subject == "comment":
        comment = db.get(Comment, subject_id) if 0 < subject_id <= pagination.LARGEST else None
        mine = comment is not None and comment.member_id == members.viewer_id(db, viewer)
        if comment is None or not (comment.state == "shown" or mine or members.moderates(viewer)):
            raise NotFound("There is no such comment.")
        posts.visible(db, comment.post_id, viewer)
        return comment.member_id
    if subject == "member":
        member = db.get(Member, subject_id) if 0 < subject_id <= pagination.LARGEST else None
        if member is None:
            raise NotFound("There is no such member.")
        return members.profile(db, viewer, member.name).id
    raise UserError(
        "%(subject)s cannot be reported; expected one of %(known)s.",
        subject=subject,
        known=", ".join(POSSIBLE),
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
        .where(Case.subject == subject, Case.subject_id == subject_id, Case.state == "open")
        .with_for_update()
    )
    add_once(
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
        add_once(
            db,
            Case,
            subject=subject,
            subject_id=subject_id,
            member_id=member_id,
            weight=weight,
            opened_at=now,
        )
    return found


def held_by_rule(db: Session, post: Post, *, now: datetime) -> Case:
    """A rule holds a post: a moderator must look."""
    return open_case(db, "post", post.id, post.member_id, now=now, weight=HELD_WEIGHT)


# ---- the queue -----------------------------------------------------------------------------------------------------


def queue(db: Session, who: Person, *, after: str | None = None, limit: int = 24) -> Page[Case]:
    """Open cases that this moderator may decide, the most urgent first, then the oldest."""
    wanted, limit = waiting(db, who), pagination.size(limit)
    if after is not None:
        weight, _, id_ = after.partition("-")
        try:
            last = -float(weight), pagination.id_of(id_)
        except ValueError:
            raise pagination.wrong() from None
        wanted = wanted.where(tuple_(-Case.weight, Case.id) > tuple_(*last))
    found = db.scalars(wanted.order_by(Case.weight.desc(), Case.id).limit(limit + 1)).all()
    return pagination.page(found, limit, place)


def place(case: Case) -> str:
    """Where a case stands in the queue."""
    return f"{case.weight}-{case.id}"


def waiting(db: Session, who: Person) -> Select[Case]:
    """Open cases that are not about this moderator."""
    require(who, "moderator")
    me = members.viewer_id(db, who)
    return select(Case).where(
        Case.state == "open", or_(Case.member_id.is_(None), Case.member_id != (me or 0))
    )


def owners(db: Session, found: Sequence[Case]) -> dict[int, Member]:
    """Whose the subjects of cases are, by id, as far as they are still there."""
    ids = {case.member_id for case in found if case.member_id is not None}
    return {member.id: member for member in db.scalars(select(Member).where(Member.id.in_(ids)))}


def length(db: Session, who: Person) -> int:
    """How many cases wait for this moderator."""
    return db.scalar(select(func.count()).select_from(waiting(db, who).subquery())) or 0


def case(db: Session, who: Person, case_id: int) -> Case:
    """A case. Nobody looks at one about themselves: who reported them is in it."""
    require(who, "moderator")
    found = db.get(Case, case_id) if 0 < case_id <= pagination.LARGEST else None
    if found is None or (
        found.member_id is not None and found.member_id == members.viewer_id(db, who)
    ):
        raise NotFound("There is no such case.")
    return found


def subject_of(db: Session, case: Case) -> Subject:
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
        .limit(EDITS_SHOWN)
    ).all()
    photo = db.get(Photo, post.photo) if post is not None else None
    return Subject("post", case.subject_id, member, post=post, photo=photo, edits=edits)


def reports(db: Session, case: Case) -> list[Reported]:
    """What was reported, the first one first."""
    wanted = (
        select(Report, Member)
        .outerjoin(Member, Member.id == Report.reporter_id)
        .where(Report.case_id == case.id)
    )
    return [Reported(*row) for row in db.execute(wanted.order_by(Report.id).limit(pagination.MOST))]


def decided_before(db: Session, case: Case) -> list[Decision]:
    """Decisions about the same thing and about the same member, newest first."""
    same = (Case.subject == case.subject) & (Case.subject_id == case.subject_id)
    related = same if case.member_id is None else same | (Case.member_id == case.member_id)
    wanted = select(Decision).join(Case, Case.id == Decision.case_id).where(related)
    return list(db.scalars(wanted.order_by(Decision.id.desc()).limit(pagination.MOST)))


def reported_by(db: Session, who: Person, subject: str, subject_id: int) -> bool:
    """Whether somebody has reported a thing whose case is still open."""
    me = members.viewer_id(db, who)
    about = (Case.subject == subject) & (Case.subject_id == subject_id) & (Case.state == "open")
    return bool(
        db.scalar(
            select(exists().where(about, Report.case_id == Case.id, Report.reporter_id == me))
        )
    )
