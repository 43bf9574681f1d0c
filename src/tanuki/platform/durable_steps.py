"""Steps of durable runs: tried again with growing pauses, their lines under the run's id, their time and outcome counted."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from dbos import DBOS

from tanuki.errors import UserError
from tanuki.platform import log, metrics
from tanuki.platform.resources import Resources, process_resources


def durable(name: str, *, attempts: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A function becomes a step of that name, tried so often, unless a person must mend something first."""
    made: Callable[[Callable[..., Any]], Callable[..., Any]] = DBOS.step(
        name=name,
        retries_allowed=True,
        max_attempts=attempts,
        interval_seconds=0.5,
        backoff_rate=3.0,
        should_retry=lambda error: not isinstance(error, UserError),
    )
    return made


@contextmanager
def observed(workflow: str, step: str, run_id: str) -> Iterator[None]:
    """What a step does is logged under the run's id, and counted with how long it took and whether it failed."""
    begun, outcome = time.monotonic(), "failed"
    log.bind_fields(run_id=run_id)
    try:
        yield
        outcome = "done"
    finally:
        metrics.observe_step(workflow, step, time.monotonic() - begun, outcome=outcome)


P = ParamSpec("P")
R = TypeVar("R")


def durable_step(
    workflow: str, *, attempts: int = 3
) -> Callable[[Callable[Concatenate[Resources, datetime, P], R]], Callable[P, R]]:
    """Decorator: turns `f(res, now, *args)` into the durable step `<workflow>_f`, called as `f(*args)`.

    `res` are the resources of this process, `now` is the moment at which the step runs, in UTC. A
    step that fails is retried, `attempts` times in all, with growing pauses; a `UserError` is not
    retried, because a person has to mend something first. The step's time and outcome are counted
    under the workflow's name. Type checkers see the signature without `res` and `now`.
    """

    def decorate(function: Callable[Concatenate[Resources, datetime, P], R]) -> Callable[P, R]:
        @durable(f"{workflow}_{function.__name__}", attempts=attempts)
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with observed(workflow, function.__name__, DBOS.workflow_id or workflow):
                return function(process_resources(), datetime.now(UTC), *args, **kwargs)

        return cast(Callable[P, R], run)

    return decorate


def stepping(prefix: str, workflow: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Functions of the resources, the moment and more become steps of a workflow, named after them with a prefix, and called with what is more alone."""

    def step(function: Callable[..., Any]) -> Callable[..., Any]:
        @durable(f"{prefix}_{function.__name__}", attempts=3)
        @wraps(function)
        def run(*given: Any) -> Any:
            with observed(workflow, function.__name__, DBOS.workflow_id or workflow):
                return function(process_resources(), datetime.now(UTC), *given)

        return run

    return step
