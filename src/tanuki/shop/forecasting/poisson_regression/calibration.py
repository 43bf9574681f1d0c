"""Past weeks forecast as if they lay ahead: they choose priors, weights and the dispersion."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from tanuki.shop.features import Grid, Numbers
from tanuki.shop.forecasting.poisson_regression.dispersion import (
    Dispersion,
    PastForecasts,
    estimate_dispersion_model,
)
from tanuki.shop.forecasting.poisson_regression.effects import (
    Effects,
    compute_factors,
    compute_log_lift,
    compute_means,
    multiply_factors,
    sum_daily_means,
    unseen_month_variation,
)
from tanuki.shop.forecasting.poisson_regression.fit import Fitter, fit_regression
from tanuki.shop.forecasting.poisson_regression.regressors import Regressors, driver_of
from tanuki.shop.forecasting.poisson_regression.residual_boosting import (
    BLEND_WEIGHTS,
    MIN_LOG_LIFT_SD,
    REFIT_EVERY_ORIGINS,
    WeeklyResiduals,
    blend_means,
    predict_boosted_means,
    train_residual_booster,
)
from tanuki.shop.forecasting.poisson_regression.settings import Settings
from tanuki.shop.forecasting.poisson_regression.shrinkage import group_sum_matrix
from tanuki.shop.forecasting.poisson_regression.smoothing import (
    SMOOTHERS,
    SMOOTHING_WEEKS,
    project_levels,
    sum_weekly_sales,
    weigh_by_loss,
)

if TYPE_CHECKING:
    from lightgbm import Booster

MIN_WEEKS_FOR_ITEM_MONTHS = 104  # with fewer weeks an item's months would absorb its level
MIN_WEEKS_AT_FIRST_ORIGIN = 5  # weeks known at the first origin
MIN_VARIATION = 0.05  # of the weeks in the loss, beyond Poisson noise
LOSS_WINSOR_LEVEL = 0.99


@dataclass(frozen=True)
class Calibration:
    """What past weeks say: the smoothers' weights, the boosted mean's weight, the dispersion."""

    smoother_weights: list[float]
    boosting_weight: float
    dispersion: Dispersion


@dataclass(frozen=True)
class Window:
    """One origin: what was known, and the two weeks after it. `columns` days are known."""

    grid: Grid  # of the known days
    days: Sequence[date]  # the fourteen after them
    columns: int
    regressors: Regressors  # of all days

    @property
    def known_regressors(self) -> Regressors:
        return self.regressors.slice_days(0, self.columns)

    @property
    def planned_regressors(self) -> Regressors:
        return self.regressors.slice_planned_days(self.columns, self.columns + len(self.days))


def choose_item_month_prior(
    grid: Grid, regressors: Regressors, settings: Settings
) -> tuple[Settings, Fitter | None]:
    """The settings whose shrinkage of item months forecast the last past weeks better.

    Gives the settings and the fit made with them; the given settings and None while less than two
    years are known. Weeks are compared by item, within each week's total: an item's season is
    chosen, not its level. The loss is Pearson's chi-squared.
    """
    origin = len(grid.days) // 7 - settings.origins * settings.stride
    if origin < MIN_WEEKS_FOR_ITEM_MONTHS:
        return settings, None
    first, end = 7 * origin, 7 * (len(grid.days) // 7)
    past, known_regressors = grid.first_days(first), regressors.slice_days(0, first)
    planned = regressors.slice_planned_days(first, end)
    by_item = group_sum_matrix(grid.item, len(grid.items))
    known = np.isfinite(grid.units[:, first:end]) & ~grid.sold_out[:, first:end]
    sold = sum_daily_means(by_item @ np.where(known, grid.units[:, first:end], 0.0))
    fits: list[tuple[float, Settings, Fitter]] = []
    for units in (settings.prior_units.item_month, settings.free_item_month_prior_units):
        candidate = replace(settings, prior_units=replace(settings.prior_units, item_month=units))
        previous = fits[0][2] if fits else None
        fitter = fit_regression(past, known_regressors, candidate, previous)
        means = compute_means(fitter.effects(), past, grid.days[first:end], planned)
        expected = sum_daily_means(by_item @ np.where(known, means, 0.0))
        expected *= sold.sum(axis=0) / np.maximum(expected.sum(axis=0), 1e-9)
        chi2 = float(((sold - expected) ** 2 / np.maximum(expected, 1.0)).sum())
        fits.append((chi2, candidate, fitter))
    _, chosen, fitter = min(fits, key=lambda fit: fit[0])
    return chosen, fitter


def calibrate(
    grid: Grid, regressors: Regressors, settings: Settings, fitter: Fitter | None
) -> tuple[Calibration, Fitter | None]:
    """Forecast past weeks from `settings.origins` origins and learn from their errors.

    The regression is fitted at each origin, starting from the fit of the origin before (the first
    from `fitter`); the last fit is given back. Weeks with a day that sold out do not count.
    """
    last = len(grid.days) // 7 - 2
    newest_first = range(last, MIN_WEEKS_AT_FIRST_ORIGIN, -settings.stride)
    origins = list(newest_first)[: settings.origins][::-1]
    lines, count = grid.keys.height, len(origins)
    by_smoother = np.full((len(SMOOTHERS), count, 2, lines), np.nan)
    boosted = np.full((count, 2, lines), np.nan)
    actual = np.full((count, 3, lines), np.nan)
    log_lift, unseen = np.zeros((count, 3, lines)), np.zeros((count, 3))
    booster: Booster | None = None
    for n, origin in enumerate(origins):
        first, end = 7 * origin, 7 * (origin + 2)
        window = Window(grid.first_days(first), grid.days[first:end], first, regressors)
        fitter = fit_regression(window.grid, window.known_regressors, settings, fitter)
        effects = fitter.effects()
        factors = compute_factors(effects, window.grid, window.days, window.planned_regressors)
        by_smoother[:, n] = forecast_by_smoother(window, effects, multiply_factors(factors))
        boosts = booster is not None or (n == 0 and lifts_far(effects, window))
        if boosts and n % REFIT_EVERY_ORIGINS == 0:
            booster = train_on_window(window, effects)
        if booster is not None:
            boosted[n] = forecast_boosted(booster, window, effects, multiply_factors(factors))
        actual[n] = sum_actual_weeks(grid, first, end)
        log_lift[n] = compute_log_lift(factors)
        unseen[n] = unseen_month_variation(effects, window.days)
    weights = np.full(len(SMOOTHERS), 1 / len(SMOOTHERS))
    if origins:
        weights = weigh_by_loss(sum_scaled_errors(actual, by_smoother))
    mean, boosting_weight = np.tensordot(weights, by_smoother, axes=1), 0.0
    if booster is not None:
        blends = np.stack([blend_means(mean, boosted, weight) for weight in BLEND_WEIGHTS])
        blend_weights = weigh_by_loss(sum_scaled_errors(actual, blends))
        boosting_weight = float(blend_weights @ np.array(BLEND_WEIGHTS))
        mean = blend_means(mean, boosted, boosting_weight)
    mean = np.concatenate([mean, mean.sum(axis=1, keepdims=True)], axis=1)
    past = PastForecasts(actual, mean, unseen, log_lift)
    dispersion = estimate_dispersion_model(grid, past, settings.min_extra_variation)
    return Calibration([float(w) for w in weights], boosting_weight, dispersion), fitter


def forecast_by_smoother(window: Window, effects: Effects, daily_means: Numbers) -> Numbers:
    """Each smoother's means of the window's two weeks: smoothers × 2 × lines.

    `daily_means` are the regression's, lines × 14. Lines without any known day are NaN.
    """
    recent = window.grid.last_days(SMOOTHING_WEEKS * 7)
    sales = sum_weekly_sales(recent, recent_means(window, effects), effects.overdispersion)
    levels = project_levels(window.grid, sales, effects.growth)
    known = np.isfinite(window.grid.units).any(axis=1)
    return np.where(known, sum_daily_means(daily_means) * levels, np.nan)


def recent_means(window: Window, effects: Effects) -> Numbers:
    """The regression's daily means of the days that the smoothers use: lines × days."""
    recent = window.grid.last_days(SMOOTHING_WEEKS * 7)
    regressors = window.regressors.slice_days(window.columns - len(recent.days), window.columns)
    return compute_means(effects, window.grid, recent.days, regressors)


