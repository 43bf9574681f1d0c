"""Reports, decisions and appeals for programs; moderators' tokens need the scope `moderate`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import pagination
from tanuki.animals.api.schemas import (
    API,
    EXAMPLE_DIGEST,
    EXAMPLE_MOMENT,
    CommentOut,
    PostOut,
    build_post_out,
    comment_out,
    example,
    example_of,
    page_out,
)
from tanuki.animals.http.deps import MemberWrite, PageRequest, Read, RecordId, Write
from tanuki.animals.moderation import appeals, audit, cases, decisions
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.decisions import Ruling
from tanuki.animals.moderation.reasons import REASONS
from tanuki.animals.tables import (
    Action,
    Appeal,
    AppealState,
    Case,
    CaseState,
    Decision,
    Member,
    SubjectKind,
)
from tanuki.platform.accounts import Person
from tanuki.platform.web.openapi import Page
from tanuki.platform.web.pages import read_route, write_route

router = APIRouter(tags=["moderation"])
SubjectId = Annotated[int, Field(ge=1, le=pagination.MAX_ID)]
ReasonCode = Annotated[str, Field(json_schema_extra={"enum": list(REASONS)})]


class NewReport(BaseModel):
    """What is wrong with a post, a comment or a member, and why."""

    model_config = ConfigDict(
        extra="forbid",
        **example(subject="post", subject_id=1, reason="not_an_animal", text="A car."),
    )

    subject: SubjectKind
    subject_id: SubjectId
    reason: ReasonCode
    text: str = ""


class ReportReceipt(BaseModel):
    """The case that a report became part of."""

    model_config = example(case_id=5)

    case_id: int


class ReportOut(BaseModel):
    model_config = example(reason="not_an_animal", text="A car.", at=EXAMPLE_MOMENT)

    reason: str
    text: str
    at: datetime


class NewDecision(BaseModel):
    """What to do about a case, and why; the note is for the owner."""

    model_config = ConfigDict(
        extra="forbid", **example(action="remove", reason="not_an_animal", note="車の写真です。")
    )

    action: Action
    reason: ReasonCode
    note: str = ""


class NewSubjectDecision(NewDecision):
    """A decision about something that nobody reported, or that was decided before."""

    model_config = ConfigDict(
        extra="forbid",
        **example(subject="post", subject_id=1, action="restore", reason="other", note=""),
    )

    subject: SubjectKind
    subject_id: SubjectId


class NewAppeal(BaseModel):
    """Why a decision is wrong."""

    model_config = ConfigDict(extra="forbid", **example(text="それは本物の犬です。"))

    text: str


class AppealAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", **example(overturn=True, text="見直しました。"))

    overturn: bool
    text: str


class AppealOut(BaseModel):
    model_config = example(
        id=2,
        decision_id=4,
        text="それは本物の犬です。",
        at=EXAMPLE_MOMENT,
        state="open",
        decided_at=None,
        answer=None,
    )

    id: int
    decision_id: int
    text: str
    at: datetime
    state: AppealState
    decided_at: datetime | None
    answer: str | None


class DecisionOut(BaseModel):
    """A moderator's decision. `decided_by` is for moderators; others see null."""

    model_config = example(
        id=4,
        case_id=5,
        subject="post",
        subject_id=1,
        action="remove",
        reason="not_an_animal",
        note="",
        decided_by=None,
        at=EXAMPLE_MOMENT,
        appeal=None,
    )

    id: int
    case_id: int
    subject: SubjectKind
    subject_id: int
    action: Action
    reason: str
    note: str
    decided_by: str | None
    at: datetime
    appeal: AppealOut | None


class CaseOut(BaseModel):
    """A case in the queue; `weight` is its place there, `reports` their number."""

    model_config = example(
        id=5,
        subject="post",
        subject_id=1,
        member="hana",
        state="open",
        weight=3.0,
        reports=1,
        opened_at=EXAMPLE_MOMENT,
        decided_at=None,
    )

    id: int
    subject: SubjectKind
    subject_id: int
    member: str | None
    state: CaseState
    weight: float
    reports: int
    opened_at: datetime
    decided_at: datetime | None


