"""The benchmarks on real sales: their data, peers and scores. No data or peer is needed."""

import json
import sys
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from bench.lib import shop_data, shop_peers, shop_tables

from bench import shop_accuracy, shop_floor, shop_speed
from tanuki.shop.calendar import Week
from tanuki.shop.forecasting.forecaster import QUANTILE_COLUMNS, QUANTILE_LEVELS
from tanuki.shop.panel import history_from_sales

MONDAY = date(2020, 1, 6)


def make_weeks(*units: float | None) -> pl.DataFrame:
    """One store's weeks of one item; None is a week that is not in the file."""
    rows = [
        (MONDAY + timedelta(weeks=n), "s", "i", count, 2.5, n % 2 == 0)
        for n, count in enumerate(units)
        if count is not None
    ]
    return pl.DataFrame(
        rows, schema=["monday", "store", "item", "units", "price_yen", "deal"], orient="row"
    )


def make_poisson_days(seed: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    days = [MONDAY + timedelta(days=n) for n in range(364)]
    rows = [
        (day, "s", item, float(random.poisson(level * (1 + day.weekday() / 6))))
        for item, level in (("a", 20), ("b", 50))
        for day in days
    ]
    return pl.DataFrame(rows, schema=["date", "store", "item", "units"], orient="row")


def test_a_week_comes_back_from_its_sevenths():
    history = shop_data.history_from_weeks(make_weeks(70, 11, 5), ("deal",))
    assert [history.actual_sales(Week(2020, n))["actual"][0] for n in (2, 3, 4)] == pytest.approx(
        [70, 11, 5]
    )


def test_a_missing_week_is_unknown_and_not_zero():
    history = shop_data.history_from_weeks(make_weeks(70, None, 5, 6, 7), ("deal",))
    sales = history.build_panel(Week(2020, 8)).sales
    gap = sales.filter(pl.col("date").is_between(date(2020, 1, 13), date(2020, 1, 19)))
    assert gap["units"].null_count() == 7 and sales["units"].null_count() == 7


def test_prices_and_promotions_are_known_two_weeks_ahead_and_can_be_left_out():
    history = shop_data.history_from_weeks(make_weeks(1, 2, 3, 4, 5), ("deal",))
    target = Week(2020, 6)
    panel = history.build_panel(target)
    assert (
        panel.sales["date"].max() == target.cutoff and panel.prices["date"].max() == target.sunday
    )
    assert target.monday in panel.promotions["date"].to_list()
    bare = shop_data.remove_plans(history).build_panel(target)
    assert bare.prices.height == bare.promotions.height == 0 and bare.sales.equals(panel.sales)


def test_missing_data_are_named_and_nothing_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["shop_accuracy.py", "rolling", "--data", str(tmp_path)])
    shop_accuracy.main()
    assert "--data DIR" in capsys.readouterr().out


def test_structure_in_hindsight_leaves_only_noise_and_agrees_with_its_sums():
    fitted = shop_floor.fit_structure(make_poisson_days())
    assert shop_floor.estimate_dispersion(fitted) == pytest.approx(1.0, abs=0.1)
    sums = fitted.group_by("item").agg(pl.col("units", "mean").sum())
    assert sums["mean"].to_list() == pytest.approx(sums["units"].to_list(), rel=1e-6)


def test_the_noise_floor_covers_eight_of_ten_weeks():
    history = history_from_sales(make_poisson_days())
    forecast, inside = shop_floor.make_noise_floor(history), []
    for week in [Week(2020, n) for n in range(4, 53)]:
        rows = forecast(history.build_panel(week)).join(
            history.actual_sales(week), on=["store", "item"]
        )
        inside += (
            rows.select((pl.col("actual") >= pl.col("q10")) & (pl.col("actual") <= pl.col("q90")))
            .to_series()
            .to_list()
        )
    assert np.mean(inside) == pytest.approx(0.8, abs=0.1)


def test_peers_weeks_hold_the_last_known_week_over_a_gap():
    panel = shop_data.history_from_weeks(make_weeks(70, None, 7, 14), ("deal",)).build_panel(
        Week(2020, 7)
    )
    assert shop_peers.to_weekly_frame(panel)["y"].to_list() == pytest.approx([70, 70, 7, 14])


