"""Claim: weeks are forecast and ordered better than by other libraries and published forecasts.

    python -m bench.shop_accuracy [published rolling store_item orange_juice]
        [--models poisson_regression] [--peers NAME …] [--from WEEK --to WEEK --every N]

One cut-off, one run, and the same rows for every model; the noise floor stands beside them. A
peer's rows are stored in .cache/bench, since neither its data nor its version changes; --again
makes them anew. Ours are always made anew.

A peer's orders count twice: at the quantile that the costs ask for, from its own intervals, and as
its plain forecast. It is compared by the cheaper one. So does its WAPE: of its mean and of its
median. --keep writes bench/results although only some weeks or peers were measured; the results of
a peer that is not named stay, as long as the weeks and rows are the same.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.lib import shop_data
from bench.lib.reporting import RESULTS
from bench.lib.shop_peers import DOCUMENTED, PEERS
from bench.shop_floor import ITEM_FACTORS, PLAIN_FACTORS, make_noise_floor
from tanuki.shop import scores
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.forecasting.forecaster import (
    DEFAULT_FORECASTER,
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    interpolate_quantile,
    make_forecaster,
)
from tanuki.shop.panel import History, Panel

CACHE_FOLDER = Path(__file__).parents[1] / ".cache" / "bench"
# What a unit short costs in units left over, and the quantile to order then.
ORDER_LEVELS = {
    3: 3 / 4,
    5: 5 / 6,
}
DECILES = tuple(n / 10 for n in range(1, 10))
SIMPLE = ("naive", "seasonal naive", "moving average")
WITHOUT_PLANS = " without prices and promotions"
NOISE_FLOOR = "noise floor"
PUBLISHED_MODEL = "published"
LOADERS: dict[str, Callable[[Path], History]] = {
    "published": shop_data.load_aishop,
    "rolling": shop_data.load_aishop,
    "store_item": shop_data.load_store_item,
    "orange_juice": shop_data.load_orange_juice,
}
DATA_FOLDERS = {
    "published": "aishop",
    "rolling": "aishop",
    "store_item": "store_item",
    "orange_juice": "orange_juice",
}
FORECAST_ROWS_SCHEMA = pl.Schema(
    {
        "store": pl.String(),
        "item": pl.String(),
        **dict.fromkeys((*QUANTILE_COLUMNS, "mean", "seconds"), pl.Float64()),
    }
)

Model = Callable[[Panel], pl.DataFrame]


def make_forecaster_peer(name: str) -> Model:
    """One of our forecasters as a peer: its forecast of the target week."""

    def forecast(panel: Panel) -> pl.DataFrame:
        model = make_forecaster(name)
        model.fit(panel)
        return model.predict(panel).filter(pl.col("week") == str(panel.target)).drop("week")

    return forecast


def load_or_forecast(
    dataset: str, week: Week, name: str, model: Model, history: History, *, keep: bool
) -> pl.DataFrame:
    """A model's rows of one week, with its seconds; stored rows are read instead, if `keep`."""
    path = CACHE_FOLDER / dataset / str(week) / f"{name}.parquet"
    if keep and path.exists():
        return pl.read_parquet(path)
    panel = history.build_panel(week)
    start = time.process_time()  # processor time, since the machine may be busy
    forecast = model(panel)
    seconds = time.process_time() - start
    rows = forecast.with_columns(pl.lit(seconds).alias("seconds")).select(
        FORECAST_ROWS_SCHEMA.names()
    )
    if keep or name in PEERS:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(path)
    return rows


def measure_models(
    dataset: str, history: History, weeks: list[Week], models: dict[str, Model], *, again: bool
) -> pl.DataFrame:
    """The rows of every model and week beside the sales; only rows that every model has."""
    frames = []
    for week in weeks:
        actual = history.actual_sales(week)
        forecasts = {}
        for name, model in models.items():
            known = shop_data.remove_plans(history) if name.endswith(WITHOUT_PLANS) else history
            forecasts[name] = load_or_forecast(
                dataset, week, name, model, known, keep=name in PEERS and not again
            )
        common = actual
        for rows in forecasts.values():
            common = common.join(rows, on=["store", "item"], how="semi")
        for name, rows in forecasts.items():
            joined = common.join(rows, on=["store", "item"])
            frames.append(
                joined.with_columns(pl.lit(name).alias("model"), pl.lit(str(week)).alias("week"))
            )
        print(f"{dataset} {week}: {common.height} of {actual.height} rows", flush=True)
    return pl.concat(frames)