class CaseDetail(CaseOut):
    """A case with its subject, its reports, the possible actions and earlier decisions."""

    model_config = example(
        **example_of(CaseOut),
        post=example_of(PostOut),
        comment=None,
        report_details=[example_of(ReportOut)],
        possible_actions=["keep", "hold", "remove", "warn", "ban"],
        previous_decisions=[],
    )

    post: PostOut | None
    comment: CommentOut | None
    report_details: list[ReportOut]
    possible_actions: list[Action]
    previous_decisions: list[DecisionOut]


class AuditEntryOut(BaseModel):
    """Who did what to which target. Its digest seals the entry together with the one before."""

    model_config = example(
        id=9,
        at=EXAMPLE_MOMENT,
        actor="mona",
        action="remove",
        target="post:1",
        details={"case": 5, "decision": 4, "reason": "not_an_animal", "note": None},
        digest=EXAMPLE_DIGEST,
    )

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    details: dict[str, Any]
    digest: str


class AuditLogIntegrity(BaseModel):
    """The first entry that was altered or removed; null when the audit log is intact."""

    model_config = example(first_altered_id=None)

    first_altered_id: int | None


# ---- from records --------------------------------------------------------------------------------


def case_out(case: Case, owner: Member | None) -> CaseOut:
    return CaseOut(
        id=case.id,
        subject=case.subject,
        subject_id=case.subject_id,
        member=owner.name if owner is not None else None,
        state=case.state,
        weight=case.weight,
        reports=case.reports,
        opened_at=case.opened_at,
        decided_at=case.decided_at,
    )


def build_case_detail(db: Session, viewer: Person, case: Case) -> CaseDetail:
    subject = cases.load_subject(db, case)
    post, comment, member = subject.post, subject.comment, subject.member
    return CaseDetail(
        **dict(case_out(case, member)),
        post=build_post_out(db, viewer, post) if post is not None else None,
        comment=comment_out(comment, member) if comment is not None and member else None,
        report_details=[
            ReportOut(reason=report.reason, text=report.text, at=report.at)
            for report, _ in cases.list_reports(db, case)
        ],
        possible_actions=[Action(action) for action in decisions.possible_actions(db, case)],
        previous_decisions=[
            decision_out(decision, db.get_one(Case, decision.case_id), None)
            for decision in cases.list_related_decisions(db, case)
        ],
    )


def appeal_out(appeal: Appeal) -> AppealOut:
    return AppealOut(
        id=appeal.id,
        decision_id=appeal.decision_id,
        text=appeal.text,
        at=appeal.at,
        state=appeal.state,
        decided_at=appeal.decided_at,
        answer=appeal.answer,
    )


def decision_out(
    decision: Decision, case: Case, appeal: Appeal | None, *, for_moderators: bool = True
) -> DecisionOut:
    return DecisionOut(
        id=decision.id,
        case_id=decision.case_id,
        subject=case.subject,
        subject_id=case.subject_id,
        action=decision.action,
        reason=decision.reason,
        note=decision.note,
        decided_by=decision.decided_by if for_moderators else None,
        at=decision.at,
        appeal=appeal_out(appeal) if appeal is not None else None,
    )


def load_decision_out(db: Session, person: Person, decision_id: int) -> DecisionOut:
    """A decision as moderators see it."""
    decision, case = decisions.load_decision(db, person, decision_id)
    return decision_out(decision, case, appeals.find_appeal(db, decision_id))


# ---- members: reports, decisions about oneself, appeals ------------------------------------------


@write_route(router, f"{API}/reports", status_code=201)
def report_content(context: MemberWrite, report: NewReport) -> ReportReceipt:
    """Report a post, a comment or a member. Only moderators learn who reported it."""
    return context.commit(
        lambda db: ReportReceipt(
            case_id=cases.report_subject(
                db,
                context.person,
                SubjectRef(report.subject, report.subject_id),
                report.reason,
                report.text,
                now=context.now,
            ).id
        )
    )


@read_route(router, f"{API}/me/decisions")
def list_decisions_about_me(context: Read, page: PageRequest) -> Page[DecisionOut]:
    """Moderators' decisions about oneself, one's posts and comments, with one's appeals."""
    listed = decisions.list_own_decisions(
        context.db, context.person, after=page.after, limit=page.limit
    )
    by_decision = appeals.find_appeals(context.db, [item.decision.id for item in listed.items])
    return page_out(
        listed,
        lambda item: decision_out(
            item.decision, item.case, by_decision.get(item.decision.id), for_moderators=False
        ),
    )


