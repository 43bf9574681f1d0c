"""The gate's statistics against simple loops: which challengers are refused, and why."""

from pathlib import Path

import numpy as np
import pytest

from tanuki.i18n import Texts
from tanuki.platform import web
from tanuki.platform.mlops import evaluation, reasons
from tanuki.platform.mlops.evaluation import ComparisonData, Limits, Measure
from tanuki.platform.mlops.reasons import ReasonTexts, render_reason

LOCALE = Path(web.__path__[0]) / "locale"
WEEKS, EACH = 10, 30


def losses(seed: int, spread: float = 0.0, factor: float = 1.0) -> np.ndarray:
    """Losses that share hard and easy weeks; `spread` is a model's own noise."""
    shared = np.random.default_rng(0)
    hard = np.repeat(shared.gamma(4, 0.25, WEEKS), EACH) * shared.gamma(2, 50, WEEKS * EACH)
    return hard * factor * np.exp(np.random.default_rng(seed).normal(0, spread, WEEKS * EACH))


def case(challenger, champion=None, floor=None, **kwargs) -> ComparisonData:
    given = {"new": challenger, "old": champion, "plain": floor}
    return ComparisonData(
        block=[f"w{n // EACH:02d}" for n in range(WEEKS * EACH)],
        slices={"store": [f"s{n % 6}" for n in range(WEEKS * EACH)]},
        measures=[
            Measure("loss", {name: values for name, values in given.items() if values is not None})
        ],
        challenger="new",
        champion=None if champion is None else "old",
        baselines=[] if floor is None else ["plain"],
        **kwargs,
    )


def bootstrap(blocks: int, draws: int, length: int, *, seed: int) -> np.ndarray:
    limits = Limits(bootstrap_draws=draws, block_length=length, seed=seed)
    return evaluation.block_bootstrap_weights(blocks, limits)


def codes(verdict) -> list[str]:
    return [reason["code"] for reason in verdict.reasons]


def test_twenty_challengers_equal_to_the_champion_but_for_chance_pass():
    for seed in range(1, 21):
        verdict = evaluation.compare_models(
            case(losses(seed, 0.3), losses(99, 0.3), losses(98, factor=1.4))
        )
        assert (verdict.go, verdict.reasons) == (True, []), seed


def test_a_tenth_worse_everywhere_is_worse_though_weeks_differ_far_more():
    verdict = evaluation.compare_models(
        case(losses(1, 0.1, factor=1.1), losses(2, 0.1), losses(3, factor=1.4))
    )
    assert codes(verdict) == ["worse_overall"]
    assert verdict.reasons[0]["change"] == pytest.approx(0.1, abs=0.03)
    assert 0.02 < verdict.reasons[0]["low"] < 0.1 < verdict.reasons[0]["high"]


def test_one_store_that_doubles_is_named_though_the_whole_is_hardly_worse():
    spoilt = losses(1)
    spoilt[np.arange(len(spoilt)) % 6 == 4] *= 2
    rest = losses(2) * np.where(np.arange(len(spoilt)) % 6 == 4, 1.0, 1.3)
    verdict = evaluation.compare_models(case(spoilt, rest, losses(3, factor=1.6)))
    assert [(reason["code"], reason["slice"], reason["label"]) for reason in verdict.reasons] == [
        ("worse_slice", "store", "s4")
    ]


def test_who_does_not_beat_the_plain_rule_is_refused_with_and_without_a_champion():
    assert codes(evaluation.compare_models(case(losses(1), None, losses(1)))) == [
        "not_above_baseline"
    ]
    assert codes(evaluation.compare_models(case(losses(1), losses(1), losses(1, factor=0.9)))) == [
        "not_above_baseline"
    ]
    assert evaluation.compare_models(case(losses(1), None, losses(1, factor=1.01))).go


def test_without_a_champion_only_a_slice_far_worse_than_the_plain_rule_is_refused():
    rows = np.arange(WEEKS * EACH) % 6 == 2
    floor = losses(1, factor=1.5)
    assert evaluation.compare_models(case(losses(1) * np.where(rows, 2.0, 1.0), None, floor)).go
    assert [
        reason["label"]
        for reason in evaluation.compare_models(
            case(losses(1) * np.where(rows, 3.0, 1.0), None, floor)
        ).reasons
    ] == ["s2"]


