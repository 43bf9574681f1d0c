"""Numbers for Prometheus: counted under names and labels that dashboards rely on."""

from prometheus_client.parser import text_string_to_metric_families

from tanuki.platform import metrics


def sample(name, **labels):
    families = text_string_to_metric_families(metrics.process_metrics().text().decode())
    return next(
        (
            metric.value
            for family in families
            for metric in family.samples
            if metric.name == name and metric.labels == labels
        ),
        0.0,
    )


def test_a_request_is_counted_with_its_duration():
    before = sample("tanuki_requests_total", method="GET", route="/x/{y}", status="200")
    metrics.observe_request("GET", "/x/{y}", 200, 0.02)
    assert sample("tanuki_requests_total", method="GET", route="/x/{y}", status="200") == before + 1
    assert (
        sample("tanuki_request_seconds_bucket", method="GET", route="/x/{y}", le="0.025")
        == before + 1
    )
    assert sample("tanuki_request_seconds_bucket", method="GET", route="/x/{y}", le="0.01") == 0


def test_a_workflow_step_is_counted_by_outcome():
    observed = {
        "workflow": "tests",
        "step": "forecast",
    }  # a name of its own: the process has run real weeks by now
    metrics.observe_step("tests", "forecast", 3.0)
    metrics.observe_step("tests", "forecast", 3.0, outcome="failed")
    assert sample("tanuki_steps_total", **observed, outcome="done") == 1
    assert sample("tanuki_steps_total", **observed, outcome="failed") == 1
    assert sample("tanuki_step_seconds_count", **observed) == 2


def test_queues_and_model_versions_stand_at_what_was_set_last():
    metrics.set_queue_length("work", 3)
    metrics.set_queue_length("work", 1)
    metrics.set_model_version("demand", "champion", 7)
    assert sample("tanuki_queue_length", queue="work") == 1
    assert sample("tanuki_model_version", model="demand", alias="champion") == 7


def test_a_registry_of_its_own_knows_nothing_of_the_process_one():
    metrics.set_model_version("demand", "champion", 7)
    assert b'model="demand"' not in metrics.Metrics().text()
    assert b"process_cpu_seconds_total" in metrics.Metrics().text()
