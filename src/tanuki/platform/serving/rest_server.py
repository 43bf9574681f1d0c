"""The model server over HTTP: translates JSON and binary tensors to and from the data plane."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from anyio import to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tanuki.errors import UserError
from tanuki.platform import metrics
from tanuki.platform.serving import oip_json
from tanuki.platform.serving.data_plane import MAX_REQUEST_BYTES, DataPlane, error_status
from tanuki.platform.serving.server import ModelServer

log = structlog.get_logger()

MAX_HTTP_THREADS = 128
"""Requests that run or wait for a run."""
Answer = Callable[[DataPlane, Request, bytes], Response]


def create_app(models: ModelServer) -> Starlette:
    """The application."""
    plane = DataPlane(models)

    def route(path: str, answer: Answer, method: str = "GET") -> Route:
        async def handle(request: Request) -> Response:
            if int(request.headers.get("content-length") or 0) > MAX_REQUEST_BYTES:
                return error_response(413, f"A request has at most {MAX_REQUEST_BYTES} bytes.")
            if request.headers.get("content-encoding", "identity") != "identity":
                return error_response(415, "A request must not be compressed.")
            body = await request.body()
            try:
                return await run_in_threadpool(answer, plane, request, body)
            except UserError as error:
                return error_response(error_status(error)[0], str(error))

        return Route(path, handle, methods=[method])

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = MAX_HTTP_THREADS
        yield

    model_paths = ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"]
    routes = [
        # Inference comes first, because routes are tried in turn.
        *(route(f"{path}/infer", answer_infer, "POST") for path in model_paths),
        route("/v2", answer_server_metadata),
        route("/v2/health/live", answer_health),
        route("/v2/health/ready", answer_health),
        route("/v2/repository/index", answer_repository_index, "POST"),
        route("/v2/models/stats", answer_statistics),
        *(route(path, answer_metadata) for path in model_paths),
        *(route(f"{path}/ready", answer_ready) for path in model_paths),
        *(route(f"{path}/config", answer_config) for path in model_paths),
        *(route(f"{path}/stats", answer_statistics) for path in model_paths),
        route("/metrics", answer_metrics),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={404: handle_unknown_path, 405: handle_unknown_path, 500: handle_bug},
    )


def error_response(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def handle_unknown_path(request: Request, _: Exception) -> Response:
    return error_response(404, f"There is no {request.method} {request.url.path}.")


def handle_bug(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    return error_response(500, "The server failed; the error is in its log.")


def model_and_version(request: Request) -> tuple[str, str | None]:
    """Model and version of a path."""
    return request.path_params["model"], request.path_params.get("version")


def answer_server_metadata(plane: DataPlane, _request: Request, _body: bytes) -> Response:
    return JSONResponse(plane.server_metadata())


def answer_health(_plane: DataPlane, _request: Request, _body: bytes) -> Response:
    return Response()


def answer_metadata(plane: DataPlane, request: Request, _body: bytes) -> Response:
    return JSONResponse(plane.metadata(*model_and_version(request)))


def answer_ready(plane: DataPlane, request: Request, _body: bytes) -> Response:
    model, version = model_and_version(request)
    if plane.is_ready(model, version):
        return Response()
    name = f"{model} (version {version})" if version else model
    return error_response(400, f"The model {name} is not ready.")


def answer_config(plane: DataPlane, request: Request, _body: bytes) -> Response:
    return JSONResponse(plane.config(*model_and_version(request)))


def answer_statistics(plane: DataPlane, request: Request, _body: bytes) -> Response:
    model, version = request.path_params.get("model"), request.path_params.get("version")
    return JSONResponse({"model_stats": plane.statistics(model, version)})


def answer_repository_index(plane: DataPlane, _request: Request, body: bytes) -> Response:
    try:
        content = json.loads(body) if body else {}
    except ValueError as error:
        raise UserError("The request is not JSON (%(reason)s).", reason=error) from error
    ready_only = isinstance(content, dict) and bool(content.get("ready"))
    return JSONResponse(plane.repository_index(ready_only=ready_only))


def answer_infer(plane: DataPlane, request: Request, body: bytes) -> Response:
    """A model's answer, in JSON or with binary tensors, as the request wants it."""
    model, version = model_and_version(request)
    inference = oip_json.read_request(body, request.headers.get(oip_json.HEADER_LENGTH))
    answer = plane.infer(model, version, inference)
    content, length = oip_json.write_response(model, answer, inference)
    if length is None:
        return Response(content, media_type="application/json")
    return Response(
        content,
        media_type="application/octet-stream",
        headers={oip_json.HEADER_LENGTH: str(length)},
    )


def answer_metrics(_plane: DataPlane, _request: Request, _body: bytes) -> Response:
    """Everything in Prometheus's text format."""
    return Response(
        metrics.process_metrics().text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
