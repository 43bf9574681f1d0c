"""Other libraries on the shop's task: from what was known at a week's cut-off, their own quantiles of that week two weeks ahead.

Each peer takes a panel and gives [store, item, q01 … q99, mean]. Weekly models see weeks from Monday to Sunday; a silent week holds the one before it.
Where a library leaves a choice, both choices are peers of their own, and the better one counts.
"""

import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from tanuki.shop.forecasting.forecaster import COLUMNS, QUANTILES, SCORES
from tanuki.shop.panel import Panel

DOCUMENTED = "mlforecast+LightGBM as documented"  # for its speed
Peer = Callable[[Panel], pl.DataFrame]
LEVELS = [98, 90, 80, 50]  # of intervals whose ends are the quantiles beside the median
BOTH_YEARS = 104  # weeks of which a season of 52 can be learnt
SHORTEST = 12  # weeks below which a series gets its mean, whatever the model
AHEAD = 2
WINDOWS = 10  # past forecasts on which mlforecast measures its intervals
LONGEST = 15  # days at the end of a daily series that a forecast of a week needs


def weekly(panel: Panel) -> pl.DataFrame:
    """[unique_id, ds, y]: whole weeks of each series from its first one; silent weeks hold the last known one."""
    return (
        panel.sales.with_columns(
            pl.format("{}|{}", "store", "item").alias("unique_id"),
            pl.col("date").dt.truncate("1w").alias("ds"),
        )
        .group_by("unique_id", "ds")
        .agg(
            pl.col("units").sum().alias("y"),
            pl.col("units").count().alias("known"),
            pl.len().alias("days"),
        )
        .filter(pl.col("days") == 7)
        .sort("unique_id", "ds")
        .select(
            "unique_id",
            "ds",
            pl.when(pl.col("known") == 7)
            .then(pl.col("y"))
            .forward_fill()
            .over("unique_id")
            .alias("y"),
        )
        .drop_nulls("y")
    )


def daily(panel: Panel) -> pl.DataFrame:
    """[unique_id, ds, y] of days; a silent day holds the same weekday's last known sales."""
    return (
        panel.sales.select(
            pl.format("{}|{}", "store", "item").alias("unique_id"),
            pl.col("date").alias("ds"),
            pl.col("units").alias("y"),
        )
        .sort("unique_id", "ds")
        .with_columns(pl.col("y").forward_fill().over("unique_id", pl.col("ds").dt.weekday()))
        .drop_nulls("y")
    )


def plans(panel: Panel) -> pl.DataFrame | None:
    """[unique_id, ds, price, rival prices, kinds of promotion] of the known weeks and the two ahead; None where nothing of it ever changes."""
    if panel.prices.height == 0 and panel.promotions.height == 0:
        return None
    days = panel.prices.with_columns(pl.col("date").dt.truncate("1w").alias("ds"))
    price = days.group_by("store", "item", "ds").agg(pl.col("price_yen").mean().alias("price"))
    if (
        panel.promotions.height == 0
        and price.group_by("store", "item").agg(pl.col("price").n_unique())["price"].max() == 1
    ):
        return None
    rivals = price.with_columns(pl.format("price_{}", "item").alias("item")).pivot(
        on="item", index=["store", "ds"], values="price"
    )
    kinds = panel.promotions.with_columns(
        pl.col("date").dt.truncate("1w").alias("ds"), pl.lit(1.0).alias("on")
    )
    kinds = kinds.pivot(
        on="kind", index=["store", "item", "ds"], values="on", aggregate_function="max"
    )
    mondays = pl.DataFrame(
        {
            "ds": pl.date_range(panel.sales["date"].min(), panel.target.sunday, "1d", eager=True)
            .dt.truncate("1w")
            .unique()
        }
    )
    made = panel.sales.select("store", "item").unique().join(mondays, how="cross")
    made = made.join(price, on=["store", "item", "ds"], how="left").join(
        rivals, on=["store", "ds"], how="left"
    )
    made = made.join(kinds, on=["store", "item", "ds"], how="left").sort("store", "item", "ds")
    flags = [name for name in kinds.columns if name not in ("store", "item", "ds")]
    prices = [name for name in made.columns if name.startswith("price")]
    return made.select(
        pl.format("{}|{}", "store", "item").alias("unique_id"),
        "ds",
        *(
            pl.col(name)
            .fill_null(strategy="forward")
            .fill_null(strategy="backward")
            .over("store", "item")
            for name in prices
        ),
        *(pl.col(name).fill_null(0.0) for name in flags),
    )


