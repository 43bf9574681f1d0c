"""How many cases to order: pure, from a forecast's quantiles, costs, stock and limits; with the reasons, in Japanese and English.

It knows no database and no model. The rule is the newsvendor's: a unit short costs `shortage`, a unit left costs `leftover`, so the
best quantity is the quantile shortage / (shortage + leftover) of demand (Arrow, Harris and Marschak, 1951).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor
from typing import Any

LEVELS = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
LOW, HIGH = LEVELS.index(0.10), LEVELS.index(0.90)
KEEPS_OVER_DAYS = 14  # what is on hand on the order day is over a week old when the target week begins, two when it ends

Reason = dict[str, Any]


@dataclass(frozen=True)
class Demand:
    """One week's demand in units: its mean and its quantiles at LEVELS, non-decreasing."""

    mean: float
    quantiles: tuple[float, ...]

    def at(self, level: float) -> float:
        """The quantile at any level: linear between the known ones, the outermost beyond them."""
        if level <= LEVELS[0]:
            return self.quantiles[0]
        for (low, high), (a, b) in zip(pairwise(LEVELS), pairwise(self.quantiles), strict=True):
            if level <= high:
                return a + (b - a) * (level - low) / (high - low)
        return self.quantiles[-1]


@dataclass(frozen=True)
class ItemRules:
    """How an item is ordered and what a unit too few or too many costs (yen)."""

    case_units: int = 1
    min_cases: int = 0
    max_cases: int | None = None
    shelf_life_days: int | None = None
    shortage_cost: float = 3.0
    leftover_cost: float = 1.0

    @property
    def critical_ratio(self) -> float:
        """The share of weeks in which the order should be enough."""
        return self.shortage_cost / (self.shortage_cost + self.leftover_cost)


@dataclass(frozen=True)
class Stock:
    """What is there on the order day, what arrives before the target week, and what the week between is expected to sell; units."""

    on_hand: float
    on_order: float
    buffer: float


@dataclass(frozen=True)
class Proposal:
    """Whole cases, what they hold, and why."""

    cases: int
    units: int
    reason: list[Reason]


def propose(demand: Demand, rules: ItemRules, stock: Stock | None) -> Proposal:
    """Cases so that the target week has the best quantity. Without stock it is the quantity to have for the week, and says so."""
    target = demand.at(rules.critical_ratio)
    reason: list[Reason] = [
        {"code": "demand", "mean": demand.mean, "low": demand.quantiles[LOW], "high": demand.quantiles[HIGH]},
        {"code": "service", "ratio": rules.critical_ratio, "units": target},
    ]
    carried = carry(rules, stock, reason)
    wanted = max(0.0, target - carried)
    cases = best_cases(wanted, carried, demand, rules)
    cases = limited(cases, carried, demand, rules, reason)
    reason.append(
        {"code": "cases" if cases else "nothing", "cases": cases, "case_units": rules.case_units, "units": cases * rules.case_units}
    )
    return Proposal(cases, cases * rules.case_units, reason)


def carry(rules: ItemRules, stock: Stock | None, reason: list[Reason]) -> float:
    """Units expected to be left, and still good, when the target week begins; adds the reason."""
    if stock is None:
        reason.append({"code": "stock_unknown"})
        return 0.0
    old = max(0.0, stock.on_hand - stock.buffer)
    fresh = max(0.0, stock.on_order - max(0.0, stock.buffer - stock.on_hand))
    if rules.shelf_life_days is not None and rules.shelf_life_days < KEEPS_OVER_DAYS:
        if old > 0:
            reason.append({"code": "expires", "units": old, "days": rules.shelf_life_days})
        old = 0.0
        if rules.shelf_life_days <= 7:
            fresh = 0.0
    left = old + fresh
    reason.append({"code": "stock", "on_hand": stock.on_hand, "on_order": stock.on_order, "buffer": stock.buffer, "left": left})
    return left


def best_cases(wanted: float, carried: float, demand: Demand, rules: ItemRules) -> int:
    """Of the two whole numbers of cases around the wanted units, the one that is expected to cost less; more when they cost the same."""
    few, many = floor(wanted / rules.case_units), ceil(wanted / rules.case_units)

    def cost(cases: int) -> float:
        return expected_cost(carried + cases * rules.case_units, demand, rules)

    return few if cost(few) < cost(many) else many


