"""Drift: a change is detected, small samples raise nothing, and a second count agrees."""

import numpy as np
import pytest
from scipy import stats

from tanuki.shop.monitoring import drift


def weeks(rng, n, size, mean=0.0, spread=1.0, week_spread=0.0):
    return {f"w{k}": rng.normal(mean + rng.normal(0, week_spread), spread, size) for k in range(n)}


def counts(rng, n, size, shares):
    return {
        f"w{k}": dict(zip("abcd", map(float, rng.multinomial(size, shares)), strict=False))
        for k in range(n)
    }


def test_numbers_that_moved_are_found_and_those_that_did_not_are_not():
    rng = np.random.default_rng(1)
    before = weeks(rng, 26, 60)
    assert not drift.measure_numeric_drift(before, weeks(rng, 4, 60), seed=1).drifted
    moved = drift.measure_numeric_drift(before, weeks(rng, 4, 60, mean=0.8), seed=1)
    assert moved.drifted
    assert (moved.recent_rows, moved.reference_rows) == (240, 26 * 60)
    assert moved.p < 0.002
    assert drift.measure_numeric_drift(before, weeks(rng, 4, 60, spread=2.5), seed=1).drifted


def test_the_distance_is_kolmogorov_and_smirnovs():
    rng = np.random.default_rng(2)
    before, after = weeks(rng, 8, 40), weeks(rng, 3, 40, mean=0.5)
    results = drift.measure_numeric_drift(before, after, seed=1)
    known = stats.ks_2samp(
        np.concatenate(list(before.values())), np.concatenate(list(after.values()))
    )
    assert results.distance == pytest.approx(known.statistic, abs=0.02)


def test_the_index_is_the_sum_that_the_book_gives():
    before, after = {"w0": {"a": 600.0, "b": 400.0}}, {"w1": {"a": 300.0, "b": 700.0}}
    by_hand = (0.3 - 0.6) * np.log(0.3 / 0.6) + (0.7 - 0.4) * np.log(0.7 / 0.4)
    assert drift.measure_category_drift(before, after, seed=1).psi == pytest.approx(
        by_hand, abs=0.005
    )


def test_categories_that_moved_are_found_also_new_ones_and_those_that_did_not_are_not():
    rng = np.random.default_rng(3)
    before = counts(rng, 26, 300, [0.5, 0.3, 0.2])
    assert not drift.measure_category_drift(
        before, counts(rng, 4, 300, [0.5, 0.3, 0.2]), seed=1
    ).drifted
    assert drift.measure_category_drift(
        before, counts(rng, 4, 300, [0.2, 0.3, 0.5]), seed=1
    ).drifted
    assert drift.measure_category_drift(
        before, counts(rng, 4, 300, [0.3, 0.3, 0.2, 0.2]), seed=1
    ).drifted


def test_a_small_move_is_not_worth_an_alarm_however_sure_it_is():
    rng = np.random.default_rng(4)
    results = drift.measure_numeric_drift(
        weeks(rng, 26, 3000), weeks(rng, 4, 3000, mean=0.1), seed=1
    )
    assert results.p < 0.01
    assert results.psi < 0.2
    assert not results.drifted


def test_small_samples_whose_index_is_large_by_chance_alone_do_not_alarm():
    """Thirteen rows a side often give an index above 0.2; the test keeps false alarms rare."""
    limits = drift.DriftLimits(rows=1)
    results = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        results.append(
            drift.measure_numeric_drift(weeks(rng, 8, 4), weeks(rng, 4, 4), seed=1, limits=limits)
        )
    assert sum(result.psi >= limits.psi for result in results) > 50
    assert sum(result.drifted for result in results) <= 4


def test_weeks_that_differ_as_wholes_do_not_alarm_where_single_rows_would():
    """A test of rows would call nearly every such sample drift; the test of weeks does not."""
    rows, periods = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        before, after = weeks(rng, 12, 50, week_spread=0.7), weeks(rng, 4, 50, week_spread=0.7)
        test = stats.ks_2samp(
            np.concatenate(list(before.values())), np.concatenate(list(after.values()))
        )
        rows += test.pvalue <= 0.01
        periods += drift.measure_numeric_drift(before, after, seed=1).drifted
    assert rows > 30
    assert periods <= 4


def test_too_little_says_nothing():
    rng = np.random.default_rng(5)
    far = weeks(rng, 4, 60, mean=9)
    assert not drift.measure_numeric_drift({}, far, seed=1).enough
    assert not drift.measure_numeric_drift(weeks(rng, 3, 60), far, seed=1).enough
    assert not drift.measure_numeric_drift(
        weeks(rng, 26, 60), weeks(rng, 1, 60, mean=9), seed=1
    ).drifted
    assert not drift.measure_numeric_drift(
        weeks(rng, 26, 60), weeks(rng, 4, 5, mean=9), seed=1
    ).drifted
    assert drift.measure_category_drift({"w0": {}}, {"w1": {}}, seed=1) == drift.NO_DRIFT
    assert drift.measure_numeric_drift({"w0": np.array([])}, far, seed=1) == drift.NO_DRIFT


def test_the_same_seed_says_the_same():
    rng = np.random.default_rng(6)
    before, after = weeks(rng, 12, 30), weeks(rng, 4, 30, mean=0.3)
    assert drift.measure_numeric_drift(before, after, seed=7) == drift.measure_numeric_drift(
        before, after, seed=7
    )
