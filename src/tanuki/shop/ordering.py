"""The ordering rule: from quantiles of demand, costs, stock and limits to whole cases; pure.

Periodic review with an order-up-to level: the (R, S) rule of Silver, Pyke and Thomas (2017),
Inventory and Production Management in Supply Chains. The order arrives on the target week's Monday.
Before it lies the buffer week, whose sales are not known yet.

Units left over from the buffer week: max(0, on hand + on order - its demand).
Net requirement of the target week: its demand less that, which is
min(demand of the target week, demand of both weeks - on hand - on order).

A unit short costs `ItemRules.shortage_cost`, a unit left over `ItemRules.overage_cost`. The best
quantity is the newsvendor's: the quantile shortage / (shortage + overage) of the net requirement
(Arrow, Harris and Marschak, 1951, Optimal Inventory Policy, Econometrica 19).

docs/decisions/ordering.md explains each formula. Quantities are units unless a name says cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import ceil, floor
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tanuki.shop.forecasting.forecaster import NORMAL_SCORES, QUANTILE_LEVELS
from tanuki.shop.tables import DEFAULT_LEFTOVER_COST_YEN, DEFAULT_RULES, DEFAULT_SHORTAGE_COST_YEN

Numbers = NDArray[np.float64]
Reason = dict[str, Any]

Q10, Q90 = QUANTILE_LEVELS.index(0.10), QUANTILE_LEVELS.index(0.90)
NORMAL = NormalDist()
# Deliveries come on Mondays, so the age of stock on a Monday is a multiple of a week.
DAYS_PER_WEEK, DAYS_PER_TWO_WEEKS = 7, 14
MIN_WEEK_CORRELATION, MAX_WEEK_CORRELATION = -0.2, 0.98  # of the two weeks' demand
# Codes of reasons: limits of one item, and limits that the items of a store share.
ITEM_LIMIT_CODES = ("maximum", "minimum", "below_minimum", "shelf_minimum")
STORE_LIMIT_CODES = ("truck", "space")
ROUNDING_UNITS = 1e-9  # differences that only floating point makes

# Equally likely pairs of weeks, as normal scores: a Fibonacci lattice, whose points are spread
# evenly over the square and over each of its sides (987 and 610 are Fibonacci numbers).
LATTICE_POINTS, LATTICE_STEP = 987, 610
BUFFER_SCORES = np.array(
    [NORMAL.inv_cdf((n + 0.5) / LATTICE_POINTS) for n in range(LATTICE_POINTS)]
)
TARGET_SCORES = BUFFER_SCORES[np.arange(LATTICE_POINTS) * LATTICE_STEP % LATTICE_POINTS]


@dataclass(frozen=True)
class Demand:
    """The demand of one week, or of two weeks together.

    quantiles: at QUANTILE_LEVELS, non-decreasing.
    """

    mean: float
    quantiles: tuple[float, ...]

    def quantile_at(self, level: float) -> float:
        """The quantile at any level.

        Between two known levels the distribution counts as normal; beyond the outermost levels
        their quantiles are given.
        """
        level = min(max(level, QUANTILE_LEVELS[0]), QUANTILE_LEVELS[-1])
        return float(np.interp(NORMAL.inv_cdf(level), NORMAL_SCORES, self.quantiles))


@dataclass(frozen=True)
class ItemRules:
    """How an item is ordered, and its costs in yen a unit.

    leftover_cost: of a unit that cannot be sold any more.
    holding_share: the cost of a unit that can still be sold next week, as a share of leftover_cost.
    min_service: the smallest probability that the order is enough for the week.
    """

    case_units: int = 1
    min_cases: int = 0
    max_cases: int | None = None
    shelf_life_days: int | None = None
    shortage_cost: float = DEFAULT_SHORTAGE_COST_YEN
    leftover_cost: float = DEFAULT_LEFTOVER_COST_YEN
    holding_share: float = DEFAULT_RULES["holding"]
    min_service: float = 0.0

    @property
    def overage_cost(self) -> float:
        """Yen of a unit left over on the target week's Sunday.

        The whole leftover cost, or the holding share of it where the unit keeps all of the next
        week.
        """
        keeps = self.shelf_life_days is None or self.shelf_life_days >= DAYS_PER_TWO_WEEKS
        return self.leftover_cost * (self.holding_share if keeps else 1.0)

    @property
    def critical_ratio(self) -> float:
        """The share of weeks in which the order should be enough: by cost, at least min_service."""
        costs = self.shortage_cost + self.overage_cost
        return max(self.shortage_cost / costs if costs else 0.5, self.min_service)


@dataclass(frozen=True)
class Stock:
    """Stock of unknown age: on hand on the cut-off's evening, and due on the buffer Monday."""

    on_hand: float
    on_order: float


