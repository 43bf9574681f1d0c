"""Ratio estimates of factors, shrunk to a prior: the Gamma-Poisson model and empirical Bayes."""

import numpy as np
from scipy import sparse

from tanuki.shop.features import Codes, Numbers

PRIOR_GROUPS = 3.0  # average groups that the prior variance weighs as much as


def group_sum_matrix(codes: Codes, size: int) -> sparse.csr_matrix:
    """groups × lines: `matrix @ values` sums lines by store or item."""
    return sparse.csr_matrix(
        (np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(size, len(codes))
    )


def sales_ratio(sold: Numbers, expected: Numbers) -> Numbers:
    """Sold over expected; 1 where nothing was sold or expected."""
    return np.where((expected > 0) & (sold > 0), sold / np.maximum(expected, 1e-12), 1.0)


def shrink(
    sold: Numbers,
    expected: Numbers,
    factor: Numbers,
    prior: Numbers | float,
    prior_units: Numbers | float,
) -> Numbers:
    """The posterior mean of a factor f with sold ~ Poisson(f × exposure), f ~ Gamma.

    `expected` holds the old `factor`, so exposure = expected / factor. The Gamma prior has mean
    `prior` and shape `prior_units`, i.e. rate prior_units / prior. The posterior mean is
    (sold + prior_units) / (exposure + prior_units / prior), see Gelman et al., Bayesian Data
    Analysis (2013), section 2.6.
    """
    return np.asarray((sold + prior_units) / (expected / factor + prior_units / prior))


def shrink_by_moments(
    sold: Numbers, expected: Numbers, factor: Numbers, prior_units: float, dispersion: float
) -> Numbers:
    """Factors (groups × categories) shrunk to 1 as strongly as their own differences suggest.

    Empirical Bayes (Efron and Morris, 1973) by the method of moments, as for relative risks in
    Marshall (1991). With exposure E = expected / factor and var(sold) = dispersion × E,

        E[(sold - E)² / E] = dispersion + E × var(f),

    so var(f) = Σ ((sold - E)² / E - dispersion) / Σ E over the groups of a category. Before any
    data var(f) = 1 / prior_units, which weighs as much as PRIOR_GROUPS average groups.
    """
    exposure = expected / factor
    observed = exposure > 0
    chi2 = np.where(observed, (sold - exposure) ** 2 / np.maximum(exposure, 1e-9), 0.0)
    groups = observed.sum(axis=0)
    total_exposure = exposure.sum(axis=0)
    prior_exposure = PRIOR_GROUPS * total_exposure / np.maximum(groups, 1)
    variance = (
        np.maximum((chi2 - dispersion * observed).sum(axis=0), 0.0) + prior_exposure / prior_units
    ) / np.maximum(total_exposure + prior_exposure, 1e-9)
    return shrink(sold, expected, factor, 1.0, dispersion / np.maximum(variance, 1e-9))


def neighbour_mean(factor: Numbers, *, circular: bool) -> Numbers:
    """The geometric mean of the two factors beside each in time, along the last axis.

    This is the conditional mean of a first-order random walk of logarithms (Rue and Held, 2005,
    section 3.3). Months are circular; at the ends of periods the one neighbour counts.
    """
    log = np.log(factor)
    if log.shape[-1] == 1:
        return np.ones_like(factor)
    before, after = np.roll(log, 1, axis=-1), np.roll(log, -1, axis=-1)
    if not circular:
        before[..., 0], after[..., -1] = after[..., 0], before[..., -1]
    return np.asarray(np.exp((before + after) / 2))
