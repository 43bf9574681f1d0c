"""How well weeks are forecast and ordered, beside other libraries, published forecasts and the noise floor: one cut-off, one run, the same rows for everybody.

    python bench/shop_accuracy.py [published rolling store_item orange_juice] [--models pooled] [--peers NAME …] [--from WEEK --to WEEK --every N]

A peer's rows are kept in .cache/bench, since neither its data nor its version changes; --again makes them anew. Ours are always made anew.
A peer's orders count twice: at the quantile that the costs ask for, out of its own intervals, and as its plain forecast; the cheaper one is compared with.
So does its WAPE, of its mean and of its median. --keep writes bench/results; a peer not named stays there as it was, as long as the weeks and rows are the same.
"""

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.lib import shop_data
from bench.lib.shop_peers import DOCUMENTED, PEERS
from bench.shop_floor import PLAIN, WITH_ITEMS, floor
from tanuki.shop import scores
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.forecasting.forecaster import COLUMNS, DEFAULT, QUANTILES, at, make
from tanuki.shop.panel import History, Panel

RESULTS = Path(__file__).parent / "results"
CACHE = Path(__file__).parents[1] / ".cache" / "bench"
COSTS = {
    3: 3 / 4,
    5: 5 / 6,
}  # what a unit short costs in units left, and the quantile to order then
DECILES = tuple(n / 10 for n in range(1, 10))
SIMPLE = ("naive", "seasonal naive", "moving average")
WITHOUT = " without prices and promotions"
FLOOR = "noise floor"
PUBLISHED = "published"
READ: dict[str, Callable[[Path], History]] = {
    "published": shop_data.aishop, "rolling": shop_data.aishop, "store_item": shop_data.store_item, "orange_juice": shop_data.orange_juice,
}  # fmt: skip
FOLDERS = {
    "published": "aishop",
    "rolling": "aishop",
    "store_item": "store_item",
    "orange_juice": "orange_juice",
}
ROWS = pl.Schema(
    {
        "store": pl.String(),
        "item": pl.String(),
        **dict.fromkeys((*COLUMNS, "mean", "seconds"), pl.Float64()),
    }
)

Model = Callable[[Panel], pl.DataFrame]


def ours(name: str) -> Model:
    """One of our forecasters as a peer: fitted and asked for the target week."""

    def forecast(panel: Panel) -> pl.DataFrame:
        model = make(name)
        model.fit(panel)
        return model.predict(panel).filter(pl.col("week") == str(panel.target)).drop("week")

    return forecast


def forecast(
    dataset: str, week: Week, name: str, model: Model, history: History, *, keep: bool
) -> pl.DataFrame:
    """A model's rows of one week, with the seconds it took; what is kept is read again."""
    path = CACHE / dataset / str(week) / f"{name}.parquet"
    if keep and path.exists():
        return pl.read_parquet(path)
    panel = history.panel(week)
    begun = time.process_time()  # the processor's: others may work on the machine
    made = model(panel)
    rows = made.with_columns(pl.lit(time.process_time() - begun).alias("seconds")).select(
        ROWS.names()
    )
    if keep or name in PEERS:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(path)
    return rows


def measured(
    dataset: str, history: History, weeks: list[Week], models: dict[str, Model], *, again: bool
) -> pl.DataFrame:
    """The rows of every model and week beside what was sold, only those that every model has."""
    frames = []
    for week in weeks:
        actual = history.actual(week)
        found = {}
        for name, model in models.items():
            known = shop_data.without_plans(history) if name.endswith(WITHOUT) else history
            found[name] = forecast(
                dataset, week, name, model, known, keep=name in PEERS and not again
            )
        common = actual
        for rows in found.values():
            common = common.join(rows, on=["store", "item"], how="semi")
        for name, rows in found.items():
            joined = common.join(rows, on=["store", "item"])
            frames.append(
                joined.with_columns(pl.lit(name).alias("model"), pl.lit(str(week)).alias("week"))
            )
        print(f"{dataset} {week}: {common.height} of {actual.height} rows", flush=True)
    return pl.concat(frames)


