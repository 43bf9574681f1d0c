"""Weeks over every New Year from 2000 to 2050 against the standard library; the order day."""

from datetime import date, datetime, timedelta

import pytest

from tanuki.errors import UserError
from tanuki.shop.calendar import (
    TOKYO,
    Week,
    clock,
    parse_week,
    week_of,
    week_to_order,
    weeks_between,
)

NEW_YEARS = [
    date(year, 12, 20) + timedelta(days=n) for year in range(2000, 2051) for n in range(28)
]


def test_a_day_is_in_the_week_that_iso_says():
    for day in NEW_YEARS:
        assert tuple(week_of(day)) == tuple(day.isocalendar())[:2]
        assert week_of(day).monday <= day <= week_of(day).sunday


def test_the_next_week_begins_seven_days_later_over_every_new_year():
    for day in NEW_YEARS:
        assert week_of(day).plus(1) == week_of(day + timedelta(days=7))
        assert week_of(day).plus(1).plus(-1) == week_of(day)


def test_weeks_sort_in_time_order_as_values_and_as_text():
    mondays = [date(2000, 1, 3) + timedelta(weeks=n) for n in range(52 * 50)]
    weeks = [week_of(monday) for monday in mondays]
    assert weeks == sorted(weeks)
    assert [str(week) for week in weeks] == sorted(str(week) for week in weeks)


def test_years_with_53_weeks_are_those_that_begin_or_end_on_a_thursday():
    for year in range(2000, 2051):
        long = 4 in (date(year, 1, 1).isoweekday(), date(year, 12, 31).isoweekday())
        assert len(weeks_between(week_of(date(year, 1, 4)), week_of(date(year, 12, 28)))) == (
            53 if long else 52
        )


def test_a_week_has_seven_days_from_monday_to_sunday():
    assert Week(2020, 53).days == [date(2020, 12, 28) + timedelta(days=n) for n in range(7)]
    assert Week(2020, 53).plus(1) == Week(2021, 1)


def test_the_order_day_is_seven_days_before_and_the_buffer_lies_between():
    for day in NEW_YEARS:
        week = week_of(day)
        assert week.order_day == week.monday - timedelta(days=7) == week.buffer.monday
        assert week.cutoff == week.monday - timedelta(days=8)
        assert week.cutoff.isoweekday() == 7


def test_on_any_day_the_week_to_order_is_the_one_whose_order_day_is_in_this_week():
    for day in NEW_YEARS:
        assert week_of(week_to_order(day).order_day) == week_of(day)


def test_a_week_is_written_and_read_the_same():
    for day in NEW_YEARS:
        assert parse_week(str(week_of(day))) == week_of(day)
    assert parse_week(" 2021w3 ") == Week(2021, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2021-W53", "There is no week 53 in 2021; expected 1 to 52."),
        ("2020-W54", "There is no week 54 in 2020; expected 1 to 53."),
        ("2021-W00", "There is no week 0 in 2021; expected 1 to 52."),
        ("0000-W01", "There is no week 1 in 0"),
        ("2021-03", "expected a year and an ISO week such as 2021-W03"),
        ("week 3", "'week 3' is not a week"),
        ("", "'' is not a week"),
    ],
)
def test_what_is_not_a_week_is_refused_with_what_was_expected(text, says):
    with pytest.raises(UserError) as refused:
        parse_week(text)
    assert says in str(refused.value)


def test_weeks_between_includes_both_ends_and_is_empty_backwards():
    assert weeks_between(Week(2020, 52), Week(2021, 1)) == [
        Week(2020, 52),
        Week(2020, 53),
        Week(2021, 1),
    ]
    assert weeks_between(Week(2021, 1), Week(2020, 52)) == []


def test_the_clock_of_2021_w03_is_on_the_monday_before_in_tokyo():
    at = clock(Week(2021, 3))
    times = [at.aggregate, at.forecast, at.check_due, at.release, at.confirm_due]
    assert times == [datetime(2021, 1, 11, hour, tzinfo=TOKYO) for hour in (10, 11, 13, 14, 15)]
