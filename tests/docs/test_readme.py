"""Every command, option, make target and linked file that the documentation names exists."""

import re
from pathlib import Path

import click
import pytest

from tanuki.app.cli import tanuki

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("src/**/*.md"),
        *ROOT.glob("runs/*.sh"),
    ]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def extract_code(text: str, name: str) -> str:
    """The code in a page: fenced blocks and `spans`, or a whole script without its comments."""
    if name.endswith(".sh"):
        return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return "\n".join(
        [
            *fenced,
            *re.findall(
                r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
            ),
        ]
    )


def list_unknown_commands(code: str) -> list[str]:
    """Lines that call `tanuki` with an unknown command or option."""
    faults = []
    for line in re.findall(r"(?:^|[\s(/;&])\$?tanuki ((?:[\w-]+)[^\n|;&)`#>]*)", code):
        arguments = [
            argument
            for argument in line.replace("\\", " ").split()
            if not argument.startswith(("$", '"', "'"))
        ]
        command: click.Command = tanuki
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            subcommand = command.get_command(click.Context(command), arguments[0])
            if (
                subcommand is None
                and command.get_command(click.Context(command), "list") is not None
            ):
                break
            if subcommand is None:
                faults.append(f"tanuki {line.strip()}")
                break
            command = subcommand
            arguments = arguments[1:]
        else:
            known_options = {
                option
                for param in command.params
                for option in (*param.opts, *param.secondary_opts)
            } | {"--help"}
            options = {
                argument.split("=")[0] for argument in arguments if re.match(r"--\w", argument)
            }
            faults += [
                f"tanuki {line.strip()}: {option}"
                for option in sorted(options - known_options)
                if not isinstance(command, click.Group)
            ]
    return faults


def extract_make_targets(code: str) -> set[str]:
    """The make targets that a page names."""
    return set(re.findall(r"(?:^|\n|\$ )make ([a-z][\w-]*)", code))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_named_exists(name):
    assert list_unknown_commands(extract_code((ROOT / name).read_text("utf-8"), name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_named_exists(name):
    named_targets = extract_make_targets(extract_code((ROOT / name).read_text("utf-8"), name))
    existing_targets = (
        set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
        if named_targets
        else set()
    )
    assert named_targets - existing_targets == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_file_linked_exists(name):
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_readme_is_there_and_names_the_two_commands():
    assert {"run", "test"} <= extract_make_targets(
        extract_code((ROOT / "README.md").read_text("utf-8"), "README.md")
    )


def test_an_unknown_command_or_option_is_noticed():
    assert list_unknown_commands("tanuki settings --json\n$ tanuki shop") == []
    assert list_unknown_commands("tanuki setings") == ["tanuki setings"]
    assert list_unknown_commands("$tanuki shop watch") == ["tanuki shop watch"]
    assert list_unknown_commands("cd x && tanuki settings --jsn | head") == [
        "tanuki settings --jsn: --jsn"
    ]
    assert list_unknown_commands("tanuki shop imprt --sales f") == ["tanuki shop imprt --sales f"]
    assert extract_make_targets("make run\nwe make do") == {"run"}
