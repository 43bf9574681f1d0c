"""Reporting content, the decisions about oneself, and appealing against them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.http.deps import (
    MemberWrite,
    Read,
    ReadContext,
    Write,
    from_fields,
    now,
)
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.decisions import CaseDecision
from tanuki.animals.moderation.reasons import REASONS
from tanuki.animals.tables import Action, Appeal, Comment, Member, Post, PostState, SubjectKind
from tanuki.animals.web.layout import POSTS_PER_PAGE, Text, go_to, render_site_page, say_error
from tanuki.animals.web.reasons import reason_labels
from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform.web.pages import read_route, write_route
from tanuki.platform.web.site import build_url

router = APIRouter()
DECISION_TITLES = {
    (Action.HOLD, SubjectKind.POST): msgid("Your photo is held"),
    (Action.REMOVE, SubjectKind.POST): msgid("Your photo was removed"),
    (Action.RESTORE, SubjectKind.POST): msgid("Your photo was restored"),
    (Action.REMOVE, SubjectKind.COMMENT): msgid("Your comment was removed"),
    (Action.RESTORE, SubjectKind.COMMENT): msgid("Your comment was restored"),
    (Action.WARN, ""): msgid("You were warned"),
    (Action.BAN, ""): msgid("You were banned"),
    (Action.UNBAN, ""): msgid("Your ban was lifted"),
}
"""The title of a decision by its action and the kind of its subject."""


# ---- reports -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReportFields:
    """The form for a report, as it was sent."""

    subject: Text
    subject_id: Text
    reason: Text = ""
    text: Text = ""
    back: Text = "/animals"

    def parse_subject(self) -> SubjectRef:
        if not self.subject_id.isdecimal():
            raise NotFound("There is no such post.")
        return SubjectRef(self.subject, int(self.subject_id[:20]))


@read_route(router, "/animals/report")
def show_report_form(context: Read, subject: str = "", id: int = 0) -> Response:
    """The form for a report about something that the viewer can see."""
    return render_report_form(context, ReportFields(subject, str(id)))


def render_report_form(
    context: ReadContext, fields: ReportFields, error: UserError | None = None
) -> Response:
    """The form, empty or as it was sent, with what is wrong."""
    db, person = context.db, context.person
    subject = fields.parse_subject()
    cases.load_owner_id(db, person, subject)
    say_reason = reason_labels(context.say)
    return render_site_page(
        context,
        "report.html",
        status=error.status if error else 200,
        subject=subject.kind,
        subject_id=subject.id,
        back_url=find_subject_url(db, subject.kind, subject.id) or "/animals",
        reasons={code: say_reason(code) for code in REASONS},
        already_reported=cases.has_reported(db, person, subject),
        reason=fields.reason,
        text=fields.text,
        error=say_error(context.request, error),
    )


@write_route(router, "/animals/report")
def submit_report(
    context: MemberWrite, fields: Annotated[ReportFields, Depends(from_fields(ReportFields))]
) -> Response:
    """Report something, and go back to the page that shows it."""
    subject = fields.parse_subject()
    try:
        if not fields.reason:
            raise UserError("Please choose what is wrong.")
        context.commit(
            lambda db: cases.report_subject(
                db, context.person, subject, fields.reason, fields.text, now=context.now
            )
        )
    except UserError as error:
        if error.status != 400:
            raise
        with context.reading() as reading:
            return render_report_form(reading, fields, error)
    message = msgid("Thank you. A moderator will review your report.")
    return go_to(context.request, fields.back, message)


def find_subject_url(db: Session, subject: str, subject_id: int) -> str | None:
    """The page that shows a post, a comment or a member, if it still exists."""
    if subject == SubjectKind.POST:
        return f"/animals/posts/{subject_id}" if db.get(Post, subject_id) is not None else None
    if subject == SubjectKind.COMMENT:
        comment = db.get(Comment, subject_id)
        return build_comment_url(comment) if comment is not None else None
    member = db.get(Member, subject_id)
    return f"/animals/members/{member.name}" if member is not None else None


def build_comment_url(comment: Comment) -> str:
    """The page of comments that begins with this one."""
    page_url = build_url(
        f"/animals/posts/{comment.post_id}", after=pagination.id_cursor(comment.id - 1)
    )
    return f"{page_url}#comment-{comment.id}"


# ---- decisions about oneself ---------------------------------------------------------------------


@dataclass(frozen=True)
class DecisionView:
    """A decision as the affected member sees it."""

    id: int
    title: str
    at: datetime
    reason: str
    note: str
    subject_text: str
    subject_url: str | None
    appeal: Appeal | None
    may_appeal: bool


def describe_decision(context: ReadContext, case_decision: CaseDecision) -> DecisionView:
    """A decision in the reader's language, with what it is about and its appeal."""
    db, (decision, case) = context.db, case_decision
    title = DECISION_TITLES.get((decision.action, case.subject)) or DECISION_TITLES.get(
        (decision.action, ""), decision.action
    )
    subject = cases.load_subject(db, case)
    if subject.comment is not None:
        subject_text = subject.comment.text
    else:
        subject_text = subject.post.title if subject.post is not None else ""
    is_post = case.subject == SubjectKind.POST
    return DecisionView(
        id=decision.id,
        title=context.say(title),
        at=decision.at,
        reason=decision.reason,
        note=decision.note,
        subject_text=subject_text,
        subject_url=find_subject_url(db, case.subject, case.subject_id) if is_post else None,
        appeal=appeals.find_appeal(db, decision.id),
        may_appeal=appeals.can_appeal(db, context.person, case_decision, now=now()),
    )


