"""Closed-loop simulation: each policy orders week after week and lives with its own orders.

A week costs lost units × shortage cost, units thrown away after it × leftover cost, and units left
on Sunday evening that can still be sold × holding share × leftover cost. All policies pay alike,
from the first week whose delivery they decided. The same seed gives the same result.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from tanuki.shop.simulation.inventory import DAYS_PER_WEEK, Counts, OrderPolicy, Trajectory
from tanuki.shop.simulation.scenarios import Scenario

COST_COLUMNS = ("short_yen", "waste_yen", "holding_yen")
LEDGER_COLUMNS = (
    "demand",
    "sold",
    "lost",
    "waste",
    "held",
    "stock",
    "delivered",
    "orders",
    *COST_COLUMNS,
)
CHART_TITLES = {
    "stock": "Stock, units",
    "lost": "Lost sales, units",
    "waste": "Thrown away, units",
    "yen_so_far": "Cost so far, yen",
}


def simulate_policy(
    scenario: Scenario,
    name: str,
    order: OrderPolicy,
    progress: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:
    """The ledger of a policy (build_ledger) with a column `policy` that holds its name."""
    trajectory = scenario.simulate(announce_weeks(scenario, name, order, progress))
    return build_ledger(scenario, trajectory).select(pl.lit(name).alias("policy"), pl.all())


def announce_weeks(
    scenario: Scenario, name: str, order: OrderPolicy, progress: Callable[[str], None]
) -> OrderPolicy:
    """The same policy; `progress` gets a line before each week."""

    def announced(week: int, trajectory: Trajectory) -> Counts:
        number, total = week - scenario.policy_start + 1, len(scenario.weeks)
        progress(f"{name}: {scenario.week(week + 1)} ({number} of {total})")
        return order(week, trajectory)

    return announced


def build_ledger(scenario: Scenario, trajectory: Trajectory) -> pl.DataFrame:
    """[week, store, item, LEDGER_COLUMNS] of the weeks that count, in units and yen.

    `stock` is the mean of the days' ends. `held` is what is left on Sunday evening and can still
    be sold.
    """
    chain = scenario.chain
    shortage_cost = np.array([rule.shortage_cost for rule in chain.rules])
    leftover_cost = np.array([rule.leftover_cost for rule in chain.rules])
    holding_share = np.array([rule.holding_share for rule in chain.rules])
    frames = []
    for week in scenario.weeks:
        days = slice(week * DAYS_PER_WEEK, (week + 1) * DAYS_PER_WEEK)
        demand, sold = scenario.demand[days].sum(axis=0), trajectory.sales[days].sum(axis=0)
        waste, delivered = trajectory.waste[week + 1], trajectory.deliveries[week]
        lost, held = demand - sold, trajectory.on_hand(week + 1) - waste
        columns = {
            "demand": demand,
            "sold": sold,
            "lost": lost,
            "waste": waste,
            "held": held,
            "stock": trajectory.stock[days].mean(axis=0),
            "delivered": delivered,
            "orders": delivered > 0,
            "short_yen": lost * shortage_cost,
            "waste_yen": waste * leftover_cost,
            "holding_yen": held * holding_share * leftover_cost,
        }
        keys = {
            "week": [str(scenario.week(week))] * demand.size,
            "store": np.repeat(chain.stores, len(chain.items)),
            "item": np.tile(chain.items, len(chain.stores)),
        }
        values = {
            name: np.asarray(values, dtype=np.float64).ravel() for name, values in columns.items()
        }
        frames.append(pl.DataFrame(keys | values))
    return pl.concat(frames)


def sum_ledgers(ledgers: pl.DataFrame, by: Sequence[str] = ("policy",)) -> pl.DataFrame:
    """Ledgers summed by some of their columns: fill rate, units, days of cover and yen."""
    weeks = ledgers["week"].n_unique() if "week" not in by else 1
    return (
        ledgers.group_by(by, maintain_order=True)
        .agg(pl.col(LEDGER_COLUMNS).sum())
        .select(
            *by,
            (pl.col("sold") / pl.col("demand")).alias("fill_rate"),
            pl.col("demand", "lost", "waste"),
            (pl.col("stock") / weeks).alias("stock"),
            (pl.col("stock") / pl.col("demand") * DAYS_PER_WEEK).alias("cover_days"),
            pl.col("delivered", "orders", *COST_COLUMNS),
            pl.sum_horizontal(COST_COLUMNS).alias("yen"),
        )
    )


def compare_policies(ledgers: pl.DataFrame) -> list[dict[str, Any]]:
    """A row a policy: sum_ledgers, and its cost over the managers' and the oracle's, if known."""
    rows = sum_ledgers(ledgers).to_dicts()
    cost = {row["policy"]: row["yen"] for row in rows}
    for row in rows:
        for reference in ("managers", "oracle"):
            known = cost.get(reference)
            row[f"to_{reference}"] = row["yen"] / cost[reference] if known else None
    return rows


def build_cost_chart(ledgers: pl.DataFrame, title: str) -> dict[str, Any]:
    """A Vega-Lite spec of CHART_TITLES by week and policy."""
    weekly = sum_ledgers(ledgers, ("policy", "week")).with_columns(
        pl.col("yen").cum_sum().over("policy").alias("yen_so_far")
    )
    rows = weekly.select("policy", "week", *CHART_TITLES).to_dicts()
    policies = ledgers["policy"].unique(maintain_order=True).to_list()
    ends = [f"{row['policy']} {row['yen']:,.0f} yen" for row in compare_policies(ledgers)]
    week_axis = {
        "field": "week",
        "type": "ordinal",
        "title": None,
        "axis": {"labelOverlap": True, "labelAngle": 0},
    }
    panels = [
        {
            "title": panel_title,
            "width": 420,
            "height": 180,
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {
                "x": week_axis,
                "y": {"field": field, "type": "quantitative", "title": None},
                "color": {"field": "policy", "type": "nominal", "sort": policies},
            },
        }
        for field, panel_title in CHART_TITLES.items()
    ]
    return {
        "description": f"{title}: {', '.join(ends)}",
        "title": title,
        "data": {"values": rows},
        "concat": panels,
        "columns": 2,
    }
