"""Similar photos for programs: similar to a post's photo, or to one that is sent along."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from pydantic import BaseModel, Field

from tanuki.animals import pagination
from tanuki.animals.api.schemas import API, PostOut, example, example_of, load_posts_out
from tanuki.animals.http import image_search, impressions
from tanuki.animals.http.deps import (
    PHOTO_FORM_BYTES,
    Read,
    ReadContext,
    RecordId,
    Write,
    from_fields,
    now,
)
from tanuki.animals.similarity.search import (
    MAX_EXCLUDED_POSTS,
    SimilarFilter,
    SimilaritySearch,
    SimilarPost,
)
from tanuki.errors import UserError
from tanuki.platform.web.pages import read_route, write_route

router = APIRouter(tags=["finding"])
ExcludedId = Annotated[int, Field(ge=1, le=pagination.MAX_ID)]


class SimilarPostOut(BaseModel):
    """A post; `score` is the cosine of the two photos' embeddings, 1 for the same photo."""

    model_config = example(post=example_of(PostOut), score=0.83)

    post: PostOut
    score: float


class SimilarPostsOut(BaseModel):
    """Posts, the most similar first. Events about them name the `request_id`."""

    model_config = example(items=[example_of(SimilarPostOut)], request_id="5f0c2a9be1d34c77")

    items: list[SimilarPostOut]
    request_id: str


@dataclass(frozen=True)
class SimilarFields:
    """How many posts similar to a post's photo to find, and which ones."""

    k: Annotated[int, Query(ge=1, le=pagination.MAX_PAGE_SIZE, description="How many at most.")] = (
        10
    )
    category: Annotated[str | None, Query(max_length=40)] = None
    exclude_own: Annotated[bool, Query(description="Without the posts of the one who asks.")] = (
        False
    )
    exclude: Annotated[
        list[ExcludedId] | None,
        Query(max_length=MAX_EXCLUDED_POSTS, description="Ids of posts that are not wanted."),
    ] = None


@dataclass(frozen=True)
class ImageSearchFields:
    """A photo to search with, how many similar posts to find, and which ones."""

    photo: Annotated[
        UploadFile | None, File(description="A JPEG, PNG, WebP or HEIC picture. It is not stored.")
    ] = None
    url: Annotated[
        str | None,
        Form(description="Refused: photos are not fetched from addresses.", examples=[None]),
    ] = None
    k: Annotated[int, Form(ge=1, le=pagination.MAX_PAGE_SIZE, examples=[10])] = 10
    category: Annotated[str | None, Form(max_length=40, examples=["dog"])] = None
    exclude_own: Annotated[bool, Form(examples=[True])] = False
    exclude: Annotated[
        list[ExcludedId] | None, Form(max_length=MAX_EXCLUDED_POSTS, examples=[[12, 40]])
    ] = None

    def read_photo(self) -> bytes:
        """The content of the photo. Raises UserError when none, or only an address, was sent."""
        if self.url:
            raise UserError("Please send the photo itself; it is not fetched from an address.")
        if self.photo is None:
            raise UserError("Please take or choose a photo.")
        return self.photo.file.read()


@read_route(router, f"{API}/posts/{{post_id}}/similar", public=True)
def find_similar_posts(
    context: Read,
    post_id: RecordId,
    fields: Annotated[SimilarFields, Depends(from_fields(SimilarFields))],
) -> SimilarPostsOut:
    """Published posts whose photos are similar to a post's photo, without that post."""
    filters = SimilarFilter(fields.category, fields.exclude_own, frozenset(fields.exclude or ()))
    similarity_search = SimilaritySearch(context.res, context.db, context.viewer, now())
    similar = similarity_search.similar_to_post(post_id, fields.k, filters)
    return build_similar_out(context, "similar", similar)


@write_route(router, f"{API}/search/image", max_bytes=PHOTO_FORM_BYTES)
def search_by_image(
    context: Write, fields: Annotated[ImageSearchFields, Depends(from_fields(ImageSearchFields))]
) -> SimilarPostsOut:
    """Published posts whose photos are similar to one that is sent along."""
    content = fields.read_photo()
    filters = SimilarFilter(
        fields.category or None, fields.exclude_own, frozenset(fields.exclude or ())
    )
    context.commit(lambda db: image_search.count_search(db, context.person, now=context.now))
    with context.reading() as reading:
        similarity_search = SimilaritySearch(context.res, reading.db, context.person, context.now)
        similar = similarity_search.similar_to_image(content, fields.k, filters)
        return build_similar_out(reading, "picture", similar)


def build_similar_out(
    context: ReadContext, page: str, similar: Sequence[SimilarPost]
) -> SimilarPostsOut:
    """The similar posts that the viewer may see; logs that they are shown."""
    visible = load_posts_out(context.db, context.viewer, [post.post_id for post in similar])
    shown = [post for post in similar if post.post_id in visible]
    listing = impressions.log_listing(context, page, [post.post_id for post in shown])
    return SimilarPostsOut(
        items=[SimilarPostOut(post=visible[post.post_id], score=post.score) for post in shown],
        request_id=listing.request_id,
    )
