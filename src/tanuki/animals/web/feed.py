"""Pages of photos: the home feed, the newest, a category; each page has an address and stays as it was while new photos come."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from tanuki.animals import feed, posts
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import now
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.animals.web.layout import CARD, LIMIT, WHOLE, show
from tanuki.errors import NotFound
from tanuki.i18n import msgid
from tanuki.platform.web.pages import Db, Lang, Viewer, site_of, url

router = APIRouter()


@router.get("/animals", include_in_schema=False, response_class=HTMLResponse)
def home(
    request: Request, db: Db, viewer: Viewer, lang: Lang, after: str | None = None
) -> Response:
    """Followed members' photos, popular ones and new ones by turns."""
    found = feed.home(
        db, viewer, after=after, limit=LIMIT, now=now(), request_id=impressions.new_request()
    )
    cards = posts.cards(
        db, viewer, posts.many(db, viewer, [placed.post_id for placed in found.items])
    )
    placed = [item for item in found.items if item.post_id in {card.post.id for card in cards}]
    impressions.shown(
        request,
        db,
        viewer,
        "home",
        placed,
        considered=found.considered,
        request_id=found.request_id,
    )
    return show(
        request,
        db,
        "photos.html",
        title=site_of(request).texts.text(lang, msgid("For you")),
        on="home",
        chosen="home",
        start="/animals",
        after=after,
        cards=cards,
        places={each.post_id: each.position for each in placed},
        request_id=found.request_id,
        next=found.next and url("/animals", after=found.next),
        sizes=WHOLE,
    )


@router.get("/animals/newest", include_in_schema=False, response_class=HTMLResponse)
def newest(
    request: Request, db: Db, viewer: Viewer, lang: Lang, after: str | None = None
) -> Response:
    """Every member's photos, the last published first."""
    return latest(
        request,
        db,
        viewer,
        title=site_of(request).texts.text(lang, msgid("Newest")),
        path="/animals/newest",
        after=after,
    )


@router.get("/animals/categories/{category}", include_in_schema=False, response_class=HTMLResponse)
def category(
    request: Request, db: Db, viewer: Viewer, lang: Lang, category: str, after: str | None = None
) -> Response:
    """Photos of one category, the last published first."""
    if category not in CATEGORIES:
        raise NotFound("There is no such category.")
    title = str(getattr(CATEGORIES[category], lang))
    return latest(
        request,
        db,
        viewer,
        title=title,
        path=f"/animals/categories/{category}",
        after=after,
        category=category,
    )


def latest(
    request: Request,
    db: Db,
    viewer: Viewer,
    *,
    title: str,
    path: str,
    after: str | None,
    category: str | None = None,
) -> Response:
    """A page of photos by their publication."""
    page = posts.newest(db, viewer, category=category, after=after, limit=LIMIT)
    cards = posts.cards(db, viewer, page.items)
    request_id, places = impressions.in_order(
        request, db, viewer, "category" if category else "newest", [card.post.id for card in cards]
    )
    return show(
        request,
        db,
        "photos.html",
        title=title,
        on="newest",
        chosen=category or "newest",
        start=path,
        after=after,
        cards=cards,
        places=places,
        request_id=request_id,
        next=page.next and url(path, after=page.next),
        sizes=CARD,
    )
