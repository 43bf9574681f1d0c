"""What was shown and seen, for those who learn from it: written beside the answers, which do not wait for it."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import events, lists
from tanuki.animals.api.calls import now, write, writes
from tanuki.animals.api.shapes import example
from tanuki.animals.events import Placed
from tanuki.platform.accounts import Person
from tanuki.platform.web.kit import Res, Viewer, site_of

router = APIRouter(tags=["finding"])


class Told(BaseModel):
    """A post was in sight, opened, or looked at for so many milliseconds; `request` and `position` as they came with the list."""

    model_config = ConfigDict(extra="forbid", **example(kind="dwell", post=12, request="5f0c2a9be1d34c77", position=3, ms=4000))

    kind: Literal["seen", "open", "dwell"]
    post: Annotated[int, Field(ge=1, le=lists.LARGEST)]
    request: Annotated[str, Field(pattern=f"^{events.REQUEST.pattern}$")] | None = None
    position: Annotated[int, Field(ge=0, le=events.LARGEST_POSITION)] | None = None
    ms: Annotated[int, Field(ge=0, le=lists.LARGEST)] | None = None


class Kept(BaseModel):
    """How many were kept; none for whom does not agree, or whose browser asks not to be followed."""

    model_config = example(kept=1)

    kept: int


@writes(router, "POST", "/events", public=True, status_code=202)
def tell(
    request: Request, response: Response, res: Res, viewer: Viewer, told: Annotated[list[Told], Field(max_length=events.MOST_AT_ONCE)]
) -> Kept:
    """Say what was in sight, opened and looked at. They are on the disk when this answers."""
    body, address = [each.model_dump(exclude_none=True) for each in told], request.client.host if request.client else ""

    def do(db: Session) -> int:
        return events.accept_beacon(db, viewer, body, request.headers, address=address, now=now())

    return Kept(kept=write(request, response, res, do))


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
    site_of(request).resources.events.put(*told)


def in_order(
    request: Request, db: Session, viewer: Person | None, page: str, post_ids: Iterable[int], *, terms: Sequence[str] | None = None
) -> tuple[str, dict[int, int]]:
    """Posts are shown in a list without chance. Gives the id of that, and the place of each post."""
    request_id, placed = new_request(), events.in_order(post_ids, page, order=page)
    shown(request, db, viewer, page, placed, request_id=request_id, terms=terms)
    return request_id, {each.post_id: each.position for each in placed}
