"""Members' pages: the profile, following, whom one blocks and mutes, one's own profile."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from tanuki.animals import engagement, members, posts
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import PICTURE_BYTES, Acting, now
from tanuki.animals.images import photo_files
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Follow, Member, Shut
from tanuki.animals.web.layout import (
    CARD,
    LIMIT,
    Text,
    form,
    me_of,
    onward,
    sentence,
    show,
    toggled,
)
from tanuki.animals.web.reasons import reason_words
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.accounts import Person
from tanuki.platform.web.pages import Db, Lang, Res, Viewer, Who, WriteDb, safe_path, site_of, url

router = APIRouter()


# ---- joining -------------------------------------------------------------------------------------------------------


@router.get("/animals/me", include_in_schema=False)
def me(request: Request, db: Db, who: Who) -> Response:
    """On to one's own profile, or to making one."""
    mine = me_of(db, who)
    return RedirectResponse(
        "/animals/join" if mine is None else f"/animals/members/{mine.name}", 303
    )


@router.get("/animals/join", include_in_schema=False, response_class=HTMLResponse)
def join_page(request: Request, db: Db, who: Who, next: str = "/animals/me") -> Response:
    """For somebody who has an account and is not a member yet."""
    if me_of(db, who) is not None:
        return RedirectResponse(safe_path(next), 303)
    return show(request, db, "join.html", on="me", next=safe_path(next))


@form(router, "/animals/join")
def join(request: Request, res: Res, who: Who, next: Text = "/animals/me") -> Response:
    """Become a member."""
    with res.db.write() as db:
        members.join(db, who, now=now())
    return onward(request, next, msgid("Welcome! This is your profile."))


def join_now(db: Session, person: Person) -> None:
    """Who signs up is a member at once."""
    members.join(db, person, now=now())


# ---- profiles ------------------------------------------------------------------------------------------------------


@router.get("/animals/members/{name}", include_in_schema=False, response_class=HTMLResponse)
def member_page(
    request: Request, db: Db, viewer: Viewer, name: str, after: str | None = None
) -> Response:
    """A member and their photos; their own page also has those that nobody else sees."""
    member = members.profile(db, viewer, name)
    page = posts.of_member(db, viewer, name, after=after, limit=LIMIT)
    mine = viewer is not None and viewer.name == member.name
    cards = posts.cards(db, viewer, page.items)
    request_id, places = impressions.in_order(
        request, db, viewer, "member", [] if mine else [card.post.id for card in cards]
    )
    return show(
        request,
        db,
        "member.html",
        on="me" if mine else "",
        member=member,
        shut_kind=None if viewer is None or mine else shut_kind(db, viewer, member),
        followed=follows(db, viewer, member),
        after=after,
        cards=cards,
        places=places,
        request_id=request_id,
        next=page.next and url(f"/animals/members/{member.name}", after=page.next),
        sizes=CARD,
        reason_words=reason_words(request),
    )


def follows(db: Session, viewer: Person | None, member: Member) -> bool:
    """Whether the viewer follows a member."""
    me = me_of(db, viewer)
    return me is not None and db.get(Follow, (me.id, member.id)) is not None


def shut_kind(db: Session, viewer: Person, member: Member) -> str | None:
    """Whether the viewer mutes or blocks a member."""
    me = me_of(db, viewer)
    found = db.get(Shut, (me.id, member.id)) if me is not None else None
    return found.kind if found is not None else None


@router.get(
    "/animals/members/{name}/followers", include_in_schema=False, response_class=HTMLResponse
)
def followers(
    request: Request, db: Db, viewer: Viewer, lang: Lang, name: str, after: str | None = None
) -> Response:
    """Who follows a member."""
    page = engagement.followers(db, viewer, name, after=after, limit=LIMIT)
    return people(
        request,
        db,
        viewer,
        name,
        page,
        "followers",
        site_of(request).texts.text(lang, msgid("Followers")),
    )


@router.get(
    "/animals/members/{name}/following", include_in_schema=False, response_class=HTMLResponse
)
def following(
    request: Request, db: Db, viewer: Viewer, lang: Lang, name: str, after: str | None = None
) -> Response:
    """Whom a member follows."""
    page = engagement.following(db, viewer, name, after=after, limit=LIMIT)
    return people(
        request,
        db,
        viewer,
        name,
        page,
        "following",
        site_of(request).texts.text(lang, msgid("Following")),
    )


