"""Requests to one version: those that wait at the same moment share a run; nobody waits for company when the version is idle."""

import threading
import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import structlog

from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import (
    Array,
    Arrays,
    Busy,
    ModelError,
    Runner,
    Spec,
    TooSlow,
    brief,
    checked_outputs,
    rows_of,
)

log = structlog.get_logger()

IDLE_SECONDS = 1.0  # after which a thread looks whether it is still wanted


@dataclass(frozen=True)
class Ran:
    """The outputs of a request, and its run: milliseconds a row, and how many rows and requests shared it."""

    outputs: dict[str, Array]
    milliseconds: float
    rows: int
    sharing: int = 1


@dataclass(eq=False)
class Job:
    """A request that waits. Those with the same `kind` can share a run."""

    inputs: Arrays
    rows: int
    kind: object
    until: float
    answer: "Future[Ran]" = field(default_factory=Future)


class Group:
    """Jobs that share a run. As a context it gives an error to each of them, and none to the thread."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs

    def __enter__(self) -> list[Job]:
        return self.jobs

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        for job in self.jobs:
            if error is not None and not job.answer.done():
                job.answer.set_exception(error)
        return True


class Lane:
    """The way to one loaded version: its queue and the threads that run it, at most `concurrency` runs at a time."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.spec: Spec = runner.spec
        self.waiting: deque[Job] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.started = False

    def ask(self, inputs: Arrays, *, seconds: float | None = None, alone: bool = False) -> Ran:
        """The answer to checked inputs. `alone` shares no run with others. Raises TooSlow, Busy, ModelError."""
        allowed = self.spec.seconds if seconds is None else min(seconds, self.spec.seconds)
        job = Job(
            inputs,
            rows_of(self.spec, inputs),
            object() if alone else kind_of(self.spec, inputs),
            time.monotonic() + allowed,
        )
        with self.changed:
            if len(self.waiting) >= self.spec.most_waiting:
                raise Busy(
                    "It has too much to do: %(count)s requests wait.", count=len(self.waiting)
                )
            self.waiting.append(job)
            self.changed.notify()
            if not self.started:
                self.start()
        try:
            error = job.answer.exception(allowed)
        except NotYet:
            job.answer.cancel()
            with self.changed, suppress(ValueError):  # it is being run
                self.waiting.remove(job)
            raise TooSlow(
                "It did not answer within %(seconds)s seconds.", seconds=f"{allowed:g}"
            ) from None
        if error is None:
            return job.answer.result()
        if isinstance(error, UserError):
            raise error
        log.error("model failed", kind=self.spec.kind, exc_info=error)
        raise ModelError("It failed (%(reason)s).", reason=brief(error)) from error

    def start(self) -> None:
        """Begin the threads with the first request, so that they are as prompt as it is: who loads versions is not. Under the lock."""
        self.started = True
        for number in range(self.spec.concurrency):
            threading.Thread(target=self.work, name=f"model-{number}", daemon=True).start()

    def work(self) -> None:
        """Run what waits, until closed."""
        while True:
            with self.changed:
                while not self.waiting:
                    if self.closed:
                        return
                    self.changed.wait(IDLE_SECONDS)
                jobs = self.next()
            with Group(jobs):
                self.run(jobs)

    def next(self) -> list[Job]:
        """The job that waits longest and those that can share its run, as far as rows fit; jobs whose time is over are left out."""
        now = time.monotonic()
        first = self.waiting.popleft()
        jobs, rows, others = [first], first.rows, []
        while self.waiting and rows < self.spec.max_batch:
            job = self.waiting.popleft()
            if job.kind == first.kind and rows + job.rows <= self.spec.max_batch:
                jobs.append(job)
                rows += job.rows
            else:
                others.append(job)
        self.waiting.extendleft(reversed(others))
        return [
            job for job in jobs if job.until > now and job.answer.set_running_or_notify_cancel()
        ]

    def run(self, jobs: list[Job]) -> None:
        """One run for these jobs. When it fails for several, each is tried by itself: a bad neighbour is nobody else's fault."""
        if not jobs:
            return
        rows = sum(job.rows for job in jobs)
        inputs = (
            jobs[0].inputs if len(jobs) == 1 else joined(self.spec, [job.inputs for job in jobs])
        )
        started = time.perf_counter()
        try:
            outputs = self.whole(inputs, rows)
        except ModelError:
            if len(jobs) == 1:
                raise
            for job in jobs:
                with Group([job]):
                    self.run([job])
            return
        each = (time.perf_counter() - started) * 1000 / max(rows, 1)
        at = 0
        for job in jobs:
            part = (
                outputs
                if len(jobs) == 1
                else {t.name: outputs[t.name][at : at + job.rows] for t in self.spec.outputs}
            )
            at += job.rows
            job.answer.set_result(Ran(part, each, rows, len(jobs)))

    def whole(self, inputs: Arrays, rows: int) -> dict[str, Array]:
        """A run, or several when there are more rows than the version takes in one."""
        most = self.spec.max_batch
        if rows <= most or most <= 1 or not all(output.rows for output in self.spec.outputs):
            return checked_outputs(self.spec, inputs, self.runner.run(inputs))
        parts = []
        for start in range(0, rows, most):
            some = {
                t.name: inputs[t.name][start : start + most] if t.rows else inputs[t.name]
                for t in self.spec.inputs
            }
            parts.append(checked_outputs(self.spec, some, self.runner.run(some)))
        return {t.name: np.concatenate([part[t.name] for part in parts]) for t in self.spec.outputs}

    def close(self) -> None:
        """Let the threads end once nothing waits."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def kind_of(spec: Spec, inputs: Arrays) -> object:
    """What must be equal for two requests to share a run: the lengths beside rows, and inputs that hold for the whole request."""
    if not all(output.rows for output in spec.outputs) or not any(
        each.rows for each in spec.inputs
    ):
        return object()
    return tuple(
        inputs[t.name].shape[1:] if t.rows else (inputs[t.name].shape, inputs[t.name].tobytes())
        for t in spec.inputs
    )


def joined(spec: Spec, requests: list[Arrays]) -> dict[str, Array]:
    """The rows of several requests, one after the other."""
    return {
        t.name: np.concatenate([request[t.name] for request in requests])
        if t.rows
        else requests[0][t.name]
        for t in spec.inputs
    }
