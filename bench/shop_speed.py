"""Claim: a week's forecast is fast, from 100 to 30,000 series of three years.

    python -m bench.shop_speed [--sizes 100 500 5000 30000] [--models poisson_regression]
        [--peers NAME …]
    python -m bench.shop_speed --chain [--sizes 30000]

Other libraries stand beside it, up to 500 series: their cost grows at least with the number of
series. Each measurement is a process of its own, so that its memory is its own, and forecasts a
small chain first, so that no import is timed. With --chain the real commands are measured, from the
sales files to the proposals. Sales are Poisson around series × weekday × month, from a seed.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.lib.reporting import RESULTS, write_results
from tanuki.shop.calendar import Week
from tanuki.shop.forecasting.forecaster import DEFAULT_FORECASTER
from tanuki.shop.forecasts import MAX_ROWS_PER_PART
from tanuki.shop.panel import History, history_from_sales

CACHE_FOLDER = Path(__file__).parents[1] / ".cache" / "bench"
SIZES = (100, 500, 5_000, 30_000)
ITEMS_PER_STORE = {100: 10, 500: 50, 5_000: 50, 30_000: 100}
MAX_PEER_SERIES = 500
PEERS = (
    "statsforecast AutoTheta",
    "mlforecast+LightGBM daily",
    "mlforecast+LightGBM as documented",
    "mlforecast+LightGBM weekly",
)
TARGET = Week(2021, 3)
YEARS = 3
WEEKDAYS = np.array([0.85, 0.9, 0.95, 1.0, 1.05, 1.15, 1.1])
PRICE_YEN = 120
MIN_SPEEDUPS = {
    "statsforecast AutoTheta": 5.0,
    "mlforecast+LightGBM daily": 30.0,
    "mlforecast+LightGBM as documented": 30.0,
}


def make_sales(series: int, seed: int = 1, items: int | None = None) -> pl.DataFrame:
    """[date, store, item, units] of three years up to the end of the target week."""
    random = np.random.default_rng(seed)
    items = items or ITEMS_PER_STORE.get(series, 10)
    days = pl.date_range(TARGET.cutoff - timedelta(days=365 * YEARS - 1), TARGET.sunday, eager=True)
    level = random.gamma(4.0, 5.0, series) + 1.0
    phase = random.integers(0, 12, items)[np.arange(series) % items]
    month, weekday = days.dt.month().to_numpy(), days.dt.weekday().to_numpy() - 1
    season = 1 + 0.3 * np.sin(2 * np.pi * (month[None, :] + phase[:, None]) / 12)
    units = random.poisson(level[:, None] * season * WEEKDAYS[weekday][None, :])
    stores = pl.Series([f"store-{n // items:03d}" for n in range(series)])
    names = pl.Series([f"item-{n % items:03d}" for n in range(series)])
    line = np.repeat(np.arange(series), len(days))
    return pl.DataFrame(
        {
            "date": pl.concat([days] * series),
            "store": stores.gather(line),
            "item": names.gather(line),
            "units": units.ravel().astype(float),
        }
    )


def measure_in_process(model: str, series: int) -> dict[str, Any]:
    """One model on one chain in this process: seconds, memory, and the cost of its orders."""
    from bench.lib.shop_peers import PEERS as PEER_MODELS
    from bench.shop_accuracy import make_forecaster_peer
    from tanuki.shop import scores
    from tanuki.shop.forecasting.forecaster import forecast_quantile

    forecast = PEER_MODELS[model] if model in PEER_MODELS else make_forecaster_peer(model)
    # Libraries are loaded and compiled before anything is timed.
    forecast(history_from_sales(make_sales(10)).build_panel(TARGET))
    panel_s = seconds = processor = 0.0
    frames = []
    for number, part in enumerate(split_series(series), start=1):
        history: History = history_from_sales(
            make_sales(part, seed=number, items=ITEMS_PER_STORE[series])
        )
        start = time.perf_counter()
        panel = history.build_panel(TARGET)
        panel_s += time.perf_counter() - start
        start, processor_start = time.perf_counter(), time.process_time()
        rows = forecast(panel)
        seconds, processor = (
            seconds + time.perf_counter() - start,
            processor + time.process_time() - processor_start,
        )
        week = history.sales.filter(pl.col("date").is_between(TARGET.monday, TARGET.sunday))
        frames.append(
            rows.join(
                week.group_by("store", "item").agg(pl.col("units").sum()), on=["store", "item"]
            )
        )
    rows = pl.concat(frames)
    actual = rows["units"].to_numpy()
    costs = [
        scores.mean_cost(actual, ordered, 3.0)
        for ordered in (forecast_quantile(rows, 0.75), rows["mean"].to_numpy())
    ]
    return {
        "model": model,
        "series": series,
        "seconds": seconds,
        "processor_s": processor,
        "panel_s": panel_s,
        # A peer is compared by the cheaper of its orders.
        "cost_3": min(costs) if model in PEER_MODELS else costs[0],
        "rows": rows.height,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def split_series(series: int) -> list[int]:
    """The series of each part of whole stores, as `forecasts.split_stores` makes them."""
    items = ITEMS_PER_STORE[series]
    per_part = max(1, MAX_ROWS_PER_PART // (items * 365 * YEARS)) * items
    return [min(per_part, series - n) for n in range(0, series, per_part)]


def measure_models(sizes: list[int], models: list[str], peers: list[str]) -> None:
    """Measure every model on every chain, print the table and targets, and write them."""
    lines = []
    for series in sizes:
        for model in [*models, *(peers if series <= MAX_PEER_SERIES else [])]:
            done = subprocess.run(
                [sys.executable, "-m", "bench.shop_speed", "--one", model, "--sizes", str(series)],
                check=True,
                capture_output=True,
                text=True,
            )
            lines.append(json.loads(done.stdout.splitlines()[-1]))
            print(format_row(lines[-1]), flush=True)
        if series > MAX_PEER_SERIES and peers:
            print(f"{series:,} series: peers are skipped above {MAX_PEER_SERIES}.")
    print(f"\n{format_head()}")
    for line in lines:
        print(format_row(line))
    targets = [text for model in models for text in check_targets(model, lines)]
    print("\n" + "\n".join(targets))
    folder = (
        RESULTS if set(SIZES) <= set(sizes) and set(PEERS) <= set(peers) else CACHE_FOLDER
    )  # a part of them is for looking, not for the record
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shop_speed.json").write_text(
        json.dumps({"models": lines, "targets": targets}, indent=1) + "\n", encoding="utf-8"
    )


def format_head() -> str:
    """The head of the table in Markdown."""
    names = (
        "model",
        "series",
        "fit and predict, s",
        "processor, s",
        "cut the panel, s",
        "cost 3:1",
        "peak, GiB",
    )
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def format_row(line: dict[str, Any]) -> str:
    """A measurement as a line of the table."""
    numbers = (
        line["seconds"],
        line["processor_s"],
        line["panel_s"],
        line["cost_3"],
        line["peak_gib"],
    )
    cells = " | ".join(f"{number:.2f}" for number in numbers)
    return f"| {line['model']} | {line['series']:,} | {cells} |"


def check_targets(model: str, lines: list[dict[str, Any]]) -> list[str]:
    """Speed and cost beside each peer at MAX_PEER_SERIES series, and how time grows with size."""
    by_size = {line["series"]: line for line in lines if line["model"] == model}
    targets = []
    for peer, times in MIN_SPEEDUPS.items():
        peer_lines = [
            line for line in lines if line["model"] == peer and line["series"] == MAX_PEER_SERIES
        ]
        if peer_lines and MAX_PEER_SERIES in by_size:
            own = by_size[MAX_PEER_SERIES]
            faster, dearer = (
                peer_lines[0]["seconds"] / own["seconds"],
                own["cost_3"] / peer_lines[0]["cost_3"],
            )
            targets.append(
                f"{format_verdict(faster >= times)} {model} is {faster:.1f} × as fast as {peer}"
                f" at {MAX_PEER_SERIES} series (at least {times:.0f} ×)"
            )
            targets.append(
                f"{format_verdict(dearer <= 1)} its orders at 3:1 cost {dearer:.3f} × {peer}'s"
                " (at most 1)"
            )
    if MAX_PEER_SERIES in by_size and max(by_size) > MAX_PEER_SERIES:
        last = by_size[max(by_size)]
        for key in ("seconds", "panel_s"):
            exponent = math.log(last[key] / by_size[MAX_PEER_SERIES][key]) / math.log(
                last["series"] / MAX_PEER_SERIES
            )
            what = "fit and predict" if key == "seconds" else "cutting the panel"
            targets.append(
                f"{format_verdict(exponent <= 1.1)} {what}: growth exponent {exponent:.2f}"
                f" from {MAX_PEER_SERIES} to {last['series']:,} series (at most 1.1)"
            )
    return targets


def format_verdict(met: bool) -> str:
    return "ok  " if met else "MISS"


def measure_chain(series: int, workers: int) -> None:
    """Import 36 monthly files and run one week to its proposals by the real commands.

    The week's parts are run by `workers` processes: the command's own, and `tanuki worker`.
    """
    tanuki = str(Path(sys.executable).with_name("tanuki"))
    with tempfile.TemporaryDirectory() as folder:
        files = write_monthly_files(series, Path(folder) / "files")
        environment = {**os.environ, "TANUKI_HOME": str(Path(folder) / "home")}
        masters = [
            argument
            for kind in ("stores", "items", "prices")
            for argument in (f"--{kind}", str(Path(folder) / "files" / f"{kind}.csv"))
        ]
        sales = [argument for file in files for argument in ("--sales", str(file))]
        steps = {
            "import of the masters": [tanuki, "shop", "import", *masters],
            f"import of {len(files)} months of sales": [tanuki, "shop", "import", *sales],
            f"the week {TARGET} to its proposals": [tanuki, "shop", "week", str(TARGET)],
        }
        lines = []
        for what, command in steps.items():
            others = workers - 1 if command[2] == "week" else 0
            lines.append(
                {
                    "what": what,
                    "series": series,
                    "workers": others + 1,
                    **run_with_workers(command, environment, [tanuki, "worker"], others),
                }
            )
            print(lines[-1], flush=True)
    for line in lines:
        print(
            f"{line['what']:34} {line['series']:>8,} series {line['seconds']:>9.1f} s"
            f"   {line['peak_gib']:>6.2f} GiB at most"
        )
    write_results("shop_chain", lines)


def write_monthly_files(series: int, folder: Path) -> list[Path]:
    """The chain's masters and its sales as one CSV a month, up to the cut-off."""
    folder.mkdir()
    sold = make_sales(series).filter(pl.col("date") <= TARGET.cutoff)
    sold = sold.with_columns(pl.col("date").dt.truncate("1mo").alias("month"))
    sold = sold.filter(
        pl.col("month") > sold["month"].min()  # the first of 37 months is not whole
    )
    sold.select(store=pl.col("store").unique(maintain_order=True)).write_csv(folder / "stores.csv")
    items = sold.select(pl.col("item").unique(maintain_order=True))
    items.write_csv(folder / "items.csv")
    items.with_columns(price=pl.lit(PRICE_YEN), applied_from=pl.lit(date(2015, 1, 1))).write_csv(
        folder / "prices.csv"
    )
    files = []
    for (month,), part in sold.partition_by("month", as_dict=True, maintain_order=True).items():
        files.append(folder / f"sales_{month:%Y-%m}.csv")
        part.select(
            "date",
            day_of_week=pl.col("date").dt.strftime("%a").str.to_uppercase(),
            week_of_year=pl.col("date").dt.week(),
            store="store",
            item="item",
            sales=pl.col("units").cast(pl.Int64),
            total_sales_amount=pl.col("units").cast(pl.Int64) * PRICE_YEN,
        ).write_csv(files[-1])
    return files


