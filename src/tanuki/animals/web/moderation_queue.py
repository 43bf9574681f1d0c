"""Moderation: one case after another, appeals against others' decisions, decisions, audit log."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from tanuki.animals import pagination
from tanuki.animals.http.deps import Read, ReadContext, Write, WriteContext, from_fields
from tanuki.animals.moderation import appeals, audit, cases, decisions
from tanuki.animals.moderation.appeals import AppealCase
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.decisions import Ruling
from tanuki.animals.moderation.reasons import ACTIONS, REASONS
from tanuki.animals.tables import Action, Case, CaseState, Member, Photo, SubjectKind
from tanuki.animals.web.layout import (
    POSTS_PER_PAGE,
    Text,
    go_to,
    render_site_page,
    say_error,
    wants_json,
)
from tanuki.animals.web.reasons import action_labels, reason_labels
from tanuki.animals.web.reports import find_subject_url
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.web.auth import CurrentPerson
from tanuki.platform.web.pages import read_route, write_route
from tanuki.platform.web.site import build_url

ACTION_KEYS = {
    Action.KEEP: "k",
    Action.HOLD: "h",
    Action.REMOVE: "r",
    Action.RESTORE: "s",
    Action.WARN: "w",
    Action.BAN: "b",
    Action.UNBAN: "u",
}
ACTION_STYLES = {
    Action.KEEP: "",
    Action.HOLD: "quiet",
    Action.REMOVE: "danger",
    Action.RESTORE: "",
    Action.WARN: "quiet",
    Action.BAN: "danger",
    Action.UNBAN: "",
}
ENTRIES_PER_PAGE = 50
EntryId = Annotated[int | None, Query(ge=1, le=pagination.MAX_ID)]


def require_moderator(person: CurrentPerson) -> None:
    require_role(person, "moderator")


router = APIRouter(dependencies=[Depends(require_moderator)])


def render_moderation_page(
    context: ReadContext, template: str, *, status: int = 200, **values: object
) -> Response:
    """A moderation page with the numbers of open cases and appeals."""
    return render_site_page(
        context,
        template,
        status=status,
        section="moderation",
        case_count=cases.count_open_cases(context.db, context.person),
        appeal_count=appeals.count_open_appeals(context.db, context.person),
        say_reason=reason_labels(context.say),
        say_action=action_labels(context.say),
        **values,
    )


# ---- cases ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecisionFields:
    """The form for a decision, as it was sent."""

    action: Text = ""
    reason: Text = "other"
    note: Text = ""


@dataclass(frozen=True)
class ReportView:
    reason: str
    text: str
    at: datetime
    reporter: str


@dataclass(frozen=True)
class EditView:
    """What a post said before an edit."""

    text: str
    at: datetime


@dataclass(frozen=True)
class SubjectView:
    """The reported post, comment or member as the page shows it."""

    kind: SubjectKind
    state: str | None
    at: datetime
    member: Member | None
    photo: Photo | None
    url: str | None
    title: str = ""
    text: str = ""
    tags: tuple[str, ...] = ()
    edits: tuple[EditView, ...] = ()


@read_route(router, "/animals/moderation")
def show_queue(context: Read) -> Response:
    """The most urgent open case."""
    first = cases.list_open_cases(context.db, context.person, limit=1).items
    return render_case(context, first[0] if first else None)


@read_route(router, "/animals/moderation/cases/{case_id}")
def show_case(context: Read, case_id: int) -> Response:
    """One case, open or already decided."""
    return render_case(context, cases.load_case(context.db, context.person, case_id))


def render_case(
    context: ReadContext,
    case: Case | None,
    fields: DecisionFields | None = None,
    error: UserError | None = None,
) -> Response:
    """A case: its subject, reports, earlier decisions and possible actions."""
    if case is None:
        return render_moderation_page(context, "moderation_case.html", case=None, next_id=None)
    db = context.db
    reports = [
        ReportView(
            report.reason,
            report.text,
            report.at,
            f"@{reporter.name}" if reporter is not None else "",
        )
        for report, reporter in cases.list_reports(db, case)
    ]
    most_common = Counter(report.reason for report in reports).most_common(1)
    say_reason = reason_labels(context.say)
    return render_moderation_page(
        context,
        "moderation_case.html",
        status=error.status if error else 200,
        case=case,
        next_id=find_next_case(db, context.person, case),
        subject=describe_subject(db, cases.load_subject(db, case), case.opened_at),
        reports=reports,
        previous_decisions=cases.list_related_decisions(db, case),
        reasons={code: say_reason(code) for code in REASONS},
        reason=fields.reason if fields else most_common[0][0] if most_common else "other",
        note=fields.note if fields else "",
        actions=[
            (action, ACTION_KEYS[Action(action)], ACTION_STYLES[Action(action)])
            for action in decisions.possible_actions(db, case)
        ],
        error=say_error(context.request, error),
    )


def find_next_case(db: Session, person: Person, case: Case) -> int | None:
    """The id of the case after this one in the queue, or of the first one at its end."""
    following = (
        cases.list_open_cases(db, person, after=cases.queue_cursor(case), limit=1).items
        if case.state == CaseState.OPEN
        else []
    )
    candidates = [*following, *cases.list_open_cases(db, person, limit=2).items]
    return next((other.id for other in candidates if other.id != case.id), None)


def describe_subject(db: Session, subject: cases.Subject, opened_at: datetime) -> SubjectView:
    post, comment, member = subject.post, subject.comment, subject.member
    title, text, at = "", "", opened_at
    tags: tuple[str, ...] = ()
    edits: tuple[EditView, ...] = ()
    if subject.kind == SubjectKind.MEMBER and member is not None:
        title, text, at = member.display, member.about, member.joined_at
    elif comment is not None:
        text, at = comment.text, comment.at
    elif post is not None:
        title, text, at, tags = post.title, post.description, post.posted_at, tuple(post.tags)
        edits = tuple(EditView(describe_edit(edit.content), edit.at) for edit in subject.edits)
    return SubjectView(
        kind=subject.kind,
        state=subject.state,
        at=at,
        member=member,
        photo=subject.photo,
        url=find_subject_url(db, subject.kind, subject.id),
        title=title,
        text=text,
        tags=tags,
        edits=edits,
    )


def describe_edit(content: Mapping[str, object]) -> str:
    """The title, description and tags that a post had before an edit, one below the other."""
    tags = content.get("tags")
    tag_line = " ".join(f"#{tag}" for tag in tags) if isinstance(tags, list) else ""
    lines = (content.get("title"), content.get("description"), tag_line)
    return "\n".join(str(line) for line in lines if line)


@write_route(router, "/animals/moderation/cases/{case_id}")
def submit_decision(
    context: Write,
    case_id: int,
    fields: Annotated[DecisionFields, Depends(from_fields(DecisionFields))],
) -> Response:
    """Decide a case, or decide again about one that was decided."""
    person, moment = context.person, context.now

    def decide(db: Session) -> int | None:
        case = cases.load_case(db, person, case_id)
        next_id = find_next_case(db, person, case)
        ruling = Ruling(fields.action, fields.reason, fields.note)
        if case.state == CaseState.OPEN:
            decisions.decide_case(db, person, case_id, ruling, now=moment)
        else:
            subject = SubjectRef(case.subject, case.subject_id)
            decisions.decide_subject(db, person, subject, ruling, now=moment)
        return next_id

    try:
        next_id = context.commit(decide)
    except UserError as error:
        if error.status != 400 or wants_json(context.request):
            raise
        with context.reading() as reading:
            case = cases.load_case(reading.db, person, case_id)
            return render_case(reading, case, fields, error)
    path = f"/animals/moderation/cases/{next_id}" if next_id else "/animals/moderation"
    label = action_labels(context.say)(fields.action)
    return go_to_next(context, path, msgid("Decided: %(action)s."), action=label)


def go_to_next(context: WriteContext, path: str, message: str, **values: object) -> Response:
    """Go to the next case; a script has it already and only shows the message."""
    if wants_json(context.request):
        return JSONResponse({"message": context.say(message, **values), "path": path})
    return go_to(context.request, path, message, **values)


# ---- appeals -------------------------------------------------------------------------------------


@read_route(router, "/animals/moderation/appeals")
def show_appeals(context: Read) -> Response:
    """The oldest appeal that this moderator may answer."""
    first = appeals.list_open_appeals(context.db, context.person, limit=1).items
    return render_appeal(context, first[0] if first else None)


@read_route(router, "/animals/moderation/appeals/{appeal_id}")
def show_appeal(context: Read, appeal_id: int) -> Response:
    return render_appeal(context, appeals.load_appeal(context.db, context.person, appeal_id))


def render_appeal(
    context: ReadContext,
    appeal_case: AppealCase | None,
    answer: str = "",
    error: UserError | None = None,
) -> Response:
    """An appeal with the decision that it is against, and the subject of that."""
    if appeal_case is None:
        return render_moderation_page(context, "moderation_appeal.html", appeal=None, next_id=None)
    db, (appeal, decision, case) = context.db, appeal_case
    waiting = appeals.list_open_appeals(db, context.person, limit=2).items
    return render_moderation_page(
        context,
        "moderation_appeal.html",
        status=error.status if error else 200,
        appeal=appeal,
        decision=decision,
        subject=describe_subject(db, cases.load_subject(db, case), case.opened_at),
        next_id=next((item.appeal.id for item in waiting if item.appeal.id != appeal.id), None),
        answer=answer,
        error=say_error(context.request, error),
    )


@write_route(router, "/animals/moderation/appeals/{appeal_id}")
def submit_appeal_answer(
    context: Write, appeal_id: int, verdict: Text = "", answer: Text = ""
) -> Response:
    """Uphold or overturn another moderator's decision."""
    person, overturn = context.person, verdict == "overturn"
    try:
        if verdict not in ("uphold", "overturn"):
            raise UserError("Please choose whether to uphold or to overturn the decision.")
        context.commit(
            lambda db: appeals.answer_appeal(
                db, person, appeal_id, overturn=overturn, text=answer, now=context.now
            )
        )
    except UserError as error:
        if error.status != 400 or wants_json(context.request):
            raise
        with context.reading() as reading:
            appeal_case = appeals.load_appeal(reading.db, person, appeal_id)
            return render_appeal(reading, appeal_case, answer, error)
    message = msgid("The decision is overturned.") if overturn else msgid("The decision is upheld.")
    return go_to_next(context, "/animals/moderation/appeals", message)


