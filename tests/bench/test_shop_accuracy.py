"""The benches on real sales: what they read, what they compare with, and how they score. Their data and their peers' libraries need not be there."""

import json
import sys
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from bench.lib import shop_data, shop_peers, shop_tables

from bench import shop_accuracy, shop_floor, shop_speed
from tanuki.shop.calendar import Week
from tanuki.shop.forecasting.forecaster import COLUMNS, QUANTILES
from tanuki.shop.panel import of_sales

MONDAY = date(2020, 1, 6)


def weeks(*units: float | None) -> pl.DataFrame:
    """One store's weeks of one item; None is a week that is not in the file."""
    rows = [
        (MONDAY + timedelta(weeks=n), "s", "i", sold, 2.5, n % 2 == 0)
        for n, sold in enumerate(units)
        if sold is not None
    ]
    return pl.DataFrame(
        rows, schema=["monday", "store", "item", "units", "price_yen", "deal"], orient="row"
    )


def poisson_days(seed: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    days = [MONDAY + timedelta(days=n) for n in range(364)]
    rows = [
        (day, "s", item, float(random.poisson(level * (1 + day.weekday() / 6))))
        for item, level in (("a", 20), ("b", 50))
        for day in days
    ]
    return pl.DataFrame(rows, schema=["date", "store", "item", "units"], orient="row")


def test_a_week_comes_back_from_its_sevenths():
    history = shop_data.of_weeks(weeks(70, 11, 5), ("deal",))
    assert [history.actual(Week(2020, n))["actual"][0] for n in (2, 3, 4)] == pytest.approx(
        [70, 11, 5]
    )


def test_a_missing_week_is_unknown_and_not_zero():
    history = shop_data.of_weeks(weeks(70, None, 5, 6, 7), ("deal",))
    sales = history.panel(Week(2020, 8)).sales
    gap = sales.filter(pl.col("date").is_between(date(2020, 1, 13), date(2020, 1, 19)))
    assert gap["units"].null_count() == 7 and sales["units"].null_count() == 7


def test_prices_and_promotions_are_known_two_weeks_ahead_and_can_be_left_out():
    history = shop_data.of_weeks(weeks(1, 2, 3, 4, 5), ("deal",))
    target = Week(2020, 6)
    panel = history.panel(target)
    assert (
        panel.sales["date"].max() == target.cutoff and panel.prices["date"].max() == target.sunday
    )
    assert target.monday in panel.promotions["date"].to_list()
    bare = shop_data.without_plans(history).panel(target)
    assert bare.prices.height == bare.promotions.height == 0 and bare.sales.equals(panel.sales)


def test_data_that_are_not_there_are_said_and_nothing_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["shop_accuracy.py", "rolling", "--data", str(tmp_path)])
    shop_accuracy.main()
    assert "--data DIR" in capsys.readouterr().out


def test_structure_in_hindsight_leaves_only_noise_and_agrees_with_its_sums():
    fitted = shop_floor.structure(poisson_days())
    assert shop_floor.dispersion(fitted) == pytest.approx(1.0, abs=0.1)
    sums = fitted.group_by("item").agg(pl.col("units", "mean").sum())
    assert sums["mean"].to_list() == pytest.approx(sums["units"].to_list(), rel=1e-6)


def test_floor_covers_as_often_as_it_says():
    history = of_sales(poisson_days())
    forecast, inside = shop_floor.floor(history), []
    for week in [Week(2020, n) for n in range(4, 53)]:
        rows = forecast(history.panel(week)).join(history.actual(week), on=["store", "item"])
        inside += (
            rows.select((pl.col("actual") >= pl.col("q10")) & (pl.col("actual") <= pl.col("q90")))
            .to_series()
            .to_list()
        )
    assert np.mean(inside) == pytest.approx(0.8, abs=0.1)


def test_weeks_of_peers_are_whole_and_hold_the_last_known_one_over_a_gap():
    panel = shop_data.of_weeks(weeks(70, None, 7, 14), ("deal",)).panel(Week(2020, 7))
    assert shop_peers.weekly(panel)["y"].to_list() == pytest.approx([70, 70, 7, 14])


