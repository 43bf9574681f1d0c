"""What a week's orders were worth, once its sales are known: units short and left, yen, and the three zones."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, UserError
from tanuki.platform.accounts import Person
from tanuki.platform.warehouse import Warehouse
from tanuki.shop import rules
from tanuki.shop.calendar import Week
from tanuki.shop.ingest.loading import SALES, STOCK
from tanuki.shop.orders import cycle, locked
from tanuki.shop.proposals import rules_of
from tanuki.shop.store_access import stores_of
from tanuki.shop.tables import Evaluation, Forecast, Item, OrderLine, Rules


@dataclass(frozen=True)
class Outcome:
    """What came of so many units being there: units short and left, and their cost in yen."""

    shortage: float
    leftover: float
    cost: float


def outcome(available: float, actual: float, shortage_cost: float, leftover_cost: float) -> Outcome:
    """What `available` units were worth against `actual` sales."""
    shortage, leftover = max(0.0, actual - available), max(0.0, available - actual)
    return Outcome(shortage, leftover, shortage * shortage_cost + leftover * leftover_cost)


def zone(result: Outcome, actual: float, limits: Rules) -> str:
    """The talk's three zones: too_little is risky, too_much is tolerable, within is within tolerance."""
    if result.shortage > limits.too_little * actual:
        return "too_little"
    return "too_much" if result.leftover > limits.too_much * actual else "within"


def complete(db: Session, warehouse: Warehouse, week: Week, now: datetime) -> bool:
    """Whether sales of all the week's stores have arrived up to its Sunday."""
    sales = warehouse.read(db, SALES, as_of=now, where="date = ?", params=(week.sunday,))
    stores = set(db.scalars(select(OrderLine.store).where(OrderLine.week == str(week)).distinct()))
    return bool(stores) and stores <= set(sales["store"].unique())


def evaluate(db: Session, warehouse: Warehouse, week: Week, now: datetime) -> list[Evaluation]:
    """Evaluate every line of an ordered week; done again (after corrected sales), it replaces what was there.

    What could be sold is what was ordered plus, where stock is on record, what was on hand on the Sunday before.
    Raises UserError when the week's sales are not all there.
    """
    found = locked(db, week)
    if found.state not in ("ordered", "evaluated"):
        raise Conflict(
            "%(week)s is %(state)s; only an ordered week can be evaluated.",
            week=week,
            state=found.state,
        )
    if not complete(db, warehouse, week, now):
        raise UserError(
            "The sales of %(week)s are not all there; expected every store up to %(day)s.",
            week=week,
            day=week.sunday,
        )
    actual = by_key(
        warehouse.read(
            db, SALES, as_of=now, where="date between ? and ?", params=(week.monday, week.sunday)
        )
    )
    stock = by_key(
        warehouse.read(db, STOCK, as_of=now, where="date = ?", params=(week.buffer.sunday,))
    )
    items = {item.code: item for item in db.scalars(select(Item))}
    means = {
        (forecast.store, forecast.item): forecast.mean
        for forecast in db.scalars(
            select(Forecast).where(Forecast.cycle == str(week), Forecast.week == str(week))
        )
    }
    limits = rules.get(db)
    db.execute(delete(Evaluation).where(Evaluation.week == str(week)))
    made = []
    for line in db.scalars(
        select(OrderLine)
        .where(OrderLine.week == str(week))
        .order_by(OrderLine.store, OrderLine.item)
    ):
        key = (line.store, line.item)
        costs = costs_of(items[line.item], limits)
        sold, there = actual.get(key, 0.0), stock.get(key, 0.0)
        ordered, proposed = line.cases * line.case_units, line.proposed_cases * line.case_units
        result = outcome(there + ordered, sold, *costs)
        made.append(
            Evaluation(
                week=str(week),
                store=line.store,
                item=line.item,
                actual=sold,
                forecast=means[key],
                proposed_units=proposed,
                ordered_units=ordered,
                available_units=there + ordered,
                shortage_units=result.shortage,
                leftover_units=result.leftover,
                cost_yen=result.cost,
                proposed_cost_yen=outcome(there + proposed, sold, *costs).cost,
                expected_cost_yen=line.expected_cost_yen,
                floor_cost_yen=outcome(there + line.floor_units, sold, *costs).cost,
                zone=zone(result, sold, limits),
                at=now,
            )
        )
    db.add_all(made)
    found.state, found.evaluated_at = "evaluated", now
    db.flush()
    return made


def costs_of(item: Item, chain: Rules) -> tuple[float, float]:
    """Yen of a unit short and of a unit left, as the ordering rule counts them: what can still be sold next week is not lost."""
    counted = rules_of(item, chain)
    return counted.shortage_cost, counted.left_cost


def by_key(frame: Any) -> dict[tuple[str, str], float]:
    """Units summed by store and item. Frame: store, item, units."""
    import polars as pl

    rows = frame.group_by("store", "item").agg(pl.col("units").sum())
    return {
        (store, item): float(units)
        for store, item, units in rows.select("store", "item", "units").iter_rows()
    }


def evaluations(
    db: Session,
    who: Person,
    week: Week | None = None,
    *,
    store: str | None = None,
    item: str | None = None,
) -> list[Evaluation]:
    """Evaluated lines this person may see, newest week first; all weeks unless one is given."""
    query = select(Evaluation).where(Evaluation.store.in_(stores_of(db, who)))
    if week is not None:
        cycle(db, week)
        query = query.where(Evaluation.week == str(week))
    if store is not None:
        query = query.where(Evaluation.store == store)
    if item is not None:
        query = query.where(Evaluation.item == item)
    return list(
        db.scalars(
            query.order_by(Evaluation.week.desc(), Evaluation.store, Evaluation.item).limit(20_000)
        )
    )


@dataclass(frozen=True)
class Worth:
    """Evaluated lines added up. `wape` and `fill_rate` are shares; units and yen otherwise."""

    key: str
    lines: int
    actual: float
    wape: float
    bias: float
    shortage_units: float
    leftover_units: float
    fill_rate: float
    cost_yen: float
    proposed_cost_yen: float
    within: int
    too_much: int
    too_little: int


def worth(rows: list[Evaluation], by: str) -> list[Worth]:
    """Evaluated lines added up by "week", "store", "item" or "all", in that key's order."""
    groups: dict[str, list[Evaluation]] = {}
    for row in rows:
        groups.setdefault("all" if by == "all" else str(getattr(row, by)), []).append(row)
    return [added_up(key, group) for key, group in sorted(groups.items())]


def added_up(key: str, rows: list[Evaluation]) -> Worth:
    """One group of evaluated lines as one."""
    actual = sum(row.actual for row in rows)
    shortage = sum(row.shortage_units for row in rows)
    return Worth(
        key=key,
        lines=len(rows),
        actual=actual,
        wape=sum(abs(row.forecast - row.actual) for row in rows) / actual if actual else 0.0,
        bias=sum(row.forecast - row.actual for row in rows) / actual if actual else 0.0,
        shortage_units=shortage,
        leftover_units=sum(row.leftover_units for row in rows),
        fill_rate=1 - shortage / actual if actual else 1.0,
        cost_yen=sum(row.cost_yen for row in rows),
        proposed_cost_yen=sum(row.proposed_cost_yen for row in rows),
        within=sum(row.zone == "within" for row in rows),
        too_much=sum(row.zone == "too_much" for row in rows),
        too_little=sum(row.zone == "too_little" for row in rows),
    )
