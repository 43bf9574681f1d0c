"""The model server over HTTP: the Open Inference Protocol v2 with its binary tensors, the repository's index, statistics, and numbers for Prometheus."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from anyio import to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tanuki import __version__
from tanuki.errors import UserError
from tanuki.platform import metrics
from tanuki.platform.serving import oip_json, oip_metadata
from tanuki.platform.serving.server import Models

log = structlog.get_logger()

MOST_BYTES = 512 * 1024 * 1024  # of a request
THREADS = 128  # requests that are in work or wait for a run
Answering = Callable[[Models, Request, bytes], Response]


def app(models: Models) -> Starlette:
    """The application."""

    def route(path: str, answer: Answering, method: str = "GET") -> Route:
        async def handle(request: Request) -> Response:
            if int(request.headers.get("content-length") or 0) > MOST_BYTES:
                return problem(413, f"A request has at most {MOST_BYTES} bytes.")
            if request.headers.get("content-encoding", "identity") != "identity":
                return problem(415, "A request is sent as it is, not compressed.")
            body = await request.body()
            try:
                return await run_in_threadpool(answer, models, request, body)
            except UserError as error:
                return problem(oip_metadata.code_of(error)[0], str(error))

        return Route(path, handle, methods=[method])

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield

    one = ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"]
    routes = [
        *(
            route(f"{path}/infer", infer, "POST") for path in one
        ),  # first, because routes are tried in turn
        route("/v2", about),
        route("/v2/health/live", fine),
        route("/v2/health/ready", fine),
        route("/v2/repository/index", index, "POST"),
        route("/v2/models/stats", stats),
        *(route(path, metadata) for path in one),
        *(route(f"{path}/ready", ready) for path in one),
        *(route(f"{path}/config", config) for path in one),
        *(route(f"{path}/stats", stats) for path in one),
        route("/metrics", numbers),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={404: not_found, 405: not_found, 500: broke},
    )


def problem(status: int, sentence: str) -> Response:
    """An error, as the protocol tells it."""
    return JSONResponse({"error": sentence}, status)


def not_found(request: Request, _: Exception) -> Response:
    """A path that the protocol does not know."""
    return problem(404, f"There is no {request.method} {request.url.path}.")


def broke(request: Request, error: Exception) -> Response:
    """A bug of ours."""
    log.error("request failed", path=request.url.path, exc_info=error)
    return problem(500, "The fault is the server's, and it is logged.")


def named(request: Request) -> tuple[str, str | None]:
    """Model and version of a path."""
    return request.path_params["model"], request.path_params.get("version")


def about(_models: Models, _request: Request, _body: bytes) -> Response:
    """The server itself."""
    return JSONResponse(
        {"name": oip_metadata.SERVER, "version": __version__, "extensions": oip_json.EXTENSIONS}
    )


def fine(_models: Models, _request: Request, _body: bytes) -> Response:
    """It answers."""
    return Response()


def metadata(models: Models, request: Request, _body: bytes) -> Response:
    """What a model takes and gives."""
    return JSONResponse(models.metadata(*named(request)))


def ready(models: Models, request: Request, _body: bytes) -> Response:
    """Whether a model can be asked now."""
    model, version = named(request)
    if models.ready(model, version):
        return Response()
    return problem(
        400, f"The model {model}{f' (version {version})' if version else ''} is not ready."
    )


def config(models: Models, request: Request, _body: bytes) -> Response:
    """A model's configuration."""
    return JSONResponse(oip_metadata.config(models, *named(request)))


def stats(models: Models, request: Request, _body: bytes) -> Response:
    """What was counted."""
    model, version = request.path_params.get("model"), request.path_params.get("version")
    return JSONResponse({"model_stats": oip_metadata.statistics(models, model, version)})


def index(models: Models, _request: Request, body: bytes) -> Response:
    """The models there are."""
    try:
        told: Any = json.loads(body) if body else {}
    except ValueError as error:
        raise UserError("The request is not JSON (%(reason)s).", reason=error) from error
    return JSONResponse(
        oip_metadata.index(models, ready=isinstance(told, dict) and bool(told.get("ready")))
    )


def infer(models: Models, request: Request, body: bytes) -> Response:
    """A model's answer."""
    model, version = named(request)
    asked = oip_json.read_request(body, request.headers.get(oip_json.LENGTH))
    person = asked.parameters.get("person")
    answer = models.infer(
        model, asked.inputs, version=version, person=None if person is None else str(person)
    )
    content, length = oip_json.write_answer(
        model, answer.version, answer.outputs, asked, {"served_as": answer.served_as}
    )
    if length is None:
        return Response(content, media_type="application/json")
    return Response(
        content, media_type="application/octet-stream", headers={oip_json.LENGTH: str(length)}
    )


def numbers(_models: Models, _request: Request, _body: bytes) -> Response:
    """Everything in Prometheus's text format."""
    return Response(metrics.process().text(), media_type="text/plain; version=0.0.4; charset=utf-8")