def expected_cost(units: float, demand: Demand, rules: ItemRules) -> float:
    """Yen that shortages and leftovers are expected to cost when so many units are there; by quantiles in steps of one hundredth."""
    levels = [(n + 0.5) / 100 for n in range(100)]
    return sum(
        rules.shortage_cost * max(0.0, d - units) + rules.leftover_cost * max(0.0, units - d)
        for d in (demand.at(level) for level in levels)
    ) / len(levels)


def limited(cases: int, carried: float, demand: Demand, rules: ItemRules, reason: list[Reason]) -> int:
    """Cases within what keeps, the minimum and the maximum of the item; each limit that bites adds its reason. The maximum wins."""
    if rules.shelf_life_days is not None:
        weeks = max(1, rules.shelf_life_days // 7)
        most = ceil(max(0.0, demand.quantiles[-1] * weeks - carried) / rules.case_units)
        if cases > most:
            reason.append({"code": "shelf", "days": rules.shelf_life_days, "cases": most})
            cases = most
    if 0 < cases < rules.min_cases:
        reason.append({"code": "minimum", "cases": rules.min_cases})
        cases = rules.min_cases
    if rules.max_cases is not None and cases > rules.max_cases:
        reason.append({"code": "maximum", "cases": rules.max_cases, "wanted": cases})
        cases = rules.max_cases
    return cases


def unusual(proposal: Proposal, demand: Demand, recent: Sequence[float], threshold: float) -> tuple[float, list[Reason]]:
    """How far a proposal is from what is usual, and why; 0 when nothing is unusual, 1 and more when an analyst should look.

    `recent` are the units of the last known weeks, newest last; `threshold` is the share of their mean that is still usual.
    """
    why: list[Reason] = []
    score = 0.0
    usual = sum(recent) / len(recent) if recent else 0.0
    if len(recent) < 4:
        why.append({"code": "new", "weeks": len(recent)})
        score = 1.0
    if usual > 0:
        away = demand.mean / usual - 1
        score = max(score, abs(away) / threshold)
        if abs(away) > threshold:
            why.append({"code": "jump", "share": away, "recent": usual})
    elif demand.mean >= 1:
        why.append({"code": "awake", "mean": demand.mean})
        score = max(score, 1.0)
    band = demand.quantiles[HIGH] - demand.quantiles[LOW]
    if demand.mean >= 1 and band > demand.mean:
        why.append({"code": "wide", "share": band / demand.mean})
        score = max(score, 1.0)
    for limit in ("maximum", "minimum", "shelf"):
        if any(each["code"] == limit for each in proposal.reason):
            why.append({"code": f"at_{limit}"})
            score = max(score, 1.0)
    return score, why


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
        "en": "{units:,.0f} of them will be too old (keeps {days} days).",
        "ja": "うち{units:,.0f}個は期限切れになります（賞味期間{days}日）。",
    },
    "shelf": {"en": "No more than can be sold in {days} days: {cases} cases.", "ja": "{days}日で売り切れる数まで：{cases}ケース。"},
    "minimum": {"en": "Raised to the minimum of {cases} cases.", "ja": "最低発注数の{cases}ケースに引き上げました。"},
    "maximum": {
        "en": "Held at the maximum of {cases} cases ({wanted} wanted).",
        "ja": "最大{cases}ケースに抑えました（必要数{wanted}ケース）。",
    },
    "cases": {"en": "Order {cases} × {case_units} = {units:,} units.", "ja": "発注は{cases}ケース×{case_units}個＝{units:,}個。"},
    "nothing": {"en": "Nothing to order.", "ja": "発注は不要です。"},
    "new": {"en": "Only {weeks} full weeks of sales are known.", "ja": "販売実績が{weeks}週分しかありません。"},
    "jump": {
        "en": "{share:+.0%} against the last weeks ({recent:,.0f} a week).",
        "ja": "直近の週平均（{recent:,.0f}個）に対して{share:+.0%}。",
    },
    "awake": {"en": "Sold nothing in the last weeks.", "ja": "直近の週は販売がありません。"},
    "wide": {"en": "The forecast is very uncertain.", "ja": "予測の幅がとても広いです。"},
    "at_maximum": {"en": "The item's maximum holds it back.", "ja": "最大発注数に達しています。"},
    "at_minimum": {"en": "The item's minimum raises it.", "ja": "最低発注数まで引き上げています。"},
    "at_shelf": {"en": "What keeps limits it.", "ja": "賞味期間で制限されています。"},
}


def words(reason: Sequence[Reason], lang: str) -> str:
    """Reasons as sentences in "ja" or "en"."""
    space = "" if lang == "ja" else " "
    return space.join(WORDS[each["code"]][lang].format(**each) for each in reason)
