"""The web application: all systems, and what happens around every request."""

import re
import secrets
import time
from collections.abc import Sequence

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tanuki import __version__
from tanuki.platform import metrics
from tanuki.platform.resources import Resources
from tanuki.platform.web import account, health, home, sign_in, static_files
from tanuki.platform.web.admin import models, runs
from tanuki.platform.web.error_pages import add_error_handlers, answer_failure
from tanuki.platform.web.pages import FORM_BYTES, MAX_BYTES
from tanuki.platform.web.site import System, build_site

log = structlog.get_logger()

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data: blob:",  # blob: a photo is previewed before it is sent
        "media-src 'self' blob:",
        "worker-src 'self'",
        "manifest-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}
STRICT_TRANSPORT_SECURITY = "max-age=31536000"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
QUIET_ROUTES = ("/healthz", "/readyz", "/metrics")


def create_app(resources: Resources, systems: Sequence[System]) -> FastAPI:
    """The site of these systems on these resources.

    The routers' routes stand in one flat list, which FastAPI searches from the top. Included
    routers would be searched one inside the other, which costs 0.2 to 0.6 ms a request; a tree of
    the paths in front of the list (tried, and removed) saved no more than 0.05 ms of 0.35 ms.
    """
    app = FastAPI(
        title="Tanuki", version=__version__, openapi_url=None, docs_url=None, redoc_url=None
    )
    app.state.site = build_site(systems, resources, metrics.process_metrics())
    own_routers = [
        module.router for module in (health, static_files, home, sign_in, account, runs, models)
    ]
    routers = [*own_routers, *(router for system in systems for router in system.routers)]
    for router in routers:
        app.router.routes.extend(router.routes)
    add_error_handlers(app)
    app.add_middleware(Edge, https=resources.settings.https)
    return app


class Edge:
    """Around every request: an id, one log line, metrics, headers, and an answer even to a bug."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        headers = dict(SECURITY_HEADERS)
        if https:
            headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.header_names = {b"x-request-id", *(name for name, _ in self.headers)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request_id = scope["tanuki_request_id"] = choose_request_id(scope)
        scope["query_string"] = drop_empty_fields(scope["query_string"])

        length = dict(scope["headers"]).get(b"content-length", b"")
        received, announced = 0, int(length) if length.isdigit() else 0

        async def receive_limited() -> Message:
            """The body, as far as its route allows: the route is known by the time of reading."""
            nonlocal received
            limit = getattr(getattr(scope.get("route"), "endpoint", None), MAX_BYTES, FORM_BYTES)
            message = {} if announced > limit else await receive()
            received += len(message.get("body", b""))
            if max(received, announced) > limit:
                raise HTTPException(413)
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self.complete_headers(message["headers"], request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive_limited, send_with_headers)
            except Exception:  # the edge for requests
                log.exception("request failed", method=scope["method"], route=route_pattern(scope))
                if not status:
                    answer = answer_failure(Request(scope, receive))
                    await answer(scope, receive, send_with_headers)
            record_request(scope, status, time.perf_counter() - started)

    def complete_headers(
        self, headers: Sequence[tuple[bytes, bytes]], request_id: str
    ) -> list[tuple[bytes, bytes]]:
        """The answer's headers with the site's, which replace its own of the same name."""
        own = [(name, value) for name, value in headers if name not in self.header_names]
        complete = [*own, (b"x-request-id", request_id.encode()), *self.headers]
        if all(name != b"cache-control" for name, _ in own):
            complete.append((b"cache-control", b"private, no-cache"))
        return complete


def record_request(scope: Scope, status: int, seconds: float) -> None:
    """Count an answered request, and write its log line."""
    route = route_pattern(scope)
    method = scope["method"] if scope["method"] in METHODS else "(other)"
    metrics.observe_request(method, route, status, seconds)
    if route not in QUIET_ROUTES:
        log.info(
            "request answered",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
        )


def choose_request_id(scope: Scope) -> str:
    """The id that a proxy gave the request, if it is well formed, else a new one."""
    header = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), ""
    )
    return header if REQUEST_ID.fullmatch(header) else secrets.token_hex(8)


def drop_empty_fields(query: bytes) -> bytes:
    """A query without its empty fields: a form sends the fields that nobody filled in."""
    return b"&".join(part for part in query.split(b"&") if part.partition(b"=")[2])


def route_pattern(scope: Scope) -> str:
    """The route's pattern, such as /shop/weeks/{week}: few values, and nothing personal."""
    return str(getattr(scope.get("route"), "path", "(none)"))
