"""Proposals from the database: forecasts, stock, masters and rules become order lines."""

from datetime import timedelta
from math import fsum

import polars as pl
import pytest

from tanuki.errors import UserError
from tanuki.shop import explanation, forecasts, rules
from tanuki.shop.forecasting.forecaster import NORMAL_SCORES, QUANTILE_COLUMNS
from tanuki.shop.proposals import propose_week
from tanuki.shop.tables import DEFAULT_RULES, Item, Store
from tests.factories.store_chain import ANALYST, ITEMS, NOW, STORES, TARGET, import_csv, make_chain
from tests.shop.test_orders import a_cycle

MONDAY = TARGET.buffer.monday


def forecast(
    res, *, contributions=None, weeks=(str(TARGET.buffer), str(TARGET), TARGET.two_week_interval)
):
    """Every store and item sells 100 a week, give or take 10; the weeks are independent."""
    shapes = dict(
        zip(
            (str(TARGET.buffer), str(TARGET), TARGET.two_week_interval),
            ((100, 10), (100, 10), (200, 10 * 2**0.5)),
            strict=True,
        )
    )
    rows = [
        {
            "store": store,
            "item": item,
            "week": week,
            "mean": float(shapes[week][0]),
            "contributions": contributions if week == str(TARGET) else None,
        }
        | {
            name: shapes[week][0] + shapes[week][1] * float(score)
            for name, score in zip(QUANTILE_COLUMNS, NORMAL_SCORES, strict=True)
        }
        for store in STORES
        for item in ITEMS
        for week in weeks
    ]
    with res.db.write() as db:
        db.add(a_cycle("forecast"))
        db.flush()
        forecasts.save_forecast(
            db,
            TARGET,
            pl.DataFrame([{k: v for k, v in row.items() if k != "contributions"} for row in rows]),
            "poisson_regression",
            NOW,
        )
        for forecast in forecasts.list_target_forecasts(db, TARGET):
            forecast.contributions = contributions


def propose_lines(res):
    with res.db.read() as db:
        return {
            (line.store, line.item): line
            for line in propose_week(res, db, TARGET, NOW + timedelta(hours=1))
        }


def set_rules(res, **shares):
    with res.db.write() as db:
        return rules.change_rules(
            db,
            ANALYST,
            rules.RulesChange(True, True, "tests", shares),
            NOW,
        )


def stock(res, units, on_order=0):
    rows = [f"{{day}},{store},{item},{{units}}" for store in STORES for item in ITEMS]
    for kind, day, count in (("stock", TARGET.cutoff, units), ("deliveries", MONDAY, on_order)):
        text = "\n".join(
            ["date,store,item,units", *(row.format(day=day, units=count) for row in rows)]
        )
        import_csv(res, kind, text + "\n")


@pytest.fixture
def chain(resources):
    return make_chain(resources)


def test_without_stock_each_line_is_the_quantity_to_have_and_its_sum_is_the_proposal(chain):
    forecast(chain)
    lines = propose_lines(chain)
    assert set(lines) == {(store, item) for store in STORES for item in ITEMS}
    for line in lines.values():
        assert [reason["code"] for reason in line.reasons][:2] == ["sum", "demand"]
        assert fsum(reason["units"] for reason in line.reasons[0]["parts"]) == pytest.approx(
            line.proposed_cases * line.case_units
        )
        assert "quantity to have" in explanation.render_summary(line.reasons)
        assert line.baseline_units == round(line.recent_units / line.case_units) * line.case_units
        assert line.expected_cost_yen > 0


def test_the_sum_starts_with_what_the_last_known_week_sold(chain):
    forecast(chain, contributions={"last": 130.0, "season": -20.0, "level": -10.0})
    assert explanation.render_summary(propose_lines(chain)["chiba", "milk"].reasons).startswith(
        "Sold 130 last week; season −20, "
    )


def test_a_forecast_that_does_not_say_what_moved_it_starts_with_the_sales(chain):
    forecast(chain)
    line = propose_lines(chain)["chiba", "beer"]
    parts = explanation.extract_parts(line.reasons)
    with chain.db.read() as db:
        sold = chain.warehouse.query_facts(
            db,
            "select sum(units) from shop_sales "
            "where store = 'chiba' and item = 'beer' and date > '2021-01-03'",
            as_of=NOW,
        ).item()
    assert (parts[0].code, parts[0].units) == ("last", sold)
    assert parts[1].code == "change" and parts[0].units + parts[1].units == 100


