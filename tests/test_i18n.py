"""Every text of pages and commands has its Japanese, with the same values; so have formats."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import tanuki
from tanuki import i18n
from tanuki.app.cli import LOCALES
from tanuki.app.cli import tanuki as command_line
from tanuki.cli.lazy_group import LazyGroup
from tanuki.errors import UserError
from tanuki.i18n import Texts
from tanuki.settings import Settings

SOURCE = Path(tanuki.__file__).parent
PACKAGES = ["platform", "shop", "animals"]
LOWER_PACKAGES = ["app", "cli"]  # their Japanese is the platform's
TEMPLATE_FUNCTIONS = ("_", "gettext", "say")
ERRORS = (
    "UserError",
    "NotFound",
    "NotAllowed",
    "SignInNeeded",
    "TooMany",
    "Conflict",
    "Stale",
    "ModelError",
    "InferenceTimeout",
    "ServerBusy",
    "CorruptIndex",
)
PYTHON_FUNCTIONS = dict.fromkeys(("msgid", "say", "echo", "progress", "spinner", *ERRORS), 0) | {
    "ActionResult": 1
}
"""Functions that take a msgid, and the position of that argument."""
PLACE = re.compile(r"%\((\w+)\)s")


def texts_in(package: str) -> Iterator[tuple[str, str]]:
    """Every msgid in a package's code and templates, with where it stands."""
    for file in sorted((SOURCE / package).rglob("*.py")):
        name = file.relative_to(SOURCE)
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield from ((text, f"{name}:{node.lineno}") for text in literal_texts(node))
    options = {"newstyle_gettext": "true", "trimmed": "true", "extensions": "jinja2.ext.do"}
    for file, line, message, _, _ in extract_from_dir(
        SOURCE / package,
        [("**/templates/**.html", "jinja2")],
        {"**/templates/**.html": options},
        dict.fromkeys(TEMPLATE_FUNCTIONS) | {"ngettext": (1, 2)},
    ):
        text = message if isinstance(message, str) else message[0]
        if text:
            yield text, f"{package}/{file}:{line}"


def literal_texts(call: ast.Call) -> Iterator[str]:
    """The msgid that a call has as a literal, if its function takes one."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    position = PYTHON_FUNCTIONS.get(name)
    if position is not None and len(call.args) > position:
        argument = call.args[position]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value


def texts_of(package: str) -> Iterator[tuple[str, str]]:
    """The msgids that a package's catalogue translates, without help texts."""
    for name in [package, *(LOWER_PACKAGES if package == "platform" else [])]:
        yield from texts_in(name)


def help_texts(command: click.Command, name: str = "tanuki") -> Iterator[tuple[str, str]]:
    """The help of a command, its options and its subcommands, with the command's name."""
    if command.help:
        yield command.help, name
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            yield parameter.help, f"{name} {parameter.opts[0]}"
    if isinstance(command, LazyGroup):
        for subcommand, (_, line) in command.table.items():
            yield line, f"{name} {subcommand}"
    if isinstance(command, click.Group):
        context = click.Context(command)
        for subcommand in command.list_commands(context):
            found = command.get_command(context, subcommand)
            assert found is not None
            yield from help_texts(found, f"{name} {subcommand}")