@dataclass(frozen=True)
class OrderInput:
    """One item of one store. Without stock the proposal is the quantity to have for the week."""

    key: str
    buffer: Demand
    target: Demand
    two_weeks: Demand
    rules: ItemRules
    stock: Stock | None


@dataclass(frozen=True)
class StoreLimits:
    """The limits that a store's items share; None: no limit.

    shelf_units: units that fit on its shelves on the target week's Monday.
    truck_cases: cases that one delivery brings.
    """

    shelf_units: int | None = None
    truck_cases: int | None = None


@dataclass(frozen=True)
class Proposal:
    """Whole cases, the units in them, and the reasons.

    contributions: units by code (safety, stock, rounding, and each limit that binds). With the mean
    of the target week they add up to `units`.
    leftover_units: units expected to be left over when the target week begins.
    expected_cost: yen of the expected shortages and leftovers of the target week.
    """

    key: str
    cases: int
    units: int
    reasons: list[Reason]
    contributions: dict[str, float]
    leftover_units: float
    expected_cost: float


def propose_orders(
    lines: Sequence[OrderInput], limits: StoreLimits | None = None
) -> list[Proposal]:
    """The cases of one store's items, in their order, at the least cost within the limits."""
    plans = [plan_line(line) for line in lines]
    if limits is not None:
        apply_store_limits(plans, limits)
    return [finish_proposal(plan) for plan in plans]


# ---- one item ------------------------------------------------------------------------------------


@dataclass(eq=False)
class LinePlan:
    """A line on its way to a proposal.

    requirements: the net requirement in equally likely cases, ascending.
    target_units: the best quantity before rounding to cases. cases: the number in force so far.
    """

    line: OrderInput
    requirements: Numbers
    leftover_units: float
    target_units: float
    cases: int = 0
    reasons: list[Reason] = field(default_factory=list)
    contributions: dict[str, float] = field(default_factory=dict)

    def set_cases(self, code: str, cases: int) -> None:
        """Change the number of cases, and put the difference down to `code`."""
        change = (cases - self.cases) * self.line.rules.case_units
        self.contributions[code] = self.contributions.get(code, 0.0) + change
        self.cases = cases


def plan_line(line: OrderInput) -> LinePlan:
    """The cases of one item within its own limits, as if it were alone in the store."""
    requirements, leftover, expired = compute_net_requirements(line)
    rules, mean = line.rules, line.target.mean
    ratio = rules.critical_ratio
    positions = np.arange(LATTICE_POINTS)
    quantile = float(np.interp(ratio * LATTICE_POINTS - 0.5, positions, requirements))
    units = max(0.0, quantile)
    safety = quantile + leftover - mean
    plan = LinePlan(
        line,
        requirements,
        leftover,
        units,
        contributions={"safety": safety, "stock": units - mean - safety},
    )
    low, high = line.target.quantiles[Q10], line.target.quantiles[Q90]
    plan.reasons += [
        {"code": "demand", "mean": mean, "low": low, "high": high},
        {"code": "service", "ratio": ratio, "units": mean + safety},
    ]
    if line.stock is None:
        plan.reasons.append({"code": "stock_unknown"})
    else:
        if expired > 0:
            plan.reasons.append(
                {"code": "expires", "units": expired, "days": rules.shelf_life_days}
            )
        plan.reasons.append(
            {
                "code": "stock",
                "on_hand": line.stock.on_hand,
                "on_order": line.stock.on_order,
                "buffer": line.buffer.mean,
                "left": leftover,
            }
        )
    plan.cases = choose_cases(plan)
    plan.contributions["rounding"] = plan.cases * rules.case_units - units
    apply_item_limits(plan)
    return plan


def compute_net_requirements(line: OrderInput) -> tuple[Numbers, float, float]:
    """The net requirement of the target week, on LATTICE_POINTS equally likely pairs of weeks.

    Gives the requirements, ascending (below zero where more is left over than the week sells), the
    units expected to be left over when the week begins, and those expected to be too old by then.
    """
    if line.stock is None:
        return np.interp(BUFFER_SCORES, NORMAL_SCORES, line.target.quantiles), 0.0, 0.0
    rho = estimate_week_correlation(line)
    target_scores = rho * BUFFER_SCORES + (1 - rho**2) ** 0.5 * TARGET_SCORES
    buffer = np.interp(BUFFER_SCORES, NORMAL_SCORES, line.buffer.quantiles)
    target = np.interp(target_scores, NORMAL_SCORES, line.target.quantiles)
    leftover, expired = carry_stock(line.rules, line.stock, buffer)
    return np.sort(target - leftover), float(leftover.mean()), float(expired.mean())


