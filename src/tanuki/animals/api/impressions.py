"""Events for programs: posts that came into view, were opened, and for how long."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from tanuki.animals import events, pagination
from tanuki.animals.api.schemas import API, example
from tanuki.animals.http.deps import Write
from tanuki.platform.web.pages import write_route

router = APIRouter(tags=["finding"])


class ClientEvent(BaseModel):
    """A post came into view, was opened, or was looked at for `ms` milliseconds.

    `request` and `position` are those that came with the list that showed the post.
    """

    model_config = ConfigDict(
        extra="forbid",
        **example(kind="dwell", post=12, request="5f0c2a9be1d34c77", position=3, ms=4000),
    )

    kind: Literal["seen", "open", "dwell"]
    post: Annotated[int, Field(ge=1, le=pagination.MAX_ID)]
    request: Annotated[str, Field(pattern=f"^{events.REQUEST_ID.pattern}$")] | None = None
    position: Annotated[int, Field(ge=0, le=events.MAX_POSITION)] | None = None
    ms: Annotated[int, Field(ge=0, le=pagination.MAX_ID)] | None = None


class StoredEvents(BaseModel):
    """The number of stored events: none for people or browsers that refuse being recorded."""

    model_config = example(stored=1)

    stored: int


@write_route(router, f"{API}/events", public=True, status_code=202)
def log_client_events(
    context: Write,
    sent: Annotated[list[ClientEvent], Field(max_length=events.MAX_EVENTS_PER_BEACON)],
) -> StoredEvents:
    """Log what was in view, opened and looked at. The events are on the disk with the answer."""
    body = [event.model_dump(exclude_none=True) for event in sent]
    request = context.request
    address = request.client.host if request.client else ""
    stored = context.commit(
        lambda db: events.record_beacon(
            db, context.viewer, body, request.headers, address=address, now=context.now
        )
    )
    return StoredEvents(stored=stored)