@write_route(router, f"{API}/decisions/{{decision_id}}/appeal", status_code=201)
def appeal_decision(context: MemberWrite, decision_id: RecordId, appeal: NewAppeal) -> AppealOut:
    """Appeal against a decision about oneself, once; another moderator answers.

    Banned members may appeal, too.
    """
    return context.commit(
        lambda db: appeal_out(
            appeals.submit_appeal(db, context.person, decision_id, appeal.text, now=context.now)
        )
    )


# ---- moderators ----------------------------------------------------------------------------------


@read_route(router, f"{API}/moderation/cases")
def list_cases(context: Read, page: PageRequest) -> Page[CaseOut]:
    """Open cases, the most urgent first."""
    listed = cases.list_open_cases(context.db, context.person, after=page.after, limit=page.limit)
    owners = cases.load_case_members(context.db, listed.items)
    return page_out(listed, lambda case: case_out(case, owners.get(case.member_id or 0)))


@read_route(router, f"{API}/moderation/cases/{{case_id}}")
def get_case(context: Read, case_id: RecordId) -> CaseDetail:
    db, person = context.db, context.person
    return build_case_detail(db, person, cases.load_case(db, person, case_id))


@write_route(router, f"{API}/moderation/cases/{{case_id}}/decision", status_code=201)
def decide_case(context: Write, case_id: RecordId, sent: NewDecision) -> DecisionOut:
    """Decide a case, once."""
    person = context.person

    def decide(db: Session) -> DecisionOut:
        decision = decisions.decide_case(
            db, person, case_id, Ruling(sent.action, sent.reason, sent.note), now=context.now
        )
        return load_decision_out(db, person, decision.id)

    return context.commit(decide)


@write_route(router, f"{API}/moderation/decisions", status_code=201)
def decide_subject(context: Write, sent: NewSubjectDecision) -> DecisionOut:
    """Decide about something that nobody reported, or decide again."""
    person = context.person

    def decide(db: Session) -> DecisionOut:
        decision = decisions.decide_subject(
            db,
            person,
            SubjectRef(sent.subject, sent.subject_id),
            Ruling(sent.action, sent.reason, sent.note),
            now=context.now,
        )
        return load_decision_out(db, person, decision.id)

    return context.commit(decide)


@read_route(router, f"{API}/moderation/decisions")
def list_all_decisions(context: Read, page: PageRequest) -> Page[DecisionOut]:
    """The decisions of all moderators, newest first."""
    listed = decisions.list_decisions(
        context.db, context.person, after=page.after, limit=page.limit
    )
    return page_out(listed, lambda item: decision_out(item.decision, item.case, None))


@read_route(router, f"{API}/moderation/appeals")
def list_appeals(context: Read, page: PageRequest) -> Page[DecisionOut]:
    """Decisions with open appeals that this moderator may answer, the oldest first."""
    listed = appeals.list_open_appeals(
        context.db, context.person, after=page.after, limit=page.limit
    )
    return page_out(listed, lambda item: decision_out(item.decision, item.case, item.appeal))


@write_route(router, f"{API}/moderation/appeals/{{appeal_id}}/answer", status_code=201)
def answer_appeal(context: Write, appeal_id: RecordId, answer: AppealAnswer) -> AppealOut:
    """Uphold or overturn another moderator's decision."""
    return context.commit(
        lambda db: appeal_out(
            appeals.answer_appeal(
                db,
                context.person,
                appeal_id,
                overturn=answer.overturn,
                text=answer.text,
                now=context.now,
            )
        )
    )


@read_route(router, f"{API}/moderation/audit-log")
def list_audit_entries(
    context: Read,
    target: Annotated[str | None, Query(max_length=80)] = None,
    before: Annotated[int | None, Query(ge=1, le=pagination.MAX_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=pagination.MAX_PAGE_SIZE)] = 50,
) -> list[AuditEntryOut]:
    """Entries of the audit log, newest first; about one target (`post:1`) or all."""
    entries = audit.list_audit_entries(
        context.db, context.person, target=target, before=before, limit=limit
    )
    return [
        AuditEntryOut(
            id=entry.id,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            target=entry.target,
            details=entry.details,
            digest=entry.digest,
        )
        for entry in entries
    ]


@read_route(router, f"{API}/moderation/audit-log/integrity")
def check_audit_log(context: Read) -> AuditLogIntegrity:
    """Whether anything in the audit log was altered."""
    return AuditLogIntegrity(first_altered_id=audit.find_altered_entry(context.db, context.person))
