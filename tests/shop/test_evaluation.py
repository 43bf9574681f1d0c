"""Evaluation: the costs as ordered, proposed, expected and of the baseline."""

from datetime import UTC, datetime

import pytest

from tanuki.shop import evaluation, rules
from tanuki.shop.forecasting.forecaster import QUANTILE_COLUMNS
from tanuki.shop.tables import Forecast, Item, OrderLine
from tests.factories.store_chain import ANALYST, TARGET, import_csv, make_chain, sales_csv
from tests.shop.test_orders import a_cycle

LATER = datetime(2026, 1, 5, tzinfo=UTC)
QUANTILES = dict.fromkeys((*QUANTILE_COLUMNS, "mean"), 80.0)


@pytest.fixture
def ordered(resources):
    """Chiba's beer (6 a case, 60 yen short, 10 yen left, keeps for long) and milk.

    Milk: 10 a case, 45 and 30 yen, keeps ten days.
    """
    make_chain(resources)
    import_csv(resources, "sales", sales_csv(TARGET.buffer.monday, TARGET.sunday), now=LATER)
    import_csv(
        resources,
        "stock",
        f"date,store,item,units\n{TARGET.buffer.sunday},chiba,beer,5\n",
        now=LATER,
    )
    with resources.db.write() as db:
        db.add(a_cycle("ordered"))
        db.flush()
        for item, case_units, proposed, cases, floor, expected in (
            ("beer", 6, 20, 30, 108.0, 77.0),
            ("milk", 10, 10, 20, 150.0, 33.0),
        ):
            key = {"week": str(TARGET), "store": "chiba", "item": item}
            values = {
                "proposed_cases": proposed,
                "cases": cases,
                "baseline_units": floor,
                "expected_cost_yen": expected,
                "unusual": 0.0,
            }
            db.add(
                OrderLine(
                    **key,
                    case_units=case_units,
                    recent_units=100.0,
                    reasons=[],
                    unusual_reasons=[],
                    **values,
                )
            )
            db.add(
                Forecast(
                    **key, cycle=str(TARGET), as_of=LATER, model="poisson_regression", **QUANTILES
                )
            )
    return resources


def test_every_cost_is_that_of_its_units_with_a_unit_left_as_ordering_counts_it(ordered):
    with ordered.db.write() as db:
        beer, milk = evaluation.evaluate_week(db, ordered.warehouse, TARGET, LATER)
        share = rules.load_rules(db).holding
    short, left = 60.0, 10.0 * share
    for row, stock, (one, other), case_units in (
        (beer, 5, (short, left), 6),
        (milk, 0, (45.0, 30.0), 10),
    ):
        units = {
            "cost_yen": row.ordered_units,
            "proposed_cost_yen": row.proposed_units,
            "baseline_cost_yen": 108 if row is beer else 150,
        }
        assert row.ordered_units % case_units == 0
        for name, units_ordered in units.items():
            difference = stock + units_ordered - row.actual
            assert getattr(row, name) == pytest.approx(
                difference * other if difference > 0 else -difference * one
            ), name
    assert (beer.expected_cost_yen, milk.expected_cost_yen) == (77.0, 33.0)
    assert beer.available_units == 185


def test_a_unit_of_what_does_not_keep_is_lost_and_of_what_keeps_only_in_the_way(ordered):
    with ordered.db.read() as db:
        chain = rules.load_rules(db)
        assert evaluation.get_unit_costs(db.get(Item, "beer"), chain) == (60.0, 2.5)
        assert evaluation.get_unit_costs(db.get(Item, "milk"), chain) == (45.0, 30.0)
        assert evaluation.list_evaluations(db, ANALYST) == []
