"""Registering routes: a view becomes HTML, JSON and CSV, an action takes forms and JSON.

`read_route` and `write_route` register the pages and the API of every system, so that all routes
share authentication, CSRF protection, size limit, threads and documented problems. They are closed
by default: only people who are signed in may use a route, unless it says `public=True`.

What is registered follows from the path and from what the function returns:

- under `/api/`, any value: JSON.
- elsewhere, a model (`read_route` with a template): HTML, JSON at `/api` + path, and with `csv`
  a table at path + `.csv`.
- elsewhere, an `ActionResult` (`write_route`): a form, and JSON at `/api` + path.
- elsewhere, a `Response`: a page or a form that answers itself.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup
from pydantic import BaseModel

from tanuki.platform.web import cookies, spreadsheet
from tanuki.platform.web.auth import (
    FORM_FIELDS,
    CsrfProtected,
    get_visit,
    require_person,
    resolve_visit,
)
from tanuki.platform.web.problem import READ_PROBLEMS, WRITE_PROBLEMS, problem_responses
from tanuki.platform.web.signatures import Endpoint, accept_json, run_in_thread, wrap_view
from tanuki.platform.web.site import get_site

P = ParamSpec("P")
R = TypeVar("R")
Rows = Iterable[object]
FORM_BYTES = 1_000_000
UPLOAD_BYTES = 200_000_000
MAX_BYTES = "tanuki_max_bytes"  # the attribute of an endpoint that says how large a body it takes
FORM_LIMITS: Any = {"max_fields": FORM_FIELDS, "max_part_size": FORM_BYTES}


@dataclass(frozen=True)
class ActionResult:
    """What an action gives: the page to go on to, and a message (msgid and values) shown there."""

    path: str
    message: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


class ActionOut(BaseModel):
    """What an action did, for programs."""

    message: str
    to: str


# ---- registration --------------------------------------------------------------------------------


def read_route(
    router: APIRouter,
    path: str,
    template: str | None = None,
    *,
    csv: Callable[[Any], Rows] | None = None,
    public: bool = False,
    dependencies: Sequence[Any] = (),
    **options: Any,  # noqa: ANN401 FastAPI's own options of a route
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a function that changes nothing, for GET.

    A view that returns a model names its template, which gets the model as `page`. `csv` gives rows
    from the model (models, mappings or a polars frame) and adds the same page at path + `.csv`.
    """
    required = [*([] if public else [Depends(require_person)]), *dependencies]

    def register(view: Callable[P, R]) -> Callable[P, R]:
        if is_api_path(path):
            add_api_route(router, path, view, READ_PROBLEMS, dependencies=required, **options)
        elif template is None:
            add_page_route(router, path, view, dependencies=required, **options)
        else:
            if csv is not None:
                csv_view = wrap_view(view, csv_renderer(csv))
                add_page_route(router, f"{path}.csv", csv_view, dependencies=required)
            page_view = wrap_view(view, page_renderer(template, has_csv=csv is not None))
            add_page_route(router, path, page_view, dependencies=required, **options)
            add_api_route(
                router,
                f"/api{path}",
                view,
                READ_PROBLEMS,
                dependencies=required,
                response_model=return_type(view),
            )
        return view

    return register