def result(ids: list[str] | np.ndarray, quantiles: np.ndarray, mean: np.ndarray) -> pl.DataFrame:
    """[store, item, q01 … q99, mean] from lines of quantiles, never negative and never decreasing."""
    tidy = np.maximum.accumulate(np.maximum(quantiles, 0.0), axis=1)
    frame = pl.DataFrame(
        {
            "unique_id": list(ids),
            **dict(zip(COLUMNS, tidy.T, strict=True)),
            "mean": np.maximum(mean, 0.0),
        }
    )
    parts = (
        pl.col("unique_id")
        .str.split_exact("|", 1)
        .struct.rename_fields(["store", "item"])
        .alias("parts")
    )
    return (
        frame.with_columns(parts)
        .unnest("parts")
        .select("store", "item", *COLUMNS, "mean")
        .sort("store", "item")
    )


def around(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Quantiles of a normal distribution of these means and spreads."""
    return mean[:, None] + SCORES[None, :] * spread[:, None]


def lines(panel: Panel) -> tuple[list[str], list[np.ndarray]]:
    """The series and their weeks."""
    grouped = weekly(panel).group_by("unique_id", maintain_order=True).agg("y")
    return grouped["unique_id"].to_list(), [np.asarray(values) for values in grouped["y"]]


def simple(panel: Panel, forecast: Callable[[np.ndarray], float]) -> pl.DataFrame:
    """A rule on the known weeks, with the spread of its own last year of forecasts two weeks ahead."""
    ids, weeks = lines(panel)
    mean = np.array([forecast(values) for values in weeks])
    spread = []
    for values in weeks:
        origins = range(max(4, len(values) - 52), len(values) - 1)
        errors = [values[n + 1] - forecast(values[:n]) for n in origins]
        spread.append(
            float(np.sqrt(np.mean(np.square(errors)))) if errors else float(np.mean(values))
        )
    return result(ids, around(mean, np.array(spread)), mean)


def naive(panel: Panel) -> pl.DataFrame:
    """The last known week again."""
    return simple(panel, lambda weeks: float(weeks[-1]))


def seasonal_naive(panel: Panel) -> pl.DataFrame:
    """The same week a year ago; the last one where that is not known."""
    return simple(panel, lambda weeks: float(weeks[-51] if len(weeks) >= 51 else weeks[-1]))


def moving_average(panel: Panel) -> pl.DataFrame:
    """The mean of the last four weeks."""
    return simple(panel, lambda weeks: float(weeks[-4:].mean()))


def statsforecast(model: str, season: int) -> Peer:
    """One of statsforecast's automatic models on weeks, with its own intervals. A season of 52 asks for two known years."""

    def peer(panel: Panel) -> pl.DataFrame:
        from statsforecast import StatsForecast, models

        frame = weekly(panel)
        long = frame.filter(pl.len().over("unique_id") >= SHORTEST)
        known = int(long.group_by("unique_id").len()["len"].max())
        made = getattr(models, model)(season_length=season if known >= BOTH_YEARS else 1)
        engine = StatsForecast(models=[made], freq="1w", n_jobs=1, fallback_model=models.Naive())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ahead = (
                engine.forecast(df=long, h=AHEAD, level=LEVELS)
                .sort("unique_id", "ds")
                .group_by("unique_id", maintain_order=True)
                .last()
            )
        names = [
            *(f"{made.alias}-lo-{n}" for n in LEVELS),
            made.alias,
            *(f"{made.alias}-hi-{n}" for n in LEVELS[::-1]),
        ]
        quantiles = np.nan_to_num(ahead.select(names).to_numpy())
        return whole(
            result(ahead["unique_id"].to_list(), quantiles, quantiles[:, len(LEVELS)]), frame
        )

    return peer


def whole(made: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """A forecast completed by the mean of the series that were too short for its model."""
    parts = (
        pl.col("unique_id")
        .str.split_exact("|", 1)
        .struct.rename_fields(["store", "item"])
        .alias("parts")
    )
    rest = (
        frame.group_by("unique_id")
        .agg(pl.col("y").mean())
        .with_columns(parts)
        .unnest("parts")
        .join(made, on=["store", "item"], how="anti")
    )
    if rest.height == 0:
        return made
    mean = rest["y"].to_numpy()
    return pl.concat(
        [made, result(rest["unique_id"].to_list(), around(mean, 0.5 * mean), mean)]
    ).sort("store", "item")


def lightgbm() -> Any:
    """LightGBM as mlforecast's documentation has it, on one thread like everything measured here."""
    from lightgbm import LGBMRegressor

    return LGBMRegressor(random_state=0, verbosity=-1, n_jobs=1)


def mlforecast_daily(panel: Panel) -> pl.DataFrame:
    """The documentation's first example on days: lags, an expanding and a rolling mean, the weekday, the difference to a week ago; two weeks of days, the second added up.

    Intervals of single days do not add up to one of a week, so the documented conformal intervals are made of the week's sum: the library's own cross-validation
    gives WINDOWS past forecasts, and the errors of their second weeks, both ways around the forecast, are the distribution.
    """
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExpandingMean, RollingMean
    from mlforecast.target_transforms import Differences

    frame = daily(panel).to_pandas()
    frame["ds"] = frame["ds"].astype("datetime64[ns]")
    days = frame.groupby("unique_id", observed=True)["ds"].count()
    horizon = 7 * AHEAD
    windows = min(WINDOWS, max(2, int(days.min() - 60) // horizon))
    engine = MLForecast(
        models={"model": lightgbm()},
        freq="D",
        lags=[7, 14],
        lag_transforms={1: [ExpandingMean()], 7: [RollingMean(window_size=28)]},
        date_features=["dayofweek"],
        target_transforms=[Differences([7])],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        past = engine.cross_validation(
            frame, n_windows=windows, h=horizon, step_size=horizon, refit=False
        )
        ahead = engine.fit(frame).predict(horizon)
    second = ahead[ahead["ds"].dt.date >= panel.target.monday].groupby("unique_id")["model"].sum()
    past = (
        past[past["ds"] > past["cutoff"] + timedelta(days=7)]
        .groupby(["unique_id", "cutoff"])[["y", "model"]]
        .sum()
    )
    return conformal(second, (past["y"] - past["model"]).abs().unstack())


def conformal(mean: pd.Series, errors: pd.DataFrame) -> pl.DataFrame:
    """mlforecast's conformal distribution: the forecast plus and minus its past absolute errors, and the quantiles of those."""
    errors = errors.loc[mean.index].to_numpy()
    samples = np.concatenate(
        [mean.to_numpy()[:, None] - errors, mean.to_numpy()[:, None] + errors], axis=1
    )
    return result(list(mean.index), np.quantile(samples, QUANTILES, axis=1).T, mean.to_numpy())


def mlforecast_documented(panel: Panel) -> pl.DataFrame:
    """The same library letter by letter as its documentation has it: LightGBM with the threads it takes by itself, differences to the day before, and intervals from
    ten windows of the horizon (the guide on prediction intervals). Days' quantiles are added up, as whoever reads them would have to.
    """
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExpandingMean, RollingMean
    from mlforecast.target_transforms import Differences
    from mlforecast.utils import PredictionIntervals

    frame = daily(panel).to_pandas()
    frame["ds"] = frame["ds"].astype("datetime64[ns]")
    horizon = 7 * AHEAD
    engine = MLForecast(
        models=[LGBMRegressor(random_state=0, verbosity=-1)],
        freq="D",
        lags=[7, 14],
        lag_transforms={1: [ExpandingMean()], 7: [RollingMean(window_size=28)]},
        date_features=["dayofweek"],
        target_transforms=[Differences([1])],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine.fit(frame, prediction_intervals=PredictionIntervals(n_windows=WINDOWS, h=horizon))
        ahead = engine.predict(horizon, level=LEVELS)
    names = [
        *(f"LGBMRegressor-lo-{n}" for n in LEVELS), "LGBMRegressor", *(f"LGBMRegressor-hi-{n}" for n in LEVELS[::-1])
    ]  # fmt: skip
    second = ahead[ahead["ds"].dt.date >= panel.target.monday].groupby("unique_id")[names].sum()
    return result(list(second.index), second.to_numpy(), second["LGBMRegressor"].to_numpy())


def mlforecast_weekly(*, known_ahead: bool, log: bool) -> Peer:
    """The same library on weeks: lags up to a year where known, rolling means, the week of the year, its own conformal intervals, and exogenous plans if told."""

    def peer(panel: Panel) -> pl.DataFrame:
        from mlforecast import MLForecast
        from mlforecast.lag_transforms import ExpandingMean, RollingMean
        from mlforecast.target_transforms import GlobalSklearnTransformer, LocalStandardScaler
        from mlforecast.utils import PredictionIntervals
        from sklearn.preprocessing import FunctionTransformer

        frame = weekly(panel)
        frame = (
            frame.filter(pl.len().over("unique_id") >= 40)
            if frame.group_by("unique_id").len()["len"].max() >= 40
            else frame
        )
        shortest = int(frame.group_by("unique_id").len()["len"].min())
        extra = plans(panel) if known_ahead else None
        joined = frame if extra is None else frame.join(extra, on=["unique_id", "ds"])
        target = [
            GlobalSklearnTransformer(FunctionTransformer(func=np.log1p, inverse_func=np.expm1)),
            LocalStandardScaler(),
        ]
        engine = MLForecast(
            models={"model": lightgbm()},
            freq="1w",
            lags=[1, 2, 3, 4, 8, *([51, 52] if shortest >= BOTH_YEARS else [])],
            lag_transforms={1: [ExpandingMean(), RollingMean(window_size=4)]},
            date_features=["week"],
            target_transforms=target if log else target[1:],
        )
        windows = min(WINDOWS, max(2, (shortest - 20) // AHEAD))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine.fit(
                joined,
                static_features=[],
                prediction_intervals=PredictionIntervals(n_windows=windows, h=AHEAD),
            )
            future = (
                None
                if extra is None
                else extra.filter(pl.col("ds") > frame["ds"].max()).join(
                    frame.select("unique_id").unique(), on="unique_id"
                )
            )
            ahead = engine.predict(AHEAD, level=LEVELS, X_df=future)
        last = ahead.sort("unique_id", "ds").group_by("unique_id", maintain_order=True).last()
        names = [
            *(f"model-lo-{n}" for n in LEVELS),
            "model",
            *(f"model-hi-{n}" for n in LEVELS[::-1]),
        ]
        return whole(
            result(
                last["unique_id"].to_list(), last.select(names).to_numpy(), last["model"].to_numpy()
            ),
            weekly(panel),
        )

    return peer


def skforecast(*, log: bool) -> Peer:
    """skforecast's recursive forecaster of many series: one LightGBM on scaled weeks, with plans where there are any.

    Quantiles are bootstrapped from its errors in the backtest of the last weeks, as those on what it learnt from are far too small.
    """

    def peer(panel: Panel) -> pl.DataFrame:
        from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster_multiseries
        from skforecast.preprocessing import RollingFeatures
        from skforecast.recursive import ForecasterRecursiveMultiSeries
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        frame = weekly(panel)
        frame = frame.filter(pl.len().over("unique_id") >= SHORTEST + 10)
        known = int(frame.group_by("unique_id").len()["len"].min())
        extra = plans(panel)
        wide = {
            name[0]: series_of(part, "y")
            for name, part in frame.partition_by(
                "unique_id", as_dict=True, maintain_order=True
            ).items()
        }
        months = {name: month(values.index) for name, values in wide.items()}
        exog = months
        future = {
            name: month(
                values.index[-1:].union(
                    pd.date_range(values.index[-1], periods=AHEAD + 1, freq="W-MON")
                )
            )[1:]
            for name, values in wide.items()
        }
        if extra is not None:
            parts = {
                name[0]: part
                for name, part in extra.partition_by("unique_id", as_dict=True).items()
            }
            exog = {name: months[name].join(plan(parts[name])) for name in wide}
            future = {name: future[name].join(plan(parts[name])) for name in wide}
        engine = ForecasterRecursiveMultiSeries(
            estimator=lightgbm(),
            lags=52 if known >= BOTH_YEARS else 8,
            window_features=RollingFeatures(stats=["mean"], window_sizes=4),
            encoding="ordinal",
            transformer_series=make_pipeline(
                FunctionTransformer(np.log1p, np.expm1), StandardScaler()
            )
            if log
            else StandardScaler(),
        )
        weeks = min(AHEAD * WINDOWS, known // 3)
        folds = TimeSeriesFold(
            steps=AHEAD,
            initial_train_size=str(frame["ds"].max() - timedelta(weeks=weeks)),
            refit=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, past = backtesting_forecaster_multiseries(
                engine,
                wide,
                folds,
                metric="mean_absolute_error",
                exog=exog,
                show_progress=False,
                n_jobs=1,
                suppress_warnings=True,
            )
            engine.fit(series=wide, exog=exog)
            told = {name: part["pred"] for name, part in past.groupby("level") if name in wide}
            engine.set_out_sample_residuals(
                y_true={name: wide[name].loc[part.index] for name, part in told.items()},
                y_pred=told,
            )
            mean = engine.predict(steps=AHEAD, exog=future)
            quantiles = engine.predict_quantiles(
                steps=AHEAD,
                exog=future,
                quantiles=list(QUANTILES),
                n_boot=250,
                use_in_sample_residuals=False,
                use_binned_residuals=False,
                random_state=1,
            )
        last = quantiles[quantiles.index == quantiles.index.max()].set_index("level")
        middle = mean[mean.index == mean.index.max()].set_index("level")["pred"].loc[last.index]
        return whole(result(list(last.index), last.to_numpy(), middle.to_numpy()), weekly(panel))

    return peer


def series_of(part: pl.DataFrame, column: str) -> pd.Series:
    """One series on its Mondays."""
    return pd.Series(
        part[column].to_numpy(),
        index=pd.DatetimeIndex(part["ds"].to_list(), freq="W-MON"),
        name=column,
    )


def month(index: pd.DatetimeIndex) -> pd.DataFrame:
    """The week of the year of each Monday."""
    return pd.DataFrame({"week": index.isocalendar().week.astype(float).to_numpy()}, index=index)


def plan(part: pl.DataFrame) -> pd.DataFrame:
    """The plans of one series on its Mondays."""
    return pd.DataFrame(
        part.drop("unique_id", "ds").to_dict(as_series=False),
        index=pd.DatetimeIndex(part["ds"].to_list()),
    )


PEERS: dict[str, Peer] = {
    "naive": naive,
    "seasonal naive": seasonal_naive,
    "moving average": moving_average,
    "statsforecast AutoETS": statsforecast("AutoETS", 1),
    "statsforecast AutoTheta": statsforecast("AutoTheta", 52),
    "statsforecast CES": statsforecast("AutoCES", 52),
    "mlforecast+LightGBM daily": mlforecast_daily,
    DOCUMENTED: mlforecast_documented,
    "mlforecast+LightGBM weekly": mlforecast_weekly(known_ahead=True, log=False),
    "mlforecast+LightGBM weekly log": mlforecast_weekly(known_ahead=True, log=True),
    "mlforecast+LightGBM weekly no plans": mlforecast_weekly(known_ahead=False, log=False),
    "skforecast+LightGBM": skforecast(log=False),
    "skforecast+LightGBM log": skforecast(log=True),
}
