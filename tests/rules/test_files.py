"""Files: each says what it is for, is of a size to read, and names no machine."""

import ast
import re

import pytest

from tests.rules.source import Files, package_files, tracked_files

LINES_PER_FILE = 500
COLUMNS = 100
BROAD_HANDLERS = 3
FILES_READING_ENVIRONMENT = 2
MACHINE_PATH = re.compile(r"/wo" r"rk/(main|shared|\.library)|/ro" r"ot/")
REGISTRY_HOST = re.compile("|".join([r"py" r"pi\.org", r"python" r"hosted\.", r"npm" r"js\."]))
MADE_BY_COMMANDS = ("docs/reference/",)
BROAD = ("Exception", "BaseException")


def readers_of_environment(files: Files) -> list[str]:
    """Files that mention os.environ or os.getenv."""
    names = {"environ", "getenv", "environb"}
    return [
        path
        for path, text in files.items()
        if any(
            (isinstance(node, ast.Attribute) and node.attr in names)
            or (
                isinstance(node, ast.ImportFrom)
                and node.module == "os"
                and {alias.name for alias in node.names} & names
            )
            for node in ast.walk(ast.parse(text))
        )
    ]


def broad_handlers(files: Files) -> list[str]:
    """Every `except:`, `except Exception` and `except BaseException`, alone or among others."""
    places = []
    for path, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(
                error is None or (isinstance(error, ast.Name) and error.id in BROAD)
                for error in caught
            ):
                places.append(f"{path}:{node.lineno}")
    return places


def files_without_purpose(files: Files) -> list[str]:
    """Python without a docstring first, scripts or templates without a comment first."""
    faults = []
    for path, text in files.items():
        if path.endswith((".py", ".mako")):
            opens = text.startswith('"""')
        elif path.endswith(".sh") or text.startswith("#!"):
            lines = text.splitlines()
            opens = len(lines) > 1 and lines[0].startswith("#!") and lines[1].startswith("# ")
        elif "/templates/" in path:
            opens = text.startswith("{#")
        else:
            continue
        if not opens:
            faults.append(path)
    return faults


def long_files(files: Files) -> list[str]:
    """Files with more lines than one can keep in mind."""
    lengths = {path: len(text.splitlines()) for path, text in files.items()}
    return [
        f"{path}: {length} lines" for path, length in lengths.items() if length > LINES_PER_FILE
    ]


def wide_lines(files: Files) -> list[str]:
    """Lines of prose that end beyond the last column; tables, links and code blocks may."""
    places = []
    for path, text in files.items():
        code = False
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("```"):
                code = not code
            free = code or line.lstrip().startswith(("|", "![")) or "](" in line
            if len(line) > COLUMNS and not free:
                places.append(f"{path}:{number}")
    return places


def lines_naming_a_machine(files: Files) -> list[str]:
    """Lines that hold a path of somebody's machine, or the address of a package registry."""
    return [
        f"{path}:{number}"
        for path, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line)
    ]


# ---- the project keeps them ----------------------------------------------------------------------


def test_the_environment_is_read_in_at_most_two_files():
    readers = readers_of_environment(package_files())
    assert "settings.py" in readers
    assert len(readers) <= FILES_READING_ENVIRONMENT


def test_there_are_at_most_three_broad_handlers():
    places = broad_handlers(package_files())
    assert len(places) <= BROAD_HANDLERS, places


def test_every_file_opens_with_its_purpose():
    assert files_without_purpose(tracked_files()) == []


def test_no_source_file_is_too_long():
    files = {path: text for path, text in package_files().items() if "migrations/" not in path}
    assert long_files(files) == []


def test_prose_is_wrapped():
    files = {path: text for path, text in tracked_files().items() if path.endswith(".md")}
    written = {path: text for path, text in files.items() if not path.startswith(MADE_BY_COMMANDS)}
    assert wide_lines(written) == []


def test_no_file_names_a_machine():
    assert lines_naming_a_machine(tracked_files()) == []


def test_the_lock_holds_versions_and_hashes_but_no_addresses():
    lock = tracked_files()["requirements.lock"]
    assert "://" not in lock
    assert "--hash=sha256:" in lock


# ---- and each would notice -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ"]
)
def test_reading_the_environment_is_noticed(text):
    assert readers_of_environment({"a.py": text, "b.py": "import os\nos.getpid()"}) == ["a.py"]


@pytest.mark.parametrize(
    "caught", ["", " Exception", " BaseException as e", " (ValueError, Exception)"]
)
def test_a_broad_handler_is_noticed(caught):
    assert broad_handlers({"a.py": f"try:\n    f()\nexcept{caught}:\n    pass"}) == ["a.py:3"]
    narrow = "try:\n    f()\nexcept (ValueError, OSError):\n    pass"
    assert broad_handlers({"a.py": narrow}) == []


def test_a_file_without_a_purpose_is_noticed():
    bad = {
        "a.py": "import os",
        "b.sh": "#!/bin/sh\nset -e",
        "run": "#!/bin/sh\nset -e",
        "x/templates/p.html": "<p>",
    }
    good = {
        "a.py": '"""What."""',
        "b.sh": "#!/bin/sh\n# What.",
        "x/templates/p.html": "{# What. #}<p>",
        "data.csv": "a,b",
    }
    assert files_without_purpose(bad) == list(bad)
    assert files_without_purpose(good) == []


def test_a_long_file_is_noticed():
    files = {"a.py": "x\n" * (LINES_PER_FILE + 1), "b.py": "x\n" * LINES_PER_FILE}
    assert long_files(files) == [f"a.py: {LINES_PER_FILE + 1} lines"]


def test_a_wide_line_is_noticed():
    wide = "word " * 25
    files = {"a.md": f"fine\n{wide}", "b.md": f"| {wide} |", "c.md": f"```\n{wide}\n```\n"}
    assert wide_lines(files) == ["a.md:2"]


def test_a_machine_path_is_noticed():
    planted = {
        "a.md": "fine: my/wo" + "rk/runs\n" + "/ro" + "ot/.ssh",
        "b.md": "/wo" + "rk/main/x",
        "c.md": "https://py" + "pi.org/x",
        "d.md": "PyPI",
    }
    assert lines_naming_a_machine(planted) == ["a.md:2", "b.md:1", "c.md:1"]
