"""The noise floor: accuracy and cost with the structure of the sales known, also of weeks ahead.

The structure is fitted in hindsight to the whole file, the measured weeks too. A day's mean is a
product of factors, each such that its sums agree with the sales: the maximum of the Poisson
likelihood, found by iterative proportional fitting (Deming and Stephan, 1940). What is left counts
as Poisson noise: the week's mean is forecast, its Poisson quantile ordered.

`estimate_dispersion` tells how true that is: 1 when what is left is Poisson noise. It is 1.00 for
store_item with PLAIN_FACTORS. AI Shop's items differ in their weekdays and months and it has a year
end of its own, so it has ITEM_FACTORS. `bench.shop_accuracy` measures with it.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy.stats import poisson

from tanuki.shop.forecasting.forecaster import QUANTILE_COLUMNS, QUANTILE_LEVELS
from tanuki.shop.panel import History, Panel

DAY, WEEKDAY, MONTH, YEAR = (
    getattr(pl.col("date").dt, part)() for part in ("day", "weekday", "month", "year")
)
IN_YEAR_END = ((MONTH == 12) & (DAY >= 21)) | ((MONTH == 1) & (DAY <= 3))
YEAR_END = pl.when(IN_YEAR_END).then(DAY).otherwise(0)

Factors = tuple[tuple[str | pl.Expr, ...], ...]
PLAIN_FACTORS: Factors = (("store", "item"), (WEEKDAY,), (MONTH,), (YEAR,))
ITEM_FACTORS: Factors = (
    ("store", "item"),
    ("item", WEEKDAY),
    ("item", MONTH),
    (YEAR,),
    (YEAR_END,),
)
MAX_ROUNDS = 50


def make_noise_floor(
    history: History, factors: Factors = PLAIN_FACTORS
) -> Callable[[Panel], pl.DataFrame]:
    """The forecast in hindsight of any week of this history."""
    means = fit_structure(history.sales, factors)

    def forecast(panel: Panel) -> pl.DataFrame:
        week = means.filter(pl.col("date").is_between(panel.target.monday, panel.target.sunday))
        rows = week.group_by("store", "item").agg(pl.col("mean").sum()).sort("store", "item")
        levels = np.array(QUANTILE_LEVELS)[None, :]
        quantiles = poisson.ppf(levels, rows["mean"].to_numpy()[:, None])
        return rows.with_columns(
            pl.Series(name, values)
            for name, values in zip(QUANTILE_COLUMNS, quantiles.T, strict=True)
        )

    return forecast


def fit_structure(sales: pl.DataFrame, factors: Factors = PLAIN_FACTORS) -> pl.DataFrame:
    """[date, store, item, units, mean]: sales beside the mean that the structure gives them."""
    codes = [
        sales.select(pl.struct(*parts).rank("dense") - 1).to_series().to_numpy().astype(np.int64)
        for parts in map(name_parts, factors)
    ]
    units = sales["units"].to_numpy()
    mean = np.full(len(units), max(units.mean(), 1e-9))
    for _ in range(MAX_ROUNDS):
        previous = mean
        for code in codes:
            sold, expected = np.bincount(code, units), np.bincount(code, mean)
            mean = mean * (sold / np.maximum(expected, 1e-12))[code]
        if np.abs(mean / np.maximum(previous, 1e-12) - 1).max() < 1e-9:
            break
    return sales.select("date", "store", "item", "units", pl.Series("mean", mean))


def name_parts(parts: tuple[str | pl.Expr, ...]) -> list[pl.Expr]:
    """A factor's parts as columns of different names."""
    return [
        (pl.col(part) if isinstance(part, str) else part).alias(f"part{n}")
        for n, part in enumerate(parts)
    ]


def estimate_dispersion(structure: pl.DataFrame) -> float:
    """The mean squared Pearson residual: 1 when what is left is Poisson noise."""
    units, mean = structure["units"].to_numpy(), structure["mean"].to_numpy()
    return float(np.mean((units - mean) ** 2 / np.maximum(mean, 1e-12)))
