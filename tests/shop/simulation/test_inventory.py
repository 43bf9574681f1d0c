"""The shelf: nothing appears or vanishes, the oldest is sold first, what is too old is thrown away, what is not there is not sold."""

import numpy as np
import pytest

from tanuki.shop.simulation.inventory import keeping, live, monday, sell

NEVER, MILK, JUICE = None, 14, 28


def units(*rows):
    return np.array(rows, dtype=np.int64)


def by_hand(demand, days_kept, deliveries):
    """The same shelf for one item, unit by unit: each knows the day on which it came."""
    shelf, sales, stock, thrown = [], [], [], []
    for day in range(len(demand) + 1):
        if day % 7 == 0:
            good = [came for came in shelf if days_kept is None or day - came < days_kept]
            thrown.append(len(shelf) - len(good))
            shelf = good + [day] * deliveries[day // 7]
        if day < len(demand):
            sold = min(len(shelf), demand[day])
            shelf = sorted(shelf)[sold:]
            sales.append(sold)
            stock.append(len(shelf))
    return sales, stock, thrown


@pytest.mark.parametrize("days_kept", [NEVER, 5, 7, MILK, 21, JUICE, 35])
@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_a_shelf_kept_unit_by_unit(seed, days_kept):
    rng = np.random.default_rng(seed)
    demand = rng.poisson(rng.uniform(0.5, 3), 7 * 20)
    deliveries = rng.poisson(15, 21)
    deliveries[rng.random(21) < 0.3] = 0
    lived = live(
        demand[:, None, None],
        keeping([days_kept]),
        deliveries[:1, None],
        lambda week, _: deliveries[week + 1].reshape(1, 1),
    )
    expected = by_hand(demand.tolist(), days_kept, deliveries.tolist())
    assert (
        tuple(each.ravel().tolist() for each in (lived.sales, lived.stock, lived.thrown))
        == expected
    )


@pytest.fixture
def lived():
    rng = np.random.default_rng(1)
    demand = rng.poisson(4, (7 * 30, 3, 4))
    return demand, live(
        demand,
        keeping([NEVER, MILK, 21, JUICE]),
        np.full((3, 4), 40),
        lambda *_: rng.poisson(27, (3, 4)),
    )


def test_what_came_was_sold_or_thrown_away_or_is_there(lived):
    _, lived = lived
    came, sold = lived.deliveries[:-1].sum(axis=0), lived.sales.sum(axis=0)
    assert (came == sold + lived.thrown[:-1].sum(axis=0) + lived.stock[-1]).all()
    assert (lived.stock >= 0).all() and (lived.thrown >= 0).all()


def test_only_a_sold_out_day_loses_demand(lived):
    demand, lived = lived
    lost = lived.sales < demand
    assert lost.any() and (lived.sales <= demand).all()
    assert (lived.stock[lost] == 0).all()


def test_what_keeps_is_never_thrown_away_and_milk_is(lived):
    thrown = lived[1].thrown.sum(axis=(0, 1))
    assert thrown[0] == 0 < thrown[1]


def test_milk_is_good_for_the_week_it_came_and_the_next():
    batches = units([[0]], [[0]], [[0]])
    keeps = keeping([MILK])
    thrown = []
    for delivery in (6, 0, 0):
        batches, gone = monday(batches, units([delivery]), keeps)
        thrown.append(gone.item())
    assert thrown == [0, 0, 6]


def test_the_oldest_is_sold_first():
    after, sold = sell(units([[5]], [[3]], [[2]]), units([4]))
    assert after.ravel().tolist() == [5, 1, 0]
    assert sold.item() == 4


def test_ages_are_told_apart_as_far_as_it_matters():
    assert keeping([NEVER]).tolist() == [[True], [True]]
    assert keeping([NEVER, MILK, 10]).tolist() == [
        [True, True, True],
        [True, True, True],
        [True, False, False],
    ]
    assert len(keeping([JUICE])) == 5
    assert keeping([JUICE], ages=4).all()


def test_an_order_sees_only_what_has_happened():
    demand = np.random.default_rng(2).poisson(5, (7 * 6, 2, 2))

    def order(week, lived):
        assert not lived.sales[week * 7 :].any() and not lived.stock[week * 7 :].any()
        assert not lived.deliveries[week + 1 :].any() and not lived.thrown[week + 1 :].any()
        return lived.sold(week - 1, week)[0] if week else np.full((2, 2), 35)

    lived = live(demand, keeping([NEVER, MILK]), np.full((2, 2), 35), order)
    assert (lived.deliveries[2:] == lived.sold(0, 5)).all()
    assert (lived.on_hand(3) == lived.stock[20]).all() and not lived.on_hand(0).any()
