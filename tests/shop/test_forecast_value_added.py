"""Forecast value added: by hand, by stage, and an advice only where the weeks agree."""

import pytest
from sqlalchemy import select

from tanuki.errors import NotAllowed
from tanuki.shop import forecast_value_added, rules
from tanuki.shop.calendar import parse_week
from tanuki.shop.evaluation import UnitCosts
from tanuki.shop.forecast_value_added import (
    EvaluatedLine,
    Override,
    OverrideEffect,
    Quantities,
    measure_overrides,
    summarise_overrides,
)
from tanuki.shop.tables import Change, Cycle, Evaluation, Item, OrderLine, Store
from tests.factories.store_chain import ANALYST, CHIBA, NOBODY, NOW, OSAKA

LINE = {
    "week": "2021-W03",
    "store": "chiba",
    "item": "beer",
    "case_units": 6,
    "proposed_cases": 10,
    "costs": UnitCosts(60.0, 10.0),
}


def make_line(overrides, *, actual, stock, ordered):
    units = Quantities(actual=actual, forecast=55.0, stock=stock, available=stock + ordered)
    return EvaluatedLine(**LINE, overrides=overrides, units=units)


def test_each_stage_is_worth_the_cost_before_it_less_the_cost_after_it():
    """Proposed 60 (5 in stock), analyst 72, manager 66, sold 70: 5 short, 7 left, 1 left."""
    effects = measure_overrides(
        make_line(
            {"check": Override("ana", 12), "confirm": Override("mika", 11)},
            actual=70,
            stock=5,
            ordered=66,
        )
    )
    assert [
        (effect.stage, effect.person, effect.before_units, effect.after_units) for effect in effects
    ] == [
        ("check", "ana", 60, 72),
        ("confirm", "mika", 72, 66),
    ]
    assert [effect.saved_yen for effect in effects] == [5 * 60 - 7 * 10, 7 * 10 - 1 * 10]
    assert not effects[0].sold_out


def test_a_change_that_was_taken_back_is_none():
    assert (
        measure_overrides(make_line({"check": Override("ana", 10)}, actual=70, stock=5, ordered=60))
        == []
    )
    (effect,) = measure_overrides(
        make_line(
            {"check": Override("ana", 10), "confirm": Override("mika", 9)},
            actual=40,
            stock=0,
            ordered=54,
        )
    )
    assert (effect.stage, effect.saved_yen) == ("confirm", 60)


def test_ordering_less_is_not_free_where_the_line_sold_out():
    """Proposed 60, ordered 30, all 30 sold, 55 forecast: so 25 were short.

    Against the 30 that were sold, the change would look like 30 saved leftovers.
    """
    (effect,) = measure_overrides(
        make_line({"confirm": Override("mika", 5)}, actual=30, stock=0, ordered=30)
    )
    assert effect.sold_out
    assert effect.saved_yen == 5 * 10 - 25 * 60


def make_effect(week, saved, person="ana", item="beer"):
    return OverrideEffect(
        f"2021-W{week:02d}", "chiba", item, "check", person, 60, 66, float(saved), sold_out=False
    )


def test_advice_needs_enough_changes_in_enough_weeks_that_agree():
    helps = [make_effect(week, 100 + 10 * (week % 3)) for week in range(1, 9) for _ in range(3)]
    hurts = [
        make_effect(week, -80 - 10 * (week % 3), "mika") for week in range(1, 9) for _ in range(3)
    ]
    mixed = [make_effect(week, 100 * (-1) ** week, "jun") for week in range(1, 9) for _ in range(3)]
    few = [make_effect(week, 100, "rei") for week in range(1, 6) for _ in range(9)]
    summaries = {
        summary.key: summary
        for summary in summarise_overrides([*helps, *hurts, *mixed, *few], "person")
    }
    assert {key: summary.advice for key, summary in summaries.items()} == {
        "ana": "keep",
        "mika": "stop",
        "jun": "not_enough",
        "rei": "not_enough",
    }
    assert summaries["ana"].low_yen < summaries["ana"].per_change_yen < summaries["ana"].high_yen
    assert (
        summaries["mika"].helped,
        summaries["mika"].hurt,
        summaries["mika"].changes,
        summaries["mika"].weeks,
    ) == (0, 24, 24, 8)
    assert list(summaries) == sorted(summaries, key=lambda key: -summaries[key].saved_yen)


def test_the_interval_is_as_wide_as_weeks_differ_not_as_lines_do():
    """Forty lines of eight weeks, equal within a week: the interval is that of eight values."""
    values = [-90, 120, 10, -60, 150, 40, -30, 80]
    summary = summarise_overrides(
        [make_effect(week, value) for week, value in enumerate(values, 1) for _ in range(5)],
        "person",
    )[0]
    week_summary = summarise_overrides(
        [make_effect(week, value) for week, value in enumerate(values, 1)], "person"
    )[0]
    assert summary.low_yen == pytest.approx(week_summary.low_yen)
    error = (sum((v - 27.5) ** 2 for v in values) / 7 / 8) ** 0.5
    assert summary.high_yen - summary.low_yen == pytest.approx(2 * 1.645 * error, rel=0.15)
    assert summarise_overrides([make_effect(1, 5), make_effect(1, 9)], "person")[0].low_yen is None


