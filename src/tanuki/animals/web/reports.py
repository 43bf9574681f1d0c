"""Saying that something is not right; what was decided about oneself; appealing against it."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.http.deps import Acting, now
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.moderation.decisions import Decided
from tanuki.animals.moderation.reasons import BAN, HOLD, REASONS, REMOVE, RESTORE, UNBAN, WARN
from tanuki.animals.tables import Appeal, Comment, Member, Post
from tanuki.animals.web.layout import LIMIT, Text, form, onward, sentence, show
from tanuki.animals.web.reasons import reason_words
from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform.accounts import Person
from tanuki.platform.web.pages import Db, Lang, Res, Who, site_of, url

router = APIRouter()
TITLES = {
    (HOLD, "post"): msgid("Your photo is held"),
    (REMOVE, "post"): msgid("Your photo was removed"),
    (RESTORE, "post"): msgid("Your photo was restored"),
    (REMOVE, "comment"): msgid("Your comment was removed"),
    (RESTORE, "comment"): msgid("Your comment was restored"),
    (WARN, ""): msgid("You were warned"),
    (BAN, ""): msgid("You were banned"),
    (UNBAN, ""): msgid("Your ban was lifted"),
}


# ---- reports -------------------------------------------------------------------------------------------------------


@router.get("/animals/report", include_in_schema=False, response_class=HTMLResponse)
def report_page(request: Request, db: Db, who: Who, subject: str = "", id: int = 0) -> Response:
    """The form, about something that they can see."""
    return report_form(request, db, who, subject, id)


def report_form(
    request: Request,
    db: Session,
    who: Person,
    subject: str,
    subject_id: int,
    reason: str = "",
    said: str = "",
    wrong: UserError | None = None,
) -> Response:
    """The form, empty or as it was sent, with what is wrong."""
    cases.owner_of(db, who, subject, subject_id)
    words = reason_words(request)
    return show(
        request,
        db,
        "report.html",
        status=wrong.status if wrong else 200,
        subject=subject,
        subject_id=subject_id,
        back=page_of(db, subject, subject_id) or "/animals",
        reasons={code: words(code) for code in REASONS},
        reported=cases.reported_by(db, who, subject, subject_id),
        chosen=reason,
        said=said,
        wrong=sentence(request, wrong),
    )


@form(router, "/animals/report")
def report(
    request: Request,
    res: Res,
    who: Acting,
    subject: Text,
    subject_id: Text,
    reason: Text = "",
    words: Text = "",
    back: Text = "/animals",
) -> Response:
    """Report it, and go back to where it stands."""
    if not subject_id.isdecimal():
        raise NotFound("There is no such post.")
    number = int(subject_id[:20])
    try:
        if not reason:
            raise UserError("Please choose what is wrong.")
        res.db.together(lambda db: cases.report(db, who, subject, number, reason, words, now=now()))
    except UserError as error:
        if error.status != 400:
            raise
        with res.db.read() as db:
            return report_form(request, db, who, subject, number, reason, words, error)
    return onward(request, back, msgid("Thank you. A moderator will look at it."))


def page_of(db: Session, subject: str, subject_id: int) -> str | None:
    """The page on which a thing stands, where it has one."""
    if subject == "post":
        return f"/animals/posts/{subject_id}" if db.get(Post, subject_id) is not None else None
    if subject == "comment":
        comment = db.get(Comment, subject_id)
        return comment_page(comment) if comment is not None else None
    member = db.get(Member, subject_id)
    return f"/animals/members/{member.name}" if member is not None else None


def comment_page(comment: Comment) -> str:
    """Where a comment stands, whatever was said before it."""
    return f"{url(f'/animals/posts/{comment.post_id}', after=comment.id - 1)}#comment-{comment.id}"


# ---- decisions about oneself ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A decision as its owner sees it."""

    id: int
    title: str
    at: datetime
    reason: str
    note: str
    about: str
    to: str | None
    appeal: Appeal | None
    may_appeal: bool


def shown(request: Request, db: Session, who: Person, lang: str, decided: Decided) -> Shown:
    """A decision in words, with what it was about and its appeal."""
    decision, case = decided
    title = TITLES.get((decision.action, case.subject)) or TITLES.get(
        (decision.action, ""), decision.action
    )
    subject = cases.subject_of(db, case)
    about = subject.comment.words if subject.comment else subject.post.title if subject.post else ""
    return Shown(
        id=decision.id,
        title=site_of(request).texts.text(lang, title),
        at=decision.at,
        reason=decision.reason,
        note=decision.note,
        about=about,
        to=page_of(db, case.subject, case.subject_id) if case.subject == "post" else None,
        appeal=appeals.of_decision(db, decision.id),
        may_appeal=appeals.may_appeal(db, who, decided, now=now()),
    )


@router.get("/animals/decisions", include_in_schema=False, response_class=HTMLResponse)
def decisions_page(
    request: Request, db: Db, who: Who, lang: Lang, after: str | None = None
) -> Response:
    """What was decided about them and theirs, and their appeals."""
    page = decisions.mine(db, who, after=after, limit=LIMIT)
    return show(
        request,
        db,
        "decisions.html",
        decisions=[shown(request, db, who, lang, item) for item in page.items],
        next=page.next and url("/animals/decisions", after=page.next),
        reason_words=reason_words(request),
    )


def standing(
    request: Request, db: Session, who: Person | None, lang: str, post: Post
) -> Shown | None:
    """The decision by which somebody's post is out of sight now; None when a rule did it, or it is not theirs."""
    if (
        who is None
        or post.state not in ("held", "removed")
        or members.viewer_id(db, who) != post.member_id
    ):
        return None
    for item in decisions.mine(db, who, limit=pagination.MOST).items:
        if (item.case.subject, item.case.subject_id) == (
            "post",
            post.id,
        ) and item.decision.action in (HOLD, REMOVE):
            return shown(request, db, who, lang, item)
    return None


@router.get("/animals/appeals/{decision_id}", include_in_schema=False, response_class=HTMLResponse)
def appeal_page(request: Request, db: Db, who: Who, lang: Lang, decision_id: int) -> Response:
    """The form for an appeal, beside what was decided."""
    return appeal_form(request, db, who, lang, decision_id)


def appeal_form(
    request: Request,
    db: Session,
    who: Person,
    lang: str,
    decision_id: int,
    said: str = "",
    wrong: UserError | None = None,
) -> Response:
    """The form, empty or as it was sent, with what is wrong."""
    found = shown(request, db, who, lang, decisions.decision(db, who, decision_id))
    if not found.may_appeal:
        raise NotFound("There is no such decision.")
    status = wrong.status if wrong else 200
    return show(
        request,
        db,
        "appeal.html",
        status=status,
        decision=found,
        reason_words=reason_words(request),
        said=said,
        wrong=sentence(request, wrong),
    )


@form(router, "/animals/appeals/{decision_id}")
def appeal(
    request: Request, res: Res, who: Who, lang: Lang, decision_id: int, words: Text = ""
) -> Response:
    """Say why a decision is wrong."""
    try:
        res.db.together(lambda db: appeals.appeal(db, who, decision_id, words, now=now()))
    except UserError as error:
        with res.db.read() as db:
            if error.status != 400 or not appeals.may_appeal(
                db, who, decisions.decision(db, who, decision_id), now=now()
            ):
                raise
            return appeal_form(request, db, who, lang, decision_id, words, error)
    return onward(
        request, "/animals/decisions", msgid("Your appeal is on its way to another moderator.")
    )
