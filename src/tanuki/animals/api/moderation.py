"""Reports for everybody, and the desk for moderators' programs; a token needs the scope `moderate` for the desk."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import pagination
from tanuki.animals.api import schemas
from tanuki.animals.api.schemas import AppealOut, CaseOut, CaseWhole, DecisionOut, example
from tanuki.animals.http.deps import Acting, After, Id, Limit, now, reads, write, writes
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.moderation.reasons import ACTIONS, REASONS
from tanuki.platform import audit_log
from tanuki.platform.accounts import require
from tanuki.platform.web.pages import Db, Res, Who
from tanuki.platform.web.rest import Page

router = APIRouter(tags=["moderation"])
Action = Literal["keep", "hold", "remove", "restore", "warn", "ban", "unban"]
ReasonCode = Literal[
    "cruelty",
    "blood",
    "nudity",
    "harassment",
    "personal_data",
    "stolen",
    "spam",
    "not_an_animal",
    "other",
]


class Reporting(BaseModel):
    """What is not right, and why."""

    model_config = ConfigDict(
        extra="forbid",
        **example(subject="post", subject_id=1, reason="not_an_animal", words="A car."),
    )

    subject: Literal["post", "comment", "member"]
    subject_id: Annotated[int, Field(ge=1, le=pagination.LARGEST)]
    reason: ReasonCode
    words: str = ""


class Reported(BaseModel):
    """A report was taken in."""

    model_config = example(case_id=5)

    case_id: int


class Deciding(BaseModel):
    """What to do about a case, and why; the note is for the owner."""

    model_config = ConfigDict(
        extra="forbid", **example(action="remove", reason="not_an_animal", note="車の写真です。")
    )

    action: Action
    reason: ReasonCode
    note: str = ""


class Acted(Deciding):
    """The same about something that nobody reported."""

    model_config = ConfigDict(
        extra="forbid",
        **example(subject="post", subject_id=1, action="restore", reason="other", note=""),
    )

    subject: Literal["post", "comment", "member"]
    subject_id: Annotated[int, Field(ge=1, le=pagination.LARGEST)]


class Answer(BaseModel):
    """The answer to an appeal."""

    model_config = ConfigDict(extra="forbid", **example(overturn=True, words="見直しました。"))

    overturn: bool
    words: str


class EntryOut(BaseModel):
    """An entry of the trail: who did what about which thing; sealed by its digest with the one before."""

    model_config = example(
        id=9,
        at=schemas.WHEN,
        by="mona",
        what="remove",
        about="post:1",
        values={"case": 5, "decision": 4, "reason": "not_an_animal", "note": None},
        digest=schemas.DIGEST,
    )

    id: int
    at: datetime
    by: str
    what: str
    about: str
    values: dict[str, Any]
    digest: str


class Checked(BaseModel):
    """Whether every entry of the trail fits the one before; `broken` is the first that does not."""

    model_config = example(broken=None)

    broken: int | None


@writes(router, "POST", "/reports", status_code=201)
def report(
    request: Request, response: Response, res: Res, who: Acting, given: Reporting
) -> Reported:
    """Say that something is not right. Who reported is not told to anybody but moderators."""

    def do(db: Session) -> Reported:
        return Reported(
            case_id=cases.report(
                db, who, given.subject, given.subject_id, given.reason, given.words, now=now()
            ).id
        )

    return write(request, response, res, do)


# ---- the desk ------------------------------------------------------------------------------------------------------


@reads(router, "/moderation/cases")
def queue(db: Db, who: Who, after: After = None, limit: Limit = 24) -> Page[CaseOut]:
    """Open cases, the most urgent first."""
    page = cases.queue(db, who, after=after, limit=limit)
    owners = cases.owners(db, page.items)
    return schemas.items(page, lambda each: schemas.case(each, owners.get(each.member_id or 0)))


@reads(router, "/moderation/cases/{case_id}")
def case(db: Db, who: Who, case_id: Id) -> CaseWhole:
    """A case with what it is about."""
    found = cases.case(db, who, case_id)
    reported = [each.report for each in cases.reports(db, found)]
    return schemas.whole_case(
        db,
        who,
        found,
        cases.subject_of(db, found),
        reported,
        decisions.possible(db, found),
        cases.decided_before(db, found),
    )


@writes(router, "POST", "/moderation/cases/{case_id}/decision", status_code=201)
def decide(
    request: Request, response: Response, res: Res, who: Who, case_id: Id, given: Deciding
) -> DecisionOut:
    """Decide about a case; a decided one is not decided again."""

    def do(db: Session) -> DecisionOut:
        return out(
            db,
            decisions.decide(
                db, who, case_id, given.action, given.reason, given.note, now=now()
            ).id,
            who,
        )

    return write(request, response, res, do)


@writes(router, "POST", "/moderation/decisions", status_code=201)
def act(request: Request, response: Response, res: Res, who: Who, given: Acted) -> DecisionOut:
    """Decide about something that nobody reported, or anew."""

    def do(db: Session) -> DecisionOut:
        made = decisions.act(
            db,
            who,
            given.subject,
            given.subject_id,
            given.action,
            given.reason,
            given.note,
            now=now(),
        )
        return out(db, made.id, who)

    return write(request, response, res, do)


def out(db: Session, decision_id: int, who: Who) -> DecisionOut:
    """A decision as moderators see it."""
    found = decisions.decision(db, who, decision_id)
    return schemas.decision(
        found.decision, found.case, appeals.of_decision(db, decision_id), by=True
    )


@reads(router, "/moderation/decisions")
def latest(db: Db, who: Who, after: After = None, limit: Limit = 24) -> Page[DecisionOut]:
    """What was decided, newest first."""
    return schemas.items(
        decisions.latest(db, who, after=after, limit=limit),
        lambda each: schemas.decision(each.decision, each.case, None, by=True),
    )


@reads(router, "/moderation/appeals")
def asked(db: Db, who: Who, after: After = None, limit: Limit = 24) -> Page[DecisionOut]:
    """Decisions appealed against that this moderator may answer, the oldest first."""
    return schemas.items(appeals.queue(db, who, after=after, limit=limit), schemas.asked)


@writes(router, "POST", "/moderation/appeals/{appeal_id}/answer", status_code=201)
def answer(
    request: Request, response: Response, res: Res, who: Who, appeal_id: Id, given: Answer
) -> AppealOut:
    """Uphold a decision, or overturn it; not one's own."""

    def do(db: Session) -> AppealOut:
        return schemas.appeal(
            appeals.answer(
                db, who, appeal_id, overturn=given.overturn, words=given.words, now=now()
            )
        )

    return write(request, response, res, do)


@reads(router, "/moderation/trail")
def entries(
    db: Db,
    who: Who,
    about: Annotated[str | None, Query(max_length=80)] = None,
    before: Annotated[int | None, Query(ge=1, le=pagination.LARGEST)] = None,
    limit: Limit = 50,
) -> list[EntryOut]:
    """What was done, newest first; about one thing (`post:1`) or all."""
    require(who, "moderator")
    return [
        EntryOut(**{name: getattr(entry, name) for name in EntryOut.model_fields})
        for entry in audit_log.entries(db, about, before, limit)
    ]


@reads(router, "/moderation/trail/check")
def check(db: Db, who: Who) -> Checked:
    """Whether anything in the trail was changed."""
    require(who, "moderator")
    return Checked(broken=audit_log.check(db))


assert set(Action.__args__) == set(ACTIONS)  # type: ignore[attr-defined]
assert set(ReasonCode.__args__) == set(REASONS)  # type: ignore[attr-defined]
