"""Impressions for programs: what a client says was seen, opened or looked at."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tanuki.animals import events, pagination
from tanuki.animals.api.schemas import example
from tanuki.animals.http.deps import now, write, writes
from tanuki.platform.web.pages import Res, Viewer

router = APIRouter(tags=["finding"])


class Told(BaseModel):
    """A post was in sight, opened, or looked at for so many milliseconds; `request` and `position` as they came with the list."""

    model_config = ConfigDict(
        extra="forbid",
        **example(kind="dwell", post=12, request="5f0c2a9be1d34c77", position=3, ms=4000),
    )

    kind: Literal["seen", "open", "dwell"]
    post: Annotated[int, Field(ge=1, le=pagination.LARGEST)]
    request: Annotated[str, Field(pattern=f"^{events.REQUEST.pattern}$")] | None = None
    position: Annotated[int, Field(ge=0, le=events.LARGEST_POSITION)] | None = None
    ms: Annotated[int, Field(ge=0, le=pagination.LARGEST)] | None = None


class Kept(BaseModel):
    """How many were kept; none for whom does not agree, or whose browser asks not to be followed."""

    model_config = example(kept=1)

    kept: int


@writes(router, "POST", "/events", public=True, status_code=202)
def tell(
    request: Request,
    response: Response,
    res: Res,
    viewer: Viewer,
    told: Annotated[list[Told], Field(max_length=events.MOST_AT_ONCE)],
) -> Kept:
    """Say what was in sight, opened and looked at. They are on the disk when this answers."""
    body, address = (
        [each.model_dump(exclude_none=True) for each in told],
        request.client.host if request.client else "",
    )

    def do(db: Session) -> int:
        return events.accept_beacon(db, viewer, body, request.headers, address=address, now=now())

    return Kept(kept=write(request, response, res, do))
