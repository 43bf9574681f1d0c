"""Searching photos by words, with filters and suggestions while somebody types."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse, Response
from markupsafe import Markup, escape

from tanuki.animals import members, posts
from tanuki.animals.api import similar as by_picture
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import PICTURE_BYTES, now
from tanuki.animals.images import photo_files
from tanuki.animals.posts import Card
from tanuki.animals.search import search
from tanuki.animals.search.autocomplete import suggest
from tanuki.animals.search.highlight import Marked
from tanuki.animals.similarity import search as similar
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.animals.web.layout import CARD, LIMIT, Text, form, show
from tanuki.errors import UserError
from tanuki.i18n import TOKYO, Texts, msgid
from tanuki.platform.web.pages import Db, Lang, Res, Viewer, Who, site_of, url, visit_of

router = APIRouter()
Short = Annotated[str, Query(max_length=200)]
KINDS = {"breed": msgid("breed"), "category": msgid("category"), "tag": msgid("tag"), "word": ""}
DAY = timedelta(days=1)
EARLIEST, LATEST = date(2000, 1, 1), date(2200, 1, 1)  # days before and after are as good as these


@dataclass(frozen=True)
class Asked:
    """What somebody searches for."""

    q: str
    category: str
    breed: str
    tag: str
    since: date | None
    until: date | None
    liked: bool
    sort: str

    @property
    def any(self) -> bool:
        """Whether it asks for anything; filters of time and likes alone do not."""
        return bool(self.q.strip() or self.category or self.breed or self.tag)

    def query(self, **changed: object) -> dict[str, object]:
        """It as an address, with something changed."""
        given = {
            "q": self.q,
            "category": self.category,
            "breed": self.breed,
            "tag": self.tag,
            "since": self.since,
            "until": self.until,
            "liked": 1 if self.liked else None,
            "sort": self.sort if self.sort != "relevance" else None,
        }
        return {**given, **changed}


@dataclass(frozen=True)
class Hit:
    """A photo that was found, with the words marked."""

    card: Card
    title: Markup
    snippet: Markup | None


@router.get("/animals/search", include_in_schema=False, response_class=HTMLResponse)
def search_page(
    request: Request,
    db: Db,
    viewer: Viewer,
    lang: Lang,
    q: str = "",
    category: Short = "",
    breed: Short = "",
    tag: Short = "",
    since: date | None = None,
    until: date | None = None,
    liked: bool = False,
    sort: Short = "relevance",
    after: str | None = None,
) -> Response:
    """What was found, or where to begin."""
    asked = Asked(q, category, breed, tag, since, until, liked, sort)
    found = find(db, viewer, asked, after) if asked.any else search.Found([], None, [])
    cards = {
        card.post.id: card
        for card in posts.cards(
            db, viewer, posts.many(db, viewer, [hit.post_id for hit in found.posts])
        )
    }
    hits = [hit for hit in found.posts if hit.post_id in cards]
    terms = [term.text for term in found.terms]
    request_id, places = impressions.in_order(
        request,
        db,
        viewer,
        "search",
        [hit.post_id for hit in hits],
        terms=terms if asked.any else None,
    )
    return show(
        request,
        db,
        "search.html",
        on="search",
        asked=asked,
        request_id=request_id,
        places=places,
        filters=filters(site_of(request).texts, lang, asked),
        cards=[
            Hit(
                cards[hit.post_id],
                marked(hit.title),
                marked(hit.snippet) if any(is_hit for _, is_hit in hit.snippet) else None,
            )
            for hit in hits
        ],
        next=found.next and url("/animals/search", **asked.query(after=found.next)),
        sizes=CARD,
        most_megabytes=photo_files.UPLOAD_MB,
    )


def find(db: Db, viewer: Viewer, asked: Asked, after: str | None) -> search.Found:
    """A page of what is asked for; days are days in Tokyo, both of them included."""
    return search.search(
        db,
        asked.q,
        hidden=members.hidden_ids(db, members.viewer_id(db, viewer)),
        category=asked.category or None,
        breed=asked.breed or None,
        tag=asked.tag or None,
        since=midnight(asked.since),
        until=midnight(asked.until and min(asked.until, LATEST) + DAY),
        liked=asked.liked,
        sort=asked.sort,
        after=after,
        limit=LIMIT,
    )


def midnight(day: date | None) -> datetime | None:
    """When a day begins in Tokyo."""
    return None if day is None else datetime.combine(min(max(day, EARLIEST), LATEST), time(), TOKYO)


def marked(parts: Marked) -> Markup:
    """A text with what was searched for marked; all of it is text."""
    return Markup("").join(
        Markup("<mark>{}</mark>").format(text) if hit else escape(text) for text, hit in parts
    )


def filters(texts: Texts, lang: str, asked: Asked) -> list[dict[str, Any]]:
    """What narrows the search, in words, each with the address of the search without it."""
    words = (
        {"category": str(getattr(CATEGORIES[asked.category], lang))}
        if asked.category in CATEGORIES
        else {}
    )
    words |= {"breed": str(getattr(BREEDS[asked.breed], lang))} if asked.breed in BREEDS else {}
    words |= {"tag": f"#{asked.tag}"} if asked.tag else {}
    words |= (
        {"since": texts.fill(lang, msgid("from %(day)s"), {"day": asked.since})}
        if asked.since
        else {}
    )
    words |= (
        {"until": texts.fill(lang, msgid("until %(day)s"), {"day": asked.until})}
        if asked.until
        else {}
    )
    words |= {"liked": texts.text(lang, msgid("only liked ones"))} if asked.liked else {}
    return [
        {"name": name, "without": url("/animals/search", **asked.query(**{key: None}))}
        for key, name in words.items()
    ]


@router.get("/animals/suggest", include_in_schema=False)
def suggestions(
    request: Request, db: Db, lang: Lang, q: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """What somebody may be about to type."""
    texts = site_of(request).texts
    found = suggest(db, q, lang) if q.strip() else []
    return JSONResponse(
        [{"text": each.text, "kind": texts.text(lang, KINDS[each.kind])} for each in found]
    )


# ---- by picture ----------------------------------------------------------------------------------------------------


@form(router, "/animals/search/picture", max_bytes=PICTURE_BYTES)
def search_by_picture(
    request: Request,
    res: Res,
    who: Who,
    category: Text = "",
    photo: UploadFile | None = None,
    camera: UploadFile | None = None,
) -> Response:
    """Photos similar to one that is sent along, or what is wrong with it. It is not kept, so this page has no address to come back to."""
    sent = next((each for each in (photo, camera) if each is not None and each.size), None)
    found: list[similar.Found] = []
    wrong: UserError | None = None
    with res.db.read() as db:
        try:
            content, asked = by_picture.picture(sent, None), similar.Asked(category or None)
            res.db.together(lambda db: by_picture.counted(db, who))
            found = similar.to_picture(res, db, who, content, k=LIMIT, asked=asked, now=now())
        except UserError as error:
            wrong = error
        cards = posts.cards(db, who, posts.many(db, who, [each.post_id for each in found]))
        request_id, places = impressions.in_order(
            request, db, who, "picture", [card.post.id for card in cards]
        )
        return show(
            request,
            db,
            "found.html",
            status=wrong.status if wrong else 200,
            on="search",
            wrong=wrong and site_of(request).texts.error(visit_of(request).lang, wrong),
            category=category,
            cards=cards,
            request_id=request_id,
            places=places,
            sizes=CARD,
            most_megabytes=photo_files.UPLOAD_MB,
        )
