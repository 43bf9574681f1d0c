"""A proposal as a sum, from last week's sales to the units ordered, and every reason in Japanese and English; pure.

Reasons are kept as codes and numbers and worded when they are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import floor, fsum
from typing import Any

from tanuki.shop.ordering import Proposal, Reason

LANGS = ("ja", "en")
TINY = 1e-6  # units; less is what adding floats leaves


@dataclass(frozen=True)
class Part:
    """Units that one thing adds to a proposal, or takes away."""

    code: str
    units: float


def explain(
    moved: Mapping[str, float] | None, last: float | None, mean: float, proposal: Proposal
) -> list[Part]:
    """Parts that add up to the proposal's units: where it starts, what moves it to the expected sales, and from there to whole cases.

    `moved` is the forecaster's own sum from the last known week to the mean; without it there is one change from `last`, the units of the
    last known week, and where that is not known either it starts with the mean.
    """
    if moved is not None:
        first, rest = "last", {**moved, "other": mean - fsum(moved.values())}
    elif last is not None:
        first, rest = "last", {"last": last, "change": mean - last}
    else:
        first, rest = "mean", {"mean": mean}
    start = rest.pop(first, 0.0)
    parts = [
        Part(code, units) for code, units in {**rest, **proposal.moves}.items() if abs(units) > TINY
    ]
    off = proposal.units - fsum(
        [start, *(part.units for part in parts)]
    )  # no more than adding floats leaves
    return [Part(first, start + off), *parts]


def whole(parts: Sequence[Part], total: int) -> list[Part]:
    """The same parts in whole units that still add up to `total`: rounded down, the units missing go to the largest remainders."""
    low = [floor(part.units) for part in parts]
    missing = total - sum(low)
    order = sorted(range(len(parts)), key=lambda n: (low[n] - parts[n].units, n))
    for n in order[:missing]:
        low[n] += 1
    return [Part(each.code, units) for each, units in zip(parts, low, strict=True)]


def as_reason(parts: Sequence[Part], proposal: Proposal, case_units: int) -> Reason:
    """A sum as it is kept with an order line's reasons."""
    return {
        "code": "sum",
        "parts": [asdict(part) for part in parts],
        "cases": proposal.cases,
        "case_units": case_units,
        "units": proposal.units,
    }


# ---- in words ------------------------------------------------------------------------------------------------------

