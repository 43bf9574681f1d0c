"""Help for a post, for programs: suggestions for a photo, and an improved photo for a post."""

from typing import Annotated

from fastapi import APIRouter, File, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals.api.schemas import (
    API,
    LocalizedName,
    PostOut,
    build_post_out,
    build_posts_out,
    example,
    example_of,
)
from tanuki.animals.assist import suggestions
from tanuki.animals.assist.captions import Lang, Source
from tanuki.animals.assist.suggestions import Hint, Suggestions
from tanuki.animals.enhance import apply
from tanuki.animals.http.deps import (
    PHOTO_FORM_BYTES,
    MemberWrite,
    Read,
    ReadContext,
    RecordId,
)
from tanuki.animals.images import photo_files
from tanuki.animals.posts import PostVersion
from tanuki.animals.vision.embeddings import Subject
from tanuki.platform.web.pages import read_route, write_route

router = APIRouter(tags=["assist"])


class SubjectOut(BaseModel):
    """What is in the photo. `confidence` is between 0 and 1."""

    model_config = example(
        category="dog", breed="shiba", name={"ja": "柴犬", "en": "Shiba Inu"}, confidence=0.93
    )

    category: str
    breed: str | None
    name: LocalizedName
    confidence: float


class WordOut(BaseModel):
    """A title or a tag; from the image model, or from posts with similar photos."""

    model_config = example(text="柴犬", lang="ja", source="image_model")

    text: str
    lang: Lang
    source: Source


class NearDuplicateOut(BaseModel):
    """A post that has the same picture, perhaps cropped, framed, scaled or turned."""

    model_config = example(post=example_of(PostOut), mine=True)

    post: PostOut
    mine: bool


class SuggestionsOut(BaseModel):
    """Suggestions for a photo."""

    model_config = example(
        request="5f0c2a9be1d34c77",
        subject=example_of(SubjectOut),
        titles=[example_of(WordOut)],
        tags=[example_of(WordOut)],
        near_duplicates=[],
        hints=["dark"],
    )

    request: str = Field(description="Names these suggestions in the event about what was taken.")
    subject: SubjectOut | None
    titles: list[WordOut]
    tags: list[WordOut]
    near_duplicates: list[NearDuplicateOut]
    hints: list[Hint]


class EnhancementOut(BaseModel):
    """What would improve a post's photo, whether the improved photo was made, and is shown."""

    model_config = example(
        larger=True, lighter=False, why_not=None, made=False, shown=False, version=1
    )

    larger: bool
    lighter: bool
    why_not: str | None
    made: bool
    shown: bool
    version: int


class PictureChoice(BaseModel):
    """Whether to show the improved photo or the original, for the post's version that was read."""

    model_config = ConfigDict(extra="forbid", **example(enhanced=True, version=1))

    enhanced: bool
    version: Annotated[int, Field(ge=1)]


@write_route(router, f"{API}/photo-suggestions", max_bytes=PHOTO_FORM_BYTES)
def suggest_for_photo(
    context: MemberWrite,
    photo: Annotated[
        UploadFile, File(description="A JPEG, PNG, WebP or HEIC picture. It is not stored.")
    ],
) -> SuggestionsOut:
    """Suggestions for a post with this photo; nothing is posted."""
    context.commit(lambda db: suggestions.count_request(db, context.person, now=context.now))
    accepted = photo_files.clean_upload(context.res, photo.file.read())
    with context.reading() as reading:
        suggested = suggestions.suggest_for_photo(
            context.res, reading.db, context.person, accepted, now=context.now
        )
        return build_suggestions_out(reading, suggested)


def build_suggestions_out(context: ReadContext, suggested: Suggestions) -> SuggestionsOut:
    posts = build_posts_out(
        context.db, context.viewer, [duplicate.post for duplicate in suggested.near_duplicates]
    )
    posts_by_id = {post.id: post for post in posts}
    return SuggestionsOut(
        request=suggested.request,
        subject=subject_out(suggested.subject),
        titles=[WordOut(**vars(title)) for title in suggested.titles],
        tags=[WordOut(**vars(tag)) for tag in suggested.tags],
        near_duplicates=[
            NearDuplicateOut(post=posts_by_id[duplicate.post.id], mine=duplicate.mine)
            for duplicate in suggested.near_duplicates
            if duplicate.post.id in posts_by_id
        ],
        hints=suggested.hints,
    )


def subject_out(subject: Subject | None) -> SubjectOut | None:
    if subject is None:
        return None
    return SubjectOut(
        category=subject.category,
        breed=subject.breed,
        name=LocalizedName(ja=subject.ja, en=subject.en),
        confidence=round(subject.confidence, 3),
    )


# ---- improved photos -----------------------------------------------------------------------------


@read_route(router, f"{API}/posts/{{post_id}}/enhancement")
def get_enhancement(context: Read, post_id: RecordId) -> EnhancementOut:
    """What would improve the photo of a post of one's own."""
    return build_enhancement_out(context, post_id)


def build_enhancement_out(context: ReadContext, post_id: int) -> EnhancementOut:
    offer = apply.load_offer(context.db, context.res.objects, context.person, post_id)
    advice = offer.advice
    return EnhancementOut(
        larger=advice.larger,
        lighter=advice.lighter,
        why_not=advice.why_not,
        made=offer.made,
        shown=offer.post.original is not None,
        version=offer.post.version,
    )


@write_route(router, f"{API}/posts/{{post_id}}/enhancement")
def create_enhancement(context: MemberWrite, post_id: RecordId) -> EnhancementOut:
    """Make the improved photo. The post shows it when its owner chooses it."""
    apply.make_enhancement(context.res, context.person, post_id, now=context.now)
    with context.reading() as reading:
        return build_enhancement_out(reading, post_id)


@write_route(router, f"{API}/posts/{{post_id}}/enhancement", method="PUT")
def choose_picture(context: MemberWrite, post_id: RecordId, choice: PictureChoice) -> PostOut:
    """Show the improved photo, or the original one again."""
    res, person = context.res, context.person
    base = PostVersion(post_id, choice.version)
    accepted = apply.store_enhancement(res, person, post_id) if choice.enhanced else None

    def show(db: Session) -> PostOut:
        if accepted is not None:
            post = apply.apply_enhancement(db, res, person, base, accepted, now=context.now)
        else:
            post = apply.restore_original(db, res.jobs, person, base, now=context.now)
        return build_post_out(db, person, post)

    return context.commit(show)
