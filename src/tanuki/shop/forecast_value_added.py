"""What people's changes were worth, and whose help: the forecast value added of each change, with its uncertainty and what follows from it.

A line goes proposed → as the analyst's check left it → as the manager's confirmation left it. What a stage was worth is the cost before it
less the cost after it, on the units that were there to sell (Gilliland 2010, The Business Forecasting Deal: forecast value added).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.platform.accounts import Person
from tanuki.shop import evaluation, rules
from tanuki.shop.store_access import stores_of
from tanuki.shop.tables import Change, Evaluation, Item, OrderLine

WEEKS = 52  # evaluated weeks that count
STAGES = ("check", "confirm")
DRAWS = 2000
LEAST_CHANGES, LEAST_WEEKS = 20, 6  # fewer say nothing: an interval from fewer weeks is too narrow
LOW, HIGH = 5.0, 95.0  # percentiles of the 90 % interval
SOLD_OUT = 0.5  # units: nearer than this, sales stopped because nothing was left


@dataclass(frozen=True)
class Touch:
    """Who changed a line last at a stage, and the cases that it then had."""

    by: str
    cases: int


@dataclass(frozen=True)
class Line:
    """An evaluated line with what people made of it. `there` are units in stock before the order came."""

    week: str
    store: str
    item: str
    case_units: int
    proposed_cases: int
    touched: dict[str, Touch]  # by stage
    actual: float
    forecast: float
    there: float
    available: float
    shortage_cost: float
    leftover_cost: float


@dataclass(frozen=True)
class Changed:
    """One person's change of one line, and what it saved (below zero: what it cost)."""

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
class Value:
    """Changes added up under one key. Yen a change with a 90 % interval, and the advice: keep, stop or not_enough."""

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
    advice: str


KEYS: dict[str, Callable[[Changed], str]] = {
    "person": lambda each: each.person,
    "stage": lambda each: each.stage,
    "item": lambda each: each.item,
    "store": lambda each: each.store,
}


def worth_of(line: Line) -> list[Changed]:
    """What each stage that left another number was worth. All of a line's changes add up to the cost as proposed less the cost as ordered.

    A line that sold out says only that at least so much would have sold: then the forecast counts where it was more, so that ordering less
    does not look free.
    """
    sold_out = abs(line.actual - line.available) < SOLD_OUT
    wanted = max(line.actual, line.forecast) if sold_out else line.actual
    found, before = [], line.proposed_cases
    for stage in STAGES:
        touch = line.touched.get(stage)
        if touch is None or touch.cases == before:
            continue
        costs = [
            evaluation.outcome(
                line.there + cases * line.case_units, wanted, line.shortage_cost, line.leftover_cost
            ).cost
            for cases in (before, touch.cases)
        ]
        found.append(
            Changed(
                week=line.week,
                store=line.store,
                item=line.item,
                stage=stage,
                person=touch.by,
                before_units=before * line.case_units,
                after_units=touch.cases * line.case_units,
                saved_yen=costs[0] - costs[1],
                sold_out=sold_out,
            )
        )
        before = touch.cases
    return found


def valued(changes: Sequence[Changed], by: str, *, seed: int = 1) -> list[Value]:
    """Changes added up by "person", "stage", "item" or "store", the most saved first."""
    groups: dict[str, list[Changed]] = {}
    for change in changes:
        groups.setdefault(KEYS[by](change), []).append(change)
    return sorted(
        (added_up(by, key, group, seed) for key, group in groups.items()),
        key=lambda value: (-value.saved_yen, value.key),
    )


def added_up(by: str, key: str, changes: Sequence[Changed], seed: int) -> Value:
    """One group of changes as one."""
    saved = sum(change.saved_yen for change in changes)
    weeks = len({change.week for change in changes})
    low, high = interval(changes, seed)
    enough = (
        len(changes) >= LEAST_CHANGES
        and weeks >= LEAST_WEEKS
        and low is not None
        and high is not None
    )
    return Value(
        by=by,
        key=key,
        changes=len(changes),
        weeks=weeks,
        helped=sum(change.saved_yen > 0 for change in changes),
        hurt=sum(change.saved_yen < 0 for change in changes),
        sold_out=sum(change.sold_out for change in changes),
        saved_yen=saved,
        per_change_yen=saved / len(changes),
        low_yen=low,
        high_yen=high,
        advice="keep"
        if enough and low is not None and low > 0
        else "stop"
        if enough and high is not None and high < 0
        else "not_enough",
    )


def interval(changes: Sequence[Changed], seed: int) -> tuple[float | None, float | None]:
    """The 90 % interval of yen a change, by drawing whole weeks again: lines of one week share its weather. None from a single week."""
    weeks = sorted({change.week for change in changes})
    if len(weeks) < 2:
        return None, None
    place = {week: n for n, week in enumerate(weeks)}
    of = [place[change.week] for change in changes]
    sums, counts = (
        np.bincount(of, weights=[change.saved_yen for change in changes]),
        np.bincount(of),
    )
    drawn = np.random.default_rng(seed).multinomial(
        len(weeks), np.full(len(weeks), 1 / len(weeks)), size=DRAWS
    )
    mean = sums.sum() / counts.sum()
    wider = (
        len(weeks) / (len(weeks) - 1)
    ) ** 0.5  # drawing again from few weeks spreads too little
    means = mean + ((drawn @ sums) / (drawn @ counts) - mean) * wider
    low, high = np.percentile(means, [LOW, HIGH])
    return float(low), float(high)


# ---- from the records ----------------------------------------------------------------------------------------------


def changes(db: Session, who: Person) -> list[Changed]:
    """What people's changes in the last year's evaluated weeks were worth, within the stores this person may see; newest week first."""
    stores = stores_of(db, who)
    weeks = list(
        db.scalars(select(Evaluation.week).distinct().order_by(Evaluation.week.desc()).limit(WEEKS))
    )
    touched: dict[tuple[str, str, str], dict[str, Touch]] = {}
    for change in db.scalars(
        select(Change).where(Change.week.in_(weeks), Change.store.in_(stores)).order_by(Change.id)
    ):
        touched.setdefault((change.week, change.store, change.item), {})[change.stage] = Touch(
            change.by, change.after_cases
        )
    if not touched:
        return []
    chain = rules.get(db)
    costs = {item.code: evaluation.costs_of(item, chain) for item in db.scalars(select(Item))}
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
    found = []
    for row, case_units, proposed in db.execute(query):
        found += worth_of(
            Line(
                week=row.week,
                store=row.store,
                item=row.item,
                case_units=case_units,
                proposed_cases=proposed,
                touched=touched[row.week, row.store, row.item],
                actual=row.actual,
                forecast=row.forecast,
                there=row.available_units - row.ordered_units,
                available=row.available_units,
                shortage_cost=costs[row.item][0],
                leftover_cost=costs[row.item][1],
            )
        )
    return found
