"""The same week a year ago, brought to this year's level; the last known week where no year is known."""

import numpy as np

from tanuki.shop.features import mean_of
from tanuki.shop.forecasting.conformal import PointForecaster
from tanuki.shop.forecasting.forecaster import Numbers
from tanuki.shop.forecasting.moving_average import known_or_nothing

YEAR = 52  # weeks


class SeasonalNaive(PointForecaster):
    """As last year, times how the last four weeks compare with the same ones of last year."""

    name = "seasonal_naive"

    def point(self, known: Numbers, lead: int) -> Numbers:
        """The week 52 weeks before, times this year's level over last year's; the last week when that one is unknown or sold nothing."""
        weeks = known.shape[1]
        last = known_or_nothing(known[:, -1], known)
        there = weeks + lead - 1 - YEAR
        if there < 0:
            return last
        then = mean_of(known[:, max(0, weeks - YEAR - 4) : max(1, weeks - YEAR)])
        grown = known[:, there] * mean_of(known[:, -4:]) / np.where(then > 0, then, np.nan)
        return np.where(np.isfinite(grown), grown, last)
