"""The generated reference pages are current, whole, and noticed when they are not."""

from tanuki import settings
from tanuki.app.cli import SHOP, TANUKI
from tanuki.app.reference import reference, render_pages
from tests.factories.command_line import CommandRunner


def test_the_pages_in_docs_are_current():
    result = CommandRunner().invoke(reference, ["--check"])
    assert result.exit_code == 0, result.output


def test_every_setting_and_every_command_has_its_place():
    pages = render_pages()
    for field in settings.Settings.model_fields:
        assert f"| `{settings.variable_name(field)}` |" in pages["settings.md"]
    for name in [*(f"tanuki {name}" for name in TANUKI), *(f"tanuki shop {name}" for name in SHOP)]:
        assert f"\n## {name}" in pages["commands.md"]


def test_a_stale_page_is_named_and_writing_mends_it(tmp_path):
    def call(*options):
        return CommandRunner().invoke(reference, ["--folder", str(tmp_path), *options])

    assert call().exit_code == 0
    assert call("--check").exit_code == 0
    (tmp_path / "settings.md").write_text("old")
    assert call("--check").exit_code == 1
    assert "settings.md is stale" in call("--check").output
    call()
    assert (tmp_path / "settings.md").read_text("utf-8") == render_pages()["settings.md"]
