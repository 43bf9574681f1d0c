"""Past weeks forecast again: with nothing but what was known, and scored as by hand."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tanuki.errors import UserError
from tanuki.shop import backtest
from tanuki.shop.calendar import Week, parse_week, weeks_between
from tanuki.shop.forecasting.forecaster import COLUMNS, FORECASTERS, forecast, make
from tanuki.shop.panel import History, Panel, of_sales

DATA = Path(__file__).parents[3] / "shared" / "data" / "aishop"
FIRST, LAST = Week(2020, 52), Week(2021, 2)
QUICK = {name: FORECASTERS[name] for name in ("moving_average", "pooled")}


def chain() -> History:
    """Half a year of two stores and two items, to the Sunday of 2021-W02."""
    days = [
        date(2020, 7, 6) + timedelta(days=n)
        for n in range((LAST.sunday - date(2020, 7, 6)).days + 1)
    ]
    random = np.random.default_rng(3)
    return of_sales(
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
    """A forecaster that keeps what it was shown, and says ten of everything."""

    name = "spy"
    seen: list[Panel] = []  # noqa: RUF012 shared on purpose: each week makes a new one

    def fit(self, panel: Panel) -> None:
        self.seen.append(panel)

    def predict(self, panel: Panel) -> pl.DataFrame:
        keys = panel.sales.select("store", "item").unique().sort("store", "item")
        tens = np.full((keys.height, len(COLUMNS)), 10.0)
        return forecast(panel, keys, [tens, tens], [tens[:, 0], tens[:, 0]])


def test_every_week_is_forecast_once_from_what_was_known_over_the_new_year():
    Spy.seen.clear()
    rows = backtest.run(chain(), weeks_between(FIRST, LAST), {"spy": Spy})
    assert [str(panel.target) for panel in Spy.seen] == [
        "2020-W52",
        "2020-W53",
        "2021-W01",
        "2021-W02",
    ]
    for panel in Spy.seen:
        assert panel.sales["date"].max() == panel.target.monday - timedelta(days=8)
    assert rows.group_by("week").len()["len"].to_list() == [4] * 4


def test_scores_are_those_of_a_loop_over_the_rows():
    history = chain()
    rows = backtest.run(history, [Week(2021, 1)], {"spy": Spy}, shortage=5.0, leftover=2.0)
    week = history.sales.filter(pl.col("date").is_between(date(2021, 1, 4), date(2021, 1, 10)))
    sold = [
        week.filter(pl.col("store") == s, pl.col("item") == i)["units"].sum()
        for s in "ab"
        for i in ("beer", "milk")
    ]
    (found,) = backtest.summary(rows, shortage=5.0, leftover=2.0)
    assert found["rows"] == 4
    assert found["wape"] == pytest.approx(sum(abs(each - 10) for each in sold) / sum(sold))
    assert found["bias"] == pytest.approx((40 - sum(sold)) / sum(sold))
    assert found["shortage_units"] == sum(max(each - 10, 0) for each in sold)
    assert found["leftover_units"] == sum(max(10 - each, 0) for each in sold)
    assert found["cost"] == pytest.approx(
        sum(5 * max(each - 10, 0) + 2 * max(10 - each, 0) for each in sold) / 4
    )
    assert found["fill_rate"] == pytest.approx(sum(min(each, 10) for each in sold) / sum(sold))


def test_the_order_is_the_quantile_where_costs_balance():
    history = chain()
    rows = backtest.run(history, [Week(2021, 1)], QUICK, shortage=9.0, leftover=1.0)
    assert rows["ordered"].to_list() == pytest.approx(rows["q90"].to_list())


@pytest.mark.parametrize("name", list(FORECASTERS))
def test_changing_every_sale_after_the_cutoff_moves_no_forecast_by_one_bit(name):
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
    made = []
    for known in (history, changed):
        model = make(name)
        panel = known.panel(target)
        model.fit(panel)
        made.append(model.predict(panel))
    assert changed.actual(target)["actual"].sum() > 5 * history.actual(target)["actual"].sum()
    assert made[0].equals(made[1])


def test_what_people_ordered_is_a_row_beside_the_models():
    history = chain()
    orders = history.actual(Week(2021, 1)).select(
        pl.lit(date(2021, 1, 4)).alias("date"),
        "store",
        "item",
        (pl.col("actual") + 7).alias("units"),
    )
    rows = backtest.run(replace(history, deliveries=orders), [Week(2021, 1)], QUICK)
    people = backtest.summary(rows)[-1]
    assert (
        people["model"],
        people["rows"],
        people["shortage_units"],
        people["leftover_units"],
    ) == ("managers", 4, 0.0, 28.0)
    assert people["coverage_80"] is None


def test_a_week_that_nobody_reported_to_its_end_is_not_scored():
    assert backtest.run(chain(), [Week(2021, 3)], QUICK).height == 0


@pytest.mark.parametrize(
    ("first", "last"),
    [("2021-W02", "2021-W01"), ("2020-W20", "2021-W01"), ("2020-W50", "2021-W03")],
)
def test_weeks_without_sales_cannot_be_asked_for(first, last):
    with pytest.raises(UserError, match=r"2020-W|2021-W"):
        backtest.covered(chain(), parse_week(first), parse_week(last))


def test_a_published_forecast_is_compared_on_the_rows_that_both_have(tmp_path):
    history = chain()
    lines = [
        "year,week_of_year,store,item,item_price,prediction",
        "2021,1,a,milk,150,150",
        "2021,1,b,milk,150,250",
        "2021,1,gone,milk,150,10",
    ]
    (tmp_path / "published.csv").write_text("\n".join(lines), encoding="utf-8")
    week, theirs = backtest.read_published(tmp_path / "published.csv")
    assert week == Week(2021, 1)
    published, ours = backtest.compared(
        backtest.beside_published(history, week, theirs, make("pooled")), "pooled"
    )
    assert published["rows"] == ours["rows"] == 2
    sold = dict(
        history.actual(week).filter(pl.col("item") == "milk").select("store", "actual").iter_rows()
    )
    errors = [(150 - sold["a"]), (250 - sold["b"])]
    assert published["wape"] == pytest.approx(sum(map(abs, errors)) / sum(sold.values()))
    assert published["cost_5"] == pytest.approx(
        sum(error if error > 0 else -5 * error for error in errors) / 2
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("year,store,item\n2021,a,milk", "week_of_year"),
        ("year,week_of_year,store,item,prediction\n2021,1,a,milk,3\n2021,2,a,milk,3", "2 weeks"),
        ("year,week_of_year,store,item,prediction\n2021,53,a,milk,3", "no week 53"),
        ("", "cannot be read"),
    ],
)
def test_a_file_that_is_no_published_forecast_is_refused_in_a_sentence(tmp_path, text, says):
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        backtest.read_published(tmp_path / "bad.csv")


@pytest.mark.skipif(not DATA.exists(), reason="the shop's real sales are not here")
def test_the_default_beats_the_published_forecasts_on_their_own_weeks():
    sales = pl.read_csv(DATA / "sales_2020-01-01_2021-06-30.csv", try_parse_dates=True)
    history = of_sales(
        sales.select("date", "store", "item", pl.col("sales").cast(pl.Float64).alias("units"))
    )
    found = []
    for name in ("2020-W52", "2021-W03", "2021-W04"):
        week, published = backtest.read_published(DATA / f"published_forecast_{name}.csv")
        found.append(backtest.beside_published(history, week, published, make("pooled")))
    theirs, ours = backtest.compared(pl.concat(found), "pooled")
    assert ours["wape"] < 0.8 * theirs["wape"]
    assert ours["cost_3"] < 0.8 * theirs["cost_3"]
    assert ours["cost_5"] < 0.7 * theirs["cost_5"]
