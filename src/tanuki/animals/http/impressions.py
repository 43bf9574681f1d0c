"""Impression logging for pages and API: which posts were shown, in which order, out of what."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tanuki.animals import events
from tanuki.animals.events import RankedPost
from tanuki.animals.feed import FeedPage
from tanuki.animals.http.deps import ReadContext, now
from tanuki.platform.web.site import get_site


def new_request_id() -> str:
    """A new id for one list of posts that is shown once."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Listing:
    """A list of posts as it was shown: the id that events name, and the position of each post."""

    request_id: str
    positions: dict[int, int]


def log_feed(context: ReadContext, feed: FeedPage, shown: Sequence[RankedPost]) -> Listing:
    """Log a page of the home feed; `shown` are its posts that this viewer could see."""
    who = events.identify_viewer(context.db, context.viewer, context.request.headers)
    get_site(context.request).resources.events.write_later(
        *events.listing_events(
            who,
            "home",
            shown,
            considered=feed.considered,
            request_id=feed.request_id,
            now=now(),
        )
    )
    return Listing(feed.request_id, {post.post_id: post.position for post in shown})


def log_listing(
    context: ReadContext,
    page: str,
    post_ids: Iterable[int],
    *,
    terms: Sequence[str] | None = None,
) -> Listing:
    """Log a list whose order involves no chance; with `terms` when somebody searched for them."""
    who, moment = (
        events.identify_viewer(context.db, context.viewer, context.request.headers),
        now(),
    )
    request_id, shown = new_request_id(), events.rank_in_order(post_ids, page, order=page)
    logged = events.listing_events(who, page, shown, request_id=request_id, now=moment)
    if terms is not None:
        logged += events.search_events(who, terms, len(shown), request_id=request_id, now=moment)
    get_site(context.request).resources.events.write_later(*logged)
    return Listing(request_id, {post.post_id: post.position for post in shown})
