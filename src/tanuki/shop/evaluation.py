"""The evaluation of a week's orders by its sales: units short and left over, yen, zone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, UserError
from tanuki.platform.accounts import Person
from tanuki.platform.warehouse import Warehouse
from tanuki.shop import rules
from tanuki.shop.calendar import Week
from tanuki.shop.ingest.loading import SALES, STOCK
from tanuki.shop.orders import get_cycle, lock_cycle
from tanuki.shop.proposals import make_item_rules
from tanuki.shop.store_access import list_visible_stores
from tanuki.shop.tables import CycleState, Evaluation, Forecast, Item, OrderLine, Rules, Zone

if TYPE_CHECKING:
    import polars as pl

MAX_EVALUATIONS = 20_000


class UnitCosts(NamedTuple):
    """Yen of a unit short and of a unit left over."""

    shortage: float
    overage: float


@dataclass(frozen=True)
class Outcome:
    """Units short and left over, and their cost in yen."""

    shortage: float
    leftover: float
    cost: float


def compute_outcome(available: float, actual: float, costs: UnitCosts) -> Outcome:
    """The outcome of `available` units where `actual` units were sold."""
    shortage, leftover = max(0.0, actual - available), max(0.0, available - actual)
    return Outcome(shortage, leftover, shortage * costs.shortage + leftover * costs.overage)


def classify_zone(outcome: Outcome, actual: float, chain: Rules) -> Zone:
    """The zone of an outcome by the chain's tolerances."""
    if outcome.shortage > chain.too_little * actual:
        return Zone.TOO_LITTLE
    return Zone.TOO_MUCH if outcome.leftover > chain.too_much * actual else Zone.WITHIN


def has_all_sales(db: Session, warehouse: Warehouse, week: Week, now: datetime) -> bool:
    """Whether every store of the week has sales on its Sunday."""
    sales = warehouse.read_facts(db, SALES, as_of=now, where="date = ?", params=(week.sunday,))
    stores = set(db.scalars(select(OrderLine.store).where(OrderLine.week == str(week)).distinct()))
    return bool(stores) and stores <= set(sales["store"].unique())


def evaluate_week(db: Session, warehouse: Warehouse, week: Week, now: datetime) -> list[Evaluation]:
    """Evaluate every line of an ordered week. A repeated evaluation replaces the first one.

    The units that could be sold are those ordered plus, where stock is on record, those on hand on
    the Sunday before. Raises UserError when sales of the week are missing.
    """
    cycle = lock_cycle(db, week)
    if cycle.state not in (CycleState.ORDERED, CycleState.EVALUATED):
        raise Conflict(
            "%(week)s is %(state)s; only an ordered week can be evaluated.",
            week=week,
            state=cycle.state,
        )
    if not has_all_sales(db, warehouse, week, now):
        raise UserError(
            "The sales of %(week)s are not all there; expected every store up to %(day)s.",
            week=week,
            day=week.sunday,
        )
    sales = sum_units_by_key(
        warehouse.read_facts(
            db, SALES, as_of=now, where="date between ? and ?", params=(week.monday, week.sunday)
        )
    )
    stock = sum_units_by_key(
        warehouse.read_facts(db, STOCK, as_of=now, where="date = ?", params=(week.buffer.sunday,))
    )
    items = {item.code: item for item in db.scalars(select(Item))}
    means = {
        (forecast.store, forecast.item): forecast.mean
        for forecast in db.scalars(
            select(Forecast).where(Forecast.cycle == str(week), Forecast.week == str(week))
        )
    }
    chain = rules.load_rules(db)
    db.execute(delete(Evaluation).where(Evaluation.week == str(week)))
    evaluations = []
    for line in db.scalars(
        select(OrderLine)
        .where(OrderLine.week == str(week))
        .order_by(OrderLine.store, OrderLine.item)
    ):
        key = (line.store, line.item)
        costs = get_unit_costs(items[line.item], chain)
        actual, on_hand = sales.get(key, 0.0), stock.get(key, 0.0)
        ordered, proposed = line.cases * line.case_units, line.proposed_cases * line.case_units
        outcome = compute_outcome(on_hand + ordered, actual, costs)
        evaluations.append(
            Evaluation(
                week=str(week),
                store=line.store,
                item=line.item,
                actual=actual,
                forecast=means[key],
                proposed_units=proposed,
                ordered_units=ordered,
                available_units=on_hand + ordered,
                shortage_units=outcome.shortage,
                leftover_units=outcome.leftover,
                cost_yen=outcome.cost,
                proposed_cost_yen=compute_outcome(on_hand + proposed, actual, costs).cost,
                expected_cost_yen=line.expected_cost_yen,
                baseline_cost_yen=compute_outcome(
                    on_hand + line.baseline_units, actual, costs
                ).cost,
                zone=classify_zone(outcome, actual, chain),
                at=now,
            )
        )
    db.add_all(evaluations)
    cycle.state, cycle.evaluated_at = CycleState.EVALUATED, now
    db.flush()
    return evaluations