def train_on_window(window: Window, effects: Effects) -> "Booster | None":
    grid, regressors = window.grid, window.known_regressors
    means = compute_means(effects, grid, grid.days, regressors)
    residuals = WeeklyResiduals(grid, means, regressors)
    return train_residual_booster(residuals, window.columns // 7)


def forecast_boosted(
    booster: "Booster", window: Window, effects: Effects, daily_means: Numbers
) -> Numbers:
    """The boosted means of the window's two weeks: 2 × lines."""
    recent = window.grid.last_days(SMOOTHING_WEEKS * 7)
    first, end = window.columns - len(recent.days), window.columns + len(window.days)
    means = np.concatenate([recent_means(window, effects), daily_means], axis=1)
    residuals = WeeklyResiduals(recent, means, window.regressors.slice_days(first, end))
    return predict_boosted_means(booster, residuals, len(recent.days) // 7)


def sum_actual_weeks(grid: Grid, first: int, end: int) -> Numbers:
    """Sales of two weeks and both: 3 × lines; NaN where a day sold out or is not known."""
    shape = (len(grid.units), 2, 7)
    week = grid.units[:, first:end].reshape(shape).sum(axis=2).T
    sold_out = grid.sold_out[:, first:end].reshape(shape).any(axis=2).T
    week = np.where(sold_out, np.nan, week)
    return np.stack([week[0], week[1], week.sum(axis=0)])


def sum_scaled_errors(actual: Numbers, means: Numbers) -> Numbers:
    """The loss of each alternative: squared errors over their usual variance, winsorised, summed.

    means: alternatives × origins × 2 × lines; actual: origins × 3 × lines. The usual variance is
    mu + v × mu². v is twice the median of the rows' ((y - mu)² - mu) / mu², since the median of a
    squared normal error is 0.45 of its mean.
    """
    squared = (actual[None, :, :2] - means) ** 2
    mean = means.mean(axis=0)
    relative = (squared.mean(axis=0) - mean) / np.maximum(mean, 1.0) ** 2
    median = float(np.nanmedian(relative)) if np.isfinite(relative).any() else 0.0
    variance = max(median * 2, MIN_VARIATION**2)
    scaled = squared / np.maximum(mean + variance * mean**2, 1.0)
    winsorised = np.minimum(scaled, np.nanquantile(scaled, LOSS_WINSOR_LEVEL))
    return np.asarray(np.nansum(winsorised, axis=(1, 2, 3)))


def lifts_far(effects: Effects, window: Window) -> bool:
    """Whether the log lift of prices and promotions varies enough for boosting to pay."""
    regressors = window.known_regressors
    chosen = [n for n, name in enumerate(regressors.names) if driver_of(name) != "weather"]
    if not chosen or not effects.regressors.names:
        return False
    column = [effects.regressors.names.index(regressors.names[n]) for n in chosen]
    mondays = [regressors.values[n][:, ::7] for n in chosen]
    coefficients = effects.regressors.coefficients[window.grid.item][:, column]
    lift = Regressors([], mondays, mondays).multiplier(coefficients)
    return bool(np.log(lift).std() > MIN_LOG_LIFT_SD)
