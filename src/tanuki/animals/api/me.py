"""Oneself, for programs: profile, whom one blocks and mutes, notifications, decisions and appeals, one's data, leaving."""

from typing import Annotated, Literal

from fastapi import APIRouter, File, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import account_deletion, data_export, members, notifications
from tanuki.animals.api import schemas
from tanuki.animals.api.schemas import (
    AppealOut,
    DecisionOut,
    MeOut,
    NotificationOut,
    ShutOut,
    example,
)
from tanuki.animals.http.deps import (
    PICTURE_BYTES,
    Acting,
    After,
    Id,
    Limit,
    Name,
    now,
    reads,
    write,
    writes,
)
from tanuki.animals.images import photo_files
from tanuki.animals.moderation import appeals, decisions
from tanuki.platform.accounts import Person
from tanuki.platform.web.admin.people import PasswordAsked
from tanuki.platform.web.pages import Db, Res, Who
from tanuki.platform.web.rest import Page

router = APIRouter(tags=["me"])


class Change(BaseModel):
    """What to change of one's profile; what is not given stays."""

    model_config = ConfigDict(
        extra="forbid", **example(display="花", about="柴犬と暮らしています。", events=False)
    )

    display: str | None = None
    about: str | None = None
    events: bool | None = None


class Shutting(BaseModel):
    """How one does not want to see somebody."""

    model_config = ConfigDict(extra="forbid", **example(kind="mute"))

    kind: Literal["mute", "block"]


class Words(BaseModel):
    """Why a decision is wrong."""

    model_config = ConfigDict(extra="forbid", **example(words="それは本物の犬です。"))

    words: str


class Goodbye(BaseModel):
    """What leaving needs."""

    model_config = ConfigDict(extra="forbid", **example(password="correct horse"))  # noqa: S106 an example

    password: Annotated[str, Field(max_length=1_000)]


def me_out(db: Session, who: Person) -> MeOut:
    """Oneself."""
    me = members.of(db, who)
    return MeOut(
        **schemas.public(me),
        events=me.events,
        banned_at=me.banned_at,
        unseen=notifications.unseen(db, who),
    )


@reads(router, "/me")
def me(db: Db, who: Who) -> MeOut:
    """Oneself."""
    return me_out(db, who)


@writes(router, "PATCH", "/me")
def change(request: Request, response: Response, res: Res, who: Acting, given: Change) -> MeOut:
    """Change one's profile."""

    def do(db: Session) -> MeOut:
        members.change(
            db, who, now=now(), display=given.display, about=given.about, events=given.events
        )
        return me_out(db, who)

    return write(request, response, res, do)


@writes(router, "PUT", "/me/picture", max_bytes=PICTURE_BYTES)
def show_picture(
    request: Request,
    response: Response,
    res: Res,
    who: Acting,
    photo: Annotated[UploadFile, File(description="A JPEG, PNG, WebP or HEIC picture.")],
) -> MeOut:
    """Give one's profile a picture, in place of the one before."""
    accepted = photo_files.accept(photo.file.read())
    photo_files.store(res.objects, accepted)

    def do(db: Session) -> MeOut:
        members.change(
            db, who, now=now(), photo=photo_files.keep(db, res.objects, accepted, now=now())
        )
        return me_out(db, who)

    return write(request, response, res, do)


@writes(router, "DELETE", "/me/picture")
def no_picture(request: Request, response: Response, res: Res, who: Acting) -> MeOut:
    """Take the picture off one's profile."""

    def do(db: Session) -> MeOut:
        members.change(db, who, now=now(), photo=None)
        return me_out(db, who)

    return write(request, response, res, do)


# ---- whom one does not want to see ---------------------------------------------------------------------------------


@reads(router, "/me/shut")
def shut_list(db: Db, who: Who) -> list[ShutOut]:
    """Whom one blocks and mutes, newest first."""
    return [
        ShutOut(name=other.name, kind="block" if each.kind == "block" else "mute", at=each.at)
        for each, other in members.shut_list(db, who)
    ]


@writes(router, "PUT", "/me/shut/{name}", status_code=204)
def shut(
    request: Request, response: Response, res: Res, who: Acting, name: Name, how: Shutting
) -> None:
    """Block or mute somebody."""
    write(request, response, res, lambda db: members.shut(db, who, name, how.kind, now=now()))


@writes(router, "DELETE", "/me/shut/{name}", status_code=204)
def unshut(request: Request, response: Response, res: Res, who: Acting, name: Name) -> None:
    """Neither block nor mute somebody any more."""
    write(request, response, res, lambda db: members.unshut(db, who, name))


# ---- notifications -------------------------------------------------------------------------------------------------


@reads(router, "/me/notifications")
def told(db: Db, who: Who, after: After = None, limit: Limit = 24) -> Page[NotificationOut]:
    """What one should know, newest first."""
    return schemas.items(
        notifications.list_(db, who, after=after, limit=limit), schemas.notification
    )


@writes(router, "POST", "/me/notifications/seen", status_code=204)
def seen(request: Request, response: Response, res: Res, who: Acting) -> None:
    """One has seen all of them."""
    write(request, response, res, lambda db: notifications.seen(db, who, now=now()))


# ---- decisions and appeals -----------------------------------------------------------------------------------------


@reads(router, "/me/decisions")
def decided(db: Db, who: Who, after: After = None, limit: Limit = 24) -> Page[DecisionOut]:
    """What moderators decided about oneself and what is one's own, with the appeals against it."""
    page = decisions.mine(db, who, after=after, limit=limit)
    against = appeals.of_decisions(db, [item.decision.id for item in page.items])
    return schemas.items(
        page,
        lambda each: schemas.decision(
            each.decision, each.case, against.get(each.decision.id), by=False
        ),
    )


@writes(router, "POST", "/decisions/{decision_id}/appeal", status_code=201)
def appeal(
    request: Request, response: Response, res: Res, who: Acting, decision_id: Id, given: Words
) -> AppealOut:
    """Say why a decision about oneself is wrong, once; another moderator answers. Who is banned may, too."""
    return write(
        request,
        response,
        res,
        lambda db: schemas.appeal(appeals.appeal(db, who, decision_id, given.words, now=now())),
    )


# ---- one's data ----------------------------------------------------------------------------------------------------


@reads(
    router,
    "/me/archive",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {}}}},
)
def take_along(res: Res, who: Who) -> Response:
    """One's data as a zip: profile, posts with pictures, comments, likes, follows, notifications, decisions."""
    headers = {
        "Content-Disposition": 'attachment; filename="ai-animals.zip"',
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(
        data_export.streamed(res.db, res.objects, who, now=now()),
        media_type="application/zip",
        headers=headers,
    )


@writes(router, "DELETE", "/me", status_code=204)
def leave_for_good(
    request: Request,
    response: Response,
    res: Res,
    who: Who,
    given: Goodbye,
    _: Annotated[None, PasswordAsked],
) -> None:
    """Leave for good, with the password: nobody sees anything of it from now on, and all of it is taken away."""
    with res.db.write() as db:
        account_deletion.leave(db, res.work, who, given.password, now=now())