STARTS: dict[str, dict[str, str]] = {
    "last": {"en": "Sold {units} last week", "ja": "先週の販売{units}個"},
    "mean": {"en": "Expected sales of {units}", "ja": "販売見込み{units}個"},
}
PARTS: dict[str, dict[str, str]] = {
    "last": {"en": "Sold last week", "ja": "先週の販売"},
    "mean": {"en": "Expected sales", "ja": "販売見込み"},
    "level": {"en": "level", "ja": "最近の水準"},
    "season": {"en": "season", "ja": "季節"},
    "holiday": {"en": "holiday", "ja": "祝日"},
    "price": {"en": "price", "ja": "価格"},
    "promotion": {"en": "promotion", "ja": "販促"},
    "weather": {"en": "weather", "ja": "天気"},
    "change": {"en": "expected change", "ja": "見込みの変化"},
    "other": {"en": "other", "ja": "その他"},
    "safety": {"en": "room for a good week", "ja": "売れた場合の備え"},
    "caution": {"en": "caution against leftovers", "ja": "売れ残りへの用心"},
    "stock": {"en": "stock left by then", "ja": "それまでに残る在庫"},
    "rounding": {"en": "whole cases", "ja": "ケース単位"},
    "minimum": {"en": "minimum order", "ja": "最低発注数"},
    "maximum": {"en": "maximum order", "ja": "最大発注数"},
    "truck": {"en": "truck", "ja": "トラック"},
    "space": {"en": "shelf space", "ja": "棚の広さ"},
}
WORDS: dict[str, dict[str, str]] = {
    "demand": {
        "en": "Expected sales {mean:,.0f} ({low:,.0f} to {high:,.0f}).",
        "ja": "販売見込みは{mean:,.0f}個（{low:,.0f}〜{high:,.0f}個）。",
    },
    "service": {
        "en": "Enough in {ratio:.0%} of such weeks: {units:,.0f}.",
        "ja": "このような週の{ratio:.0%}で足りる数は{units:,.0f}個。",
    },
    "stock_unknown": {
        "en": "The stock is not known: this is the quantity to have for the week.",
        "ja": "在庫が分からないため、その週に必要な数量です。",
    },
    "stock": {
        "en": "{on_hand:,.0f} on hand and {on_order:,.0f} on the way, {buffer:,.0f} expected to sell before: {left:,.0f} left on Monday.",
        "ja": "在庫{on_hand:,.0f}個、入荷予定{on_order:,.0f}個、それまでの販売見込み{buffer:,.0f}個：月曜日の残りは{left:,.0f}個。",
    },
    "expires": {
        "en": "{units:,.0f} of the stock will be too old (keeps {days} days).",
        "ja": "在庫のうち{units:,.0f}個は期限切れになります（賞味期間{days}日）。",
    },
    "shelf": {
        "en": "No more than can be sold in {days} days: {cases} cases.",
        "ja": "{days}日で売り切れる数まで：{cases}ケース。",
    },
    "minimum": {
        "en": "Raised to the minimum of {cases} cases.",
        "ja": "最低発注数の{cases}ケースに引き上げました。",
    },
    "below_minimum": {
        "en": "The minimum of {cases} cases would cost more than it is worth, so nothing is ordered.",
        "ja": "最低発注数の{cases}ケースでは多すぎて損になるため、発注しません。",
    },
    "shelf_minimum": {
        "en": "The minimum of {cases} cases is more than can be sold in {days} days, so nothing is ordered.",
        "ja": "最低発注数の{cases}ケースは{days}日で売り切れないため、発注しません。",
    },
    "maximum": {
        "en": "Held at the maximum of {cases} cases ({wanted} wanted).",
        "ja": "最大{cases}ケースに抑えました（必要数{wanted}ケース）。",
    },
    "truck": {
        "en": "The truck is full: {cases} of {wanted} cases.",
        "ja": "トラックに載りきらないため、{wanted}ケースのうち{cases}ケースにしました。",
    },
    "space": {
        "en": "The shelves are full: {cases} of {wanted} cases.",
        "ja": "棚に並びきらないため、{wanted}ケースのうち{cases}ケースにしました。",
    },
    "cases": {
        "en": "Order {cases} × {case_units} = {units:,} units.",
        "ja": "発注は{cases}ケース×{case_units}個＝{units:,}個。",
    },
    "nothing": {"en": "Nothing to order.", "ja": "発注は不要です。"},
    "new": {
        "en": "Only {weeks} full weeks of sales are known.",
        "ja": "販売実績が{weeks}週分しかありません。",
    },
    "jump": {
        "en": "{share:+.0%} against the last weeks ({recent:,.0f} a week).",
        "ja": "直近の週平均（{recent:,.0f}個）に対して{share:+.0%}。",
    },
    "awake": {"en": "Sold nothing in the last weeks.", "ja": "直近の週は販売がありません。"},
    "wide": {"en": "The forecast is very uncertain.", "ja": "予測の幅がとても広いです。"},
    "at_maximum": {"en": "The item's maximum holds it back.", "ja": "最大発注数に達しています。"},
    "at_minimum": {"en": "The item's minimum raises it.", "ja": "最低発注数まで引き上げています。"},
    "at_below_minimum": {
        "en": "Less than the item's minimum is needed.",
        "ja": "必要数が最低発注数に届きません。",
    },
    "at_shelf_minimum": {
        "en": "The item's minimum would not keep.",
        "ja": "最低発注数では期限内に売り切れません。",
    },
    "at_shelf": {"en": "What keeps limits it.", "ja": "賞味期間で制限されています。"},
    "at_truck": {"en": "The truck is full.", "ja": "トラックに載りきりません。"},
    "at_space": {"en": "The shelves are full.", "ja": "棚に並びきりません。"},
}


def words(reason: Sequence[Reason], lang: str) -> str:
    """Reasons as sentences in "ja" or "en"."""
    space = "" if lang == "ja" else " "
    return space.join(
        sentence(each, lang) if each["code"] == "sum" else WORDS[each["code"]][lang].format(**each)
        for each in reason
    )


def because(reason: Sequence[Reason], lang: str) -> str:
    """The one sentence that adds up, and that the stock is not known where it is not; the reasons of lines older than such sums."""
    short = (
        ("sum", "stock_unknown")
        if any(each["code"] == "sum" for each in reason)
        else set(WORDS) - {"demand", "cases"}
    )
    return words([each for each in reason if each["code"] in short], lang)


def parts_of(reason: Sequence[Reason]) -> list[Part]:
    """The sum that is kept with a line, in whole units and without what moves nothing; empty when none was kept."""
    for each in reason:
        if each["code"] == "sum":
            first, *rest = whole([Part(**part) for part in each["parts"]], each["units"])
            return [first, *(part for part in rest if part.units)]
    return []


def name(part: Part, lang: str) -> str:
    """What a part is called."""
    code = "caution" if part.code == "safety" and part.units < 0 else part.code
    return PARTS[code][lang]


def signed(units: float) -> str:
    """A number with its sign, written as people write it: +14, −5."""
    return f"{units:+,.0f}".replace("-", "−")


def sentence(each: dict[str, Any], lang: str) -> str:
    """A sum in one sentence; what matters most comes first, what moves less than a unit is left out."""
    first, *rest = parts_of([each])
    moves = [
        f"{name(part, lang)} {signed(part.units)}"
        for part in sorted(rest, key=lambda part: -abs(part.units))
    ]
    start = STARTS[first.code][lang].format(units=f"{first.units:,.0f}".replace("-", "−"))
    if lang == "ja":
        cases = f"（{each['cases']}ケース×{each['case_units']}個）" if each["cases"] else ""
        return f"{start}{'：' if moves else ''}{'、'.join(moves)} → {each['units']:,}個{cases}。"
    cases = f" ({each['cases']} × {each['case_units']})" if each["cases"] else ""
    return f"{start}{'; ' if moves else ''}{', '.join(moves)} → {each['units']:,} units{cases}."