def line(name: str, rows: pl.DataFrame) -> dict[str, Any]:
    """One model's scores. A published forecast is a point: it has costs as it is, and nothing that asks for quantiles."""
    actual, mean, quantiles = (
        rows["actual"].to_numpy(),
        rows["mean"].to_numpy(),
        rows.select(COLUMNS).to_numpy(),
    )
    seconds = rows.group_by("week").agg(pl.col("seconds").first())["seconds"].mean()
    point = name == PUBLISHED
    made: dict[str, Any] = {
        "model": name, "rows": rows.height, "weeks": rows["week"].n_unique(), "wape": scores.wape(actual, mean),
        "wape_median": None if point else scores.wape(actual, rows["q50"].to_numpy()), "bias": scores.bias(actual, mean),
        "pinball": None if point else scores.pinball(actual, quantiles, QUANTILES),
        "coverage_80": None if point else scores.coverage_80(actual, rows["q10"].to_numpy(), rows["q90"].to_numpy()),
    }  # fmt: skip
    for cost, level in COSTS.items():
        made[f"points_{cost}"] = scores.cost(actual, mean, float(cost))
        made[f"cost_{cost}"] = (
            made[f"points_{cost}"]
            if point
            else scores.cost(actual, at(quantiles, level), float(cost))
        )
    made["deciles"] = None if point else hits(actual, quantiles)
    made["decile_off"] = (
        None
        if point
        else max(abs(hit - level) for hit, level in zip(made["deciles"], DECILES, strict=True))
    )
    made["seconds"] = None if name in (PUBLISHED, FLOOR) else seconds
    return made


def hits(actual: np.ndarray, quantiles: np.ndarray) -> list[float]:
    """The share of rows at or below each decile; a count is spread evenly over the unit around it, or a decile of few units would be hit in jumps."""
    spread = actual + np.random.default_rng(1).uniform(-0.5, 0.5, len(actual))
    return [round(float((spread <= at(quantiles, level)).mean()), 4) for level in DECILES]


def table(lines: list[dict[str, Any]]) -> str:
    """The scores as Markdown, cheapest at 3:1 first."""
    heads = (
        "model",
        "WAPE",
        "of the median",
        "bias",
        "pinball",
        "cost 3:1",
        "cost 5:1",
        "as points 3:1",
        "as points 5:1",
        "80 % covers",
        "worst decile off",
        "s an origin",
    )
    text = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in sorted(lines, key=lambda row: float(row["cost_3"])):
        cells = [
            row["model"], percent(row["wape"]), percent(row.get("wape_median")), percent(row["bias"]), number(row["pinball"]), number(row["cost_3"]), number(row["cost_5"]),
            number(row["points_3"]), number(row["points_5"]), percent(row["coverage_80"]), percent(row["decile_off"]), number(row["seconds"]),
        ]  # fmt: skip
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def best(
    lines: list[dict[str, Any]], key: str, libraries: tuple[str, ...] = ("",)
) -> tuple[float, str]:
    """The lowest score of any peer of these libraries, and whose it is; of its two ways to order the cheaper, of its two middles the nearer."""
    peers = [row for row in lines if row["model"] in PEERS and row["model"].startswith(libraries)]
    other = key.replace("cost", "points") if key.startswith("cost") else f"{key}_median"
    return min(
        (row[way], row["model"])
        for row in peers
        for way in (key, other)
        if row.get(way) is not None
    )


def verdicts(dataset: str, lines: list[dict[str, Any]], mine: str) -> list[str]:
    """Each target of this data beside what was measured."""
    by = {row["model"]: row for row in lines}
    ours, found = by[mine], []

    def against(what: str, value: float, limit: float) -> None:
        found.append(
            f"{'ok  ' if value <= limit else 'MISS'} {what} = {value:.3f} (at most {limit:.2f})"
        )

    def peers(limit: float, *keys: str, libraries: tuple[str, ...] = ("",)) -> None:
        for key in keys:
            value, name = best(lines, key, libraries)
            against(f"{key} of {mine} / best peer ({name}: {value:.4f})", ours[key] / value, limit)
            if key == "wape":
                against(f"wape of {mine}'s median / the same", ours["wape_median"] / value, limit)

    if PUBLISHED in by:
        against("wape ours / published", ours["wape"] / by[PUBLISHED]["wape"], 0.80)
        against("cost 3:1 ours / published", ours["cost_3"] / by[PUBLISHED]["cost_3"], 0.80)
        against("cost 5:1 ours / published", ours["cost_5"] / by[PUBLISHED]["cost_5"], 0.70)
    if any(row["model"].startswith(("statsforecast", "mlforecast")) for row in lines):
        if dataset == "rolling":
            peers(0.70, "cost_3", "cost_5", libraries=("statsforecast", "mlforecast"))
            peers(1.00, "wape", "cost_3", "cost_5")
        if dataset == "store_item":
            peers(1.00, "wape", "cost_3", "cost_5")
        if dataset == "orange_juice":
            peers(0.90, "wape", "cost_3", "cost_5")
    if FLOOR in by and dataset == "store_item":
        for key in ("wape", "cost_3", "cost_5"):
            against(f"{key} ours / noise floor", ours[key] / by[FLOOR][key], 1.05)
    if mine + WITHOUT in by:
        for key in ("wape", "cost_3", "cost_5"):
            against(f"{key} ours / ours{WITHOUT}", ours[key] / by[mine + WITHOUT][key], 0.90)
    if dataset != "published":
        against(
            "80 % intervals: distance of the covered share from 0.80",
            abs(ours["coverage_80"] - 0.80),
            0.03,
        )
        against("deciles: the worst one's distance", ours["decile_off"], 0.04)
    return found