# A small process starts the command, since Linux reports the peak memory of any child.
PEAK_MEMORY_SCRIPT = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def run_with_workers(
    command: list[str], environment: dict[str, str], other: list[str], others: int
) -> dict[str, float]:
    """Seconds of a command beside `others` more processes, and the sum of their peak memory."""
    start = time.perf_counter()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PEAK_MEMORY_SCRIPT, *other],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(others)
    ]
    done = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY_SCRIPT, *command],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - start
    outputs = [done.stdout]
    for process in workers:
        subprocess.run(
            ["pkill", "-TERM", "-P", str(process.pid)], check=True
        )  # the worker itself, below its starter
        outputs.append(process.communicate(timeout=60)[0])
    return {"seconds": seconds, "peak_gib": sum(int(text.split()[-1]) for text in outputs) / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=None)
    parser.add_argument("--models", nargs="*", default=[DEFAULT_FORECASTER])
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    parser.add_argument(
        "--chain", action="store_true", help="measure the commands from files to proposals"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="worker processes of the chain's week"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_in_process(options.one, options.sizes[0])))
    elif options.chain:
        for series in options.sizes or [SIZES[-1]]:
            measure_chain(series, options.workers)
    else:
        measure_models(options.sizes or list(SIZES), options.models, options.peers)


if __name__ == "__main__":
    main()
