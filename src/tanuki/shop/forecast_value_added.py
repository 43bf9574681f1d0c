"""Forecast value added: what people's changes of order lines saved or cost, with its uncertainty.

A line goes from the proposal over the analyst's check to the manager's confirmation. The value of a
stage is the cost before it less the cost after it, on the units that were available for sale
(Gilliland 2010, The Business Forecasting Deal).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.platform.accounts import Person
from tanuki.shop import evaluation, rules
from tanuki.shop.evaluation import UnitCosts
from tanuki.shop.store_access import list_visible_stores
from tanuki.shop.tables import Change, ChangeStage, Evaluation, Item, OrderLine

MAX_EVALUATED_WEEKS = 52
BOOTSTRAP_DRAWS = 2000
MIN_CHANGES, MIN_WEEKS = 20, 6  # with fewer weeks the interval is too narrow for an advice
LOW_PERCENTILE, HIGH_PERCENTILE = 5.0, 95.0  # of the 90 % interval
SOLD_OUT_MARGIN_UNITS = 0.5  # sales this near to the available units ended because of them


class Advice(StrEnum):
    """What follows from the interval of yen a change."""

    KEEP = "keep"  # it lies above zero
    STOP = "stop"  # it lies below zero
    NOT_ENOUGH = "not_enough"  # it holds zero, or there are too few changes


@dataclass(frozen=True)
class Override:
    """A person's last change of a line at one stage, and the cases that it left."""

    by: str
    cases: int


@dataclass(frozen=True)
class Quantities:
    """The units of an evaluated line. stock: on hand before the order came."""

    actual: float
    forecast: float
    stock: float
    available: float


@dataclass(frozen=True)
class EvaluatedLine:
    """An evaluated line with people's overrides by stage."""

    week: str
    store: str
    item: str
    case_units: int
    proposed_cases: int
    overrides: dict[str, Override]
    units: Quantities
    costs: UnitCosts


@dataclass(frozen=True)
class OverrideEffect:
    """One person's change of one line, and the yen that it saved (below zero: cost)."""

    week: str
    store: str
    item: str
    stage: str
    person: str
    before_units: int
    after_units: int
    saved_yen: float
    sold_out: bool


@dataclass(frozen=True)
class FvaSummary:
    """Effects added up under one key; yen a change with a 90 % interval, and the advice."""

    by: str
    key: str
    changes: int
    weeks: int
    helped: int
    hurt: int
    sold_out: int
    saved_yen: float
    per_change_yen: float
    low_yen: float | None
    high_yen: float | None
    advice: Advice


GROUP_KEYS: dict[str, Callable[[OverrideEffect], str]] = {
    "person": lambda effect: effect.person,
    "stage": lambda effect: effect.stage,
    "item": lambda effect: effect.item,
    "store": lambda effect: effect.store,
}


def measure_overrides(line: EvaluatedLine) -> list[OverrideEffect]:
    """The effect of each stage that changed the number of cases.

    All effects of a line add up to the cost as proposed less the cost as ordered.

    A line that sold out shows only the smallest possible demand. Then the forecast counts as the
    demand where it is higher, or else ordering less would look free.
    """
    units = line.units
    sold_out = abs(units.actual - units.available) < SOLD_OUT_MARGIN_UNITS
    demand = max(units.actual, units.forecast) if sold_out else units.actual

    def cost(cases: int) -> float:
        available = units.stock + cases * line.case_units
        return evaluation.compute_outcome(available, demand, line.costs).cost

    effects, before = [], line.proposed_cases
    for stage in ChangeStage:
        override = line.overrides.get(stage)
        if override is None or override.cases == before:
            continue
        effects.append(
            OverrideEffect(
                week=line.week,
                store=line.store,
                item=line.item,
                stage=stage,
                person=override.by,
                before_units=before * line.case_units,
                after_units=override.cases * line.case_units,
                saved_yen=cost(before) - cost(override.cases),
                sold_out=sold_out,
            )
        )
        before = override.cases
    return effects


def summarise_overrides(
    effects: Sequence[OverrideEffect], by: str, *, seed: int = 1
) -> list[FvaSummary]:
    """Effects added up by a key of GROUP_KEYS, the most saved first."""
    groups: dict[str, list[OverrideEffect]] = {}
    for effect in effects:
        groups.setdefault(GROUP_KEYS[by](effect), []).append(effect)
    return sorted(
        (summarise_effects(by, key, group, seed) for key, group in groups.items()),
        key=lambda summary: (-summary.saved_yen, summary.key),
    )


