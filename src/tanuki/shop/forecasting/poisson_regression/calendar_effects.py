"""What the days are that demand follows: weekday, month, kind of day in Japan's calendar, payday, and periods back from the last day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from tanuki.shop.features import Codes, events

DETAILS = ("none", "christmas", "last_days", "new_year")  # within the year's end
PAYDAYS = ("ordinary", "payday")  # from the 25th to the 27th most of Japan has just been paid


@dataclass(frozen=True)
class Days:
    """Codes of some days, one each."""

    weekday: Codes  # 0 is Monday
    month: Codes  # 0 is January
    event: Codes  # EVENTS
    detail: Codes  # DETAILS
    payday: Codes  # PAYDAYS

    def __len__(self) -> int:
        return len(self.weekday)


def codes(days: Sequence[date]) -> Days:
    """The codes of some days."""
    return Days(
        weekday=np.array([day.weekday() for day in days], dtype=np.int64),
        month=np.array([day.month - 1 for day in days], dtype=np.int64),
        event=events(days),
        detail=np.array([DETAILS.index(detail(day)) for day in days], dtype=np.int64),
        payday=np.array([25 <= day.day <= 27 for day in days], dtype=np.int64),
    )


def detail(day: date) -> str:
    """What part of the year's end a day is."""
    at = (day.month, day.day)
    if (12, 24) <= at <= (12, 25):
        return "christmas"
    if (12, 28) <= at <= (12, 31):
        return "last_days"
    return "new_year" if at == (1, 1) else "none"


def periods(columns: int, weeks: int) -> Codes:
    """The number of each day's period; periods are whole back from the last day, and a short first one goes with the next."""
    back = (columns - 1 - np.arange(columns)) // (7 * weeks)
    back = np.minimum(back, max(columns // (7 * weeks) - 1, 0))
    return np.asarray(back.max() - back)


def onehot(codes: Codes, size: int) -> NDArray[np.float64]:
    """A matrix that sums by code when multiplied with."""
    return np.asarray(np.eye(size)[codes])
