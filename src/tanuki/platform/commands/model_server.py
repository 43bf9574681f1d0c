"""`tanuki models serve`: the model server, over HTTP and gRPC."""

import signal
import socket
import threading

from sqlalchemy.exc import SQLAlchemyError

from tanuki.cli.context import echo
from tanuki.errors import UserError
from tanuki.platform import gc_tuning, log
from tanuki.platform.resources import Resources
from tanuki.platform.serving import grpc_server, rest_server
from tanuki.platform.serving.server import ModelServer

DRAIN_SECONDS = 30
"""For requests that were begun, when the server ends."""
FOLLOW_SECONDS = 1.0
"""Between looking for models that went live for the first time."""


def serve_models(res: Resources, models: ModelServer) -> None:
    """Answer over HTTP and gRPC until SIGTERM or Ctrl-C. Requests that were begun are answered."""
    import uvicorn

    log.set_up_logging(res.settings)
    grpc, grpc_port = grpc_server.create_server(
        models, f"{res.settings.host}:{res.settings.model_server_grpc_port}"
    )
    config = uvicorn.Config(
        rest_server.create_app(models),
        host=res.settings.host,
        port=res.settings.model_server_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )

    class AnnouncingServer(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for server in self.servers if self.started else []:
                host, port = server.sockets[0].getsockname()[:2]
                echo(
                    "Models are at %(http)s and %(grpc)s",
                    http=f"http://{host}:{port}/v2",
                    grpc=f"grpc://{res.settings.host}:{grpc_port}",
                )

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            ended = grpc.stop(DRAIN_SECONDS)  # it takes no more requests, as HTTP does now
            await super().shutdown(sockets)
            ended.wait()

    load_champions(models)
    stop = threading.Event()
    threading.Thread(
        target=follow_champions, args=(models, stop), name="models-follow", daemon=True
    ).start()
    grpc.start()
    server = AnnouncingServer(config)
    for name in (signal.SIGTERM, signal.SIGINT):
        # uvicorn sends itself the signal again after it has ended; that must not kill us.
        signal.signal(name, lambda *_: None)
    gc_tuning.freeze_long_lived_objects()
    server.run()
    stop.set()
    if not server.started:
        raise UserError(
            "Port %(port)s cannot be used; another program may have it.",
            port=res.settings.model_server_port,
        )


def load_champions(models: ModelServer) -> None:
    """Load what is live before the first request. The log says what cannot be loaded."""
    for name in models.names():
        models.ready(name)


def follow_champions(models: ModelServer, stop: threading.Event) -> None:
    """Load models that went live for the first time since the server began."""
    while not stop.wait(FOLLOW_SECONDS):
        try:
            load_champions(models)
        except SQLAlchemyError:
            continue  # the server's own refresh logs it; the next round tries again
