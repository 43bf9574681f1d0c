"""Calendar codes of days: weekday, month, event, part of the year's end, payday, and periods."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from tanuki.shop.features import Codes, encode_events

YEAR_END_PARTS = ("none", "christmas", "last_days", "new_year")
PAYDAYS = ("ordinary", "payday")  # most of Japan has just been paid from the 25th to the 27th


@dataclass(frozen=True)
class DayCodes:
    """The categories of some days as numbers, one entry a day."""

    weekday: Codes  # 0 is Monday
    month: Codes  # 0 is January
    event: Codes  # index in EVENTS
    year_end_part: Codes  # index in YEAR_END_PARTS
    payday: Codes  # index in PAYDAYS


def encode_days(days: Sequence[date]) -> DayCodes:
    return DayCodes(
        weekday=np.array([day.weekday() for day in days], dtype=np.int64),
        month=np.array([day.month - 1 for day in days], dtype=np.int64),
        event=encode_events(days),
        year_end_part=np.array(
            [YEAR_END_PARTS.index(year_end_part(day)) for day in days], dtype=np.int64
        ),
        payday=np.array([25 <= day.day <= 27 for day in days], dtype=np.int64),
    )


def year_end_part(day: date) -> str:
    month_day = (day.month, day.day)
    if (12, 24) <= month_day <= (12, 25):
        return "christmas"
    if (12, 28) <= month_day <= (12, 31):
        return "last_days"
    return "new_year" if month_day == (1, 1) else "none"


def number_periods(days: int, weeks: int) -> Codes:
    """The period number of each of so many days; the last day is in the highest period.

    Periods of `weeks` weeks are counted back from the last day. Days before the first whole
    period belong to that period.
    """
    periods_ago = (days - 1 - np.arange(days)) // (7 * weeks)
    periods_ago = np.minimum(periods_ago, max(days // (7 * weeks) - 1, 0))
    return np.asarray(periods_ago.max() - periods_ago)


def one_hot(codes: Codes, size: int) -> NDArray[np.float64]:
    """Indicator matrix, codes × categories: `values @ one_hot` sums values by category."""
    return np.asarray(np.eye(size)[codes])
