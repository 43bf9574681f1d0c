"""What the network's pages share: the frame around them and who looks at it, pictures in their sizes, answers to forms and to scripts."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from markupsafe import Markup
from sqlalchemy.orm import Session

from tanuki.animals import members, notifications
from tanuki.animals.engagement import Remark
from tanuki.animals.images.photo_files import SIZES
from tanuki.animals.posts import Card
from tanuki.animals.tables import Member, Photo
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import NotFound, UserError
from tanuki.platform.accounts import Person
from tanuki.platform.web.pages import (
    FORM_BYTES,
    MAX_BYTES,
    Done,
    FromOurForm,
    MenuEntry,
    person_of,
    redirect,
    render,
    safe_path,
    site_of,
    visit_of,
)

LIMIT = 24  # photos on a page
CARD = (
    "(min-width: 90rem) 17rem, (min-width: 40rem) 15rem, 50vw"  # how wide a photo among others is
)
WHOLE = "(min-width: 40rem) 15rem, 100vw"  # the same in the home feed, where a phone shows one below the other

Text = Annotated[str, Form()]


# ---- pages ---------------------------------------------------------------------------------------------------------


def show(
    request: Request, db: Session, template: str, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page in the network's frame."""
    visit = visit_of(request)
    me = me_of(db, visit.person)
    unseen = (
        notifications.unseen(db, visit.person) if me is not None and visit.person is not None else 0
    )
    liking = "yes" if me is not None else "sign-in" if visit.person is None else "no"
    return render(
        request,
        f"animals/{template}",
        status=status,
        me=me,
        unseen=unseen,
        liking=liking,
        **names(visit.lang),
        **values,
    )


def me_of(db: Session, person: Person | None) -> Member | None:
    """The member who looks; None for visitors and for people who only moderate."""
    if person is None:
        return None
    try:
        return members.of(db, person)
    except NotFound:
        return None


@cache
def names(lang: str) -> dict[str, Any]:
    """What templates need to name animals and show pictures."""
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


class PostShown(NamedTuple):
    """What a card shows of a post."""

    id: int
    title: str
    state: str
    likes: int


class PhotoShown(NamedTuple):
    """What a card shows of a photo."""

    digest: str
    width: int
    height: int
    colour: str


class MemberShown(NamedTuple):
    """What a card shows of a member."""

    id: int
    name: str
    display: str
    photo: str | None


class Shown(NamedTuple):
    """A card by its values: two that are equal look the same."""

    post: PostShown
    photo: PhotoShown
    member: MemberShown
    liked_by_me: bool


class RemarkShown(NamedTuple):
    """A comment by its values."""

    id: int
    words: str
    member: MemberShown


def shown(card: Card) -> Shown:
    """The values of a card."""
    post, photo = card.post, card.photo
    return Shown(
        PostShown(post.id, post.title, post.state, post.likes),
        PhotoShown(photo.digest, photo.width, photo.height, photo.colour),
        member_shown(card.member),
        card.liked_by_me,
    )


def remark_shown(remark: Remark) -> RemarkShown:
    """The values of a comment."""
    return RemarkShown(remark.comment.id, remark.comment.words, member_shown(remark.member))


def member_shown(member: Member) -> MemberShown:
    """The values of a member beside what they posted or said."""
    return MemberShown(member.id, member.name, member.display, member.photo)


def sources(photo: Photo | PhotoShown) -> Markup:
    """The attributes of an <img> from which a browser takes the size that it needs, and knows the shape before it has any."""
    longest = max(photo.width, photo.height)
    widths = {
        name: max(1, round(photo.width * min(1, size / longest))) for name, size in SIZES.items()
    }
    at = f"/animals/pictures/{photo.digest}"
    every = ", ".join(
        f"{at}/{name}.jpg {width}w"
        for name, width in widths.items()
        if name == "list" or width > widths["list"]
    )
    return Markup(  # noqa: S704 hexadecimal digits and numbers
        f'src="{at}/page.jpg" srcset="{every}" width="{photo.width}" height="{photo.height}"'
    )


def elsewhere(menus: Iterable[tuple[str, Sequence[MenuEntry]]]) -> tuple[tuple[str, str], ...]:
    """The ways out of the network that somebody has: path and msgid."""
    return tuple(
        (entries[0].path, title)
        for title, entries in menus
        if entries and not entries[0].path.startswith("/animals")
    )


HELPERS: dict[str, Callable[..., Any]] = {  # what the network's templates call
    "sources": sources,
    "shown": shown,
    "remark_shown": remark_shown,
    "elsewhere": elsewhere,
}


# ---- forms ---------------------------------------------------------------------------------------------------------


def form(
    router: APIRouter, path: str, *, max_bytes: int = FORM_BYTES
) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Register what a form does at POST `path`, for people who are signed in."""

    def register(do: Callable[..., Response]) -> Callable[..., Response]:
        setattr(do, MAX_BYTES, max_bytes)
        router.add_api_route(
            path,
            do,
            methods=["POST"],
            include_in_schema=False,
            response_class=Response,
            dependencies=[Depends(person_of), FromOurForm],
        )
        return do

    return register


def sentence(request: Request, wrong: UserError | None) -> str | None:
    """What is wrong with a form that was sent, in the reader's language; the form shows it above what was typed."""
    return None if wrong is None else site_of(request).texts.error(visit_of(request).lang, wrong)


def version_seen(said: str) -> int:
    """The version of a post that a form was made from; 0, which none has, for what is no number."""
    return int(said) if said.isdecimal() and len(said) < 10 else 0


def onward(request: Request, to: str, message: str = "", **values: object) -> Response:
    """On to a page of ours, which shows the message."""
    return redirect(request, Done(safe_path(to), message, values))


def for_script(request: Request) -> bool:
    """Whether a script of ours asks, which shows the answer in the page that is there already."""
    return "json" in request.headers.get("accept", "")


def toggled(
    request: Request, to: str, *, on: bool, again: str, count: int | None = None
) -> Response:
    """The answer to a button that is on or off: `again` is what it does when pressed once more."""
    if for_script(request):
        return JSONResponse({"on": on, "count": count, "again": again})
    return onward(request, to)
