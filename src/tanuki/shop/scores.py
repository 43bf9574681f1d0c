"""How good forecasts and orders were: one line each, lower is better unless it says otherwise."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Zone = Literal["within", "too_much", "too_little"]


def wape(actual: Numbers, forecast: Numbers) -> float:
    """Absolute error as a share of everything sold: 0.2 means 20 % off, big sellers count most."""
    return share(float(np.abs(actual - forecast).sum()), float(np.abs(actual).sum()))


def bias(actual: Numbers, forecast: Numbers) -> float:
    """Forecast too much (above 0) or too little (below 0), as a share of everything sold; best is 0."""
    return share(float((forecast - actual).sum()), float(np.abs(actual).sum()))


def under_forecast_share(actual: Numbers, forecast: Numbers) -> float:
    """The share of rows forecast below what was sold: each is a possible sell-out."""
    return share(float((forecast < actual).sum()), len(actual))


def pinball(actual: Numbers, quantiles: Numbers, levels: tuple[float, ...]) -> float:
    """Mean pinball loss over rows (lines of `quantiles`) and levels (its columns): how good the whole distribution is, in units."""
    errors = actual[:, None] - quantiles
    taus = np.array(levels)
    return float(np.maximum(taus * errors, (taus - 1) * errors).mean()) if len(actual) else 0.0


def coverage_80(actual: Numbers, low: Numbers, high: Numbers) -> float:
    """The share of rows between the 10 % and the 90 % quantile, both included; best is 0.8."""
    return share(float(((actual >= low) & (actual <= high)).sum()), len(actual))


def shortage_units(actual: Numbers, ordered: Numbers) -> float:
    """Units that customers wanted and did not find."""
    return float(np.maximum(actual - ordered, 0.0).sum())


def leftover_units(actual: Numbers, ordered: Numbers) -> float:
    """Units ordered and not sold."""
    return float(np.maximum(ordered - actual, 0.0).sum())


def cost(actual: Numbers, ordered: Numbers, shortage: float = 3.0, leftover: float = 1.0) -> float:
    """Mean cost of a row: each unit short costs `shortage`, each unit left `leftover`."""
    return share(
        shortage * shortage_units(actual, ordered) + leftover * leftover_units(actual, ordered),
        len(actual),
    )


def fill_rate(actual: Numbers, ordered: Numbers) -> float:
    """The share of wanted units that were there; best is 1."""
    return share(float(np.minimum(actual, ordered).sum()), float(actual.sum()), nothing=1.0)


def zones(
    actual: Numbers, ordered: Numbers, too_much: float = 0.2, too_little: float = 0.0
) -> list[Zone]:
    """Per row: short by more than the share `too_little` of what was wanted, left by more than the share `too_much` of it, or within both."""
    short = (actual - ordered) > too_little * actual
    left = (ordered - actual) > too_much * actual
    return [
        "too_little" if s else "too_much" if m else "within"
        for s, m in zip(short, left, strict=True)
    ]


def share(part: float, whole: float, nothing: float = 0.0) -> float:
    """A part of a whole; `nothing` when there is no whole."""
    return part / whole if whole else nothing
