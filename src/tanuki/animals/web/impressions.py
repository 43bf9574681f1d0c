"""What a browser reports: posts that came into view, were opened, and for how long."""

import json

from fastapi import APIRouter, Response

from tanuki.animals import events as event_rules
from tanuki.animals.http.deps import Write
from tanuki.animals.web.layout import Text
from tanuki.errors import UserError
from tanuki.platform.web.pages import write_route

router = APIRouter()


@write_route(router, "/animals/events", public=True)
def log_browser_events(context: Write, events: Text) -> Response:
    """Log a batch. It comes as a form, because a browser can send that while leaving the page."""
    try:
        body = json.loads(events)
    except (ValueError, RecursionError):
        raise UserError("Expected a list of events.") from None
    request = context.request
    address = request.client.host if request.client else ""
    context.commit(
        lambda db: event_rules.record_beacon(
            db, context.viewer, body, request.headers, address=address, now=context.now
        )
    )
    return Response(status_code=204)
