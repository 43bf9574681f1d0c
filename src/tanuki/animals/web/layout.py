"""The layout of the site's pages, their forms, and the answers to forms and scripts."""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, NamedTuple

from fastapi import Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from markupsafe import Markup
from sqlalchemy.orm import Session

from tanuki.animals import members, notifications
from tanuki.animals.engagement import CommentWithAuthor
from tanuki.animals.http.deps import ReadContext
from tanuki.animals.images.photo_files import PHOTO_SIDES
from tanuki.animals.post_queries import Card
from tanuki.animals.tables import Member, Photo
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import NotFound, UserError
from tanuki.platform.accounts import Person
from tanuki.platform.web import pages
from tanuki.platform.web.auth import get_visit
from tanuki.platform.web.pages import ActionResult, redirect_with_message
from tanuki.platform.web.site import get_site, sanitize_path

POSTS_PER_PAGE = 24
CARD_SIZES = "(min-width: 90rem) 17rem, (min-width: 40rem) 15rem, 50vw"
"""The `sizes` attribute of a photo among others: how wide it is shown."""
FEED_SIZES = "(min-width: 40rem) 15rem, 100vw"
"""The same in the home feed, where a phone shows one photo below the other."""

Text = Annotated[str, Form()]


# ---- pages ---------------------------------------------------------------------------------------


def render_site_page(
    context: ReadContext, template: str, *, status: int = 200, **values: object
) -> HTMLResponse:
    """Render `template` in the site's layout, with what every page shows about its viewer."""
    me = find_own_member(context.db, context.viewer)
    unread = (
        notifications.count_unseen(context.db, context.viewer)
        if me is not None and context.viewer is not None
        else 0
    )
    like_mode = "button" if me is not None else "sign-in" if context.viewer is None else "count"
    return pages.render_page(
        context.request,
        f"animals/{template}",
        status=status,
        me=me,
        unread_count=unread,
        like_mode=like_mode,
        **taxonomy_names(context.lang),
        **values,
    )


def find_own_member(db: Session, person: Person | None) -> Member | None:
    """The member that a person is; None for visitors and for people who only moderate."""
    if person is None:
        return None
    try:
        return members.require_member(db, person)
    except NotFound:
        return None


@cache
def taxonomy_names(lang: str) -> dict[str, Any]:
    """The names of categories and breeds in a language, as templates use them."""
    categories = {key: str(getattr(name, lang)) for key, name in CATEGORIES.items()}
    breeds = {key: str(getattr(breed, lang)) for key, breed in BREEDS.items()}
    by_category: dict[str, list[tuple[str, str]]] = {}
    for key, breed in BREEDS.items():
        by_category.setdefault(breed.category, []).append((key, breeds[key]))
    return {
        "categories": categories,
        "breeds_by_category": by_category,
        "category_name": lambda key: categories.get(key, key),
        "breed_name": lambda key: breeds.get(key, key),
    }


# ---- values of cached parts: equal values render to equal HTML -----------------------------------


class PostValues(NamedTuple):
    id: int
    title: str
    state: str
    likes: int


class PhotoValues(NamedTuple):
    digest: str
    width: int
    height: int
    colour: str


class MemberValues(NamedTuple):
    id: int
    name: str
    display: str
    photo: str | None


class CardValues(NamedTuple):
    post: PostValues
    photo: PhotoValues
    member: MemberValues
    liked_by_me: bool


class CommentValues(NamedTuple):
    id: int
    text: str
    member: MemberValues


def card_values(card: Card) -> CardValues:
    post, photo = card.post, card.photo
    return CardValues(
        PostValues(post.id, post.title, post.state, post.likes),
        PhotoValues(photo.digest, photo.width, photo.height, photo.colour),
        member_values(card.member),
        card.liked_by_me,
    )


def comment_values(item: CommentWithAuthor) -> CommentValues:
    return CommentValues(item.comment.id, item.comment.text, member_values(item.member))


def member_values(member: Member) -> MemberValues:
    return MemberValues(member.id, member.name, member.display, member.photo)


def image_sources(photo: Photo | PhotoValues) -> Markup:
    """The attributes of an <img>: the browser chooses a size, and knows the shape beforehand."""
    longest_side = max(photo.width, photo.height)
    widths = {
        name: max(1, round(photo.width * min(1, size / longest_side)))
        for name, size in PHOTO_SIDES.items()
    }
    base = f"/animals/pictures/{photo.digest}"
    srcset = ", ".join(
        f"{base}/{name}.jpg {width}w"
        for name, width in widths.items()
        if name == "list" or width > widths["list"]
    )
    return Markup(  # noqa: S704 hexadecimal digits and numbers
        f'src="{base}/page.jpg" srcset="{srcset}" width="{photo.width}" height="{photo.height}"'
    )


TEMPLATE_GLOBALS: dict[str, Callable[..., object]] = {
    "image_sources": image_sources,
    "card_values": card_values,
    "comment_values": comment_values,
}


# ---- answers to forms ----------------------------------------------------------------------------


def say_error(request: Request, error: UserError | None) -> str | None:
    """An error in the reader's language, for the form that shows it above what was typed."""
    return (
        None
        if error is None
        else get_site(request).texts.render_error(get_visit(request).lang, error)
    )


def parse_version(text: str) -> int:
    """The post version that a form was made from; 0, which no post has, for anything else."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def go_to(request: Request, path: str, message: str = "", **values: object) -> Response:
    """Redirect to a page of this site, which shows the message (a msgid)."""
    return redirect_with_message(request, ActionResult(sanitize_path(path), message, values))


def wants_json(request: Request) -> bool:
    """Whether the site's script asks, which updates the open page itself."""
    return "json" in request.headers.get("accept", "")


def answer_toggle(
    request: Request, path: str, *, pressed: bool, next_action: str, count: int | None = None
) -> Response:
    """Answer a button that is on or off; pressed once more, it posts to `next_action`."""
    if wants_json(request):
        return JSONResponse({"pressed": pressed, "count": count, "next_action": next_action})
    return go_to(request, path)
