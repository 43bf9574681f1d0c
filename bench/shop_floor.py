"""The noise floor: what an error or an order would cost to one who knew the structure of the sales, the weeks to forecast included.

The structure is fitted in hindsight to the whole file, the measured weeks too: a day's mean is a product of factors, each the one that makes its sums agree
with the sales (the maximum of the Poisson likelihood, found by proportional fitting). What is left is taken for Poisson noise: the week's mean is forecast,
its Poisson quantile ordered. `dispersion` tells how true that is: 1 when what is left is Poisson noise and nothing else. store_item is 1.00 with PLAIN.
AI Shop's items differ in their weekdays and months and its year ends are its own, so its factors are WITH_ITEMS.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy.stats import poisson

from tanuki.shop.forecasting.forecaster import COLUMNS, QUANTILES
from tanuki.shop.panel import History, Panel

WEEKDAY, MONTH, YEAR = (getattr(pl.col("date").dt, part)() for part in ("weekday", "month", "year"))
YEAR_END = pl.when((MONTH == 12) & (pl.col("date").dt.day() >= 21)).then(pl.col("date").dt.day()).otherwise(
    pl.when((MONTH == 1) & (pl.col("date").dt.day() <= 3)).then(pl.col("date").dt.day()).otherwise(0)
)  # fmt: skip
PLAIN = (("store", "item"), (WEEKDAY,), (MONTH,), (YEAR,))
WITH_ITEMS = (("store", "item"), ("item", WEEKDAY), ("item", MONTH), (YEAR,), (YEAR_END,))
ROUNDS = 50

Factors = tuple[tuple[str | pl.Expr, ...], ...]


def floor(history: History, factors: Factors = PLAIN) -> Callable[[Panel], pl.DataFrame]:
    """The forecast in hindsight of any week of this history."""
    means = structure(history.sales, factors)

    def forecast(panel: Panel) -> pl.DataFrame:
        week = means.filter(pl.col("date").is_between(panel.target.monday, panel.target.sunday))
        rows = week.group_by("store", "item").agg(pl.col("mean").sum()).sort("store", "item")
        quantiles = poisson.ppf(np.array(QUANTILES)[None, :], rows["mean"].to_numpy()[:, None])
        return rows.with_columns(
            pl.Series(name, values) for name, values in zip(COLUMNS, quantiles.T, strict=True)
        )

    return forecast


def structure(sales: pl.DataFrame, factors: Factors = PLAIN) -> pl.DataFrame:
    """[date, store, item, units, mean]: sales beside the mean that the structure gives them."""
    codes = [
        sales.select(pl.struct(*parts).rank("dense") - 1).to_series().to_numpy().astype(np.int64)
        for parts in map(columns, factors)
    ]
    units = sales["units"].to_numpy()
    mean = np.full(len(units), max(units.mean(), 1e-9))
    for _ in range(ROUNDS):
        before = mean
        for code in codes:
            sold, told = np.bincount(code, units), np.bincount(code, mean)
            mean = mean * (sold / np.maximum(told, 1e-12))[code]
        if np.abs(mean / np.maximum(before, 1e-12) - 1).max() < 1e-9:
            break
    return sales.select("date", "store", "item", "units", pl.Series("mean", mean))


def columns(parts: tuple[str | pl.Expr, ...]) -> list[pl.Expr]:
    """A factor's parts as columns of their own names."""
    return [
        (pl.col(part) if isinstance(part, str) else part).alias(f"part{n}")
        for n, part in enumerate(parts)
    ]


def dispersion(fitted: pl.DataFrame) -> float:
    """Squared residuals in units of their mean: 1 when what is left over is Poisson noise."""
    units, mean = fitted["units"].to_numpy(), fitted["mean"].to_numpy()
    return float(np.mean((units - mean) ** 2 / np.maximum(mean, 1e-12)))
