"""Numbers that people act on, for Prometheus: requests, workflow steps, queues, model versions. One registry a process."""

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
RUN_ROWS = (1, 2, 4, 8, 16, 32, 64)
STEP_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The registry and what is in it."""

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
            "The version that an alias of a model stands at.",
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
            "Questions to models.",
            ["model", "version", "role", "outcome"],
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "tanuki_inference_seconds",
            "Seconds from a question to a model to its answer.",
            ["model"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.run_rows = Histogram(
            "tanuki_inference_run_rows",
            "Rows that shared the run of an answer.",
            ["model"],
            buckets=RUN_ROWS,
            registry=registry,
        )
        self.serving = Gauge(
            "tanuki_model_serving",
            "The version that answers in a role; 0: none.",
            ["model", "role"],
            registry=registry,
        )
        self.back = Counter(
            "tanuki_model_went_back",
            "Versions that left their bounds and went by themselves.",
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
    """This process's metrics."""
    return Metrics()


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request by its route's pattern, never by its path: paths are endless."""
    counter, histogram = request_metrics(method, route, status)
    counter.inc()
    histogram.observe(seconds)


@cache
def request_metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The numbers of a kind of request, looked up once."""
    return process_metrics().requests.labels(
        method, route, str(status)
    ), process_metrics().request_seconds.labels(method, route)


def observe_step(workflow: str, step: str, seconds: float, *, outcome: str = "done") -> None:
    """Count a workflow step; the outcome is done or failed."""
    process_metrics().steps.labels(workflow, step, outcome).inc()
    process_metrics().step_seconds.labels(workflow, step).observe(seconds)


def set_queue_length(queue: str, length: int) -> None:
    """How many runs wait in a queue."""
    process_metrics().queued.labels(queue).set(length)


def set_model_version(model: str, alias: str, version: int) -> None:
    """Which version an alias of a model stands at."""
    process_metrics().models.labels(model, alias).set(version)


def set_open_alerts(system: str, code: str, count: int) -> None:
    """How many alerts of a kind are open."""
    process_metrics().open_alerts.labels(system, code).set(count)


def count_events(outcome: str, count: int) -> None:
    """Count events; the outcome is written or lost."""
    process_metrics().events.labels(outcome).inc(count)


def observe_inference(
    model: str, version: str, role: str, seconds: float, *, rows: int, failed: bool
) -> None:
    """Count a question to a model; the role is champion, challenger, shadow or version."""
    process_metrics().inferences.labels(
        model, version, role, "failed" if failed else "answered"
    ).inc()
    process_metrics().inference_seconds.labels(model).observe(seconds)
    if not failed:
        process_metrics().run_rows.labels(model).observe(rows)


def set_serving(model: str, versions: Mapping[str, str | None]) -> None:
    """Which version of a model answers in each role."""
    for role, version in versions.items():
        process_metrics().serving.labels(model, role).set(int(version or 0))


def count_automatic_rollback(model: str) -> None:
    """A version left its bounds and went."""
    process_metrics().back.labels(model).inc()
