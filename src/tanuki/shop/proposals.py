"""A week's order lines as they are proposed: what is forecast, there and on the way, through the ordering rule, with a sum that explains each."""

from datetime import date, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.platform.resources import Resources
from tanuki.shop import explanation, ordering, rules
from tanuki.shop.calendar import Week
from tanuki.shop.ingest.loading import DELIVERIES, SALES, STOCK
from tanuki.shop.tables import (
    Forecast,
    Item,
    OrderLine,
    PurchaseOrder,
    PurchaseOrderLine,
    Rules,
    Store,
)

RECENT_WEEKS = 4

Key = tuple[str, str]  # store, item


def proposals(res: Resources, db: Session, week: Week, as_of: datetime) -> list[OrderLine]:
    """An order line for every store and item that has a forecast for the week. Each store's lines share its truck and its shelves."""
    thoughts = {
        (forecast.week, forecast.store, forecast.item): forecast
        for forecast in db.scalars(select(Forecast).where(Forecast.cycle == str(week)))
    }
    stores = {store.code: store for store in db.scalars(select(Store))}
    items = {item.code: item for item in db.scalars(select(Item))}
    stock = stock_of(res, db, week, as_of)
    recent = recent_weeks(res, db, week, as_of)
    chain = rules.get(db)
    made = []
    targets = sorted((store, item) for of, store, item in thoughts if of == str(week))
    for code, keys in groupby(targets, key=lambda key: key[0]):
        lines = [
            line_of(thoughts, week, key, rules_of(items[key[1]], chain), stock.get(key))
            for key in keys
        ]
        limits = ordering.Limits(stores[code].shelf_units, stores[code].truck_cases)
        for line, proposal in zip(lines, ordering.propose(lines, limits), strict=True):
            thought, known = thoughts[str(week), code, line.key], recent.get((code, line.key), {})
            made.append(order_line(week, thought, line, proposal, known, chain.unusual))
    return made


def line_of(
    thoughts: dict[tuple[str, str, str], Forecast],
    week: Week,
    key: Key,
    item: ordering.ItemRules,
    stock: ordering.Stock | None,
) -> ordering.Line:
    """A store and item as the ordering rule takes it; without a forecast of the week between, its stock says nothing."""
    target = demand_of(thoughts[str(week), *key])
    buffer, both = (thoughts.get((of, *key)) for of in (str(week.buffer), week.both))
    if buffer is None or both is None:
        return ordering.Line(key[1], target, target, target, item, None)
    return ordering.Line(key[1], demand_of(buffer), target, demand_of(both), item, stock)


def order_line(
    week: Week,
    thought: Forecast,
    line: ordering.Line,
    proposal: ordering.Proposal,
    recent: dict[date, float],
    threshold: float,
) -> OrderLine:
    """A proposal as an order line, with its sum before its other reasons. `recent` are the units of the last weeks by Monday."""
    units = list(recent.values())
    usual = sum(units) / len(units) if units else 0.0
    unusual, why = ordering.unusual(proposal, line.target, units, threshold)
    parts = explanation.explain(
        thought.moved, recent.get(last_known(week).monday), thought.mean, proposal
    )
    return OrderLine(
        week=str(week),
        store=thought.store,
        item=thought.item,
        case_units=line.rules.case_units,
        proposed_cases=proposal.cases,
        cases=proposal.cases,
        recent_units=usual,
        reason=[explanation.as_reason(parts, proposal, line.rules.case_units), *proposal.reason],
        floor_units=ordering.simple(usual, line.rules, line.stock),
        expected_cost_yen=proposal.expected_cost,
        unusual=unusual,
        unusual_why=why,
        version=1,
    )


def demand_of(each: Forecast) -> ordering.Demand:
    """A stored forecast as the ordering rule takes it."""
    return ordering.Demand(
        each.mean,
        (each.q01, each.q05, each.q10, each.q25, each.q50, each.q75, each.q90, each.q95, each.q99),
    )


def rules_of(item: Item, chain: Rules) -> ordering.ItemRules:
    """An item's master, and what the chain asks of its class, as the ordering rule takes it."""
    return ordering.ItemRules(
        case_units=item.case_units,
        min_cases=item.min_cases,
        max_cases=item.max_cases,
        shelf_life_days=item.shelf_life_days,
        shortage_cost=item.shortage_cost_yen,
        leftover_cost=item.leftover_cost_yen,
        holding=chain.holding,
        service={"A": chain.service_a, "B": chain.service_b, "C": chain.service_c}[
            item.service_class
        ],
    )


# ---- what is known -------------------------------------------------------------------------------------------------


def last_known(week: Week) -> Week:
    """The last week whose sales are known when this one is ordered."""
    return week.plus(-2)


def stock_of(res: Resources, db: Session, week: Week, as_of: datetime) -> dict[Key, ordering.Stock]:
    """What is on hand on the cut-off's evening and on the way, where the stock is on record."""
    on_hand = res.warehouse.read(
        db, STOCK, as_of=as_of, where="date = ?", params=(week.cutoff,)
    ).select("store", "item", "units")
    coming = arriving(res, db, week.buffer, as_of)
    return {
        (store, item): ordering.Stock(float(n), coming.get((store, item), 0.0))
        for store, item, n in on_hand.iter_rows()
    }


def arriving(res: Resources, db: Session, week: Week, as_of: datetime) -> dict[Key, float]:
    """Units on order that arrive with the given week: our purchase orders when there are any, otherwise deliveries that are on record."""
    ours = select(PurchaseOrder.store, PurchaseOrderLine.item, PurchaseOrderLine.units).join(
        PurchaseOrderLine, PurchaseOrderLine.number == PurchaseOrder.number
    )
    found: list[Any] = list(
        db.execute(ours.where(PurchaseOrder.week == str(week), PurchaseOrder.status == "issued"))
    )
    if not found:
        known = res.warehouse.read(
            db, DELIVERIES, as_of=as_of, where="date = ?", params=(week.monday,)
        )
        found = list(known.select("store", "item", "units").iter_rows())
    total: dict[Key, float] = {}
    for store, item, units in found:
        total[store, item] = total.get((store, item), 0.0) + float(units)
    return total


def recent_weeks(
    res: Resources, db: Session, week: Week, as_of: datetime
) -> dict[Key, dict[date, float]]:
    """Units of each of the last known whole weeks by Monday, oldest first, by store and item."""
    import polars as pl

    last = last_known(week)
    first = last.plus(1 - RECENT_WEEKS)
    sales = res.warehouse.read(
        db, SALES, as_of=as_of, where="date between ? and ?", params=(first.monday, last.sunday)
    )
    weeks = (
        sales.group_by("store", "item", pl.col("date").dt.truncate("1w").alias("monday"))
        .agg(pl.col("units").sum())
        .sort("monday")
    )
    found: dict[Key, dict[date, float]] = {}
    for store, item, monday, units in weeks.select("store", "item", "monday", "units").iter_rows():
        found.setdefault((store, item), {})[monday] = float(units)
    return found
