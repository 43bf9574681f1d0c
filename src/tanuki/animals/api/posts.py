"""Posts for programs: creating, reading, changing, deleting; likes and comments."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Query, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import engagement, members, post_queries, posts
from tanuki.animals.api.schemas import (
    API,
    CommentOut,
    MemberOut,
    PostOut,
    build_post_out,
    build_posts_out,
    comment_out,
    example,
    member_out,
    page_out,
)
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import (
    PHOTO_FORM_BYTES,
    MemberWrite,
    PageRequest,
    Read,
    RecordId,
    from_fields,
)
from tanuki.animals.images import photo_files
from tanuki.animals.posts import Draft
from tanuki.platform.web.etag import set_etag
from tanuki.platform.web.headers import IdempotencyKey
from tanuki.platform.web.openapi import Page
from tanuki.platform.web.pages import read_route, write_route

router = APIRouter(tags=["posts"])


class PostChange(BaseModel):
    """The text of a post. `version` is the one that was read: a newer one is not overwritten."""

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


class NewComment(BaseModel):
    model_config = ConfigDict(extra="forbid", **example(text="かわいい！"))

    text: str


class LikeState(BaseModel):
    """Whether one likes a post now, and how many members do."""

    model_config = example(liked=True, likes=4)

    liked: bool
    likes: int


@dataclass(frozen=True)
class NewPost:
    """The fields of the form that creates a post."""

    photo: Annotated[UploadFile, File(description="A JPEG, PNG, WebP or HEIC picture.")]
    title: Annotated[str, Form(examples=["昼寝する柴犬"])]
    category: Annotated[str, Form(examples=["dog"])]
    description: Annotated[str, Form(examples=["Asleep in the sun."])] = ""
    tags: Annotated[list[str] | None, Form(examples=[["犬", "nap"]])] = None
    breed: Annotated[str | None, Form(examples=["shiba"])] = None


@write_route(router, f"{API}/posts", status_code=201, max_bytes=PHOTO_FORM_BYTES)
def create_post(
    context: MemberWrite,
    key: IdempotencyKey,
    sent: Annotated[NewPost, Depends(from_fields(NewPost))],
) -> PostOut:
    """Post a photo. Its state is `checking`, and only its owner sees it, until it is published.

    The same key again gives the same post.
    """
    draft = Draft(sent.title, sent.description, tuple(sent.tags or ()), sent.category, sent.breed)
    accepted = photo_files.clean_upload(context.res, sent.photo.file.read())
    res, person = context.res, context.person
    photo_files.store_files(res.objects, accepted)

    def create(db: Session) -> PostOut:
        post = posts.create_post(
            db, res, person, posts.NewPost(draft, accepted, key), now=context.now
        )
        return build_post_out(db, person, post)

    created = context.commit(create)
    context.response.headers["Location"] = f"{API}/posts/{created.id}"
    return created


@read_route(router, f"{API}/posts", public=True)
def list_posts(
    context: Read,
    page: PageRequest,
    category: Annotated[str | None, Query(max_length=40)] = None,
) -> Page[PostOut]:
    """Published posts, of one category or all, the last published first."""
    db, viewer = context.db, context.viewer
    newest = post_queries.list_newest_posts(
        db, viewer, category=category, after=page.after, limit=page.limit
    )
    impressions.log_listing(
        context, "category" if category else "newest", [post.id for post in newest.items]
    )
    return Page(items=build_posts_out(db, viewer, newest.items), next=newest.next)


@read_route(
    router,
    f"{API}/posts/{{post_id}}",
    public=True,
    responses={304: {"description": "Not changed since it was read."}},
)
def get_post(context: Read, response: Response, post_id: RecordId) -> PostOut:
    db, viewer = context.db, context.viewer
    post = build_post_out(db, viewer, post_queries.load_visible_post(db, post_id, viewer))
    set_etag(context.request, response, post)
    return post


@write_route(router, f"{API}/posts/{{post_id}}", method="PATCH")
def update_post(context: MemberWrite, post_id: RecordId, change: PostChange) -> PostOut:
    """Replace the whole text of a post."""
    draft = Draft(
        change.title, change.description, tuple(change.tags), change.category, change.breed
    )

    def update(db: Session) -> PostOut:
        post = posts.edit_post(
            db,
            context.res.jobs,
            context.person,
            posts.PostVersion(post_id, change.version),
            draft,
            now=context.now,
        )
        return build_post_out(db, context.person, post)

    return context.commit(update)


@write_route(router, f"{API}/posts/{{post_id}}", method="DELETE")
def delete_post(context: MemberWrite, post_id: RecordId) -> PostOut:
    """Delete a post; this can be undone for ten minutes."""
    person = context.person
    return context.commit(
        lambda db: build_post_out(
            db, person, posts.delete_post(db, person, post_id, now=context.now)
        )
    )


@write_route(router, f"{API}/posts/{{post_id}}/undo")
def undo_deletion(context: MemberWrite, post_id: RecordId) -> PostOut:
    """Restore a deleted post as it was."""
    person = context.person
    return context.commit(
        lambda db: build_post_out(
            db, person, posts.undo_delete(db, person, post_id, now=context.now)
        )
    )


# ---- likes ---------------------------------------------------------------------------------------


@read_route(router, f"{API}/posts/{{post_id}}/likes", public=True)
def list_likers(context: Read, post_id: RecordId, page: PageRequest) -> Page[MemberOut]:
    """The members who like a post, the latest first."""
    likers = engagement.list_likers(
        context.db, context.viewer, post_id, after=page.after, limit=page.limit
    )
    return page_out(likers, member_out)


@write_route(router, f"{API}/posts/{{post_id}}/like", method="PUT")
def like_post(context: MemberWrite, post_id: RecordId) -> LikeState:
    """Like a post; liking it again changes nothing."""
    likes = context.commit(
        lambda db: engagement.like_post(db, context.person, post_id, now=context.now)
    )
    return LikeState(liked=True, likes=likes)


@write_route(router, f"{API}/posts/{{post_id}}/like", method="DELETE")
def unlike_post(context: MemberWrite, post_id: RecordId) -> LikeState:
    """Take back a like."""
    likes = context.commit(
        lambda db: engagement.unlike_post(db, context.person, post_id, now=context.now)
    )
    return LikeState(liked=False, likes=likes)


# ---- comments ------------------------------------------------------------------------------------


@read_route(router, f"{API}/posts/{{post_id}}/comments", public=True)
def list_comments(context: Read, post_id: RecordId, page: PageRequest) -> Page[CommentOut]:
    """The comments on a post, the oldest first."""
    comments = engagement.list_comments(
        context.db, context.viewer, post_id, after=page.after, limit=page.limit
    )
    return page_out(comments, lambda item: comment_out(item.comment, item.member))


@write_route(router, f"{API}/posts/{{post_id}}/comments", status_code=201)
def create_comment(
    context: MemberWrite, post_id: RecordId, key: IdempotencyKey, sent: NewComment
) -> CommentOut:
    """Comment on a post. The same key again gives the same comment."""
    person = context.person

    def create(db: Session) -> CommentOut:
        comment = engagement.add_comment(db, person, post_id, sent.text, key=key, now=context.now)
        return comment_out(comment, members.require_member(db, person))

    return context.commit(create)


@write_route(router, f"{API}/comments/{{comment_id}}", method="DELETE")
def delete_comment(context: MemberWrite, comment_id: RecordId) -> CommentOut:
    """Delete a comment of one's own."""
    person = context.person

    def delete(db: Session) -> CommentOut:
        comment = engagement.delete_comment(db, person, comment_id, now=context.now)
        return comment_out(comment, members.require_member(db, person))

    return context.commit(delete)
