"""Explanations add up to their proposals: as parts, in whole units and as sentences."""

import re
from math import fsum

import numpy as np
import pytest

from tanuki.shop import explanation, ordering
from tanuki.shop.explanation import (
    MESSAGES,
    PARTS,
    Part,
    extract_parts,
    make_sum_reason,
    render_reasons,
    render_summary,
    round_parts,
)
from tanuki.shop.ordering import Demand, ItemRules, OrderInput, Proposal, Stock, StoreLimits
from tanuki.shop.unusual_orders import score_unusual
from tests.factories.translators import SAY

CASES = 3000
MOVES = ("level", "season", "holiday", "price", "promotion", "weather")


def a_demand(draw):
    quantiles = tuple(float(q) for q in np.cumsum(draw.exponential(draw.choice([0.2, 3, 40]), 9)))
    return Demand(float(np.mean(quantiles)), quantiles)


def a_line(draw, key):
    """A line drawn at random, with every limit it can have."""
    rules = ItemRules(
        case_units=int(draw.choice([1, 6, 24])),
        min_cases=int(draw.choice([0, 1, 8])),
        max_cases=[None, 3, 60][draw.integers(3)],
        shelf_life_days=[None, 7, 10, 28][draw.integers(4)],
        shortage_cost=float(draw.uniform(0, 9)),
        leftover_cost=float(draw.uniform(0, 9)),
        min_service=float(draw.choice([0, 0.5, 0.95])),
    )
    buffer, target = a_demand(draw), a_demand(draw)
    both = Demand(
        buffer.mean + target.mean,
        tuple(a + b for a, b in zip(buffer.quantiles, target.quantiles, strict=True)),
    )
    stock = (
        Stock(float(draw.integers(0, 300)), float(draw.integers(0, 100)))
        if draw.random() < 0.8
        else None
    )
    return OrderInput(key, buffer, target, both, rules, stock)


def a_start(draw, mean):
    """The forecaster's explanation: its own sum, only last week's sales, or none."""
    kind, last = draw.integers(3), float(draw.integers(0, 400))
    if kind == 2:
        return None, None
    if kind == 1:
        return None, last
    contributions = {code: float(draw.normal(0, draw.choice([0, 0.3, 30]))) for code in MOVES}
    return {
        "last": last,
        **contributions,
        "level": mean
        - last
        - fsum(units for code, units in contributions.items() if code != "level"),
    }, last


def explained():
    """Thousands of proposals with their sums."""
    draw = np.random.default_rng(2021)
    while True:
        lines = [a_line(draw, str(n)) for n in range(5)]
        unlimited = ordering.propose_orders(lines)
        tight = draw.random() < 0.5
        units, cases = (
            sum(getattr(part, name) for part in unlimited) for name in ("units", "cases")
        )
        limits = (
            StoreLimits(int(units * draw.uniform(0.3, 1.5)), int(cases * draw.uniform(0.3, 1.2)))
            if tight
            else None
        )
        for line, proposal in zip(lines, ordering.propose_orders(lines, limits), strict=True):
            contributions, last = a_start(draw, line.target.mean)
            yield (
                line,
                proposal,
                explanation.explain_proposal(contributions, last, line.target.mean, proposal),
            )


@pytest.fixture(scope="module")
def proposals():
    cases = explained()
    return [next(cases) for _ in range(CASES)]


def test_parts_add_up_exactly(proposals):
    for line, proposal, parts in proposals:
        assert fsum(part.units for part in parts) == pytest.approx(
            proposal.cases * line.rules.case_units, abs=1e-9
        )
        assert {part.code for part in parts} <= set(PARTS)
        assert len({part.code for part in parts}) == len(parts)
    codes = {part.code for _, _, parts in proposals for part in parts}
    assert codes == set(PARTS) - {
        "caution",
        "other",
    }  # every code comes up; caution is a safety below zero


def test_whole_units_add_up_exactly_and_none_is_a_unit_away(proposals):
    for _, proposal, parts in proposals:
        rounded = round_parts(parts, proposal.units)
        assert sum(whole.units for whole in rounded) == proposal.units
        assert all(
            isinstance(whole.units, int) and abs(whole.units - part.units) < 1
            for whole, part in zip(rounded, parts, strict=True)
        )