def test_plans_of_peers_hold_rival_prices_and_reach_the_target_week():
    rival = weeks(1, 2, 3, 4, 5).with_columns(
        pl.lit("j").alias("item"), pl.lit(4.0).alias("price_yen")
    )
    panel = shop_data.of_weeks(pl.concat([weeks(1, 2, 3, 4, 5), rival]), ("deal",)).panel(
        Week(2020, 6)
    )
    last = shop_peers.plans(panel).filter(pl.col("unique_id") == "s|i").row(-1, named=True)
    assert last == {
        "unique_id": "s|i",
        "ds": Week(2020, 6).monday,
        "price": 2.5,
        "price_i": 2.5,
        "price_j": 4.0,
        "deal": 1.0,
    }


def test_simple_peers_see_the_last_week_the_year_before_and_four_weeks():
    panel = of_sales(poisson_days()).panel(Week(2021, 2))
    last = shop_peers.lines(panel)[1][0]
    means = [
        peer(panel)["mean"][0]
        for peer in (shop_peers.naive, shop_peers.seasonal_naive, shop_peers.moving_average)
    ]
    assert means == pytest.approx([last[-1], last[1], last[-4:].mean()])


def test_a_decile_is_hit_as_often_as_it_says_when_the_quantiles_are_true():
    actual = np.random.default_rng(2).normal(1000, 50, 4000)
    true = np.tile(1000 + 50 * shop_peers.SCORES, (4000, 1))
    assert shop_accuracy.hits(actual, true) == pytest.approx(shop_accuracy.DECILES, abs=0.03)


def test_a_peer_is_compared_by_the_cheaper_of_its_two_ways_to_order():
    lines = [
        {"model": "naive", "wape": 0.2, "cost_3": 9.0, "points_3": 7.0},
        {"model": "moving average", "wape": 0.1, "cost_3": 8.0, "points_3": 8.5},
        {"model": "pooled", "wape": 0.01, "cost_3": 1.0, "points_3": 1.0},
    ]
    assert shop_accuracy.best(lines, "cost_3") == (7.0, "naive") and shop_accuracy.best(
        lines, "wape"
    ) == (0.1, "moving average")
    assert shop_accuracy.best(lines, "cost_3", ("moving",)) == (8.0, "moving average")


def test_wape_is_that_of_the_mean_and_of_the_median_and_a_peer_counts_by_the_nearer():
    rows = pl.DataFrame(
        {
            "actual": [2.0, 10.0],
            "mean": [4.0, 10.0],
            **{key: [2.0, 8.0] for key in COLUMNS},
            "week": "w",
            "seconds": 1.0,
        }
    )
    made = shop_accuracy.line("skforecast+LightGBM", rows)
    assert made["wape"] == made["wape_median"] == pytest.approx(2 / 12)
    ours = {
        **shop_accuracy.line("pooled", rows.with_columns(pl.lit(3.0).alias("mean"))),
        "wape_median": 0.09,
    }
    peers = [
        {**made, "wape_median": 0.1},
        {**made, "model": "mlforecast+LightGBM weekly", "wape_median": None},
    ]
    assert shop_accuracy.best([ours, *peers], "wape") == (0.1, "skforecast+LightGBM")
    said = shop_accuracy.verdicts("orange_juice", [ours, *peers], "pooled")
    assert said[0].startswith("MISS wape of pooled / best peer")
    assert said[1] == "ok   wape of pooled's median / the same = 0.900 (at most 0.90)"


