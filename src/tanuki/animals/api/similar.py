"""Similar pictures for programs: to a post's, and to one that is sent along."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from tanuki.animals import pagination, posts
from tanuki.animals.api import schemas
from tanuki.animals.api.schemas import PostOut, example, example_of
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import PICTURE_BYTES, Id, now, reads, write, writes
from tanuki.animals.similarity import search
from tanuki.animals.similarity.search import MOST_LEFT_OUT, Asked, Found
from tanuki.errors import UserError
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.web.pages import Db, Res, Viewer, Who

router = APIRouter(tags=["finding"])
AN_HOUR = (
    300  # searches by picture of one person: each costs as much as looking at a post's picture
)
K = Annotated[int, Query(ge=1, le=pagination.MOST, description="How many at most.")]
Seen = Annotated[int, Field(ge=1, le=pagination.LARGEST)]


class SimilarOut(BaseModel):
    """A post, and how similar its picture is: the cosine of the two embeddings, 1 for the same picture."""

    model_config = example(post=example_of(PostOut), score=0.83)

    post: PostOut
    score: float


class SimilarsOut(BaseModel):
    """Posts, the most similar first. `request_id` goes into the events about them."""

    model_config = example(items=[example_of(SimilarOut)], request_id="5f0c2a9be1d34c77")

    items: list[SimilarOut]
    request_id: str


@reads(router, "/posts/{post_id}/similar")
def to_post(
    request: Request,
    res: Res,
    db: Db,
    viewer: Viewer,
    post_id: Id,
    k: K = 10,
    category: Annotated[str | None, Query(max_length=40)] = None,
    not_mine: Annotated[bool, Query(description="Without the posts of the one who asks.")] = False,
    leave_out: Annotated[
        list[Seen], Query(max_length=MOST_LEFT_OUT, description="Posts that were seen already.")
    ] = [],  # noqa: B006 never changed
) -> SimilarsOut:
    """Published posts whose pictures are similar to a post's, without that post."""
    asked = Asked(category, not_mine, frozenset(leave_out))
    return shown(
        request,
        db,
        viewer,
        "similar",
        search.to_post(res, db, viewer, post_id, k=k, asked=asked, now=now()),
    )


@writes(router, "POST", "/search/image", max_bytes=PICTURE_BYTES)
def to_picture(
    request: Request,
    response: Response,
    res: Res,
    who: Who,
    photo: Annotated[
        UploadFile | None, File(description="A JPEG, PNG, WebP or HEIC picture. It is not kept.")
    ] = None,
    url: Annotated[
        str | None,
        Form(description="Refused: pictures are not fetched from addresses.", examples=[None]),
    ] = None,
    k: Annotated[int, Form(ge=1, le=pagination.MOST, examples=[10])] = 10,
    category: Annotated[str | None, Form(max_length=40, examples=["dog"])] = None,
    not_mine: Annotated[bool, Form(examples=[True])] = False,
    leave_out: Annotated[list[Seen], Form(max_length=MOST_LEFT_OUT, examples=[[12, 40]])] = [],  # noqa: B006 never changed
) -> SimilarsOut:
    """Published posts whose pictures are similar to one that is sent along."""
    content, asked = picture(photo, url), Asked(category or None, not_mine, frozenset(leave_out))
    write(request, response, res, lambda db: counted(db, who))
    with res.db.read() as db:
        return shown(
            request,
            db,
            who,
            "picture",
            search.to_picture(res, db, who, content, k=k, asked=asked, now=now()),
        )


def picture(photo: UploadFile | None, url: str | None) -> bytes:
    """The picture that was sent. Raises UserError when there is none, or only where one is."""
    if url:
        raise UserError("Please send the picture itself; it is not fetched from an address.")
    if photo is None:
        raise UserError("Please take or choose a photo.")
    return photo.file.read()


def counted(db: Session, who: Person) -> None:
    """One more search by picture."""
    rate_limit.use(db, who.name, "picture searches", now=now(), most=AN_HOUR, seconds=3600)


def shown(
    request: Request, db: Session, viewer: Person | None, page: str, found: list[Found]
) -> SimilarsOut:
    """What was found, and that it was shown."""
    made = {
        each.id: each
        for each in schemas.posts_out(
            db, viewer, posts.many(db, viewer, [each.post_id for each in found])
        )
    }
    there = [each for each in found if each.post_id in made]
    request_id, _ = impressions.in_order(
        request, db, viewer, page, [each.post_id for each in there]
    )
    return SimilarsOut(
        items=[SimilarOut(post=made[each.post_id], score=each.score) for each in there],
        request_id=request_id,
    )
