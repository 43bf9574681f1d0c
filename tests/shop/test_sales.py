"""Sales added up: against a dumb loop, by period and group, within the stores that people may see."""

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


def totals(res, who=ANALYST, by="day", group="all", first=FIRST, last=LAST, **part):
    with res.db.read() as db:
        frame = sales.totals(
            db, res.warehouse, who, by=by, group=group, first=first, last=last, as_of=NOW, **part
        )
    return {(period, name): (units, yen) for period, name, units, yen in frame.iter_rows()}


def by_hand(by, group, keep=lambda store, item: True):
    """The same sums with a loop over the formula that chain.py makes sales by."""
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
                if keep(store, item):
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
def test_sums_are_those_of_a_loop(chain, by, group):
    assert totals(chain, by=by, group=group) == by_hand(by, group)


def test_parts_are_those_of_a_loop(chain):
    assert totals(chain, by="week", store="chiba", item="beer") == by_hand(
        "week", "all", lambda store, item: (store, item) == ("chiba", "beer")
    )
    assert totals(chain, by="week", region="west") == by_hand(
        "week", "all", lambda store, item: store == "osaka"
    )


def test_a_manager_gets_their_stores_and_nothing_of_others(chain):
    assert totals(chain, CHIBA, group="store") == by_hand(
        "day", "store", lambda store, item: store == "chiba"
    )
    with pytest.raises(NotFound, match="no store osaka"):
        totals(chain, CHIBA, store="osaka")
    with pytest.raises(NotAllowed):
        totals(chain, NOBODY)


def test_days_the_wrong_way_round_are_said(chain):
    with pytest.raises(UserError, match="is after"):
        totals(chain, first=LAST, last=FIRST)


def test_the_span_is_from_the_first_to_the_last_day_and_nothing_before_there_are_sales(
    chain, tmp_path
):
    with chain.db.read() as db:
        assert sales.span(db, chain.warehouse, ANALYST, NOW) == sales.Span(FIRST, LAST)
        assert sales.span(db, chain.warehouse, ANALYST, NOW - timedelta(days=400)) == sales.Span(
            None, None
        )
