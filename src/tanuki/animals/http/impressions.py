"""Impression logging for pages and API: which posts were shown, in which order, and out of what."""

import secrets
from collections.abc import Iterable, Sequence

from fastapi import Request
from sqlalchemy.orm import Session

from tanuki.animals import events
from tanuki.animals.events import Placed
from tanuki.animals.http.deps import now
from tanuki.platform.accounts import Person
from tanuki.platform.web.pages import site_of


def new_request() -> str:
    """An id for a page of posts that is shown once."""
    return secrets.token_hex(8)


def shown(
    request: Request,
    db: Session,
    viewer: Person | None,
    page: str,
    placed: Sequence[Placed],
    *,
    considered: Sequence[int] = (),
    request_id: str,
    terms: Sequence[str] | None = None,
) -> None:
    """Posts are shown on a page; `terms` when somebody searched for them."""
    who, moment = events.looker(db, viewer, request.headers), now()
    told = events.listed(
        who, page, placed, considered=considered, request_id=request_id, now=moment
    )
    if terms is not None:
        told += events.searched(who, terms, len(placed), request_id=request_id, now=moment)
    site_of(request).resources.events.put(*told)


def in_order(
    request: Request,
    db: Session,
    viewer: Person | None,
    page: str,
    post_ids: Iterable[int],
    *,
    terms: Sequence[str] | None = None,
) -> tuple[str, dict[int, int]]:
    """Posts are shown in a list without chance. Gives the id of that, and the place of each post."""
    request_id, placed = new_request(), events.in_order(post_ids, page, order=page)
    shown(request, db, viewer, page, placed, request_id=request_id, terms=terms)
    return request_id, {each.post_id: each.position for each in placed}
