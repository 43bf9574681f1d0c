"""What a member should know, in words of their language."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals import notifications
from tanuki.animals.http.deps import Acting, now
from tanuki.animals.notifications import Told
from tanuki.animals.tables import Comment, Member, Photo
from tanuki.animals.web.layout import LIMIT, form, onward, show
from tanuki.i18n import msgid
from tanuki.platform.web.pages import Db, Lang, Res, Who, site_of, url

router = APIRouter()
SAID = {  # kind: what is said of it, with whose it is or who did it
    "like": msgid("%(name)s likes your photo"),
    "follow": msgid("%(name)s follows you"),
    "comment": msgid("%(name)s commented on your photo"),
    "published": msgid("Your photo is published"),
    "held": msgid("Your photo is held"),
    "removed": msgid("A moderator removed something of yours"),
    "restored": msgid("A moderator restored something of yours"),
    "warned": msgid("A moderator warned you"),
    "banned": msgid("Moderators banned you"),
    "unbanned": msgid("Moderators lifted your ban"),
    "appeal": msgid("Your appeal was answered"),
}
SIGNS = {  # kind: tone and icon, where nobody's face is shown
    "published": ("ok", "check"),
    "held": ("warn", "shield"),
    "removed": ("bad", "shield"),
    "restored": ("ok", "check"),
    "warned": ("warn", "shield"),
    "banned": ("bad", "block"),
    "unbanned": ("ok", "check"),
    "appeal": ("", "flag"),
}


@dataclass(frozen=True)
class Note:
    """A notification as the page shows it."""

    text: str
    to: str
    at: datetime
    fresh: bool
    actor: Member | None
    tone: str
    icon: str
    quote: str
    photo: Photo | None


@router.get("/animals/notifications", include_in_schema=False, response_class=HTMLResponse)
def notes_page(
    request: Request, db: Db, who: Who, lang: Lang, after: str | None = None
) -> Response:
    """What they were told, newest first."""
    page = notifications.list_(db, who, after=after, limit=LIMIT)
    return show(
        request,
        db,
        "notifications.html",
        on="news",
        notes=noted(request, db, lang, page.items),
        next=page.next and url("/animals/notifications", after=page.next),
    )


def noted(request: Request, db: Session, lang: str, told: list[Told]) -> list[Note]:
    """Notifications in words, with what they are about."""
    texts = site_of(request).texts
    comments = {
        int(each.notification.about.split(":")[1])
        for each in told
        if each.notification.kind == "comment"
    }
    said = (
        {
            comment.id: comment
            for comment in db.scalars(select(Comment).where(Comment.id.in_(comments)))
        }
        if comments
        else {}
    )
    digests = {each.post.photo for each in told if each.post is not None}
    photos = (
        {
            photo.digest: photo
            for photo in db.scalars(select(Photo).where(Photo.digest.in_(digests)))
        }
        if digests
        else {}
    )
    made = []
    for note, actor, post in told:
        tone, icon = SIGNS.get(note.kind, ("", "bell"))
        remark = said.get(int(note.about.split(":")[1])) if note.kind == "comment" else None
        words = {"name": actor.display} if actor is not None else {}
        made.append(
            Note(
                text=texts.fill(lang, SAID.get(note.kind, note.kind), words),
                to=where(note.kind, actor, post.id if post is not None else None, remark),
                at=note.at,
                fresh=note.seen_at is None,
                actor=actor,
                tone=tone,
                icon=icon,
                quote=remark.words
                if remark is not None and remark.state == "shown"
                else post.title
                if post is not None
                else "",
                photo=photos.get(post.photo) if post is not None else None,
            )
        )
    return made


def where(kind: str, actor: Member | None, post_id: int | None, remark: Comment | None) -> str:
    """The page on which they see more about it."""
    if post_id is not None:
        return f"/animals/posts/{post_id}{f'#comment-{remark.id}' if remark is not None else ''}"
    if kind == "follow" and actor is not None:
        return f"/animals/members/{actor.name}"
    return "/animals/decisions"


@form(router, "/animals/notifications/seen")
def seen(request: Request, res: Res, who: Acting) -> Response:
    """All of them are seen."""
    res.db.together(lambda db: notifications.seen(db, who, now=now()))
    return onward(request, "/animals/notifications")
