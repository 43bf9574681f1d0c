"""The fit of the regression: coordinate ascent over all factors, with a Newton step."""

import numpy as np

from tanuki.shop.features import EVENTS, Grid, Numbers
from tanuki.shop.forecasting.poisson_regression.calendar_effects import (
    encode_days,
    number_periods,
    one_hot,
)
from tanuki.shop.forecasting.poisson_regression.effects import (
    CalendarEffects,
    Effects,
    LevelEffects,
    RegressorEffects,
    SeriesKeys,
    estimate_growth,
    estimate_unseen_month_variance,
)
from tanuki.shop.forecasting.poisson_regression.overdispersion import (
    estimate_overdispersion,
    uncensored_demand,
)
from tanuki.shop.forecasting.poisson_regression.regressors import Regressors
from tanuki.shop.forecasting.poisson_regression.settings import Settings
from tanuki.shop.forecasting.poisson_regression.shared_effects import SharedEffects
from tanuki.shop.forecasting.poisson_regression.shrinkage import (
    group_sum_matrix,
    sales_ratio,
    shrink_by_moments,
)

MIN_OVERDISPERSION = 0.01  # below it all cells weigh alike
MAX_COEFFICIENT = 6.0
MAX_COEFFICIENT_STEP = 1.0  # in one Newton step
CHAIN_COEFFICIENT_PRIOR = 0.05  # items that the prior "no effect" of the chain weighs as much as


