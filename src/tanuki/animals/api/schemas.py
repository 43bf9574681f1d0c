"""What programs get: members, pictures, posts, comments and what moderators see, with real examples; made from records in one place."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import pagination, posts
from tanuki.animals.images.photo_files import SIZES
from tanuki.animals.moderation.appeals import Asked
from tanuki.animals.moderation.cases import Subject
from tanuki.animals.notifications import Told
from tanuki.animals.posts import Card
from tanuki.animals.tables import Appeal, Case, Comment, Decision, Member, Photo, Post, Report
from tanuki.animals.taxonomy import CATEGORIES, breeds_of
from tanuki.platform.accounts import Person
from tanuki.platform.web.rest import Page

T = TypeVar("T")
R = TypeVar("R")
WHEN = "2026-05-01T09:00:00Z"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def example(**values: Any) -> ConfigDict:
    """The example that a shape has in the description."""
    return ConfigDict(json_schema_extra={"examples": [values]})


def example_of(shape: type[BaseModel]) -> dict[str, Any]:
    """The example of a shape, for the example of one that holds it."""
    extra: Any = shape.model_config["json_schema_extra"]
    return dict(extra["examples"][0])


class Named(BaseModel):
    """A name in both languages."""

    model_config = example(ja="柴犬", en="Shiba Inu")

    ja: str
    en: str


class PictureOut(BaseModel):
    """A picture in its sizes; width and height in pixels are those of `full`, the colour is its mean."""

    model_config = example(
        digest=DIGEST,
        width=1600,
        height=1200,
        colour="#8a7a5f",
        urls={size: f"/animals/pictures/{DIGEST}/{size}.jpg" for size in SIZES},
    )

    digest: str
    width: int
    height: int
    colour: str
    urls: dict[str, str]


class MemberOut(BaseModel):
    """A member as others see them."""

    model_config = example(
        name="hana",
        display="花",
        about="柴犬と暮らしています。",
        picture=None,
        posts=12,
        followers=40,
        following=8,
        joined_at=WHEN,
    )

    name: str
    display: str
    about: str
    picture: str | None = Field(description="Digest of their picture.")
    posts: int
    followers: int
    following: int
    joined_at: datetime


class MeOut(MemberOut):
    """Oneself."""

    model_config = example(
        name="hana", display="花", about="", picture=None, posts=12, followers=40, following=8, joined_at=WHEN, events=True, banned_at=None, unseen=2
    )  # fmt: skip

    events: bool = Field(description="Whether what they look at may be logged under a pseudonym.")
    banned_at: datetime | None
    unseen: int = Field(description="Notifications that were not seen; 100 also stands for more.")


class PostOut(BaseModel):
    """A post. `why` and `note` are for its owner and moderators."""

    model_config = example(
        id=1, title="昼寝する柴犬", description="Asleep in the sun.", tags=["犬", "nap"], category="dog", breed="shiba", state="published", why=None,
        note=None, member="hana", display="花", picture={"digest": DIGEST, "width": 1600, "height": 1200, "colour": "#8a7a5f", "urls": {"list": f"/animals/pictures/{DIGEST}/list.jpg"}},
        likes=3, comments=1, liked=False, followed=True, posted_at=WHEN, published_at=WHEN, edited_at=None, version=1, url="/animals/posts/1",
    )  # fmt: skip

    id: int
    title: str
    description: str
    tags: list[str]
    category: str
    breed: str | None
    state: Literal["checking", "published", "held", "removed", "deleted"]
    why: str | None
    note: str | None
    member: str
    display: str
    picture: PictureOut
    likes: int
    comments: int
    liked: bool = Field(description="Whether the one who asks likes it.")
    followed: bool = Field(description="Whether the one who asks follows whose it is.")
    posted_at: datetime
    published_at: datetime | None
    edited_at: datetime | None
    version: int
    url: str


class CommentOut(BaseModel):
    """What a member wrote under a post."""

    model_config = example(
        id=7,
        post_id=1,
        member="taro",
        display="太郎",
        words="かわいい！",
        state="shown",
        why=None,
        note=None,
        at=WHEN,
    )

    id: int
    post_id: int
    member: str
    display: str
    words: str
    state: Literal["shown", "removed", "deleted"]
    why: str | None
    note: str | None
    at: datetime


class NotificationOut(BaseModel):
    """Something that one should know."""

    model_config = example(
        id=3, kind="like", member="taro", post_id=1, values={}, at=WHEN, seen_at=None
    )

    id: int
    kind: str
    member: str | None
    post_id: int | None
    values: dict[str, Any]
    at: datetime
    seen_at: datetime | None


class Part(BaseModel):
    """A piece of a text, and whether it is what was searched for."""

    model_config = example(text="柴犬", hit=True)

    text: str
    hit: bool


class FoundOut(BaseModel):
    """A post that was found, with its title and a piece of its words marked."""

    model_config = example(
        post=example_of(PostOut),
        title=[{"text": "昼寝する", "hit": False}, {"text": "柴犬", "hit": True}],
        snippet=[{"text": "Asleep in the sun.", "hit": False}],
    )

    post: PostOut
    title: list[Part]
    snippet: list[Part]


class ShutOut(BaseModel):
    """A member whom one blocks or mutes."""

    model_config = example(name="taro", kind="mute", at=WHEN)

    name: str
    kind: Literal["mute", "block"]
    at: datetime


class ReportOut(BaseModel):
    """A report, as moderators see it."""

    model_config = example(reason="not_an_animal", words="A car.", at=WHEN)

    reason: str
    words: str
    at: datetime


class CaseOut(BaseModel):
    """A case, as moderators see it."""

    model_config = example(
        id=5,
        subject="post",
        subject_id=1,
        member="hana",
        state="open",
        weight=3.0,
        reports=1,
        opened_at=WHEN,
        decided_at=None,
    )

    id: int
    subject: Literal["post", "comment", "member"]
    subject_id: int
    member: str | None
    state: Literal["open", "decided"]
    weight: float
    reports: int
    opened_at: datetime
    decided_at: datetime | None


class CaseWhole(CaseOut):
    """A case with what it is about, what was reported, and what can be done."""

    model_config = example(
        **example_of(CaseOut),
        post=example_of(PostOut),
        comment=None,
        reported=[example_of(ReportOut)],
        possible=["keep", "hold", "remove", "warn", "ban"],
        before=[],
    )

    post: PostOut | None
    comment: CommentOut | None
    reported: list[ReportOut]
    possible: list[str]
    before: list["DecisionOut"]


class AppealOut(BaseModel):
    """An appeal against a decision."""

    model_config = example(
        id=2,
        decision_id=4,
        words="それは本物の犬です。",
        at=WHEN,
        state="open",
        decided_at=None,
        answer=None,
    )

    id: int
    decision_id: int
    words: str
    at: datetime
    state: Literal["open", "upheld", "overturned"]
    decided_at: datetime | None
    answer: str | None


class DecisionOut(BaseModel):
    """What a moderator decided. Who decided is for moderators; others see null."""

    model_config = example(
        id=4,
        case_id=5,
        subject="post",
        subject_id=1,
        action="remove",
        reason="not_an_animal",
        note="",
        by=None,
        at=WHEN,
        appeal=None,
    )

    id: int
    case_id: int
    subject: Literal["post", "comment", "member"]
    subject_id: int
    action: str
    reason: str
    note: str
    by: str | None
    at: datetime
    appeal: AppealOut | None


# ---- from records --------------------------------------------------------------------------------------------------


def picture(photo: Photo) -> PictureOut:
    """A picture in its sizes."""
    urls = {size: f"/animals/pictures/{photo.digest}/{size}.jpg" for size in SIZES}
    return PictureOut(
        digest=photo.digest, width=photo.width, height=photo.height, colour=photo.colour, urls=urls
    )


def member(found: Member) -> MemberOut:
    """A member as others see them."""
    return MemberOut(**public(found))


def public(found: Member) -> dict[str, Any]:
    """What everybody may know of a member."""
    names = ("name", "display", "about", "posts", "followers", "following", "joined_at")
    return {**{name: getattr(found, name) for name in names}, "picture": found.photo}


COPIED = (
    "id",
    "title",
    "description",
    "tags",
    "category",
    "breed",
    "state",
    "why",
    "note",
    "likes",
    "comments",
    "posted_at",
    "published_at",
)


def post(card: Card) -> PostOut:
    """A post with what is around it."""
    copied = {name: getattr(card.post, name) for name in (*COPIED, "edited_at", "version")}
    around: dict[str, Any] = {
        "member": card.member.name,
        "display": card.member.display,
        "picture": picture(card.photo),
    }
    return PostOut(
        **copied,
        **around,
        liked=card.liked_by_me,
        followed=card.followed,
        url=f"/animals/posts/{card.post.id}",
    )


def posts_out(db: Session, viewer: Person | None, found: Sequence[Post]) -> list[PostOut]:
    """Posts in their order."""
    return [post(card) for card in posts.cards(db, viewer, found)]


def one_post(db: Session, viewer: Person | None, found: Post) -> PostOut:
    """A post."""
    return posts_out(db, viewer, [found])[0]


def comment(found: Comment, writer: Member) -> CommentOut:
    """A comment with who wrote it."""
    copied = {
        name: getattr(found, name)
        for name in ("id", "post_id", "words", "state", "why", "note", "at")
    }
    return CommentOut(**copied, member=writer.name, display=writer.display)


def notification(told: Told) -> NotificationOut:
    """A notification."""
    found = told.notification
    copied = {
        name: getattr(found, name) for name in ("id", "kind", "post_id", "values", "at", "seen_at")
    }
    return NotificationOut(**copied, member=told.actor.name if told.actor else None)


def case(found: Case, owner: Member | None) -> CaseOut:
    """A case in the queue."""
    return CaseOut(**case_values(found), member=owner.name if owner else None)


def case_values(found: Case) -> dict[str, Any]:
    """A case's own columns."""
    return {name: getattr(found, name) for name in CaseOut.model_fields if name != "member"}


