"""Commands that put the parts together: web server, worker, both, and the settings."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tanuki import settings as settings_file
from tanuki.cli.output import emit, json_option, resources

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources

NICE = 5  # of a worker alone: when the processor is busy, who reads a page goes first


@click.command(help="Every setting: name, value, default, help. Secrets are stars.")
@json_option
def settings(as_json: bool) -> None:
    rows = settings_file.table(settings_file.read())
    emit(rows, as_json, ["name", "value", "default", "help"])


@click.command(help="Web server and worker in one process.")
def up() -> None:
    with resources() as res, working(res):
        serve_pages(res)


@click.command(help="The web server alone; a worker elsewhere does the durable work.")
def serve() -> None:
    with resources() as res:
        serve_pages(res)


@click.command(
    help="A worker alone: schedules, queues, durable work. Ends on SIGTERM or Ctrl-C; what it was doing goes on elsewhere or later."
)
def worker() -> None:
    from tanuki.platform import gc_tuning

    os.nice(NICE)
    with resources() as res, working(res):
        if res.settings.metrics_port:
            from prometheus_client import start_http_server

            from tanuki.platform import metrics

            start_http_server(
                res.settings.metrics_port,
                addr=res.settings.host,
                registry=metrics.process().registry,
            )
        stop = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        gc_tuning.keep_short()
        click.echo(f"Worker {res.settings.worker_name} runs.")
        stop.wait()


@contextmanager
def working(res: "Resources", *, schedules: bool = True) -> Iterator[None]:
    """This process runs durable work, with the systems' workflows. The schedules become what the settings say, or stay what they are."""
    from tanuki.animals import account_deletion, nightly, post_review
    from tanuki.platform import jobs, log, maintenance, resources
    from tanuki.shop import retraining, weekly

    log.set_up(res.settings)
    resources.use(res)
    wanted = (
        [
            *maintenance.SCHEDULES,
            *weekly.SCHEDULES,
            *retraining.SCHEDULES,
            *post_review.SCHEDULES,
            *nightly.SCHEDULES,
        ]
        if res.settings.schedule
        else []
    )
    chores = (
        [*post_review.CHORES, *nightly.CHORES, *account_deletion.CHORES]
        if schedules and res.settings.schedule
        else []
    )
    with jobs.worker(res.db, res.settings.worker_name, wanted if schedules else None, chores):
        yield


def serve_pages(res: "Resources") -> None:
    """Serve both systems' pages until stopped."""
    import uvicorn

    from tanuki.animals import web as animals_web
    from tanuki.platform import gc_tuning, log
    from tanuki.platform.web import app
    from tanuki.shop import web as shop_web

    log.set_up(res.settings)
    made = app.create(res, [shop_web.SYSTEM, animals_web.SYSTEM])
    config = uvicorn.Config(
        made,
        host=res.settings.host,
        port=res.settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=res.settings.proxies,
        timeout_graceful_shutdown=10,
    )
    server = announcing(config)
    gc_tuning.keep_short()
    server.run()
    if not server.started:
        sys.exit(1)


def announcing(config: Any) -> Any:
    """uvicorn's server, made to say where it listens (port 0 means any free one)."""
    import uvicorn

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            for server in self.servers if self.started else []:
                for socket in server.sockets:
                    host, port = socket.getsockname()[:2]
                    click.echo(f"Tanuki is at http://{host}:{port}/")

    return Announcing(config)
