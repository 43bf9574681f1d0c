"""What a simulation runs in: a chain, its true demand, and what was known of it on each Monday.

The example world knows its true demand. A real chain does not: its sales are taken as demand, as
if nothing had ever sold out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl

from tanuki.errors import UserError
from tanuki.shop.calendar import Week, week_of
from tanuki.shop.features import Numbers
from tanuki.shop.ordering import ItemRules
from tanuki.shop.panel import History, build_daily_grid
from tanuki.shop.simulation.demand import (
    EPOCH,
    HISTORY_WEEKS,
    PLANNED_WEEKS,
    item_sellability,
    simulate_environment,
)
from tanuki.shop.simulation.inventory import (
    DAYS_PER_WEEK,
    Counts,
    Flags,
    OrderPolicy,
    Trajectory,
    sellable_by_age,
    simulate_inventory,
)
from tanuki.shop.simulation.managers import Managers, OrderingHabit
from tanuki.shop.simulation.personas import ITEMS, STORES, build_store_master
from tanuki.shop.simulation.world import build_price_list, build_weather_frame
from tanuki.shop.tables import DEFAULT_RULES

# Prices and promotions are known so far ahead of the order day.
PLANNING_HORIZON = timedelta(weeks=PLANNED_WEEKS)
# Weeks at least that managers order before a policy does: the stock is then theirs.
WARM_UP_WEEKS = 9
MANAGERS_USUAL_WEEKS = 4  # first recorded weeks whose mean is the managers' usual week
# The middle of the example's managers, for chains whose managers are not known.
TYPICAL_HABIT = OrderingHabit(
    memory_weeks=3, extra_share=0.18, promotion_belief=0.5, plans_year_end=True
)


@dataclass(frozen=True)
class Chain:
    """stores and items are codes in the order of the arrays' axes; sellable is [age, item]."""

    stores: Sequence[str]
    items: Sequence[str]
    rules: Sequence[ItemRules]  # one an item
    sellable: Flags


