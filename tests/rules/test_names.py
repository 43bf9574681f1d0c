"""Names: the field's words, one meaning each, constants with one owner."""

import ast
import re
from collections import defaultdict

import pytest

from tests.rules.source import Files, package_files, python_files, tracked_files

MODULES_PER_NAME = 4
COMMON_VERBS = {"load", "save", "fit", "predict", "routes"}
"""Public function names that may stand in any number of modules."""
PRONOUNS = {
    *("answered", "apart", "asked", "compared", "counted", "did", "each", "found", "given"),
    *("judged", "kept", "known", "live", "look", "made", "named", "of", "ours", "said", "seen"),
    *("shown", "taken", "theirs", "there", "told", "tried", "wanted", "words"),
}
"""Participles, adverbs and pronouns: a function is a verb and an object."""
GLOSSARY = "docs/glossary.md"
RECORD = "docs/log.md"


def banned_words(glossary: str) -> list[str]:
    """The first column of the glossary's list of words that the project does not use."""
    section = glossary.partition("## Words we do not use")[2]
    cells = [row.strip() for row in re.findall(r"^\|([^|]+)\|", section, re.MULTILINE)]
    rows = [cell for cell in cells[1:] if cell.strip("-")]
    return [word.strip() for row in rows for word in row.split(",")]


def uses_of(words: list[str], files: Files) -> list[str]:
    """Lines that use a word, also as a part of an identifier: `eyes_of`, not `eyesight`."""
    pattern = re.compile(
        rf"(?<![a-z])(?:{'|'.join(map(re.escape, words))})(?![a-z])", re.IGNORECASE
    )
    return [
        f"{path}:{number}: {match.group()}"
        for path, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", line)))
    ]


def public_functions(files: Files) -> dict[str, list[str]]:
    """Name of each public module-level function, with the modules that define it."""
    modules = defaultdict(list)
    for path, text in files.items():
        for node in ast.parse(text).body:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if function and not node.name.startswith("_"):
                modules[node.name].append(path)
    return modules


def repeated_constants(files: Files) -> list[str]:
    """Module constants with the same name and the same literal value in several modules."""
    owners = defaultdict(list)
    for path, text in files.items():
        for node in ast.parse(text).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Name) and target.id.isupper() and is_literal(node):
                    owners[target.id, ast.unparse(node.value)].append(path)
    return [
        f"{name} = {value}: {', '.join(paths)}"
        for (name, value), paths in owners.items()
        if len(paths) > 1
    ]


def is_literal(node: ast.Assign) -> bool:
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return True


# ---- the project keeps them ----------------------------------------------------------------------


def test_no_private_word_stands_in_code_pages_or_docs():
    words = banned_words(tracked_files()[GLOSSARY])
    assert len(words) > 10
    written = ("src/", "docs/", "bench/", "runs/", "tests/", "README.md", "CONTRIBUTING.md")
    files = {
        path: text
        for path, text in tracked_files().items()
        if path.startswith(written)
        and path not in (GLOSSARY, RECORD)
        and not path.startswith("tests/rules/")
        and path.endswith((".py", ".md", ".html", ".po", ".js", ".css", ".sh"))
    }
    assert uses_of(words, files) == []


def test_a_public_function_name_stands_in_at_most_four_modules():
    assert {
        name: paths
        for name, paths in public_functions(package_files()).items()
        if len(paths) > MODULES_PER_NAME and name not in COMMON_VERBS
    } == {}


def test_no_public_function_is_named_by_a_participle_or_pronoun():
    functions = public_functions({**package_files(), **python_files("bench")})
    assert {name: functions[name] for name in sorted(PRONOUNS & functions.keys())} == {}


def test_no_loop_binds_each():
    files = {**package_files(), **python_files("bench"), **python_files("tests")}
    assert [
        path for path, text in files.items() if re.search(r"\bfor (\w+, )*each(, \w+)* in\b", text)
    ] == []


def test_a_constant_has_one_owner():
    files = {path: text for path, text in package_files().items() if "migrations/" not in path}
    assert repeated_constants(files) == []


# ---- and each would notice -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["the eyes", "eyes_of(x)", "class EyesModel", "TANUKI_EYES", "Eyes"]
)
def test_a_private_word_is_noticed(line):
    assert uses_of(["eyes"], {"a.py": line})


@pytest.mark.parametrize("line", ["eyesight", "keyes"])
def test_a_longer_word_is_another_word(line):
    assert uses_of(["eyes"], {"a.py": line}) == []


def test_the_glossarys_list_is_read():
    table = (
        "## Words we do not use\n\n| not | but |\n|---|---|\n| eyes | image model |\n| a, b | c |\n"
    )
    assert banned_words(table) == ["eyes", "a", "b"]


def test_a_repeated_constant_is_noticed():
    same = {"a.py": "LIMIT = 3\nOTHER = 4", "b.py": "LIMIT = 3\nOTHER = f()", "c.py": "LIMIT = 4"}
    assert repeated_constants(same) == ["LIMIT = 3: a.py, b.py"]


def test_a_name_in_many_modules_is_counted():
    files = {f"{letter}.py": "def show(): ...\ndef _own(): ..." for letter in "abcde"}
    assert public_functions(files) == {"show": ["a.py", "b.py", "c.py", "d.py", "e.py"]}
