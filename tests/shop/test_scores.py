"""Every score agrees with a second computation, in SQL."""

import sqlite3
from statistics import NormalDist

import numpy as np
import pytest

from tanuki.shop import scores
from tanuki.shop.forecasting.forecaster import QUANTILE_LEVELS, interpolate_quantile

ROWS = 300


@pytest.fixture(scope="module")
def numbers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    actual = random.poisson(40, ROWS).astype(float)
    forecast = np.round(actual * random.uniform(0.6, 1.5, ROWS), 1)
    forecast[:10] = actual[:10]
    actual[10] = forecast[10] = 0.0
    return actual, forecast, np.sort(random.uniform(0, 80, (ROWS, len(QUANTILE_LEVELS))), axis=1)


@pytest.fixture(scope="module")
def table(numbers) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    columns = ", ".join(f"q{n} real" for n in range(len(QUANTILE_LEVELS)))
    db.execute(f"create table t (a real, f real, {columns})")
    db.executemany(
        f"insert into t values (?, ?{', ?' * len(QUANTILE_LEVELS)})",
        [[a, f, *q] for a, f, q in zip(*(number.tolist() for number in numbers), strict=True)],
    )
    return db


@pytest.mark.parametrize(
    ("score", "query"),
    [
        (scores.wape, "select sum(abs(a - f)) / sum(a) from t"),
        (scores.bias, "select (sum(f) - sum(a)) / sum(a) from t"),
        (scores.under_forecast_share, "select avg(f < a) from t"),
        (scores.shortage_units, "select sum(max(a - f, 0)) from t"),
        (scores.leftover_units, "select sum(max(f - a, 0)) from t"),
        (scores.mean_cost, "select avg(case when a > f then 3 * (a - f) else f - a end) from t"),
        (scores.fill_rate, "select sum(min(a, f)) / sum(a) from t"),
    ],
)
def test_a_score_agrees_with_sql(numbers, table, score, query):
    (oracle,) = table.execute(query).fetchone()
    assert score(numbers[0], numbers[1]) == pytest.approx(oracle)


def test_pinball_agrees_with_sql(numbers, table):
    parts = " union all ".join(
        f"select case when a >= q{n} then {tau} * (a - q{n})"
        f" else (1 - {tau}) * (q{n} - a) end as loss from t"
        for n, tau in enumerate(QUANTILE_LEVELS)
    )
    (oracle,) = table.execute(f"select avg(loss) from ({parts})").fetchone()
    assert scores.pinball(numbers[0], numbers[2], QUANTILE_LEVELS) == pytest.approx(oracle)


def test_coverage_agrees_with_sql(numbers, table):
    (oracle,) = table.execute("select avg(a between q1 and q5) from t").fetchone()
    assert scores.coverage_80(numbers[0], numbers[2][:, 1], numbers[2][:, 5]) == pytest.approx(
        oracle
    )


def test_the_order_at_the_critical_ratio_is_the_cheapest(numbers):
    actual = numbers[0]
    quantiles = np.tile(np.quantile(actual, QUANTILE_LEVELS), (ROWS, 1))
    cheapest = min(
        range(20, 70), key=lambda units: scores.mean_cost(actual, np.full(ROWS, float(units)))
    )
    assert interpolate_quantile(quantiles, 0.75)[0] == pytest.approx(cheapest, abs=1)


def test_scores_of_no_rows_are_zero():
    nothing = np.zeros(0)
    assert [score(nothing, nothing) for score in (scores.wape, scores.bias, scores.mean_cost)] == [
        0.0,
        0.0,
        0.0,
    ]
    assert scores.fill_rate(nothing, nothing) == 1.0


@pytest.mark.parametrize("level", [0.01, 0.05, 0.07, 0.5, 0.75, 5 / 6, 0.95, 0.99])
def test_a_quantile_between_two_is_between_them_as_in_a_normal_distribution(numbers, level):
    normal_scores = [NormalDist().inv_cdf(quantile) for quantile in QUANTILE_LEVELS]
    expected = [np.interp(NormalDist().inv_cdf(level), normal_scores, line) for line in numbers[2]]
    assert interpolate_quantile(numbers[2], level) == pytest.approx(expected)