def test_the_best_of_several_floors_is_the_one_to_beat():
    measure = Measure(
        "loss", {"new": losses(1), "a": losses(1, factor=1.2), "b": losses(1, factor=0.9)}
    )
    found = evaluation.compare_models(
        ComparisonData(["w"] * 300, {}, [measure], "new", None, ["a", "b"])
    )
    assert (found.baseline, found.reasons[0]["other"]) == ("b", "b")


def test_people_are_shown_and_refuse_nobody():
    measure = Measure(
        "loss",
        {
            "new": losses(1),
            "a": losses(1, factor=1.2),
            "people": np.where(np.arange(300) < 50, losses(1) * 0.1, np.nan),
        },
    )
    verdict = evaluation.compare_models(
        ComparisonData(case(losses(1)).block, {}, [measure], "new", None, ["a"], ["people"])
    )
    (line,) = [comparison for comparison in verdict.comparisons if comparison["other"] == "people"]
    assert (verdict.go, line["rows"], line["change"]) == (True, 50, pytest.approx(9.0))


def test_a_measure_per_unit_sold_is_worse_in_points_of_that():
    sold = np.full(300, 100.0)
    short = Measure(
        "short",
        {"new": np.full(300, 8.0), "old": np.full(300, 2.0)},
        denominator=sold,
        must_beat_baseline=False,
    )
    verdict = evaluation.compare_models(
        ComparisonData(case(losses(1)).block, {}, [short], "new", "old", [])
    )
    assert verdict.reasons[0]["change"] == pytest.approx(0.06)


def test_nothing_to_compare_is_no_go():
    assert codes(evaluation.compare_models(case(np.full(300, np.nan), losses(1), losses(2)))) == [
        "no_common_rows"
    ]


def test_a_fault_found_before_is_a_reason_and_the_rest_is_still_compared():
    verdict = evaluation.compare_models(
        case(losses(1), losses(1), losses(1, factor=1.2)),
        faults=[{"code": "not_finite", "rows": 1, "of": 300}],
    )
    assert (verdict.go, codes(verdict)) == (False, ["not_finite"])
    assert verdict.comparisons


def test_slices_with_few_rows_or_weeks_are_shown_and_not_judged():
    spoilt = losses(1) * np.where(np.arange(300) % 6 == 0, 9.0, 1.0)
    verdict = evaluation.compare_models(
        case(spoilt, losses(1), None), Limits(min_rows=51, overall=5.0)
    )
    assert (
        verdict.go,
        {line["tested"] for line in verdict.comparisons if line["slice"] == "store"},
    ) == (True, {False})


def test_draws_are_those_of_a_dumb_loop_and_every_block_comes_up_as_often():
    drawn, random = bootstrap(7, 400, 3, seed=4), np.random.default_rng(4)
    starts = random.integers(0, 7, size=(400, 3))
    for line, first in zip(drawn, starts, strict=True):
        picked = [(start + step) % 7 for start in first for step in range(3)][:7]
        assert [picked.count(block) for block in range(7)] == line.tolist()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_change_and_interval_are_those_of_resampling_rows_by_hand():
    made = case(losses(1, 0.3, 1.2), losses(2, 0.3))
    ours, theirs = (
        made.measures[0].losses["new"].reshape(WEEKS, EACH),
        made.measures[0].losses["old"].reshape(WEEKS, EACH),
    )
    again = []
    for counts in bootstrap(WEEKS, 2000, 2, seed=1):
        picked = np.repeat(np.arange(WEEKS), counts.astype(int))
        again.append(ours[picked].sum() / theirs[picked].sum() - 1)
    (line,) = [
        comparison
        for comparison in evaluation.compare_models(made).comparisons
        if comparison["slice"] == "all"
    ]
    assert line["change"] == pytest.approx(ours.sum() / theirs.sum() - 1)
    assert (line["low"], line["high"]) == pytest.approx(tuple(np.quantile(again, [0.05, 0.95])))


def test_chance_is_a_t_test_on_blocks_when_they_are_drawn_one_by_one():
    from scipy.stats import ttest_1samp

    excess = np.random.default_rng(3).normal(0.4, 1, 12)
    expected = ttest_1samp(excess, 0, alternative="greater").pvalue
    assert evaluation.p_value(excess, bootstrap(12, 20_000, 1, seed=1)) == pytest.approx(
        expected, rel=0.05
    )


