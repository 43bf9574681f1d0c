"""Why something is held, removed or reported and what was decided, in words of a reader's language."""

from collections.abc import Callable

from fastapi import Request

from tanuki.animals.moderation.reasons import ACTIONS, REASONS
from tanuki.animals.posts import HELD_BY_RULE
from tanuki.platform.web.pages import site_of, visit_of


def reason_words(request: Request) -> Callable[[str | None], str]:
    """What a reason's code is called."""
    known = {**HELD_BY_RULE, **{code: reason.words for code, reason in REASONS.items()}}
    return in_words(request, known)


def action_words(request: Request) -> Callable[[str | None], str]:
    """What an action's code is called."""
    return in_words(request, ACTIONS)


def in_words(request: Request, known: dict[str, str]) -> Callable[[str | None], str]:
    """Codes in words; one that is not known stands as it is."""
    texts, lang = site_of(request).texts, visit_of(request).lang
    return lambda code: texts.text(lang, known.get(code or "", code or ""))