def points(known: dict[Week, pl.DataFrame]) -> Model:
    """The published forecasts as a model that knows only its points."""

    def forecast(panel: Panel) -> pl.DataFrame:
        said = known[panel.target]
        return said.select(
            "store", "item", *(pl.col("prediction").alias(name) for name in (*COLUMNS, "mean"))
        )

    return forecast


def bench(dataset: str, options: Any) -> None:
    """One dataset measured, printed and kept."""
    history = READ[dataset](options.data)
    known = shop_data.published(options.data) if dataset == "published" else {}
    weeks = shop_data.weeks_of(dataset, history, known)
    weeks = [
        week for week in weeks if (options.first or weeks[0]) <= week <= (options.last or weeks[-1])
    ][:: options.every]
    models: dict[str, Model] = {name: ours(name) for name in options.models}
    if dataset == "orange_juice":
        models |= {name + WITHOUT: ours(name) for name in options.models}
    models |= {name: PEERS[name] for name in chosen(dataset, options.peers)}
    if known:
        models[PUBLISHED] = points(known)
    if dataset in ("rolling", "store_item"):
        models[FLOOR] = floor(history, PLAIN if dataset == "store_item" else WITH_ITEMS)
    rows = measured(dataset, history, weeks, models, again=options.again)
    lines = [line(name, rows.filter(pl.col("model") == name)) for name in models]
    if options.keep:
        lines += kept(
            RESULTS / f"shop_accuracy_{dataset}.json", lines, [str(week) for week in weeks]
        )
    print(
        f"\n{dataset}: {len(weeks)} weeks from {weeks[0]} to {weeks[-1]}, {lines[0]['rows']} rows\n\n{table(lines)}\n"
    )
    said = [text for name in options.models for text in verdicts(dataset, lines, name)]
    print("\n".join(said) + "\n", flush=True)
    folder = RESULTS if options.keep or whole(options) else CACHE
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "dataset": dataset,
        "weeks": [str(week) for week in weeks],
        "models": lines,
        "targets": said,
    }
    (folder / f"shop_accuracy_{dataset}.json").write_text(
        json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def kept(path: Path, lines: list[dict[str, Any]], weeks: list[str]) -> list[dict[str, Any]]:
    """The results of peers that were not measured now, from the same weeks and the same number of rows before."""
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


def whole(options: Any) -> bool:
    """Whether every week and every peer was asked for; a part of them is for looking, not for the record."""
    return (
        options.every == 1
        and not (options.first or options.last)
        and options.peers is None
        and DEFAULT in options.models
    )


def chosen(dataset: str, names: list[str] | None) -> list[str]:
    """The peers that a dataset has use for: days made of sevenths tell nothing, without plans nothing can be left out, and one is there for its speed."""
    useless: tuple[str, ...] = (DOCUMENTED, "daily" if dataset == "orange_juice" else "no plans")
    if importlib.util.find_spec("skforecast") is None:
        print(
            "skforecast is not installed, so it is not measured; it is one of the packages of the dev extra."
        )
        useless += ("skforecast",)
    return [
        name
        for name in (PEERS if names is None else names)
        if not any(word in name for word in useless)
    ]


def main() -> None:
    parser = shop_data.arguments(__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="*", help=f"of {', '.join(READ)}; all when none is named")
    parser.add_argument("--models", nargs="*", default=[DEFAULT], help="our forecasters by name")
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
    for dataset in options.datasets or READ:
        if shop_data.there(options.data, FOLDERS[dataset]):
            bench(dataset, options)


if __name__ == "__main__":
    main()
