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


def code_of(text: str, name: str) -> str:
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


def unknown_commands(code: str) -> list[str]:
    """Lines that call `tanuki` with a command or an option that there is not."""
    wrong = []
    for line in re.findall(r"(?:^|[\s(/;&])\$?tanuki ((?:[\w-]+)[^\n|;&)`#>]*)", code):
        words = [
            word for word in line.replace("\\", " ").split() if not word.startswith(("$", '"', "'"))
        ]
        command: click.Command = tanuki
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words[0])
            if found is None and command.get_command(click.Context(command), "list") is not None:
                break
            if found is None:
                wrong.append(f"tanuki {line.strip()}")
                break
            command = found
            words = words[1:]
        else:
            known = {
                option
                for param in command.params
                for option in (*param.opts, *param.secondary_opts)
            } | {"--help"}
            options = {word.split("=")[0] for word in words if re.match(r"--\w", word)}
            wrong += [
                f"tanuki {line.strip()}: {option}"
                for option in sorted(options - known)
                if not isinstance(command, click.Group)
            ]
    return wrong


def targets_of_make(code: str) -> set[str]:
    """What pages tell people to `make`."""
    return set(re.findall(r"(?:^|\n|\$ )make ([a-z][\w-]*)", code))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_named_exists(name):
    assert unknown_commands(code_of((ROOT / name).read_text("utf-8"), name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_named_exists(name):
    wanted = targets_of_make(code_of((ROOT / name).read_text("utf-8"), name))
    made = (
        set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
        if wanted
        else set()
    )
    assert wanted - made == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_file_linked_exists(name):
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_readme_is_there_and_names_the_two_commands():
    assert {"run", "test"} <= targets_of_make(
        code_of((ROOT / "README.md").read_text("utf-8"), "README.md")
    )


def test_an_unknown_command_or_option_is_noticed():
    assert unknown_commands("tanuki settings --json\n$ tanuki shop") == []
    assert unknown_commands("tanuki setings") == ["tanuki setings"]
    assert unknown_commands("$tanuki shop watch") == ["tanuki shop watch"]
    assert unknown_commands("cd x && tanuki settings --jsn | head") == [
        "tanuki settings --jsn: --jsn"
    ]
    assert unknown_commands("tanuki shop imprt --sales f") == ["tanuki shop imprt --sales f"]
    assert targets_of_make("make run\nwe make do") == {"run"}
