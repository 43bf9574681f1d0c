"""Sentences for the reasons of a verdict. A reason is stored as a code with values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tanuki.i18n import Translate, english, msgid
from tanuki.platform.mlops.evaluation import OVERALL

MESSAGES: dict[str, str] = {
    "no_common_rows": msgid(
        "There is nothing to compare it on: no row is answered by it and by another model."
    ),
    "worse_overall": msgid(
        "Over all rows the %(measure)s is worse than the champion's by %(change)s "
        "(at least %(low)s; up to %(tolerance)s is allowed)."
    ),
    "not_above_baseline": msgid(
        "Over all rows the %(measure)s is not better than that of the baseline %(other)s "
        "(%(change)s)."
    ),
    "worse_slice": msgid(
        "%(slice)s %(label)s: the %(measure)s is worse than the champion's by %(change)s "
        "(at least %(low)s; up to %(tolerance)s is allowed)."
    ),
    "baseline_slice": msgid(
        "%(slice)s %(label)s: the %(measure)s is worse than that of the baseline %(other)s "
        "by %(change)s (up to %(tolerance)s is allowed)."
    ),
    "missing_slice": msgid("%(slice)s %(label)s has no answer at all (%(rows)s rows are absent)."),
    "missing_rows": msgid("%(rows)s of %(of)s rows have no answer."),
}
FORMATS: dict[str, str] = {
    "change": ".1%",
    "low": ".1%",
    "tolerance": ".0%",
    "rows": ",",
    "of": ",",
    "not_above_baseline.change": "+.1%",
    "worse_slice.change": ".0%",
    "worse_slice.low": ".0%",
    "baseline_slice.change": ".0%",
}
SLICES: dict[str, str] = {OVERALL: msgid("all rows")}
MEASURES: dict[str, str] = {"loss": msgid("loss")}


@dataclass(frozen=True)
class ReasonTexts:
    """What a system's gate says, as msgids; its entries go before those of the platform.

    messages: by reason code; may use `%(name)s` of every value of the reason, and the values
    `slice`, `label` and `measure` in words.
    formats: Python format specification by value (`rows`), or by code and value (`slow.rows`).
    slices: by kind of slice (`size`) or by kind and label (`size:small`).
    measures: by measure.
    """

    messages: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, str] = field(default_factory=dict)


PLAIN = ReasonTexts()


def render_reason(
    reason: Mapping[str, Any],
    texts: ReasonTexts = PLAIN,
    say: Translate = english,
    labels: Mapping[str, str] | None = None,
) -> str:
    """A reason as a sentence. `labels`: names of slices' labels, such as a store's, by code.

    A reason with an unknown code is rendered as its values.
    """
    code = str(reason.get("code"))
    messages = {**MESSAGES, **texts.messages}
    if code not in messages:
        return ", ".join(f"{name} {value}" for name, value in reason.items())
    values = format_values(reason, {**FORMATS, **texts.formats})
    if "slice" in reason:
        slices = {**SLICES, **texts.slices}
        kind, label = str(reason["slice"]), str(reason["label"])
        text = slices.get(f"{kind}:{label}")
        values["slice"] = say(slices.get(kind, kind))
        values["label"] = say(text) if text else (labels or {}).get(label, label)
    if "measure" in reason:
        values["measure"] = say({**MEASURES, **texts.measures}.get(values["measure"]) or "loss")
    sentence = say(messages[code], **values)
    return sentence[0].upper() + sentence[1:]


def format_values(reason: Mapping[str, Any], formats: Mapping[str, str]) -> dict[str, str]:
    """Every value as text; numbers by the format of code and value, or of the value."""
    code = reason.get("code")
    return {
        name: format(value, formats.get(f"{code}.{name}") or formats.get(name, ""))
        if isinstance(value, int | float)
        else str(value)
        for name, value in reason.items()
    }