class Fitter:
    """The factors while they are estimated.

    A cell is a line on a day. `units` are sales, on days that sold out the expected demand; 0
    where nothing is known. `weights` are the cells' weights, None while all are 1.
    """

    def __init__(self, grid: Grid, regressors: Regressors, settings: Settings) -> None:
        self.grid, self.regressors, self.settings = grid, regressors, settings
        self.known = np.isfinite(grid.units)
        self.sold = self.units = np.where(self.known, grid.units, 0.0)
        self.days = encode_days(grid.days)
        self.weekday_indicators = one_hot(self.days.weekday, 7)
        self.event_indicators = one_hot(self.days.event, len(EVENTS))
        lines, items, stores = len(self.units), len(grid.items), len(grid.stores)
        self.by_item = group_sum_matrix(grid.item, items)
        self.by_store = group_sum_matrix(grid.store, stores)
        self.units_by_item = self.by_item @ self.units
        period = number_periods(len(grid.days), settings.period_weeks)
        self.shared = SharedEffects(self.days, period, items, settings)
        self.series = np.full(lines, max(self.units.sum() / max(self.known.sum(), 1), 1e-9))
        self.store, self.item = np.ones(stores), np.full(items, self.series[0] if lines else 1.0)
        self.series_weekday = np.ones((lines, 7))
        self.store_event = np.ones((stores, len(EVENTS)))
        self.coefficients = np.zeros((items, len(regressors.names)))
        self.chain_coefficients = np.zeros(len(regressors.names))
        self.dispersion, self.overdispersion = 1.0, 0.0
        self.weights: Numbers | None = None

    def start_from(self, previous: "Fitter") -> None:
        """Copy the factors of a fit of the same lines with fewer days."""
        self.series, self.store, self.item = (
            previous.series.copy(),
            previous.store.copy(),
            previous.item.copy(),
        )
        self.series_weekday = previous.series_weekday.copy()
        self.store_event = previous.store_event.copy()
        self.coefficients = previous.coefficients.copy()
        self.chain_coefficients = previous.chain_coefficients.copy()
        self.dispersion, self.overdispersion = previous.dispersion, previous.overdispersion
        self.shared.start_from(previous.shared)

    def run_round(self, *, first: bool) -> None:
        """Update every factor once: shared ones, store events, coefficients, weekdays, levels.

        The first round of a fit knows no mean yet, so it leaves weights and coefficients alone.
        `expected` is the weighted mean of each cell; each update changes it to the new factors.
        """
        expected = self.means_without_shared()
        self.shared.update(self.units_by_item, self.by_item @ expected, self.dispersion)
        expected *= self.shared.factor()[self.grid.item]
        if not first:
            mean = expected if self.weights is None else expected / self.weights
            self.update_weights(mean)
            expected = self.weigh(mean).copy()
        units = self.weigh(self.units)
        self.update_store_events(units, expected)
        if self.regressors.names and not first:
            self.newton_step(units, expected)
        self.update_series(units @ self.weekday_indicators, expected @ self.weekday_indicators)

    def means_without_shared(self) -> Numbers:
        """The weighted mean of each known cell without the factors that stores share."""
        grid = self.grid
        means = (self.series_weekday * self.series[:, None])[:, self.days.weekday] * self.known
        if self.regressors.names:
            means *= self.regressors.multiplier(self.coefficients[grid.item])
        means *= self.store_event[grid.store][:, self.days.event]
        if self.weights is not None:
            means *= self.weights
        return np.asarray(means)

    def weigh(self, cells: Numbers) -> Numbers:
        return cells if self.weights is None else cells * self.weights

    def update_weights(self, mean: Numbers) -> None:
        """Estimate the noise around the means, demand on days that sold out, and the weights.

        With var(y) = dispersion × (mu + overdispersion × mu²) and a log link, a cell's score is
        (y - mu) / (1 + overdispersion × mu): iteratively reweighted least squares (McCullagh and
        Nelder, 1989, section 2.5).
        """
        uncensored = self.known & ~self.grid.sold_out
        self.dispersion, self.overdispersion = estimate_overdispersion(self.units, mean, uncensored)
        self.units = uncensored_demand(self.sold, self.grid.sold_out, mean, self.overdispersion)
        overdispersed = self.overdispersion > MIN_OVERDISPERSION
        self.weights = 1 / (1 + self.overdispersion * mean) if overdispersed else None
        self.units_by_item = self.by_item @ self.weigh(self.units)

    def update_store_events(self, units: Numbers, expected: Numbers) -> None:
        old = self.store_event
        expected_by_store = self.by_store @ expected
        new = shrink_by_moments(
            (self.by_store @ units) @ self.event_indicators,
            expected_by_store @ self.event_indicators,
            old,
            self.settings.prior_units.store_event,
            self.dispersion,
        )
        self.store_event = new / new[:, :1]
        expected *= (self.store_event / old)[self.grid.store][:, self.days.event]

    def newton_step(self, units: Numbers, expected: Numbers) -> None:
        """One step of every item's coefficients, shrunk to the chain's.

        With the score g = Σ x (y - mu) and the information H = Σ mu x xᵀ, an item's own step is
        b = coefficients + (H + I)⁻¹ g (Fisher scoring, I for stability). The chain's coefficients
        are the means of b, weighted by h / (h + prior_units) with h the diagonal of H. The item's
        new coefficients are the posterior mean (H + prior_units × I)⁻¹ (H b + prior_units × chain)
        of a normal prior around the chain's (Lindley and Smith, 1972).
        """
        x, size = self.regressors.values, len(self.regressors.names)
        prior_units = self.settings.prior_units.regressor * self.dispersion
        score = np.zeros((len(self.coefficients), size))
        information = np.zeros((len(self.coefficients), size, size))
        residual = units - expected
        for k in range(size):
            score[:, k] = (self.by_item @ (x[k] * residual)).sum(axis=1)
            weighted = x[k] * expected
            for j in range(k + 1):
                information[:, k, j] = information[:, j, k] = (
                    self.by_item @ (weighted * x[j])
                ).sum(axis=1)
        diagonal = np.einsum("ikk->ik", information)
        step = np.linalg.solve(information + np.eye(size), score[:, :, None])[:, :, 0]
        own = self.coefficients + step
        trust = diagonal / (diagonal + prior_units)
        chain = (trust * np.clip(own, -MAX_COEFFICIENT, MAX_COEFFICIENT)).sum(axis=0) / (
            trust.sum(axis=0) + CHAIN_COEFFICIENT_PRIOR
        )
        right = np.einsum("ikj,ij->ik", information, own) + prior_units * chain
        new = np.linalg.solve(information + prior_units * np.eye(size), right[:, :, None])[:, :, 0]
        old = self.coefficients
        new = np.clip(new, old - MAX_COEFFICIENT_STEP, old + MAX_COEFFICIENT_STEP)
        new = np.clip(new, -MAX_COEFFICIENT, MAX_COEFFICIENT)
        expected *= self.regressors.multiplier((new - old)[self.grid.item])
        self.coefficients, self.chain_coefficients = new, chain

    def update_series(self, sold: Numbers, expected: Numbers) -> None:
        """Weekdays and levels of each series; `sold` and `expected` are lines × weekdays."""
        old = self.series_weekday
        self.series_weekday = shrink_by_moments(
            sold, expected, old, self.settings.prior_units.series_weekday, self.dispersion
        )
        exposure = (expected * self.series_weekday / old).sum(axis=1) / self.series
        self.update_levels(sold.sum(axis=1), exposure)

    def update_levels(self, sold: Numbers, exposure: Numbers) -> None:
        """Levels of items, stores and series; `exposure` is a series' mean at level 1.

        A series' level is shrunk to the product of its store's and its item's.
        """
        grid = self.grid
        prior_units = self.settings.prior_units.series_level * self.dispersion
        item_exposure = self.by_item @ (exposure * self.store[grid.store])
        self.item = np.maximum(sales_ratio(self.by_item @ sold, item_exposure), 1e-9)
        store_exposure = self.by_store @ (exposure * self.item[grid.item])
        self.store = np.maximum(sales_ratio(self.by_store @ sold, store_exposure), 1e-9)
        prior = self.store[grid.store] * self.item[grid.item]
        self.series = (sold + prior_units) / (exposure + prior_units / prior)

    def effects(self) -> Effects:
        """The factors as they are now."""
        shared, grid = self.shared, self.grid
        sales_by_month = self.known.sum(axis=0) @ shared.indicators["month"]
        return Effects(
            keys=SeriesKeys(grid.stores, grid.items, [list(row) for row in grid.keys.iter_rows()]),
            level=LevelEffects(self.store, self.item, self.series, shared.item_period[:, -1]),
            calendar=CalendarEffects(
                **shared.chain,
                series_weekday=self.series_weekday,
                item_month=shared.item_month,
                unseen_month_variance=estimate_unseen_month_variance(
                    shared.chain["month"], sales_by_month > 0
                ),
                item_event=shared.item_event,
                store_event=self.store_event,
            ),
            regressors=RegressorEffects(
                list(self.regressors.names), self.coefficients, self.chain_coefficients
            ),
            overdispersion=self.overdispersion,
            growth=estimate_growth(shared.item_period, self.item, self.settings.period_weeks),
        )


def fit_regression(
    grid: Grid, regressors: Regressors, settings: Settings, previous: Fitter | None = None
) -> Fitter:
    """Fit all factors to a grid; with `previous`, a fit of fewer days, in fewer rounds."""
    fitter = Fitter(grid, regressors, settings)
    if previous is not None:
        fitter.start_from(previous)
    for n in range(settings.rounds if previous is None else settings.warm_rounds):
        fitter.run_round(first=previous is None and n == 0)
    return fitter
