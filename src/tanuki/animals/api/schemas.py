"""What programs get: members, photos, posts, comments, notifications, with true examples."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import pagination, post_queries
from tanuki.animals.images.photo_files import PHOTO_SIDES
from tanuki.animals.notifications import NotificationEntry
from tanuki.animals.post_queries import Card
from tanuki.animals.tables import (
    BlockKind,
    Comment,
    CommentState,
    Member,
    NotificationKind,
    Photo,
    Post,
    PostState,
)
from tanuki.platform.accounts import Person
from tanuki.platform.web.openapi import Page

T = TypeVar("T")
R = TypeVar("R")
API = "/api/animals"
EXAMPLE_MOMENT = "2026-05-01T09:00:00Z"
EXAMPLE_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def example(**values: Any) -> ConfigDict:  # noqa: ANN401 whatever the model's fields hold
    """The example of a model in the API's description."""
    return ConfigDict(json_schema_extra={"examples": [values]})


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """The example of a model, for the example of another that contains it."""
    extra: Any = model.model_config["json_schema_extra"]
    return dict(extra["examples"][0])


class LocalizedName(BaseModel):
    """A name in both languages."""

    model_config = example(ja="柴犬", en="Shiba Inu")

    ja: str
    en: str


class PictureOut(BaseModel):
    """A photo in its sizes: width and height of `full` in pixels, and its mean colour."""

    model_config = example(
        digest=EXAMPLE_DIGEST,
        width=1600,
        height=1200,
        colour="#8a7a5f",
        urls={size: f"/animals/pictures/{EXAMPLE_DIGEST}/{size}.jpg" for size in PHOTO_SIDES},
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
        joined_at=EXAMPLE_MOMENT,
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
    """A member as they see themselves."""

    model_config = example(
        name="hana",
        display="花",
        about="",
        picture=None,
        posts=12,
        followers=40,
        following=8,
        joined_at=EXAMPLE_MOMENT,
        events=True,
        banned_at=None,
        unseen=2,
    )

    events: bool = Field(description="Whether what they look at may be logged under a pseudonym.")
    banned_at: datetime | None
    unseen: int = Field(description="Number of unseen notifications; 100 also stands for more.")


class PostOut(BaseModel):
    """A post. `why` and `note` are for its owner and moderators."""

    model_config = example(
        id=1,
        title="昼寝する柴犬",
        description="Asleep in the sun.",
        tags=["犬", "nap"],
        category="dog",
        breed="shiba",
        state="published",
        why=None,
        note=None,
        member="hana",
        display="花",
        picture={
            "digest": EXAMPLE_DIGEST,
            "width": 1600,
            "height": 1200,
            "colour": "#8a7a5f",
            "urls": {"list": f"/animals/pictures/{EXAMPLE_DIGEST}/list.jpg"},
        },
        likes=3,
        comments=1,
        liked=False,
        followed=True,
        posted_at=EXAMPLE_MOMENT,
        published_at=EXAMPLE_MOMENT,
        edited_at=None,
        version=1,
        url="/animals/posts/1",
    )

    id: int
    title: str
    description: str
    tags: list[str]
    category: str
    breed: str | None
    state: PostState
    why: str | None
    note: str | None
    member: str
    display: str
    picture: PictureOut
    likes: int
    comments: int
    liked: bool = Field(description="Whether the one who asks likes it.")
    followed: bool = Field(description="Whether the one who asks follows its owner.")
    posted_at: datetime
    published_at: datetime | None
    edited_at: datetime | None
    version: int
    url: str


class CommentOut(BaseModel):
    """A comment. `reason` and `note` are for its author and moderators."""

    model_config = example(
        id=7,
        post_id=1,
        member="taro",
        display="太郎",
        text="かわいい！",
        state="shown",
        reason=None,
        note=None,
        at=EXAMPLE_MOMENT,
    )

    id: int
    post_id: int
    member: str
    display: str
    text: str
    state: CommentState
    reason: str | None
    note: str | None
    at: datetime


class NotificationOut(BaseModel):
    """Something that happened to a member, their posts or comments."""

    model_config = example(
        id=3, kind="like", member="taro", post_id=1, values={}, at=EXAMPLE_MOMENT, seen_at=None
    )

    id: int
    kind: NotificationKind
    member: str | None
    post_id: int | None
    values: dict[str, Any]
    at: datetime
    seen_at: datetime | None


class BlockOut(BaseModel):
    """A member whom one blocks or mutes."""

    model_config = example(name="taro", kind="mute", at=EXAMPLE_MOMENT)

    name: str
    kind: BlockKind
    at: datetime


# ---- from records --------------------------------------------------------------------------------


def picture_out(photo: Photo) -> PictureOut:
    return PictureOut(
        digest=photo.digest,
        width=photo.width,
        height=photo.height,
        colour=photo.colour,
        urls={size: f"/animals/pictures/{photo.digest}/{size}.jpg" for size in PHOTO_SIDES},
    )


def member_out(member: Member) -> MemberOut:
    return MemberOut(**public_values(member))


def public_values(member: Member) -> dict[str, Any]:
    """What everybody may know of a member."""
    return {
        "name": member.name,
        "display": member.display,
        "about": member.about,
        "picture": member.photo,
        "posts": member.posts,
        "followers": member.followers,
        "following": member.following,
        "joined_at": member.joined_at,
    }


def post_out(card: Card) -> PostOut:
    post = card.post
    return PostOut(
        id=post.id,
        title=post.title,
        description=post.description,
        tags=post.tags,
        category=post.category,
        breed=post.breed,
        state=post.state,
        why=post.reason,
        note=post.note,
        member=card.member.name,
        display=card.member.display,
        picture=picture_out(card.photo),
        likes=post.likes,
        comments=post.comments,
        liked=card.liked_by_me,
        followed=card.followed,
        posted_at=post.posted_at,
        published_at=post.published_at,
        edited_at=post.edited_at,
        version=post.version,
        url=f"/animals/posts/{post.id}",
    )


def build_posts_out(db: Session, viewer: Person | None, posts: Sequence[Post]) -> list[PostOut]:
    """Posts in their order, as this viewer sees them."""
    return [post_out(card) for card in post_queries.build_cards(db, viewer, posts)]


def build_post_out(db: Session, viewer: Person | None, post: Post) -> PostOut:
    return build_posts_out(db, viewer, [post])[0]


def load_posts_out(
    db: Session, viewer: Person | None, post_ids: Sequence[int]
) -> dict[int, PostOut]:
    """By id, those of the posts that this viewer may see in lists."""
    posts = post_queries.load_listed_posts(db, viewer, post_ids)
    return {post.id: post for post in build_posts_out(db, viewer, posts)}


def comment_out(comment: Comment, author: Member) -> CommentOut:
    return CommentOut(
        id=comment.id,
        post_id=comment.post_id,
        member=author.name,
        display=author.display,
        text=comment.text,
        state=comment.state,
        reason=comment.reason,
        note=comment.note,
        at=comment.at,
    )


def notification_out(entry: NotificationEntry) -> NotificationOut:
    notification = entry.notification
    return NotificationOut(
        id=notification.id,
        kind=notification.kind,
        member=entry.actor.name if entry.actor else None,
        post_id=notification.post_id,
        values=notification.values,
        at=notification.at,
        seen_at=notification.seen_at,
    )


def page_out(page: pagination.Page[R], shape: Callable[[R], T]) -> Page[T]:
    """A page of a list with each item in its shape."""
    return Page(items=[shape(item) for item in page.items], next=page.next)