def people(
    request: Request, db: Db, viewer: Viewer, name: str, page: Page[Member], which: str, title: str
) -> Response:
    """A list of members around one."""
    member = members.profile(db, viewer, name)
    more = page.next and url(f"/animals/members/{member.name}/{which}", after=page.next)
    return show(
        request, db, "people.html", member=member, people=page.items, next=more, title=title
    )


@form(router, "/animals/members/{name}/follow")
def follow(request: Request, res: Res, who: Acting, name: str, next: Text = "") -> Response:
    """Want to see a member's photos."""
    res.db.together(lambda db: engagement.follow(db, who, name, now=now()))
    path = f"/animals/members/{name}"
    return toggled(request, next or path, on=True, again=f"{path}/unfollow")


@form(router, "/animals/members/{name}/unfollow")
def unfollow(request: Request, res: Res, who: Acting, name: str, next: Text = "") -> Response:
    """Follow a member no longer."""
    res.db.together(lambda db: engagement.unfollow(db, who, name, now=now()))
    path = f"/animals/members/{name}"
    return toggled(request, next or path, on=False, again=f"{path}/follow")


# ---- blocking and muting -------------------------------------------------------------------------------------------


@router.get("/animals/shut", include_in_schema=False, response_class=HTMLResponse)
def shut_page(request: Request, db: Db, who: Who) -> Response:
    """Whom one blocks and mutes."""
    return show(request, db, "shut.html", shut=members.shut_list(db, who))


@form(router, "/animals/members/{name}/mute")
def mute(request: Request, db: WriteDb, who: Acting, name: str) -> Response:
    """See nothing of a member any more."""
    members.shut(db, who, name, "mute", now=now())
    return onward(
        request, "/animals/shut", msgid("You see nothing of %(name)s any more."), name=name
    )


@form(router, "/animals/members/{name}/block")
def block(request: Request, db: WriteDb, who: Acting, name: str) -> Response:
    """See nothing of a member, nor be seen by them."""
    members.shut(db, who, name, "block", now=now())
    return onward(
        request,
        "/animals/shut",
        msgid("You and %(name)s do not see each other any more."),
        name=name,
    )


@form(router, "/animals/members/{name}/unshut")
def unshut(request: Request, db: WriteDb, who: Acting, name: str) -> Response:
    """Neither mute nor block a member any more."""
    members.unshut(db, who, name)
    return onward(request, "/animals/shut", msgid("You can see %(name)s again."), name=name)


# ---- one's own profile ---------------------------------------------------------------------------------------------


@router.get("/animals/settings", include_in_schema=False, response_class=HTMLResponse)
def settings_page(request: Request, db: Db, who: Who) -> Response:
    """One's own profile, to change."""
    me = members.of(db, who)
    return settings_form(request, db, me.display, me.about, me.events)


def settings_form(
    request: Request,
    db: Session,
    display: str,
    about: str,
    events: bool,
    wrong: UserError | None = None,
) -> Response:
    """The form for one's profile, as it is or as it was sent, with what is wrong."""
    filled = {"display": display, "about": about, "events": events}
    return show(
        request,
        db,
        "settings.html",
        status=wrong.status if wrong else 200,
        on="me",
        filled=filled,
        wrong=sentence(request, wrong),
    )


@form(router, "/animals/settings", max_bytes=PICTURE_BYTES)
def settings(
    request: Request,
    res: Res,
    who: Acting,
    display: Text,
    about: Text = "",
    events: Annotated[bool, Form()] = False,
    no_photo: Annotated[bool, Form()] = False,
    photo: UploadFile | None = None,
) -> Response:
    """Change one's profile; the picture stays unless another is sent, or none is wanted."""
    try:
        accepted = (
            photo_files.accept(photo.file.read()) if photo is not None and photo.size else None
        )
        if accepted is not None:
            photo_files.store(res.objects, accepted)
        with res.db.write() as db:
            kept = (
                None if accepted is None else photo_files.keep(db, res.objects, accepted, now=now())
            )
            picture = kept if kept is not None else None if no_photo else ...
            members.change(
                db, who, display=display, about=about, events=events, photo=picture, now=now()
            )
    except UserError as error:
        if error.status != 400:
            raise
        with res.db.read() as db:
            return settings_form(request, db, display, about, events, error)
    return onward(request, "/animals/me", msgid("Your profile is changed."))
