"""Noise of daily sales beyond Poisson, and demand on days that sold out."""

import numpy as np
from numpy.typing import NDArray

from tanuki.shop.features import Numbers

Mask = NDArray[np.bool_]
MIN_MEAN = 0.25  # units: smaller means say nothing about the variance
SAMPLE_CELLS = 50_000
WINSOR_LEVEL = 0.98  # squared residuals beyond this quantile are set to it
# Winsorising lowers the mean squared Pearson residual: by 4 % for normal errors, by 5 to 13 % for
# Poisson counts with means from 10 to 1. The correction lies between.
WINSOR_CORRECTION = 1.08
MAX_OVERDISPERSION = 4.0
MIN_CENSORED_MEAN = 0.05  # units
MAX_CENSORED_Z = 6.0  # beyond, the normal tail says nothing about counts


def mean_squared_residual(squared: Numbers) -> float:
    """The mean of squared Pearson residuals, winsorised, so that no single day decides."""
    return float(np.minimum(squared, np.quantile(squared, WINSOR_LEVEL)).mean() * WINSOR_CORRECTION)


def estimate_dispersion(units: Numbers, expected: Numbers, rows: Mask) -> float:
    """Pearson's dispersion Σ (y - mu)² / mu / n over `rows`, winsorised; 1 for Poisson counts."""
    mean = np.maximum(expected[rows], MIN_MEAN)
    if len(mean) == 0:
        return 1.0
    squared = (units[rows] - expected[rows]) ** 2 / mean
    return float(np.clip(mean_squared_residual(squared), 1.0, 1000.0))


def estimate_overdispersion(units: Numbers, expected: Numbers, known: Mask) -> tuple[float, float]:
    """(dispersion, overdispersion) in var(y) = dispersion × (mu + overdispersion × mu²).

    Moment estimates (Cameron and Trivedi, 2013, on NB2): E[(y - mu)² / mu] - 1 =
    overdispersion × mu, summed over days; then the dispersion of what that leaves. Poisson counts
    have (1, 0), negative binomial counts (1, 1 / size).
    """
    step = max(1, expected.size // SAMPLE_CELLS)
    rows = (known & (expected > MIN_MEAN)).ravel()[::step]
    mean, sold = expected.ravel()[::step][rows], units.ravel()[::step][rows]
    if len(mean) == 0:
        return 1.0, 0.0
    squared = (sold - mean) ** 2 / mean
    excess = (np.minimum(squared, np.quantile(squared, WINSOR_LEVEL)) - 1).sum()
    overdispersion = float(
        np.clip(excess * WINSOR_CORRECTION / mean.sum(), 0.0, MAX_OVERDISPERSION)
    )
    squared /= 1 + overdispersion * mean
    return float(np.clip(mean_squared_residual(squared), 1.0, 100.0)), overdispersion


def uncensored_demand(
    units: Numbers, sold_out: Mask, expected: Numbers, overdispersion: float
) -> Numbers:
    """Units sold; on days that sold out the mean of demand given that it was at least that.

    Demand is taken as normal with mean mu and variance mu + overdispersion × mu². With
    z = (sold - mu) / sd, E[D | D >= sold] = mu + sd × pdf(z) / (1 - cdf(z)) (Tobin, 1958). Between
    two fits this is the E step of an EM algorithm (Dempster, Laird and Rubin, 1977).
    """
    if not sold_out.any():
        return units
    from scipy.stats import norm

    mean = np.maximum(expected[sold_out], MIN_CENSORED_MEAN)
    sd = np.sqrt(mean + overdispersion * mean**2)
    z = np.minimum((units[sold_out] - mean) / sd, MAX_CENSORED_Z)
    demand = units.copy()
    demand[sold_out] = np.maximum(units[sold_out], mean + sd * norm.pdf(z) / norm.sf(z))
    return demand
