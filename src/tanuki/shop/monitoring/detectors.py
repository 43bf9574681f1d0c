"""Detectors: each compares the last weeks with a named reference and gives signals; pure.

A detector gives nothing while there is too little data to tell.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.shop.calendar import Week, parse_week, week_of
from tanuki.shop.monitoring import drift
from tanuki.shop.tables import AlertCode

Numbers = NDArray[np.float64]
WeeklyCounts = dict[str, dict[str, float]]  # by week, by category


@dataclass(frozen=True)
class ForecastLimits:
    """Limits of forecasts' bias and of the coverage of their 80 % band, as shares.

    bias: (forecast − sold) / sold, of all stores together. bias_part: of one store or item.
    covered_units: the bands of slower sellers are left out. They are whole units, so they always
    cover too much.
    """

    bias: float = 0.10
    bias_part: float = 0.15
    covered_least: float = 0.65
    covered_most: float = 0.93
    covered_units: float = 5.0


@dataclass(frozen=True)
class CostLimits:
    """Limits of the cost, as multiples of the proposals' expectation and of the baseline's cost."""

    over_plan: float = 1.25
    over_baseline: float = 1.05


@dataclass(frozen=True)
class ArrivalLimits:
    """Limits of sales that do not arrive.

    silent_days: behind the chain's last day. gone_days: a store that is silent longer is closed.
    usual_weeks: in a row that an item sold before it stopped. gone_weeks: an item that stopped for
    longer is no longer sold. missing_stores: the share of its stores in which an item stopped.
    overdue_days: after an ordered week's Sunday.
    """

    silent_days: int = 3
    gone_days: int = 56
    usual_weeks: int = 8
    gone_weeks: int = 4
    missing_stores: float = 0.5
    overdue_days: int = 3


@dataclass(frozen=True)
class DetectorLimits:
    """When a deviation is worth a person's time.

    weeks: the last evaluated weeks, which are compared. before: the weeks before them, the
    reference. level: significance level of the tests. rows: evaluated lines that must be there.
    """

    weeks: int = 4
    before: int = 26
    level: float = 0.01
    rows: int = 24
    seed: int = 1
    forecast: ForecastLimits = ForecastLimits()
    cost: CostLimits = CostLimits()
    arrival: ArrivalLimits = ArrivalLimits()


DETECTOR_LIMITS = DetectorLimits()


@dataclass(frozen=True)
class Signal:
    """A deviation that should be an alert.

    subject: "all", "store=…", "item=…", "week=…" or "input=…". week: the week in which it was
    measured. values: for its sentence.
    """

    code: AlertCode
    subject: str
    week: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Periods:
    """The weeks that are compared and the reference weeks before them, oldest first."""

    recent: list[str]
    reference: list[str]

    def describe(self) -> dict[str, str]:
        """Both periods for a sentence."""
        return {
            "weeks": format_week_range(self.recent),
            "reference": format_week_range(self.reference),
        }


def list_periods(until: Week, limits: DetectorLimits = DETECTOR_LIMITS) -> Periods:
    """The periods that end with a week."""
    count = limits.weeks + limits.before
    return split_weeks([str(until.plus(n - count + 1)) for n in range(count)], limits)


def split_weeks(weeks: list[str], limits: DetectorLimits) -> Periods:
    """The last of these weeks, and the reference before them."""
    weeks = weeks[-limits.weeks - limits.before :]
    return Periods(weeks[-limits.weeks :], weeks[: -limits.weeks])


def format_week_range(weeks: list[str]) -> str:
    """The first and the last week: 2021-W03–2021-W06."""
    return f"{weeks[0]}–{weeks[-1]}" if len(weeks) > 1 else "".join(weeks)


# ---- forecasts and cost --------------------------------------------------------------------------


def summarise_by_week(
    lines: pl.DataFrame, by: str | None = None, limits: DetectorLimits = DETECTOR_LIMITS
) -> pl.DataFrame:
    """Evaluated lines added up by week (and `by`), oldest first.

    Lines: week, store, item, actual, forecast, q10, q50, q90 (null where unknown), cost, proposed,
    expected, baseline. The result has bias and coverage as shares, and the costs in yen.
    """
    fast = pl.col("q50") >= limits.forecast.covered_units
    inside = pl.col("actual").is_between("q10", "q90").filter(fast)
    sold = pl.col("actual").sum()
    return (
        lines.group_by("week", *([by] if by else []))
        .agg(
            pl.when(sold > 0)
            .then((pl.col("forecast") - pl.col("actual")).sum() / sold)
            .alias("bias"),
            inside.mean().alias("coverage"),
            pl.len().alias("lines"),
            *(pl.col(name).sum() for name in ("cost", "proposed", "expected", "baseline")),
        )
        .sort("week")
    )


def detect_forecast_signals(
    lines: pl.DataFrame, limits: DetectorLimits = DETECTOR_LIMITS
) -> list[Signal]:
    """Signals of bias, coverage and cost. Lines as in `summarise_by_week`."""
    periods = split_weeks(lines["week"].unique().sort().to_list(), limits)
    lines = lines.filter(pl.col("week").is_in([*periods.reference, *periods.recent]))
    recent_lines = lines.filter(pl.col("week").is_in(periods.recent))
    if len(periods.recent) < limits.weeks or recent_lines.height < limits.rows:
        return []
    chain = summarise_by_week(lines, limits=limits)
    signals = [detect_bias(chain, "all", periods, limits)]
    for part in ("store", "item"):
        groups = summarise_by_week(lines, part, limits).partition_by(
            part, as_dict=True, maintain_order=True
        )
        signals += [
            detect_bias(weekly, f"{part}={code}", periods, limits, tests=len(groups))
            for (code,), weekly in sorted(groups.items())
        ]
    signals += [detect_coverage(chain, periods, limits), *detect_costs(chain, periods, limits)]
    return [signal for signal in signals if signal is not None]


def detect_bias(
    weekly: pl.DataFrame, subject: str, periods: Periods, limits: DetectorLimits, tests: int = 1
) -> Signal | None:
    """Forecasts that deviate to one side: beyond the limit, and significantly.

    tests: how many parts are tested; the level is divided by it (Bonferroni).
    """
    limit = limits.forecast.bias if subject == "all" else limits.forecast.bias_part
    recent, before = split_periods(weekly.drop_nulls("bias"), "bias", periods)
    if len(recent) < limits.weeks or abs(recent.mean()) <= limit:
        return None
    if not is_significant(recent, before, 0.0, limits.level / tests):
        return None
    values = {"share": float(recent.mean()), "limit": limit, **periods.describe()}
    return Signal(AlertCode.BIAS, subject, periods.recent[-1], values)


def detect_coverage(
    weekly: pl.DataFrame, periods: Periods, limits: DetectorLimits
) -> Signal | None:
    """80 % bands that are too narrow or too wide."""
    least, most = limits.forecast.covered_least, limits.forecast.covered_most
    recent, before = split_periods(weekly.drop_nulls("coverage"), "coverage", periods)
    if len(recent) < limits.weeks or least <= recent.mean() <= most:
        return None
    if not is_significant(recent, before, 0.8, limits.level):
        return None
    values = {"share": float(recent.mean()), "least": least, "most": most, **periods.describe()}
    return Signal(AlertCode.COVERAGE, "all", periods.recent[-1], values)


def detect_costs(
    weekly: pl.DataFrame, periods: Periods, limits: DetectorLimits
) -> Iterable[Signal | None]:
    """Orders that cost more than the proposals expected, and more than the baseline would have."""
    for code, column, most in (
        (AlertCode.COST_PLAN, "expected", limits.cost.over_plan),
        (AlertCode.COST_BASELINE, "baseline", limits.cost.over_baseline),
    ):
        known = weekly.filter(pl.col(column) > 0, pl.col("cost") > 0).with_columns(
            (pl.col("cost") / pl.col(column)).log().alias("ratio")
        )
        recent, before = split_periods(known, "ratio", periods)
        if len(recent) < limits.weeks or not is_significant(recent, before, 0.0, limits.level):
            continue
        sums = known.filter(pl.col("week").is_in(periods.recent))
        cost, other = float(sums["cost"].sum()), float(sums[column].sum())
        if recent.mean() > 0 and cost > most * other:
            values = {
                "cost": cost,
                "other": other,
                "proposed": float(sums["proposed"].sum()),
                "most": most,
                **periods.describe(),
            }
            yield Signal(code, "all", periods.recent[-1], values)


def split_periods(weekly: pl.DataFrame, column: str, periods: Periods) -> tuple[Numbers, Numbers]:
    """A column's values in the recent weeks, and in the others."""
    last = pl.col("week").is_in(periods.recent)
    recent, before = (
        weekly.filter(side)[column].to_numpy().astype(float) for side in (last, ~last)
    )
    return recent, before


