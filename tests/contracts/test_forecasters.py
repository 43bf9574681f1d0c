"""What holds for every forecaster, whatever is inside it."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tanuki.shop.calendar import Week
from tanuki.shop.forecasting.forecaster import (
    DEFAULT_FORECASTER,
    FORECAST_SCHEMA,
    FORECASTERS,
    QUANTILE_COLUMNS,
    make_forecaster,
)
from tanuki.shop.panel import History, Panel, history_from_sales

TARGET = Week(2021, 3)


def simulate_sales(
    store: str, item: str, weeks: int, mean: float, *, end: date = TARGET.cutoff, seed: int = 1
) -> pl.DataFrame:
    """So many weeks of Poisson sales with a weekday shape, up to `end`."""
    days = [end - timedelta(days=n) for n in range(7 * weeks)][::-1]
    random = np.random.default_rng([seed, *store.encode(), *item.encode()])
    units = random.poisson([mean * (1.3 if day.weekday() >= 4 else 0.9) for day in days]).astype(
        float
    )
    return pl.DataFrame({"date": days, "store": store, "item": item, "units": units})


def simulate_chain(weeks: int = 60) -> History:
    """Three stores with two items each, and a fourth that opened three weeks ago."""
    established = [
        simulate_sales(store, item, weeks, mean)
        for store, mean in [("a", 20), ("b", 40), ("c", 3)]
        for item in ("milk", "beer")
    ]
    return history_from_sales(pl.concat([*established, simulate_sales("new", "milk", 3, 10)]))


@pytest.fixture(scope="module", params=list(FORECASTERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulate_chain().build_panel(TARGET)


@pytest.fixture(scope="module")
def fitted(name, panel):
    model = make_forecaster(name)
    model.fit(panel)
    return model


@pytest.fixture(scope="module")
def forecast(fitted, panel) -> pl.DataFrame:
    return fitted.predict(panel)


def fit_and_predict(name: str, panel: Panel) -> pl.DataFrame:
    model = make_forecaster(name)
    model.fit(panel)
    return model.predict(panel)


def test_every_series_has_both_weeks_and_their_sum_once(forecast):
    assert forecast.schema == FORECAST_SCHEMA
    assert forecast.height == 7 * 3
    assert forecast.select("store", "item", "week").is_unique().all()
    assert set(forecast["week"]) == {"2021-W02", "2021-W03", "2021-W02/2021-W03"}


def test_quantiles_are_finite_never_negative_and_never_cross(forecast):
    values = forecast.select(QUANTILE_COLUMNS).to_numpy()
    assert np.isfinite(values).all()
    assert np.isfinite(forecast["mean"].to_numpy()).all()
    assert (values >= 0).all()
    assert (np.diff(values, axis=1) >= 0).all()


def test_the_level_of_a_steady_series_is_within_20_percent(forecast):
    week = forecast.filter(pl.col("store") == "b", pl.col("week") == "2021-W03")
    truth = 40 * (3 * 1.3 + 4 * 0.9)
    assert week["mean"].to_list() == pytest.approx([truth, truth], rel=0.2)


def test_the_same_panel_gives_the_identical_forecast(name, panel, forecast):
    assert fit_and_predict(name, panel).equals(forecast)


def test_a_saved_model_is_the_same_when_loaded(name, fitted, panel, forecast, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = make_forecaster(name)
    loaded.load(tmp_path / "model")
    assert loaded.predict(panel).equals(forecast)
    assert loaded.parameters == fitted.parameters


def test_saved_files_have_plain_formats(fitted, tmp_path):
    fitted.save(tmp_path)
    assert {file.suffix for file in Path(tmp_path).iterdir()} <= {".json", ".txt", ".npz"}


def test_the_panel_is_not_changed(name):
    panel = simulate_chain().build_panel(TARGET)
    sales_before = panel.sales.clone()
    fit_and_predict(name, panel)
    assert panel.sales.equals(sales_before)


def test_the_order_of_rows_and_columns_makes_no_difference(name, panel, forecast):
    shuffled = replace(
        panel,
        sales=panel.sales.sample(fraction=1, shuffle=True, seed=5).select(
            "units", "item", "date", "store"
        ),
    )
    assert fit_and_predict(name, shuffled).equals(forecast)


def test_unknown_stores_and_items_are_forecast(name, fitted):
    wider = history_from_sales(
        pl.concat(
            [
                simulate_chain().sales,
                simulate_sales("d", "milk", 20, 30),
                simulate_sales("a", "tea", 2, 8),
                simulate_sales("d", "cola", 1, 5),
            ]
        )
    ).build_panel(TARGET)
    forecast = fitted.predict(wider)
    assert forecast.height == 10 * 3
    assert np.isfinite(forecast.select(QUANTILE_COLUMNS).to_numpy()).all()
    known_item = forecast.filter(
        pl.col("store") == "d", pl.col("item") == "milk", pl.col("week") == "2021-W03"
    )
    assert known_item["mean"].item() == pytest.approx(30 * 7.5, rel=0.35)


def test_no_sales_give_an_empty_forecast(name):
    empty = history_from_sales(simulate_chain().sales.clear()).build_panel(TARGET)
    forecast = fit_and_predict(name, empty)
    assert forecast.height == 0
    assert forecast.schema == FORECAST_SCHEMA


@pytest.mark.parametrize("days", [1, 5, 9])
def test_a_chain_with_a_few_days_of_sales_is_forecast(name, days):
    young = pl.concat([simulate_sales("a", item, 2, 20) for item in ("milk", "beer")]).filter(
        pl.col("date") > TARGET.cutoff - timedelta(days=days)
    )
    forecast = fit_and_predict(name, history_from_sales(young).build_panel(TARGET))
    assert forecast.height == 6
    assert np.isfinite(forecast.select(QUANTILE_COLUMNS).to_numpy()).all()


def test_a_series_without_sales_for_months_is_forecast_near_zero(name):
    ended = simulate_chain().sales.with_columns(
        pl.when(
            (pl.col("item") == "beer")
            & (pl.col("store") == "b")
            & (pl.col("date") > date(2020, 8, 1))
        )
        .then(0.0)
        .otherwise(pl.col("units"))
        .alias("units")
    )
    forecast = fit_and_predict(name, history_from_sales(ended).build_panel(TARGET)).filter(
        pl.col("store") == "b", pl.col("item") == "beer"
    )
    assert (forecast.filter(pl.col("week") != TARGET.two_week_interval)["mean"] < 30).all()


def test_the_default_forecaster_exists():
    assert DEFAULT_FORECASTER in FORECASTERS


def test_sales_after_the_cutoff_do_not_change_the_forecast(name, forecast):
    after = [
        simulate_sales(store, "milk", 4, 500, end=date(2021, 2, 7), seed=9)
        for store in ("a", "b", "c", "new", "later")
    ]
    history = history_from_sales(
        pl.concat([simulate_chain().sales, *after])
        .filter((pl.col("date") <= TARGET.cutoff) | (pl.col("units") > 100))
        .unique(["date", "store", "item"], keep="first")
    )
    assert history.sales.filter(pl.col("date") > TARGET.cutoff).height > 100
    assert fit_and_predict(name, history.build_panel(TARGET)).equals(forecast)
