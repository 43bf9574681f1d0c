"""What pages are made with, read once: static files under URLs that change with their content, and Jinja for each language."""

import gzip
import mimetypes
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, nodes
from jinja2.visitor import NodeTransformer

from tanuki import i18n
from tanuki.i18n import LANGS, Texts
from tanuki.platform.web import charts

TYPES = {
    ".webmanifest": "application/manifest+json",
    ".js": "text/javascript",
    ".woff2": "font/woff2",
}  # not every machine knows these

KEPT = 10_000  # pieces of pages of each language; a card is about 2 KB


@dataclass(frozen=True)
class StaticFile:
    """A file that every page may use, under a URL that changes with its content. `packed` is it compressed, where that saves something."""

    url: str
    content: bytes
    packed: bytes | None
    type: str


def static_files(folders: Iterable[Path]) -> dict[str, StaticFile]:
    """The files of some folders by their names, which are the same name for every page: two files of one name are a bug."""
    found: dict[str, StaticFile] = {}
    for folder in folders:
        for file in sorted(each for each in folder.iterdir() if each.is_file()):
            if file.name in found:
                raise ValueError(f"two static files are called {file.name}; the second is {file}")
            found[file.name] = static_file(file)
    return found


def static_file(file: Path) -> StaticFile:
    """A file with its hashed URL."""
    content = file.read_bytes()
    packed = gzip.compress(content, mtime=0)
    return StaticFile(
        f"/static/{sha256(content).hexdigest()[:12]}/{file.name}",
        content,
        packed if len(packed) < 0.9 * len(content) else None,
        TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream",
    )


def environment(
    lang: str, folders: Iterable[Path], texts: Texts, static: Mapping[str, StaticFile], **more: Any
) -> Environment:
    """Jinja for one language, so that macros and filters need not be told which; `more` is what templates know by these names."""
    made = Said(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,  # looking at each file for each page
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text, plural = partial(texts.text, lang), partial(texts.plural, lang)
    made.install_gettext_callables(text, plural, newstyle=True)  # type: ignore[attr-defined]
    made.filters.update(i18n.filters(lang))
    names: dict[str, Any] = {
        "lang": lang,
        "langs": LANGS,
        "chart": partial(charts.chart, lang=lang),
        "static": lambda name: static[name].url,
        "say": partial(texts.say, lang),
        "once": once(),
    }
    made.globals.update(names | more)
    made.known = {
        "_": partial(texts.text, lang),
        "gettext": partial(texts.text, lang),
        "static": names["static"],
    }
    return made


def once() -> Callable[..., str]:
    """`once(macro, value, …)`: what the macro makes of the values, made the first time and kept for the next that are equal.

    Nothing it makes can be stale: the values are all that the macro knows, if it was imported without context and they
    are plain (hashable, and text that is escaped: Markup equals the text that it is made of).
    """

    @lru_cache(maxsize=KEPT, typed=True)
    def made(macro: Callable[..., str], *values: Hashable) -> str:
        return macro(*values)

    return made


class Said(Environment):
    """An environment of one language, which looks up texts and files that templates name outright when it reads them, not for each page."""

    known: Mapping[str, Callable[[str], str]] = {}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = Outright(self.known).visit(super()._parse(source, name, filename))
        return tree


class Outright(NodeTransformer):
    """Puts what a call gives in its place: `_('Save')`, `static('tanuki.css')`. Like gettext's, it is safe as it stands, and %% means %."""

    def __init__(self, known: Mapping[str, Callable[[str], str]]) -> None:
        self.known = known

    def visit_Call(self, node: nodes.Call, *given: Any) -> nodes.Node:  # noqa: N802 the visitor's own way of naming
        """A call of one of the known functions with nothing but a written text."""
        made = self.generic_visit(node, *given)
        one = len(node.args) == 1 and not (node.kwargs or node.dyn_args or node.dyn_kwargs)
        if (
            not one
            or not isinstance(node.node, nodes.Name)
            or node.node.name not in self.known
            or not isinstance(node.args[0], nodes.Const)
        ):
            return made
        text = self.known[node.node.name](node.args[0].value)
        return nodes.MarkSafe(
            nodes.Const(text.replace("%%", "%"), lineno=node.lineno), lineno=node.lineno
        )
