"""A member's notifications, in the reader's language."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals import notifications
from tanuki.animals.http.deps import MemberWrite, Read
from tanuki.animals.notifications import NotificationEntry
from tanuki.animals.tables import Comment, CommentState, Member, NotificationKind, Photo
from tanuki.animals.web.layout import POSTS_PER_PAGE, go_to, render_site_page
from tanuki.i18n import Translate, msgid
from tanuki.platform.web.pages import read_route, write_route
from tanuki.platform.web.site import build_url

router = APIRouter()
MESSAGES = {
    NotificationKind.LIKE: msgid("%(name)s likes your photo"),
    NotificationKind.FOLLOW: msgid("%(name)s follows you"),
    NotificationKind.COMMENT: msgid("%(name)s commented on your photo"),
    NotificationKind.PUBLISHED: msgid("Your photo is published"),
    NotificationKind.HELD: msgid("Your photo is held"),
    NotificationKind.REMOVED: msgid("A moderator removed a post or comment of yours"),
    NotificationKind.RESTORED: msgid("A moderator restored a post or comment of yours"),
    NotificationKind.WARNED: msgid("A moderator warned you"),
    NotificationKind.BANNED: msgid("Moderators banned you"),
    NotificationKind.UNBANNED: msgid("Moderators lifted your ban"),
    NotificationKind.APPEAL: msgid("Your appeal was answered"),
}
TONES_AND_ICONS = {
    NotificationKind.PUBLISHED: ("ok", "check"),
    NotificationKind.HELD: ("warn", "shield"),
    NotificationKind.REMOVED: ("bad", "shield"),
    NotificationKind.RESTORED: ("ok", "check"),
    NotificationKind.WARNED: ("warn", "shield"),
    NotificationKind.BANNED: ("bad", "block"),
    NotificationKind.UNBANNED: ("ok", "check"),
    NotificationKind.APPEAL: ("", "flag"),
}
"""Kind: the tone and the icon of a notification that no member caused."""


@dataclass(frozen=True)
class NotificationLine:
    """A notification as the page shows it: what it says, and where it leads."""

    text: str
    url: str
    quote: str
    at: datetime
    unread: bool
    actor: Member | None
    photo: Photo | None
    tone: str
    icon: str


@dataclass(frozen=True)
class NotificationSubjects:
    """What a page of notifications is about: comments by id, photos by digest."""

    comments: dict[int, Comment]
    photos: dict[str, Photo]


@read_route(router, "/animals/notifications")
def show_notifications(context: Read, after: str | None = None) -> Response:
    listed = notifications.list_notifications(
        context.db, context.person, after=after, limit=POSTS_PER_PAGE
    )
    subjects = load_subjects(context.db, listed.items)
    say = context.say
    return render_site_page(
        context,
        "notifications.html",
        section="notifications",
        notifications=[describe_notification(entry, subjects, say) for entry in listed.items],
        next_url=listed.next and build_url("/animals/notifications", after=listed.next),
    )


def load_subjects(db: Session, entries: list[NotificationEntry]) -> NotificationSubjects:
    comment_ids = {
        comment_id for entry in entries if (comment_id := find_comment_id(entry)) is not None
    }
    digests = {entry.post.photo for entry in entries if entry.post is not None}
    comments = db.scalars(select(Comment).where(Comment.id.in_(comment_ids))) if comment_ids else ()
    photos = db.scalars(select(Photo).where(Photo.digest.in_(digests))) if digests else ()
    return NotificationSubjects(
        {comment.id: comment for comment in comments}, {photo.digest: photo for photo in photos}
    )


def find_comment_id(entry: NotificationEntry) -> int | None:
    """The id of the comment that a notification is about."""
    notification = entry.notification
    return (
        int(notification.dedup_key.split(":")[1])
        if notification.kind == NotificationKind.COMMENT
        else None
    )


def describe_notification(
    entry: NotificationEntry, subjects: NotificationSubjects, say: Translate
) -> NotificationLine:
    notification, actor, post = entry
    comment = subjects.comments.get(find_comment_id(entry) or 0)
    tone, icon = TONES_AND_ICONS.get(notification.kind, ("", "bell"))
    if comment is not None and comment.state == CommentState.SHOWN:
        quote = comment.text
    else:
        quote = post.title if post is not None else ""
    values = {"name": actor.display} if actor is not None else {}
    return NotificationLine(
        text=say(MESSAGES[notification.kind], **values),
        url=find_notification_url(entry, comment),
        quote=quote,
        at=notification.at,
        unread=notification.seen_at is None,
        actor=actor,
        photo=subjects.photos.get(post.photo) if post is not None else None,
        tone=tone,
        icon=icon,
    )


def find_notification_url(entry: NotificationEntry, comment: Comment | None) -> str:
    """The page that shows more about a notification."""
    notification, actor, post = entry
    if post is not None:
        anchor = f"#comment-{comment.id}" if comment is not None else ""
        return f"/animals/posts/{post.id}{anchor}"
    if notification.kind == NotificationKind.FOLLOW and actor is not None:
        return f"/animals/members/{actor.name}"
    return "/animals/decisions"


@write_route(router, "/animals/notifications/read")
def submit_all_read(context: MemberWrite) -> Response:
    context.commit(lambda db: notifications.mark_all_seen(db, context.person, now=context.now))
    return go_to(context.request, "/animals/notifications")