def test_groups_are_by_person_stage_item_or_store():
    effects = [make_effect(1, 5), make_effect(1, 7, item="milk"), make_effect(2, 9, "mika")]
    assert {
        by: {summary.key: summary.saved_yen for summary in summarise_overrides(effects, by)}
        for by in forecast_value_added.GROUP_KEYS
    } == {
        "person": {"ana": 12, "mika": 9},
        "stage": {"check": 21},
        "item": {"beer": 14, "milk": 7},
        "store": {"chiba": 21},
    }


def evaluated_week(db, week, lines, touches):
    """lines: by store, (proposed, ordered, actual). touches: (store, stage, by, before, after)."""
    times = dict.fromkeys(
        ("as_of", "started_at", "forecast_due", "check_due", "release_at", "confirm_due"), NOW
    )
    cutoff = parse_week(week).cutoff
    db.add(
        Cycle(
            week=week,
            state="evaluated",
            cutoff=cutoff,
            auto=False,
            started_by="tests",
            findings=[],
            **times,
        )
    )
    db.flush()
    for store, (proposed, ordered, actual) in lines.items():
        key = {"week": week, "store": store, "item": "beer"}
        db.add(
            OrderLine(
                **key,
                case_units=6,
                proposed_cases=proposed,
                cases=ordered,
                recent_units=60.0,
                reasons=[],
                unusual=0.0,
                unusual_reasons=[],
            )
        )
        numbers = dict.fromkeys(
            ("shortage_units", "leftover_units", "cost_yen", "proposed_cost_yen"), 0.0
        )
        units = {
            "proposed_units": proposed * 6,
            "ordered_units": ordered * 6,
            "available_units": ordered * 6 + 5,
        }
        db.add(
            Evaluation(
                **key, actual=actual, forecast=60.0, **units, **numbers, zone="within", at=NOW
            )
        )
    for store, stage, by, before, after in touches:
        key = {"week": week, "store": store, "item": "beer"}
        db.add(
            Change(
                **key, stage=stage, before_cases=before, after_cases=after, reason="", by=by, at=NOW
            )
        )
    db.flush()


@pytest.fixture
def two_weeks(database):
    with database.write() as db:
        db.add_all(Store(code=code, name_ja=code, name_en=code) for code in ("chiba", "osaka"))
        db.add(
            Item(
                code="beer",
                name_ja="beer",
                name_en="beer",
                case_units=6,
                shortage_cost_yen=60.0,
                leftover_cost_yen=40.0,
            )
        )
        db.flush()
        touches = [
            ("chiba", "check", "ana", 10, 13),
            ("chiba", "check", "ana", 13, 12),
            ("chiba", "confirm", "mika", 12, 11),
            ("osaka", "confirm", "ken", 10, 9),
        ]
        evaluated_week(db, "2021-W03", {"chiba": (10, 11, 70), "osaka": (10, 9, 40)}, touches)
        evaluated_week(
            db,
            "2021-W04",
            {"chiba": (10, 10, 64), "osaka": (10, 8, 66)},
            [("osaka", "confirm", "ken", 10, 8)],
        )
    return database


def test_the_last_change_of_each_stage_counts_with_the_costs_that_ordering_uses(two_weeks):
    """Beer keeps for long: a unit left costs a quarter of 40 yen.

    Chiba as by hand above; Osaka: 25 → 19 left, then 1 short → 13 short.
    """
    with two_weeks.read() as db:
        effects = forecast_value_added.list_override_effects(db, ANALYST)
        assert {
            (effect.week, effect.store, effect.person): effect.saved_yen for effect in effects
        } == {
            ("2021-W04", "osaka", "ken"): 1 * 60 - 13 * 60,
            ("2021-W03", "chiba", "ana"): 230,
            ("2021-W03", "chiba", "mika"): 60,
            ("2021-W03", "osaka", "ken"): 60,
        }
        assert rules.load_rules(db).holding == 0.25


def test_managers_see_their_own_store_and_strangers_nothing(two_weeks):
    with two_weeks.read() as db:
        assert {
            change.person for change in forecast_value_added.list_override_effects(db, CHIBA)
        } == {
            "ana",
            "mika",
        }
        assert {
            change.person for change in forecast_value_added.list_override_effects(db, OSAKA)
        } == {"ken"}
        with pytest.raises(NotAllowed):
            forecast_value_added.list_override_effects(db, NOBODY)


def test_without_changes_there_is_nothing_to_say(two_weeks):
    with two_weeks.write() as db:
        for change in db.scalars(select(Change)):
            db.delete(change)
        db.flush()
        assert forecast_value_added.list_override_effects(db, ANALYST) == []
