"""Peers: other libraries on the shop's task, their own quantiles of the week two weeks ahead.

Each peer takes a panel and gives [store, item, q01 … q99, mean]. Weekly models get weeks from
Monday to Sunday; a week without a report holds the one before it. Where a library leaves a choice,
both choices are peers, and the better one counts.
"""

import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from tanuki.shop.forecasting.forecaster import NORMAL_SCORES, QUANTILE_COLUMNS, QUANTILE_LEVELS
from tanuki.shop.panel import Panel

DOCUMENTED = "mlforecast+LightGBM as documented"  # measured for its speed only
Peer = Callable[[Panel], pl.DataFrame]
INTERVAL_LEVELS = [98, 90, 80, 50]  # of intervals whose ends are the quantiles beside the median
MIN_WEEKS_FOR_SEASON = 104  # a season of 52 weeks needs two years
MIN_WEEKS = 12  # shorter series get their mean, whatever the model
HORIZON_WEEKS = 2
INTERVAL_WINDOWS = 10  # past forecasts from which mlforecast makes its intervals


def to_weekly_frame(panel: Panel) -> pl.DataFrame:
    """[unique_id, ds, y]: whole weeks of each series; unknown weeks hold the last known one."""
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


def to_daily_frame(panel: Panel) -> pl.DataFrame:
    """[unique_id, ds, y] of days; unknown days hold the last known sales of their weekday."""
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


