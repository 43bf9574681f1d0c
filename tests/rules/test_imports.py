"""Imports point backwards: between packages, inside a package, and inside its folders."""

import pytest

from tests.rules.source import (
    PACKAGE,
    ROOT,
    Files,
    imported_names,
    package_files,
    python_files,
    reading_order,
    tracked_files,
)

LAYERS = ["errors", "settings", "i18n", "cli", "platform", "shop", "animals", "app", "__main__"]
"""Top-level modules: each imports only those before it; `animals` does not import `shop`."""
FILES_WITHOUT_ORDER = 5
"""A folder with more Python files than this needs a numbered list of them in its README.md."""


def crossing_imports(files: Files) -> list[str]:
    """Imports into a layer above, or from one system into the other."""
    faults = []
    for path, text in files.items():
        here = path.split("/")[0].removesuffix(".py")
        if here == "migrations" or here == "__init__":
            allowed = {"platform"} if here == "migrations" else set()
        else:
            allowed = set(LAYERS[: LAYERS.index(here) + 1]) if here in LAYERS else set()
            allowed -= {"shop"} if here == "animals" else set()
        for name in imported_names(text):
            target = name.partition(".")[2].split(".")[0]
            if target not in {*allowed, "__version__", ""}:
                faults.append(f"{path} imports {name}")
    return faults


def position(name: str, order: list[str]) -> int | None:
    """Where a file (`a.py`, `web/b.py`) or a dotted name (`a.C`, `web.b`) stands in an order."""
    first = name.replace("/", ".").split(".")[0]
    for number, entry in enumerate(order):
        if entry.removesuffix("/").removesuffix(".py") == first:
            return number
    return None


def forward_imports(folder: str, files: Files, order: list[str]) -> list[str]:
    """Files of a folder that import one listed after them, or that are not listed.

    `folder` is its path from `src/tanuki`; `files` are those below it, by their path from there.
    """
    faults = []
    dotted = "tanuki." + folder.replace("/", ".") + "."
    for path, text in files.items():
        name = path.removeprefix(f"{folder}/")
        if name == "__init__.py":
            continue
        here = position(name, order)
        if here is None:
            faults.append(f"{path} is not listed")
            continue
        for module in imported_names(text):
            there = (
                position(module.removeprefix(dotted), order) if module.startswith(dotted) else None
            )
            if there is not None and there > here:
                faults.append(f"{path} imports {module}")
    return faults


def import_circles(files: Files) -> list[str]:
    """Modules that import each other, directly or over others. Path (`tanuki/a.py`) to text."""
    modules = {
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): text
        for path, text in files.items()
    }
    graph: dict[str, set[str]] = {}
    for module, text in modules.items():
        names = imported_names(text, module.split(".")[0])
        targets = (name if name in modules else name.rpartition(".")[0] for name in names)
        graph[module] = {target for target in targets if target in modules and target != module}
    while leaves := [module for module, targets in graph.items() if not targets]:
        for leaf in leaves:
            del graph[leaf]
        for targets in graph.values():
            targets.difference_update(leaves)
    return sorted(
        module for module in graph if any(module in targets for targets in graph.values())
    )


def below(folder: str) -> Files:
    """The package's files below one of its folders."""
    return {path: text for path, text in package_files().items() if path.startswith(f"{folder}/")}


def ordered_folders() -> list[str]:
    """Folders of the package whose README.md lists their files in order."""
    prefix = "src/tanuki/"
    return [
        path.removeprefix(prefix).removesuffix("/README.md")
        for path, text in tracked_files().items()
        if path.startswith(prefix) and path.endswith("/README.md") and reading_order(text)
    ]


# ---- the project keeps them ----------------------------------------------------------------------


def test_no_layer_imports_one_above_it():
    assert crossing_imports(package_files()) == []


