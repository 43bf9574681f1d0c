"""Search by words with filters and autocomplete, and search by photo."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response
from markupsafe import Markup, escape

from tanuki.animals import members, post_queries
from tanuki.animals.http import image_search, impressions
from tanuki.animals.http.deps import (
    PHOTO_FORM_BYTES,
    Read,
    ReadContext,
    Write,
    from_fields,
)
from tanuki.animals.images import photo_files
from tanuki.animals.post_queries import Card
from tanuki.animals.search import search
from tanuki.animals.search.autocomplete import suggest_searches
from tanuki.animals.search.highlight import HighlightedText
from tanuki.animals.similarity import search as similar
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.animals.web.layout import (
    CARD_SIZES,
    POSTS_PER_PAGE,
    Text,
    render_site_page,
    say_error,
)
from tanuki.animals.web.photo_fields import SentPhoto
from tanuki.errors import UserError
from tanuki.i18n import TOKYO, Translate, msgid
from tanuki.platform.web.pages import read_route, write_route
from tanuki.platform.web.site import build_url

router = APIRouter()
ShortText = Annotated[str, Query(max_length=200)]
COMPLETION_KINDS = {
    "breed": msgid("breed"),
    "category": msgid("category"),
    "tag": msgid("tag"),
    "word": "",
}
ONE_DAY = timedelta(days=1)
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2200, 1, 1)
"""Earlier and later days are treated as these: databases know no year 1 in every time zone."""


@dataclass(frozen=True)
class SearchQuery:
    """The words and filters of a search, as they stand in its address."""

    q: str = ""
    category: ShortText = ""
    breed: ShortText = ""
    tag: ShortText = ""
    since: date | None = None
    until: date | None = None
    liked: bool = False
    sort: ShortText = "relevance"

    @property
    def is_search(self) -> bool:
        """Whether it searches for anything; days and likes alone do not."""
        return bool(self.q.strip() or self.category or self.breed or self.tag)

    def build_url(self, **changes: object) -> str:
        """The address of this search with some fields changed."""
        fields = {
            "q": self.q,
            "category": self.category,
            "breed": self.breed,
            "tag": self.tag,
            "since": self.since,
            "until": self.until,
            "liked": 1 if self.liked else None,
            "sort": self.sort if self.sort != "relevance" else None,
        }
        return build_url("/animals/search", **{**fields, **changes})


@dataclass(frozen=True)
class SearchResult:
    """A post in the results, with the searched words highlighted."""

    card: Card
    title: Markup
    snippet: Markup | None


@dataclass(frozen=True)
class Filter:
    """A filter of the search: its name, and the address of the search without it."""

    name: str
    remove_url: str


@read_route(router, "/animals/search", public=True)
def show_search(
    context: Read,
    query: Annotated[SearchQuery, Depends(from_fields(SearchQuery))],
    after: str | None = None,
) -> Response:
    db, viewer = context.db, context.viewer
    results = (
        search_posts(context, query, after) if query.is_search else search.SearchPage([], None, [])
    )
    visible = post_queries.load_listed_posts(db, viewer, [hit.post_id for hit in results.posts])
    cards = {card.post.id: card for card in post_queries.build_cards(db, viewer, visible)}
    hits = [hit for hit in results.posts if hit.post_id in cards]
    terms = [term.text for term in results.terms] if query.is_search else None
    listing = impressions.log_listing(context, "search", [hit.post_id for hit in hits], terms=terms)
    return render_site_page(
        context,
        "search.html",
        section="search",
        query=query,
        filters=describe_filters(context.say, context.lang, query),
        results=[
            SearchResult(
                cards[hit.post_id],
                highlight(hit.title),
                highlight(hit.snippet) if any(match for _, match in hit.snippet) else None,
            )
            for hit in hits
        ],
        request_id=listing.request_id,
        positions=listing.positions,
        next_url=results.next and query.build_url(after=results.next),
        sizes=CARD_SIZES,
        max_upload_mb=photo_files.MAX_UPLOAD_MB,
    )


def search_posts(context: ReadContext, query: SearchQuery, after: str | None) -> search.SearchPage:
    """A page of results; `since` and `until` are days in Tokyo, both included."""
    db = context.db
    until = query.until and min(query.until, LAST_DAY) + ONE_DAY
    options = search.SearchOptions(
        hidden=members.load_hidden_member_ids(db, members.find_viewer_id(db, context.viewer)),
        category=query.category or None,
        breed=query.breed or None,
        tag=query.tag or None,
        since=start_of_day(query.since),
        until=start_of_day(until),
        liked=query.liked,
        sort=query.sort,
        after=after,
        limit=POSTS_PER_PAGE,
    )
    return search.search_posts(db, query.q, options)


def start_of_day(day: date | None) -> datetime | None:
    """The moment at which a day begins in Tokyo."""
    if day is None:
        return None
    return datetime.combine(min(max(day, FIRST_DAY), LAST_DAY), time(), TOKYO)


def highlight(fragments: HighlightedText) -> Markup:
    """A text with the searched words in <mark>; everything else is escaped."""
    return Markup("").join(
        Markup("<mark>{}</mark>").format(text) if match else escape(text)
        for text, match in fragments
    )


def describe_filters(say: Translate, lang: str, query: SearchQuery) -> list[Filter]:
    """The filters of a search in the reader's language."""
    names = {
        "category": getattr(CATEGORIES.get(query.category), lang, None),
        "breed": getattr(BREEDS.get(query.breed), lang, None),
        "tag": f"#{query.tag}" if query.tag else None,
        "since": say(msgid("from %(day)s"), day=query.since) if query.since else None,
        "until": say(msgid("until %(day)s"), day=query.until) if query.until else None,
        "liked": say(msgid("only photos with likes")) if query.liked else None,
    }
    return [Filter(name, query.build_url(**{field: None})) for field, name in names.items() if name]


