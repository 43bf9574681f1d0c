"""What an alarm is raised for: each sign compares the last weeks with a named reference, and says nothing while there is too little to say; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.shop.calendar import Week, parse_week, week_of
from tanuki.shop.monitoring import drift

Numbers = NDArray[np.float64]
Weekly = dict[str, dict[str, float]]  # by week, of each category how many


@dataclass(frozen=True)
class Limits:
    """When something is worth a person's time. Shares unless they say otherwise."""

    weeks: int = 4  # the last evaluated weeks, which are judged
    before: int = 26  # the weeks before them: the reference
    level: float = 0.01  # so seldom may chance do as much as the weeks show
    bias: float = 0.10  # forecast less sold, of sold: all stores together
    bias_part: float = 0.15  # of one store or item
    covered_least: float = 0.65  # of sales that fell into the band made for 80 of 100
    covered_most: float = 0.93
    covered_units: float = (
        5.0  # slow sellers' bands are whole units and always cover too much: they are left out
    )
    rows: int = 24  # evaluated lines that must be there at least
    over_plan: float = 1.25  # cost, as a multiple of what the proposals expected
    over_floor: float = 1.05  # cost, as a multiple of what the simplest rule would have cost
    silent_days: int = 3  # behind the chain's last day
    gone_days: int = 56  # silent for longer: closed for good
    usual_weeks: int = 8  # in a row that an item sold before it stopped
    gone_weeks: int = 4  # stopped for longer: taken off the shelves
    missing_stores: float = 0.5  # share of its stores in which it stopped
    overdue_days: int = 3  # after an ordered week's Sunday
    seed: int = 1


LIMITS = Limits()


@dataclass(frozen=True)
class Sign:
    """Something to be raised: the kind, what it is about ("all", "store=…", "item=…", "week=…", "input=…"), the week it was seen in, the numbers."""

    code: str
    subject: str
    week: str
    values: dict[str, Any]


# ---- forecasts and cost --------------------------------------------------------------------------------------------


def by_week(lines: pl.DataFrame, by: str | None = None, limits: Limits = LIMITS) -> pl.DataFrame:
    """Evaluated lines added up by week (and `by`), oldest first: bias and coverage as shares, costs in yen.

    Lines: week, store, item, actual, forecast, q10, q50, q90 (null where unknown), cost, proposed, expected, floor.
    """
    inside = pl.col("actual").is_between("q10", "q90").filter(pl.col("q50") >= limits.covered_units)
    sold = pl.col("actual").sum()
    return (
        lines.group_by("week", *([by] if by else []))
        .agg(
            pl.when(sold > 0)
            .then((pl.col("forecast") - pl.col("actual")).sum() / sold)
            .alias("bias"),
            inside.mean().alias("coverage"),
            pl.len().alias("lines"),
            *(pl.col(name).sum() for name in ("cost", "proposed", "expected", "floor")),
        )
        .sort("week")
    )


def evaluated(lines: pl.DataFrame, limits: Limits = LIMITS) -> list[Sign]:
    """Signs of bias, coverage and cost. Lines as in `by_week`."""
    weeks = lines["week"].unique().sort().to_list()[-limits.weeks - limits.before :]
    lines = lines.filter(pl.col("week").is_in(weeks))
    if (
        len(weeks) < limits.weeks
        or lines.filter(pl.col("week").is_in(weeks[-limits.weeks :])).height < limits.rows
    ):
        return []
    whole = by_week(lines, limits=limits)
    made = [bias(whole, "all", weeks, limits.bias, limits.level, limits)]
    for part in ("store", "item"):
        groups = by_week(lines, part, limits).partition_by(part, as_dict=True, maintain_order=True)
        made += [
            bias(
                each, f"{part}={code}", weeks, limits.bias_part, limits.level / len(groups), limits
            )
            for (code,), each in sorted(groups.items())
        ]
    return [
        each
        for each in (*made, coverage(whole, weeks, limits), *costs(whole, weeks, limits))
        if each is not None
    ]


def bias(
    weekly: pl.DataFrame, subject: str, weeks: list[str], limit: float, level: float, limits: Limits
) -> Sign | None:
    """Forecasts that are off to one side: beyond the limit, and beyond what weeks differ anyway."""
    recent, before = split(weekly.drop_nulls("bias"), "bias", weeks, limits)
    if (
        len(recent) < limits.weeks
        or abs(recent.mean()) <= limit
        or not clear(recent, before, 0.0, level)
    ):
        return None
    return Sign(
        "bias",
        subject,
        weeks[-1],
        {"share": float(recent.mean()), "limit": limit, **span(weeks, limits)},
    )


