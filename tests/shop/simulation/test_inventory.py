"""Simulated stock: units are conserved, sold oldest first, and waste away when too old."""

import numpy as np
import pytest

from tanuki.shop.simulation.inventory import (
    receive_delivery,
    sellable_by_age,
    serve_demand,
    simulate_inventory,
)

NEVER, MILK, JUICE = None, 14, 28


def units(*rows):
    return np.array(rows, dtype=np.int64)


def simulate_unit_by_unit(demand, shelf_life_days, deliveries):
    """The same stock of one item, unit by unit: each unit is the day of its delivery."""
    shelf, sales, stock, waste = [], [], [], []
    for day in range(len(demand) + 1):
        if day % 7 == 0:
            fresh = [
                arrival
                for arrival in shelf
                if shelf_life_days is None or day - arrival < shelf_life_days
            ]
            waste.append(len(shelf) - len(fresh))
            shelf = fresh + [day] * deliveries[day // 7]
        if day < len(demand):
            sold = min(len(shelf), demand[day])
            shelf = sorted(shelf)[sold:]
            sales.append(sold)
            stock.append(len(shelf))
    return sales, stock, waste


@pytest.mark.parametrize("shelf_life_days", [NEVER, 5, 7, MILK, 21, JUICE, 35])
@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_a_simulation_unit_by_unit(seed, shelf_life_days):
    rng = np.random.default_rng(seed)
    demand = rng.poisson(rng.uniform(0.5, 3), 7 * 20)
    deliveries = rng.poisson(15, 21)
    deliveries[rng.random(21) < 0.3] = 0
    trajectory = simulate_inventory(
        demand[:, None, None],
        sellable_by_age([shelf_life_days]),
        deliveries[:1, None],
        lambda week, _: deliveries[week + 1].reshape(1, 1),
    )
    expected = simulate_unit_by_unit(demand.tolist(), shelf_life_days, deliveries.tolist())
    assert (
        tuple(
            units.ravel().tolist()
            for units in (trajectory.sales, trajectory.stock, trajectory.waste)
        )
        == expected
    )


@pytest.fixture
def trajectory():
    rng = np.random.default_rng(1)
    demand = rng.poisson(4, (7 * 30, 3, 4))
    return demand, simulate_inventory(
        demand,
        sellable_by_age([NEVER, MILK, 21, JUICE]),
        np.full((3, 4), 40),
        lambda *_: rng.poisson(27, (3, 4)),
    )


def test_delivered_units_were_sold_or_thrown_away_or_are_in_stock(trajectory):
    _, trajectory = trajectory
    delivered, sold = trajectory.deliveries[:-1].sum(axis=0), trajectory.sales.sum(axis=0)
    assert (delivered == sold + trajectory.waste[:-1].sum(axis=0) + trajectory.stock[-1]).all()
    assert (trajectory.stock >= 0).all() and (trajectory.waste >= 0).all()


def test_only_a_sold_out_day_loses_demand(trajectory):
    demand, trajectory = trajectory
    lost = trajectory.sales < demand
    assert lost.any() and (trajectory.sales <= demand).all()
    assert (trajectory.stock[lost] == 0).all()


def test_only_perishable_items_are_thrown_away(trajectory):
    waste = trajectory[1].waste.sum(axis=(0, 1))
    assert waste[0] == 0 < waste[1]


def test_milk_is_sold_in_the_week_of_its_delivery_and_the_next():
    batches = units([[0]], [[0]], [[0]])
    sellable = sellable_by_age([MILK])
    waste = []
    for delivery in (6, 0, 0):
        batches, units_thrown = receive_delivery(batches, units([delivery]), sellable)
        waste.append(units_thrown.item())
    assert waste == [0, 0, 6]


def test_the_oldest_is_sold_first():
    after, sold = serve_demand(units([[5]], [[3]], [[2]]), units([4]))
    assert after.ravel().tolist() == [5, 1, 0]
    assert sold.item() == 4


def test_there_are_as_many_ages_as_shelf_lives_need():
    assert sellable_by_age([NEVER]).tolist() == [[True], [True]]
    assert sellable_by_age([NEVER, MILK, 10]).tolist() == [
        [True, True, True],
        [True, True, True],
        [True, False, False],
    ]
    assert len(sellable_by_age([JUICE])) == 5
    assert sellable_by_age([JUICE], ages=4).all()


def test_an_order_knows_only_what_has_happened():
    demand = np.random.default_rng(2).poisson(5, (7 * 6, 2, 2))

    def order(week, trajectory):
        assert not trajectory.sales[week * 7 :].any() and not trajectory.stock[week * 7 :].any()
        assert (
            not trajectory.deliveries[week + 1 :].any() and not trajectory.waste[week + 1 :].any()
        )
        return trajectory.weekly_sales(week - 1, week)[0] if week else np.full((2, 2), 35)

    trajectory = simulate_inventory(
        demand, sellable_by_age([NEVER, MILK]), np.full((2, 2), 35), order
    )
    assert (trajectory.deliveries[2:] == trajectory.weekly_sales(0, 5)).all()
    assert (trajectory.on_hand(3) == trajectory.stock[20]).all() and not trajectory.on_hand(0).any()
