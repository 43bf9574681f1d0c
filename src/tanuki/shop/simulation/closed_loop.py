"""Closed-loop simulation: policies order week after week, live with what they ordered, and are compared. The same seed, the same result.

A week costs: units that could not be sold for want of stock × shortage cost, units thrown away after it × leftover cost, and units left on
Sunday evening that can still be sold × holding × leftover cost (a quarter of it, as the chain's rules have it). All policies pay alike, from
the first week whose delivery they decided.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from tanuki.shop.simulation.inventory import WEEK, Lived, Order
from tanuki.shop.simulation.policies import POLICIES, ours
from tanuki.shop.simulation.scenarios import Scene

YEN = ("short_yen", "waste_yen", "holding_yen")
MEASURES = ("demand", "sold", "lost", "waste", "held", "stock", "delivered", "orders", *YEN)


def run(
    scene: Scene,
    policy: str,
    *,
    model: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:
    """What a policy lives through: a ledger of each week that counts, by store and item. `model` is the one that `ours` forecasts with."""
    decide = ours(scene, model) if policy == "ours" and model else POLICIES[policy](scene)
    return ledger(scene, scene.live(told(scene, policy, decide, progress))).select(
        pl.lit(policy).alias("policy"), pl.all()
    )


def told(scene: Scene, policy: str, decide: Order, progress: Callable[[str], None]) -> Order:
    """The same orders, each week announced."""

    def order(week: int, lived: Lived) -> Any:
        progress(
            f"{policy}: {scene.week(week + 1)} ({week - scene.begin + 1} of {len(scene.weeks)})"
        )
        return decide(week, lived)

    return order


def ledger(scene: Scene, lived: Lived) -> pl.DataFrame:
    """[week, store, item, MEASURES]: stock is the mean of its days' ends, held what is left on Sunday evening and can still be sold."""
    short, left, holding = (
        np.array([getattr(rule, name) for rule in scene.rules])
        for name in ("shortage_cost", "leftover_cost", "holding")
    )
    frames = []
    for week in scene.weeks:
        days = slice(week * WEEK, (week + 1) * WEEK)
        demand, sold, waste = (
            scene.demand[days].sum(axis=0),
            lived.sales[days].sum(axis=0),
            lived.thrown[week + 1],
        )
        lost, held, delivered = (
            demand - sold,
            lived.on_hand(week + 1) - waste,
            lived.deliveries[week],
        )
        yen = (lost * short, waste * left, held * holding * left)
        values = (
            demand,
            sold,
            lost,
            waste,
            held,
            lived.stock[days].mean(axis=0),
            delivered,
            (delivered > 0).astype(np.int64),
            *yen,
        )
        frames.append(
            pl.DataFrame(
                {
                    "week": [str(scene.week(week))] * demand.size,
                    "store": np.repeat(scene.stores, len(scene.items)),
                    "item": np.tile(scene.items, len(scene.stores)),
                    **{
                        name: np.asarray(each, dtype=np.float64).ravel()
                        for name, each in zip(MEASURES, values, strict=True)
                    },
                }
            )
        )
    return pl.concat(frames)


def totals(ledgers: pl.DataFrame, by: Sequence[str] = ("policy",)) -> pl.DataFrame:
    """Ledgers added up by some of their columns: shares, units, and yen by part and altogether. Stock is the mean of all days."""
    weeks = ledgers["week"].n_unique() if "week" not in by else 1
    return (
        ledgers.group_by(by, maintain_order=True)
        .agg(pl.col(MEASURES).sum())
        .select(
            *by,
            (pl.col("sold") / pl.col("demand")).alias("fill_rate"),
            pl.col("demand", "lost", "waste"),
            (pl.col("stock") / weeks).alias("stock"),
            (pl.col("stock") / pl.col("demand") * WEEK).alias("cover_days"),
            pl.col("delivered", "orders", *YEN),
            pl.sum_horizontal(YEN).alias("yen"),
        )
    )


def compared(ledgers: pl.DataFrame) -> list[dict[str, Any]]:
    """A row a policy, with its cost over that of the managers and of the oracle where they were simulated too."""
    rows = totals(ledgers).to_dicts()
    cost = {row["policy"]: row["yen"] for row in rows}
    for row in rows:
        for other in ("managers", "oracle"):
            row[f"to_{other}"] = row["yen"] / cost[other] if cost.get(other) else None
    return rows


def chart(ledgers: pl.DataFrame, title: str) -> dict[str, Any]:
    """Stock, lost units, waste and yen so far, week by week and policy by policy, as a Vega-Lite spec."""
    weekly = totals(ledgers, ("policy", "week")).with_columns(
        pl.col("yen").cum_sum().over("policy").alias("yen_so_far")
    )
    shown = {
        "stock": "Stock, units",
        "lost": "Lost sales, units",
        "waste": "Thrown away, units",
        "yen_so_far": "Cost so far, yen",
    }
    rows = weekly.select("policy", "week", *shown).to_dicts()
    order = ledgers["policy"].unique(maintain_order=True).to_list()
    ends = ", ".join(f"{row['policy']} {row['yen']:,.0f} yen" for row in compared(ledgers))
    panels = [
        {
            "title": name,
            "width": 420,
            "height": 180,
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {
                "x": {
                    "field": "week",
                    "type": "ordinal",
                    "title": None,
                    "axis": {"labelOverlap": True, "labelAngle": 0},
                },
                "y": {"field": field, "type": "quantitative", "title": None},
                "color": {"field": "policy", "type": "nominal", "sort": order},
            },
        }
        for field, name in shown.items()
    ]
    return {
        "description": f"{title}: {ends}",
        "title": title,
        "data": {"values": rows},
        "concat": panels,
        "columns": 2,
    }