def is_significant(recent: Numbers, before: Numbers, expected: float, level: float) -> bool:
    """Whether the recent mean differs from `expected` by Student's t test.

    The variance comes from both periods, each around its own mean.
    """
    from scipy import stats

    residuals = np.concatenate([side - side.mean() for side in (recent, before) if len(side)])
    freedom = len(residuals) - (2 if len(before) else 1)
    difference = abs(float(recent.mean()) - expected)
    error = float(np.sqrt((residuals**2).sum() / freedom / len(recent))) if freedom > 0 else np.inf
    return bool(difference > error * stats.t.isf(level / 2, max(freedom, 1)))


# ---- sales that do not arrive --------------------------------------------------------------------


def detect_silent_stores(
    last_days: Mapping[str, date], limits: DetectorLimits = DETECTOR_LIMITS
) -> list[Signal]:
    """Stores that send no sales any more while others do. `last_days`: of sales, by store."""
    newest = max(last_days.values(), default=None)
    least, most = limits.arrival.silent_days, limits.arrival.gone_days
    return [
        Signal(
            AlertCode.STALE_STORE,
            f"store={store}",
            str(week_of(day)),
            {"last": day.isoformat(), "days": (newest - day).days},
        )
        for store, day in sorted(last_days.items())
        if newest is not None and least <= (newest - day).days <= most
    ]


