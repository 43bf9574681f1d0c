"""How many cases to order: pure, from quantiles of demand, costs, stock and limits; with the reasons as codes and numbers.

Periodic review, order up to a level (Silver, Pyke and Thomas, 2017, the (R, S) rule): the order arrives on the target week's Monday, after
a buffer week that nobody has seen yet. What is left of that week is max(0, on hand + on order - its demand), so the target week needs
min(demand, demand of both weeks - on hand - on order). A unit short costs `shortage_cost`, a unit left what `left_cost` says; the best
quantity is the quantile shortage / (shortage + left) of what is needed (Arrow, Harris and Marschak, 1951). It knows no database, no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import ceil, floor
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Reason = dict[str, Any]

LEVELS = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
LOW, HIGH = LEVELS.index(0.10), LEVELS.index(0.90)
NORMAL = NormalDist()
SCORES = np.array([NORMAL.inv_cdf(level) for level in LEVELS])
WEEK, TWO_WEEKS = (
    7,
    14,
)  # days; deliveries come on Mondays, so that what was delivered so long ago is so old on a Monday
LEAST_TOGETHER, MOST_TOGETHER = -0.2, 0.98  # correlation of the two weeks
OWN_LIMITS, SHARED_LIMITS = (
    ("maximum", "minimum", "below_minimum", "shelf_minimum"),
    ("truck", "space"),
)  # codes of reasons

# Pairs of equally likely weeks, as normal scores: a Fibonacci lattice, whose points are spread evenly over the square and over each side.
POINTS, TURN = 987, 610
FIRST = np.array([NORMAL.inv_cdf((n + 0.5) / POINTS) for n in range(POINTS)])
SECOND = FIRST[np.arange(POINTS) * TURN % POINTS]


@dataclass(frozen=True)
class Demand:
    """Demand in units of one week, or of both together: its mean and its quantiles at LEVELS, non-decreasing."""

    mean: float
    quantiles: tuple[float, ...]

    def at(self, level: float) -> float:
        """The quantile at any level: between the known ones as if it were normal there, the outermost beyond them."""
        level = min(max(level, LEVELS[0]), LEVELS[-1])
        return float(np.interp(NORMAL.inv_cdf(level), SCORES, self.quantiles))


@dataclass(frozen=True)
class ItemRules:
    """How an item is ordered, what a unit too few or too many costs (yen), and how often the week must be served at least."""

    case_units: int = 1
    min_cases: int = 0
    max_cases: int | None = None
    shelf_life_days: int | None = None
    shortage_cost: float = 3.0
    leftover_cost: float = 1.0  # of a unit that cannot be sold any more
    holding: float = (
        0.25  # share of leftover_cost that a unit costs which can still be sold next week
    )
    service: float = 0.0  # least probability that the week is served

    @property
    def left_cost(self) -> float:
        """Yen of a unit left on the target week's Sunday: lost unless it keeps all of the next week, when it only was in the way."""
        keeps = self.shelf_life_days is None or self.shelf_life_days >= TWO_WEEKS
        return self.leftover_cost * (self.holding if keeps else 1.0)

    @property
    def critical_ratio(self) -> float:
        """The share of weeks in which the order should be enough: by the costs, but never below the service that is asked for."""
        costs = self.shortage_cost + self.left_cost
        return max(self.shortage_cost / costs if costs else 0.5, self.service)


@dataclass(frozen=True)
class Stock:
    """Units on Sunday evening at the cut-off, and units that arrive on the buffer week's Monday. Their ages are not known."""

    on_hand: float
    on_order: float


@dataclass(frozen=True)
class Line:
    """One item of one store as the rule takes it. Without stock, the quantity to have for the week is proposed."""

    key: str
    buffer: Demand
    target: Demand
    both: Demand
    rules: ItemRules
    stock: Stock | None


@dataclass(frozen=True)
class Limits:
    """What a store's lines share: units that fit on its shelves on the target Monday, cases that one delivery brings. None: no limit."""

    shelf_units: int | None = None
    truck_cases: int | None = None


