"""The model registry: versions with what they were made from, aliases, and nothing of MLflow before it is needed."""

import subprocess
import sys

import pytest

from tanuki.errors import NotFound
from tanuki.platform.models.registry import CHAMPION, Registry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
MADE = {"data_window": ("2020-01-01", "2021-01-10"), "code_version": "0.1.0"}


def test_versions_aliases_and_files(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "artifacts"))
    assert not registry.started()
    assert registry.names() == []
    assert registry.versions("forecast") == []
    with pytest.raises(NotFound, match="no version champion of the model forecast"):
        registry.get("forecast", CHAMPION)
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights.json").write_text("[1, 2]")
    first = registry.save("forecast", folder, parameters={"lags": [7, 14], "name": "pooled"}, metrics={"wape": 0.05}, **MADE)
    (folder / "deep" / "weights.json").write_text("[3]")
    second = registry.save("forecast", folder, parameters={}, metrics={}, **MADE)
    assert (first.version, second.version) == ("1", "2")
    assert registry.started()
    registry.set_alias("forecast", CHAMPION, "1")
    found = registry.get("forecast", CHAMPION)
    assert (found.version, found.aliases, found.parameters, found.metrics) == (
        "1",
        (CHAMPION,),
        {"lags": [7, 14], "name": "pooled"},
        {"wape": 0.05},
    )
    assert (found.data_window, found.code_version) == (("2020-01-01", "2021-01-10"), "0.1.0")
    (tmp_path / "into").mkdir()
    assert (registry.load("forecast", CHAMPION, tmp_path / "into") / "deep" / "weights.json").read_text() == "[1, 2]"
    registry.set_alias("forecast", CHAMPION, "2")
    assert registry.get("forecast", CHAMPION).version == "2"
    assert registry.get("forecast", "1").aliases == ()
    assert [version.version for version in registry.versions("forecast")] == ["2", "1"]
    with pytest.raises(NotFound, match="no version 9"):
        registry.set_alias("forecast", CHAMPION, "9")


def test_another_process_sees_what_was_registered(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "artifacts"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("x")
    registry.save("forecast", tmp_path / "model", parameters={}, metrics={}, **MADE)
    code = "import sys; from tanuki.platform.models.registry import Registry; print(Registry(*sys.argv[1:]).names())"
    command = [sys.executable, "-c", code, registry.tracking_uri, registry.artifacts]
    assert "['forecast']" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_nothing_of_mlflow_is_loaded_by_a_registry_that_was_never_used():
    code = "import sys; from tanuki.platform.models.registry import Registry; Registry('sqlite:////nowhere/x.db', '').versions('a'); sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
