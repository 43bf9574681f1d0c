"""Past weeks forecast again with only what was known when they were ordered, scored as forecasts and as orders."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from tanuki.errors import UserError
from tanuki.shop import scores
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.forecasting.forecaster import (
    COLUMNS,
    QUANTILES,
    SCHEMA,
    Forecaster,
    Numbers,
    quantile,
)
from tanuki.shop.panel import History

MANAGERS = "managers"
ROWS = pl.Schema(
    {
        "model": pl.String(),
        **SCHEMA,
        "actual": pl.Float64(),
        "ordered": pl.Float64(),
        "seconds": pl.Float64(),
    }
)


def run(
    history: History,
    weeks: Sequence[Week],
    models: Mapping[str, Callable[[], Forecaster]],
    *,
    shortage: float = 3.0,
    leftover: float = 1.0,
) -> pl.DataFrame:
    """One row a model, week, store and item: its forecast of the target week, what was sold, and what would have been ordered.

    The order is the quantile at which a unit more costs as much as it saves: shortage / (shortage + leftover). What people ordered, where it is known, is
    the model "managers". `seconds` is what a model took for the whole week. A week that no store reported whole has no rows.
    """
    frames = [pl.DataFrame(schema=ROWS)]
    for week in weeks:
        actual = history.actual(week)
        if actual.height == 0:
            continue
        panel = history.panel(week)
        for name, make in models.items():
            began = perf_counter()
            model = make()
            model.fit(panel)
            forecast = model.predict(panel).filter(pl.col("week") == str(week))
            seconds = perf_counter() - began
            ordered = pl.Series("ordered", quantile(forecast, shortage / (shortage + leftover)))
            frames.append(scored(name, forecast.with_columns(ordered), actual, seconds))
        people = history.ordered(week).with_columns(
            pl.lit(str(week)).alias("week"),
            *(pl.col("ordered").alias(name) for name in (*COLUMNS, "mean")),
        )
        frames.append(scored(MANAGERS, people, actual, 0.0))
    return pl.concat(frames)


def scored(name: str, forecast: pl.DataFrame, actual: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """A forecast beside what was sold; rows of which only one is known are left out."""
    joined = forecast.join(actual, on=["store", "item"], how="inner")
    return (
        joined.with_columns(pl.lit(name).alias("model"), pl.lit(seconds).alias("seconds"))
        .select(ROWS.names())
        .sort("store", "item")
    )


def summary(
    rows: pl.DataFrame, *, shortage: float = 3.0, leftover: float = 1.0
) -> list[dict[str, Any]]:
    """The scores of each model over all its rows. People's orders are points: they have no pinball loss and no coverage."""
    return [
        scores_of(name, rows.filter(pl.col("model") == name), shortage, leftover)
        for name in rows["model"].unique(maintain_order=True)
    ]


def scores_of(name: str, rows: pl.DataFrame, shortage: float, leftover: float) -> dict[str, Any]:
    """The scores of one model's rows."""
    actual, mean, ordered = (rows[column].to_numpy() for column in ("actual", "mean", "ordered"))
    spread = name != MANAGERS
    seconds = rows.group_by("week").agg(pl.col("seconds").first())["seconds"]
    return {
        "model": name,
        "rows": rows.height,
        "wape": scores.wape(actual, mean),
        "bias": scores.bias(actual, mean),
        "pinball": scores.pinball(actual, rows.select(COLUMNS).to_numpy(), QUANTILES)
        if spread
        else None,
        "coverage_80": scores.coverage_80(actual, rows["q10"].to_numpy(), rows["q90"].to_numpy())
        if spread
        else None,
        "shortage_units": scores.shortage_units(actual, ordered),
        "leftover_units": scores.leftover_units(actual, ordered),
        "cost": scores.cost(actual, ordered, shortage, leftover),
        "fill_rate": scores.fill_rate(actual, ordered),
        "seconds_a_week": float(seconds.sum()) / max(len(seconds), 1),
    }


def covered(history: History, first: Week, last: Week) -> None:
    """Raises UserError unless every week from first to last has sales, and some are known before the first one's cut-off."""
    start, end = history.weeks()
    if first > last:
        raise UserError(
            "The first week %(first)s is after the last one %(last)s.", first=first, last=last
        )
    if first < start.plus(2) or last > end:
        raise UserError(
            "Sales are known from %(start)s to %(end)s, so weeks from %(from)s to %(end)s can be forecast again; asked for %(first)s to %(last)s.",
            **{"start": start, "end": end, "from": start.plus(2), "first": first, "last": last},
        )


PUBLISHED = ("year", "week_of_year", "store", "item", "prediction")


def read_published(path: Path) -> tuple[Week, pl.DataFrame]:
    """The week that a published forecast is for, and its [store, item, prediction]. Raises UserError when the file is not one."""
    try:
        frame = pl.read_csv(
            path, schema_overrides={"store": pl.String, "item": pl.String, "prediction": pl.Float64}
        )
    except (OSError, pl.exceptions.PolarsError) as wrong:
        raise UserError(
            "%(file)s cannot be read as CSV (%(why)s); expected the columns %(columns)s.",
            file=path.name,
            why=str(wrong).splitlines()[0],
            columns=", ".join(PUBLISHED),
        ) from wrong
    missing = [column for column in PUBLISHED if column not in frame.columns]
    if missing:
        raise UserError(
            "%(file)s has no column %(missing)s; expected %(columns)s.",
            file=path.name,
            missing=", ".join(missing),
            columns=", ".join(PUBLISHED),
        )
    weeks = frame.select("year", "week_of_year").unique().rows()
    if len(weeks) != 1:
        raise UserError(
            "%(file)s holds %(count)s weeks; expected one.", file=path.name, count=len(weeks)
        )
    year, number = weeks[0]
    return parse_week(f"{year}-W{int(number):02d}"), frame.select(
        "store", "item", "prediction"
    ).drop_nulls("prediction").unique(["store", "item"]).sort("store", "item")


def beside_published(
    history: History, week: Week, published: pl.DataFrame, model: Forecaster
) -> pl.DataFrame:
    """[store, item, actual, prediction, …ours]: a published forecast beside ours, of the rows that both have and whose sales are known."""
    panel = history.panel(week)
    model.fit(panel)
    ours = model.predict(panel).filter(pl.col("week") == str(week))
    return (
        history.actual(week)
        .join(published, on=["store", "item"])
        .join(ours, on=["store", "item"])
        .sort("store", "item")
    )


def compared(rows: pl.DataFrame, ours: str) -> list[dict[str, Any]]:
    """The scores of both on the same rows: the published one ordered as it is, ours at the quantile that each cost asks for."""
    actual, theirs = rows["actual"].to_numpy(), rows["prediction"].to_numpy()
    return [
        line("published", actual, theirs, theirs, theirs),
        line(ours, actual, rows["mean"].to_numpy(), quantile(rows, 3 / 4), quantile(rows, 5 / 6)),
    ]


def line(
    name: str, actual: Numbers, forecast: Numbers, at_three: Numbers, at_five: Numbers
) -> dict[str, Any]:
    """One forecast's scores, and what its orders cost when a unit short costs three and five times a unit left."""
    return {
        "model": name,
        "rows": len(actual),
        "wape": scores.wape(actual, forecast),
        "bias": scores.bias(actual, forecast),
        "under_forecast_share": scores.under_forecast_share(actual, forecast),
        "cost_3": scores.cost(actual, np.asarray(at_three), 3.0),
        "cost_5": scores.cost(actual, np.asarray(at_five), 5.0),
    }
