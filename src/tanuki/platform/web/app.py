"""The web application: systems put together, and what holds for every request: id, log line, metrics, headers, errors."""

import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tanuki import __version__
from tanuki.errors import SignInNeeded, TooMany, UserError
from tanuki.i18n import msgid
from tanuki.platform import metrics, rate_limit
from tanuki.platform.resources import Resources
from tanuki.platform.web import health, rest, routes, static_files
from tanuki.platform.web.admin import models, people, runs
from tanuki.platform.web.pages import (
    FORM_BYTES,
    MAX_BYTES,
    System,
    Visit,
    reader,
    render,
    safe_path,
    site,
    site_of,
    visit_of,
)

log = structlog.get_logger()

POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data: blob:",  # blob: a picture is looked at before it is sent
        "media-src 'self' blob:",
        "worker-src 'self'",
        "manifest-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}
HSTS = "max-age=31536000"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
QUIET_ROUTES = ("/healthz", "/readyz", "/metrics")
TITLES = {
    400: msgid("That did not work"),
    401: msgid("Please sign in"),
    403: msgid("Not allowed"),
    404: msgid("Not found"),
    405: msgid("That did not work"),
    409: msgid("Changed meanwhile"),
    412: msgid("Changed meanwhile"),
    413: msgid("Too large"),
    422: msgid("Something is missing or wrong"),
    429: msgid("Too many tries"),
    500: msgid("Something broke"),
}
SENTENCES = {
    404: msgid("There is no such page, or it is not yours to see."),
    405: msgid("This page cannot be used in that way."),
    413: msgid("What was sent is too large."),
    500: msgid("The fault is ours, and it is logged. Nothing of what you just did was kept."),
}
WHAT_TO_DO = {
    400: msgid("Go back, put it right, and send it again."),
    403: msgid(
        "Go back and open the page again; if you need this often, ask an administrator for the role."
    ),
    404: msgid("Check the address, or start from the menu."),
    405: msgid("Start from the menu."),
    409: msgid("Open the page again: it shows what is true now. Then decide anew."),
    412: msgid("Open the page again: it shows what is true now. Then decide anew."),
    413: msgid("Send a smaller file, or several."),
    422: msgid("Go back, put it right, and send it again."),
    429: msgid("Wait a little, then try again."),
    500: msgid("Try again. If it happens again, tell the operator the number below."),
}
WANTED = {
    "int": msgid("a whole number"),
    "float": msgid("a number"),
    "decimal": msgid("a number"),
    "bool": msgid("yes or no"),
    "date": msgid("a day such as 2021-01-31"),
    "datetime": msgid("a moment such as 2021-01-31T10:00:00+09:00"),
    "timezone": msgid("a moment such as 2021-01-31T10:00:00+09:00"),
    "json": msgid("JSON"),
}


def create(resources: Resources, systems: Sequence[System]) -> FastAPI:
    """The site of these systems on these resources."""
    app = FastAPI(
        title="Tanuki", version=__version__, openapi_url=None, docs_url=None, redoc_url=None
    )
    app.state.site = site(systems, resources, metrics.process())
    ours = [
        (health.router, ""),
        (static_files.router, ""),
        (people.router, ""),
        (runs.router, ""),
        (models.router, ""),
    ]
    routes.include(app, [*ours, *((system.router, system.key) for system in systems)])
    app.add_exception_handler(UserError, answer_user_error)
    app.add_exception_handler(rest.NotModified, answer_not_modified)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, answer_wrong_request)
    app.add_middleware(Edge, https=resources.settings.https)
    return app


class Edge:
    """Around every request: an id, one log line, metrics, headers, and an answer even to a bug."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        headers = {**HEADERS, **({"Strict-Transport-Security": HSTS} if https else {})}
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.ours = {b"x-request-id", *(name for name, _ in self.headers)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request_id = scope["tanuki_request_id"] = request_id_of(scope)
        scope["query_string"] = without_empty(scope["query_string"])

        length = dict(scope["headers"]).get(b"content-length", b"")
        taken, announced = 0, int(length) if length.isdigit() else 0

        async def receive_some() -> Message:
            """The body as far as its route takes it; the route is known by the time that anybody reads."""
            nonlocal taken
            limit = getattr(getattr(scope.get("route"), "endpoint", None), MAX_BYTES, FORM_BYTES)
            message = {} if announced > limit else await receive()
            taken += len(message.get("body", b""))
            if max(taken, announced) > limit:
                raise HTTPException(413)
            return message

        async def send_more(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                theirs = [each for each in message["headers"] if each[0] not in self.ours]
                message["headers"] = [
                    *theirs,
                    (b"x-request-id", request_id.encode()),
                    *self.headers,
                ]
                if all(name != b"cache-control" for name, _ in theirs):
                    message["headers"].append((b"cache-control", b"private, no-cache"))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive_some, send_more)
            except Exception:  # the edge for requests
                log.exception("request failed", method=scope["method"], route=route_of(scope))
                if not status:
                    await failure(Request(scope, receive))(scope, receive, send_more)
            seconds = time.perf_counter() - started
            metrics.observe_request(
                scope["method"] if scope["method"] in METHODS else "(other)",
                route_of(scope),
                status,
                seconds,
            )
            if route_of(scope) not in QUIET_ROUTES:
                log.info(
                    "request answered",
                    method=scope["method"],
                    route=route_of(scope),
                    status=status,
                    ms=round(seconds * 1000, 1),
                )


def request_id_of(scope: Scope) -> str:
    """The id that a proxy gave the request, if it looks like one, or a new one."""
    given = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), ""
    )
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def without_empty(query: bytes) -> bytes:
    """A query without its empty fields: a form sends the fields that nobody filled in."""
    return b"&".join(part for part in query.split(b"&") if part.partition(b"=")[2])


def route_of(scope: Scope) -> str:
    """The route's pattern, such as /shop/weeks/{week}: no path, so no endless labels and nothing personal."""
    return str(getattr(scope.get("route"), "path", "(none)"))