@dataclass(frozen=True)
class Proposal:
    """Whole cases, what they hold, and why.

    `moves` are units by code (safety, stock, rounding and each limit that bites) that add up, with the target's mean, to `units`.
    `expected_cost` is in yen, shortages and leftovers of the target week; `left` are units expected to be left when it begins.
    """

    key: str
    cases: int
    units: int
    reason: list[Reason]
    moves: dict[str, float]
    left: float
    expected_cost: float


def propose(lines: Sequence[Line], limits: Limits | None = None) -> list[Proposal]:
    """Cases for one store's lines, in their order, so that the target week costs least within what the lines share."""
    plans = [plan(line) for line in lines]
    if limits is not None:
        share(plans, limits)
    return [settled(each) for each in plans]


# ---- one line ------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Plan:
    """A line on its way to a proposal: what it needs (equally likely units, ascending), and the cases that count so far."""

    line: Line
    needed: Numbers
    left: float
    wanted: float
    cases: int = 0
    reason: list[Reason] = field(default_factory=list)
    moves: dict[str, float] = field(default_factory=dict)

    def move(self, code: str, cases: int) -> None:
        """Let another number of cases count, because of `code`."""
        self.moves[code] = (
            self.moves.get(code, 0.0) + (cases - self.cases) * self.line.rules.case_units
        )
        self.cases = cases


def plan(line: Line) -> Plan:
    """The cases of one line within its own limits, as if it were alone in the store."""
    needed, left, expired = needs(line)
    rules, mean = line.rules, line.target.mean
    ratio = rules.critical_ratio
    quantile = float(np.interp(ratio * POINTS - 0.5, np.arange(POINTS), needed))
    wanted = max(0.0, quantile)
    safety = quantile + left - mean
    made = Plan(
        line, needed, left, wanted, moves={"safety": safety, "stock": wanted - mean - safety}
    )
    made.reason += [
        {
            "code": "demand",
            "mean": mean,
            "low": line.target.quantiles[LOW],
            "high": line.target.quantiles[HIGH],
        },
        {"code": "service", "ratio": ratio, "units": mean + safety},
    ]
    if line.stock is None:
        made.reason.append({"code": "stock_unknown"})
    else:
        if expired > 0:
            made.reason.append({"code": "expires", "units": expired, "days": rules.shelf_life_days})
        there = {"on_hand": line.stock.on_hand, "on_order": line.stock.on_order}
        made.reason.append({"code": "stock", **there, "buffer": line.buffer.mean, "left": left})
    made.cases = best_cases(made)
    made.moves["rounding"] = made.cases * rules.case_units - wanted
    own_limits(made)
    return made


def needs(line: Line) -> tuple[Numbers, float, float]:
    """What must arrive for the target week (equally likely units, ascending; below zero where more is left than sells), the units
    expected to be left when it begins, and those expected to be too old by then."""
    if line.stock is None:
        return np.interp(FIRST, SCORES, line.target.quantiles), 0.0, 0.0
    together = correlation(line)
    buffer = np.interp(FIRST, SCORES, line.buffer.quantiles)
    target = np.interp(
        together * FIRST + (1 - together**2) ** 0.5 * SECOND, SCORES, line.target.quantiles
    )
    left, expired = carry(line.rules, line.stock, buffer)
    return np.sort(target - left), float(left.mean()), float(expired.mean())


def correlation(line: Line) -> float:
    """How much the two weeks' demand goes together, by how far both together spread."""
    a, b, both = (
        float(np.std(np.interp(FIRST, SCORES, each.quantiles)))
        for each in (line.buffer, line.target, line.both)
    )
    return (
        min(max((both**2 - a**2 - b**2) / (2 * a * b), LEAST_TOGETHER), MOST_TOGETHER)
        if a * b > 0
        else 0.0
    )