def japanese(package: str) -> dict[str, str]:
    """A package's Japanese, and what it may take from the platform's."""
    files = [SOURCE / "platform/web/locale/ja.po", SOURCE / package / "web/locale/ja.po"]
    return {english: text for file in files for english, text in i18n.read_catalog(file).items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_text_has_its_japanese(package):
    known = japanese(package)
    missing = sorted(
        {f"{where}: {text!r}" for text, where in texts_of(package) if text not in known}
    )
    assert not missing, "\n".join(["no Japanese for:", *missing])


def test_every_help_text_of_the_command_line_has_its_japanese():
    texts = Texts(LOCALES)
    missing = [
        f"{where}: {text!r}"
        for text, where in help_texts(command_line)
        if text not in texts.texts["ja"]
    ]
    assert not missing, "\n".join(["no Japanese for:", *missing])


def test_every_setting_has_its_japanese():
    texts = Texts(LOCALES)
    descriptions = [str(field.description) for field in Settings.model_fields.values()]
    assert [text for text in descriptions if text not in texts.texts["ja"]] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_translation_has_the_same_values_as_its_text(package):
    wrong = [
        english
        for english, text in japanese(package).items()
        if set(PLACE.findall(english)) != set(PLACE.findall(text))
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_no_translation_is_left_over_or_said_twice(package):
    used = {text for text, _ in texts_of(package)}
    used |= {text for text, _ in help_texts(command_line)}
    used |= {str(field.description) for field in Settings.model_fields.values()}
    with (SOURCE / package / "web/locale/ja.po").open("rb") as opened:
        catalog = read_po(opened, locale="ja")
    ids = [
        message.id if isinstance(message.id, str) else message.id[0]
        for message in catalog
        if message.id
    ]
    assert sorted(set(ids) - used) == []
    text = (SOURCE / package / "web/locale/ja.po").read_text(encoding="utf-8")
    assert len(re.findall(r'^msgid ""?.', text, re.MULTILINE)) == len(ids) + 1


def test_a_text_without_translation_stays_english(tmp_path):
    assert Texts([tmp_path]).translate("ja", "Hello") == "Hello"


def test_a_plural_follows_the_count(tmp_path):
    (tmp_path / "ja.po").write_text(
        'msgid "%(n)s case"\nmsgid_plural "%(n)s cases"\nmsgstr[0] "%(n)sケース"\n',
        encoding="utf-8",
    )
    texts = Texts([tmp_path])
    assert [texts.translate_plural("en", "%(n)s case", "%(n)s cases", n) for n in (1, 2)] == [
        "%(n)s case",
        "%(n)s cases",
    ]
    assert [texts.translate_plural("ja", "%(n)s case", "%(n)s cases", n) for n in (1, 2)] == [
        "%(n)sケース"
    ] * 2


def test_an_error_is_said_in_the_readers_language(tmp_path):
    (tmp_path / "ja.po").write_text(
        'msgid "There is no store %(store)s."\nmsgstr "%(store)s という店舗はありません。"\n',
        encoding="utf-8",
    )
    error = UserError("There is no store %(store)s.", store="chiba")
    assert Texts([tmp_path]).render_error("ja", error) == "chiba という店舗はありません。"
    assert Texts([tmp_path]).render_error("en", error) == str(error) == "There is no store chiba."


def test_an_error_without_values_may_contain_percent_signs(tmp_path):
    assert Texts([tmp_path]).render_error("ja", UserError("100% of it")) == "100% of it"


@pytest.mark.parametrize(
    ("asked", "lang"),
    [
        ("ja", "ja"),
        ("ja-JP,en;q=0.8", "ja"),
        ("fr, ja;q=0.4, en;q=0.9", "en"),
        ("fr", "en"),
        ("", "en"),
        ("en;q=x, ja;q=0.1", "ja"),
        ("ja;q=0,en", "en"),
    ],
)
def test_the_browsers_language_is_taken_when_we_have_it(asked, lang):
    assert i18n.negotiate_language(asked) == lang


def test_numbers_yen_shares_days_and_moments_are_each_languages_own():
    moment = datetime(2021, 1, 10, 22, 30, tzinfo=UTC)
    for lang, expected in {
        "en": [
            "1,234,568",
            "1,234.50",
            "¥1,235",
            "-¥5",
            "12%",
            "12.3%",
            "Mon 11 Jan 2021",
            "11 Jan 2021, 07:30",
            "–",
        ],
        "ja": [
            "1,234,568",
            "1,234.50",
            "1,235円",
            "-5円",
            "12%",
            "12.3%",
            "2021年1月11日(月)",
            "2021年1月11日 07:30",
            "–",
        ],
    }.items():
        f = i18n.create_formatters(lang)
        shown = [
            f["n"](1234567.9),
            f["n"](1234.5, 2),
            f["yen"](1234.6),
            f["yen"](-5),
            f["pct"](0.123),
            f["pct"](0.123, 1),
        ]
        assert [*shown, f["day"](date(2021, 1, 11)), f["moment"](moment), f["n"](None)] == expected


def test_a_moment_is_told_by_how_long_ago_it_was_and_after_a_week_by_its_day():
    now = datetime(2021, 1, 10, 22, 30, tzinfo=UTC)
    passed = [
        timedelta(),
        timedelta(seconds=59),
        timedelta(minutes=3),
        timedelta(hours=26),
        timedelta(days=6),
        timedelta(days=40),
    ]
    for lang, expected in {
        "en": ["just now", "just now", "3m ago", "1d ago", "6d ago", "2 Dec 2020", "January 2021"],
        "ja": ["たった今", "たった今", "3分前", "1日前", "6日前", "2020年12月2日", "2021年1月"],
    }.items():
        f = i18n.create_formatters(lang)
        assert [*(f["ago"](now - time, now) for time in passed), f["month"](now)] == expected
