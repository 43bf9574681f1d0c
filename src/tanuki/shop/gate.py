"""May a version decide what the stores order? Past weeks forecast again, in yen and in units short, beside the champion, the floor and people; GO or NO-GO.

Before anything is compared: are all rows there and are they forecasts at all. Then how the model behaves: does it know the future, does it speak
of another week, does it look at the last weeks. Every answer is a code with values; `words` says it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform.mlops import evaluation, release
from tanuki.platform.mlops.evaluation import Case, Judged, Limits, Measure, Reason, Verdict
from tanuki.platform.mlops.registry import CHALLENGER
from tanuki.shop.backtest import MANAGERS
from tanuki.shop.calendar import Week
from tanuki.shop.forecasting import forecaster
from tanuki.shop.forecasting.forecaster import COLUMNS, Forecaster, Numbers, at
from tanuki.shop.forecasts import REGISTERED
from tanuki.shop.panel import History, Panel
from tanuki.shop.tables import Item

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry, Version

Factory = Callable[[], Forecaster]
Rows = pl.DataFrame  # [week, store, item, region, size, actual, before, after, and for each model its mean and what it would order]

WEEKS = 12
FLOORS = ("seasonal_naive", "moving_average")
CHALLENGED, CHAMPION = "challenger", "champion"
SIZES = ("small", "middle", "large")
SHORTAGE_YEN, LEFTOVER_YEN = (
    3.0,
    1.0,
)  # of an item without a master, as in the master's own defaults

COUNTED = 5.0  # units: rows forecast below are too small to tell how far off they may be
TOO_GOOD = 0.8  # of the scatter that chance makes
FREE_DAYS, MEDIAN = (
    6,
    0.891,
)  # of a week whose total is known; of chi-square with so many degrees, as a share of its mean
SHIFT = 0.10  # a forecast that is so much nearer to the next or the last week speaks of that one
LEAST_CHANGE, TURNED = (
    0.5,
    0.5,
)  # of what chance does to a row of counts, squared; of a forecast change, how much came true elsewhere
LATELY, MORE = (
    4,
    1.5,
)  # weeks before the cut-off whose sales are raised, and how much, to see whether the model looks at them
MOVES = 0.10  # of the raise, on a logarithmic scale, that the forecast must follow at least


@dataclass(frozen=True)
class Costs:
    """What a unit short and a unit left cost, per item, in yen."""

    by_item: Mapping[str, tuple[float, float]]

    def of(self, items: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Both, one line each."""
        pairs = [self.by_item.get(item, (SHORTAGE_YEN, LEFTOVER_YEN)) for item in items]
        return np.array([short for short, _ in pairs]), np.array([left for _, left in pairs])


def costs(db: Session) -> Costs:
    """What the item master says."""
    found = db.execute(select(Item.code, Item.shortage_cost_yen, Item.leftover_cost_yen)).all()
    return Costs({code: (short, left) for code, short, left in found})


def judged(
    history: History,
    prices: Costs,
    registry: "Registry",
    wanted: str = CHALLENGER,
    *,
    weeks: int = WEEKS,
) -> Judged:
    """The gate over a registered version (a number or an alias) beside the champion, over the last whole weeks. Writes nothing.

    While no version is released the cycle forecasts with the default model: then that is the champion.
    """
    version = registry.get(REGISTERED, wanted)
    champion = release.live(registry, REGISTERED)
    if champion is not None and champion.version == version.version:
        champion = release.live(
            registry, REGISTERED, release.PREVIOUS
        )  # what is live is judged beside what it came after
    last = history.weeks()[1]
    asked = [
        week
        for week in (last.plus(-n) for n in range(weeks - 1, -1, -1))
        if week >= history.weeks()[0].plus(2)
    ]
    if not asked:
        raise UserError(
            "The gate needs at least three whole weeks of sales; known are those to %(last)s.",
            last=last,
        )
    limits = Limits()
    with ExitStack() as folders:
        ours = kept(registry, version, folders)
        kind = version.parameters["forecaster"]
        stand_in = forecaster.DEFAULT if champion is None and kind != forecaster.DEFAULT else None
        theirs = (
            kept(registry, champion, folders)
            if champion is not None
            else forecaster.FORECASTERS[stand_in]
            if stand_in
            else None
        )
        verdict = judge(history, prices, asked, ours, theirs, limits=limits)
    report = {
        "weeks": [str(asked[0]), str(asked[-1])],
        "forecaster": kind,
        "default": stand_in,  # the model that stood for the champion
        "data_window": list(version.data_window),
        "limits": asdict(limits),
        **verdict.as_json(),
    }
    return Judged(version.version, champion.version if champion else None, verdict, report)