def build_plans(panel: Panel) -> pl.DataFrame | None:
    """[unique_id, ds, price, prices of other items, promotion kinds], also of the two weeks ahead.

    None where nothing of it ever changes.
    """
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
    weeks = panel.sales.select("store", "item").unique().join(mondays, how="cross")
    weeks = weeks.join(price, on=["store", "item", "ds"], how="left").join(
        rivals, on=["store", "ds"], how="left"
    )
    weeks = weeks.join(kinds, on=["store", "item", "ds"], how="left").sort("store", "item", "ds")
    flags = [name for name in kinds.columns if name not in ("store", "item", "ds")]
    prices = [name for name in weeks.columns if name.startswith("price")]
    return weeks.select(
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


def build_result(
    ids: list[str] | np.ndarray, quantiles: np.ndarray, mean: np.ndarray
) -> pl.DataFrame:
    """[store, item, q01 … q99, mean], quantiles never negative and never decreasing."""
    tidy = np.maximum.accumulate(np.maximum(quantiles, 0.0), axis=1)
    frame = pl.DataFrame(
        {
            "unique_id": list(ids),
            **dict(zip(QUANTILE_COLUMNS, tidy.T, strict=True)),
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
        .select("store", "item", *QUANTILE_COLUMNS, "mean")
        .sort("store", "item")
    )


def normal_quantiles(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Quantiles of normal distributions with these means and standard deviations."""
    return mean[:, None] + NORMAL_SCORES[None, :] * spread[:, None]


def list_series(panel: Panel) -> tuple[list[str], list[np.ndarray]]:
    """The ids of the series, and their weeks."""
    grouped = to_weekly_frame(panel).group_by("unique_id", maintain_order=True).agg("y")
    return grouped["unique_id"].to_list(), [np.asarray(values) for values in grouped["y"]]


def forecast_by_rule(panel: Panel, forecast: Callable[[np.ndarray], float]) -> pl.DataFrame:
    """A rule on the known weeks, with the RMSE of its own forecasts over the last year."""
    ids, weeks = list_series(panel)
    mean = np.array([forecast(values) for values in weeks])
    spread = []
    for values in weeks:
        origins = range(max(4, len(values) - 52), len(values) - 1)
        errors = [values[n + 1] - forecast(values[:n]) for n in origins]
        spread.append(
            float(np.sqrt(np.mean(np.square(errors)))) if errors else float(np.mean(values))
        )
    return build_result(ids, normal_quantiles(mean, np.array(spread)), mean)


def forecast_naive(panel: Panel) -> pl.DataFrame:
    """The last known week."""
    return forecast_by_rule(panel, lambda weeks: float(weeks[-1]))


def forecast_seasonal_naive(panel: Panel) -> pl.DataFrame:
    """The same week a year ago; the last week where that is not known."""
    return forecast_by_rule(
        panel, lambda weeks: float(weeks[-51] if len(weeks) >= 51 else weeks[-1])
    )


def forecast_moving_average(panel: Panel) -> pl.DataFrame:
    """The mean of the last four weeks."""
    return forecast_by_rule(panel, lambda weeks: float(weeks[-4:].mean()))


def make_statsforecast_peer(name: str, season: int) -> Peer:
    """One of statsforecast's automatic models on weeks, with its own intervals."""

    def peer(panel: Panel) -> pl.DataFrame:
        from statsforecast import StatsForecast, models

        frame = to_weekly_frame(panel)
        long = frame.filter(pl.len().over("unique_id") >= MIN_WEEKS)
        known = int(long.group_by("unique_id").len()["len"].max())
        model = getattr(models, name)(season_length=season if known >= MIN_WEEKS_FOR_SEASON else 1)
        engine = StatsForecast(models=[model], freq="1w", n_jobs=1, fallback_model=models.Naive())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ahead = (
                engine.forecast(df=long, h=HORIZON_WEEKS, level=INTERVAL_LEVELS)
                .sort("unique_id", "ds")
                .group_by("unique_id", maintain_order=True)
                .last()
            )
        names = [
            *(f"{model.alias}-lo-{n}" for n in INTERVAL_LEVELS),
            model.alias,
            *(f"{model.alias}-hi-{n}" for n in INTERVAL_LEVELS[::-1]),
        ]
        quantiles = np.nan_to_num(ahead.select(names).to_numpy())
        return add_short_series(
            build_result(
                ahead["unique_id"].to_list(), quantiles, quantiles[:, len(INTERVAL_LEVELS)]
            ),
            frame,
        )

    return peer


def add_short_series(forecast: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """A forecast with the means of the series that were too short for its model added."""
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
        .join(forecast, on=["store", "item"], how="anti")
    )
    if rest.height == 0:
        return forecast
    mean = rest["y"].to_numpy()
    return pl.concat(
        [
            forecast,
            build_result(rest["unique_id"].to_list(), normal_quantiles(mean, 0.5 * mean), mean),
        ]
    ).sort("store", "item")


def make_lightgbm() -> Any:
    """LightGBM as in mlforecast's documentation, on one thread like all models here."""
    from lightgbm import LGBMRegressor

    return LGBMRegressor(random_state=0, verbosity=-1, n_jobs=1)


def forecast_mlforecast_daily(panel: Panel) -> pl.DataFrame:
    """The first example of mlforecast's documentation, on days; the second week's days are summed.

    Intervals of single days do not add up to one of a week. So conformal intervals are made of the
    week's sum: the library's cross-validation gives INTERVAL_WINDOWS past forecasts, and the errors
    of their second weeks, in both directions, are the distribution.
    """
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExpandingMean, RollingMean
    from mlforecast.target_transforms import Differences

    frame = to_daily_frame(panel).to_pandas()
    frame["ds"] = frame["ds"].astype("datetime64[ns]")
    days = frame.groupby("unique_id", observed=True)["ds"].count()
    horizon = 7 * HORIZON_WEEKS
    windows = min(INTERVAL_WINDOWS, max(2, int(days.min() - 60) // horizon))
    engine = MLForecast(
        models={"model": make_lightgbm()},
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
    return conformal_quantiles(second, (past["y"] - past["model"]).abs().unstack())


def conformal_quantiles(mean: pd.Series, errors: pd.DataFrame) -> pl.DataFrame:
    """mlforecast's conformal distribution: quantiles of the forecast ± its past absolute errors."""
    errors = errors.loc[mean.index].to_numpy()
    samples = np.concatenate(
        [mean.to_numpy()[:, None] - errors, mean.to_numpy()[:, None] + errors], axis=1
    )
    return build_result(
        list(mean.index), np.quantile(samples, QUANTILE_LEVELS, axis=1).T, mean.to_numpy()
    )


def forecast_mlforecast_documented(panel: Panel) -> pl.DataFrame:
    """mlforecast exactly as documented, with LightGBM's own choice of threads.

    Differences are to the day before, intervals from ten windows of the horizon (the guide on
    prediction intervals). The days' quantiles are summed, as a reader of them would.
    """
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExpandingMean, RollingMean
    from mlforecast.target_transforms import Differences
    from mlforecast.utils import PredictionIntervals

    frame = to_daily_frame(panel).to_pandas()
    frame["ds"] = frame["ds"].astype("datetime64[ns]")
    horizon = 7 * HORIZON_WEEKS
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
        engine.fit(
            frame, prediction_intervals=PredictionIntervals(n_windows=INTERVAL_WINDOWS, h=horizon)
        )
        ahead = engine.predict(horizon, level=INTERVAL_LEVELS)
    names = [
        *(f"LGBMRegressor-lo-{n}" for n in INTERVAL_LEVELS),
        "LGBMRegressor",
        *(f"LGBMRegressor-hi-{n}" for n in INTERVAL_LEVELS[::-1]),
    ]
    second = ahead[ahead["ds"].dt.date >= panel.target.monday].groupby("unique_id")[names].sum()
    return build_result(list(second.index), second.to_numpy(), second["LGBMRegressor"].to_numpy())


def make_mlforecast_weekly_peer(*, known_ahead: bool, log: bool) -> Peer:
    """mlforecast on weeks, with its conformal intervals; with plans if `known_ahead`."""

    def peer(panel: Panel) -> pl.DataFrame:
        from mlforecast import MLForecast
        from mlforecast.lag_transforms import ExpandingMean, RollingMean
        from mlforecast.target_transforms import GlobalSklearnTransformer, LocalStandardScaler
        from mlforecast.utils import PredictionIntervals
        from sklearn.preprocessing import FunctionTransformer

        frame = to_weekly_frame(panel)
        frame = (
            frame.filter(pl.len().over("unique_id") >= 40)
            if frame.group_by("unique_id").len()["len"].max() >= 40
            else frame
        )
        shortest = int(frame.group_by("unique_id").len()["len"].min())
        extra = build_plans(panel) if known_ahead else None
        joined = frame if extra is None else frame.join(extra, on=["unique_id", "ds"])
        target = [
            GlobalSklearnTransformer(FunctionTransformer(func=np.log1p, inverse_func=np.expm1)),
            LocalStandardScaler(),
        ]
        engine = MLForecast(
            models={"model": make_lightgbm()},
            freq="1w",
            lags=[1, 2, 3, 4, 8, *([51, 52] if shortest >= MIN_WEEKS_FOR_SEASON else [])],
            lag_transforms={1: [ExpandingMean(), RollingMean(window_size=4)]},
            date_features=["week"],
            target_transforms=target if log else target[1:],
        )
        windows = min(INTERVAL_WINDOWS, max(2, (shortest - 20) // HORIZON_WEEKS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine.fit(
                joined,
                static_features=[],
                prediction_intervals=PredictionIntervals(n_windows=windows, h=HORIZON_WEEKS),
            )
            future = (
                None
                if extra is None
                else extra.filter(pl.col("ds") > frame["ds"].max()).join(
                    frame.select("unique_id").unique(), on="unique_id"
                )
            )
            ahead = engine.predict(HORIZON_WEEKS, level=INTERVAL_LEVELS, X_df=future)
        last = ahead.sort("unique_id", "ds").group_by("unique_id", maintain_order=True).last()
        names = [
            *(f"model-lo-{n}" for n in INTERVAL_LEVELS),
            "model",
            *(f"model-hi-{n}" for n in INTERVAL_LEVELS[::-1]),
        ]
        return add_short_series(
            build_result(
                last["unique_id"].to_list(), last.select(names).to_numpy(), last["model"].to_numpy()
            ),
            to_weekly_frame(panel),
        )

    return peer


def make_skforecast_peer(*, log: bool) -> Peer:
    """skforecast's recursive forecaster of many series: one LightGBM on scaled weeks, with plans.

    Quantiles are bootstrapped from its errors in a backtest of the last weeks; its errors on the
    training weeks are far too small.
    """

    def peer(panel: Panel) -> pl.DataFrame:
        from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster_multiseries
        from skforecast.preprocessing import RollingFeatures
        from skforecast.recursive import ForecasterRecursiveMultiSeries
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        frame = to_weekly_frame(panel)
        frame = frame.filter(pl.len().over("unique_id") >= MIN_WEEKS + 10)
        known = int(frame.group_by("unique_id").len()["len"].min())
        extra = build_plans(panel)
        wide = {
            name[0]: to_pandas_series(part, "y")
            for name, part in frame.partition_by(
                "unique_id", as_dict=True, maintain_order=True
            ).items()
        }
        months = {name: week_of_year(values.index) for name, values in wide.items()}
        exog = months
        future = {
            name: week_of_year(
                values.index[-1:].union(
                    pd.date_range(values.index[-1], periods=HORIZON_WEEKS + 1, freq="W-MON")
                )
            )[1:]
            for name, values in wide.items()
        }
        if extra is not None:
            parts = {
                name[0]: part
                for name, part in extra.partition_by("unique_id", as_dict=True).items()
            }
            exog = {name: months[name].join(to_pandas_plans(parts[name])) for name in wide}
            future = {name: future[name].join(to_pandas_plans(parts[name])) for name in wide}
        engine = ForecasterRecursiveMultiSeries(
            estimator=make_lightgbm(),
            lags=52 if known >= MIN_WEEKS_FOR_SEASON else 8,
            window_features=RollingFeatures(stats=["mean"], window_sizes=4),
            encoding="ordinal",
            transformer_series=make_pipeline(
                FunctionTransformer(np.log1p, np.expm1), StandardScaler()
            )
            if log
            else StandardScaler(),
        )
        weeks = min(HORIZON_WEEKS * INTERVAL_WINDOWS, known // 3)
        folds = TimeSeriesFold(
            steps=HORIZON_WEEKS,
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
            backtest = {name: part["pred"] for name, part in past.groupby("level") if name in wide}
            engine.set_out_sample_residuals(
                y_true={name: wide[name].loc[part.index] for name, part in backtest.items()},
                y_pred=backtest,
            )
            mean = engine.predict(steps=HORIZON_WEEKS, exog=future)
            quantiles = engine.predict_quantiles(
                steps=HORIZON_WEEKS,
                exog=future,
                quantiles=list(QUANTILE_LEVELS),
                n_boot=250,
                use_in_sample_residuals=False,
                use_binned_residuals=False,
                random_state=1,
            )
        last = quantiles[quantiles.index == quantiles.index.max()].set_index("level")
        middle = mean[mean.index == mean.index.max()].set_index("level")["pred"].loc[last.index]
        return add_short_series(
            build_result(list(last.index), last.to_numpy(), middle.to_numpy()),
            to_weekly_frame(panel),
        )

    return peer


def to_pandas_series(part: pl.DataFrame, column: str) -> pd.Series:
    """A column of one series on its Mondays."""
    return pd.Series(
        part[column].to_numpy(),
        index=pd.DatetimeIndex(part["ds"].to_list(), freq="W-MON"),
        name=column,
    )


def week_of_year(index: pd.DatetimeIndex) -> pd.DataFrame:
    """The week of the year of each Monday."""
    return pd.DataFrame({"week": index.isocalendar().week.astype(float).to_numpy()}, index=index)


def to_pandas_plans(part: pl.DataFrame) -> pd.DataFrame:
    """The plans of one series on its Mondays."""
    return pd.DataFrame(
        part.drop("unique_id", "ds").to_dict(as_series=False),
        index=pd.DatetimeIndex(part["ds"].to_list()),
    )


PEERS: dict[str, Peer] = {
    "naive": forecast_naive,
    "seasonal naive": forecast_seasonal_naive,
    "moving average": forecast_moving_average,
    "statsforecast AutoETS": make_statsforecast_peer("AutoETS", 1),
    "statsforecast AutoTheta": make_statsforecast_peer("AutoTheta", 52),
    "statsforecast CES": make_statsforecast_peer("AutoCES", 52),
    "mlforecast+LightGBM daily": forecast_mlforecast_daily,
    DOCUMENTED: forecast_mlforecast_documented,
    "mlforecast+LightGBM weekly": make_mlforecast_weekly_peer(known_ahead=True, log=False),
    "mlforecast+LightGBM weekly log": make_mlforecast_weekly_peer(known_ahead=True, log=True),
    "mlforecast+LightGBM weekly no plans": make_mlforecast_weekly_peer(
        known_ahead=False, log=False
    ),
    "skforecast+LightGBM": make_skforecast_peer(log=False),
    "skforecast+LightGBM log": make_skforecast_peer(log=True),
}
