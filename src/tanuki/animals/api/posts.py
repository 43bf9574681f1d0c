"""Posts for programs: sending, reading, changing, deleting; likes and comments."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from tanuki.animals import engagement, members, posts
from tanuki.animals.api import schemas
from tanuki.animals.api.schemas import CommentOut, MemberOut, PostOut, example
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import (
    PICTURE_BYTES,
    Acting,
    After,
    Id,
    Limit,
    now,
    reads,
    write,
    writes,
)
from tanuki.animals.images import photo_files
from tanuki.animals.posts import Draft
from tanuki.platform.web import rest
from tanuki.platform.web.pages import Db, Res, Viewer
from tanuki.platform.web.rest import Page

router = APIRouter(tags=["posts"])


class Words(BaseModel):
    """What a post says. `version` is the one that was read; a post that changed meanwhile is not overwritten."""

    model_config = ConfigDict(
        extra="forbid",
        **example(
            version=1,
            title="昼寝する柴犬",
            description="",
            tags=["犬"],
            category="dog",
            breed="shiba",
        ),
    )

    version: Annotated[int, Field(ge=1)]
    title: str
    description: str = ""
    tags: list[str] = []
    category: str
    breed: str | None = None


class Said(BaseModel):
    """A comment's words."""

    model_config = ConfigDict(extra="forbid", **example(words="かわいい！"))

    words: str


class Count(BaseModel):
    """Whether one likes a post now, and how many do."""

    model_config = example(liked=True, likes=4)

    liked: bool
    likes: int


@writes(router, "POST", "/posts", status_code=201, max_bytes=PICTURE_BYTES)
def send(
    request: Request,
    response: Response,
    res: Res,
    who: Acting,
    key: rest.Key,
    photo: Annotated[UploadFile, File(description="A JPEG, PNG, WebP or HEIC picture.")],
    title: Annotated[str, Form(examples=["昼寝する柴犬"])],
    category: Annotated[str, Form(examples=["dog"])],
    description: Annotated[str, Form(examples=["Asleep in the sun."])] = "",
    tags: Annotated[list[str] | None, Form(examples=[["犬", "nap"]])] = None,
    breed: Annotated[str | None, Form(examples=["shiba"])] = None,
) -> PostOut:
    """Post a photo. It is `checking` and seen by its owner at once, and published when its check says so. The same key again gives the same post."""
    draft = Draft(title, description, tuple(tags or ()), category, breed)
    accepted = photo_files.accept(photo.file.read())
    photo_files.store(res.objects, accepted)

    def do(db: Db) -> PostOut:
        return schemas.one_post(
            db,
            who,
            posts.accept(db, res.objects, res.work, who, draft, accepted, key=key, now=now()),
        )

    made = write(request, response, res, do)
    response.headers["Location"] = f"/api/animals/posts/{made.id}"
    return made


@reads(router, "/posts")
def newest(
    request: Request,
    db: Db,
    viewer: Viewer,
    category: Annotated[str | None, Query(max_length=40)] = None,
    after: After = None,
    limit: Limit = 24,
) -> Page[PostOut]:
    """Published posts, of one category or all, the last published first."""
    page = posts.newest(db, viewer, category=category, after=after, limit=limit)
    impressions.in_order(
        request, db, viewer, "category" if category else "newest", [post.id for post in page.items]
    )
    return Page(items=schemas.posts_out(db, viewer, page.items), next=page.next)


@reads(
    router, "/posts/{post_id}", responses={304: {"description": "Not changed since it was read."}}
)
def read(request: Request, response: Response, db: Db, viewer: Viewer, post_id: Id) -> PostOut:
    """A post."""
    made = schemas.one_post(db, viewer, posts.visible(db, post_id, viewer))
    rest.etag(request, response, made)
    return made


@writes(router, "PATCH", "/posts/{post_id}")
def change(
    request: Request, response: Response, res: Res, who: Acting, post_id: Id, words: Words
) -> PostOut:
    """Change what a post says: all of it is given anew."""
    draft = Draft(words.title, words.description, tuple(words.tags), words.category, words.breed)

    def do(db: Db) -> PostOut:
        return schemas.one_post(
            db, who, posts.edit(db, res.work, who, post_id, draft, version=words.version, now=now())
        )

    return write(request, response, res, do)


@writes(router, "DELETE", "/posts/{post_id}")
def delete(request: Request, response: Response, res: Res, who: Acting, post_id: Id) -> PostOut:
    """Take a post out of sight; it can be brought back for ten minutes."""
    return write(
        request,
        response,
        res,
        lambda db: schemas.one_post(db, who, posts.delete(db, who, post_id, now=now())),
    )


@writes(router, "POST", "/posts/{post_id}/undo")
def undo(request: Request, response: Response, res: Res, who: Acting, post_id: Id) -> PostOut:
    """Bring a deleted post back as it was."""
    return write(
        request,
        response,
        res,
        lambda db: schemas.one_post(db, who, posts.undo(db, who, post_id, now=now())),
    )


# ---- likes ---------------------------------------------------------------------------------------------------------


@reads(router, "/posts/{post_id}/likes")
def likers(
    db: Db, viewer: Viewer, post_id: Id, after: After = None, limit: Limit = 24
) -> Page[MemberOut]:
    """Who likes a post, the latest first."""
    return schemas.items(
        engagement.likers(db, viewer, post_id, after=after, limit=limit), schemas.member
    )


@writes(router, "PUT", "/posts/{post_id}/like")
def like(request: Request, response: Response, res: Res, who: Acting, post_id: Id) -> Count:
    """Like a post; liking it again changes nothing."""
    return Count(
        liked=True,
        likes=write(
            request, response, res, lambda db: engagement.like(db, who, post_id, now=now())
        ),
    )


@writes(router, "DELETE", "/posts/{post_id}/like")
def unlike(request: Request, response: Response, res: Res, who: Acting, post_id: Id) -> Count:
    """Like a post no longer."""
    return Count(
        liked=False,
        likes=write(
            request, response, res, lambda db: engagement.unlike(db, who, post_id, now=now())
        ),
    )


# ---- comments ------------------------------------------------------------------------------------------------------


@reads(router, "/posts/{post_id}/comments")
def comments(
    db: Db, viewer: Viewer, post_id: Id, after: After = None, limit: Limit = 24
) -> Page[CommentOut]:
    """What is written under a post, in the order it was written."""
    page = engagement.comments(db, viewer, post_id, after=after, limit=limit)
    return schemas.items(page, lambda each: schemas.comment(each.comment, each.member))


@writes(router, "POST", "/posts/{post_id}/comments", status_code=201)
def comment(
    request: Request,
    response: Response,
    res: Res,
    who: Acting,
    post_id: Id,
    key: rest.Key,
    said: Said,
) -> CommentOut:
    """Write under a post. The same key again gives the same comment."""

    def do(db: Db) -> CommentOut:
        return schemas.comment(
            engagement.comment(db, who, post_id, said.words, key=key, now=now()),
            members.of(db, who),
        )

    return write(request, response, res, do)


@writes(router, "DELETE", "/comments/{comment_id}")
def delete_comment(
    request: Request, response: Response, res: Res, who: Acting, comment_id: Id
) -> CommentOut:
    """Take back what one wrote."""

    def do(db: Db) -> CommentOut:
        return schemas.comment(
            engagement.delete_comment(db, who, comment_id, now=now()), members.of(db, who)
        )

    return write(request, response, res, do)
