"""A week's proposals: forecasts, stock and deliveries through the ordering rule, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

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
    PurchaseOrderStatus,
    Rules,
    ServiceClass,
    Store,
)
from tanuki.shop.unusual_orders import score_unusual

RECENT_WEEKS = 4

Key = tuple[str, str]  # store, item
ForecastKey = tuple[str, str, str]  # week, store, item


@dataclass(frozen=True)
class ProposedLine:
    """A line of the ordering rule: its forecast, its input and its proposal."""

    forecast: Forecast
    line: ordering.OrderInput
    proposal: ordering.Proposal


def propose_week(res: Resources, db: Session, week: Week, as_of: datetime) -> list[OrderLine]:
    """An order line for every store and item with a forecast for the week; nothing is written.

    The lines of a store share its truck and its shelves.
    """
    forecasts = {
        (forecast.week, forecast.store, forecast.item): forecast
        for forecast in db.scalars(select(Forecast).where(Forecast.cycle == str(week)))
    }
    stores = {store.code: store for store in db.scalars(select(Store))}
    items = {item.code: item for item in db.scalars(select(Item))}
    stock = load_stock(res, db, week, as_of)
    recent = load_recent_weeks(res, db, week, as_of)
    chain = rules.load_rules(db)
    order_lines = []
    keys = sorted((store, item) for name, store, item in forecasts if name == str(week))
    for code, store_keys in groupby(keys, key=lambda key: key[0]):
        lines = [
            make_order_input(
                forecasts, week, key, make_item_rules(items[key[1]], chain), stock.get(key)
            )
            for key in store_keys
        ]
        limits = ordering.StoreLimits(stores[code].shelf_units, stores[code].truck_cases)
        for line, proposal in zip(lines, ordering.propose_orders(lines, limits), strict=True):
            proposed = ProposedLine(forecasts[str(week), code, line.key], line, proposal)
            units = recent.get((code, line.key), {})
            order_lines.append(make_order_line(week, proposed, units, chain.unusual))
    return order_lines


def make_order_input(
    forecasts: Mapping[ForecastKey, Forecast],
    week: Week,
    key: Key,
    item: ordering.ItemRules,
    stock: ordering.Stock | None,
) -> ordering.OrderInput:
    """A store's item for the ordering rule.

    Without a forecast of the buffer week the stock is left out: it says nothing about Monday.
    """
    target = to_demand(forecasts[str(week), *key])
    buffer, two_weeks = (
        forecasts.get((name, *key)) for name in (str(week.buffer), week.two_week_interval)
    )
    if buffer is None or two_weeks is None:
        return ordering.OrderInput(key[1], target, target, target, item, None)
    return ordering.OrderInput(key[1], to_demand(buffer), target, to_demand(two_weeks), item, stock)


def make_order_line(
    week: Week, proposed: ProposedLine, recent: Mapping[date, float], threshold: float
) -> OrderLine:
    """A proposal as an order line; the sum that explains it comes first among its reasons.

    recent: units of the last known weeks by Monday. threshold: as in `score_unusual`.
    """
    forecast, line, proposal = proposed.forecast, proposed.line, proposed.proposal
    units = list(recent.values())
    usual = sum(units) / len(units) if units else 0.0
    unusual, unusual_reasons = score_unusual(proposal, line.target, units, threshold)
    parts = explanation.explain_proposal(
        forecast.contributions,
        recent.get(last_known_week(week).monday),
        forecast.mean,
        proposal,
    )
    sum_reason = explanation.make_sum_reason(parts, proposal, line.rules.case_units)
    return OrderLine(
        week=str(week),
        store=forecast.store,
        item=forecast.item,
        case_units=line.rules.case_units,
        proposed_cases=proposal.cases,
        cases=proposal.cases,
        recent_units=usual,
        reasons=[sum_reason, *proposal.reasons],
        baseline_units=ordering.compute_baseline_order(usual, line.rules, line.stock),
        expected_cost_yen=proposal.expected_cost,
        unusual=unusual,
        unusual_reasons=unusual_reasons,
        version=1,
    )


def to_demand(forecast: Forecast) -> ordering.Demand:
    return ordering.Demand(
        forecast.mean,
        (
            forecast.q01,
            forecast.q05,
            forecast.q10,
            forecast.q25,
            forecast.q50,
            forecast.q75,
            forecast.q90,
            forecast.q95,
            forecast.q99,
        ),
    )


def make_item_rules(item: Item, chain: Rules) -> ordering.ItemRules:
    """An item's master data, with the chain's rules for its service class."""
    service = {
        ServiceClass.A: chain.service_a,
        ServiceClass.B: chain.service_b,
        ServiceClass.C: chain.service_c,
    }
    return ordering.ItemRules(
        case_units=item.case_units,
        min_cases=item.min_cases,
        max_cases=item.max_cases,
        shelf_life_days=item.shelf_life_days,
        shortage_cost=item.shortage_cost_yen,
        leftover_cost=item.leftover_cost_yen,
        holding_share=chain.holding,
        min_service=service[item.service_class],
    )


# ---- known facts ---------------------------------------------------------------------------------


def last_known_week(week: Week) -> Week:
    """The last week whose sales are known when this one is ordered."""
    return week.plus(-2)


def load_stock(
    res: Resources, db: Session, week: Week, as_of: datetime
) -> dict[Key, ordering.Stock]:
    """Stock on hand on the cut-off's evening and on order, where stores record their stock."""
    on_hand = res.warehouse.read_facts(
        db, STOCK, as_of=as_of, where="date = ?", params=(week.cutoff,)
    ).select("store", "item", "units")
    on_order = load_arrivals(res, db, week.buffer, as_of)
    return {
        (store, item): ordering.Stock(float(units), on_order.get((store, item), 0.0))
        for store, item, units in on_hand.iter_rows()
    }


