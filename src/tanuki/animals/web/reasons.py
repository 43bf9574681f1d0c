"""Moderation reasons and actions in the reader's language."""

from collections.abc import Callable

from tanuki.animals.moderation.reasons import ACTIONS, REASONS
from tanuki.animals.post_states import HOLD_RULE_MESSAGES
from tanuki.i18n import Translate

ACTION_LABELS = {action.value: label for action, label in ACTIONS.items()}
REASON_LABELS = {**HOLD_RULE_MESSAGES, **{code: reason.label for code, reason in REASONS.items()}}


def reason_labels(say: Translate) -> Callable[[str | None], str]:
    """The label of a reason's code; an unknown code stays as it is."""
    return lambda code: say(REASON_LABELS.get(code or "", code or ""))


def action_labels(say: Translate) -> Callable[[str | None], str]:
    """The label of an action's code; an unknown code stays as it is."""
    return lambda code: say(ACTION_LABELS.get(code or "", code or ""))