def score_rows(name: str, rows: pl.DataFrame) -> dict[str, Any]:
    """One model's scores. The published forecast is a point: it has no scores of quantiles."""
    actual, mean, quantiles = (
        rows["actual"].to_numpy(),
        rows["mean"].to_numpy(),
        rows.select(QUANTILE_COLUMNS).to_numpy(),
    )
    seconds = rows.group_by("week").agg(pl.col("seconds").first())["seconds"].mean()
    point = name == PUBLISHED_MODEL
    median, low, high = (rows[column].to_numpy() for column in ("q50", "q10", "q90"))
    row: dict[str, Any] = {
        "model": name,
        "rows": rows.height,
        "weeks": rows["week"].n_unique(),
        "wape": scores.wape(actual, mean),
        "wape_median": None if point else scores.wape(actual, median),
        "bias": scores.bias(actual, mean),
        "pinball": None if point else scores.pinball(actual, quantiles, QUANTILE_LEVELS),
        "coverage_80": None if point else scores.coverage_80(actual, low, high),
    }
    for cost, level in ORDER_LEVELS.items():
        row[f"points_{cost}"] = scores.mean_cost(actual, mean, float(cost))
        row[f"cost_{cost}"] = (
            row[f"points_{cost}"]
            if point
            else scores.mean_cost(actual, interpolate_quantile(quantiles, level), float(cost))
        )
    row["deciles"] = None if point else decile_hit_rates(actual, quantiles)
    row["decile_off"] = (
        None
        if point
        else max(abs(hit - level) for hit, level in zip(row["deciles"], DECILES, strict=True))
    )
    row["seconds"] = None if name in (PUBLISHED_MODEL, NOISE_FLOOR) else seconds
    return row


def decile_hit_rates(actual: np.ndarray, quantiles: np.ndarray) -> list[float]:
    """The share of rows at or below each decile.

    A count is spread evenly over the unit around it; else deciles of few units would be hit in
    jumps.
    """
    spread = actual + np.random.default_rng(1).uniform(-0.5, 0.5, len(actual))
    return [
        round(float((spread <= interpolate_quantile(quantiles, level)).mean()), 4)
        for level in DECILES
    ]