def detect_missing_items(
    sold: pl.DataFrame,
    until: Week,
    silent_stores: set[str],
    limits: DetectorLimits = DETECTOR_LIMITS,
) -> list[Signal]:
    """Items that sold in every week and stopped in many of their stores.

    Sold: store, item, monday, one row a week with sales. Weeks after `until` are left out.
    """
    usual_weeks = limits.arrival.usual_weeks
    first = until.plus(1 - usual_weeks - limits.arrival.gone_weeks).monday
    series = (
        sold.filter(
            pl.col("monday").is_between(first, until.monday),
            ~pl.col("store").is_in(silent_stores),
        )
        .group_by("store", "item")
        .agg(pl.col("monday").unique().sort())
    )
    usual_stores: dict[str, int] = {}
    stopped: dict[str, list[date]] = {}
    for _, item, mondays in series.iter_rows():
        last = max(mondays)
        usual = {last - timedelta(weeks=n) for n in range(usual_weeks)}
        if not usual <= set(mondays):
            continue
        usual_stores[item] = usual_stores.get(item, 0) + 1
        if last < until.monday:
            stopped.setdefault(item, []).append(last + timedelta(weeks=1))
    return [
        Signal(
            AlertCode.MISSING_ITEM,
            f"item={item}",
            str(week_of(min(since))),
            {"since": min(since).isoformat(), "of": usual_stores[item], "stores": len(since)},
        )
        for item, since in sorted(stopped.items())
        if len(since) >= limits.arrival.missing_stores * usual_stores[item]
    ]