@dataclass(frozen=True)
class Scenario:
    """A chain and its demand from a Monday on, in whole weeks.

    Managers order in the weeks up to `policy_start`, on whose Monday a policy orders for the first
    time. What arrives on that Monday was still ordered by the managers. `record_start` is the
    first week whose sales are on record. `history` has prices, promotions and weather of all days.
    """

    name: str
    monday: date  # the first
    chain: Chain
    demand: Counts  # day, store, item
    expected: Numbers | None  # mean demand, where it is known
    managers: Managers
    policy_start: int
    record_start: int
    history: History

    @property
    def weeks(self) -> range:
        """The weeks that count: those whose delivery the policy decides."""
        return range(self.policy_start + 1, len(self.demand) // DAYS_PER_WEEK)

    def week(self, number: int) -> Week:
        """The calendar week of a number in the arrays."""
        return week_of(self.monday + timedelta(weeks=number))

    def simulate(self, order: OrderPolicy) -> Trajectory:
        """The managers' past, then the policy's orders; nothing is ordered for after the end."""
        managers, last = self.managers, self.weeks[-1]

        def order_week(week: int, trajectory: Trajectory) -> Counts:
            if week == last:
                return np.zeros_like(trajectory.deliveries[0])
            decide = managers.order_next_week if week < self.policy_start else order
            return np.where(self.assortment, decide(week, trajectory), 0)

        first_delivery = np.where(self.assortment, managers.first_delivery, 0)
        return simulate_inventory(self.demand, self.chain.sellable, first_delivery, order_week)

    @cached_property
    def assortment(self) -> Flags:
        """Which store sells which item. [store, item]"""
        return np.asarray(self.demand.any(axis=0))

    def known_history(self, week: int, trajectory: Trajectory) -> History:
        """What the chain knows on a week's Monday: sales and stock up to Sunday, and the plans."""
        today = self.monday + timedelta(weeks=week)
        start = self.record_start
        past = slice(start * DAYS_PER_WEEK, week * DAYS_PER_WEEK)
        days = [self.monday + timedelta(days=n) for n in range(past.start, past.stop)]
        mondays = [self.monday + timedelta(weeks=n) for n in range(start, week + 1)]
        end = today + PLANNING_HORIZON
        prices, promotions = self.history.prices, self.history.promotions
        return replace(
            self.history,
            sales=self.to_frame(days, trajectory.sales[past]),
            stock=self.to_frame(days, trajectory.stock[past]),
            deliveries=self.to_frame(mondays, trajectory.deliveries[start : week + 1]),
            prices=prices.filter(pl.col("applied_from") < end).with_columns(
                pl.when(pl.col("applied_to") < end).then(pl.col("applied_to")).alias("applied_to")
            ),
            promotions=promotions.filter(pl.col("date_from") < end),
            weather=self.history.weather.filter(pl.col("date") < today),
        )

    def to_frame(self, days: Sequence[date], units: Counts) -> pl.DataFrame:
        """[date, store, item, units] of the assortment, from units [day, store, item]."""
        stores, items = self.chain.stores, self.chain.items
        day = np.repeat(np.arange(len(days)), len(stores) * len(items))
        store = np.tile(np.repeat(np.arange(len(stores)), len(items)), len(days))
        item = np.tile(np.arange(len(items)), len(days) * len(stores))
        return pl.DataFrame(
            {
                "date": pl.Series(days, dtype=pl.Date).gather(day),
                "store": pl.Series(stores, dtype=pl.String).gather(store),
                "item": pl.Series(items, dtype=pl.String).gather(item),
                "units": units.ravel(),
            }
        ).filter(pl.Series(np.tile(self.assortment.ravel(), len(days))))


def example_scenario(seed: int, last_day: date, weeks: int) -> Scenario:
    """The example world: its managers' past up to `last_day`, then `weeks` weeks that count.

    The week between is already ordered. Raises UserError for a day that the example cannot end on.
    """
    environment = simulate_environment(seed, last_day + timedelta(weeks=weeks + 1))
    policy_start = (last_day + timedelta(days=1) - EPOCH).days // DAYS_PER_WEEK
    record_start = policy_start - HISTORY_WEEKS
    if record_start < 0:
        simulate_environment(seed, last_day)  # raises UserError with the range of days
    recorded = slice(record_start * DAYS_PER_WEEK, None)
    days = environment.days[recorded]
    prices = build_price_list(environment.revisions, days[0], days[-1])
    return Scenario(
        name=f"example world, seed {seed}",
        monday=EPOCH,
        chain=Chain(
            stores=[store.code for store in STORES],
            items=[item.code for item in ITEMS],
            rules=[apply_chain_rules(rule) for rule in environment.managers.rules],
            sellable=item_sellability(),
        ),
        demand=environment.demand,
        expected=environment.expected,
        managers=environment.managers,
        policy_start=policy_start,
        record_start=record_start,
        history=History(
            sales=pl.DataFrame(),
            prices=prices.select(
                pl.col("item_name").alias("item"),
                pl.lit("").alias("store"),
                "applied_from",
                "applied_to",
                pl.col("price").alias("price_yen"),
            ),
            promotions=environment.promotions.filter(pl.col("date_to") >= days[0]),
            weather=build_weather_frame(days, environment.degrees[recorded]),
            stores=build_store_master().select(pl.col("name").alias("store"), "region"),
            deliveries=pl.DataFrame(),
        ),
    )


def scenario_from_history(
    history: History, items: Mapping[str, ItemRules], first: Week, weeks: int
) -> Scenario:
    """A chain whose recorded sales are taken as demand; `first` is the first week that counts.

    Its managers order by TYPICAL_HABIT. Raises UserError when sales do not reach from WARM_UP_WEEKS
    before to the end, or when an item has no rules.
    """
    start, last = history.complete_weeks()
    before = (first.monday - start.monday).days // DAYS_PER_WEEK
    if before < WARM_UP_WEEKS + 1 or first.plus(weeks - 1) > last:
        raise UserError(
            "Sales are known from %(start)s to %(last)s; a simulation of %(weeks)s weeks from"
            " %(first)s on needs them from %(before)s weeks before it to its end.",
            start=start,
            last=last,
            weeks=weeks,
            first=first,
            before=WARM_UP_WEEKS + 1,
        )
    end = first.plus(weeks - 1).sunday
    sold = build_daily_grid(
        history.sales.filter(pl.col("date") <= end),
        history.reporting_days.filter(pl.col("date") <= end),
        end,
    )
    stores, names = sorted(set(sold["store"])), sorted(set(sold["item"]))
    missing = [name for name in names if name not in items]
    if missing:
        raise UserError("There is no master for %(items)s.", items=", ".join(missing))
    demand = demand_array(sold, start.monday, (stores, names), before + weeks)
    rules = [items[name] for name in names]
    usual = demand[: MANAGERS_USUAL_WEEKS * DAYS_PER_WEEK].sum(axis=0) / MANAGERS_USUAL_WEEKS
    return Scenario(
        name=f"recorded sales from {first}",
        monday=start.monday,
        chain=Chain(
            stores=stores,
            items=names,
            rules=rules,
            sellable=sellable_by_age([rule.shelf_life_days for rule in rules]),
        ),
        demand=demand,
        expected=None,
        managers=Managers(
            habits=[TYPICAL_HABIT] * len(stores),
            rules=rules,
            usual_units=usual,
            planned_uplift=np.ones((before + weeks + 1, *usual.shape)),
            repeats_order=np.zeros((before + weeks, *usual.shape), dtype=bool),
        ),
        policy_start=before - 1,
        record_start=0,
        history=history,
    )


def demand_array(
    sold: pl.DataFrame, monday: date, codes: tuple[Sequence[str], Sequence[str]], weeks: int
) -> Counts:
    """Sales as an array [day, store, item] for the codes of stores and items; 0 if unknown."""
    stores, items = codes
    demand = np.zeros((weeks * DAYS_PER_WEEK, len(stores), len(items)), dtype=np.int64)
    known = sold.filter(pl.col("date") >= monday)
    day = (known["date"] - monday).dt.total_days().to_numpy()
    store = np.searchsorted(stores, known["store"].to_numpy().astype(str))
    item = np.searchsorted(items, known["item"].to_numpy().astype(str))
    demand[day, store, item] = known["units"].fill_null(0.0).round().cast(pl.Int64)
    return demand


def apply_chain_rules(item: ItemRules) -> ItemRules:
    """An item of the example under the chain's default rules, as an item of class B."""
    return replace(
        item, holding_share=DEFAULT_RULES["holding"], min_service=DEFAULT_RULES["service_b"]
    )
