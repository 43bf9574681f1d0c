"""Static files, for anybody: nobody is asked who they are."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tanuki.errors import NotFound
from tanuki.platform.web.pages import YEAR_SECONDS, site_of

router = APIRouter()


@router.get("/static/{mark}/{name}", include_in_schema=False)
async def static(request: Request, mark: str, name: str) -> Response:
    """A static file; its URL changes with its content, so it may be kept for ever."""
    found = site_of(request).static.get(name)
    if found is None or found.url != f"/static/{mark}/{name}":
        raise NotFound("There is no such file.")
    headers = {"Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable"}
    if found.packed is None:
        return Response(found.content, media_type=found.type, headers=headers)
    headers["Vary"] = "Accept-Encoding"
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(found.content, media_type=found.type, headers=headers)
    return Response(
        found.packed, media_type=found.type, headers={**headers, "Content-Encoding": "gzip"}
    )
