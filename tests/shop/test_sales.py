"""Sums of sales by period and group, within the stores that a person may see."""

from datetime import date, timedelta

import pytest

from tanuki.errors import NotAllowed, NotFound, UserError
from tanuki.shop import sales
from tests.factories.store_chain import (
    ANALYST,
    CHIBA,
    ITEMS,
    NOBODY,
    NOW,
    PRICES,
    STORES,
    make_chain,
)

FIRST, LAST = date(2020, 12, 21), date(2021, 1, 10)


@pytest.fixture
def chain(embedded):
    return make_chain(embedded, first=FIRST)


def sum_sales(res, person=ANALYST, by="day", group="all", first=FIRST, last=LAST, **part):
    with res.db.read() as db:
        selection = sales.SalesSelection(by, group, first, last, **part)
        frame = sales.sum_sales(db, res.warehouse, person, selection, NOW)
    return {(period, name): (units, yen) for period, name, units, yen in frame.iter_rows()}


def sum_by_loop(by, group, chosen=lambda store, item: True):
    """The same sums with a loop over the formula of tests/factories/store_chain.py."""
    sums = {}
    for n in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=n)
        period = {
            "day": day,
            "week": day - timedelta(days=day.weekday()),
            "month": day.replace(day=1),
        }[by]
        for s, store in enumerate(STORES):
            for i, item in enumerate(ITEMS):
                if chosen(store, item):
                    units = (
                        10
                        + 5 * s
                        + 3 * i
                        + (6 if day.weekday() >= 5 else 0)
                        + (day.toordinal() * 7 + s * 3 + i) % 5
                    )
                    name = {
                        "all": "all",
                        "region": ("east", "west")[s],
                        "store": store,
                        "item": item,
                    }[group]
                    before = sums.get((period, name), (0, 0))
                    sums[period, name] = (before[0] + units, before[1] + units * PRICES[item])
    return sums


@pytest.mark.parametrize("by", ["day", "week", "month"])
@pytest.mark.parametrize("group", ["all", "region", "store", "item"])
def test_sums_agree_with_a_loop(chain, by, group):
    assert sum_sales(chain, by=by, group=group) == sum_by_loop(by, group)


def test_sums_of_a_store_item_or_region_agree_with_a_loop(chain):
    assert sum_sales(chain, by="week", store="chiba", item="beer") == sum_by_loop(
        "week", "all", lambda store, item: (store, item) == ("chiba", "beer")
    )
    assert sum_sales(chain, by="week", region="west") == sum_by_loop(
        "week", "all", lambda store, item: store == "osaka"
    )


def test_a_manager_sees_only_their_own_stores(chain):
    assert sum_sales(chain, CHIBA, group="store") == sum_by_loop(
        "day", "store", lambda store, item: store == "chiba"
    )
    with pytest.raises(NotFound, match="no store osaka"):
        sum_sales(chain, CHIBA, store="osaka")
    with pytest.raises(NotAllowed):
        sum_sales(chain, NOBODY)


def test_a_first_day_after_the_last_is_refused(chain):
    with pytest.raises(UserError, match="is after"):
        sum_sales(chain, first=LAST, last=FIRST)


def test_the_range_is_that_of_recorded_sales(chain, tmp_path):
    with chain.db.read() as db:
        assert sales.find_sales_range(db, chain.warehouse, ANALYST, NOW) == sales.SalesRange(
            FIRST, LAST
        )
        assert sales.find_sales_range(
            db, chain.warehouse, ANALYST, NOW - timedelta(days=400)
        ) == sales.SalesRange(None, None)
