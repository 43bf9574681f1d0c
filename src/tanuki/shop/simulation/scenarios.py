"""What a simulation is lived in: a chain, the true demand of its past and future, and what could be known of it on each Monday.

The example world knows its true demand. A real chain does not: there, what it sold is taken as demand, as if nothing had ever run out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.errors import UserError
from tanuki.shop import rules
from tanuki.shop.calendar import Week, week_of
from tanuki.shop.ordering import ItemRules
from tanuki.shop.panel import History, daily_grid
from tanuki.shop.simulation import demand as world
from tanuki.shop.simulation import inventory, personas
from tanuki.shop.simulation.inventory import WEEK, Counts, Flags, Lived, Order
from tanuki.shop.simulation.managers import Habit, Managers

Floats = NDArray[np.float64]

PLANNED = timedelta(
    weeks=world.PLANNED_WEEKS
)  # prices and promotions that are known ahead, from the order day on
SETTLED = (
    9  # weeks that managers order before a policy does, at least: their shelves are then their own
)
TYPICAL = Habit(
    memory=3, extra=0.18, promotion=0.5, plans=True
)  # the middle of the example's managers, for chains whose managers are not known


@dataclass(frozen=True)
class Scene:
    """A chain's demand from a Monday on, in whole weeks, of which the managers live those up to `begin` and a policy the rest.

    On week `begin`'s Monday a policy orders for the first time; what arrives on that Monday was still ordered by the managers.
    """

    name: str
    monday: date  # the first
    stores: Sequence[str]
    items: Sequence[str]
    rules: Sequence[ItemRules]  # one an item
    demand: Counts  # day, store, item
    expected: Floats | None  # its mean, where anybody knows it
    keeps: Flags
    managers: Managers
    begin: int
    since: int  # the first week whose sales are on record
    record: History  # prices, promotions and weather of all days; its sales are those before anybody simulated

    @property
    def weeks(self) -> range:
        """The weeks that count: those whose delivery the policy decides."""
        return range(self.begin + 1, len(self.demand) // WEEK)

    def week(self, number: int) -> Week:
        """Which week that is."""
        return week_of(self.monday + timedelta(weeks=number))

    def live(self, order: Order) -> Lived:
        """The managers' past, then the future with another's orders; nobody orders for after the end."""
        managers, last = self.managers, self.weeks[-1]

        def either(week: int, lived: Lived) -> Counts:
            if week == last:
                return np.zeros_like(lived.deliveries[0])
            return np.where(
                self.carried, (managers.order if week < self.begin else order)(week, lived), 0
            )

        return inventory.live(
            self.demand, self.keeps, np.where(self.carried, managers.first, 0), either
        )

    @cached_property
    def carried(self) -> Flags:
        """Which store has which item. [store, item]"""
        return np.asarray(self.demand.any(axis=0))

    def known(self, week: int, lived: Lived) -> History:
        """What the chain knows on a week's Monday: up to Sunday what was sold and left; what is planned for the weeks ahead."""
        today = self.monday + timedelta(weeks=week)
        days = [self.monday + timedelta(days=n) for n in range(self.since * WEEK, week * WEEK)]
        mondays = [self.monday + timedelta(weeks=n) for n in range(self.since, week + 1)]
        until, past = today + PLANNED, slice(self.since * WEEK, week * WEEK)
        prices, promotions = self.record.prices, self.record.promotions
        return replace(
            self.record,
            sales=self.frame(days, lived.sales[past]),
            stock=self.frame(days, lived.stock[past]),
            deliveries=self.frame(mondays, lived.deliveries[self.since : week + 1]),
            prices=prices.filter(pl.col("applied_from") < until).with_columns(
                pl.when(pl.col("applied_to") < until).then(pl.col("applied_to")).alias("applied_to")
            ),
            promotions=promotions.filter(pl.col("date_from") < until),
            weather=self.record.weather.filter(pl.col("date") < today),
        )

    def frame(self, days: Sequence[date], units: Counts) -> pl.DataFrame:
        """[date, store, item, units] of what the stores carry."""
        lines = len(self.stores) * len(self.items)
        carried = np.tile(self.carried.ravel(), len(days))
        return pl.DataFrame(
            {
                "date": pl.Series(days, dtype=pl.Date).gather(
                    np.repeat(np.arange(len(days)), lines)
                ),
                "store": pl.Series(self.stores, dtype=pl.String).gather(
                    np.tile(np.repeat(np.arange(len(self.stores)), len(self.items)), len(days))
                ),
                "item": pl.Series(self.items, dtype=pl.String).gather(
                    np.tile(np.arange(len(self.items)), len(days) * len(self.stores))
                ),
                "units": units.ravel(),
            }
        ).filter(pl.Series(carried))


