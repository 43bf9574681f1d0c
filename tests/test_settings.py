"""Settings: defaults, all errors reported at once, secrets from files; start of the CLI."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from tanuki import settings
from tanuki.app.cli import tanuki
from tanuki.errors import UserError
from tests.factories.command_line import CommandRunner

HEAVY = (
    "mlflow",
    "lightgbm",
    "statsforecast",
    "mlforecast",
    "pandas",
    "duckdb",
    "sklearn",
    "fastapi",
    "polars",
    "numpy",
    "sqlalchemy",
    "dbos",
)


def refused(environment):
    with pytest.raises(UserError) as error:
        settings.read_settings(environment)
    return str(error.value)


def test_everything_has_a_default():
    defaults = settings.read_settings({})
    assert defaults == settings.Settings()
    assert defaults.database_url.endswith("/var/tanuki.db")
    assert defaults.objects_url.endswith("/var/objects")
    assert defaults.mlflow_url.endswith("/var/mlflow.db")
    assert defaults.embedded


def test_variables_of_others_are_not_read():
    assert (
        settings.read_settings({"HOME": "/nowhere", "PORT": "1", "NOT_TANUKI_PORT": "2"})
        == settings.Settings()
    )


def test_a_variable_sets_its_field():
    result = settings.read_settings(
        {
            "TANUKI_PORT": "9000",
            "TANUKI_HTTPS": "true",
            "TANUKI_DATABASE": "postgresql://db/shop",
            "TANUKI_OBJECTS": "s3://b/p/",
        }
    )
    assert (result.port, result.https, result.database_url, result.objects_url) == (
        9000,
        True,
        "postgresql://db/shop",
        "s3://b/p",
    )
    assert not result.embedded


def test_everything_lies_in_the_home_folder_unless_told_otherwise(tmp_path):
    result = settings.read_settings(
        {"TANUKI_HOME": str(tmp_path / "h"), "TANUKI_OBJECTS": str(tmp_path / "o")}
    )
    assert result.database_url == f"sqlite:///{tmp_path / 'h' / 'tanuki.db'}"
    assert result.objects_url == str(tmp_path / "o")


def test_a_misspelt_name_is_refused_and_the_nearest_is_named():
    assert "TANUKI_PROT is not a setting. Did you mean TANUKI_PORT?" in refused(
        {"TANUKI_PROT": "1"}
    )
    assert "TANUKI_ZZZZZZZZ is not a setting. `tanuki settings` lists them." in refused(
        {"TANUKI_ZZZZZZZZ": "1"}
    )


def test_all_faults_are_told_at_once(tmp_path):
    message = refused(
        {
            "TANUKI_PROT": "1",
            "TANUKI_PORT": "many",
            "TANUKI_LOG": "loud",
            "TANUKI_S3_SECRET_FILE": str(tmp_path / "none"),
        }
    )
    assert len(message.splitlines()) == 5
    for part in (
        "TANUKI_PROT is not",
        "TANUKI_PORT is 'many'",
        "a whole number",
        "auto or console or json",
        "TANUKI_S3_SECRET_FILE: cannot read",
    ):
        assert part in message


def test_a_secret_is_never_shown():
    result = settings.read_settings(
        {"TANUKI_S3_SECRET": "hush", "TANUKI_DATABASE": "postgresql://shop:hush@db/shop"}
    )
    assert "hush" not in repr(result) and "hush" not in str(settings.list_settings(result))


def test_a_file_holds_a_value(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    s3_secret = settings.read_settings({"TANUKI_S3_SECRET_FILE": str(secret)}).s3_secret
    assert s3_secret.get_secret_value() == "hush"
    assert "are both set" in refused(
        {"TANUKI_S3_SECRET_FILE": str(secret), "TANUKI_S3_SECRET": "x"}
    )


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        settings.read_settings({}).port = 1


def test_every_setting_has_help_and_says_what_it_takes():
    for row in settings.list_settings(settings.Settings()):
        assert row["help"].endswith(".") and row["takes"] and row["name"] == row["name"].upper()


def test_the_command_prints_name_value_default_and_help():
    result = CommandRunner().invoke(
        tanuki, ["settings", "--json"], env={"TANUKI_PORT": "8123"}, catch_exceptions=False
    )
    rows = {row["name"]: row for row in map(json.loads, result.output.splitlines())}
    assert set(rows) == {settings.variable_name(field) for field in settings.Settings.model_fields}
    assert (rows["TANUKI_PORT"]["value"], rows["TANUKI_PORT"]["default"]) == ("8123", "8000")
    assert "TANUKI_PORT" in CommandRunner().invoke(tanuki, ["settings"]).output


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_a_misspelt_variable_stops_every_command_with_one_sentence_and_exit_code_2():
    result = python(
        "import sys; sys.argv = ['tanuki', 'settings']; from tanuki.__main__ import main; main()",
        TANUKI_HOMES="x",
    )
    assert result.returncode == 2
    assert "TANUKI_HOMES is not a setting. Did you mean TANUKI_HOME?" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_imports_nothing_heavy():
    code = f"""
import sys
sys.argv = ["tanuki", "--help"]
from tanuki.app.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == "[]"
    assert "shop" in result.stdout