@read_route(router, "/animals/decisions")
def show_decisions(context: Read, after: str | None = None) -> Response:
    """The decisions about a member, their posts and comments, and their appeals."""
    listed = decisions.list_own_decisions(
        context.db, context.person, after=after, limit=POSTS_PER_PAGE
    )
    return render_site_page(
        context,
        "decisions.html",
        decisions=[describe_decision(context, decision) for decision in listed.items],
        next_url=listed.next and build_url("/animals/decisions", after=listed.next),
        say_reason=reason_labels(context.say),
    )


def find_current_decision(context: ReadContext, post: Post) -> DecisionView | None:
    """The decision that hides the viewer's own post now; None when an automatic rule hides it."""
    db, viewer = context.db, context.viewer
    if (
        viewer is None
        or post.state not in (PostState.HELD, PostState.REMOVED)
        or members.find_viewer_id(db, viewer) != post.member_id
    ):
        return None
    for decision in decisions.list_own_decisions(db, viewer, limit=pagination.MAX_PAGE_SIZE).items:
        is_about_post = (decision.case.subject, decision.case.subject_id) == (
            SubjectKind.POST,
            post.id,
        )
        if is_about_post and decision.decision.action in (Action.HOLD, Action.REMOVE):
            return describe_decision(context, decision)
    return None


@read_route(router, "/animals/appeals/{decision_id}")
def show_appeal_form(context: Read, decision_id: int) -> Response:
    return render_appeal_form(context, decision_id)


def render_appeal_form(
    context: ReadContext, decision_id: int, text: str = "", error: UserError | None = None
) -> Response:
    """The form for an appeal below its decision, empty or as it was sent, with what is wrong."""
    decision = describe_decision(
        context, decisions.load_decision(context.db, context.person, decision_id)
    )
    if not decision.may_appeal:
        raise NotFound("There is no such decision.")
    return render_site_page(
        context,
        "appeal.html",
        status=error.status if error else 200,
        decision=decision,
        say_reason=reason_labels(context.say),
        text=text,
        error=say_error(context.request, error),
    )


@write_route(router, "/animals/appeals/{decision_id}")
def submit_appeal(context: Write, decision_id: int, text: Text = "") -> Response:
    person = context.person
    try:
        context.commit(
            lambda db: appeals.submit_appeal(db, person, decision_id, text, now=context.now)
        )
    except UserError as error:
        with context.reading() as reading:
            if error.status != 400 or not appeals.can_appeal(
                reading.db,
                person,
                decisions.load_decision(reading.db, person, decision_id),
                now=context.now,
            ):
                raise
            return render_appeal_form(reading, decision_id, text, error)
    message = msgid("Your appeal was sent to another moderator.")
    return go_to(context.request, "/animals/decisions", message)