def format_table(lines: list[dict[str, Any]]) -> str:
    """The scores as Markdown, cheapest at 3:1 first."""
    columns: dict[str, tuple[str, Callable[[float | None], str]]] = {
        "WAPE": ("wape", format_percent),
        "of the median": ("wape_median", format_percent),
        "bias": ("bias", format_percent),
        "pinball": ("pinball", format_number),
        "cost 3:1": ("cost_3", format_number),
        "cost 5:1": ("cost_5", format_number),
        "as points 3:1": ("points_3", format_number),
        "as points 5:1": ("points_5", format_number),
        "80 % covers": ("coverage_80", format_percent),
        "worst decile off": ("decile_off", format_percent),
        "s an origin": ("seconds", format_number),
    }
    text = [f"| model | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    for row in sorted(lines, key=lambda row: float(row["cost_3"])):
        cells = [format_value(row.get(key)) for key, format_value in columns.values()]
        text.append(f"| {row['model']} | {' | '.join(cells)} |")
    return "\n".join(text)


def format_percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def format_number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def find_best_peer(
    lines: list[dict[str, Any]], key: str, libraries: tuple[str, ...] = ("",)
) -> tuple[float, str]:
    """The lowest score of the peers of these libraries, and that peer's name.

    A peer has two orders (quantile and point) and two points (mean and median); the better counts.
    """
    peers = [row for row in lines if row["model"] in PEERS and row["model"].startswith(libraries)]
    other = key.replace("cost", "points") if key.startswith("cost") else f"{key}_median"
    return min(
        (row[score], row["model"])
        for row in peers
        for score in (key, other)
        if row.get(score) is not None
    )


class Targets:
    """A model's scores beside those of others, and the sentences that say whether they are met."""

    def __init__(self, lines: list[dict[str, Any]], model: str) -> None:
        self.lines, self.model = lines, model
        self.by_model = {row["model"]: row for row in lines}
        self.scores = self.by_model[model]
        self.sentences: list[str] = []

    def add(self, what: str, value: float, limit: float) -> None:
        met = "ok  " if value <= limit else "MISS"
        self.sentences.append(f"{met} {what} = {value:.3f} (at most {limit:.2f})")

    def add_best_peer(self, limit: float, *keys: str, libraries: tuple[str, ...] = ("",)) -> None:
        """The model's score over that of the best peer of these libraries."""
        for key in keys:
            value, peer = find_best_peer(self.lines, key, libraries)
            what = f"{key} of {self.model} / best peer ({peer}: {value:.4f})"
            self.add(what, self.scores[key] / value, limit)
            if key == "wape":
                median = self.scores["wape_median"] / value
                self.add(f"wape of {self.model}'s median / the same", median, limit)

    def add_model(self, other: str, title: str, limits: dict[str, float]) -> None:
        """The model's scores over another model's, where that was measured."""
        if other in self.by_model:
            for key, limit in limits.items():
                ratio = self.scores[key] / self.by_model[other][key]
                self.add(f"{key} ours / {title}", ratio, limit)


def check_targets(dataset: str, lines: list[dict[str, Any]], model: str) -> list[str]:
    """Each target of a dataset beside the measured value."""
    targets = Targets(lines, model)
    every_score = ("wape", "cost_3", "cost_5")
    targets.add_model(PUBLISHED_MODEL, "published", {"wape": 0.80, "cost_3": 0.80, "cost_5": 0.70})
    if any(row["model"].startswith(("statsforecast", "mlforecast")) for row in lines):
        if dataset == "rolling":
            targets.add_best_peer(
                0.70, "cost_3", "cost_5", libraries=("statsforecast", "mlforecast")
            )
        if dataset in ("rolling", "store_item"):
            targets.add_best_peer(1.00, *every_score)
        if dataset == "orange_juice":
            targets.add_best_peer(0.90, *every_score)
    if dataset == "store_item":
        targets.add_model(NOISE_FLOOR, NOISE_FLOOR, dict.fromkeys(every_score, 1.05))
    without = model + WITHOUT_PLANS
    targets.add_model(without, f"ours{WITHOUT_PLANS}", dict.fromkeys(every_score, 0.90))
    if dataset != "published":
        distance = abs(targets.scores["coverage_80"] - 0.80)
        targets.add("80 % intervals: distance of the covered share from 0.80", distance, 0.03)
        worst = targets.scores["decile_off"]
        targets.add("deciles: the worst one's distance", worst, 0.04)
    return targets.sentences


def make_published_peer(published: dict[Week, pl.DataFrame]) -> Model:
    """The published forecasts as a model whose quantiles are all its point."""

    def forecast(panel: Panel) -> pl.DataFrame:
        return published[panel.target].select(
            "store",
            "item",
            *(pl.col("prediction").alias(name) for name in (*QUANTILE_COLUMNS, "mean")),
        )

    return forecast


def measure_dataset(dataset: str, options: argparse.Namespace) -> None:
    """Measure a dataset, print its table and targets, and write them."""
    history = LOADERS[dataset](options.data)
    published = {}
    if dataset == "published":
        published = shop_data.load_published_forecasts(options.data)
    weeks = shop_data.list_measured_weeks(dataset, history, published)
    weeks = [
        week for week in weeks if (options.first or weeks[0]) <= week <= (options.last or weeks[-1])
    ][:: options.every]
    models: dict[str, Model] = {name: make_forecaster_peer(name) for name in options.models}
    if dataset == "orange_juice":
        models |= {name + WITHOUT_PLANS: make_forecaster_peer(name) for name in options.models}
    models |= {name: PEERS[name] for name in choose_peers(dataset, options.peers)}
    if published:
        models[PUBLISHED_MODEL] = make_published_peer(published)
    if dataset in ("rolling", "store_item"):
        models[NOISE_FLOOR] = make_noise_floor(
            history, PLAIN_FACTORS if dataset == "store_item" else ITEM_FACTORS
        )
    rows = measure_models(dataset, history, weeks, models, again=options.again)
    lines = [score_rows(name, rows.filter(pl.col("model") == name)) for name in models]
    if options.keep:
        lines += load_other_results(
            RESULTS / f"shop_accuracy_{dataset}.json", lines, [str(week) for week in weeks]
        )
    print(
        f"\n{dataset}: {len(weeks)} weeks from {weeks[0]} to {weeks[-1]}, {lines[0]['rows']} rows"
    )
    print(f"\n{format_table(lines)}\n")
    targets = [text for name in options.models for text in check_targets(dataset, lines, name)]
    print("\n".join(targets) + "\n", flush=True)
    folder = RESULTS if options.keep or is_complete(options) else CACHE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        "dataset": dataset,
        "weeks": [str(week) for week in weeks],
        "models": lines,
        "targets": targets,
    }
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (folder / f"shop_accuracy_{dataset}.json").write_text(text, encoding="utf-8")