def load_arrivals(res: Resources, db: Session, week: Week, as_of: datetime) -> dict[Key, float]:
    """Units that arrive on the week's Monday.

    They come from our own purchase orders; for a week without any, from recorded deliveries.
    """
    query = (
        select(PurchaseOrder.store, PurchaseOrderLine.item, PurchaseOrderLine.units)
        .join(PurchaseOrderLine, PurchaseOrderLine.number == PurchaseOrder.number)
        .where(PurchaseOrder.week == str(week), PurchaseOrder.status == PurchaseOrderStatus.ISSUED)
    )
    arrivals = [(store, item, units) for store, item, units in db.execute(query)]
    if not arrivals:
        deliveries = res.warehouse.read_facts(
            db, DELIVERIES, as_of=as_of, where="date = ?", params=(week.monday,)
        )
        arrivals = list(deliveries.select("store", "item", "units").iter_rows())
    totals: dict[Key, float] = {}
    for store, item, units in arrivals:
        totals[store, item] = totals.get((store, item), 0.0) + float(units)
    return totals


def load_recent_weeks(
    res: Resources, db: Session, week: Week, as_of: datetime
) -> dict[Key, dict[date, float]]:
    """Units of the last RECENT_WEEKS known weeks by Monday, oldest first, by store and item."""
    import polars as pl

    last = last_known_week(week)
    first = last.plus(1 - RECENT_WEEKS)
    sales = res.warehouse.read_facts(
        db, SALES, as_of=as_of, where="date between ? and ?", params=(first.monday, last.sunday)
    )
    weekly = (
        sales.group_by("store", "item", pl.col("date").dt.truncate("1w").alias("monday"))
        .agg(pl.col("units").sum())
        .sort("monday")
    )
    recent: dict[Key, dict[date, float]] = {}
    for store, item, monday, units in weekly.select("store", "item", "monday", "units").iter_rows():
        recent.setdefault((store, item), {})[monday] = float(units)
    return recent