def coverage(weekly: pl.DataFrame, weeks: list[str], limits: Limits) -> Sign | None:
    """Bands that are too narrow or too wide."""
    recent, before = split(weekly.drop_nulls("coverage"), "coverage", weeks, limits)
    if len(recent) < limits.weeks or limits.covered_least <= recent.mean() <= limits.covered_most:
        return None
    if not clear(recent, before, 0.8, limits.level):
        return None
    values = {
        "share": float(recent.mean()),
        "least": limits.covered_least,
        "most": limits.covered_most,
        **span(weeks, limits),
    }
    return Sign("coverage", "all", weeks[-1], values)


def costs(weekly: pl.DataFrame, weeks: list[str], limits: Limits) -> Iterable[Sign | None]:
    """Orders that cost more than was expected of them, and more than the simplest rule would have."""
    for code, against, most in (
        ("cost_plan", "expected", limits.over_plan),
        ("cost_floor", "floor", limits.over_floor),
    ):
        known = weekly.filter(pl.col(against) > 0, pl.col("cost") > 0).with_columns(
            (pl.col("cost") / pl.col(against)).log().alias("ratio")
        )
        recent, before = split(known, "ratio", weeks, limits)
        if len(recent) < limits.weeks or not clear(recent, before, 0.0, limits.level):
            continue
        last = known.filter(pl.col("week").is_in(weeks[-limits.weeks :]))
        cost, other = float(last["cost"].sum()), float(last[against].sum())
        if recent.mean() > 0 and cost > most * other:
            values = {
                "cost": cost,
                "other": other,
                "proposed": float(last["proposed"].sum()),
                "most": most,
                **span(weeks, limits),
            }
            yield Sign(code, "all", weeks[-1], values)


def split(
    weekly: pl.DataFrame, name: str, weeks: list[str], limits: Limits
) -> tuple[Numbers, Numbers]:
    """A column's values of the last weeks, and of those before."""
    last = pl.col("week").is_in(weeks[-limits.weeks :])
    recent, before = (weekly.filter(side)[name].to_numpy().astype(float) for side in (last, ~last))
    return recent, before


def clear(recent: Numbers, before: Numbers, expected: float, level: float) -> bool:
    """Whether the last weeks' mean is away from what is expected by more than weeks differ anyway: Student's t, the spread from both periods."""
    from scipy import stats

    around = np.concatenate([side - side.mean() for side in (recent, before) if len(side)])
    freedom = len(around) - (2 if len(before) else 1)
    away = abs(float(recent.mean()) - expected)
    error = float(np.sqrt((around**2).sum() / freedom / len(recent))) if freedom > 0 else np.inf
    return bool(away > error * stats.t.isf(level / 2, max(freedom, 1)))


def span(weeks: list[str], limits: Limits) -> dict[str, str]:
    """The weeks judged and the weeks before them, as they are named."""
    last, before = weeks[-limits.weeks :], weeks[: -limits.weeks]
    return {"weeks": named(last), "reference": named(before)}


def named(weeks: list[str]) -> str:
    """Weeks by the first and the last."""
    return f"{weeks[0]}–{weeks[-1]}" if len(weeks) > 1 else "".join(weeks)


# ---- sales that came, or did not -----------------------------------------------------------------------------------


def silent(last: dict[str, date], limits: Limits = LIMITS) -> list[Sign]:
    """Stores that send nothing any more while others do. `last` is each store's last day."""
    newest = max(last.values(), default=None)
    return [
        Sign(
            "stale_store",
            f"store={store}",
            str(week_of(day)),
            {"last": day.isoformat(), "days": (newest - day).days},
        )
        for store, day in sorted(last.items())
        if newest is not None and limits.silent_days <= (newest - day).days <= limits.gone_days
    ]


def missing(
    sold: pl.DataFrame, until: Week, silent_stores: set[str], limits: Limits = LIMITS
) -> list[Sign]:
    """Items that sold in every week and stopped in many of their stores. Sold: store, item, monday, of weeks with sales; up to `until`."""
    known = sold.filter(pl.col("monday") <= until.monday, ~pl.col("store").is_in(silent_stores))
    first = until.plus(1 - limits.usual_weeks - limits.gone_weeks).monday
    series = (
        known.filter(pl.col("monday") >= first)
        .group_by("store", "item")
        .agg(pl.col("monday").unique().sort())
    )
    usual: dict[str, int] = {}
    stopped: dict[str, list[date]] = {}
    for _, item, mondays in series.iter_rows():
        there, last = set(mondays), max(mondays)
        if not all(last - timedelta(weeks=n) in there for n in range(limits.usual_weeks)):
            continue
        usual[item] = usual.get(item, 0) + 1
        if last < until.monday:
            stopped.setdefault(item, []).append(last + timedelta(weeks=1))
    return [
        Sign(
            "missing_item",
            f"item={item}",
            str(week_of(min(since))),
            {"since": min(since).isoformat(), "of": usual[item], "stores": len(since)},
        )
        for item, since in sorted(stopped.items())
        if len(since) >= limits.missing_stores * usual[item]
    ]


