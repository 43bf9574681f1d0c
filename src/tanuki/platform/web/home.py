"""The front page, which leads to a person's first page, and the list of the API's operations."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from tanuki.platform.web.auth import Viewer
from tanuki.platform.web.openapi import describe_api
from tanuki.platform.web.pages import read_route, render_page
from tanuki.platform.web.site import get_site

router = APIRouter()


@read_route(router, "/", public=True)
def redirect_to_start(request: Request, viewer: Viewer) -> Response:
    """On to the first page that this person, or a visitor, may see."""
    start_path = get_site(request).navigation(viewer, "/").start_path
    return RedirectResponse(start_path or ("/account" if viewer else "/sign-in"), 303)


@read_route(router, "/api/openapi.json", public=True, include_in_schema=False)
def show_openapi(request: Request) -> Response:
    return JSONResponse(describe_api(request.app))


@read_route(router, "/api", public=True)
def show_api_page(request: Request) -> Response:
    """The API for people: each operation with what it takes."""
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in describe_api(request.app)["paths"].items()
        for method, operation in methods.items()
    ]
    return render_page(request, "api.html", operations=operations)
