"""The route of static files: for everybody, so it asks for no visit."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tanuki.errors import NotFound
from tanuki.platform.web.cookies import YEAR_SECONDS
from tanuki.platform.web.site import get_site

router = APIRouter()


@router.get("/static/{digest}/{name}", include_in_schema=False)
async def send_static_file(request: Request, digest: str, name: str) -> Response:
    """A static file. Its URL changes with its content, so a browser may keep it for ever."""
    file = get_site(request).static.get(name)
    if file is None or file.url != f"/static/{digest}/{name}":
        raise NotFound("There is no such file.")
    headers = {"Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable"}
    if file.gzipped is None:
        return Response(file.content, media_type=file.media_type, headers=headers)
    headers["Vary"] = "Accept-Encoding"
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.content, media_type=file.media_type, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(file.gzipped, media_type=file.media_type, headers=headers)