def estimate_week_correlation(line: OrderInput) -> float:
    """The correlation of the two weeks' demand, from var(a + b) = var(a) + var(b) + 2 cov(a, b)."""
    buffer, target, two_weeks = (
        float(np.std(np.interp(BUFFER_SCORES, NORMAL_SCORES, demand.quantiles)))
        for demand in (line.buffer, line.target, line.two_weeks)
    )
    if buffer * target <= 0:
        return 0.0
    rho = (two_weeks**2 - buffer**2 - target**2) / (2 * buffer * target)
    return min(max(rho, MIN_WEEK_CORRELATION), MAX_WEEK_CORRELATION)


def carry_stock(rules: ItemRules, stock: Stock, buffer: Numbers) -> tuple[Numbers, Numbers]:
    """Units left over after each of these buffer weeks: still fit for sale, and too old.

    The oldest are sold first. Stock on hand on Sunday is at least two weeks old on the target
    week's Monday, so an item that keeps no longer cannot be counted on. What arrives on the buffer
    week's Monday is then a week old: it counts unless the item keeps a week or less.
    """
    old = np.maximum(0.0, stock.on_hand - buffer)
    fresh = np.maximum(0.0, stock.on_order - np.maximum(0.0, buffer - stock.on_hand))
    nothing = np.zeros_like(buffer)
    if rules.shelf_life_days is None or rules.shelf_life_days > DAYS_PER_TWO_WEEKS:
        return old + fresh, nothing
    return (fresh, old) if rules.shelf_life_days > DAYS_PER_WEEK else (nothing, old + fresh)


def choose_cases(plan: LinePlan) -> int:
    """Of the two whole numbers of cases around the best quantity, the cheaper one.

    The smaller one must reach the minimum service. When both cost the same, the larger one.
    """
    rules = plan.line.rules
    few, many = (
        floor(plan.target_units / rules.case_units),
        ceil(plan.target_units / rules.case_units),
    )
    served = float(np.mean(plan.requirements <= few * rules.case_units + ROUNDING_UNITS))
    cheaper = compute_planning_cost(plan, few) < compute_planning_cost(plan, many)
    return few if cheaper and served >= rules.min_service - 1 / LATTICE_POINTS else many


def compute_planning_cost(plan: LinePlan, cases: int) -> float:
    """The expected yen that the rule minimises.

    A shortage costs at least as much as makes min_service the critical ratio.
    """
    rules = plan.line.rules
    ratio = rules.min_service
    service_cost = rules.overage_cost * ratio / (1 - ratio) if ratio < 1 else 0.0
    return compute_expected_cost(
        plan.requirements,
        cases * rules.case_units,
        max(rules.shortage_cost, service_cost),
        rules.overage_cost,
    )


def compute_expected_cost(
    requirements: Numbers, units: float, shortage_cost: float, overage_cost: float
) -> float:
    """Yen of the expected shortages and leftovers when so many units arrive."""
    over = units - requirements
    over_sum = float(np.maximum(over, 0.0).sum())
    short_sum = over_sum - float(over.sum())
    return (overage_cost * over_sum + shortage_cost * short_sum) / len(requirements)