def get_unit_costs(item: Item, chain: Rules) -> UnitCosts:
    """The costs by which the ordering rule orders the item."""
    item_rules = make_item_rules(item, chain)
    return UnitCosts(item_rules.shortage_cost, item_rules.overage_cost)


def sum_units_by_key(frame: "pl.DataFrame") -> dict[tuple[str, str], float]:
    """Units by store and item. Frame: store, item, units."""
    import polars as pl

    sums = frame.group_by("store", "item").agg(pl.col("units").sum())
    return {
        (store, item): float(units)
        for store, item, units in sums.select("store", "item", "units").iter_rows()
    }


def list_evaluations(
    db: Session,
    person: Person,
    week: Week | None = None,
    *,
    store: str | None = None,
    item: str | None = None,
) -> list[Evaluation]:
    """Evaluated lines that a person may see, newest week first; of all weeks or of one."""
    query = select(Evaluation).where(Evaluation.store.in_(list_visible_stores(db, person)))
    if week is not None:
        get_cycle(db, week)
        query = query.where(Evaluation.week == str(week))
    if store is not None:
        query = query.where(Evaluation.store == store)
    if item is not None:
        query = query.where(Evaluation.item == item)
    order = (Evaluation.week.desc(), Evaluation.store, Evaluation.item)
    return list(db.scalars(query.order_by(*order).limit(MAX_EVALUATIONS)))


@dataclass(frozen=True)
class EvaluationSummary:
    """Evaluated lines added up. `wape`, `bias` and `fill_rate` are shares, the others units or yen.

    within, too_much, too_little: numbers of lines in each zone.
    """

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


def summarise_evaluations(evaluations: Sequence[Evaluation], by: str) -> list[EvaluationSummary]:
    """Evaluated lines added up by "week", "store", "item" or "all", in that key's order."""
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        key = "all" if by == "all" else str(getattr(evaluation, by))
        groups.setdefault(key, []).append(evaluation)
    return [summarise_group(key, group) for key, group in sorted(groups.items())]


def summarise_group(key: str, group: Sequence[Evaluation]) -> EvaluationSummary:
    actual = sum(line.actual for line in group)
    shortage = sum(line.shortage_units for line in group)
    zones = [line.zone for line in group]
    return EvaluationSummary(
        key=key,
        lines=len(group),
        actual=actual,
        wape=sum(abs(line.forecast - line.actual) for line in group) / actual if actual else 0.0,
        bias=sum(line.forecast - line.actual for line in group) / actual if actual else 0.0,
        shortage_units=shortage,
        leftover_units=sum(line.leftover_units for line in group),
        fill_rate=1 - shortage / actual if actual else 1.0,
        cost_yen=sum(line.cost_yen for line in group),
        proposed_cost_yen=sum(line.proposed_cost_yen for line in group),
        within=zones.count(Zone.WITHIN),
        too_much=zones.count(Zone.TOO_MUCH),
        too_little=zones.count(Zone.TOO_LITTLE),
    )