def detect_overdue_weeks(
    ordered: Iterable[str], today: date, limits: DetectorLimits = DETECTOR_LIMITS
) -> list[Signal]:
    """Ordered weeks that could not be evaluated, because their sales did not arrive."""
    signals = []
    for week in sorted(ordered):
        sunday = parse_week(week).sunday
        if (today - sunday).days > limits.arrival.overdue_days:
            values = {"sunday": sunday.isoformat()}
            signals.append(Signal(AlertCode.NO_EVALUATION, f"week={week}", week, values))
    return signals


# ---- drift of the inputs -------------------------------------------------------------------------


def make_drift_signals(name: str, result: drift.Drift, periods: Periods) -> list[Signal]:
    """A signal when an input drifted."""
    if not result.drifted:
        return []
    values = {"psi": result.psi, "p": result.p, **periods.describe()}
    return [Signal(AlertCode.DRIFT, f"input={name}", periods.recent[-1], values)]


def detect_demand_drift(
    lines: pl.DataFrame, limits: DetectorLimits = DETECTOR_LIMITS
) -> list[Signal]:
    """Drift of sales as a share of the forecast: both have the season.

    Lines as in `summarise_by_week`.
    """
    periods = split_weeks(lines["week"].unique().sort().to_list(), limits)
    if not periods.recent:
        return []
    enough = lines.filter(pl.col("forecast") >= limits.forecast.covered_units)
    ratios = enough.with_columns(
        ((pl.col("actual") + 1) / (pl.col("forecast") + 1)).log().alias("ratio")
    )
    values = {
        week: frame["ratio"].to_numpy()
        for (week,), frame in ratios.partition_by("week", as_dict=True).items()
    }
    result = drift.measure_numeric_drift(
        {week: values[week] for week in periods.reference if week in values},
        {week: values[week] for week in periods.recent if week in values},
        seed=limits.seed,
    )
    return make_drift_signals("demand", result, periods)


def detect_price_drift(
    in_force: pl.DataFrame, until: Week, limits: DetectorLimits = DETECTOR_LIMITS
) -> list[Signal]:
    """Drift of prices as shares of each item's usual price.

    In force: date (Mondays), store, item, price_yen. Weeks after `until` are left out.
    """
    periods = list_periods(until, limits)
    mondays = [parse_week(week).monday for week in periods.reference]
    usual = (
        in_force.filter(pl.col("date").is_in(mondays))
        .group_by("item")
        .agg(pl.col("price_yen").median().alias("usual"))
        .filter(pl.col("usual") > 0)
    )
    ratios = in_force.join(usual, on="item").select(
        "date", (pl.col("price_yen") / pl.col("usual")).alias("ratio")
    )
    values = {
        str(week_of(day)): frame["ratio"].to_numpy()
        for (day,), frame in ratios.partition_by("date", as_dict=True).items()
    }
    result = drift.measure_numeric_drift(
        {week: values[week] for week in periods.reference if week in values},
        {week: values[week] for week in periods.recent if week in values},
        seed=limits.seed,
    )
    return make_drift_signals("prices", result, periods)


def detect_share_drift(
    name: str, counts: WeeklyCounts, until: Week, limits: DetectorLimits = DETECTOR_LIMITS
) -> list[Signal]:
    """Drift of the categories' shares.

    Where the same weeks of last year are known, the shares must differ from theirs, too: otherwise
    the change is the season's.
    """
    periods = list_periods(until, limits)
    year_ago = [str(parse_week(week).plus(-52)) for week in periods.recent]
    reference, recent, season = (
        {week: counts[week] for week in weeks if week in counts}
        for weeks in (periods.reference, periods.recent, year_ago)
    )
    result = drift.measure_category_drift(reference, recent, seed=limits.seed)
    if season:
        seasonal = drift.measure_category_drift(season, recent, seed=limits.seed)
        if seasonal.psi < drift.DriftLimits().psi:
            return []
    return make_drift_signals(name, result, periods)