def test_peers_plans_hold_prices_of_other_items_and_the_target_week():
    rival = make_weeks(1, 2, 3, 4, 5).with_columns(
        pl.lit("j").alias("item"), pl.lit(4.0).alias("price_yen")
    )
    panel = shop_data.history_from_weeks(
        pl.concat([make_weeks(1, 2, 3, 4, 5), rival]), ("deal",)
    ).build_panel(Week(2020, 6))
    last = shop_peers.build_plans(panel).filter(pl.col("unique_id") == "s|i").row(-1, named=True)
    assert last == {
        "unique_id": "s|i",
        "ds": Week(2020, 6).monday,
        "price": 2.5,
        "price_i": 2.5,
        "price_j": 4.0,
        "deal": 1.0,
    }


def test_simple_peers_forecast_the_last_week_the_year_before_and_the_mean_of_four():
    panel = history_from_sales(make_poisson_days()).build_panel(Week(2021, 2))
    last = shop_peers.list_series(panel)[1][0]
    means = [
        peer(panel)["mean"][0]
        for peer in (
            shop_peers.forecast_naive,
            shop_peers.forecast_seasonal_naive,
            shop_peers.forecast_moving_average,
        )
    ]
    assert means == pytest.approx([last[-1], last[1], last[-4:].mean()])


def test_true_quantiles_have_nominal_hit_rates():
    actual = np.random.default_rng(2).normal(1000, 50, 4000)
    true = np.tile(1000 + 50 * shop_peers.NORMAL_SCORES, (4000, 1))
    assert shop_accuracy.decile_hit_rates(actual, true) == pytest.approx(
        shop_accuracy.DECILES, abs=0.03
    )


def test_a_peer_is_compared_by_its_cheaper_order():
    lines = [
        {"model": "naive", "wape": 0.2, "cost_3": 9.0, "points_3": 7.0},
        {"model": "moving average", "wape": 0.1, "cost_3": 8.0, "points_3": 8.5},
        {"model": "poisson_regression", "wape": 0.01, "cost_3": 1.0, "points_3": 1.0},
    ]
    assert shop_accuracy.find_best_peer(lines, "cost_3") == (
        7.0,
        "naive",
    ) and shop_accuracy.find_best_peer(lines, "wape") == (0.1, "moving average")
    assert shop_accuracy.find_best_peer(lines, "cost_3", ("moving",)) == (8.0, "moving average")


def test_a_peers_wape_is_that_of_its_better_point():
    rows = pl.DataFrame(
        {
            "actual": [2.0, 10.0],
            "mean": [4.0, 10.0],
            **{key: [2.0, 8.0] for key in QUANTILE_COLUMNS},
            "week": "w",
            "seconds": 1.0,
        }
    )
    peer = shop_accuracy.score_rows("skforecast+LightGBM", rows)
    assert peer["wape"] == peer["wape_median"] == pytest.approx(2 / 12)
    ours = {
        **shop_accuracy.score_rows(
            "poisson_regression", rows.with_columns(pl.lit(3.0).alias("mean"))
        ),
        "wape_median": 0.09,
    }
    peers = [
        {**peer, "wape_median": 0.1},
        {**peer, "model": "mlforecast+LightGBM weekly", "wape_median": None},
    ]
    assert shop_accuracy.find_best_peer([ours, *peers], "wape") == (0.1, "skforecast+LightGBM")
    targets = shop_accuracy.check_targets("orange_juice", [ours, *peers], "poisson_regression")
    assert targets[0].startswith("MISS wape of poisson_regression / best peer")
    assert (
        targets[1] == "ok   wape of poisson_regression's median / the same = 0.900 (at most 0.90)"
    )


