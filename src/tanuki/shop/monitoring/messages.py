"""Sentences of alerts: what was observed, compared with what, and what to do about it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from tanuki.i18n import Translate, english, msgid
from tanuki.shop.explanation import join_sentences
from tanuki.shop.monitoring.detectors import Signal
from tanuki.shop.tables import Alert, AlertCode


class RetrainingState(StrEnum):
    """What became of a retraining that an alert started."""

    STARTED = "started"
    GO = "go"
    NO_GO = "no_go"


INPUTS: dict[str, str] = {
    "demand": msgid("sales as a share of the forecast"),
    "prices": msgid("prices"),
    "promotions": msgid("promotions"),
    "mix": msgid("the shares of the items in sales"),
}
ALL_STORES = msgid("all stores together")
OBSERVATIONS: dict[str, str] = {
    AlertCode.BIAS: msgid(
        "Forecasts for %(about)s were %(share)s off in %(weeks)s: more than ±%(limit)s, "
        "and more than weeks usually differ%(spread)s."
    ),
    AlertCode.COVERAGE: msgid(
        "%(share)s of the sales in %(weeks)s fell into the band made for 80%%; "
        "%(least)s to %(most)s is usual."
    ),
    AlertCode.COST_PLAN: msgid(
        "Shortages and leftovers in %(weeks)s cost ¥%(cost)s; the proposals expected ¥%(other)s, "
        "and would themselves have cost ¥%(proposed)s."
    ),
    AlertCode.COST_BASELINE: msgid(
        "Shortages and leftovers in %(weeks)s cost ¥%(cost)s; ordering the usual week's sales "
        "would have cost ¥%(other)s."
    ),
    AlertCode.DRIFT: msgid(
        "In %(weeks)s, %(about)s differ from %(reference)s "
        "(stability index %(psi)s, p-value %(p)s)."
    ),
    AlertCode.STALE_STORE: msgid(
        "%(about)s has sent no sales since %(last)s: %(days)s days behind the other stores."
    ),
    AlertCode.MISSING_ITEM: msgid(
        "%(about)s sold every week and has sold nothing since %(since)s in %(stores)s of %(of)s "
        "stores."
    ),
    AlertCode.NO_EVALUATION: msgid(
        "%(about)s was ordered and ended on %(sunday)s, but its sales have not all arrived."
    ),
}
ACTIONS: dict[str, str] = {
    AlertCode.BIAS: msgid(
        "Correct the lines at the check until a retrained version has passed the gate; "
        "look for a change that the model cannot know."
    ),
    AlertCode.COVERAGE: msgid(
        "Check the uncertain lines twice until a retrained version has passed the gate."
    ),
    AlertCode.COST_PLAN: msgid(
        "Open “Forecast accuracy” and check the lines that cost most; where the proposals would "
        "have cost less, open “Value of manual changes”."
    ),
    AlertCode.COST_BASELINE: msgid(
        "Check stock, costs and service in the rules and masters; if they are right, "
        "go back to the previous version on the page of models."
    ),
    AlertCode.DRIFT: msgid(
        "Check whether the files are right; if they are, the retraining that was started learns "
        "it and the gate decides."
    ),
    AlertCode.STALE_STORE: msgid(
        "Ask the store for its files and import them before its week is ordered."
    ),
    AlertCode.MISSING_ITEM: msgid(
        "Ask whether it is no longer sold or sells under another code; "
        "if so, correct the item master."
    ),
    AlertCode.NO_EVALUATION: msgid(
        "Import the week's sales of every store; it is then evaluated within the hour."
    ),
}
RETRAININGS: dict[str, str] = {
    RetrainingState.STARTED: msgid("A retraining for %(week)s has been started."),
    RetrainingState.GO: msgid("Version %(version)s was trained for %(week)s and is live: GO."),
    RetrainingState.NO_GO: msgid(
        "Version %(version)s was trained for %(week)s and did not pass: NO-GO. "
        "The live version stays; the reasons are on the page of models."
    ),
}
WEEKS_IN_BRACKETS = msgid(" (%(weeks)s)")
FORMATS: dict[str, str] = {  # by value, or by code and value; others are written as they are
    "bias.share": "+.0%",
    "share": ".0%",
    "limit": ".0%",
    "least": ".0%",
    "most": ".0%",
    "cost": ",.0f",
    "other": ",.0f",
    "proposed": ",.0f",
    "psi": ".2f",
    "p": ".1%",
}


def render_subject(
    subject: str, say: Translate = english, names: Mapping[str, str] | None = None
) -> str:
    """What an alert is about. `names`: of stores and items, by code."""
    kind, _, code = subject.partition("=")
    if kind == "input":
        return say(INPUTS[code])
    return say(ALL_STORES) if subject == "all" else (names or {}).get(code, code)


def render_observation(
    signal: Signal | Alert, say: Translate = english, names: Mapping[str, str] | None = None
) -> str:
    """What was observed, compared with what. `names`: of stores and items, by code."""
    code, values = signal.code, signal.values
    reference = values.get("reference")
    texts = {
        name: format(value, FORMATS.get(f"{code}.{name}") or FORMATS.get(name, ""))
        for name, value in values.items()
        if isinstance(value, str | int | float)
    }
    return say(
        OBSERVATIONS[code],
        **texts,
        about=render_subject(signal.subject, say, names),
        spread=say(WEEKS_IN_BRACKETS, weeks=reference) if reference else "",
    )


def render_action(code: str, values: Mapping[str, Any], say: Translate = english) -> str:
    """What to do, and what became of the retraining where one was started."""
    sentences = [say(ACTIONS[code])]
    if "retraining" in values:
        retraining = values["retraining"]
        sentences.append(say(RETRAININGS[retraining["state"]], **retraining))
    return join_sentences(sentences, say)
