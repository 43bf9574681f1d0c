"""Panels hold what was known when a week was ordered, and nothing later."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tanuki.errors import UserError
from tanuki.shop import panel
from tanuki.shop.calendar import Week, weeks_between
from tanuki.shop.features import build_grid, classify_day, sum_weeks
from tanuki.shop.panel import History, history_from_sales, validate_sales
from tests.factories.store_chain import NOW, TARGET, import_csv, make_chain, sales_csv

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


def add_plans(history: History, prices=(), promotions=()) -> History:
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
    cut = history_from_sales(sold("a", "milk", MONDAY, 500)).build_panel(target)
    assert cut.sales["date"].max() == target.monday - timedelta(days=8)
    assert cut.sales["date"].max().weekday() == 6


def test_the_grid_has_every_day_from_the_first_sale_to_the_cutoff():
    sales = pl.concat([sold("a", "milk", MONDAY, 70), sold("a", "beer", date(2020, 11, 18), 1)])
    beer = (
        history_from_sales(sales).build_panel(Week(2021, 1)).sales.filter(pl.col("item") == "beer")
    )
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
        history_from_sales(sales)
        .build_panel(Week(2020, 52))
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
        history_from_sales(sales)
        .build_panel(Week(2020, 53))
        .sales.filter(pl.col("store") == "b", pl.col("date") > MONDAY + timedelta(days=39))
    )
    assert late.height > 0
    assert late["units"].null_count() == late.height


def test_actual_sales_are_those_of_stores_that_reported_the_whole_week():
    history = history_from_sales(
        pl.concat(
            [
                sold("a", "milk", MONDAY, 14),
                sold("b", "milk", MONDAY, 10),
                sold("c", "milk", date(2020, 11, 11), 10),
            ]
        )
    )
    assert history.actual_sales(Week(2020, 46)).to_dicts() == [
        {"store": "a", "item": "milk", "actual": sum(5.0 + n for n in range(7, 14))}
    ]


def test_whole_weeks_leave_out_the_partial_first_and_last_one():
    assert history_from_sales(sold("a", "milk", date(2020, 1, 1), 547)).complete_weeks() == (
        Week(2020, 2),
        Week(2021, 25),
    )
    with pytest.raises(UserError, match="no whole week"):
        history_from_sales(sold("a", "milk", date(2020, 1, 1), 9)).complete_weeks()


def test_a_stores_own_price_goes_before_the_chains_while_it_is_in_force():
    history = history_from_sales(
        pl.concat([sold("a", "milk", MONDAY, 40), sold("b", "milk", MONDAY, 40)])
    )
    plans = [
        ("milk", "", date(2020, 1, 1), None, 150.0),
        ("milk", "a", date(2020, 12, 14), date(2020, 12, 20), 120.0),
        ("milk", "", date(2020, 12, 25), None, 160.0),
    ]
    prices = add_plans(history, plans).build_panel(Week(2020, 52)).prices
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


def test_a_promotion_of_all_stores_or_items_counts_for_each_with_the_largest_discount():
    history = history_from_sales(
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
    frame = add_plans(history, promotions=plans).build_panel(Week(2020, 52)).promotions
    assert {
        (day.day, store, item, kind): off for day, store, item, kind, off in frame.iter_rows()
    } == {
        (22, "a", "milk", "price"): 0.3,
        (22, "a", "beer", "price"): 0.3,
        (22, "b", "milk", "price"): 0.1,
        (22, "b", "milk", "display"): 0.0,
        (23, "a", "milk", "price"): 0.3,
        (23, "a", "beer", "price"): 0.3,
    }


def test_a_frame_that_is_not_a_panel_is_refused():
    valid = history_from_sales(sold("a", "milk", MONDAY, 30)).build_panel(Week(2020, 52)).sales
    assert validate_sales(valid) is valid
    for frame in (
        valid.with_columns(-pl.col("units")),
        pl.concat([valid, valid]),
        valid.drop("store"),
    ):
        with pytest.raises(UserError, match="panel"):
            validate_sales(frame)


def test_a_history_holds_what_was_recorded_by_its_moment(embedded):
    res = make_chain(embedded)
    import_csv(
        res,
        "sales",
        sales_csv(date(2021, 1, 4), date(2021, 1, 10), more=100),
        NOW + timedelta(days=1),
    )
    with res.db.read() as db:
        then = (
            panel.load_history(db, res.warehouse, as_of=NOW + timedelta(hours=1))
            .build_panel(TARGET)
            .sales
        )
        later = (
            panel.load_history(db, res.warehouse, as_of=NOW + timedelta(days=2))
            .build_panel(TARGET)
            .sales
        )
    assert later["units"].sum() - then["units"].sum() == 100 * 7 * 6
    assert then.height == later.height


def test_prices_and_regions_are_loaded_with_the_sales(embedded):
    res = make_chain(embedded)
    with res.db.read() as db:
        loaded = panel.load_history(
            db, res.warehouse, as_of=datetime(2021, 2, 1, tzinfo=UTC)
        ).build_panel(TARGET)
    assert dict(loaded.stores.iter_rows()) == {"chiba": "east", "osaka": "west"}
    assert set(loaded.prices.filter(pl.col("date") == TARGET.sunday)["price_yen"]) == {
        200.0,
        120.0,
        150.0,
    }


def test_the_grid_holds_the_sales_and_its_weeks_their_sums():
    sales = pl.concat([sold("b", "milk", date(2020, 11, 4), 60), sold("a", "beer", MONDAY, 60)])
    cut = history_from_sales(sales).build_panel(Week(2020, 52))
    grid = build_grid(cut)
    assert grid.keys.rows() == [("a", "beer"), ("b", "milk")]
    assert grid.days[0] == MONDAY
    weeks = sum_weeks(grid.units)
    for line, (store, item) in enumerate(grid.keys.rows()):
        for n, week in enumerate(weeks_between(Week(2020, 46), Week(2020, 50)), start=1):
            inside = cut.sales.filter(
                pl.col("store") == store,
                pl.col("item") == item,
                pl.col("date").is_between(week.monday, week.sunday),
            )
            assert weeks[line, n] == inside["units"].sum()


@pytest.mark.parametrize(
    ("day", "event"),
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
def test_days_are_classified_by_japans_calendar(day, event):
    assert classify_day(day) == event