def test_results_of_unmeasured_peers_stay_for_the_same_weeks_and_rows(tmp_path):
    path, stored = (
        tmp_path / "results.json",
        [{"model": name, "rows": 5} for name in ("naive", "seasonal naive", "poisson_regression")],
    )
    path.write_text(json.dumps({"weeks": ["2020-W01"], "models": stored}))
    measured_rows = [{"model": "poisson_regression", "rows": 5}, {"model": "naive", "rows": 5}]
    assert shop_accuracy.load_other_results(path, measured_rows, ["2020-W01"]) == [stored[1]]
    assert (
        shop_accuracy.load_other_results(path, measured_rows, ["2020-W02"])
        == shop_accuracy.load_other_results(tmp_path / "none", measured_rows, ["2020-W01"])
        == []
    )
    assert (
        shop_accuracy.load_other_results(
            path, [{"model": "poisson_regression", "rows": 4}], ["2020-W01"]
        )
        == []
    )


def test_the_documented_example_is_timed_but_not_scored():
    lines = [
        {"model": name, "series": 500, "seconds": seconds, "cost_3": 1.0}
        for name, seconds in (
            ("poisson_regression", 1.0),
            ("mlforecast+LightGBM daily", 6.0),
            (shop_peers.DOCUMENTED, 40.0),
        )
    ]
    targets = shop_speed.check_targets("poisson_regression", lines)
    assert [text[:4] for text in targets[::2]] == [
        "MISS",
        "ok  ",
    ] and shop_peers.DOCUMENTED in targets[2]
    assert (
        shop_peers.DOCUMENTED in shop_speed.PEERS
        and shop_peers.DOCUMENTED not in shop_accuracy.choose_peers("rolling", None)
    )


def test_only_rows_that_every_model_has_are_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(shop_accuracy, "CACHE_FOLDER", tmp_path)
    history = history_from_sales(make_poisson_days())
    models = {
        "naive": shop_peers.forecast_naive,
        "half": lambda panel: shop_peers.forecast_naive(panel).filter(pl.col("item") == "a"),
    }
    rows = shop_accuracy.measure_models(
        "x", history, [Week(2020, 40), Week(2020, 41)], models, again=False
    )
    assert rows.group_by("model").len()["len"].to_list() == [2, 2] and set(rows["item"]) == {"a"}


def test_stored_rows_of_a_peer_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(shop_accuracy, "CACHE_FOLDER", tmp_path)
    history, week = history_from_sales(make_poisson_days()), Week(2020, 40)
    first = shop_accuracy.load_or_forecast(
        "x", week, "naive", shop_peers.forecast_naive, history, keep=True
    )
    stored = shop_accuracy.load_or_forecast(
        "x", week, "naive", lambda panel: 1 / 0, history, keep=True
    )
    assert stored.equals(first) and first.select(QUANTILE_COLUMNS).to_numpy().shape == (
        2,
        len(QUANTILE_LEVELS),
    )


def test_made_sales_span_three_years_and_depend_only_on_the_seed():
    sales = shop_speed.make_sales(20)
    assert (
        sales.select("store", "item").n_unique() == 20
        and sales["date"].max() == shop_speed.TARGET.sunday
    )
    assert sales["date"].min() == shop_speed.TARGET.cutoff - timedelta(
        days=365 * 3 - 1
    ) and sales.equals(shop_speed.make_sales(20))


def test_growth_is_measured_from_500_series_to_the_largest():
    lines = [
        {"model": "m", "series": n, "seconds": s, "panel_s": s, "cost_3": 1.0}
        for n, s in ((500, 1.0), (5_000, 10.0))
    ]
    assert (
        shop_speed.check_targets("m", lines)[0]
        == "ok   fit and predict: growth exponent 1.00 from 500 to 5,000 series (at most 1.1)"
    )


def test_the_chains_files_are_36_whole_months(tmp_path):
    files = shop_speed.write_monthly_files(20, tmp_path / "files")
    assert len(files) == 36 and files[-1].name == f"sales_{shop_speed.TARGET.cutoff:%Y-%m}.csv"
    first = pl.read_csv(files[0], try_parse_dates=True)
    assert (
        first["date"].min().day == 1
        and (first["total_sales_amount"] == first["sales"] * shop_speed.PRICE_YEN).all()
    )


def test_a_new_table_replaces_only_the_old_one():
    page = "a\n<!-- x -->\nold\n<!-- end x -->\n<!-- y -->\n<!-- end y -->\nb\n"
    assert shop_tables.replace_section(page, "x", "| new \\1 |") == page.replace(
        "old", "\n| new \\1 |\n"
    )
