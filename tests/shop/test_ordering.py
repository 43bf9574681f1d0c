"""The ordering rule against cases worked out by hand, against brute force, and in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanuki.shop.ordering import LEVELS, WORDS, Demand, ItemRules, Stock, expected_cost, propose, unusual, words

DEMAND = Demand(100.0, (80.0, 84.0, 92.0, 100.0, 108.0, 116.0, 120.0))


def codes(reason):
    return [each["code"] for each in reason]


@pytest.mark.parametrize(
    ("level", "units"), [(0.01, 80), (0.05, 80), (0.075, 82), (0.5, 100), (0.75, 108), (0.8333, 112.44), (0.95, 120), (0.99, 120)]
)
def test_quantiles_between_the_known_ones_are_linear_and_beyond_them_the_outermost(level, units):
    assert DEMAND.at(level) == pytest.approx(units, abs=0.01)


@pytest.mark.parametrize(
    ("rules", "stock", "cases", "code"),
    [
        (ItemRules(), None, 108, "stock_unknown"),
        (ItemRules(case_units=12), None, 9, "stock_unknown"),
        (ItemRules(case_units=24), None, 5, "cases"),  # 96 or 120 units around 108: four short costs more than twelve left
        (ItemRules(shortage_cost=1, leftover_cost=1), None, 100, "service"),
        (ItemRules(), Stock(on_hand=150, on_order=0, buffer=100), 58, "stock"),
        (ItemRules(), Stock(on_hand=60, on_order=60, buffer=100), 88, "stock"),
        (ItemRules(), Stock(on_hand=50, on_order=0, buffer=100), 108, "stock"),  # a sell-out in the buffer week is lost, not owed
        (ItemRules(), Stock(on_hand=400, on_order=0, buffer=100), 0, "nothing"),
        (ItemRules(shelf_life_days=10), Stock(on_hand=150, on_order=0, buffer=100), 108, "expires"),
        (ItemRules(shelf_life_days=10), Stock(on_hand=100, on_order=50, buffer=100), 58, "stock"),  # what arrives later is fresh enough
        (ItemRules(shelf_life_days=7), Stock(on_hand=100, on_order=50, buffer=100), 108, "stock"),
        (ItemRules(case_units=12, min_cases=20), None, 20, "minimum"),
        (ItemRules(case_units=12, max_cases=5), None, 5, "maximum"),
        (ItemRules(case_units=12, min_cases=20, max_cases=15), None, 15, "maximum"),
    ],
)
def test_proposals_worked_out_by_hand(rules, stock, cases, code):
    made = propose(DEMAND, rules, stock)
    assert made.cases == cases
    assert made.units == cases * rules.case_units
    assert code in codes(made.reason)


def test_without_stock_it_is_the_quantity_to_have_and_says_so():
    assert "quantity to have for the week" in words(propose(DEMAND, ItemRules(), None).reason, "en")
    assert "その週に必要な数量" in words(propose(DEMAND, ItemRules(), None).reason, "ja")


demands = st.lists(st.floats(0, 500), min_size=7, max_size=7).map(lambda qs: Demand(sorted(qs)[3], tuple(sorted(qs))))
rules = st.builds(ItemRules, case_units=st.sampled_from([1, 6, 24]), shortage_cost=st.floats(0.5, 50), leftover_cost=st.floats(0.5, 50))


@given(demands, rules, st.floats(0, 300))
def test_no_other_number_of_cases_is_expected_to_cost_noticeably_less(demand, rules, carried):
    made = propose(demand, rules, Stock(carried, 0, 0))
    here = expected_cost(carried + made.units, demand, rules)
    most = int(demand.quantiles[-1] // rules.case_units) + 2
    best = min(expected_cost(carried + cases * rules.case_units, demand, rules) for cases in range(most))
    step = (rules.shortage_cost + rules.leftover_cost) * 0.01 * max(rules.case_units, demand.quantiles[-1] - demand.quantiles[0])
    assert here <= best + step + 1e-6


@given(demands, rules, st.floats(0, 300), st.floats(0, 300))
def test_more_stock_never_orders_more(demand, rules, less, extra):
    assert propose(demand, rules, Stock(less + extra, 0, 50)).units <= propose(demand, rules, Stock(less, 0, 50)).units + rules.case_units


@given(demands, rules, st.one_of(st.none(), st.builds(Stock, st.floats(0, 300), st.floats(0, 300), st.floats(0, 300))))
def test_every_reason_has_words_in_both_languages(demand, rules, stock):
    made = propose(demand, rules, stock)
    for lang in ("ja", "en"):
        assert words(made.reason, lang)


def test_every_word_takes_the_same_values_in_both_languages():
    import string

    for code, texts in WORDS.items():
        fields = {lang: {name for _, name, _, _ in string.Formatter().parse(text) if name} for lang, text in texts.items()}
        assert fields["ja"] == fields["en"], code


@pytest.mark.parametrize(
    ("recent", "code", "look"),
    [
        ([100, 100, 100, 100], None, False),
        ([60, 60, 60, 60], "jump", True),
        ([160, 160, 160, 160], "jump", True),
        ([100, 100], "new", True),
        ([0, 0, 0, 0], "awake", True),
    ],
)
def test_what_is_unusual(recent, code, look):
    score, why = unusual(propose(DEMAND, ItemRules(), None), DEMAND, recent, 0.30)
    assert (score >= 1) is look
    assert codes(why) == ([code] if code else [])


def test_limits_and_wide_forecasts_are_unusual():
    wide = Demand(10.0, (0.0, 1.0, 4.0, 10.0, 16.0, 22.0, 30.0))
    _, why = unusual(propose(wide, ItemRules(max_cases=3), None), wide, [10, 10, 10, 10], 0.30)
    assert codes(why) == ["wide", "at_maximum"]


def test_levels_are_the_ones_forecasts_have():
    from tanuki.shop.forecasters import QUANTILES

    assert list(LEVELS) == list(QUANTILES)
