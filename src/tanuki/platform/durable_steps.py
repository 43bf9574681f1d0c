"""Durable steps: retried with growing pauses, logged under the run's id, timed and counted."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from dbos import DBOS
from structlog.contextvars import bound_contextvars

from tanuki.errors import UserError
from tanuki.platform import metrics
from tanuki.platform.resources import Resources, process_resources

FIRST_PAUSE_SECONDS = 0.5  # before the first retry
PAUSE_GROWTH = 3.0  # from each pause to the next

P = ParamSpec("P")
R = TypeVar("R")


def dbos_step(name: str, *, attempts: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: a DBOS step with our retries. A UserError is not retried."""
    decorate: Callable[[Callable[P, R]], Callable[P, R]] = DBOS.step(
        name=name,
        retries_allowed=True,
        max_attempts=attempts,
        interval_seconds=FIRST_PAUSE_SECONDS,
        backoff_rate=PAUSE_GROWTH,
        should_retry=lambda error: not isinstance(error, UserError),
    )
    return decorate


@contextmanager
def observe_step(workflow: str, step: str, run_id: str) -> Iterator[None]:
    """Log what a step does under the run's id; measure its time and outcome."""
    started_at, outcome = time.monotonic(), "failed"
    try:
        with bound_contextvars(run_id=run_id):
            yield
        outcome = "done"
    finally:
        metrics.observe_step(workflow, step, time.monotonic() - started_at, outcome=outcome)


def durable_step(
    workflow: str, *, attempts: int = 3
) -> Callable[[Callable[Concatenate[Resources, datetime, P], R]], Callable[P, R]]:
    """Decorator: makes `f(res, now, *args)` the durable step `<workflow>_f`, called as `f(*args)`.

    `res` are the resources of this process, `now` is the moment at which the step runs, in UTC. A
    step that fails is retried, `attempts` times in all, with growing pauses; a `UserError` is not
    retried, because a person has to mend something first. The step's time and outcome are counted
    under the workflow's name. Type checkers see the signature without `res` and `now`.
    """

    def decorate(function: Callable[Concatenate[Resources, datetime, P], R]) -> Callable[P, R]:
        @dbos_step(f"{workflow}_{function.__name__}", attempts=attempts)
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with observe_step(workflow, function.__name__, DBOS.workflow_id or workflow):
                return function(process_resources(), datetime.now(UTC), *args, **kwargs)

        return run

    return decorate
