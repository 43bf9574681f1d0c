"""What a browser says was in sight, opened and looked at."""

import json

from fastapi import APIRouter, Request, Response

from tanuki.animals import events
from tanuki.animals.http.deps import now
from tanuki.animals.web.layout import Text
from tanuki.errors import UserError
from tanuki.platform.web.pages import FromOurForm, Res, Viewer

router = APIRouter()


@router.post("/animals/seen", include_in_schema=False, dependencies=[FromOurForm])
def seen(request: Request, res: Res, viewer: Viewer, told: Text) -> Response:
    """A batch of them, as a form so that it can be sent while the page goes away."""
    try:
        body = json.loads(told)
    except (ValueError, RecursionError):
        raise UserError("Expected a list of events.") from None
    address = request.client.host if request.client else ""
    res.db.together(
        lambda db: events.accept_beacon(
            db, viewer, body, request.headers, address=address, now=now()
        )
    )
    return Response(status_code=204)
