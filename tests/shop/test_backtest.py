"""Backtests: only what was known is used, and scores agree with a loop."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tanuki.errors import UserError
from tanuki.shop import backtest
from tanuki.shop.calendar import Week, parse_week, weeks_between
from tanuki.shop.forecasting.forecaster import (
    DEFAULT_FORECASTER,
    FORECASTERS,
    QUANTILE_COLUMNS,
    build_forecast,
    make_forecaster,
)
from tanuki.shop.panel import History, Panel, history_from_sales

DATA = Path(__file__).parents[3] / "shared" / "data" / "aishop"
FIRST, LAST = Week(2020, 52), Week(2021, 2)
QUICK = {name: FORECASTERS[name] for name in ("moving_average", DEFAULT_FORECASTER)}


def chain() -> History:
    """Half a year of two stores and two items, to the Sunday of 2021-W02."""
    days = [
        date(2020, 7, 6) + timedelta(days=n)
        for n in range((LAST.sunday - date(2020, 7, 6)).days + 1)
    ]
    random = np.random.default_rng(3)
    return history_from_sales(
        pl.concat(
            pl.DataFrame(
                {
                    "date": days,
                    "store": store,
                    "item": item,
                    "units": random.poisson(mean, len(days)).astype(float),
                }
            )
            for store, item, mean in [
                ("a", "milk", 20),
                ("a", "beer", 8),
                ("b", "milk", 40),
                ("b", "beer", 15),
            ]
        )
    )


class Spy:
    """A forecaster that records its panels and forecasts ten units of everything."""

    name = "spy"
    panels: list[Panel] = []  # noqa: RUF012 shared: units week makes a new forecaster

    def fit(self, panel: Panel) -> None:
        self.panels.append(panel)

    def predict(self, panel: Panel) -> pl.DataFrame:
        keys = panel.sales.select("store", "item").unique().sort("store", "item")
        tens = np.full((keys.height, len(QUANTILE_COLUMNS)), 10.0)
        return build_forecast(panel, keys, [tens, tens], [tens[:, 0], tens[:, 0]])


def test_every_week_is_forecast_once_from_what_was_known_over_the_new_year():
    Spy.panels.clear()
    rows = backtest.run_backtest(chain(), weeks_between(FIRST, LAST), {"spy": Spy})
    assert [str(panel.target) for panel in Spy.panels] == [
        "2020-W52",
        "2020-W53",
        "2021-W01",
        "2021-W02",
    ]
    for panel in Spy.panels:
        assert panel.sales["date"].max() == panel.target.monday - timedelta(days=8)
    assert rows.group_by("week").len()["len"].to_list() == [4] * 4


def test_scores_are_those_of_a_loop_over_the_rows():
    history = chain()
    rows = backtest.run_backtest(history, [Week(2021, 1)], {"spy": Spy}, shortage=5.0, leftover=2.0)
    week = history.sales.filter(pl.col("date").is_between(date(2021, 1, 4), date(2021, 1, 10)))
    sold = [
        week.filter(pl.col("store") == s, pl.col("item") == i)["units"].sum()
        for s in "ab"
        for i in ("beer", "milk")
    ]
    (score,) = backtest.summarize_backtest(rows, shortage=5.0, leftover=2.0)
    assert score["rows"] == 4
    assert score["wape"] == pytest.approx(sum(abs(units - 10) for units in sold) / sum(sold))
    assert score["bias"] == pytest.approx((40 - sum(sold)) / sum(sold))
    assert score["shortage_units"] == sum(max(units - 10, 0) for units in sold)
    assert score["leftover_units"] == sum(max(10 - units, 0) for units in sold)
    assert score["cost"] == pytest.approx(
        sum(5 * max(units - 10, 0) + 2 * max(10 - units, 0) for units in sold) / 4
    )
    assert score["fill_rate"] == pytest.approx(sum(min(units, 10) for units in sold) / sum(sold))


def test_the_order_is_the_quantile_where_costs_balance():
    history = chain()
    rows = backtest.run_backtest(history, [Week(2021, 1)], QUICK, shortage=9.0, leftover=1.0)
    assert rows["order_units"].to_list() == pytest.approx(rows["q90"].to_list())


@pytest.mark.parametrize("name", list(FORECASTERS))
def test_sales_after_the_cutoff_change_no_bit_of_a_forecast(name):
    history, target = chain(), Week(2020, 53)
    changed = replace(
        history,
        sales=history.sales.with_columns(
            pl.when(pl.col("date") > target.cutoff)
            .then(pl.col("units") * 9 + 100)
            .otherwise(pl.col("units"))
            .alias("units")
        ),
    )
    forecasts = []
    for known in (history, changed):
        model = make_forecaster(name)
        panel = known.build_panel(target)
        model.fit(panel)
        forecasts.append(model.predict(panel))
    assert (
        changed.actual_sales(target)["actual"].sum()
        > 5 * history.actual_sales(target)["actual"].sum()
    )
    assert forecasts[0].equals(forecasts[1])


def test_peoples_orders_are_scored_beside_the_models():
    history = chain()
    orders = history.actual_sales(Week(2021, 1)).select(
        pl.lit(date(2021, 1, 4)).alias("date"),
        "store",
        "item",
        (pl.col("actual") + 7).alias("units"),
    )
    rows = backtest.run_backtest(replace(history, deliveries=orders), [Week(2021, 1)], QUICK)
    managers = backtest.summarize_backtest(rows)[-1]
    assert (
        managers["model"],
        managers["rows"],
        managers["shortage_units"],
        managers["leftover_units"],
    ) == ("managers", 4, 0.0, 28.0)
    assert managers["coverage_80"] is None


def test_a_week_that_no_store_reported_in_full_is_not_scored():
    assert backtest.run_backtest(chain(), [Week(2021, 3)], QUICK).height == 0


@pytest.mark.parametrize(
    ("first", "last"),
    [("2021-W02", "2021-W01"), ("2020-W20", "2021-W01"), ("2020-W50", "2021-W03")],
)
def test_weeks_without_sales_are_refused(first, last):
    with pytest.raises(UserError, match=r"2020-W|2021-W"):
        backtest.check_week_range(chain(), parse_week(first), parse_week(last))


def test_a_published_forecast_is_compared_on_the_rows_that_both_have(tmp_path):
    history = chain()
    lines = [
        "year,week_of_year,store,item,item_price,prediction",
        "2021,1,a,milk,150,150",
        "2021,1,b,milk,150,250",
        "2021,1,gone,milk,150,10",
    ]
    (tmp_path / "published.csv").write_text("\n".join(lines), encoding="utf-8")
    week, forecast = backtest.read_published_forecast(tmp_path / "published.csv")
    assert week == Week(2021, 1)
    published, model = backtest.compare_with_published(
        backtest.join_published_forecast(
            history, week, forecast, make_forecaster(DEFAULT_FORECASTER)
        ),
        DEFAULT_FORECASTER,
    )
    assert published["rows"] == model["rows"] == 2
    sold = dict(
        history.actual_sales(week)
        .filter(pl.col("item") == "milk")
        .select("store", "actual")
        .iter_rows()
    )
    errors = [(150 - sold["a"]), (250 - sold["b"])]
    assert published["wape"] == pytest.approx(sum(map(abs, errors)) / sum(sold.values()))
    assert published["cost_5"] == pytest.approx(
        sum(error if error > 0 else -5 * error for error in errors) / 2
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("year,store,item\n2021,a,milk", "week_of_year"),
        ("year,week_of_year,store,item,prediction\n2021,1,a,milk,3\n2021,2,a,milk,3", "2 weeks"),
        ("year,week_of_year,store,item,prediction\n2021,53,a,milk,3", "no week 53"),
        ("", "cannot be read"),
    ],
)
def test_a_file_that_is_no_published_forecast_is_refused(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        backtest.read_published_forecast(tmp_path / "bad.csv")


@pytest.mark.skipif(not DATA.exists(), reason="the shop's real sales are not here")
def test_the_default_beats_the_published_forecasts_on_their_own_weeks():
    sales = pl.read_csv(DATA / "sales_2020-01-01_2021-06-30.csv", try_parse_dates=True)
    history = history_from_sales(
        sales.select("date", "store", "item", pl.col("sales").cast(pl.Float64).alias("units"))
    )
    rows = []
    for name in ("2020-W52", "2021-W03", "2021-W04"):
        week, published = backtest.read_published_forecast(DATA / f"published_forecast_{name}.csv")
        model = make_forecaster(DEFAULT_FORECASTER)
        rows.append(backtest.join_published_forecast(history, week, published, model))
    published_scores, model_scores = backtest.compare_with_published(
        pl.concat(rows), DEFAULT_FORECASTER
    )
    assert model_scores["wape"] < 0.8 * published_scores["wape"]
    assert model_scores["cost_3"] < 0.8 * published_scores["cost_3"]
    assert model_scores["cost_5"] < 0.7 * published_scores["cost_5"]
