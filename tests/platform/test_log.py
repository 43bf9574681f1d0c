"""Log lines: one format for the project and libraries, request and run ids, console or JSON."""

import json
import logging
import re

import pytest
import structlog
from fastapi import APIRouter

from tanuki.platform import log
from tanuki.platform.web import app as web
from tanuki.platform.web.auth import CurrentPerson
from tanuki.platform.web.navigation import Menu
from tanuki.platform.web.site import System
from tanuki.settings import Settings
from tests.factories.http_clients import make_person, signed_in


@pytest.fixture(autouse=True)
def restored_logging():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    named = {
        name: (
            logging.getLogger(name).handlers[:],
            logging.getLogger(name).propagate,
            logging.getLogger(name).level,
        )
        for name in log.LIBRARIES
    }
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, (handlers, propagate, level) in named.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).propagate = propagate
        logging.getLogger(name).setLevel(level)
    for name in log.SILENT_LIBRARIES:
        logging.getLogger(name).disabled = False
    logging.getLogger("tanuki").setLevel(logging.NOTSET)


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object_with_event_fields_level_and_time(capsys):
    log.set_up_logging(Settings(log="json"))
    structlog.get_logger().info("photo posted", post="p1", count=3)
    [line] = lines(capsys)
    assert {key: line[key] for key in ("event", "post", "count", "level")} == {
        "event": "photo posted",
        "post": "p1",
        "count": 3,
        "level": "info",
    }
    assert line["timestamp"].endswith("Z")
    assert line["logger"] == __name__


def test_what_was_bound_is_in_every_later_line_also_of_libraries(capsys):
    log.set_up_logging(Settings(log="json"))
    log.bind_fields(run_id="weekly-2021-W03")
    structlog.get_logger().info("forecast made")
    logging.getLogger("dbos").warning("step %s retried", 3)
    assert [(line["run_id"], line["event"]) for line in lines(capsys)] == [
        ("weekly-2021-W03", "forecast made"),
        ("weekly-2021-W03", "step 3 retried"),
    ]


def test_a_library_that_logs_is_written_once_and_its_request_lines_never(capsys):
    log.set_up_logging(Settings(log="json"))
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.access").info("192.0.2.1 GET /?name=hana")
    assert [line["event"] for line in lines(capsys)] == ["started"]


def test_a_line_below_the_level_is_not_written(capsys):
    log.set_up_logging(Settings(log="json", log_level="warning"))
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    logging.getLogger("alembic").info("quiet")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_debug_shows_our_own_debug_lines(capsys):
    log.set_up_logging(Settings(log="json", log_level="debug"))
    structlog.get_logger("tanuki.shop").debug("detail")
    logging.getLogger("botocore").debug("chatter")
    assert [line["event"] for line in lines(capsys)] == ["detail"]


def test_a_failure_carries_its_traceback_but_no_local_values(capsys):
    log.set_up_logging(Settings(log="json"))
    secret = "the password"
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        structlog.get_logger().exception("request failed")
    [line] = lines(capsys)
    assert line["exception"][0]["exc_value"] == "boom"
    assert secret not in json.dumps(line["exception"])


def test_a_line_for_people_has_time_event_and_fields(capsys):
    log.set_up_logging(Settings(log="console"))
    structlog.get_logger().info("photo posted", post="p1")
    structlog.get_logger().warning("photo refused", post="p2")
    posted, refused = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d photo posted  post=p1", posted)
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning: photo refused  post=p2", refused)


def test_people_see_tracebacks_but_only_warnings_of_libraries(capsys):
    log.set_up_logging(Settings(log="console"))
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    logging.getLogger("mlflow.store").warning("The registry is old.")
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        structlog.get_logger().exception("request failed")
    written = capsys.readouterr().err
    assert "Running upgrade" not in written and "warning: The registry is old." in written
    assert "error: request failed\nTraceback" in written and "RuntimeError: boom" in written


def test_auto_writes_json_without_a_terminal(capsys):
    log.set_up_logging(Settings())
    structlog.get_logger().info("photo posted")
    assert lines(capsys)[0]["event"] == "photo posted"


def test_a_bug_in_a_request_is_logged_with_the_request_and_no_person(capsys, embedded, tmp_path):
    router = APIRouter()

    @router.get("/test/broken")
    def broken(who: CurrentPerson) -> None:
        raise RuntimeError("detail")

    make_person(embedded, "hana", ("analyst", None))
    hana = signed_in(
        web.create_app(embedded, [System("test", Menu("Test"), [router], tmp_path, tmp_path)]),
        "hana",
    )
    log.set_up_logging(Settings(log="json"))
    hana.get("/test/broken?least=3", headers={"X-Request-ID": "request-12345"})
    failed, answered = [line for line in lines(capsys) if line["logger"].startswith("tanuki.")]
    assert (failed["event"], failed["route"], failed["request_id"]) == (
        "request failed",
        "/test/broken",
        "request-12345",
    )
    assert failed["exception"][0]["exc_type"] == "RuntimeError"
    assert (answered["event"], answered["status"]) == ("request answered", 500)
    assert "hana" not in json.dumps([failed, answered]) and "least" not in json.dumps(
        [failed, answered]
    )
