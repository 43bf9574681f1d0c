"""Help when posting, for programs: what to say about a photo, and better pictures of one's own posts."""

from typing import Annotated

from fastapi import APIRouter, File, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from tanuki.animals.api import schemas
from tanuki.animals.api.schemas import Named, PostOut, example, example_of
from tanuki.animals.assist import suggestions
from tanuki.animals.assist.captions import Lang, Source
from tanuki.animals.assist.suggestions import Hint, Suggestions
from tanuki.animals.enhance import apply
from tanuki.animals.http.deps import PICTURE_BYTES, Acting, Id, now, reads, write, writes
from tanuki.animals.images import photo_files
from tanuki.animals.vision.embeddings import Subject
from tanuki.platform.accounts import Person
from tanuki.platform.web.pages import Db, Res, Who

router = APIRouter(tags=["assist"])


class SubjectOut(BaseModel):
    """What is in the photo. `confidence` is between 0 and 1."""

    model_config = example(
        category="dog", breed="shiba", name={"ja": "柴犬", "en": "Shiba Inu"}, confidence=0.93
    )

    category: str
    breed: str | None
    name: Named
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


class Advised(BaseModel):
    """What would make a post's picture better, whether the better one was made, and whether it is shown."""

    model_config = example(
        larger=True, lighter=False, why_not=None, made=False, shown=False, version=1
    )

    larger: bool
    lighter: bool
    why_not: str | None
    made: bool
    shown: bool
    version: int


class Choice(BaseModel):
    """Whether to show the better picture or the one that was sent; of the version of the post that was seen."""

    model_config = ConfigDict(extra="forbid", **example(better=True, version=1))

    better: bool
    version: Annotated[int, Field(ge=1)]


@writes(router, "POST", "/photo-suggestions", max_bytes=PICTURE_BYTES)
def suggest_for_photo(
    request: Request,
    response: Response,
    res: Res,
    who: Acting,
    photo: Annotated[
        UploadFile, File(description="A JPEG, PNG, WebP or HEIC picture. It is not kept.")
    ],
) -> SuggestionsOut:
    """What to say about a photo: suggestions, which are nobody's words until somebody takes them."""
    write(request, response, res, lambda db: suggestions.allow(db, who, now=now()))
    accepted = photo_files.accept(photo.file.read())
    with res.db.read() as db:
        return suggestions_out(db, who, suggestions.suggest(res, db, who, accepted, now=now()))


def suggestions_out(db: Db, who: Person, found: Suggestions) -> SuggestionsOut:
    """Suggestions as programs get them."""
    cards = {
        each.id: each for each in schemas.posts_out(db, who, [duplicate.post for duplicate in found.near_duplicates])
    }
    return SuggestionsOut(
        request=found.request,
        subject=subject_out(found.subject),
        titles=[WordOut(**vars(title)) for title in found.titles],
        tags=[WordOut(**vars(tag)) for tag in found.tags],
        near_duplicates=[
            NearDuplicateOut(post=cards[duplicate.post.id], mine=duplicate.mine)
            for duplicate in found.near_duplicates
            if duplicate.post.id in cards
        ],
        hints=found.hints,
    )


def subject_out(found: Subject | None) -> SubjectOut | None:
    """What is in the photo, if that is known."""
    if found is None:
        return None
    return SubjectOut(
        category=found.category,
        breed=found.breed,
        name=Named(ja=found.ja, en=found.en),
        confidence=round(found.confidence, 3),
    )


# ---- better pictures -----------------------------------------------------------------------------------------------


@reads(router, "/posts/{post_id}/enhancement")
def advised(res: Res, db: Db, who: Who, post_id: Id) -> Advised:
    """What would make the picture of a post of one's own better."""
    return advised_out(res, db, who, post_id)


def advised_out(res: Res, db: Db, who: Person, post_id: int) -> Advised:
    """The same, asked again after a change."""
    offer = apply.offer(db, res.objects, who, post_id)
    advice = offer.advice
    return Advised(
        larger=advice.larger,
        lighter=advice.lighter,
        why_not=advice.why_not,
        made=offer.made,
        shown=offer.post.original is not None,
        version=offer.post.version,
    )


@writes(router, "POST", "/posts/{post_id}/enhancement")
def make(request: Request, response: Response, res: Res, who: Acting, post_id: Id) -> Advised:
    """Make the better picture; the post shows it when it is chosen."""
    apply.make(res, who, post_id, now=now())
    with res.db.read() as db:
        return advised_out(res, db, who, post_id)


@writes(router, "PUT", "/posts/{post_id}/enhancement")
def choose(
    request: Request, response: Response, res: Res, who: Acting, post_id: Id, choice: Choice
) -> PostOut:
    """Show the better picture that was made, or the one that was sent again."""
    accepted = apply.accepted(res, who, post_id) if choice.better else None

    def do(db: Db) -> PostOut:
        if accepted is not None:
            post = apply.take(
                db, res.objects, res.work, who, post_id, accepted, version=choice.version, now=now()
            )
        else:
            post = apply.put_back(db, res.work, who, post_id, version=choice.version, now=now())
        return schemas.one_post(db, who, post)

    return write(request, response, res, do)