@pytest.mark.parametrize("folder", ordered_folders())
def test_imports_point_backwards_in_the_reading_order(folder):
    order = reading_order((PACKAGE / folder / "README.md").read_text("utf-8"))
    assert forward_imports(folder, below(folder), order) == []
    assert [entry for entry in order if not (PACKAGE / folder / entry).exists()] == []


def test_every_large_folder_has_a_reading_order():
    sizes: dict[str, int] = {}
    for path in package_files():
        folder, _, name = path.rpartition("/")
        if (
            name != "__init__.py"
            and not folder.startswith("migrations")
            and "/commands" not in folder
        ):
            sizes[folder] = sizes.get(folder, 0) + 1
    large = {folder for folder, size in sizes.items() if folder and size > FILES_WITHOUT_ORDER}
    assert large - set(ordered_folders()) == set()


@pytest.mark.parametrize("folder", ["src", "bench"])
def test_no_modules_import_each_other(folder):
    files = python_files(folder)
    assert import_circles({path.removeprefix("src/"): text for path, text in files.items()}) == []


def test_benches_never_import_tests():
    files = {**python_files("bench"), **python_files("src"), **python_files("tools")}
    assert [path for path, text in files.items() if any(imported_names(text, "tests"))] == []


def test_no_path_is_added_to_pythons_own():
    files = {**python_files("bench"), **python_files("src"), **python_files("tools")}
    assert [path for path, text in files.items() if "sys.path" in text] == []


def test_only_the_command_line_is_wired_by_strings():
    files = {path: text for path, text in package_files().items() if path != "app/cli.py"}
    assert [
        path
        for path, text in files.items()
        if '"tanuki.' in text and ":" in text.split('"tanuki.')[1].split('"')[0]
    ] == []
    assert ROOT.exists()


# ---- and each would notice -----------------------------------------------------------------------

ORDER = ["calendar.py", "ingest.py", "web/"]


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("shop/calendar.py", "from tanuki.shop.ingest import SALES", True),
        ("shop/calendar.py", "from tanuki.shop import ingest", True),
        ("shop/calendar.py", "def f():\n    import tanuki.shop.web.pages", True),
        ("shop/strangers.py", "", True),
        (
            "shop/ingest.py",
            "from tanuki.shop.calendar import Week\nfrom tanuki.platform import db",
            False,
        ),
        (
            "shop/web/pages.py",
            "from tanuki.shop.web import charts\nfrom tanuki.shop import ingest",
            False,
        ),
    ],
)
def test_a_forward_import_is_noticed(path, text, wrong):
    assert bool(forward_imports("shop", {path: text}, ORDER)) == wrong


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("platform/jobs.py", "from tanuki.shop.calendar import Week", True),
        ("platform/jobs.py", "from tanuki import shop", True),
        ("shop/ingest.py", "from tanuki.animals import posts", True),
        ("animals/posts.py", "from tanuki.shop import orders", True),
        ("shop/commands/data.py", "def f():\n    from tanuki.app.processes import working", True),
        ("cli/output.py", "from tanuki.platform import log", True),
        (
            "shop/ingest.py",
            "from tanuki.platform.jobs import Jobs\nfrom tanuki.errors import UserError",
            False,
        ),
        (
            "app/bootstrap.py",
            "from tanuki.shop import weekly\nfrom tanuki.animals import posts",
            False,
        ),
    ],
)
def test_an_upward_import_is_noticed(path, text, wrong):
    assert bool(crossing_imports({path: text})) == wrong


def test_a_circle_is_noticed():
    files = {
        "tanuki/a.py": "from tanuki.b import x",
        "tanuki/b.py": "def f():\n    from tanuki import c",
        "tanuki/c.py": "from tanuki.a import y",
        "tanuki/d.py": "from tanuki import a",
    }
    assert import_circles(files) == ["tanuki.a", "tanuki.b", "tanuki.c"]
    assert import_circles({"tanuki/a.py": "from tanuki.b import x", "tanuki/b.py": ""}) == []