def kept(registry: "Registry", version: "Version", folders: ExitStack) -> Factory:
    """Makes the model of a version as it was registered, as often as it is asked."""
    folder = registry.load(
        REGISTERED, version.version, into=Path(folders.enter_context(TemporaryDirectory()))
    )

    def make() -> Forecaster:
        model = forecaster.make(version.parameters["forecaster"])
        model.load(folder)
        return model

    return make


def judge(
    history: History,
    prices: Costs,
    weeks: Sequence[Week],
    challenger: Factory,
    champion: Factory | None,
    *,
    floors: Sequence[str] = FLOORS,
    limits: Limits | None = None,
) -> Verdict:
    """The verdict over past weeks, each forecast with only what was known when it was ordered."""
    limits = limits or Limits()
    models = {
        CHALLENGED: challenger,
        **({CHAMPION: champion} if champion else {}),
        **{name: forecaster.FORECASTERS[name] for name in floors},
    }
    past = forecast_again(history, prices, weeks, models)
    case = as_case(past.rows, prices, list(models), CHAMPION if champion else None, floors)
    reference = CHAMPION if champion else evaluation.best(case)
    found = [
        *wrong(past.asked, past.given),
        *too_good(
            past.rows,
            history.panel(weeks[-1].plus(2)).sales,
            [name for name in models if name != CHALLENGED],
            limits,
        ),
        *(shifted(past.rows, prices, reference, limits) if reference else []),
        *sees_the_future(history, weeks[-1], past.last, challenger),
        *looks_away(history.panel(weeks[-1]), past.last, challenger),
    ]
    return evaluation.judge(case, limits, found)


# ---- past weeks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Past:
    """Past weeks forecast again: every model's row beside what was sold, the rows that the challenger was asked for and those that it gave."""

    rows: Rows
    asked: pl.DataFrame
    given: pl.DataFrame
    last: pl.DataFrame  # the challenger's forecast of the last week, as it came


def forecast_again(
    history: History, prices: Costs, weeks: Sequence[Week], models: Mapping[str, Factory]
) -> Past:
    """Each week forecast by every model, with only what was known when it was ordered."""
    frames, asked, given = [], [], []
    sold = {
        week: history.actual(week)
        for week in {each.plus(n) for each in weeks for n in (-2, -1, 0, 1)}
    }
    for week in weeks:
        panel = history.panel(week)
        keys = (
            panel.sales.select("store", "item")
            .unique()
            .sort("store", "item")
            .join(history.stores, on="store", how="left")
        )
        rows = keys.with_columns(pl.lit(str(week)).alias("week")).join(
            sold[week], on=["store", "item"], how="inner"
        )
        for column, other in (
            ("earlier", week.plus(-2)),
            ("before", week.plus(-1)),
            ("after", week.plus(1)),
        ):
            rows = rows.join(
                sold[other].rename({"actual": column}), on=["store", "item"], how="left"
            )
        forecasts = {name: answered(make, panel) for name, make in models.items()}
        cycle = pl.lit(str(week)).alias("cycle")
        every = pl.DataFrame({"week": [str(week.buffer), str(week), str(week.both)]})
        asked.append(keys.join(every, how="cross").with_columns(cycle))
        given.append(forecasts[CHALLENGED].with_columns(cycle))
        for name, forecast in forecasts.items():
            target = forecast.filter(pl.col("week") == str(week)).unique(
                ["store", "item"], keep="first", maintain_order=True
            )
            rows = rows.join(orders(target, prices, name), on=["store", "item"], how="left")
        first = (
            forecasts[CHALLENGED]
            .filter(pl.col("week") == str(week.buffer))
            .unique(["store", "item"], keep="first")
        )
        rows = rows.join(
            first.select("store", "item", pl.col("mean").alias("buffer_mean")),
            on=["store", "item"],
            how="left",
        )
        people = history.ordered(week).rename({"ordered": f"{MANAGERS}_order"})
        frames.append(rows.join(people, on=["store", "item"], how="left"))
    return Past(
        sized(pl.concat(frames)), pl.concat(asked), pl.concat(given), given[-1].drop("cycle")
    )


