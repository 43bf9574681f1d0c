"""Why something is held, removed or reported, in words."""

from collections.abc import Callable

from fastapi import Request

from tanuki.animals.posts import HELD_BY_RULE
from tanuki.platform.web.kit import site_of, visit_of


def reason_words(request: Request) -> Callable[[str | None], str]:
    """What a reason's code is called in the reader's language."""
    texts, lang = site_of(request).texts, visit_of(request).lang
    return lambda code: texts.text(lang, HELD_BY_RULE.get(code or "", code or ""))