def apply_item_limits(plan: LinePlan) -> None:
    """Bring the cases within the item's shelf life, minimum and maximum; the maximum wins.

    Fewer cases than the minimum become the minimum or none, whichever is expected to cost less.
    Each limit that binds adds its reason.
    """
    rules, days = plan.line.rules, plan.line.rules.shelf_life_days
    sellable_cases = None
    if days is not None:
        later_weeks = max(1, days // DAYS_PER_WEEK) - 1
        units = float(plan.requirements[-1]) + later_weeks * plan.line.target.quantiles[-1]
        sellable_cases = ceil(max(0.0, units) / rules.case_units)
    if 0 < plan.cases < rules.min_cases:
        keeps = sellable_cases is None or rules.min_cases <= sellable_cases
        if keeps and compute_planning_cost(plan, rules.min_cases) <= compute_planning_cost(plan, 0):
            plan.reasons.append({"code": "minimum", "cases": rules.min_cases})
            plan.set_cases("minimum", rules.min_cases)
        else:
            code = "below_minimum" if keeps else "shelf_minimum"
            plan.reasons.append({"code": code, "cases": rules.min_cases, "days": days})
            plan.set_cases("minimum", 0)
    if rules.max_cases is not None and plan.cases > rules.max_cases:
        plan.reasons.append({"code": "maximum", "cases": rules.max_cases, "needed": plan.cases})
        plan.set_cases("maximum", rules.max_cases)


# ---- limits that items share ---------------------------------------------------------------------


def apply_store_limits(plans: list[LinePlan], limits: StoreLimits) -> None:
    """Drop the cases that are worth least, until the truck and then the shelves hold the rest.

    A line's expected cost is convex in its cases. So dropping one case after the other is optimal
    for the truck, and for the shelves where all cases have one size. With different sizes, minimums
    or both limits it is near the optimum, and cases that fit after all are restored.
    """
    bounds: dict[str, int] = {}
    for code, bound in (("truck", limits.truck_cases), ("space", limits.shelf_units)):
        if bound is None:
            continue
        before = [plan.cases for plan in plans]
        drop_cases(plans, code, bound)
        bounds[code] = bound
        room = {name: most - sum_capacity(plans, name) for name, most in bounds.items()}
        restore_cases(plans, before, room)
        for plan, cases in zip(plans, before, strict=True):
            limited, plan.cases = plan.cases, cases
            if limited < cases:
                plan.reasons.append({"code": code, "cases": limited, "needed": cases})
                plan.set_cases(code, limited)


def capacity_per_case(plan: LinePlan, code: str) -> int:
    """What one case takes of a limit: one case of the truck, its units of the shelves."""
    return 1 if code == "truck" else plan.line.rules.case_units


def sum_capacity(plans: Sequence[LinePlan], code: str) -> float:
    """What the plans take of a limit; expected leftovers take shelf space, too."""
    ordered = sum(plan.cases * capacity_per_case(plan, code) for plan in plans)
    leftover = sum(plan.leftover_units for plan in plans) if code == "space" else 0.0
    return ordered + leftover


def min_order_cases(plan: LinePlan) -> int:
    """The smallest order of the item that is not zero."""
    rules = plan.line.rules
    return max(
        1, rules.min_cases if rules.max_cases is None else min(rules.min_cases, rules.max_cases)
    )


def drop_cases(plans: list[LinePlan], code: str, bound: float) -> None:
    """Drop cases, each time where a unit of the limit costs least, until the limit is kept."""

    def step(n: int) -> tuple[float, int, int]:
        plan = plans[n]
        fewer = plan.cases - 1 if plan.cases > min_order_cases(plan) else 0
        loss = compute_planning_cost(plan, fewer) - compute_planning_cost(plan, plan.cases)
        return loss / ((plan.cases - fewer) * capacity_per_case(plan, code)), n, fewer

    over = sum_capacity(plans, code) - bound
    steps = [step(n) for n, plan in enumerate(plans) if plan.cases]
    heapify(steps)
    while over > ROUNDING_UNITS and steps:
        _, n, fewer = heappop(steps)
        over -= (plans[n].cases - fewer) * capacity_per_case(plans[n], code)
        plans[n].cases = fewer
        if fewer:
            heappush(steps, step(n))


def restore_cases(plans: list[LinePlan], before: list[int], room: dict[str, float]) -> None:
    """Restore cases that fit after all, the most valuable first. `room`: left of each limit."""
    while True:
        best: tuple[float, int, int] | None = None
        for n, plan in enumerate(plans):
            more = max(plan.cases + 1, min_order_cases(plan))
            if more > before[n] or any(
                (more - plan.cases) * capacity_per_case(plan, code) > left + ROUNDING_UNITS
                for code, left in room.items()
            ):
                continue
            saved = compute_planning_cost(plan, plan.cases) - compute_planning_cost(plan, more)
            saved_per_case = saved / (more - plan.cases)
            if saved_per_case > ROUNDING_UNITS and (best is None or saved_per_case > best[0]):
                best = saved_per_case, n, more
        if best is None:
            return
        _, n, more = best
        for code in room:
            room[code] -= (more - plans[n].cases) * capacity_per_case(plans[n], code)
        plans[n].cases = more


def finish_proposal(plan: LinePlan) -> Proposal:
    """The proposal of a plan, with its last reason and its expected cost."""
    rules, units = plan.line.rules, plan.cases * plan.line.rules.case_units
    plan.reasons.append(
        {
            "code": "cases" if plan.cases else "nothing",
            "cases": plan.cases,
            "case_units": rules.case_units,
            "units": units,
        }
    )
    return Proposal(
        key=plan.line.key,
        cases=plan.cases,
        units=units,
        reasons=plan.reasons,
        contributions=plan.contributions,
        leftover_units=plan.leftover_units,
        expected_cost=compute_expected_cost(
            plan.requirements, units, rules.shortage_cost, rules.overage_cost
        ),
    )


# ---- baseline ------------------------------------------------------------------------------------


def compute_baseline_order(usual: float, rules: ItemRules, stock: Stock | None) -> int:
    """Units that the simplest rule would order, as a baseline for the costs.

    The usual week's sales, less the stock that it leaves over, in the nearest whole cases.
    """
    left = max(0.0, stock.on_hand + stock.on_order - usual) if stock is not None else 0.0
    return round(max(0.0, usual - left) / rules.case_units) * rules.case_units
