"""The moderators' desk: one case after the other, appeals against others' decisions, what was decided, the trail."""

from collections import Counter
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy.orm import Session

from tanuki.animals import pagination
from tanuki.animals.http.deps import now
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.moderation.reasons import (
    ACTIONS,
    BAN,
    HOLD,
    KEEP,
    REASONS,
    REMOVE,
    RESTORE,
    UNBAN,
    WARN,
)
from tanuki.animals.tables import Case
from tanuki.animals.web.layout import LIMIT, Text, for_script, form, onward, show
from tanuki.animals.web.reasons import action_words, reason_words
from tanuki.animals.web.reports import page_of
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform import audit_log
from tanuki.platform.accounts import Person, require
from tanuki.platform.web.pages import Db, Res, Who, site_of, url, visit_of

KEYS = {KEEP: "k", HOLD: "h", REMOVE: "r", RESTORE: "s", WARN: "w", BAN: "b", UNBAN: "u"}
LOOKS = {
    KEEP: "",
    RESTORE: "",
    UNBAN: "",
    HOLD: "quiet",
    WARN: "quiet",
    REMOVE: "danger",
    BAN: "danger",
}
ENTRIES = 50
Before = Annotated[int | None, Query(ge=1, le=pagination.LARGEST)]


def moderator(who: Who) -> Person:
    """Somebody who may be at the desk."""
    require(who, "moderator")
    return who


router = APIRouter(dependencies=[Depends(moderator)])


def at_desk(request: Request, db: Session, who: Person, template: str, **values: Any) -> Response:
    """A page of the desk, with how much waits."""
    return show(
        request,
        db,
        template,
        on="desk",
        waiting=cases.length(db, who),
        appeals=appeals.length(db, who),
        reason_words=reason_words(request),
        action_words=action_words(request),
        **values,
    )


# ---- cases ---------------------------------------------------------------------------------------------------------


@router.get("/animals/desk", include_in_schema=False, response_class=HTMLResponse)
def desk(request: Request, db: Db, who: Who) -> Response:
    """The most urgent case."""
    first = cases.queue(db, who, limit=1).items
    return case_at_desk(request, db, who, first[0] if first else None)


@router.get("/animals/desk/cases/{case_id}", include_in_schema=False, response_class=HTMLResponse)
def case_page(request: Request, db: Db, who: Who, case_id: int) -> Response:
    """One case: open, or decided and looked at again."""
    return case_at_desk(request, db, who, cases.case(db, who, case_id))


def case_at_desk(request: Request, db: Db, who: Who, case: Case | None) -> Response:
    """A case with what it is about, who reported it and why, what was decided before, and what can be done."""
    if case is None:
        return at_desk(request, db, who, "desk.html", case=None, next_id=None)
    reports = cases.reports(db, case)
    most = Counter(report.report.reason for report in reports).most_common(1)
    words = reason_words(request)
    return at_desk(
        request,
        db,
        who,
        "desk.html",
        case=case,
        next_id=next_case(db, who, case),
        subject=shown(db, cases.subject_of(db, case), case.opened_at),
        reports=[
            {
                "reason": report.report.reason,
                "words": report.report.words,
                "at": report.report.at,
                "by": f"@{report.reporter.name}" if report.reporter is not None else "",
            }
            for report in reports
        ],
        before=cases.decided_before(db, case),
        reasons={code: words(code) for code in REASONS},
        suggested=most[0][0] if most else "other",
        acts=[(action, KEYS[action], LOOKS[action]) for action in decisions.possible(db, case)],
    )


def next_case(db: Session, who: Person, case: Case) -> int | None:
    """The case after one in the queue, or the first of it at its end."""
    after = (
        cases.queue(db, who, after=cases.place(case), limit=1).items if case.state == "open" else []
    )
    found = [
        each.id for each in [*after, *cases.queue(db, who, limit=2).items] if each.id != case.id
    ]
    return found[0] if found else None


def shown(db: Session, subject: cases.Subject, opened_at: datetime) -> dict[str, Any]:
    """What a case is about as the page shows it."""
    post, comment, member = subject.post, subject.comment, subject.member
    about: dict[str, Any] = {
        "title": "",
        "words": "",
        "tags": [],
        "edits": [],
        "photo": subject.photo,
        "at": opened_at,
    }
    if subject.kind == "member" and member is not None:
        about |= {"title": member.display, "words": member.about, "at": member.joined_at}
    elif comment is not None:
        about |= {"words": comment.words, "at": comment.at}
    elif post is not None:
        about |= {
            "title": post.title,
            "words": post.description,
            "tags": post.tags,
            "at": post.posted_at,
        }
        about |= {"edits": [{"text": said(edit.words), "at": edit.at} for edit in subject.edits]}
    return {
        **about,
        "kind": subject.kind,
        "state": subject.state,
        "member": member,
        "link": page_of(db, subject.kind, subject.id),
    }