def test_a_peer_that_is_not_measured_stays_in_the_results_of_the_same_weeks_and_rows(tmp_path):
    path, known = (
        tmp_path / "kept.json",
        [{"model": name, "rows": 5} for name in ("naive", "seasonal naive", "pooled")],
    )
    path.write_text(json.dumps({"weeks": ["2020-W01"], "models": known}))
    measured = [{"model": "pooled", "rows": 5}, {"model": "naive", "rows": 5}]
    assert shop_accuracy.kept(path, measured, ["2020-W01"]) == [known[1]]
    assert (
        shop_accuracy.kept(path, measured, ["2020-W02"])
        == shop_accuracy.kept(tmp_path / "none", measured, ["2020-W01"])
        == []
    )
    assert shop_accuracy.kept(path, [{"model": "pooled", "rows": 4}], ["2020-W01"]) == []


def test_the_documented_example_is_timed_beside_the_one_on_a_single_thread_and_nowhere_scored():
    lines = [
        {"model": name, "series": 500, "seconds": seconds, "cost_3": 1.0}
        for name, seconds in (
            ("pooled", 1.0),
            ("mlforecast+LightGBM daily", 6.0),
            (shop_peers.DOCUMENTED, 40.0),
        )
    ]
    said = shop_speed.verdicts("pooled", lines)
    assert [text[:4] for text in said[::2]] == ["MISS", "ok  "] and shop_peers.DOCUMENTED in said[2]
    assert (
        shop_peers.DOCUMENTED in shop_speed.PEERS
        and shop_peers.DOCUMENTED not in shop_accuracy.chosen("rolling", None)
    )


def test_only_rows_that_every_model_has_are_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(shop_accuracy, "CACHE", tmp_path)
    history = of_sales(poisson_days())
    models = {
        "naive": shop_peers.naive,
        "half": lambda panel: shop_peers.naive(panel).filter(pl.col("item") == "a"),
    }
    rows = shop_accuracy.measured(
        "x", history, [Week(2020, 40), Week(2020, 41)], models, again=False
    )
    assert rows.group_by("model").len()["len"].to_list() == [2, 2] and set(rows["item"]) == {"a"}


def test_kept_rows_of_a_peer_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(shop_accuracy, "CACHE", tmp_path)
    history, week = of_sales(poisson_days()), Week(2020, 40)
    first = shop_accuracy.forecast("x", week, "naive", shop_peers.naive, history, keep=True)
    again = shop_accuracy.forecast("x", week, "naive", lambda panel: 1 / 0, history, keep=True)
    assert again.equals(first) and first.select(COLUMNS).to_numpy().shape == (2, len(QUANTILES))


def test_made_chain_has_three_years_of_every_series_and_the_same_seed_the_same_sales():
    made = shop_speed.sales(20)
    assert (
        made.select("store", "item").n_unique() == 20
        and made["date"].max() == shop_speed.TARGET.sunday
    )
    assert made["date"].min() == shop_speed.TARGET.cutoff - timedelta(
        days=365 * 3 - 1
    ) and made.equals(shop_speed.sales(20))


def test_growth_is_told_from_500_series_to_the_largest():
    lines = [
        {"model": "m", "series": n, "seconds": s, "panel_s": s, "cost_3": 1.0}
        for n, s in ((500, 1.0), (5_000, 10.0))
    ]
    assert (
        shop_speed.verdicts("m", lines)[0]
        == "ok   fit and predict: growth exponent 1.00 from 500 to 5,000 series (at most 1.1)"
    )


def test_the_chain_of_files_is_36_months_that_import_takes(tmp_path):
    files = shop_speed.monthly(20, tmp_path / "files")
    assert len(files) == 36 and files[-1].name == f"sales_{shop_speed.TARGET.cutoff:%Y-%m}.csv"
    first = pl.read_csv(files[0], try_parse_dates=True)
    assert (
        first["date"].min().day == 1
        and (first["total_sales_amount"] == first["sales"] * shop_speed.PRICE).all()
    )


def test_a_table_replaces_the_one_before_it_and_nothing_else():
    page = "a\n<!-- x -->\nold\n<!-- end x -->\n<!-- y -->\n<!-- end y -->\nb\n"
    assert shop_tables.replaced(page, "x", "| new \\1 |") == page.replace("old", "| new \\1 |")
