"""The project's own files, as the rules read them."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tanuki"
Files = dict[str, str]
"""Path from some root to the file's text."""


@cache
def tracked_files() -> Files:
    """Every text file that is, or will be, in the repository, by its path from the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    files = {}
    for name in sorted(set(filter(None, listing.split("\0")))):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            files[name] = content.decode("utf-8")
    return files


def python_files(folder: str) -> Files:
    """The Python files below a folder of the repository, by their path from the root."""
    return {
        path: text
        for path, text in tracked_files().items()
        if path.startswith(f"{folder}/") and path.endswith(".py")
    }


def package_files() -> Files:
    """The Python files of the package, by their path from `src/tanuki`."""
    prefix = "src/tanuki/"
    return {path.removeprefix(prefix): text for path, text in python_files("src").items()}


def imported_names(text: str, package: str = "tanuki") -> Iterator[str]:
    """Dotted names that a file imports from a package, also inside its functions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == package)


def reading_order(readme: str) -> list[str]:
    """The entries of a numbered list of files: ``1. `calendar.py`: …`` gives `calendar.py`."""
    return re.findall(r"^\d+\. `([\w./]+)`", readme, re.MULTILINE)