def summarise_effects(
    by: str, key: str, effects: Sequence[OverrideEffect], seed: int
) -> FvaSummary:
    saved = sum(effect.saved_yen for effect in effects)
    weeks = len({effect.week for effect in effects})
    low, high = bootstrap_interval(effects, seed)
    advice = Advice.NOT_ENOUGH
    if len(effects) >= MIN_CHANGES and weeks >= MIN_WEEKS:
        if low is not None and low > 0:
            advice = Advice.KEEP
        elif high is not None and high < 0:
            advice = Advice.STOP
    return FvaSummary(
        by=by,
        key=key,
        changes=len(effects),
        weeks=weeks,
        helped=sum(effect.saved_yen > 0 for effect in effects),
        hurt=sum(effect.saved_yen < 0 for effect in effects),
        sold_out=sum(effect.sold_out for effect in effects),
        saved_yen=saved,
        per_change_yen=saved / len(effects),
        low_yen=low,
        high_yen=high,
        advice=advice,
    )


def bootstrap_interval(
    effects: Sequence[OverrideEffect], seed: int
) -> tuple[float | None, float | None]:
    """The 90 % interval of yen a change; None from a single week.

    Block bootstrap: whole weeks are drawn again, because the lines of one week share its weather.
    """
    weeks = sorted({effect.week for effect in effects})
    if len(weeks) < 2:
        return None, None
    positions = {week: n for n, week in enumerate(weeks)}
    week_numbers = [positions[effect.week] for effect in effects]
    sums = np.bincount(week_numbers, weights=[effect.saved_yen for effect in effects])
    counts = np.bincount(week_numbers)
    draws = np.random.default_rng(seed).multinomial(
        len(weeks), np.full(len(weeks), 1 / len(weeks)), size=BOOTSTRAP_DRAWS
    )
    mean = sums.sum() / counts.sum()
    # With n weeks the bootstrap's variance is (n - 1) / n of the true one.
    widening = (len(weeks) / (len(weeks) - 1)) ** 0.5
    means = mean + ((draws @ sums) / (draws @ counts) - mean) * widening
    low, high = np.percentile(means, [LOW_PERCENTILE, HIGH_PERCENTILE])
    return float(low), float(high)


# ---- from the records ----------------------------------------------------------------------------


def list_override_effects(db: Session, person: Person) -> list[OverrideEffect]:
    """Effects in the last MAX_EVALUATED_WEEKS evaluated weeks, newest week first.

    Within the stores that the person may see.
    """
    stores = list_visible_stores(db, person)
    weeks = list(
        db.scalars(
            select(Evaluation.week)
            .distinct()
            .order_by(Evaluation.week.desc())
            .limit(MAX_EVALUATED_WEEKS)
        )
    )
    overrides: dict[tuple[str, str, str], dict[str, Override]] = {}
    for change in db.scalars(
        select(Change).where(Change.week.in_(weeks), Change.store.in_(stores)).order_by(Change.id)
    ):
        stages = overrides.setdefault((change.week, change.store, change.item), {})
        stages[change.stage] = Override(change.by, change.after_cases)
    if not overrides:
        return []
    chain = rules.load_rules(db)
    costs = {item.code: evaluation.get_unit_costs(item, chain) for item in db.scalars(select(Item))}
    query = (
        select(Evaluation, OrderLine.case_units, OrderLine.proposed_cases)
        .join(
            OrderLine,
            (OrderLine.week == Evaluation.week)
            & (OrderLine.store == Evaluation.store)
            & (OrderLine.item == Evaluation.item),
        )
        .join(
            Change,
            (Change.week == Evaluation.week)
            & (Change.store == Evaluation.store)
            & (Change.item == Evaluation.item),
        )
        .where(Evaluation.week.in_(weeks), Evaluation.store.in_(stores))
        .order_by(Evaluation.week.desc(), Evaluation.store, Evaluation.item)
        .distinct()
    )
    effects = []
    for row, case_units, proposed_cases in db.execute(query):
        line = EvaluatedLine(
            week=row.week,
            store=row.store,
            item=row.item,
            case_units=case_units,
            proposed_cases=proposed_cases,
            overrides=overrides[row.week, row.store, row.item],
            units=Quantities(
                actual=row.actual,
                forecast=row.forecast,
                stock=row.available_units - row.ordered_units,
                available=row.available_units,
            ),
            costs=costs[row.item],
        )
        effects += measure_overrides(line)
    return effects
