"""Finding posts, for programs: the home feed, search, autocomplete, categories."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel

from tanuki.animals import feed, members
from tanuki.animals.api.schemas import (
    API,
    LocalizedName,
    PostOut,
    example,
    example_of,
    load_posts_out,
)
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import PageRequest, Read, from_fields, now
from tanuki.animals.search import search
from tanuki.animals.search.autocomplete import MAX_SUGGESTIONS, suggest_searches
from tanuki.animals.search.highlight import HighlightedText
from tanuki.animals.taxonomy import CATEGORIES, breeds_of
from tanuki.platform.web.openapi import Page
from tanuki.platform.web.pages import read_route

router = APIRouter(tags=["finding"])
FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(2200, 1, 1, tzinfo=UTC)
Code = Annotated[str | None, Query(max_length=40)]
Moment = Annotated[
    AwareDatetime, AfterValidator(lambda moment: min(max(moment, FIRST_MOMENT), LAST_MOMENT))
]
"""A moment; earlier and later ones are treated as the first and the last."""


class TextFragment(BaseModel):
    """A part of a text, and whether it matches the search."""

    model_config = example(text="柴犬", hit=True)

    text: str
    hit: bool


class SearchHit(BaseModel):
    """A post in the results: its title and a part of its text, with the matches marked."""

    model_config = example(
        post=example_of(PostOut),
        title=[{"text": "昼寝する", "hit": False}, {"text": "柴犬", "hit": True}],
        snippet=[{"text": "Asleep in the sun.", "hit": False}],
    )

    post: PostOut
    title: list[TextFragment]
    snippet: list[TextFragment]


class FeedItem(BaseModel):
    """A post in its position of the feed, and the source that it comes from."""

    model_config = example(post=example_of(PostOut), source="following", position=0)

    post: PostOut
    source: str
    position: int


class FeedOut(BaseModel):
    """A page of the home feed. Events about it name its `request_id`."""

    model_config = example(items=[example_of(FeedItem)], next=None, request_id="5f0c2a9be1d34c77")

    items: list[FeedItem]
    next: str | None
    request_id: str


class CompletionOut(BaseModel):
    """Something to search for; `posts` is how many posts it finds."""

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
    name: LocalizedName
    breeds: dict[str, LocalizedName]


@dataclass(frozen=True)
class SearchFields:
    """The words and filters of a search."""

    q: Annotated[
        str,
        Query(
            max_length=1_000, description="Words in Japanese or English; all of them must be there."
        ),
    ] = ""
    category: Code = None
    breed: Code = None
    tag: Code = None
    since: Moment | None = None
    until: Moment | None = None
    liked: bool = False
    sort: Literal["relevance", "newest", "likes"] = "relevance"


@read_route(router, f"{API}/feed", public=True)
def get_home_feed(context: Read, page: PageRequest) -> FeedOut:
    """Posts of followed members, popular ones and new ones by turns."""
    db, viewer = context.db, context.viewer
    loaded = feed.load_home_feed(
        db,
        viewer,
        after=page.after,
        limit=page.limit,
        now=now(),
        request_id=impressions.new_request_id(),
    )
    visible = load_posts_out(db, viewer, [item.post_id for item in loaded.items])
    shown = [item for item in loaded.items if item.post_id in visible]
    impressions.log_feed(context, loaded, shown)
    return FeedOut(
        items=[
            FeedItem(post=visible[item.post_id], source=item.source, position=item.position)
            for item in shown
        ],
        next=loaded.next,
        request_id=loaded.request_id,
    )


@read_route(router, f"{API}/search", public=True)
def search_posts(
    context: Read,
    fields: Annotated[SearchFields, Depends(from_fields(SearchFields))],
    page: PageRequest,
) -> Page[SearchHit]:
    """Published posts that contain all the words, in any spelling."""
    db, viewer = context.db, context.viewer
    options = search.SearchOptions(
        hidden=members.load_hidden_member_ids(db, members.find_viewer_id(db, viewer)),
        category=fields.category,
        breed=fields.breed,
        tag=fields.tag,
        since=fields.since,
        until=fields.until,
        liked=fields.liked,
        sort=fields.sort,
        after=page.after,
        limit=page.limit,
    )
    results = search.search_posts(db, fields.q, options)
    visible = load_posts_out(db, viewer, [hit.post_id for hit in results.posts])
    hits = [hit for hit in results.posts if hit.post_id in visible]
    terms = [term.text for term in results.terms] if fields.q.strip() else None
    impressions.log_listing(context, "search", [hit.post_id for hit in hits], terms=terms)
    return Page(
        items=[
            SearchHit(
                post=visible[hit.post_id],
                title=build_fragments(hit.title),
                snippet=build_fragments(hit.snippet),
            )
            for hit in hits
        ],
        next=results.next,
    )


def build_fragments(marked: HighlightedText) -> list[TextFragment]:
    return [TextFragment(text=text, hit=hit) for text, hit in marked]


@read_route(router, f"{API}/autocomplete", public=True)
def complete_query(
    context: Read,
    q: Annotated[str, Query(max_length=200)],
    limit: Annotated[int, Query(ge=1, le=MAX_SUGGESTIONS)] = 8,
) -> list[CompletionOut]:
    """Searches that begin as typed, as they are written or read, the most frequent first."""
    return [
        CompletionOut(**completion._asdict())
        for completion in suggest_searches(context.db, q, context.lang, limit)
    ]


@read_route(router, f"{API}/categories", public=True)
def list_categories() -> list[CategoryOut]:
    """Categories of animals with their breeds."""
    return [
        CategoryOut(
            code=code,
            name=LocalizedName(ja=category.ja, en=category.en),
            breeds={
                breed_code: LocalizedName(ja=breed.ja, en=breed.en)
                for breed_code, breed in breeds_of(code).items()
            },
        )
        for code, category in CATEGORIES.items()
    ]
