"""`tanuki sql`, `warehouse`, `db` and `mlflow`: the data's places from the command line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, date, datetime

import polars as pl
import pytest

from tanuki.app import bootstrap, schema
from tanuki.app.metadata import MIGRATIONS
from tanuki.errors import UserError
from tanuki.platform.commands import data
from tanuki.platform.warehouse import FactTable
from tanuki.settings import Settings
from tests.factories.command_line import CommandRunner

SOLD = FactTable("sold", ("day",), {"day": pl.Date, "units": pl.Int64})
TEN_IN_TOKYO = datetime(2021, 1, 4, 1, tzinfo=UTC)


@pytest.fixture
def tanuki(tmp_path, monkeypatch):
    """Runs a command in a home folder with one fact in the warehouse; gives its output."""
    monkeypatch.setenv("TANUKI_HOME", str(tmp_path / "home"))
    resources = bootstrap.create_resources(Settings(home=tmp_path / "home"))
    with resources.db.write() as db:
        frame = pl.DataFrame({"day": [date(2021, 1, 3)], "units": [7]})
        resources.warehouse.append_facts(db, SOLD, frame, recorded_at=TEN_IN_TOKYO, source="tests")
    bootstrap.close_resources(resources)

    def run(command, *arguments):
        result = CommandRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run.objects = resources.objects
    return run


def test_sql_answers_as_a_table_json_or_csv(tanuki):
    query = "select day, units from sold"
    assert tanuki(data.sql, query).splitlines() == ["day         units", "2021-01-03      7"]
    assert json.loads(tanuki(data.sql, query, "--json")) == {"day": "2021-01-03", "units": 7}
    assert tanuki(data.sql, query, "--csv") == "day,units\n2021-01-03,7\n"


@pytest.mark.parametrize(
    ("moment", "rows"),
    [("2021-01-04T10:00", 1), ("2021-01-04T09:59", 0), ("2021-01-04T01:00+00:00", 1)],
)
def test_a_moment_without_a_zone_is_tokyos(tanuki, moment, rows):
    assert json.loads(
        tanuki(data.sql, "select count(*) n from sold", "--as-of", moment, "--json")
    ) == {"n": rows}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("select 1", "--as-of", "monday"), "monday is not a moment"),
        (("select list(units) from sold", "--csv"), "does not fit into CSV"),
        (("drop table sold",), "begins with SELECT"),
    ],
)
def test_sql_says_what_is_wrong(tanuki, arguments, says):
    with pytest.raises(UserError, match=says):
        tanuki(data.sql, *arguments)


def test_path_is_the_folder_of_the_files(tanuki):
    folder = tanuki(data.warehouse, "path", "sold").strip()
    assert pl.read_parquet(f"{folder}/**/*.parquet")["units"].to_list() == [7]
    assert folder.startswith(tanuki(data.warehouse, "path").strip() + "/")


def test_tidy_deletes_old_files_that_no_import_names(tanuki):
    objects = tanuki.objects
    (kept,) = objects.list_keys("warehouse")
    old, young = "warehouse/sold/2021-01-04/old.parquet", "warehouse/sold/2021-01-04/young.parquet"
    for key in (old, young):
        objects.put(key, b"x")
    two_hours_ago = time.time() - 7200
    for key in (old, kept):
        os.utime(objects.path_of(key), (two_hours_ago, two_hours_ago))
    assert tanuki(data.warehouse, "tidy").splitlines() == [
        old,
        "1 files were deleted.",
    ]
    assert objects.list_keys("warehouse") == sorted([kept, young])


def test_db_upgrade_makes_the_schema_this_code_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("TANUKI_DATABASE", f"sqlite:///{tmp_path / 'new.db'}")
    newest = MIGRATIONS.newest_revision()
    said = [
        CommandRunner().invoke(schema.db, [name], catch_exceptions=False).output
        for name in ("revision", "upgrade", "revision")
    ]
    assert said == [
        f"The schema is at -. This program needs {newest}.\n",
        f"The schema is at {newest}.\n",
        f"The schema is at {newest}. This program needs {newest}.\n",
    ]


def test_a_registry_with_a_server_of_its_own_is_named(tanuki, monkeypatch):
    monkeypatch.setenv("TANUKI_MLFLOW", "http://mlflow.example:5000")
    assert (
        tanuki(data.mlflow, "ui")
        == "The model registry has its own server, at http://mlflow.example:5000\n"
    )


@pytest.mark.slow
def test_mlflows_pages_end_with_the_command(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tanuki", "mlflow", "ui", "--port", str(port)]
    with subprocess.Popen(
        command,
        env={**os.environ, "TANUKI_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as ui:
        try:
            assert answers(port, for_s=90)
        finally:
            ui.send_signal(signal.SIGTERM)
            ui.communicate(timeout=30)
    assert not answers(port, for_s=0)


def answers(port: int, *, for_s: float) -> bool:
    """Whether MLflow's server answers, tried for some seconds."""
    until = time.monotonic() + for_s
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            if time.monotonic() > until:
                return False
            time.sleep(0.3)