def overdue(ordered: Iterable[str], today: date, limits: Limits = LIMITS) -> list[Sign]:
    """Ordered weeks that could not be evaluated: their sales did not come."""
    return [
        Sign("no_evaluation", f"week={week}", week, {"sunday": parse_week(week).sunday.isoformat()})
        for week in sorted(ordered)
        if (today - parse_week(week).sunday).days > limits.overdue_days
    ]


# ---- drift of what comes in ----------------------------------------------------------------------------------------


def drifted(
    name: str, week: str, found: drift.Drift, weeks: list[str], before: list[str]
) -> list[Sign]:
    """A sign when an input drifted."""
    values = {"psi": found.psi, "p": found.p, "weeks": named(weeks), "reference": named(before)}
    return [Sign("drift", f"input={name}", week, values)] if found.drifted else []


def demand(lines: pl.DataFrame, limits: Limits = LIMITS) -> list[Sign]:
    """Drift of what sold as a share of what was forecast: the season is in both. Lines as in `by_week`."""
    weeks = lines["week"].unique().sort().to_list()[-limits.weeks - limits.before :]
    enough = lines.filter(pl.col("forecast") >= limits.covered_units, pl.col("week").is_in(weeks))
    ratio = enough.with_columns(
        ((pl.col("actual") + 1) / (pl.col("forecast") + 1)).log().alias("ratio")
    )
    values = {
        week: each["ratio"].to_numpy()
        for (week,), each in ratio.partition_by("week", as_dict=True).items()
    }
    last, before = weeks[-limits.weeks :], weeks[: -limits.weeks]
    found = drift.numbers(
        {week: values[week] for week in before if week in values},
        {week: values[week] for week in last if week in values},
        seed=limits.seed,
    )
    return drifted("demand", weeks[-1], found, last, before) if weeks else []


def prices(in_force: pl.DataFrame, until: Week, limits: Limits = LIMITS) -> list[Sign]:
    """Drift of prices as a share of each item's usual one. In force: date (Mondays), store, item, price_yen; up to `until`."""
    last, before = periods(until, limits)
    usual = in_force.filter(pl.col("date").is_in([week.monday for week in before]))
    usual = (
        usual.group_by("item")
        .agg(pl.col("price_yen").median().alias("usual"))
        .filter(pl.col("usual") > 0)
    )
    ratio = in_force.join(usual, on="item").select(
        "date", (pl.col("price_yen") / pl.col("usual")).alias("ratio")
    )
    values = {
        day: each["ratio"].to_numpy()
        for (day,), each in ratio.partition_by("date", as_dict=True).items()
    }

    def side(weeks: list[Week]) -> dict[str, Numbers]:
        return {str(week): values[week.monday] for week in weeks if week.monday in values}

    found = drift.numbers(side(before), side(last), seed=limits.seed)
    return drifted(
        "prices", str(until), found, [str(each) for each in last], [str(each) for each in before]
    )


def shares(name: str, counts: Weekly, until: Week, limits: Limits = LIMITS) -> list[Sign]:
    """Drift of how much there is of each category. Where the same weeks of last year are known, they must differ as well: else it is the season."""
    last, before = periods(until, limits)
    year_ago = [week.plus(-52) for week in last]

    def side(weeks: list[Week]) -> Weekly:
        return {str(week): counts[str(week)] for week in weeks if str(week) in counts}

    found = drift.categories(side(before), side(last), seed=limits.seed)
    season = side(year_ago)
    if season and drift.categories(season, side(last), seed=limits.seed).psi < drift.Limits().psi:
        return []
    return drifted(
        name, str(until), found, [str(each) for each in last], [str(each) for each in before]
    )


def periods(until: Week, limits: Limits) -> tuple[list[Week], list[Week]]:
    """The last weeks up to `until`, and the reference before them, oldest first."""
    every = [until.plus(-n) for n in range(limits.weeks + limits.before - 1, -1, -1)]
    return every[-limits.weeks :], every[: -limits.weeks]