@pytest.mark.parametrize(
    ("excess", "expected"), [([2.0] * 8, 0.0), ([-2.0] * 8, 1.0), ([0.0] * 8, 1.0), ([5.0], 0.0)]
)
def test_blocks_that_are_all_alike_leave_no_doubt(excess, expected):
    assert evaluation.p_value(np.array(excess), bootstrap(len(excess), 100, 2, seed=1)) == expected


def test_holm_by_hand():
    assert evaluation.holm_rejections([0.01, 0.04, 0.03, 0.005], 0.05) == [
        True,
        False,
        False,
        True,
    ]  # 0.0125, 0.0167, then 0.03 > 0.025 stops it
    assert evaluation.holm_rejections([0.02, 0.03], 0.05) == [True, True]
    assert evaluation.holm_rejections([], 0.05) == []


def test_a_region_that_is_absent_is_named_once_and_lonely_rows_are_counted():
    slices = {"region": ["n", "n", "n", "s", "s", "s"], "store": ["a", "a", "b", "c", "c", "d"]}
    assert evaluation.find_missing_rows(np.array([1, 0, 1, 0, 0, 0], dtype=bool), slices) == [
        {"code": "missing_slice", "slice": "region", "label": "s", "rows": 3},
        {"code": "missing_rows", "rows": 1, "of": 6},
    ]
    assert [
        reason["label"]
        for reason in evaluation.find_missing_rows(np.array([1, 1, 0, 1, 1, 1], dtype=bool), slices)
    ] == ["b"]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_reason_has_its_sentence_in_both_languages(lang):
    values = {
        "measure": "loss",
        "other": "plain",
        "change": 0.123,
        "low": 0.05,
        "tolerance": 0.02,
        "rows": 3,
        "of": 9,
        "slice": "store",
        "label": "chiba",
    }
    say = Texts([LOCALE]).translator(lang)
    for code in reasons.MESSAGES:
        sentence = render_reason({"code": code, **values}, say=say)
        assert "%(" not in sentence
        assert sentence.endswith("。" if lang == "ja" else ".")


def test_a_reason_names_its_slice_in_words():
    reason = {"code": "missing_slice", "slice": "store", "label": "kobe", "rows": 3}
    texts = ReasonTexts(slices={"store": "Shop"})
    assert render_reason(reason, texts, labels={"kobe": "Kobe"}) == (
        "Shop Kobe has no answer at all (3 rows are absent)."
    )
    assert render_reason({"code": "recall", "k": 10}) == "code recall, k 10"


# ---- queries instead of weeks


def queries(
    seed: int, *, miss: float = 0.08, cats: float | None = None, count: int = 600
) -> np.ndarray:
    """Share of each query's ten nearest that is missed; `cats`: its mean in a small slice."""
    random = np.random.default_rng(seed)
    chance = np.where(np.arange(count) % 12 == 5, miss if cats is None else cats, miss)
    return random.binomial(10, chance) / 10


def asked(challenger: np.ndarray, champion: np.ndarray) -> ComparisonData:
    count = len(challenger)
    return ComparisonData(
        block=[f"{n:05d}" for n in range(count)],
        slices={"category": ["rabbit" if n % 12 == 5 else f"other{n % 2}" for n in range(count)]},
        measures=[
            Measure("missed", {"new": challenger, "old": champion}, denominator=np.ones(count))
        ],
        challenger="new",
        champion="old",
        baselines=[],
    )


ALONE = Limits(block_length=1, slice=0.05, overall=0.02)


def test_ten_points_less_on_one_small_slice_of_queries_is_named():
    verdict = evaluation.compare_models(asked(queries(1, cats=0.25), queries(2)), ALONE)
    assert [(reason["code"], reason["label"]) for reason in verdict.reasons] == [
        ("worse_slice", "rabbit")
    ]
    texts = ReasonTexts(
        slices={"category": "category"}, measures={"missed": "share that is missed"}
    )
    assert render_reason(verdict.reasons[0], texts).startswith(
        "Category rabbit: the share that is missed is worse than the champion's by"
    )


def test_ten_harmless_rebuilds_pass_on_queries():
    for seed in range(10, 20):
        assert evaluation.compare_models(asked(queries(seed), queries(2)), ALONE).go, seed
