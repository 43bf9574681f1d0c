"""Backtests: past weeks forecast with only what was known then, scored as forecasts and orders."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from tanuki.errors import UserError
from tanuki.shop import scores
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.features import Numbers
from tanuki.shop.forecasting.forecaster import (
    FORECAST_SCHEMA,
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    Forecaster,
    forecast_quantile,
)
from tanuki.shop.panel import History
from tanuki.shop.tables import DEFAULT_LEFTOVER_COST_YEN, DEFAULT_SHORTAGE_COST_YEN

MANAGERS_MODEL = "managers"  # the name under which people's orders are scored
BACKTEST_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        **FORECAST_SCHEMA,
        "actual": pl.Float64(),
        "order_units": pl.Float64(),
        "seconds": pl.Float64(),
    }
)
PUBLISHED_COLUMNS = ("year", "week_of_year", "store", "item", "prediction")


def run_backtest(
    history: History,
    weeks: Sequence[Week],
    models: Mapping[str, Callable[[], Forecaster]],
    *,
    shortage: float = DEFAULT_SHORTAGE_COST_YEN,
    leftover: float = DEFAULT_LEFTOVER_COST_YEN,
) -> pl.DataFrame:
    """BACKTEST_SCHEMA, a row for each model, week, store and item.

    A row has the forecast of the target week, its sales, and the order: the quantile
    shortage / (shortage + leftover), the newsvendor's. What people had delivered, where it is
    known, is the model MANAGERS_MODEL. `seconds` is the model's time for the whole week. A week
    that no store reported in full has no rows.
    """
    frames = [pl.DataFrame(schema=BACKTEST_SCHEMA)]
    level = shortage / (shortage + leftover)
    for week in weeks:
        actual = history.actual_sales(week)
        if actual.height == 0:
            continue
        panel = history.build_panel(week)
        for name, make in models.items():
            start = perf_counter()
            model = make()
            model.fit(panel)
            forecast = model.predict(panel).filter(pl.col("week") == str(week))
            seconds = perf_counter() - start
            order = pl.Series("order_units", forecast_quantile(forecast, level))
            frames.append(join_actual_sales(name, forecast.with_columns(order), actual, seconds))
        managers = history.delivered_units(week).with_columns(
            pl.lit(str(week)).alias("week"),
            *(pl.col("order_units").alias(name) for name in (*QUANTILE_COLUMNS, "mean")),
        )
        frames.append(join_actual_sales(MANAGERS_MODEL, managers, actual, 0.0))
    return pl.concat(frames)


def join_actual_sales(
    name: str, forecast: pl.DataFrame, actual: pl.DataFrame, seconds: float
) -> pl.DataFrame:
    """BACKTEST_SCHEMA of the stores and items that have both a forecast and known sales."""
    return (
        forecast.join(actual, on=["store", "item"], how="inner")
        .with_columns(pl.lit(name).alias("model"), pl.lit(seconds).alias("seconds"))
        .select(BACKTEST_SCHEMA.names())
        .sort("store", "item")
    )


def summarize_backtest(
    rows: pl.DataFrame,
    *,
    shortage: float = DEFAULT_SHORTAGE_COST_YEN,
    leftover: float = DEFAULT_LEFTOVER_COST_YEN,
) -> list[dict[str, Any]]:
    """The scores of each model over all its rows.

    People's orders are points, so they have no pinball loss and no coverage.
    """
    return [
        score_model(name, rows.filter(pl.col("model") == name), shortage, leftover)
        for name in rows["model"].unique(maintain_order=True)
    ]


def score_model(name: str, rows: pl.DataFrame, shortage: float, leftover: float) -> dict[str, Any]:
    actual, mean = rows["actual"].to_numpy(), rows["mean"].to_numpy()
    order, quantiles = rows["order_units"].to_numpy(), rows.select(QUANTILE_COLUMNS).to_numpy()
    has_quantiles = name != MANAGERS_MODEL
    seconds = rows.group_by("week").agg(pl.col("seconds").first())["seconds"]
    return {
        "model": name,
        "rows": rows.height,
        "wape": scores.wape(actual, mean),
        "bias": scores.bias(actual, mean),
        "pinball": scores.pinball(actual, quantiles, QUANTILE_LEVELS) if has_quantiles else None,
        "coverage_80": scores.coverage_80(actual, rows["q10"].to_numpy(), rows["q90"].to_numpy())
        if has_quantiles
        else None,
        "shortage_units": scores.shortage_units(actual, order),
        "leftover_units": scores.leftover_units(actual, order),
        "cost": scores.mean_cost(actual, order, shortage, leftover),
        "fill_rate": scores.fill_rate(actual, order),
        "seconds_a_week": float(seconds.sum()) / max(len(seconds), 1),
    }


def check_week_range(history: History, first: Week, last: Week) -> None:
    """Raises UserError unless all weeks have sales, and some are known before the first cut-off."""
    start, end = history.complete_weeks()
    if first > last:
        raise UserError(
            "The first week %(first)s is after the last one %(last)s.", first=first, last=last
        )
    earliest = start.plus(2)
    if first < earliest or last > end:
        raise UserError(
            "Sales are known from %(start)s to %(end)s, so weeks from %(earliest)s to %(end)s can"
            " be backtested, not %(first)s to %(last)s.",
            start=start,
            end=end,
            earliest=earliest,
            first=first,
            last=last,
        )


def read_published_forecast(path: Path) -> tuple[Week, pl.DataFrame]:
    """The week of a published forecast, and its [store, item, prediction].

    Raises UserError when the file is not a CSV of PUBLISHED_COLUMNS for one week.
    """
    columns = ", ".join(PUBLISHED_COLUMNS)
    try:
        frame = pl.read_csv(
            path, schema_overrides={"store": pl.String, "item": pl.String, "prediction": pl.Float64}
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            "%(file)s cannot be read as CSV (%(why)s); expected the columns %(columns)s.",
            file=path.name,
            why=str(error).splitlines()[0],
            columns=columns,
        ) from error
    missing = [column for column in PUBLISHED_COLUMNS if column not in frame.columns]
    if missing:
        raise UserError(
            "%(file)s has no column %(missing)s; expected %(columns)s.",
            file=path.name,
            missing=", ".join(missing),
            columns=columns,
        )
    weeks = frame.select("year", "week_of_year").unique().rows()
    if len(weeks) != 1:
        raise UserError(
            "%(file)s holds %(count)s weeks; expected one.", file=path.name, count=len(weeks)
        )
    year, number = weeks[0]
    predictions = frame.select("store", "item", "prediction").drop_nulls("prediction")
    week = parse_week(f"{year}-W{int(number):02d}")
    return week, predictions.unique(["store", "item"]).sort("store", "item")


def join_published_forecast(
    history: History, week: Week, published: pl.DataFrame, model: Forecaster
) -> pl.DataFrame:
    """[store, item, actual, prediction, and the model's forecast] of rows that have all of them.

    The model is fitted on what was known at the week's cut-off.
    """
    panel = history.build_panel(week)
    model.fit(panel)
    forecast = model.predict(panel).filter(pl.col("week") == str(week))
    return (
        history.actual_sales(week)
        .join(published, on=["store", "item"])
        .join(forecast, on=["store", "item"])
        .sort("store", "item")
    )


def compare_with_published(rows: pl.DataFrame, model: str) -> list[dict[str, Any]]:
    """The scores of both forecasts on the same rows.

    The published one is ordered as it is, the model at the quantile that each cost asks for.
    """
    actual, published = rows["actual"].to_numpy(), rows["prediction"].to_numpy()
    orders = {3: forecast_quantile(rows, 3 / 4), 5: forecast_quantile(rows, 5 / 6)}
    return [
        score_forecast("published", actual, published, {3: published, 5: published}),
        score_forecast(model, actual, rows["mean"].to_numpy(), orders),
    ]


def score_forecast(
    name: str, actual: Numbers, forecast: Numbers, orders: Mapping[int, Numbers]
) -> dict[str, Any]:
    """One forecast's scores; `orders` by what a unit short costs in units left."""
    return {
        "model": name,
        "rows": len(actual),
        "wape": scores.wape(actual, forecast),
        "bias": scores.bias(actual, forecast),
        "under_forecast_share": scores.under_forecast_share(actual, forecast),
        **{
            f"cost_{shortage}": scores.mean_cost(actual, order, float(shortage), 1.0)
            for shortage, order in orders.items()
        },
    }