def example(seed: int, last_day: date, weeks: int) -> Scene:
    """The example world up to `last_day` with its managers' past, and so many weeks that count after one that is already ordered."""
    made = world.nature(seed, last_day + timedelta(weeks=weeks + 1))
    begin = (last_day + timedelta(days=1) - world.EPOCH).days // WEEK
    since = begin - world.WEEKS
    start = made.days[since * WEEK]
    if since < 0:
        world.nature(seed, last_day)  # raises: it says from when to when the example can end
    prices = world.price_list(made.revisions, start, made.days[-1])
    masters = personas.store_master()
    return Scene(
        name=f"example world, seed {seed}",
        monday=world.EPOCH,
        stores=[store.code for store in personas.STORES],
        items=[item.code for item in personas.ITEMS],
        rules=[by_the_chain(rule) for rule in made.managers.rules],
        demand=made.demand,
        expected=made.expected,
        keeps=world.keeps(),
        managers=made.managers,
        begin=begin,
        since=since,
        record=History(
            sales=pl.DataFrame(),
            prices=prices.select(
                pl.col("item_name").alias("item"),
                pl.lit("").alias("store"),
                "applied_from",
                "applied_to",
                pl.col("price").alias("price_yen"),
            ),
            promotions=made.promotions.filter(pl.col("date_to") >= start),
            weather=world.weather_frame(made.days[since * WEEK :], made.degrees[since * WEEK :]),
            stores=masters.select(pl.col("name").alias("store"), "region"),
            deliveries=pl.DataFrame(),
        ),
    )


def of_history(history: History, items: Mapping[str, ItemRules], first: Week, weeks: int) -> Scene:
    """A chain whose recorded sales are taken as demand, as if nothing had ever run out; `first` is the first week that counts.

    Its managers are taken to order as is typical. Raises UserError when the sales do not reach around the weeks that are asked for.
    """
    start, last = history.weeks()
    before = (first.monday - start.monday).days // WEEK
    if before < SETTLED + 1 or first.plus(weeks - 1) > last:
        raise UserError(
            "Sales are known from %(start)s to %(last)s; %(weeks)s weeks from %(first)s on need those of %(settled)s weeks before too.",
            start=start, last=last, weeks=weeks, first=first, settled=SETTLED + 1,
        )  # fmt: skip
    end = first.plus(weeks - 1).sunday
    sold = daily_grid(
        history.sales.filter(pl.col("date") <= end),
        history.reported.filter(pl.col("date") <= end),
        end,
    )
    stores, names = sorted(set(sold["store"])), sorted(set(sold["item"]))
    missing = [name for name in names if name not in items]
    if missing:
        raise UserError("There is no master for %(items)s.", items=", ".join(missing))
    demand = placed(sold, start.monday, stores, names, before + weeks)
    own = [items[name] for name in names]
    return Scene(
        name=f"recorded sales from {first}",
        monday=start.monday,
        stores=stores,
        items=names,
        rules=own,
        demand=demand,
        expected=None,
        keeps=inventory.keeping([each.shelf_life_days for each in own]),
        managers=Managers(
            habits=[TYPICAL] * len(stores),
            rules=own,
            usual=demand[: 4 * WEEK].sum(axis=0) / 4,
            foreseen=np.ones((before + weeks + 1, len(stores), len(names))),
            forgotten=np.zeros((before + weeks, len(stores), len(names)), dtype=bool),
        ),
        begin=before - 1,
        since=0,
        record=history,
    )


def placed(
    sold: pl.DataFrame, monday: date, stores: Sequence[str], items: Sequence[str], weeks: int
) -> Counts:
    """Sales as an array [day, store, item]; what nobody knows is nothing."""
    demand = np.zeros((weeks * WEEK, len(stores), len(items)), dtype=np.int64)
    known = sold.filter(pl.col("date") >= monday)
    store, item = (
        np.searchsorted(stores, known["store"].to_numpy().astype(str)),
        np.searchsorted(items, known["item"].to_numpy().astype(str)),
    )
    demand[(known["date"] - monday).dt.total_days().to_numpy(), store, item] = (
        known["units"].fill_null(0.0).round().cast(pl.Int64)
    )
    return demand


def by_the_chain(item: ItemRules) -> ItemRules:
    """An item of the example with what the chain's rules ask unless somebody changed them."""
    return replace(item, holding=rules.DEFAULT["holding"], service=rules.DEFAULT["service_b"])