# ---- decisions and the audit log -----------------------------------------------------------------


@read_route(router, "/animals/moderation/decisions")
def show_all_decisions(context: Read, after: str | None = None) -> Response:
    """The decisions of all moderators, newest first."""
    listed = decisions.list_decisions(context.db, context.person, after=after, limit=POSTS_PER_PAGE)
    next_url = listed.next and build_url("/animals/moderation/decisions", after=listed.next)
    return render_moderation_page(
        context, "moderation_decisions.html", decisions=listed.items, next_url=next_url
    )


@read_route(router, "/animals/moderation/audit-log")
def show_audit_log(context: Read, target: str | None = None, before: EntryId = None) -> Response:
    """The audit log, all of it or about one target, and whether it is intact."""
    db, person = context.db, context.person
    listed = audit.list_audit_entries(
        db, person, target=target, before=before, limit=ENTRIES_PER_PAGE + 1
    )
    entries = listed[:ENTRIES_PER_PAGE]
    next_url = (
        build_url("/animals/moderation/audit-log", target=target, before=entries[-1].id)
        if len(listed) > ENTRIES_PER_PAGE
        else None
    )
    return render_moderation_page(
        context,
        "moderation_audit_log.html",
        entries=entries,
        target=target,
        checked=before is None,
        first_altered_id=audit.find_altered_entry(db, person) if before is None else None,
        next_url=next_url,
    )


assert set(ACTION_KEYS) == set(ACTION_STYLES) == set(ACTIONS)