def orders(forecast: pl.DataFrame, prices: Costs, name: str) -> pl.DataFrame:
    """[store, item, …_mean, …_order]: what each row's costs would order, the quantile shortage / (shortage + leftover)."""
    short, left = prices.of(forecast["item"].to_list())
    level = np.where(short + left > 0, short / np.maximum(short + left, 1e-9), 0.5)
    values, order = forecast.select(COLUMNS).to_numpy(), np.full(forecast.height, np.nan)
    for each in np.unique(level):
        order[level == each] = at(values[level == each], float(each))
    return forecast.select("store", "item", pl.col("mean").alias(f"{name}_mean")).with_columns(
        pl.Series(f"{name}_order", order)
    )


def sized(rows: Rows) -> Rows:
    """Each series' size: a third of them are small, a third large, by what they sell in these weeks."""
    series = (
        rows.group_by("store", "item")
        .agg(pl.col("actual").mean().alias("sold"))
        .sort("sold", "store", "item")
    )
    third = (np.arange(series.height) * len(SIZES) // max(series.height, 1)).tolist()
    size = series.select("store", "item").with_columns(
        pl.Series("size", [SIZES[n] for n in third], dtype=pl.String)
    )
    return rows.join(size, on=["store", "item"], how="left").sort("week", "store", "item")


def wrong(asked: pl.DataFrame, given: pl.DataFrame) -> list[Reason]:
    """What is wrong with forecasts before they are compared with anything: rows of all three (buffer, target, both) that were asked for."""
    named = given.unique(
        ["cycle", "store", "item", "week"], keep="first", maintain_order=True
    ).with_columns(pl.lit(True).alias("given"))
    joined = asked.join(named, on=["cycle", "store", "item", "week"], how="left").sort(
        "cycle", "store", "item", "week"
    )
    slices = {kind: joined[kind].to_list() for kind in ("region", "store", "item")}
    present = joined["given"].fill_null(False).to_numpy()
    return evaluation.faults(
        present, joined.select(COLUMNS).to_numpy(), joined["mean"].to_numpy(), slices
    )


def as_case(
    rows: Rows, prices: Costs, models: Sequence[str], champion: str | None, floors: Sequence[str]
) -> Case:
    """What the platform's gate is asked: what each order cost in yen, and its units short as a share of what was sold."""
    actual = rows["actual"].to_numpy()
    short_yen, left_yen = prices.of(rows["item"].to_list())
    yen, service = {}, {}
    for name in [*models, MANAGERS]:
        order = rows[f"{name}_order"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        service[name] = np.maximum(actual - order, 0.0)
        yen[name] = short_yen * service[name] + left_yen * np.maximum(order - actual, 0.0)
    return Case(
        block=rows["week"].to_list(),
        slices={kind: rows[kind].to_list() for kind in ("region", "store", "item", "size")},
        measures=[Measure("yen", yen), Measure("service", service, per=actual, beats_floor=False)],
        challenger=CHALLENGED,
        champion=champion,
        floors=floors,
        people=[MANAGERS],
    )


# ---- how it behaves ------------------------------------------------------------------------------------------------


def too_good(
    rows: Rows, sales: pl.DataFrame, references: Sequence[str], limits: Limits
) -> list[Reason]:
    """Errors below what chance allows: even the true mean of a week is missed by the chance of its days, whatever a model knows of the past.

    Scatter is Pearson's dispersion, (actual - mean)² / mean: 1 for Poisson counts, more in practice. How much chance alone makes is read off the days
    inside each week (`by_chance`). Where a plain rule also stays below that (a standing order), nobody is suspected.
    """
    known = rows.join(
        by_chance(sales, rows["week"].unique().to_list()), on=["store", "item"], how="inner"
    )
    scatter = {}
    for name in [CHALLENGED, *references]:
        mean = known[f"{name}_mean"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        scatter[name] = np.where(
            mean >= COUNTED,
            (known["actual"].to_numpy() - mean) ** 2 / np.maximum(mean, COUNTED),
            np.nan,
        )
    every = np.isfinite(np.stack(list(scatter.values()))).all(axis=0)
    if not every.any():
        return []
    chance = known["chance"].to_numpy()[every]
    usual = min(
        [1.0, *(float(scatter[name][every].sum() / max(chance.sum(), 1e-9)) for name in references)]
    )
    week = np.unique(known["week"].to_numpy()[every], return_inverse=True)[1]
    found, least = (
        np.bincount(week, each).astype(np.float64)
        for each in (scatter[CHALLENGED][every], TOO_GOOD * usual * chance)
    )
    drawn = evaluation.draws(len(found), limits.draws, limits.length, limits.seed)
    if evaluation.chance(least - found, drawn) < 1 - limits.confidence:
        return [
            {
                "code": "leak",
                "how": "scatter",
                "scatter": float(found.sum() / every.sum()),
                "least": float(least.sum() / every.sum()),
            }
        ]
    return []


def by_chance(sales: pl.DataFrame, weeks: Sequence[str]) -> pl.DataFrame:
    """[store, item, chance]: how much the days of a week scatter around the week's own total, by the series' usual weekdays, as a multiple of Poisson's.

    If days miss their means independently, the week misses its own by as much. The median over weeks, so that holidays and promotions count little.
    """
    days = sales.filter(pl.col("units").is_not_null()).with_columns(
        pl.format(
            "{}-W{}",
            pl.col("date").dt.iso_year(),
            pl.col("date").dt.week().cast(pl.String).str.zfill(2),
        ).alias("week"),
        pl.col("date").dt.weekday().alias("weekday"),
    )
    series, total = ["store", "item"], pl.col("units").sum().over("store", "item", "week")
    inside = days.filter(pl.col("week").is_in(weeks)).with_columns(
        total.alias("total"),
        (pl.col("units").sum().over(*series, "weekday") / pl.col("units").sum().over(series)).alias(
            "share"
        ),
    )
    due = pl.col("total") * pl.col("share")
    found = (
        inside.filter(due > 0)
        .group_by(*series, "week")
        .agg(((pl.col("units") - due) ** 2 / due).sum() / FREE_DAYS)
    )
    return (
        found.group_by(series).agg((pl.col("units").median() / MEDIAN).alias("chance")).sort(series)
    )


def shifted(rows: Rows, prices: Costs, reference: str, limits: Limits) -> list[Reason]:
    """The forecast of a week is nearer to what the next or the last week sold than to its own.

    A slow model is always a little nearer to the week before, whatever it says it forecasts; so it must be so by more than it is with the reference.
    """
    reasons: list[Reason] = []
    for column, weeks in (("before", -1), ("after", 1)):
        means = [f"{name}_mean" for name in (CHALLENGED, reference)]
        known = rows.drop_nulls([column, *means]).filter(
            pl.all_horizontal(pl.col(means).is_finite())
        )
        short, left = prices.of(known["item"].to_list())
        off = {
            other: [
                (short + left) * np.abs(known[other].to_numpy() - known[mean].to_numpy())
                for mean in means
            ]
            for other in ("actual", column)
        }
        block = np.unique(known["week"].to_numpy(), return_inverse=True)[1]
        own, ours, theirs = (
            np.bincount(block, each)
            for each in (off["actual"][0], *(off["actual"][n] - off[column][n] for n in (0, 1)))
        )
        if len(own) < limits.blocks:
            continue
        drawn = evaluation.draws(len(own), limits.draws, limits.length, limits.seed)
        if all(
            evaluation.chance(each - SHIFT * own, drawn) < 1 - limits.confidence
            for each in (ours, ours - theirs)
        ):
            reasons.append(
                {"code": "shifted", "weeks": weeks, "nearer": float(ours.sum() / own.sum())}
            )
    return reasons or turns_at_another_week(rows, limits)


def turns_at_another_week(rows: Rows, limits: Limits) -> list[Reason]:
    """The change that it forecasts from the buffer week to the target week is the one that came a week before or after, or is turned round.

    What is compared is how much of a forecast change came true (1: all of it): a model that hardly forecasts any is not judged, a slow one neither.
    """
    mean, buffer = f"{CHALLENGED}_mean", "buffer_mean"
    known = rows.drop_nulls([mean, buffer, "before", "earlier"]).filter(
        pl.col(mean).is_finite() & pl.col(buffer).is_finite()
    )
    came = {
        0: pl.col("actual") - pl.col("before"),
        -1: pl.col("before") - pl.col("earlier"),
        1: pl.col("after") - pl.col("actual"),
    }
    change, scale = pl.col(mean) - pl.col(buffer), pl.max_horizontal(pl.col(mean), COUNTED)
    by_week = known.group_by("week", maintain_order=True).agg(
        pl.len().alias("rows"),
        (change**2 / scale).sum().alias("claimed"),
        *((change * actual / scale).sum().alias(str(at)) for at, actual in came.items()),
        pl.col("after").is_null().any().alias("unfinished"),
    )
    reasons: list[Reason] = []
    for weeks in (-1, 1, 0):
        told = by_week if weeks < 1 else by_week.filter(~pl.col("unfinished"))
        own, other, claimed = (told[name].to_numpy() for name in ("0", str(weeks), "claimed"))
        if len(own) < limits.blocks or claimed.sum() < LEAST_CHANGE * told["rows"].to_numpy().sum():
            continue
        better, true = (other - own, float(other.sum())) if weeks else (-own, -float(own.sum()))
        drawn = evaluation.draws(len(own), limits.draws, limits.length, limits.seed)
        if (
            min(true, better.sum()) > TURNED * claimed.sum()
            and evaluation.chance(better, drawn) < 1 - limits.confidence
        ):
            shares = {
                "own": float(own.sum() / claimed.sum()),
                "other": float(other.sum() / claimed.sum()),
            }
            reasons.append({"code": "shifted", "how": "change", "weeks": weeks, **shares})
    return reasons[:1]


def sees_the_future(
    history: History, week: Week, before: pl.DataFrame, challenger: Factory
) -> list[Reason]:
    """Whether the forecast (`before`) moves by a single bit when all sales and deliveries after the cut-off were others."""
    after = pl.col("date") > week.cutoff
    other = (
        pl.when(after)
        .then((pl.col("units").max() - pl.col("units")) * 3 + 1)
        .otherwise(pl.col("units"))
    )
    changed = replace(
        history,
        sales=history.sales.with_columns(other.alias("units")),
        deliveries=history.deliveries.filter(~after),
    )
    same = answered(challenger, changed.panel(week)).equals(before)
    return [] if same else [{"code": "leak", "how": "moved"}]


def looks_away(panel: Panel, before: pl.DataFrame, challenger: Factory) -> list[Reason]:
    """Whether the forecast (`before`) follows when half as much again was sold in the last four weeks."""
    since = panel.target.cutoff - timedelta(weeks=LATELY)
    recent = (
        pl.when(pl.col("date") > since)
        .then((pl.col("units") * MORE).round())
        .otherwise(pl.col("units"))
    )
    raised = answered(
        challenger, replace(panel, sales=panel.sales.with_columns(recent.alias("units")))
    )
    first, then = (
        float(each.filter(pl.col("week") == str(panel.target))["mean"].sum())
        for each in (before, raised)
    )
    if not (np.isfinite(first) and np.isfinite(then) and first > 0):
        return []
    follows = float(np.log(max(then, 1e-9) / first) / np.log(MORE))
    return (
        []
        if follows >= MOVES
        else [{"code": "stale", "weeks": LATELY, "more": MORE - 1, "follows": then / first - 1}]
    )


def answered(make: Factory, panel: Panel) -> pl.DataFrame:
    """A new model's forecast of a panel."""
    model = make()
    model.fit(panel)
    return model.predict(panel)


# ---- in words ------------------------------------------------------------------------------------------------------

MEASURES = {
    "yen": {"en": "cost", "ja": "費用"},
    "service": {"en": "share of units short", "ja": "欠品の割合"},
}
KINDS = {
    "region": {"en": "Region", "ja": "地域"},
    "store": {"en": "Store", "ja": "店舗"},
    "item": {"en": "Item", "ja": "商品"},
    "size": {"en": "Size", "ja": "販売量"},
    "size:small": {"en": "small sellers", "ja": "少ない"},
    "size:middle": {"en": "middle sellers", "ja": "中くらい"},
    "size:large": {"en": "large sellers", "ja": "多い"},
}
WORDS = {
    "missing_slice": {
        "en": "{kind} {label} is not forecast at all ({rows:,} rows are absent).",
        "ja": "{kind}「{label}」の予測がまったくありません（{rows:,}行が欠けています）。",
    },
    "missing": {
        "en": "{rows:,} of {of:,} rows are not forecast.",
        "ja": "{of:,}行のうち{rows:,}行の予測がありません。",
    },
    "scatter": {
        "en": "It is too good to be true: its errors scatter by {scatter:.2f}, chance alone makes at least {least:.2f}. It must know sales of the weeks that it forecasts.",
        "ja": "良すぎます。誤差のばらつきが{scatter:.2f}しかなく、偶然だけでも少なくとも{least:.2f}になるはずです。予測する週の販売を知っているはずです。",
    },
    "moved": {
        "en": "Its forecast changes when sales after the cut-off change: it looks into the future.",
        "ja": "締切日より後の販売を変えると予測が変わります。未来のデータを見ています。",
    },
    "before": {
        "en": "What it forecasts for a week fits the week before by {nearer:.0%} better: its weeks are shifted.",
        "ja": "ある週の予測が、その前の週の販売に{nearer:.0%}よく合います。週がずれています。",
    },
    "after": {
        "en": "What it forecasts for a week fits the week after by {nearer:.0%} better: its weeks are shifted.",
        "ja": "ある週の予測が、その次の週の販売に{nearer:.0%}よく合います。週がずれています。",
    },
    "change_before": {
        "en": "The changes that it forecasts came a week before ({other:.0%} of them; in their own week {own:.0%}): its weeks are shifted.",
        "ja": "予測した増減は、その前の週に起きています（前の週{other:.0%}、その週{own:.0%}）。週がずれています。",
    },
    "change_after": {
        "en": "The changes that it forecasts came a week after ({other:.0%} of them; in their own week {own:.0%}): its weeks are shifted.",
        "ja": "予測した増減は、その次の週に起きています（次の週{other:.0%}、その週{own:.0%}）。週がずれています。",
    },
    "change_turned": {
        "en": "What it forecasts to rise falls and the other way round ({own:.0%} of the changes came true): the buffer and the target week are swapped.",
        "ja": "増えると予測したものが減り、減ると予測したものが増えています（実現した割合{own:.0%}）。対象週とその前の週が入れ替わっています。",
    },
    "stale": {
        "en": "It does not look at the last {weeks} weeks: when {more:.0%} more sells in them, its forecast rises by only {follows:.1%}.",
        "ja": "最近{weeks}週間を見ていません。その間の販売が{more:.0%}増えても、予測は{follows:.1%}しか増えません。",
    },
}


def render_reasons(
    reason: Mapping[str, Any], lang: str, names: Mapping[str, str] | None = None
) -> str:
    """A reason as a sentence; `names` says what stores, items and regions are called."""
    said = dict(reason)
    if said["code"] == "leak":
        said["code"] = said["how"]
    if said["code"] == "shifted":
        at = "turned" if said["weeks"] == 0 else "before" if said["weeks"] < 0 else "after"
        said["code"] = f"change_{at}" if "how" in said else at
    if names and said.get("slice") not in (None, "size"):
        said["label"] = names.get(said["label"], said["label"])
    return evaluation.words(said, lang, more=WORDS, kinds=KINDS, measures=MEASURES)
