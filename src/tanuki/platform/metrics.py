"""Metrics for Prometheus: requests, steps, queues, model versions. A registry for each process."""

from collections.abc import Mapping
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64)
STEP_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The registry and its metrics."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self.requests = Counter(
            "tanuki_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "tanuki_request_seconds",
            "Seconds from a request to its answer.",
            ["method", "route"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.steps = Counter(
            "tanuki_steps",
            "Workflow steps run.",
            ["workflow", "step", "outcome"],
            registry=registry,
        )
        self.step_seconds = Histogram(
            "tanuki_step_seconds",
            "Seconds that a workflow step took.",
            ["workflow", "step"],
            buckets=STEP_SECONDS,
            registry=registry,
        )
        self.queued = Gauge(
            "tanuki_queue_length", "Runs that wait in a queue.", ["queue"], registry=registry
        )
        self.models = Gauge(
            "tanuki_model_version",
            "The version that an alias of a model names.",
            ["model", "alias"],
            registry=registry,
        )
        self.open_alerts = Gauge(
            "tanuki_open_alerts", "Alerts that are open.", ["system", "code"], registry=registry
        )
        self.events = Counter(
            "tanuki_events",
            "Events written, or lost because the database did not answer.",
            ["outcome"],
            registry=registry,
        )
        self.inferences = Counter(
            "tanuki_inferences",
            "Predictions of models.",
            ["model", "version", "role", "outcome"],
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "tanuki_inference_seconds",
            "Seconds from a request to a model to its answer.",
            ["model"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "tanuki_inference_batch_rows",
            "Rows in the batch of a prediction.",
            ["model"],
            buckets=BATCH_ROWS,
            registry=registry,
        )
        self.serving = Gauge(
            "tanuki_model_serving",
            "The version that serves in a role; 0: none.",
            ["model", "role"],
            registry=registry,
        )
        self.rollbacks = Counter(
            "tanuki_model_rollbacks",
            "Automatic rollbacks: versions that violated a guardrail.",
            ["model"],
            registry=registry,
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)


@cache
def process_metrics() -> Metrics:
    return Metrics()


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request by its route's pattern, never by its path: that could be anything."""
    counter, histogram = request_metrics(method, route, status)
    counter.inc()
    histogram.observe(seconds)


@cache
def request_metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The metrics of a kind of request, looked up once."""
    return process_metrics().requests.labels(
        method, route, str(status)
    ), process_metrics().request_seconds.labels(method, route)


def observe_step(workflow: str, step: str, seconds: float, *, outcome: str = "done") -> None:
    """Count a workflow step. The outcome is `done` or `failed`."""
    process_metrics().steps.labels(workflow, step, outcome).inc()
    process_metrics().step_seconds.labels(workflow, step).observe(seconds)


def set_queue_length(queue: str, length: int) -> None:
    process_metrics().queued.labels(queue).set(length)


def set_model_version(model: str, alias: str, version: int) -> None:
    """Which version an alias of a model names."""
    process_metrics().models.labels(model, alias).set(version)


def set_open_alerts(system: str, code: str, count: int) -> None:
    """How many alerts of a kind are open."""
    process_metrics().open_alerts.labels(system, code).set(count)


def count_events(outcome: str, count: int) -> None:
    """Count events. The outcome is `written` or `lost`."""
    process_metrics().events.labels(outcome).inc(count)


def observe_inference(
    model: str, version: str, role: str, seconds: float, *, rows: int, failed: bool
) -> None:
    """Count a prediction. The role is champion, challenger, shadow or version."""
    process_metrics().inferences.labels(
        model, version, role, "failed" if failed else "answered"
    ).inc()
    process_metrics().inference_seconds.labels(model).observe(seconds)
    if not failed:
        process_metrics().batch_rows.labels(model).observe(rows)


def set_serving(model: str, versions: Mapping[str, str | None]) -> None:
    """Which version of a model serves in each role."""
    for role, version in versions.items():
        process_metrics().serving.labels(model, role).set(int(version or 0))


def count_automatic_rollback(model: str) -> None:
    process_metrics().rollbacks.labels(model).inc()