def test_stock_and_what_is_on_the_way_are_taken_off_by_what_keeps(chain):
    forecast(chain)
    before = propose_lines(chain)
    stock(chain, units=120, on_order=30)
    after = propose_lines(chain)
    beer, milk = (
        {reason["code"]: reason for reason in after["chiba", item].reasons}
        for item in ("beer", "milk")
    )
    assert (beer["stock"]["on_hand"], beer["stock"]["on_order"]) == (120, 30)
    assert beer["stock"]["left"] == pytest.approx(50, abs=1)
    assert milk["stock"]["left"] == pytest.approx(
        30, abs=1
    )  # it keeps ten days: what was on hand is too old, what is on the way is not
    assert milk["expires"]["units"] == pytest.approx(20, abs=1)
    for item in ITEMS:
        assert after["chiba", item].proposed_cases < before["chiba", item].proposed_cases
    assert after["chiba", "beer"].baseline_units < before["chiba", "beer"].baseline_units


def test_without_a_forecast_of_the_week_between_stock_says_nothing(chain):
    forecast(chain, weeks=(str(TARGET),))
    stock(chain, units=120)
    assert "stock_unknown" in {
        reason["code"] for reason in propose_lines(chain)["chiba", "beer"].reasons
    }


def test_the_service_of_an_items_class_and_the_share_of_holding_are_the_chains(chain):
    forecast(chain)
    set_rules(chain, service_a=0.99, service_b=0.0, service_c=0.9, holding=1.0)
    with chain.db.write() as db:
        for item, service in zip(ITEMS, "ABC", strict=True):
            db.get(Item, item).service_class = service
    ratios = [propose_lines(chain)["osaka", item].reasons[2]["ratio"] for item in ITEMS]
    assert ratios == pytest.approx([0.99, 36 / 44, 0.9])
    set_rules(chain, holding=0.5)  # the others stay
    ratios = [propose_lines(chain)["osaka", item].reasons[2]["ratio"] for item in ITEMS]
    assert ratios == pytest.approx([0.99, 36 / 40, 0.9])


def test_each_stores_lines_share_its_truck_and_its_shelves(chain):
    forecast(chain)
    free = propose_lines(chain)
    with chain.db.write() as db:
        db.get(Store, "chiba").truck_cases = 20
        db.get(Store, "osaka").shelf_units = 200
    tight = propose_lines(chain)
    assert sum(line.proposed_cases for (store, _), line in tight.items() if store == "chiba") == 20
    units = sum(
        line.proposed_cases * line.case_units
        for (store, _), line in tight.items()
        if store == "osaka"
    )
    assert 200 - 12 < units <= 200
    assert sum(line.proposed_cases for line in free.values()) > sum(
        line.proposed_cases for line in tight.values()
    )
    assert any(
        reason["code"] == "at_truck"
        for reason in tight["chiba", "milk"].unusual_reasons
        + tight["chiba", "coffee"].unusual_reasons
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service_a", 1.0),
        ("service_c", -0.1),
        ("holding", 1.1),
        ("unusual", 0.0),
        ("too_much", 11.0),
    ],
)
def test_a_share_out_of_its_range_is_refused_and_nothing_changes(embedded, name, value):
    with pytest.raises(UserError, match=f"{name} is {value}; expected a share from"):
        set_rules(embedded, **{name: value})
    with embedded.db.read() as db:
        assert rules.load_rules_history(db) == []
        assert {name: getattr(rules.load_rules(db), name) for name in rules.SHARE_RANGES} == {
            name: DEFAULT_RULES[name] for name in rules.SHARE_RANGES
        }


def test_masters_say_the_class_of_an_item_and_what_a_store_holds(embedded):
    make_chain(embedded)
    import_csv(embedded, "items", "商品名,サービス区分\nbeer,A\ncoffee,\nmilk,D\n")
    import_csv(embedded, "stores", "店舗,棚容量,配送上限\nchiba,400,25\nosaka,,-1\n")
    with embedded.db.read() as db:
        assert [db.get(Item, item).service_class for item in ITEMS] == ["A", "B", "B"]
        limits = [
            (store.shelf_units, store.truck_cases)
            for store in (db.get(Store, code) for code in STORES)
        ]
    assert limits == [(400, 25), (None, None)]