@read_route(router, "/animals/autocomplete", public=True)
def complete_query(context: Read, q: ShortText = "") -> Response:
    """Searches that begin with what somebody is typing."""
    completions = suggest_searches(context.db, q, context.lang) if q.strip() else []
    return JSONResponse(
        [
            {"text": completion.text, "kind": context.say(COMPLETION_KINDS[completion.kind])}
            for completion in completions
        ]
    )


# ---- by photo ------------------------------------------------------------------------------------


@write_route(router, "/animals/search/image", max_bytes=PHOTO_FORM_BYTES)
def search_by_photo(context: Write, photos: SentPhoto, category: Text = "") -> Response:
    """Photos similar to one that was sent. It is not stored, so the page has no address."""
    similar_posts: list[similar.SimilarPost] = []
    error: UserError | None = None
    try:
        content = photos.read_photo()
        similar_filter = similar.SimilarFilter(category or None)
        context.commit(lambda db: image_search.count_search(db, context.person, now=context.now))
        with context.reading() as reading:
            search_by_image = similar.SimilaritySearch(
                context.res, reading.db, context.person, context.now
            )
            similar_posts = search_by_image.similar_to_image(
                content, POSTS_PER_PAGE, similar_filter
            )
    except UserError as refusal:
        error = refusal
    with context.reading() as reading:
        db, viewer = reading.db, context.person
        visible = post_queries.load_listed_posts(
            db, viewer, [post.post_id for post in similar_posts]
        )
        cards = post_queries.build_cards(db, viewer, visible)
        listing = impressions.log_listing(reading, "picture", [card.post.id for card in cards])
        return render_site_page(
            reading,
            "image_search.html",
            status=error.status if error else 200,
            section="search",
            error=say_error(context.request, error),
            category=category,
            cards=cards,
            request_id=listing.request_id,
            positions=listing.positions,
            sizes=CARD_SIZES,
            max_upload_mb=photo_files.MAX_UPLOAD_MB,
        )