def test_the_numbers_in_the_sentence_add_up_in_both_languages(proposals):
    for line, proposal, parts in proposals:
        reason = [make_sum_reason(parts, proposal, line.rules.case_units)]
        for lang in SAY:
            left, right = (
                render_summary(reason, SAY[lang]).replace(",", "").replace("−", "-").split("→")
            )
            numbers = [int(number) for number in re.findall(r"[+-]?\d+", left)]
            assert sum(numbers) == proposal.units == int(re.search(r"\d+", right)[0])
            assert 0 not in numbers[1:]
            assert not re.search(r"[+-]0\b", left)
            if proposal.cases:
                assert re.search(rf"{proposal.cases}\D+{line.rules.case_units}\D", right)


def test_a_sentence_names_what_matters_most_first():
    proposal = Proposal(
        "beer", 19, 114, [], {"safety": 18.2, "stock": -30.0, "rounding": -3.4}, 30.0, 0.0
    )
    contributions = {"last": 120.0, "level": 0.2, "season": 14.3, "holiday": -5.3, "weather": 0.0}
    reason = [
        make_sum_reason(
            explanation.explain_proposal(contributions, 120.0, 129.2, proposal), proposal, 6
        )
    ]
    assert render_reasons(reason) == (
        "Sold 120 last week; stock left by then −30, room for a good week +18, season +14, "
        "holiday −5, whole cases −3 → 114 units (19 × 6)."
    )
    assert render_reasons(reason, SAY["ja"]) == (
        "先週の販売120個：それまでに残る在庫 −30、売れた場合の備え +18、季節 +14、"
        "祝日 −5、ケース単位 −3 → 114個（19ケース×6個）。"
    )


@pytest.mark.parametrize(
    ("contributions", "last", "text"),
    [
        (None, 80.0, "Sold 80 last week; expected change +20 → 100 units (100 × 1)."),
        (None, 100.0, "Sold 100 last week → 100 units (100 × 1)."),
        (None, None, "Expected sales of 100 → 100 units (100 × 1)."),
        (
            {"last": 80.0, "level": 15.0},
            80.0,
            "Sold 80 last week; level +15, other +5 → 100 units (100 × 1).",
        ),  # a sum that does not add up
    ],
)
def test_a_forecast_that_does_not_say_what_moved_it_has_one_change(contributions, last, text):
    proposal = Proposal("beer", 100, 100, [], {}, 0.0, 0.0)
    assert (
        render_reasons(
            [
                make_sum_reason(
                    explanation.explain_proposal(contributions, last, 100.0, proposal), proposal, 1
                )
            ]
        )
        == text
    )


def test_less_than_half_the_weeks_served_is_caution_and_nothing_ordered_has_no_cases():
    proposal = Proposal("beer", 0, 0, [], {"safety": -8.0, "maximum": -92.0}, 0.0, 0.0)
    reason = [
        make_sum_reason(explanation.explain_proposal(None, 100.0, 100.0, proposal), proposal, 6)
    ]
    assert (
        render_reasons(reason)
        == "Sold 100 last week; maximum order −92, caution against leftovers −8 → 0 units."
    )


def test_the_sum_is_shown_in_whole_units_without_what_moves_nothing():
    proposal = Proposal("beer", 2, 12, [], {"safety": 0.3, "rounding": 1.3}, 0.0, 0.0)
    reason = [
        make_sum_reason(explanation.explain_proposal(None, 10.0, 10.4, proposal), proposal, 6),
        {"code": "stock_unknown"},
    ]
    assert extract_parts(reason) == [Part("last", 10), Part("change", 1), Part("rounding", 1)]
    assert "quantity to have for the week" in render_summary(reason)
    assert "その週に必要な数量" in render_summary(reason, SAY["ja"])


def test_every_reason_has_a_sentence_in_both_languages(proposals):
    for line, proposal, _ in proposals:
        _, unusual = score_unusual(proposal, line.target, [1.0, 2.0], 0.3)
        for say in SAY.values():
            assert render_reasons([*proposal.reasons, *unusual], say)
    codes = {
        reason["code"]
        for line, proposal, _ in proposals
        for reason in [
            *proposal.reasons,
            *score_unusual(proposal, line.target, [], 0.3)[1],
        ]
    }
    assert set(MESSAGES) - codes == {"jump"}  # of series that sold


@pytest.mark.parametrize("table", [MESSAGES, PARTS, explanation.STARTS])
def test_every_sentence_takes_the_same_values_in_both_languages(table):
    for code, text in table.items():
        values = [set(re.findall(r"%\((\w+)\)s", say(text))) for say in SAY.values()]
        assert values[0] == values[1], code
        assert SAY["ja"](text) != text, code
