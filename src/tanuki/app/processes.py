"""`tanuki up`, `serve`, `worker` and `settings`: the processes, put together from both systems."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from socket import socket

import click
import uvicorn
from prometheus_client import start_http_server

from tanuki import settings as settings_file
from tanuki.animals import account_deletion, nightly, post_review
from tanuki.animals import web as animals_web
from tanuki.cli.context import echo, say
from tanuki.cli.output import align_pairs, emit, json_option, print_panel
from tanuki.platform import gc_tuning, jobs, log, maintenance, metrics
from tanuki.platform.commands.context import open_resources
from tanuki.platform.resources import Resources, set_process_resources
from tanuki.platform.web import app
from tanuki.shop import retraining, weekly
from tanuki.shop import web as shop_web

WORKER_NICENESS = 5  # of a worker alone: requests get the processor first
SHUTDOWN_SECONDS = 10  # that open requests get when the server stops
RESET_COMMAND = "tanuki users password NAME"


@click.command(help="Show every setting: name, value, default, help. Secrets are hidden.")
@json_option
def settings(as_json: bool) -> None:
    rows = [
        {**row, "help": say(row["help"])}
        for row in settings_file.list_settings(settings_file.read_settings())
    ]
    emit(rows, as_json, ["name", "value", "default", "help"])


@click.command(help="Run the web server and a worker in one process.")
def up() -> None:
    with open_resources() as res, run_worker(res):
        serve_pages(res)


@click.command(help="Run the web server alone. A worker elsewhere does the durable work.")
def serve() -> None:
    with open_resources() as res:
        serve_pages(res)


@click.command(
    help="Run a worker alone: schedules, queues, durable runs. It ends on SIGTERM or Ctrl-C; its"
    " runs go on elsewhere or later."
)
def worker() -> None:
    os.nice(WORKER_NICENESS)
    with open_resources() as res, run_worker(res):
        if res.settings.metrics_port:
            start_http_server(
                res.settings.metrics_port,
                addr=res.settings.host,
                registry=metrics.process_metrics().registry,
            )
        stop = threading.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, lambda *_: stop.set())
        gc_tuning.freeze_long_lived_objects()
        echo("Worker %(name)s runs.", name=res.settings.worker_name)
        stop.wait()


@contextmanager
def run_worker(res: Resources, *, schedules: bool = True) -> Iterator[None]:
    """Run durable work in this process, with the workflows of both systems.

    With `schedules` the installation's schedules become what the settings say; without, they stay
    as they are.
    """
    log.set_up_logging(res.settings)
    set_process_resources(res)
    scheduled = schedules and res.settings.schedule
    system_schedules = [
        *maintenance.SCHEDULES,
        *weekly.SCHEDULES,
        *retraining.SCHEDULES,
        *post_review.SCHEDULES,
        *nightly.SCHEDULES,
    ]
    periodic_tasks = [
        *post_review.PERIODIC_TASKS,
        *nightly.PERIODIC_TASKS,
        *account_deletion.PERIODIC_TASKS,
    ]
    with jobs.run_worker(
        res.db,
        res.settings.worker_name,
        (system_schedules if scheduled else []) if schedules else None,
        periodic_tasks if scheduled else [],
    ):
        yield


def serve_pages(res: Resources, passwords: Mapping[str, str] | None = None) -> None:
    """Serve both systems' pages until the process is stopped.

    `passwords` are those of users that were just created; they are printed with the address.
    """
    log.set_up_logging(res.settings)
    config = uvicorn.Config(
        app.create_app(res, [shop_web.SYSTEM, animals_web.SYSTEM]),
        host=res.settings.host,
        port=res.settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=res.settings.trusted_proxies,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = AnnouncingServer(config, passwords or {})
    gc_tuning.freeze_long_lived_objects()
    server.run()
    if not server.started:
        sys.exit(1)


class AnnouncingServer(uvicorn.Server):
    """uvicorn's server; it prints its address once it listens (port 0 means any free one)."""

    def __init__(self, config: uvicorn.Config, passwords: Mapping[str, str]) -> None:
        super().__init__(config)
        self.passwords = passwords

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print_address(f"http://{host}:{port}/", self.passwords)


def print_address(url: str, passwords: Mapping[str, str]) -> None:
    """Print what to open and how to sign in.

    The first line is for programs, which read the address from it, so it is never translated.
    """
    click.echo(f"Tanuki is at {url}")
    sign_in = (
        align_pairs(passwords)
        if passwords
        else [
            say("Passwords were shown when the users were created. For a new one:"),
            RESET_COMMAND,
        ]
    )
    lines = [
        *align_pairs({"AI Shop": f"{url}shop", "AI Animals": f"{url}animals"}),
        "",
        say("Sign in as (name, password):") if passwords else say("Sign in:"),
        *(f"  {line}" for line in sign_in),
        "",
        say("Ctrl-C stops the server."),
    ]
    if passwords or sys.stdout.isatty():
        print_panel("Tanuki", lines)
