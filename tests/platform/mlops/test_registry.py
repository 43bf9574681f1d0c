"""The model registry: versions, aliases, and no import of MLflow before it is needed."""

import os
import shutil
import subprocess
import sys

import pytest

from tanuki.errors import NotFound
from tanuki.platform.mlops.registry import CHAMPION, Registry
from tanuki.platform.object_store import ObjectStore

pytestmark = [pytest.mark.slow, pytest.mark.mlflow]
MADE = {"data_window": ("2020-01-01", "2021-01-10"), "code_version": "0.1.0"}


@pytest.fixture(params=["folder", "s3"])
def registry(request, tmp_path) -> Registry:
    """An empty registry whose files are in a folder, or on S3 with credentials of its own."""
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if request.param == "folder":
        return Registry(tracking, ObjectStore(str(tmp_path / "artifacts")))
    s3 = request.getfixturevalue("s3")
    return Registry(tracking, ObjectStore(s3["url"], s3["endpoint"], s3["key"], s3["secret"]))


def test_versions_aliases_and_files(registry, tmp_path):
    assert not registry.started()
    assert registry.names() == []
    assert registry.versions("forecast") == []
    with pytest.raises(NotFound, match="no version champion of the model forecast"):
        registry.get("forecast", CHAMPION)
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights.json").write_text("[1, 2]")
    first = registry.save(
        "forecast",
        folder,
        parameters={"lags": [7, 14], "name": "poisson_regression"},
        metrics={"wape": 0.05},
        **MADE,
    )
    (folder / "deep" / "weights.json").write_text("[3]")
    second = registry.save("forecast", folder, parameters={}, metrics={}, **MADE)
    assert (first.version, second.version) == ("1", "2")
    assert registry.started()
    registry.set_alias("forecast", CHAMPION, "1")
    found = registry.get("forecast", CHAMPION)
    assert (found.version, found.aliases, found.parameters, found.metrics) == (
        "1",
        (CHAMPION,),
        {"lags": [7, 14], "name": "poisson_regression"},
        {"wape": 0.05},
    )
    assert (found.data_window, found.code_version) == (("2020-01-01", "2021-01-10"), "0.1.0")
    (tmp_path / "into").mkdir()
    assert (
        registry.load("forecast", CHAMPION, tmp_path / "into") / "deep" / "weights.json"
    ).read_text() == "[1, 2]"
    registry.set_alias("forecast", CHAMPION, "2")
    assert registry.get("forecast", CHAMPION).version == "2"
    assert registry.get("forecast", "1").aliases == ()
    assert [version.version for version in registry.versions("forecast")] == ["2", "1"]
    with pytest.raises(NotFound, match="no version 9"):
        registry.set_alias("forecast", CHAMPION, "9")


def test_files_that_are_lost_are_not_found(tmp_path):
    registry = Registry(
        f"sqlite:///{tmp_path / 'mlflow.db'}", ObjectStore(str(tmp_path / "artifacts"))
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("x")
    registry.save("forecast", tmp_path / "model", parameters={}, metrics={}, **MADE)
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(NotFound, match="no object"):
        registry.load("forecast", "1", tmp_path / "into")


def test_a_discarded_version_is_gone_with_its_files_and_its_number_is_not_given_again(tmp_path):
    registry = Registry(
        f"sqlite:///{tmp_path / 'mlflow.db'}", ObjectStore(str(tmp_path / "artifacts"))
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("x")
    for _ in range(2):
        registry.save("forecast", tmp_path / "model", parameters={}, metrics={}, **MADE)
    registry.discard("forecast", "2")
    assert [version.version for version in registry.versions("forecast")] == ["1"]
    assert len(registry.files.list_keys("forecast/")) == 1
    with pytest.raises(NotFound):
        registry.discard("forecast", "2")
    assert (
        registry.save("forecast", tmp_path / "model", parameters={}, metrics={}, **MADE).version
        == "3"
    )


def test_mlflow_finds_the_files_where_it_looks_for_them(tmp_path):
    from mlflow import MlflowClient

    registry = Registry(
        f"sqlite:///{tmp_path / 'mlflow.db'}", ObjectStore(str(tmp_path / "artifacts"))
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("x")
    registry.save("forecast", tmp_path / "model", parameters={}, metrics={}, **MADE)
    client = MlflowClient(tracking_uri=registry.tracking_uri, registry_uri=registry.tracking_uri)
    (version,) = client.search_model_versions("name = 'forecast'")
    assert [file.path for file in client.list_artifacts(version.run_id, "model")] == ["model/a"]
    assert version.source == str(
        tmp_path / "artifacts" / "forecast" / version.run_id / "artifacts" / "model"
    )


def test_mlflow_sends_no_telemetry(tmp_path):
    code = """
import sys
from pathlib import Path

home, seen = Path(sys.argv[1]), []
NETWORK = ("socket.getaddrinfo", "socket.connect")
sys.addaudithook(lambda event, args: seen.append(args) if event in NETWORK else None)

from tanuki.platform.mlops.registry import Registry
from tanuki.platform.object_store import ObjectStore

registry = Registry(f"sqlite:///{home / 'mlflow.db'}", ObjectStore(str(home / "artifacts")))
(home / "model").mkdir()
made = {"parameters": {"a": 1}, "metrics": {"b": 1.0}, "data_window": ("", "")}
registry.save("forecast", home / "model", code_version="", **made)
import threading

print([thread.name for thread in threading.enumerate()], seen)
sys.exit(bool(seen))
"""
    quiet = (
        "CI",
        "PYTEST_CURRENT_TEST",
        "GITHUB_ACTIONS",
        "MLFLOW_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
    )  # by these MLflow knows tests
    plain = {name: value for name, value in os.environ.items() if name not in quiet}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "['MainThread'] []" in done.stdout


def test_another_process_sees_what_was_registered(tmp_path):
    registry = Registry(
        f"sqlite:///{tmp_path / 'mlflow.db'}", ObjectStore(str(tmp_path / "artifacts"))
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("x")
    registry.save("forecast", tmp_path / "model", parameters={}, metrics={}, **MADE)
    imports = (
        "import sys; from tanuki.platform.mlops.registry import Registry; "
        "from tanuki.platform.object_store import ObjectStore; "
    )
    code = imports + "print(Registry(sys.argv[1], ObjectStore(sys.argv[2])).names())"
    command = [sys.executable, "-c", code, registry.tracking_uri, registry.files.url]
    assert (
        "['forecast']" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )


def test_nothing_of_mlflow_is_loaded_by_a_registry_that_was_never_used():
    imports = (
        "import sys; from tanuki.platform.mlops.registry import Registry; "
        "from tanuki.platform.object_store import ObjectStore; "
    )
    code = (
        imports + "Registry('sqlite:////nowhere/x.db', ObjectStore('')).versions('a'); "
        "sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
