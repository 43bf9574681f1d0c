"""Pages of photos: the home feed, the newest, a category. New photos do not move their pages."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import Response

from tanuki.animals import feed, post_queries
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import Read, ReadContext, now
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.animals.web.layout import CARD_SIZES, FEED_SIZES, POSTS_PER_PAGE, render_site_page
from tanuki.errors import NotFound
from tanuki.i18n import msgid
from tanuki.platform.web.pages import read_route
from tanuki.platform.web.site import build_url

router = APIRouter()


@read_route(router, "/animals", public=True)
def show_home_feed(context: Read, after: str | None = None) -> Response:
    db, viewer = context.db, context.viewer
    feed_page = feed.load_home_feed(
        db,
        viewer,
        after=after,
        limit=POSTS_PER_PAGE,
        now=now(),
        request_id=impressions.new_request_id(),
    )
    visible = post_queries.load_listed_posts(db, viewer, [item.post_id for item in feed_page.items])
    cards = post_queries.build_cards(db, viewer, visible)
    visible_ids = {card.post.id for card in cards}
    listing = impressions.log_feed(
        context, feed_page, [item for item in feed_page.items if item.post_id in visible_ids]
    )
    return render_site_page(
        context,
        "feed.html",
        title=context.say(msgid("For you")),
        section="home",
        selected="home",
        start_url="/animals",
        after=after,
        cards=cards,
        positions=listing.positions,
        request_id=listing.request_id,
        next_url=feed_page.next and build_url("/animals", after=feed_page.next),
        sizes=FEED_SIZES,
    )


@read_route(router, "/animals/newest", public=True)
def show_newest(context: Read, after: str | None = None) -> Response:
    title = context.say(msgid("Newest"))
    return show_by_publication(context, PhotoList(title, "/animals/newest"), after)


@read_route(router, "/animals/categories/{category}", public=True)
def show_category(context: Read, category: str, after: str | None = None) -> Response:
    if category not in CATEGORIES:
        raise NotFound("There is no such category.")
    title = str(getattr(CATEGORIES[category], context.lang))
    photo_list = PhotoList(title, f"/animals/categories/{category}", category)
    return show_by_publication(context, photo_list, after)


@dataclass(frozen=True)
class PhotoList:
    """A list of photos in the order of their publication: all, or those of one category."""

    title: str
    path: str
    category: str | None = None


def show_by_publication(context: ReadContext, photo_list: PhotoList, after: str | None) -> Response:
    db, viewer, category = context.db, context.viewer, photo_list.category
    newest = post_queries.list_newest_posts(
        db, viewer, category=category, after=after, limit=POSTS_PER_PAGE
    )
    cards = post_queries.build_cards(db, viewer, newest.items)
    listing = impressions.log_listing(
        context, "category" if category else "newest", [card.post.id for card in cards]
    )
    return render_site_page(
        context,
        "feed.html",
        title=photo_list.title,
        section="newest",
        selected=category or "newest",
        start_url=photo_list.path,
        after=after,
        cards=cards,
        positions=listing.positions,
        request_id=listing.request_id,
        next_url=newest.next and build_url(photo_list.path, after=newest.next),
        sizes=CARD_SIZES,
    )
