"""A worker in a command's own process, for as long as the command needs one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tanuki.platform.commands.context import find_command_line
from tanuki.platform.jobs import load_live_workers
from tanuki.platform.resources import Resources


@contextmanager
def inline_worker(res: Resources) -> Iterator[None]:
    """Do the durable work in this process, unless a worker is running already."""
    with res.db.read() as db:
        worker_runs = bool(load_live_workers(db, datetime.now(UTC)))
    if worker_runs:
        yield
        return
    with find_command_line().run_worker(res):
        yield
