"""Checks of one forecaster's behaviour, before its losses are compared. Each gives reasons.

Are all rows there and valid; does it know the future; is it more accurate than chance allows; does
it forecast another week; does it follow recent sales. docs/decisions/gate.md has the formulas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl

from tanuki.platform.mlops.evaluation import (
    Flags,
    Limits,
    Numbers,
    Reason,
    block_bootstrap_weights,
    find_missing_rows,
    p_value,
)
from tanuki.platform.mlops.registry import CHALLENGER
from tanuki.shop.calendar import Week
from tanuki.shop.forecasting.forecaster import QUANTILE_COLUMNS
from tanuki.shop.gate_data import ForecasterFactory, Rows, UnitCosts, forecast_panel
from tanuki.shop.panel import History, Panel

MIN_UNITS_FOR_NOISE = 5.0
"""Rows with a lower forecast are too small to measure dispersion on."""
IMPLAUSIBLE_ERROR_RATIO = 0.8
"""A dispersion below this share of the least plausible one means that a model knows the future."""
CHI2_DOF = 6
"""Degrees of freedom of the days of a week whose total is given."""
CHI2_MEDIAN_RATIO = 0.891
"""Median of a chi-square distribution with CHI2_DOF degrees of freedom, divided by its mean."""
SHIFT_MARGIN = 0.10
"""A forecast that is this share nearer to another week than to its own is of that week."""
MIN_CHANGE_RATIO = 0.5
"""A model whose squared changes are below this share of Poisson noise is not tested for a shift."""
MISPLACED_SHARE = 0.5
"""A model fails when more than this share of its forecast changes happened in another week."""
UPLIFT_WEEKS = 4
SALES_UPLIFT = 1.5
"""Sales of the last RECENT_WEEKS are multiplied by this to see whether the forecast follows."""
MIN_LOG_RESPONSE = 0.10
"""Least log change of the forecast, as a share of log(SALES_UPLIFT)."""
CROSSING_TOLERANCE = 1e-9


def check_rows(expected: pl.DataFrame, answered: pl.DataFrame) -> list[Reason]:
    """Forecast rows of buffer week, target week and both that are absent or no valid forecast."""
    first = answered.unique(
        ["cycle", "store", "item", "week"], keep="first", maintain_order=True
    ).with_columns(pl.lit(True).alias("present"))
    joined = expected.join(first, on=["cycle", "store", "item", "week"], how="left").sort(
        "cycle", "store", "item", "week"
    )
    slices = {kind: joined[kind].to_list() for kind in ("region", "store", "item")}
    present = joined["present"].fill_null(False).to_numpy()
    quantiles, mean = joined.select(QUANTILE_COLUMNS).to_numpy(), joined["mean"].to_numpy()
    return [
        *find_missing_rows(present, slices),
        *check_values(present, quantiles, mean),
    ]


def check_values(present: Flags, quantiles: Numbers, mean: Numbers) -> list[Reason]:
    """Rows that are not finite, negative, or have quantiles that cross. Absent rows do not count.

    `quantiles`: a column per level, in rising order.
    """
    values = np.column_stack([quantiles, mean])
    finite = np.isfinite(values).all(axis=1)
    crossed = (np.diff(quantiles, axis=1) < -CROSSING_TOLERANCE).any(axis=1)
    faults = {
        "not_finite": ~finite,
        "negative": finite & (values < 0).any(axis=1),
        "quantiles_crossed": finite & crossed,
    }
    return [
        {"code": code, "rows": int((present & rows).sum()), "of": int(present.sum())}
        for code, rows in faults.items()
        if (present & rows).any()
    ]


def check_leakage(
    history: History, week: Week, forecast: pl.DataFrame, challenger: ForecasterFactory
) -> list[Reason]:
    """Fails when the forecast changes at all after everything after the cut-off was changed."""
    is_future = pl.col("date") > week.cutoff
    units = (
        pl.when(is_future)
        .then((pl.col("units").max() - pl.col("units")) * 3 + 1)
        .otherwise(pl.col("units"))
    )
    changed = replace(
        history,
        sales=history.sales.with_columns(units.alias("units")),
        deliveries=history.deliveries.filter(~is_future),
    )
    same = forecast_panel(challenger, changed.build_panel(week)).equals(forecast)
    return [] if same else [{"code": "leakage"}]


def check_ignores_recent_sales(
    panel: Panel, forecast: pl.DataFrame, challenger: ForecasterFactory
) -> list[Reason]:
    """Fails when the forecast hardly rises after the sales of the last weeks were raised."""
    since = panel.target.cutoff - timedelta(weeks=UPLIFT_WEEKS)
    units = (
        pl.when(pl.col("date") > since)
        .then((pl.col("units") * SALES_UPLIFT).round())
        .otherwise(pl.col("units"))
    )
    raised = replace(panel, sales=panel.sales.with_columns(units.alias("units")))
    before, after = (
        float(frame.filter(pl.col("week") == str(panel.target))["mean"].sum())
        for frame in (forecast, forecast_panel(challenger, raised))
    )
    if not (np.isfinite(before) and np.isfinite(after) and before > 0):
        return []
    response = float(np.log(max(after, 1e-9) / before) / np.log(SALES_UPLIFT))
    if response >= MIN_LOG_RESPONSE:
        return []
    values = {"weeks": UPLIFT_WEEKS, "uplift": SALES_UPLIFT - 1, "response": after / before - 1}
    return [{"code": "ignores_recent_sales", **values}]


def check_implausible_accuracy(
    rows: Rows, sales: pl.DataFrame, references: Sequence[str], limits: Limits
) -> list[Reason]:
    """Fails when the errors are smaller than chance allows, so that future sales must be known.

    Even the true mean of a week misses it by the chance of its days. Dispersion is Pearson's,
    (actual - mean)² / mean: 1 for Poisson counts, more in practice. How much chance alone makes is
    estimated from the days inside each week (`estimate_noise`). Where a baseline stays below that
    too (a standing order), the limit falls with it.
    """
    known = rows.join(
        estimate_noise(sales, rows["week"].unique().to_list()), on=["store", "item"], how="inner"
    )
    dispersion = {name: pearson_dispersion(known, name) for name in [CHALLENGER, *references]}
    common = np.isfinite(np.stack(list(dispersion.values()))).all(axis=0)
    if not common.any():
        return []
    noise = known["noise"].to_numpy()[common]
    ratio = min(
        [
            1.0,
            *(
                float(dispersion[name][common].sum() / max(noise.sum(), 1e-9))
                for name in references
            ),
        ]
    )
    week = np.unique(known["week"].to_numpy()[common], return_inverse=True)[1]
    by_week, least_by_week = (
        np.bincount(week, values).astype(np.float64)
        for values in (dispersion[CHALLENGER][common], IMPLAUSIBLE_ERROR_RATIO * ratio * noise)
    )
    weights = block_bootstrap_weights(len(by_week), limits)
    if p_value(least_by_week - by_week, weights) >= 1 - limits.confidence:
        return []
    return [
        {
            "code": "implausible_accuracy",
            "dispersion": float(by_week.sum() / common.sum()),
            "least": float(least_by_week.sum() / common.sum()),
        }
    ]


def pearson_dispersion(rows: Rows, model: str) -> Numbers:
    """(actual - mean)² / mean of each row; NaN where the forecast is too small or absent."""
    mean = rows[f"{model}_mean"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    squared = (rows["actual"].to_numpy() - mean) ** 2
    return np.where(
        mean >= MIN_UNITS_FOR_NOISE, squared / np.maximum(mean, MIN_UNITS_FOR_NOISE), np.nan
    )


def estimate_noise(sales: pl.DataFrame, weeks: Sequence[str]) -> pl.DataFrame:
    """[store, item, noise]: dispersion that chance alone gives a week, as a multiple of Poisson's.

    Pearson's chi-square of the days of a week given its total and the series' weekday profile, per
    degree of freedom. If days miss their means independently, the week misses its own by as much.
    The median over weeks, made unbiased, so that holidays and promotions count little.
    """
    days = sales.filter(pl.col("units").is_not_null()).with_columns(
        pl.format(
            "{}-W{}",
            pl.col("date").dt.iso_year(),
            pl.col("date").dt.week().cast(pl.String).str.zfill(2),
        ).alias("week"),
        pl.col("date").dt.weekday().alias("weekday"),
    )
    series = ["store", "item"]
    weekday_share = pl.col("units").sum().over(*series, "weekday") / pl.col("units").sum().over(
        series
    )
    inside = days.filter(pl.col("week").is_in(weeks)).with_columns(
        pl.col("units").sum().over("store", "item", "week").alias("total"),
        weekday_share.alias("share"),
    )
    expected = pl.col("total") * pl.col("share")
    chi_square = (
        inside.filter(expected > 0)
        .group_by(*series, "week")
        .agg(((pl.col("units") - expected) ** 2 / expected).sum() / CHI2_DOF)
    )
    return (
        chi_square.group_by(series)
        .agg((pl.col("units").median() / CHI2_MEDIAN_RATIO).alias("noise"))
        .sort(series)
    )


def check_time_shift(rows: Rows, costs: UnitCosts, reference: str, limits: Limits) -> list[Reason]:
    """Fails when the forecast of a week fits the week before or after better than its own.

    A slow model is always a little nearer to the week before. So the forecast must be nearer to it
    by SHIFT_MARGIN of its error, and by that much more than the reference model's forecast is.
    """
    reasons: list[Reason] = []
    for column, code in (("before", "fits_week_before"), ("after", "fits_week_after")):
        means = [f"{name}_mean" for name in (CHALLENGER, reference)]
        known = rows.drop_nulls([column, *means]).filter(
            pl.all_horizontal(pl.col(means).is_finite())
        )
        shortage, leftover = costs.of_items(known["item"].to_list())
        error: Mapping[str, list[Numbers]] = {
            week: [
                (shortage + leftover) * np.abs(known[week].to_numpy() - known[mean].to_numpy())
                for mean in means
            ]
            for week in ("actual", column)
        }
        block = np.unique(known["week"].to_numpy(), return_inverse=True)[1]
        own, gain, reference_gain = (
            np.bincount(block, values)
            for values in (
                error["actual"][0],
                error["actual"][0] - error[column][0],
                error["actual"][1] - error[column][1],
            )
        )
        if len(own) < limits.min_blocks:
            continue
        weights = block_bootstrap_weights(len(own), limits)
        if all(
            p_value(excess - SHIFT_MARGIN * own, weights) < 1 - limits.confidence
            for excess in (gain, gain - reference_gain)
        ):
            reasons.append({"code": code, "nearer": float(gain.sum() / own.sum())})
    return reasons or check_misplaced_changes(rows, limits)


def check_misplaced_changes(rows: Rows, limits: Limits) -> list[Reason]:
    """Fails when the forecast change from buffer to target week happened in another week.

    Or when it happened in reverse. Compared is how much of the forecast changes came true (1: all).
    A model that forecasts hardly any change is not tested, and a slow one passes.
    """
    mean, buffer = f"{CHALLENGER}_mean", "buffer_mean"
    known = rows.drop_nulls([mean, buffer, "before", "earlier"]).filter(
        pl.col(mean).is_finite() & pl.col(buffer).is_finite()
    )
    actual_changes = {
        "own": pl.col("actual") - pl.col("before"),
        "before": pl.col("before") - pl.col("earlier"),
        "after": pl.col("after") - pl.col("actual"),
    }
    change, scale = (
        pl.col(mean) - pl.col(buffer),
        pl.max_horizontal(pl.col(mean), MIN_UNITS_FOR_NOISE),
    )
    by_week = known.group_by("week", maintain_order=True).agg(
        pl.len().alias("rows"),
        (change**2 / scale).sum().alias("forecast"),
        *((change * actual / scale).sum().alias(name) for name, actual in actual_changes.items()),
        pl.col("after").is_null().any().alias("unfinished"),
    )
    for name, code in (
        ("before", "changed_week_before"),
        ("after", "changed_week_after"),
        ("own", "changes_reversed"),
    ):
        complete = by_week.filter(~pl.col("unfinished")) if name == "after" else by_week
        forecast, own, other = (complete[column].to_numpy() for column in ("forecast", "own", name))
        noise = MIN_CHANGE_RATIO * complete["rows"].to_numpy().sum()
        if len(own) < limits.min_blocks or forecast.sum() < noise:
            continue
        if name == "own":
            excess, misplaced = -own, -float(own.sum())
        else:
            excess, misplaced = other - own, float(other.sum())
        weights = block_bootstrap_weights(len(own), limits)
        if (
            min(misplaced, excess.sum()) > MISPLACED_SHARE * forecast.sum()
            and p_value(excess, weights) < 1 - limits.confidence
        ):
            shares = {
                "own": float(own.sum() / forecast.sum()),
                "other": float(other.sum() / forecast.sum()),
            }
            return [{"code": code, **shares}]
    return []
