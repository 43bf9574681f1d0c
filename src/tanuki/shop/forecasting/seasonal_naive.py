"""The seasonal naive forecast: the same week a year ago, scaled to this year's level."""

import numpy as np

from tanuki.shop.features import Numbers, mean_known
from tanuki.shop.forecasting.empirical_quantiles import PointForecaster
from tanuki.shop.forecasting.moving_average import fill_with_mean

WEEKS_PER_YEAR = 52
LEVEL_WEEKS = 4  # weeks whose mean is the level of each year


class SeasonalNaive(PointForecaster):
    name = "seasonal_naive"

    def forecast_point(self, known: Numbers, lead: int) -> Numbers:
        """The week 52 weeks before × this year's level / last year's.

        The last week where the week a year ago is not known, or last year's level is 0.
        """
        weeks = known.shape[1]
        last = fill_with_mean(known[:, -1], known)
        year_ago = weeks + lead - 1 - WEEKS_PER_YEAR
        if year_ago < 0:
            return last
        end = max(1, weeks - WEEKS_PER_YEAR)
        level_then = mean_known(known[:, max(0, weeks - WEEKS_PER_YEAR - LEVEL_WEEKS) : end])
        level_now = mean_known(known[:, -LEVEL_WEEKS:])
        scaled = known[:, year_ago] * level_now / np.where(level_then > 0, level_then, np.nan)
        return np.where(np.isfinite(scaled), scaled, last)