def load_other_results(
    path: Path, lines: list[dict[str, Any]], weeks: list[str]
) -> list[dict[str, Any]]:
    """Earlier results of peers that were not measured now, on the same weeks and rows."""
    if not path.exists():
        return []
    before = json.loads(path.read_text(encoding="utf-8"))
    measured = {row["model"] for row in lines}
    same = before["weeks"] == weeks
    return [
        row
        for row in before["models"]
        if same
        and row["rows"] == lines[0]["rows"]
        and row["model"] in PEERS
        and row["model"] not in measured
    ]


def is_complete(options: argparse.Namespace) -> bool:
    """Whether every week and every peer was measured; only then results are written."""
    return (
        options.every == 1
        and not (options.first or options.last)
        and options.peers is None
        and DEFAULT_FORECASTER in options.models
    )


def choose_peers(dataset: str, names: list[str] | None) -> list[str]:
    """The peers that make sense for a dataset.

    Days made of sevenths of weeks say nothing about days, and only orange_juice has plans to leave
    out. One peer is measured for its speed only.
    """
    useless: tuple[str, ...] = (DOCUMENTED, "daily" if dataset == "orange_juice" else "no plans")
    if importlib.util.find_spec("skforecast") is None:
        print("skforecast is not installed (dev extra), so it is not measured.")
        useless += ("skforecast",)
    return [
        name
        for name in (PEERS if names is None else names)
        if not any(word in name for word in useless)
    ]


def main() -> None:
    parser = shop_data.make_parser(__doc__.splitlines()[0])
    parser.add_argument(
        "datasets", nargs="*", help=f"of {', '.join(LOADERS)}; all when none is named"
    )
    parser.add_argument(
        "--models", nargs="*", default=[DEFAULT_FORECASTER], help="our forecasters by name"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        default=None,
        choices=list(PEERS),
        help="peers by name; all when not given, none when empty",
    )
    parser.add_argument("--from", dest="first", type=parse_week, default=None)
    parser.add_argument("--to", dest="last", type=parse_week, default=None)
    parser.add_argument("--every", type=int, default=1, help="only every so many weeks")
    parser.add_argument("--again", action="store_true", help="make the peers' rows anew too")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="write bench/results even when only some weeks or peers are measured",
    )
    options = parser.parse_args()
    for dataset in options.datasets or LOADERS:
        if shop_data.check_data_folders(options.data, DATA_FOLDERS[dataset]):
            measure_dataset(dataset, options)


if __name__ == "__main__":
    main()
