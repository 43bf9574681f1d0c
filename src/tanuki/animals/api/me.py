"""One's own account for programs: profile, blocks, notifications, decisions, data, deletion."""

from typing import Annotated

from fastapi import APIRouter, File, UploadFile
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import account_deletion, data_export, members, notifications
from tanuki.animals.api.schemas import (
    API,
    BlockOut,
    MeOut,
    NotificationOut,
    example,
    notification_out,
    page_out,
    public_values,
)
from tanuki.animals.http.deps import (
    PHOTO_FORM_BYTES,
    MemberName,
    MemberWrite,
    PageRequest,
    Read,
    Write,
    now,
)
from tanuki.animals.images import photo_files
from tanuki.animals.members import ProfileChange
from tanuki.animals.tables import BlockKind
from tanuki.platform.accounts import Person
from tanuki.platform.web.auth import PasswordCheck
from tanuki.platform.web.openapi import Page
from tanuki.platform.web.pages import read_route, write_route

router = APIRouter(tags=["me"])


class ProfileUpdate(BaseModel):
    """The fields of one's profile to change; fields that are left out stay."""

    model_config = ConfigDict(
        extra="forbid", **example(display="花", about="柴犬と暮らしています。", events=False)
    )

    display: str | None = None
    about: str | None = None
    events: bool | None = None


class NewBlock(BaseModel):
    """A block hides two members from each other, a mute hides one from the other."""

    model_config = ConfigDict(extra="forbid", **example(kind="mute"))

    kind: BlockKind


class AccountDeletion(BaseModel):
    """The password that confirms the deletion."""

    model_config = ConfigDict(extra="forbid", **example(password="correct horse"))  # noqa: S106 an example

    password: Annotated[str, Field(max_length=1_000)]


def load_me(db: Session, person: Person) -> MeOut:
    me = members.require_member(db, person)
    return MeOut(
        **public_values(me),
        events=me.events,
        banned_at=me.banned_at,
        unseen=notifications.count_unseen(db, person),
    )


@read_route(router, f"{API}/me")
def get_me(context: Read) -> MeOut:
    return load_me(context.db, context.person)


@write_route(router, f"{API}/me", method="PATCH")
def update_me(context: MemberWrite, change: ProfileUpdate) -> MeOut:
    person = context.person

    def update(db: Session) -> MeOut:
        members.update_profile(
            db,
            person,
            ProfileChange(change.display, change.about, events=change.events),
            now=context.now,
        )
        return load_me(db, person)

    return context.commit(update)


@write_route(router, f"{API}/me/picture", method="PUT", max_bytes=PHOTO_FORM_BYTES)
def set_picture(
    context: MemberWrite,
    photo: Annotated[UploadFile, File(description="A JPEG, PNG, WebP or HEIC picture.")],
) -> MeOut:
    """Set the picture of one's profile."""
    accepted = photo_files.clean_upload(context.res, photo.file.read())
    objects, person = context.res.objects, context.person
    photo_files.store_files(objects, accepted)

    def update(db: Session) -> MeOut:
        picture = photo_files.save_photo(db, objects, accepted, now=context.now)
        members.update_profile(db, person, ProfileChange(photo=picture), now=context.now)
        return load_me(db, person)

    return context.commit(update)


@write_route(router, f"{API}/me/picture", method="DELETE")
def remove_picture(context: MemberWrite) -> MeOut:
    """Remove the picture of one's profile."""
    person = context.person

    def update(db: Session) -> MeOut:
        members.update_profile(db, person, ProfileChange(photo=None), now=context.now)
        return load_me(db, person)

    return context.commit(update)


# ---- blocks and mutes ----------------------------------------------------------------------------


@read_route(router, f"{API}/me/blocks")
def list_blocks(context: Read) -> list[BlockOut]:
    """The members whom one blocks and mutes, newest first."""
    return [
        BlockOut(name=member.name, kind=block.kind, at=block.at)
        for block, member in members.list_blocks(context.db, context.person)
    ]


@write_route(router, f"{API}/me/blocks/{{name}}", method="PUT", status_code=204)
def block_member(context: MemberWrite, name: MemberName, block: NewBlock) -> None:
    """Block or mute a member."""
    context.commit(
        lambda db: members.block_member(db, context.person, name, block.kind, now=context.now)
    )


@write_route(router, f"{API}/me/blocks/{{name}}", method="DELETE", status_code=204)
def unblock_member(context: MemberWrite, name: MemberName) -> None:
    """End a block or a mute."""
    context.commit(lambda db: members.unblock_member(db, context.person, name))


# ---- notifications -------------------------------------------------------------------------------


@read_route(router, f"{API}/me/notifications")
def list_notifications(context: Read, page: PageRequest) -> Page[NotificationOut]:
    """One's notifications, newest first."""
    listed = notifications.list_notifications(
        context.db, context.person, after=page.after, limit=page.limit
    )
    return page_out(listed, notification_out)


@write_route(router, f"{API}/me/notifications/read", status_code=204)
def mark_notifications_read(context: MemberWrite) -> None:
    """Mark all notifications as read."""
    context.commit(lambda db: notifications.mark_all_seen(db, context.person, now=context.now))


# ---- one's data ----------------------------------------------------------------------------------


@read_route(
    router,
    f"{API}/me/export",
    response_class=StreamingResponse,
    response_model=None,
    responses={200: {"content": {"application/zip": {}}}},
)
def export_my_data(context: Read) -> Response:
    """One's data as a ZIP file: profile, posts with photos, comments, likes, follows, decisions."""
    headers = {
        "Content-Disposition": 'attachment; filename="ai-animals.zip"',
        "Cache-Control": "private, no-store",
    }
    res = context.res
    return StreamingResponse(
        data_export.stream_own_archive(res.db, res.objects, context.person, now=now()),
        media_type="application/zip",
        headers=headers,
    )


@write_route(router, f"{API}/me", method="DELETE", status_code=204, dependencies=[PasswordCheck])
def delete_my_account(context: Write, deletion: AccountDeletion) -> None:
    """Delete one's account for good, with the password. Nobody sees it from now on."""
    with context.res.db.write() as db:
        account_deletion.delete_account(
            db, context.res.jobs, context.person, deletion.password, now=context.now
        )
