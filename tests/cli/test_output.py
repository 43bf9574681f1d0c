"""Tables, JSON lines and passwords; each in the terminal's language."""

import json
from datetime import UTC, datetime

import click
import pytest

from tanuki.cli.lazy_group import LazyGroup, translate_command
from tanuki.cli.output import collect_passwords, emit, print_passwords
from tanuki.cli.values import parse_moment
from tanuki.errors import UserError
from tanuki.settings import terminal_language
from tests.factories.command_line import CommandRunner

ROWS = [{"name": "柴犬", "units": 12.5}, {"name": "shiba", "units": None}]


@click.command()
@click.option("--json", "as_json", is_flag=True)
def table(as_json: bool) -> None:
    emit(ROWS, as_json)


@click.command()
@click.option("--collect", is_flag=True)
@click.argument("names", nargs=-1)
def passwords(collect: bool, names: tuple[str, ...]) -> None:
    collected = collect_passwords() if collect else None
    print_passwords(dict.fromkeys(names, "secret"))
    if collect:
        click.echo(json.dumps(collected))


def test_a_table_aligns_japanese_and_numbers():
    assert CommandRunner().invoke(table, []).output.splitlines() == [
        "name   units",
        "柴犬   12.50",
        "shiba      -",
    ]


def test_json_has_one_object_a_line():
    lines = CommandRunner().invoke(table, ["--json"]).output.splitlines()
    assert [json.loads(line) for line in lines] == ROWS


def test_new_passwords_are_printed_and_otherwise_the_reason_why_not():
    assert CommandRunner().invoke(passwords, ["acorn"]).output.splitlines() == [
        "Passwords, shown only now",
        "  acorn  secret",
    ]
    assert "exist already" in CommandRunner().invoke(passwords, []).output


def test_collected_passwords_are_not_printed():
    result = CommandRunner().invoke(passwords, ["--collect", "acorn"])
    assert json.loads(result.output) == {"acorn": "secret"}


def test_sentences_are_printed_in_the_terminals_language():
    result = CommandRunner(lang="ja").invoke(passwords, ["acorn"])
    assert result.output.startswith("パスワード（表示は今回だけです）")


def test_help_is_translated_and_the_command_stays_as_it_was():
    @click.command(help="Query the warehouse.")
    @click.option("--csv", help="CSV instead of a table.")
    def query(csv: str) -> None: ...

    group = click.Group("group", commands={"query": query}, help="Query the warehouse.")
    translated = translate_command(group, lambda text, **_values: text.upper())
    assert isinstance(translated, click.Group)
    assert translated.help == "QUERY THE WAREHOUSE."
    [option] = translated.commands["query"].params
    assert isinstance(option, click.Option) and option.help == "CSV INSTEAD OF A TABLE."
    assert query.help == "Query the warehouse."


def test_a_lazy_group_lists_commands_without_importing_them():
    group = LazyGroup("lazy", table={"x": ("no.such.module:x", "Does x.")}, help="Help.")
    assert "x  Does x." in CommandRunner().invoke(group, ["--help"]).output


@pytest.mark.parametrize(
    ("environment", "lang"),
    [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8", "TANUKI_LANG": "en"}, "en"),
        ({"LANG": "en_GB.UTF-8", "TANUKI_LANG": "ja"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "TANUKI_LANG": "auto"}, "ja"),
    ],
)
def test_the_language_is_the_settings_or_else_the_locales(environment, lang):
    assert terminal_language(environment) == lang


def test_a_moment_without_a_zone_is_in_tokyo():
    assert parse_moment(None) is None
    assert parse_moment("2021-01-11T10:00") == datetime(2021, 1, 11, 1, tzinfo=UTC)
    assert parse_moment("2021-01-11T10:00+00:00") == datetime(2021, 1, 11, 10, tzinfo=UTC)
    with pytest.raises(UserError, match="noon is not a moment"):
        parse_moment("noon")
