"""Finding posts: the home feed, the search, suggestions, categories; and what was seen of them."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel

from tanuki.animals import feed, members, posts
from tanuki.animals.api import schemas
from tanuki.animals.api.schemas import FoundOut, Named, Part, PostOut, example, example_of
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import After, Limit, now, reads
from tanuki.animals.search.autocomplete import MOST, suggest
from tanuki.animals.search.highlight import Marked
from tanuki.animals.search.search import search
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.platform.web.pages import Db, Lang, Viewer
from tanuki.platform.web.rest import Page

router = APIRouter(tags=["finding"])
Code = Annotated[str | None, Query(max_length=40)]
EARLIEST, LATEST = (
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2200, 1, 1, tzinfo=UTC),
)  # what is before or after is as good as these
Moment = Annotated[AwareDatetime, AfterValidator(lambda moment: min(max(moment, EARLIEST), LATEST))]


class PlacedOut(BaseModel):
    """A post in its place of the feed, and why it stands there."""

    model_config = example(post=example_of(PostOut), source="following", position=0)

    post: PostOut
    source: str
    position: int


class FeedOut(BaseModel):
    """A page of the home feed. `request_id` goes into the events about it."""

    model_config = example(items=[example_of(PlacedOut)], next=None, request_id="5f0c2a9be1d34c77")

    items: list[PlacedOut]
    next: str | None
    request_id: str


class SuggestionOut(BaseModel):
    """Something to search for; `posts` is how many have it."""

    model_config = example(text="柴犬", kind="breed", code="shiba", posts=3)

    text: str
    kind: Literal["breed", "category", "tag", "word"]
    code: str | None
    posts: int


class CategoryOut(BaseModel):
    """A category of animals with its breeds."""

    model_config = example(
        code="dog",
        name={"ja": "犬", "en": "Dogs"},
        breeds={"shiba": {"ja": "柴犬", "en": "Shiba Inu"}},
    )

    code: str
    name: Named
    breeds: dict[str, Named]


@reads(router, "/feed")
def home(
    request: Request, db: Db, viewer: Viewer, after: After = None, limit: Limit = 24
) -> FeedOut:
    """Posts of followed members, popular ones and new ones by turns."""
    found = feed.home(
        db, viewer, after=after, limit=limit, now=now(), request_id=impressions.new_request()
    )
    shown = {
        each.id: each
        for each in schemas.posts_out(
            db, viewer, posts.many(db, viewer, [placed.post_id for placed in found.items])
        )
    }
    placed = [item for item in found.items if item.post_id in shown]
    impressions.shown(
        request,
        db,
        viewer,
        "home",
        placed,
        considered=found.considered,
        request_id=found.request_id,
    )
    items = [
        PlacedOut(post=shown[each.post_id], source=each.source, position=each.position)
        for each in placed
    ]
    return FeedOut(items=items, next=found.next, request_id=found.request_id)


@reads(router, "/search")
def find(
    request: Request,
    db: Db,
    viewer: Viewer,
    q: Annotated[
        str,
        Query(
            max_length=1_000, description="Words in Japanese or English; all of them must be there."
        ),
    ] = "",
    category: Code = None,
    breed: Code = None,
    tag: Code = None,
    since: Moment | None = None,
    until: Moment | None = None,
    liked: bool = False,
    sort: Literal["relevance", "newest", "likes"] = "relevance",
    after: After = None,
    limit: Limit = 24,
) -> Page[FoundOut]:
    """Published posts that have all the words, written in any way."""
    hidden = members.hidden_ids(db, members.viewer_id(db, viewer))
    found = search(
        db,
        q,
        hidden=hidden,
        category=category,
        breed=breed,
        tag=tag,
        since=since,
        until=until,
        liked=liked,
        sort=sort,
        after=after,
        limit=limit,
    )
    shown = {
        each.id: each
        for each in schemas.posts_out(
            db, viewer, posts.many(db, viewer, [hit.post_id for hit in found.posts])
        )
    }
    terms = [term.text for term in found.terms] if q.strip() else None
    impressions.in_order(
        request,
        db,
        viewer,
        "search",
        [hit.post_id for hit in found.posts if hit.post_id in shown],
        terms=terms,
    )
    items = [
        FoundOut(post=shown[hit.post_id], title=parts(hit.title), snippet=parts(hit.snippet))
        for hit in found.posts
        if hit.post_id in shown
    ]
    return Page(items=items, next=found.next)


def parts(marked: Marked) -> list[Part]:
    """A text in pieces that were searched for, or not."""
    return [Part(text=text, hit=hit) for text, hit in marked]


@reads(router, "/suggestions")
def suggestions(
    db: Db,
    lang: Lang,
    q: Annotated[str, Query(max_length=200)],
    limit: Annotated[int, Query(ge=1, le=MOST)] = 8,
) -> list[SuggestionOut]:
    """What begins as typed, as it is written or read, the most used first."""
    return [SuggestionOut(**each._asdict()) for each in suggest(db, q, lang, limit)]


@reads(router, "/categories")
def categories() -> list[CategoryOut]:
    """Categories of animals with their breeds."""
    names = schemas.category_names()
    return [
        CategoryOut(code=code, name=names[code], breeds=schemas.breed_names(code))
        for code in CATEGORIES
    ]