def whole_case(
    db: Session,
    viewer: Person,
    found: Case,
    subject: Subject,
    reported: Iterable[Report],
    possible: list[str],
    before: Iterable[Decision],
) -> CaseWhole:
    """A case with everything that a moderator decides by."""
    return CaseWhole(
        **case_values(found),
        member=subject.member.name if subject.member else None,
        post=one_post(db, viewer, subject.post) if subject.post else None,
        comment=comment(subject.comment, subject.member)
        if subject.comment and subject.member
        else None,
        reported=[ReportOut(reason=each.reason, words=each.words, at=each.at) for each in reported],
        possible=possible,
        before=[decision(each, db.get_one(Case, each.case_id), None, by=True) for each in before],
    )


def appeal(found: Appeal) -> AppealOut:
    """An appeal."""
    return AppealOut(**{name: getattr(found, name) for name in AppealOut.model_fields})


def decision(found: Decision, about: Case, against: Appeal | None, *, by: bool) -> DecisionOut:
    """A decision; `by`: with who decided."""
    copied = {
        name: getattr(found, name) for name in ("id", "case_id", "action", "reason", "note", "at")
    }
    around: dict[str, Any] = {
        "subject": about.subject,
        "subject_id": about.subject_id,
        "appeal": appeal(against) if against else None,
    }
    return DecisionOut(**copied, **around, by=found.by if by else None)


def asked(each: Asked) -> DecisionOut:
    """A decision that was appealed against."""
    return decision(each.decision, each.case, each.appeal, by=True)


def items(page: pagination.Page[R], shape: Callable[[R], T]) -> Page[T]:
    """A page of a list, each thing in its shape."""
    return Page(items=[shape(item) for item in page.items], next=page.next)


def category_names() -> dict[str, Named]:
    """Categories by code."""
    return {code: Named(ja=name.ja, en=name.en) for code, name in CATEGORIES.items()}


def breed_names(category: str) -> dict[str, Named]:
    """Breeds of a category by code."""
    return {code: Named(ja=breed.ja, en=breed.en) for code, breed in breeds_of(category).items()}
