"""How the project is laid out, kept by machine. Each rule is a function that names its violations, and is shown to find a planted one."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tanuki"
SYSTEMS = [name for name in ("shop", "animals") if (PACKAGE / name).is_dir()]
LONGEST_FILE = 500
PUTS_TOGETHER = ("start", "commands", "tables", "reference", "__main__")  # these know both systems
MACHINE_PATH = re.compile(r"/wo" r"rk/(main|shared|\.library)|/ro" r"ot/")
REGISTRY_HOST = re.compile("|".join([r"py" r"pi\.org", r"python" r"hosted\.", r"npm" r"js\."]))


def sources() -> dict[str, str]:
    """Every Python file of the package: path from the package's folder to text."""
    return {
        str(path.relative_to(PACKAGE)): path.read_text("utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def tracked() -> dict[str, str]:
    """Every text file that is, or will be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    found = {}
    for name in sorted(set(filter(None, listed.split("\0")))):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            found[name] = content.decode("utf-8")
    return found


def imported(text: str) -> Iterator[str]:
    """Dotted names of Tanuki's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tanuki")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tanuki":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reading_order(readme: str) -> list[str]:
    """The names in a system's numbered list: `weeks.py`, `web/`."""
    return re.findall(r"^\d+\. `([\w./]+)`:", readme, re.MULTILINE)


def place(name: str, order: list[str]) -> int | None:
    """Where a file of a system (weeks.py, web/pages.py) or a dotted name in it (weeks.Week, web.pages) stands in the order."""
    first = name.replace("/", ".").split(".")[0]
    for n, entry in enumerate(order):
        if entry.removesuffix("/").removesuffix(".py") == first:
            return n
    return None


def looks_ahead(files: dict[str, str], order: list[str]) -> list[str]:
    """Files of one system that import one listed after them, and files that are not listed. `system/file.py` to text."""
    wrong = []
    for path, text in files.items():
        system, _, name = path.partition("/")
        if name == "__init__.py":
            wrong += [f"{path} imports {module}" for module in imported(text)]
            continue
        here = place(name, order)
        if here is None:
            wrong.append(f"{path} is not listed")
            continue
        for module in imported(text):
            parts = module.split(".")
            there = (
                place(".".join(parts[2:]), order) if parts[1] == system and len(parts) > 2 else None
            )
            if there is not None and there > here:
                wrong.append(f"{path} imports {module}")
    return wrong


def crossings(files: dict[str, str]) -> list[str]:
    """Imports from the platform into a system, between systems, and (except by commands) into what puts the parts together."""
    wrong = []
    for path, text in files.items():
        system = path.split("/")[0]
        allowed = {"platform": (), "shop": ("platform",), "animals": ("platform",)}.get(system)
        if allowed is None:
            continue
        for module in imported(text):
            target = module.split(".")[1]
            other = (
                target in ("platform", "shop", "animals")
                and target != system
                and target not in allowed
            )
            if other or (target in PUTS_TOGETHER and "/commands/" not in path):
                wrong.append(f"{path} imports {module}")
    return wrong


def readers_of_environment(files: dict[str, str]) -> list[str]:
    """Files that mention os.environ or os.getenv."""
    return [
        path
        for path, text in files.items()
        if any(
            (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"))
            or (
                isinstance(node, ast.ImportFrom)
                and node.module == "os"
                and {a.name for a in node.names} & {"environ", "getenv"}
            )
            for node in ast.walk(ast.parse(text))
        )
    ]


def broad_handlers(files: dict[str, str]) -> list[str]:
    """Every `except:`, `except Exception` and `except BaseException`, alone or among others."""
    found = []
    for path, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler):
                caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
                if any(
                    each is None
                    or (isinstance(each, ast.Name) and each.id in ("Exception", "BaseException"))
                    for each in caught
                ):
                    found.append(f"{path}:{node.lineno}")
    return found


def without_purpose(files: dict[str, str]) -> list[str]:
    """Python without a docstring first, scripts without a comment first, templates without {# a comment #} first."""
    wrong = []
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
            wrong.append(path)
    return wrong


def too_long(files: dict[str, str]) -> list[str]:
    """Files with more lines than one can keep in mind."""
    return [
        f"{path}: {len(text.splitlines())} lines"
        for path, text in files.items()
        if len(text.splitlines()) > LONGEST_FILE
    ]


def names_a_machine(files: dict[str, str]) -> list[str]:
    """Lines that hold a path of somebody's machine, or the address of a package registry."""
    return [
        f"{path}:{n}"
        for path, text in files.items()
        for n, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line)
    ]


def of(system: str) -> dict[str, str]:
    """The Python files of one system."""
    return {path: text for path, text in sources().items() if path.startswith(f"{system}/")}


# ---- the project keeps them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["platform", *SYSTEMS])
def test_imports_point_back_in_reading_order(system):
    order = reading_order((PACKAGE / system / "README.md").read_text("utf-8"))
    assert looks_ahead(of(system), order) == []
    assert [entry for entry in order if not (PACKAGE / system / entry).exists()] == []


def test_the_platform_imports_no_system_and_the_systems_not_each_other():
    assert crossings(sources()) == []


def test_the_environment_is_read_in_at_most_two_files():
    assert "settings.py" in readers_of_environment(sources())
    assert len(readers_of_environment(sources())) <= 2


def test_there_are_at_most_three_broad_handlers():
    assert len(broad_handlers(sources())) <= 3, broad_handlers(sources())


def test_every_file_opens_with_its_purpose():
    assert without_purpose(tracked()) == []


def test_no_source_file_is_too_long():
    assert (
        too_long(
            {
                path: text
                for path, text in tracked().items()
                if path.startswith("src/") and not path.endswith(".po")
            }
        )
        == []
    )


def test_no_file_names_a_machine():
    assert names_a_machine(tracked()) == []


def test_the_lock_holds_versions_and_hashes_but_no_addresses():
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    assert "--hash=sha256:" in lock


# ---- and each would notice -----------------------------------------------------------------------------------------

ORDER = ["weeks.py", "facts.py", "web/"]


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("shop/weeks.py", "from tanuki.shop.facts import SALES", True),
        ("shop/weeks.py", "from tanuki.shop import facts", True),
        ("shop/weeks.py", "def f():\n    import tanuki.shop.web.pages", True),
        ("shop/strangers.py", "", True),
        ("shop/__init__.py", "from tanuki.shop import weeks", True),
        (
            "shop/facts.py",
            "from tanuki.shop.weeks import Week\nfrom tanuki.platform import db",
            False,
        ),
        (
            "shop/web/pages.py",
            "from tanuki.shop.web import charts\nfrom tanuki.shop import facts",
            False,
        ),
    ],
)
def test_looking_ahead_is_noticed(path, text, wrong):
    assert bool(looks_ahead({path: text}, ORDER)) == wrong


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("platform/db.py", "from tanuki.shop.weeks import Week", True),
        ("platform/db.py", "from tanuki import shop", True),
        ("shop/facts.py", "from tanuki.animals import posts", True),
        ("shop/facts.py", "from tanuki import start", True),
        ("shop/commands/data.py", "from tanuki.commands import working", False),
        (
            "shop/facts.py",
            "from tanuki.platform.db import Base\nfrom tanuki.errors import UserError",
            False,
        ),
        ("start.py", "from tanuki.shop import weekly", False),
    ],
)
def test_crossing_is_noticed(path, text, wrong):
    assert bool(crossings({path: text})) == wrong


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
    assert broad_handlers({"a.py": "try:\n    f()\nexcept (ValueError, OSError):\n    pass"}) == []


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
    assert without_purpose(bad) == list(bad)
    assert without_purpose(good) == []


def test_a_long_file_is_noticed():
    assert too_long({"a.py": "x\n" * (LONGEST_FILE + 1), "b.py": "x\n" * LONGEST_FILE}) == [
        f"a.py: {LONGEST_FILE + 1} lines"
    ]


def test_a_machine_path_is_noticed():
    planted = {
        "a.md": "fine: my/wo" + "rk/runs\n" + "/ro" + "ot/.ssh",
        "b.md": "/wo" + "rk/main/x",
        "c.md": "https://py" + "pi.org/x",
        "d.md": "PyPI",
    }
    assert names_a_machine(planted) == ["a.md:2", "b.md:1", "c.md:1"]