def said(words: dict[str, Any]) -> str:
    """What a post said before an edit."""
    tags = " ".join(f"#{tag}" for tag in words.get("tags", []))
    return "\n".join(filter(None, [words.get("title", ""), words.get("description", ""), tags]))


@form(router, "/animals/desk/cases/{case_id}")
def decide(
    request: Request,
    res: Res,
    who: Who,
    case_id: int,
    action: Text = "",
    reason: Text = "other",
    note: Text = "",
) -> Response:
    """Decide about a case, or decide anew about one that was decided."""

    def decided(db: Session) -> int | None:
        case = cases.case(db, who, case_id)
        following = next_case(db, who, case)
        if case.state == "open":
            decisions.decide(db, who, case_id, action, reason, note, now=now())
        else:
            decisions.act(db, who, case.subject, case.subject_id, action, reason, note, now=now())
        return following

    following = res.db.together(decided)
    to = f"/animals/desk/cases/{following}" if following else "/animals/desk"
    return answered(
        request, to, msgid("Decided: %(action)s."), action=action_words(request)(action)
    )


def answered(request: Request, to: str, message: str, **values: object) -> Response:
    """On to the next one; a script has it already and shows the message."""
    if for_script(request):
        return JSONResponse(
            {
                "message": site_of(request).texts.fill(visit_of(request).lang, message, values),
                "to": to,
            }
        )
    return onward(request, to, message, **values)


# ---- appeals -------------------------------------------------------------------------------------------------------


@router.get("/animals/desk/appeals", include_in_schema=False, response_class=HTMLResponse)
def appeals_page(request: Request, db: Db, who: Who) -> Response:
    """The oldest appeal that this moderator may answer."""
    first = appeals.queue(db, who, limit=1).items
    return appeal_at_desk(request, db, who, first[0] if first else None)


@router.get(
    "/animals/desk/appeals/{appeal_id}", include_in_schema=False, response_class=HTMLResponse
)
def appeal_page(request: Request, db: Db, who: Who, appeal_id: int) -> Response:
    """One appeal."""
    return appeal_at_desk(request, db, who, appeals.one(db, who, appeal_id))


def appeal_at_desk(request: Request, db: Db, who: Who, asked: appeals.Asked | None) -> Response:
    """An appeal with the decision that it is against and what that was about."""
    if asked is None:
        return at_desk(request, db, who, "desk_appeal.html", appeal=None, next_id=None)
    following = [
        item.appeal.id
        for item in appeals.queue(db, who, limit=2).items
        if item.appeal.id != asked.appeal.id
    ]
    return at_desk(
        request,
        db,
        who,
        "desk_appeal.html",
        appeal=asked.appeal,
        decision=asked.decision,
        subject=shown(db, cases.subject_of(db, asked.case), asked.case.opened_at),
        next_id=following[0] if following else None,
    )


@form(router, "/animals/desk/appeals/{appeal_id}")
def answer(
    request: Request, res: Res, who: Who, appeal_id: int, verdict: Text = "", answer: Text = ""
) -> Response:
    """Uphold a decision of somebody else's, or overturn it."""
    if verdict not in ("uphold", "overturn"):
        raise UserError("Please say whether the decision stays or is overturned.")
    overturn = verdict == "overturn"
    res.db.together(
        lambda db: appeals.answer(db, who, appeal_id, overturn=overturn, words=answer, now=now())
    )
    message = msgid("Overturned: it is restored.") if overturn else msgid("Upheld: it stays.")
    return answered(request, "/animals/desk/appeals", message)


# ---- what was decided ----------------------------------------------------------------------------------------------


@router.get("/animals/desk/decided", include_in_schema=False, response_class=HTMLResponse)
def decided_page(request: Request, db: Db, who: Who, after: str | None = None) -> Response:
    """What moderators decided, newest first."""
    page = decisions.latest(db, who, after=after, limit=LIMIT)
    more = page.next and url("/animals/desk/decided", after=page.next)
    return at_desk(request, db, who, "desk_decided.html", decided=page.items, next=more)


@router.get("/animals/desk/trail", include_in_schema=False, response_class=HTMLResponse)
def trail_page(
    request: Request, db: Db, who: Who, about: str | None = None, before: Before = None
) -> Response:
    """The trail, all of it or about one thing, and whether it is whole."""
    found = audit_log.entries(db, about=about, before=before, limit=ENTRIES + 1)
    broken = audit_log.check(db) if before is None else None
    more = (
        url("/animals/desk/trail", about=about, before=found[ENTRIES - 1].id)
        if len(found) > ENTRIES
        else None
    )
    return at_desk(
        request,
        db,
        who,
        "desk_trail.html",
        entries=found[:ENTRIES],
        about=about,
        checked=before is None,
        broken=broken,
        next=more,
    )


assert set(KEYS) == set(LOOKS) == set(ACTIONS)
