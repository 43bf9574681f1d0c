"""Dynamic batching: requests to one version that wait at the same moment share a run.

A request never waits for others when the version is idle.
"""

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
    InferenceTimeout,
    ModelError,
    ModelSignature,
    Runner,
    ServerBusy,
    count_rows,
    first_line,
    validate_outputs,
)

log = structlog.get_logger()

IDLE_WAIT_SECONDS = 1.0
"""After so long a waiting thread checks whether the queue was closed."""


@dataclass(frozen=True)
class InferenceResult:
    """The outputs of a request, and its run: milliseconds per row, its rows and requests."""

    outputs: dict[str, Array]
    milliseconds: float
    rows: int
    requests: int = 1


@dataclass(eq=False)
class BatchItem:
    """A request that waits until `deadline`. Those with the same `batch_key` can share a run."""

    inputs: Arrays
    rows: int
    batch_key: object
    deadline: float
    future: "Future[InferenceResult]" = field(default_factory=Future)


class Batch:
    """Requests that share a run; as a context it hands an error to each of them."""

    def __init__(self, items: list[BatchItem]) -> None:
        self.items = items

    def __enter__(self) -> list[BatchItem]:
        return self.items

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        for item in self.items:
            if error is not None and not item.future.done():
                item.future.set_exception(error)
        return True


class ModelQueue:
    """The queue of one loaded version and its threads; at most `concurrency` runs at a time."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.signature: ModelSignature = runner.spec
        self.waiting: deque[BatchItem] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.started = False

    def infer(
        self, inputs: Arrays, *, seconds: float | None = None, unbatched: bool = False
    ) -> InferenceResult:
        """The result for validated inputs; `unbatched` shares no run with others.

        Raises InferenceTimeout, ServerBusy and ModelError.
        """
        timeout = (
            self.signature.seconds if seconds is None else min(seconds, self.signature.seconds)
        )
        item = BatchItem(
            inputs,
            count_rows(self.signature, inputs),
            object() if unbatched else find_batch_key(self.signature, inputs),
            time.monotonic() + timeout,
        )
        with self.changed:
            if len(self.waiting) >= self.signature.max_queue:
                raise ServerBusy("It is busy: %(count)s requests wait.", count=len(self.waiting))
            self.waiting.append(item)
            self.changed.notify()
            if not self.started:
                self.start_threads()
        try:
            error = item.future.exception(timeout)
        except NotYet:
            item.future.cancel()
            with self.changed, suppress(ValueError):  # it is no longer in the queue: it runs
                self.waiting.remove(item)
            raise InferenceTimeout(
                "It did not answer within %(seconds)s seconds.", seconds=f"{timeout:g}"
            ) from None
        if error is None:
            return item.future.result()
        if isinstance(error, UserError):
            raise error
        log.error("model failed", kind=self.signature.kind, exc_info=error)
        raise ModelError("It failed (%(reason)s).", reason=first_line(error)) from error

    def start_threads(self) -> None:
        """Start the threads, under the lock.

        They inherit the priority of the thread that starts them. That is the first request's, not
        the low one of the thread that loads versions.
        """
        self.started = True
        for number in range(self.signature.concurrency):
            threading.Thread(target=self.run_batches, name=f"model-{number}", daemon=True).start()

    def run_batches(self) -> None:
        """Run batches, until closed."""
        while True:
            with self.changed:
                while not self.waiting:
                    if self.closed:
                        return
                    self.changed.wait(IDLE_WAIT_SECONDS)
                items = self.take_batch()
            with Batch(items):
                self.run_batch(items)

    def take_batch(self) -> list[BatchItem]:
        """The request that waits longest and those that fit into its run; without expired ones."""
        now = time.monotonic()
        first = self.waiting.popleft()
        items, rows, others = [first], first.rows, []
        while self.waiting and rows < self.signature.max_batch:
            item = self.waiting.popleft()
            fits = rows + item.rows <= self.signature.max_batch
            if fits and item.batch_key == first.batch_key:
                items.append(item)
                rows += item.rows
            else:
                others.append(item)
        self.waiting.extendleft(reversed(others))
        return [
            item
            for item in items
            if item.deadline > now and item.future.set_running_or_notify_cancel()
        ]

    def run_batch(self, items: list[BatchItem]) -> None:
        """One run for these requests. If it fails, each is run alone: one may have spoilt it."""
        if not items:
            return
        rows = sum(item.rows for item in items)
        inputs = (
            items[0].inputs
            if len(items) == 1
            else concatenate_inputs(self.signature, [item.inputs for item in items])
        )
        started = time.perf_counter()
        try:
            outputs = self.run_in_parts(inputs, rows)
        except ModelError:
            if len(items) == 1:
                raise
            for item in items:
                with Batch([item]):
                    self.run_batch([item])
            return
        milliseconds = (time.perf_counter() - started) * 1000 / max(rows, 1)
        start = 0
        for item in items:
            part = outputs
            if len(items) > 1:
                names = [tensor.name for tensor in self.signature.outputs]
                part = {name: outputs[name][start : start + item.rows] for name in names}
            start += item.rows
            item.future.set_result(InferenceResult(part, milliseconds, rows, len(items)))

    def run_in_parts(self, inputs: Arrays, rows: int) -> dict[str, Array]:
        """A run, or several when there are more rows than the version takes in one."""
        signature, size = self.signature, self.signature.max_batch
        splittable = all(tensor.counts_rows for tensor in signature.outputs)
        if rows <= size or size <= 1 or not splittable:
            return validate_outputs(signature, inputs, self.runner.run(inputs))
        parts = []
        for start in range(0, rows, size):
            part = {
                tensor.name: inputs[tensor.name][start : start + size]
                if tensor.counts_rows
                else inputs[tensor.name]
                for tensor in signature.inputs
            }
            parts.append(validate_outputs(signature, part, self.runner.run(part)))
        names = [tensor.name for tensor in signature.outputs]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def close(self) -> None:
        """Let the threads end once nothing waits."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def find_batch_key(signature: ModelSignature, inputs: Arrays) -> object:
    """Equal for requests that can share a run.

    That is: the same lengths beside rows, and the same inputs that hold for the whole request.
    """
    if not all(tensor.counts_rows for tensor in signature.outputs) or not any(
        tensor.counts_rows for tensor in signature.inputs
    ):
        return object()
    return tuple(
        array.shape[1:] if tensor.counts_rows else (array.shape, array.tobytes())
        for tensor in signature.inputs
        for array in [inputs[tensor.name]]
    )


def concatenate_inputs(signature: ModelSignature, requests: list[Arrays]) -> dict[str, Array]:
    """The rows of several requests, one after the other."""
    return {
        tensor.name: np.concatenate([request[tensor.name] for request in requests])
        if tensor.counts_rows
        else requests[0][tensor.name]
        for tensor in signature.inputs
    }
