"""What was shown and seen, for those who learn from it: written beside the pages, which do not wait for it."""

import json
import secrets
from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from tanuki.animals import events
from tanuki.animals.events import Placed
from tanuki.animals.web.frame import Text, now
from tanuki.errors import UserError
from tanuki.platform.accounts import Person
from tanuki.platform.web.kit import FromOurForm, Res, Viewer, resources_of

router = APIRouter()


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
    told = events.listed(who, page, placed, considered=considered, request_id=request_id, now=moment)
    if terms is not None:
        told += events.searched(who, terms, len(placed), request_id=request_id, now=moment)
    resources_of(request).events.put(*told)


def in_order(
    request: Request, db: Session, viewer: Person | None, page: str, post_ids: Iterable[int], *, terms: Sequence[str] | None = None
) -> tuple[str, dict[int, int]]:
    """Posts are shown in a list without chance. Gives the id of that, and the place of each post."""
    request_id, placed = new_request(), events.in_order(post_ids, page, order=page)
    shown(request, db, viewer, page, placed, request_id=request_id, terms=terms)
    return request_id, {each.post_id: each.position for each in placed}


@router.post("/animals/seen", include_in_schema=False, dependencies=[FromOurForm])
def seen(request: Request, res: Res, viewer: Viewer, told: Text) -> Response:
    """What a browser says was in sight, opened and looked at, in a batch."""
    try:
        body = json.loads(told)
    except (ValueError, RecursionError):
        raise UserError("Expected a list of events.") from None
    address = request.client.host if request.client else ""
    res.db.together(lambda db: events.accept_beacon(db, viewer, body, request.headers, address=address, now=now()))
    return Response(status_code=204)
