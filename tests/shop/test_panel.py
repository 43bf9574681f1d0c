"""What was known when a week was ordered."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tanuki.errors import UserError
from tanuki.shop import panel
from tanuki.shop.calendar import Week, weeks_between
from tanuki.shop.features import event, grid, weekly
from tanuki.shop.panel import History, check, of_sales
from tests.factories.store_chain import NOW, TARGET, bring, make_chain, sales_csv

MONDAY = date(2020, 11, 2)


def sold(store: str, item: str, first: date, days: int, units: float = 5.0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date": [first + timedelta(days=n) for n in range(days)],
            "store": store,
            "item": item,
            "units": [units + n for n in range(days)],
        }
    )


def with_plans(history: History, prices=(), promotions=()) -> History:
    return History(
        sales=history.sales,
        prices=pl.DataFrame(list(prices), schema=history.prices.schema, orient="row"),
        promotions=pl.DataFrame(list(promotions), schema=history.promotions.schema, orient="row"),
        weather=history.weather,
        stores=history.stores,
        deliveries=history.deliveries,
    )


@pytest.mark.parametrize(
    "target", [Week(2020, 52), Week(2020, 53), Week(2021, 1), Week(2021, 2), Week(2022, 1)]
)
def test_a_panel_ends_on_the_sunday_eight_days_before_its_week_over_every_new_year(target):
    made = of_sales(sold("a", "milk", MONDAY, 500)).panel(target)
    assert made.sales["date"].max() == target.monday - timedelta(days=8)
    assert made.sales["date"].max().weekday() == 6


def test_the_grid_is_whole_from_the_first_sale_to_the_cutoff():
    sales = pl.concat([sold("a", "milk", MONDAY, 70), sold("a", "beer", date(2020, 11, 18), 1)])
    beer = of_sales(sales).panel(Week(2021, 1)).sales.filter(pl.col("item") == "beer")
    assert beer["date"].to_list() == [
        date(2020, 11, 18) + timedelta(days=n)
        for n in range((Week(2021, 1).cutoff - date(2020, 11, 18)).days + 1)
    ]
    assert beer["units"].to_list() == [5.0] + [0.0] * (beer.height - 1)


@pytest.mark.parametrize(("gap", "units"), [(1, 0.0), (3, 0.0), (4, None), (12, None)])
def test_a_store_silent_for_up_to_three_days_was_closed_and_for_longer_is_unknown(gap, units):
    sales = sold("a", "milk", MONDAY, 40).filter(
        ~pl.col("date").is_between(date(2020, 11, 9), date(2020, 11, 9) + timedelta(days=gap - 1))
    )
    silent = (
        of_sales(sales)
        .panel(Week(2020, 52))
        .sales.filter(
            pl.col("date").is_between(
                date(2020, 11, 9), date(2020, 11, 9) + timedelta(days=gap - 1)
            )
        )
    )
    assert silent["units"].to_list() == [units] * gap


def test_days_that_a_store_has_not_reported_yet_are_unknown_and_not_zero():
    sales = pl.concat([sold("a", "milk", MONDAY, 60), sold("b", "milk", MONDAY, 40)])
    late = (
        of_sales(sales)
        .panel(Week(2020, 53))
        .sales.filter(pl.col("store") == "b", pl.col("date") > MONDAY + timedelta(days=39))
    )
    assert late.height > 0
    assert late["units"].null_count() == late.height


def test_a_week_is_known_only_when_the_store_reported_it_to_its_end():
    history = of_sales(
        pl.concat(
            [
                sold("a", "milk", MONDAY, 14),
                sold("b", "milk", MONDAY, 10),
                sold("c", "milk", date(2020, 11, 11), 10),
            ]
        )
    )
    assert history.actual(Week(2020, 46)).to_dicts() == [
        {"store": "a", "item": "milk", "actual": sum(5.0 + n for n in range(7, 14))}
    ]


def test_whole_weeks_leave_out_the_partial_first_and_last_one():
    assert of_sales(sold("a", "milk", date(2020, 1, 1), 547)).weeks() == (
        Week(2020, 2),
        Week(2021, 25),
    )
    with pytest.raises(UserError, match="no whole week"):
        of_sales(sold("a", "milk", date(2020, 1, 1), 9)).weeks()


def test_a_stores_own_price_goes_before_every_stores_and_ends_when_it_says():
    history = of_sales(pl.concat([sold("a", "milk", MONDAY, 40), sold("b", "milk", MONDAY, 40)]))
    plans = [
        ("milk", "", date(2020, 1, 1), None, 150.0),
        ("milk", "a", date(2020, 12, 14), date(2020, 12, 20), 120.0),
        ("milk", "", date(2020, 12, 25), None, 160.0),
    ]
    prices = with_plans(history, plans).panel(Week(2020, 52)).prices
    paid = {(store, day): price for day, store, _, price in prices.iter_rows()}
    assert [paid["a", date(2020, 12, day)] for day in (13, 14, 20, 21, 27)] == [
        150.0,
        120.0,
        120.0,
        150.0,
        160.0,
    ]
    assert [paid["b", date(2020, 12, day)] for day in (13, 14, 27)] == [150.0, 150.0, 160.0]
    assert prices["date"].max() == Week(2020, 52).sunday


def test_a_promotion_of_all_stores_or_items_counts_for_each_and_the_largest_wins():
    history = of_sales(
        pl.concat(
            [
                sold("a", "milk", MONDAY, 40),
                sold("a", "beer", MONDAY, 40),
                sold("b", "milk", MONDAY, 40),
            ]
        )
    )
    plans = [
        ("", "milk", date(2020, 12, 22), date(2020, 12, 22), "price", 0.1),
        ("a", "", date(2020, 12, 22), date(2020, 12, 23), "price", 0.3),
    ]
    plans.append(("b", "milk", date(2020, 12, 22), date(2020, 12, 22), "display", 0.0))
    found = with_plans(history, promotions=plans).panel(Week(2020, 52)).promotions
    assert {
        (day.day, store, item, kind): off for day, store, item, kind, off in found.iter_rows()
    } == {
        (22, "a", "milk", "price"): 0.3,
        (22, "a", "beer", "price"): 0.3,
        (22, "b", "milk", "price"): 0.1,
        (22, "b", "milk", "display"): 0.0,
        (23, "a", "milk", "price"): 0.3,
        (23, "a", "beer", "price"): 0.3,
    }


def test_a_frame_that_is_not_a_panel_is_refused():
    good = of_sales(sold("a", "milk", MONDAY, 30)).panel(Week(2020, 52)).sales
    assert check(good) is good
    for bad in (good.with_columns(-pl.col("units")), pl.concat([good, good]), good.drop("store")):
        with pytest.raises(UserError, match="panel"):
            check(bad)


def test_what_is_loaded_is_what_was_recorded_by_then(embedded):
    res = make_chain(embedded)
    bring(
        res,
        "sales",
        sales_csv(date(2021, 1, 4), date(2021, 1, 10), more=100),
        NOW + timedelta(days=1),
    )
    with res.db.read() as db:
        then = panel.load(db, res.warehouse, as_of=NOW + timedelta(hours=1)).panel(TARGET).sales
        later = panel.load(db, res.warehouse, as_of=NOW + timedelta(days=2)).panel(TARGET).sales
    assert later["units"].sum() - then["units"].sum() == 100 * 7 * 6
    assert then.height == later.height


def test_prices_and_regions_are_loaded_with_the_sales(embedded):
    res = make_chain(embedded)
    with res.db.read() as db:
        made = panel.load(db, res.warehouse, as_of=datetime(2021, 2, 1, tzinfo=UTC)).panel(TARGET)
    assert dict(made.stores.iter_rows()) == {"chiba": "east", "osaka": "west"}
    assert set(made.prices.filter(pl.col("date") == TARGET.sunday)["price_yen"]) == {
        200.0,
        120.0,
        150.0,
    }


def test_the_grid_of_numbers_holds_the_sales_and_weeks_add_them_up():
    sales = pl.concat([sold("b", "milk", date(2020, 11, 4), 60), sold("a", "beer", MONDAY, 60)])
    made = of_sales(sales).panel(Week(2020, 52))
    numbers = grid(made)
    assert numbers.keys.rows() == [("a", "beer"), ("b", "milk")]
    assert numbers.days[0] == MONDAY
    weeks = weekly(numbers.units)
    for line, (store, item) in enumerate(numbers.keys.rows()):
        for n, week in enumerate(weeks_between(Week(2020, 46), Week(2020, 50)), start=1):
            inside = made.sales.filter(
                pl.col("store") == store,
                pl.col("item") == item,
                pl.col("date").is_between(week.monday, week.sunday),
            )
            assert weeks[line, n] == inside["units"].sum()


@pytest.mark.parametrize(
    ("day", "what"),
    [
        (date(2021, 1, 1), "year_end"),
        (date(2020, 12, 31), "year_end"),
        (date(2021, 1, 11), "holiday"),
        (date(2021, 5, 3), "golden_week"),
        (date(2021, 8, 15), "obon"),
        (date(2021, 7, 23), "holiday"),
        (date(2021, 7, 19), "ordinary"),
        (date(2021, 6, 1), "ordinary"),
    ],
)
def test_days_are_what_they_are_in_japan(day, what):
    assert event(day) == what