def write_route(
    router: APIRouter,
    path: str,
    *,
    method: str = "POST",
    max_bytes: int = FORM_BYTES,
    public: bool = False,
    dependencies: Sequence[Any] = (),
    **options: Any,  # noqa: ANN401 FastAPI's own options of a route
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a function that changes something.

    Forms and sessions must send the CSRF token, API tokens need the scope `write`. An action that
    returns ActionResult is a form at `path`, answered with 303 to the result's path, where the
    message is shown. At `/api` + path it takes a JSON object (still a form when it takes files).
    """
    common: dict[str, Any] = {
        "methods": [method],
        "dependencies": [
            *([] if public else [Depends(require_person)]),
            CsrfProtected,
            *dependencies,
        ],
        "form_limits": FORM_LIMITS,
        "max_bytes": max_bytes,
    }

    def register(action: Callable[P, R]) -> Callable[P, R]:
        if is_api_path(path):
            add_api_route(router, path, action, WRITE_PROBLEMS, **common, **options)
        elif return_type(action) is ActionResult:
            form = wrap_view(action, redirect_with_message)
            program = wrap_view(accept_json(action), describe_result)
            add_page_route(router, path, form, status_code=303, **common)
            add_api_route(
                router,
                f"/api{path}",
                program,
                WRITE_PROBLEMS,
                response_model=ActionOut,
                **common,
                **options,
            )
        else:
            add_page_route(router, path, action, **common, **options)
        return action

    return register


def is_api_path(path: str) -> bool:
    return path.startswith("/api/")


def return_type(function: Callable[..., object]) -> object:
    return inspect.signature(function, eval_str=True).return_annotation


def add_page_route(
    router: APIRouter,
    path: str,
    endpoint: Endpoint,
    *,
    dependencies: Iterable[Any] = (),
    max_bytes: int = FORM_BYTES,
    **options: Any,  # noqa: ANN401 FastAPI's own options of a route
) -> None:
    router.add_api_route(
        path,
        prepare_endpoint(endpoint, max_bytes),
        include_in_schema=False,
        response_class=Response,
        response_model=None,
        dependencies=[Depends(resolve_visit), *dependencies],
        **options,
    )


def add_api_route(
    router: APIRouter,
    path: str,
    endpoint: Endpoint,
    problems: tuple[int, ...],
    *,
    max_bytes: int = FORM_BYTES,
    **options: Any,  # noqa: ANN401 FastAPI's own options of a route
) -> None:
    responses = {**problem_responses(*problems), **options.pop("responses", {})}
    router.add_api_route(
        path, prepare_endpoint(endpoint, max_bytes), responses=responses, **options
    )


def prepare_endpoint(endpoint: Endpoint, max_bytes: int) -> Endpoint:
    """The endpoint in a thread of its own, with its size limit, which is enforced at the edge."""
    prepared = run_in_thread(endpoint)
    if max_bytes != FORM_BYTES:
        setattr(prepared, MAX_BYTES, max_bytes)
    return prepared


# ---- answers -------------------------------------------------------------------------------------


def page_renderer(template: str, *, has_csv: bool) -> Callable[[Request, Any], Response]:
    def render_view(request: Request, page: BaseModel) -> Response:
        csv_url = f"{request.url.path}.csv{query_string(request)}" if has_csv else None
        return render_page(request, template, page=page, csv_url=csv_url)

    return render_view


def csv_renderer(csv: Callable[[Any], Rows]) -> Callable[[Request, Any], Response]:
    def render_csv(request: Request, page: BaseModel) -> Response:
        name = request.url.path.strip("/").replace("/", "-")
        return Response(
            spreadsheet.write_csv(csv(page)),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    return render_csv


def redirect_with_message(request: Request, result: ActionResult) -> Response:
    """On to the next page, which shows the message."""
    site, visit = get_site(request), get_visit(request)
    response = RedirectResponse(result.path, 303)
    if result.message:
        message = site.texts.translate_with_values(visit.lang, result.message, result.values)
        signed = cookies.sign_flash(visit.secret, message)
        site.cookies.set(response, "flash", signed, max_age_seconds=cookies.FLASH_SECONDS)
    return response


def describe_result(request: Request, result: ActionResult) -> ActionOut:
    """The action's message in the reader's language, for programs."""
    texts, lang = get_site(request).texts, get_visit(request).lang
    return ActionOut(
        message=texts.translate_with_values(lang, result.message, result.values), to=result.path
    )


def render_page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    **values: Any,  # noqa: ANN401 a template's values
) -> HTMLResponse:
    """A page in the reader's language, with navigation, flash message and the forms' CSRF token."""
    site, visit = get_site(request), get_visit(request)
    path: str = request.scope["path"]
    navigation = site.navigation(visit.person, path)
    csrf = Markup(f'<input type="hidden" name="csrf" value="{visit.csrf_token}">')  # noqa: S704 base64
    context: dict[str, Any] = {
        "person": visit.person,
        "theme": visit.theme,
        "current_path": f"{path}{query_string(request)}" if request.method == "GET" else path,
        "navigation": navigation,
        "layout": site.layout(navigation, path),
        "flash": cookies.read_flash(visit.secret, site.cookies.get(request, "flash")),
        "csrf": lambda: csrf,
        "request_id": request.scope.get("tanuki_request_id", ""),
        "csv_url": None,
    }
    html = site.environments[visit.lang].get_template(template).render({**context, **values})
    response = HTMLResponse(html, status)
    if site.cookies.name("flash") in request.cookies:
        site.cookies.delete(response, "flash")
    if visit.is_new:
        site.cookies.set(response, "visitor", visit.secret)
    return response


def query_string(request: Request) -> str:
    """The query as it was sent, with its question mark."""
    query: str = request.scope["query_string"].decode("latin-1")
    return f"?{query}" if query else ""
