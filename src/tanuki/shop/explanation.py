"""The explanation of a proposal: a sum from last week's sales to the units ordered; pure.

Reasons are stored as codes with values. They become sentences when they are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from math import floor, fsum

from tanuki.i18n import Translate, english, msgid
from tanuki.shop.ordering import Proposal, Reason

ROUNDING_UNITS = 1e-6  # differences that only adding floats makes


@dataclass(frozen=True)
class Part:
    """Units that one cause adds to a proposal, or takes away."""

    code: str
    units: float


def explain_proposal(
    contributions: Mapping[str, float] | None, last: float | None, mean: float, proposal: Proposal
) -> list[Part]:
    """Parts that add up to the proposal's units.

    The sum starts with last week's sales, goes through what the forecaster says to the expected
    sales, and from there through safety, stock and limits to whole cases.

    contributions: the forecaster's own sum from the last known week to the mean, units by driver.
    Without it one part is the change from `last`, the units of the last known week; where those are
    unknown as well, the sum starts with the mean.
    mean: expected sales of the target week.
    """
    if contributions is not None:
        first, rest = "last", {**contributions, "other": mean - fsum(contributions.values())}
    elif last is not None:
        first, rest = "last", {"last": last, "change": mean - last}
    else:
        first, rest = "mean", {"mean": mean}
    start = rest.pop(first, 0.0)
    parts = [
        Part(code, units)
        for code, units in {**rest, **proposal.contributions}.items()
        if abs(units) > ROUNDING_UNITS
    ]
    rounding_error = proposal.units - fsum([start, *(part.units for part in parts)])
    return [Part(first, start + rounding_error), *parts]


def round_parts(parts: Sequence[Part], total: int) -> list[Part]:
    """The parts in whole units that still add up to `total`.

    Largest remainder method: all are rounded down, the missing units go to the largest remainders.
    """
    floors = [floor(part.units) for part in parts]
    missing = total - sum(floors)
    order = sorted(range(len(parts)), key=lambda n: (floors[n] - parts[n].units, n))
    for n in order[:missing]:
        floors[n] += 1
    return [Part(part.code, units) for part, units in zip(parts, floors, strict=True)]


def make_sum_reason(parts: Sequence[Part], proposal: Proposal, case_units: int) -> Reason:
    """The sum as a reason of the order line."""
    return {
        "code": "sum",
        "parts": [asdict(part) for part in parts],
        "cases": proposal.cases,
        "case_units": case_units,
        "units": proposal.units,
    }


def extract_parts(reasons: Sequence[Reason]) -> list[Part]:
    """The parts of the stored sum, in whole units and without those that change nothing."""
    for reason in reasons:
        if reason["code"] == "sum":
            parts = [Part(**part) for part in reason["parts"]]
            first, *rest = round_parts(parts, reason["units"])
            return [first, *(part for part in rest if part.units)]
    return []


# ---- sentences -----------------------------------------------------------------------------------

STARTS: dict[str, str] = {
    "last": msgid("Sold %(units)s last week"),
    "mean": msgid("Expected sales of %(units)s"),
}
PARTS: dict[str, str] = {
    "last": msgid("Sold last week"),
    "mean": msgid("Expected sales"),
    "level": msgid("level"),
    "season": msgid("season"),
    "holiday": msgid("holiday"),
    "price": msgid("price"),
    "promotion": msgid("promotion"),
    "weather": msgid("weather"),
    "change": msgid("expected change"),
    "other": msgid("other"),
    "safety": msgid("room for a good week"),
    "caution": msgid("caution against leftovers"),
    "stock": msgid("stock left by then"),
    "rounding": msgid("whole cases"),
    "minimum": msgid("minimum order"),
    "maximum": msgid("maximum order"),
    "truck": msgid("truck"),
    "space": msgid("shelf space"),
}
MESSAGES: dict[str, str] = {
    "demand": msgid("Expected sales %(mean)s (%(low)s to %(high)s)."),
    "service": msgid("Enough in %(ratio)s of such weeks: %(units)s."),
    "stock_unknown": msgid("The stock is not known: this is the quantity to have for the week."),
    "stock": msgid(
        "%(on_hand)s on hand and %(on_order)s on the way, %(buffer)s expected to sell before: "
        "%(left)s left on Monday."
    ),
    "expires": msgid("%(units)s of the stock will be too old (keeps %(days)s days)."),
    "minimum": msgid("Raised to the minimum of %(cases)s cases."),
    "below_minimum": msgid(
        "The minimum of %(cases)s cases would cost more than it is worth, so nothing is ordered."
    ),
    "shelf_minimum": msgid(
        "The minimum of %(cases)s cases is more than can be sold in %(days)s days, so nothing is "
        "ordered."
    ),
    "maximum": msgid("Held at the maximum of %(cases)s cases (%(needed)s needed)."),
    "truck": msgid("The truck is full: %(cases)s of %(needed)s cases."),
    "space": msgid("The shelves are full: %(cases)s of %(needed)s cases."),
    "cases": msgid("Order %(cases)s × %(case_units)s = %(units)s units."),
    "nothing": msgid("Nothing to order."),
    "new": msgid("Only %(weeks)s full weeks of sales are known."),
    "jump": msgid("%(share)s against the last weeks (%(recent)s a week)."),
    "no_recent_sales": msgid("Sold nothing in the last weeks."),
    "uncertain": msgid("The forecast is very uncertain."),
    "at_maximum": msgid("The item's maximum limits the order."),
    "at_minimum": msgid("The item's minimum raises the order."),
    "at_below_minimum": msgid("Less than the item's minimum is needed."),
    "at_shelf_minimum": msgid("The item's minimum would not keep."),
    "at_truck": msgid("The truck is full."),
    "at_space": msgid("The shelves are full."),
}
SENTENCES = msgid("%(first)s %(second)s")
LIST = msgid("%(first)s, %(second)s")
CHANGES = msgid("%(start)s; %(changes)s")
SUM = msgid("%(sum)s → %(units)s units.")
SUM_IN_CASES = msgid("%(sum)s → %(units)s units (%(cases)s × %(case_units)s).")
FORMATS: dict[str, str] = {  # by value; others are written as they are
    **dict.fromkeys(
        ("mean", "low", "high", "units", "on_hand", "on_order", "buffer", "left", "recent"), ",.0f"
    ),
    "ratio": ".0%",
    "share": "+.0%",
}


def render_reasons(reasons: Sequence[Reason], say: Translate = english) -> str:
    """The reasons as sentences."""
    return join_sentences([render_reason(reason, say) for reason in reasons], say)


def render_summary(reasons: Sequence[Reason], say: Translate = english) -> str:
    """The sentence that adds up, and, where the stock is not known, that."""
    return render_reasons(
        [reason for reason in reasons if reason["code"] in ("sum", "stock_unknown")], say
    )


def render_reason(reason: Reason, say: Translate = english) -> str:
    if reason["code"] == "sum":
        return render_sum(reason, say)
    values = {
        name: format(value, FORMATS.get(name, ""))
        for name, value in reason.items()
        if isinstance(value, int | float)
    }
    return say(MESSAGES[reason["code"]], **values)


def render_part_name(part: Part, say: Translate = english) -> str:
    code = "caution" if part.code == "safety" and part.units < 0 else part.code
    return say(PARTS[code])


def format_signed(units: float) -> str:
    """A number with its sign, written as people write it: +14, −5."""
    return f"{units:+,.0f}".replace("-", "−")


def render_sum(reason: Reason, say: Translate = english) -> str:
    """The sum in one sentence: the largest parts first, without those below one unit."""
    first, *rest = extract_parts([reason])
    text = say(STARTS[first.code], units=f"{first.units:,.0f}".replace("-", "−"))
    changes = [
        f"{render_part_name(part, say)} {format_signed(part.units)}"
        for part in sorted(rest, key=lambda part: -abs(part.units))
    ]
    if changes:
        text = say(CHANGES, start=text, changes=join_texts(changes, LIST, say))
    return say(
        SUM_IN_CASES if reason["cases"] else SUM,
        sum=text,
        units=f"{reason['units']:,}",
        cases=reason["cases"],
        case_units=reason["case_units"],
    )


def join_sentences(sentences: Sequence[str], say: Translate = english) -> str:
    """Sentences one after the other; Japanese has no space between them."""
    return join_texts(sentences, SENTENCES, say)


def join_texts(texts: Sequence[str], pattern: str, say: Translate) -> str:
    """Texts joined by a msgid of `first` and `second`; empty for no texts."""
    if not texts:
        return ""
    return reduce(lambda first, second: say(pattern, first=first, second=second), texts)
