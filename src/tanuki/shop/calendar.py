"""The shop's calendar: ISO weeks, Monday to Sunday, and the clock of the order day."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from tanuki.errors import UserError
from tanuki.i18n import TOKYO

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class Week(NamedTuple):
    """A year and an ISO week number; weeks sort in time order, over every New Year."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year}-W{self.number:02d}"

    @property
    def monday(self) -> date:
        return date.fromisocalendar(self.year, self.number, 1)

    @property
    def sunday(self) -> date:
        return date.fromisocalendar(self.year, self.number, 7)

    @property
    def days(self) -> list[date]:
        """The seven days, Monday first."""
        return [self.monday + timedelta(days=n) for n in range(7)]

    def plus(self, weeks: int) -> "Week":
        """The week so many weeks later; earlier when the number is negative."""
        return week_of(self.monday + timedelta(weeks=weeks))

    @property
    def order_day(self) -> date:
        """The Monday on which this week is ordered: seven days before it begins."""
        return self.monday - timedelta(days=7)

    @property
    def buffer(self) -> "Week":
        """The week before. It begins on the order day, so its sales are not known yet."""
        return self.plus(-1)

    @property
    def two_week_interval(self) -> str:
        """The buffer week and this one, written as an ISO 8601 interval: 2021-W02/2021-W03."""
        return f"{self.buffer}/{self}"

    @property
    def cutoff(self) -> date:
        """The last day with known sales on the order day: the Sunday before it."""
        return self.order_day - timedelta(days=1)


@dataclass(frozen=True)
class Clock:
    """The times of the order day, with time zone."""

    aggregate: datetime
    forecast: datetime
    check_due: datetime
    release: datetime
    confirm_due: datetime


def week_of(day: date) -> Week:
    """The ISO week of a day."""
    year, number, _ = day.isocalendar()
    return Week(year, number)


def weeks_between(first: Week, last: Week) -> list[Week]:
    """All weeks from first to last, both included; empty when last is before first."""
    return [first.plus(n) for n in range((last.monday - first.monday).days // 7 + 1)]


def parse_week(text: str) -> Week:
    """A week written as 2021-W03.

    Raises UserError when the text is no week, or when the year has no such week.
    """
    match = re.fullmatch(r"(\d{4})-?W(\d{1,2})", text.strip(), re.IGNORECASE)
    if match is None:
        raise UserError(
            "%(text)s is not a week; expected a year and an ISO week such as 2021-W03.",
            text=repr(text),
        )
    year, number = int(match[1]), int(match[2])
    try:
        date.fromisocalendar(year, number, 1)
    except ValueError as error:
        last = date(year, 12, 28).isocalendar().week if year >= 1 else 52
        raise UserError(
            "There is no week %(number)s in %(year)s; expected 1 to %(last)s.",
            number=number,
            year=year,
            last=last,
        ) from error
    return Week(year, number)


def week_to_order(day: date) -> Week:
    """The target week that is ordered in the ISO week of `day`: the week after it."""
    return week_of(day).plus(1)


def clock(target: Week) -> Clock:
    """The order day's times for a target week, in Asia/Tokyo."""

    def at(hour: int) -> datetime:
        return datetime.combine(target.order_day, time(hour), TOKYO)

    return Clock(
        aggregate=at(10), forecast=at(11), check_due=at(13), release=at(14), confirm_due=at(15)
    )