def carry(rules: ItemRules, stock: Stock, buffer: Numbers) -> tuple[Numbers, Numbers]:
    """Units left, and still good, after each of these buffer weeks; and units too old by then. The oldest are sold first.

    What is on hand on Sunday is two weeks old or more on the target Monday: an item that keeps no longer is not counted on. What arrives on
    the buffer Monday is a week old by then: it counts unless the item keeps a week or less.
    """
    old = np.maximum(0.0, stock.on_hand - buffer)
    fresh = np.maximum(0.0, stock.on_order - np.maximum(0.0, buffer - stock.on_hand))
    nothing = np.zeros_like(buffer)
    if rules.shelf_life_days is None or rules.shelf_life_days > TWO_WEEKS:
        return old + fresh, nothing
    return (fresh, old) if rules.shelf_life_days > WEEK else (nothing, old + fresh)


def best_cases(made: Plan) -> int:
    """Of the whole cases around the wanted units, those that are expected to cost less and serve often enough; more when they are equal."""
    rules = made.line.rules
    few, many = floor(made.wanted / rules.case_units), ceil(made.wanted / rules.case_units)
    served = float(np.mean(made.needed <= few * rules.case_units + 1e-9))
    return (
        few if cost(made, few) < cost(made, many) and served >= rules.service - 1 / POINTS else many
    )


def cost(made: Plan, cases: int) -> float:
    """What is minimised: expected yen, with a unit short as dear as the service that is asked for makes it."""
    rules = made.line.rules
    ratio = rules.service
    floor_cost = rules.left_cost * ratio / (1 - ratio) if ratio < 1 else 0.0
    return expected_cost(
        made.needed, cases * rules.case_units, max(rules.shortage_cost, floor_cost), rules.left_cost
    )


def expected_cost(needed: Numbers, units: float, shortage_cost: float, left_cost: float) -> float:
    """Yen that shortages and leftovers are expected to cost when so many units arrive."""
    over = units - needed
    over_sum = float(np.maximum(over, 0.0).sum())
    return (left_cost * over_sum + shortage_cost * (over_sum - float(over.sum()))) / len(needed)