# ---- errors --------------------------------------------------------------------------------------------------------


def answer_user_error(request: Request, error: Exception) -> Response:
    """What a person can act on, said in their language; nobody who is signed out is sent to sign in."""
    assert isinstance(error, UserError)
    if isinstance(error, SignInNeeded) and not for_program(request):
        onward = (
            request.url.path + (f"?{request.url.query}" if request.url.query else "")
            if request.method == "GET"
            else "/"
        )
        return RedirectResponse(
            f"/sign-in?{urlencode({'next': onward})}" if onward != "/" else "/sign-in", 303
        )
    with suppress(UserError):
        visit_of(request)  # the error may come before anybody asked who it is
    answer = problem(
        request, error.status, site_of(request).texts.error(known_visit(request).lang, error)
    )
    if isinstance(error, TooMany):
        spent = rate_limit.reached(error)
        answer.headers.update(
            {"Retry-After": str(error.seconds), **rest.announced([spent] if spent else [])}
        )
    return answer


async def answer_not_modified(request: Request, error: Exception) -> Response:
    """Who asks has it already."""
    assert isinstance(error, rest.NotModified)
    return Response(status_code=304, headers={"ETag": error.tag})


def answer_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: no such route, a wrong method, a body too large."""
    assert isinstance(error, HTTPException)
    with suppress(UserError):
        visit_of(request)  # nobody asked yet who it is, when there is no route
    sentence = SENTENCES.get(error.status_code, str(error.detail))
    answer = problem(
        request, error.status_code, site_of(request).texts.text(known_visit(request).lang, sentence)
    )
    answer.headers.update(error.headers or {})
    return answer


def answer_wrong_request(request: Request, error: Exception) -> Response:
    """Fields that are missing or not what they should be, each in a sentence."""
    assert isinstance(error, RequestValidationError)
    texts, lang = site_of(request).texts, known_visit(request).lang
    sentences = [texts.fill(lang, *sentence_of(texts, lang, fault)) for fault in error.errors()]
    return problem(request, 422, " ".join(sentences))


def sentence_of(texts: Any, lang: str, fault: dict[str, Any]) -> tuple[str, dict[str, object]]:
    """What is wrong with one field: a msgid and its values."""
    name = next((str(part) for part in reversed(fault["loc"]) if isinstance(part, str)), "")
    if fault["type"] == "missing":
        return msgid("%(field)s is missing."), {"field": name}
    kind = str(fault["type"]).split("_")[0]
    wanted = texts.text(lang, WANTED[kind]) if kind in WANTED else str(fault["msg"])
    return msgid("%(field)s is “%(found)s”; expected %(wanted)s."), {
        "field": name,
        "found": str(fault.get("input", ""))[:80],
        "wanted": wanted,
    }


def failure(request: Request) -> Response:
    """The answer to a bug: nothing about it but the number under which it is logged."""
    return problem(
        request, 500, site_of(request).texts.text(known_visit(request).lang, SENTENCES[500])
    )


def problem(request: Request, status: int, sentence: str) -> Response:
    """An error as a page that says what to do, or for programs as problem details (RFC 9457)."""
    known_visit(request)
    if not for_program(request):
        title = TITLES.get(status, TITLES[400])
        back = back_of(request)
        todo = WHAT_TO_DO.get(status, WHAT_TO_DO[400])
        return render(
            request,
            "error.html",
            status=status,
            title=title,
            sentence=sentence,
            todo=todo,
            back=back,
            code=status,
        )
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": sentence,
        "instance": request.url.path,
        "request_id": request.scope["tanuki_request_id"],
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def for_program(request: Request) -> bool:
    """Whether a program is asking: under /api, with a token, or wanting JSON."""
    path = request.url.path
    return (
        path == "/api"
        or path.startswith("/api/")
        or "authorization" in request.headers
        or "json" in request.headers.get("accept", "")
    )


def known_visit(request: Request) -> Visit:
    """The visit as far as it is known: an error may come before anybody asked who it is, or from asking."""
    found = request.scope.get("tanuki_visit")
    if isinstance(found, Visit):
        return found
    visit = request.scope["tanuki_visit"] = Visit(
        None, "nobody", secrets.token_urlsafe(24), *reader(request)
    )
    return visit


def back_of(request: Request) -> str | None:
    """The page of ours that they came from."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc != request.headers.get("host"):
        return None
    path = safe_path(referer.path or "/")
    return f"{path}?{referer.query}" if referer.query else path