def own_limits(made: Plan) -> None:
    """Cases within what keeps, the minimum and the maximum of the item; each limit that bites adds its reason. The maximum wins.

    Less than the minimum becomes the minimum or nothing, whichever is expected to cost less.
    """
    rules, days = made.line.rules, made.line.rules.shelf_life_days
    most = None
    if days is not None:
        sold = float(made.needed[-1]) + (max(1, days // WEEK) - 1) * made.line.target.quantiles[-1]
        most = ceil(max(0.0, sold) / rules.case_units)
    if 0 < made.cases < rules.min_cases:
        keeps = most is None or rules.min_cases <= most
        if keeps and cost(made, rules.min_cases) <= cost(made, 0):
            made.reason.append({"code": "minimum", "cases": rules.min_cases})
            made.move("minimum", rules.min_cases)
        else:
            made.reason.append(
                {
                    "code": "below_minimum" if keeps else "shelf_minimum",
                    "cases": rules.min_cases,
                    "days": days,
                }
            )
            made.move("minimum", 0)
    if rules.max_cases is not None and made.cases > rules.max_cases:
        made.reason.append({"code": "maximum", "cases": rules.max_cases, "wanted": made.cases})
        made.move("maximum", rules.max_cases)


# ---- what lines share ----------------------------------------------------------------------------------------------


def share(plans: list[Plan], limits: Limits) -> None:
    """Give up cases where that costs least, until the truck and then the shelves hold the rest.

    Each line's cost is convex in its cases, so one case after the other is exact for the truck, and for the shelves where all cases are
    of one size; with other sizes, minimums, or both limits together it is near, and what then still fits is taken back.
    """
    bounds: dict[str, int] = {}
    for code, most in (("truck", limits.truck_cases), ("space", limits.shelf_units)):
        if most is None:
            continue
        before = [each.cases for each in plans]
        give_up(plans, code, most)
        bounds[code] = most
        take_back(
            plans, before, {each: bound - taken(plans, each) for each, bound in bounds.items()}
        )
        for each, cases in zip(plans, before, strict=True):
            now, each.cases = each.cases, cases
            if now < cases:
                each.reason.append({"code": code, "cases": now, "wanted": cases})
                each.move(code, now)


def weight(made: Plan, code: str) -> int:
    """What a case takes of a limit."""
    return 1 if code == "truck" else made.line.rules.case_units


def taken(plans: Sequence[Plan], code: str) -> float:
    """What the plans take of a limit; what is left on the shelves on the target Monday stands there too."""
    return sum(each.cases * weight(each, code) for each in plans) + (
        sum(each.left for each in plans) if code == "space" else 0.0
    )


def least(made: Plan) -> int:
    """The fewest cases that can be ordered, beside none."""
    rules = made.line.rules
    return max(
        1, rules.min_cases if rules.max_cases is None else min(rules.min_cases, rules.max_cases)
    )


def give_up(plans: list[Plan], code: str, most: float) -> None:
    """Take away cases, each time where what is saved of the limit costs least."""

    def step(n: int) -> tuple[float, int, int]:
        made = plans[n]
        fewer = made.cases - 1 if made.cases > least(made) else 0
        return (
            (cost(made, fewer) - cost(made, made.cases))
            / ((made.cases - fewer) * weight(made, code)),
            n,
            fewer,
        )

    over = taken(plans, code) - most
    steps = [step(n) for n, each in enumerate(plans) if each.cases]
    heapify(steps)
    while over > 1e-9 and steps:
        _, n, fewer = heappop(steps)
        over -= (plans[n].cases - fewer) * weight(plans[n], code)
        plans[n].cases = fewer
        if fewer:
            heappush(steps, step(n))


def take_back(plans: list[Plan], before: list[int], room: dict[str, float]) -> None:
    """Give back cases that fit after all, the most useful first; `room` is what each limit has left."""
    while True:
        best: tuple[float, int, int] | None = None
        for n, each in enumerate(plans):
            more = max(each.cases + 1, least(each))
            if more > before[n] or any(
                (more - each.cases) * weight(each, code) > left + 1e-9
                for code, left in room.items()
            ):
                continue
            saved = (cost(each, each.cases) - cost(each, more)) / (more - each.cases)
            if saved > 1e-9 and (best is None or saved > best[0]):
                best = saved, n, more
        if best is None:
            return
        _, n, more = best
        for code in room:
            room[code] -= (more - plans[n].cases) * weight(plans[n], code)
        plans[n].cases = more


def settled(made: Plan) -> Proposal:
    """A plan as a proposal."""
    rules, units = made.line.rules, made.cases * made.line.rules.case_units
    made.reason.append(
        {
            "code": "cases" if made.cases else "nothing",
            "cases": made.cases,
            "case_units": rules.case_units,
            "units": units,
        }
    )
    yen = expected_cost(made.needed, units, rules.shortage_cost, rules.left_cost)
    return Proposal(made.line.key, made.cases, units, made.reason, made.moves, made.left, yen)


# ---- beside the rule -----------------------------------------------------------------------------------------------


def simple(usual: float, rules: ItemRules, stock: Stock | None) -> int:
    """Units that the simplest rule would order: a usual week's, less what a usual week leaves of the stock, in the nearest whole cases."""
    left = max(0.0, stock.on_hand + stock.on_order - usual) if stock is not None else 0.0
    return round(max(0.0, usual - left) / rules.case_units) * rules.case_units


def unusual(
    proposal: Proposal, demand: Demand, recent: Sequence[float], threshold: float
) -> tuple[float, list[Reason]]:
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
    for each in proposal.reason:
        cut = each["code"] in SHARED_LIMITS and each["cases"] < each["wanted"] * (1 - threshold)
        if cut or each["code"] in OWN_LIMITS:
            why.append({"code": f"at_{each['code']}"})
            score = max(score, 1.0)
    return score, why
