"""How long one week's forecast takes, from 100 to 30,000 series of three years, beside other libraries; with --chain, from the sales files to the proposals.

    python bench/shop_speed.py [--sizes 100 500 5000 30000] [--models pooled] [--peers NAME …]
    python bench/shop_speed.py --chain [--sizes 30000]

Each measurement is a process of its own, so that its memory is its own; a small chain goes first, so that no import is timed. Peers are measured up to 500 series: what they cost grows at least
with the number of series. Sales are Poisson around series × weekday × month, made from a seed.
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

from tanuki.shop.calendar import Week
from tanuki.shop.forecasting.forecaster import DEFAULT
from tanuki.shop.forecasts import PART_ROWS
from tanuki.shop.panel import History, of_sales

RESULTS = Path(__file__).parent / "results"
PART = Path(__file__).parents[1] / ".cache" / "bench"
SIZES = (100, 500, 5_000, 30_000)
ITEMS_A_STORE = {100: 10, 500: 50, 5_000: 50, 30_000: 100}
LARGEST_OF_PEERS = 500
PEERS = (
    "statsforecast AutoTheta",
    "mlforecast+LightGBM daily",
    "mlforecast+LightGBM as documented",
    "mlforecast+LightGBM weekly",
)
TARGET = Week(2021, 3)
YEARS = 3
WEEKDAYS = np.array([0.85, 0.9, 0.95, 1.0, 1.05, 1.15, 1.1])
PRICE = 120
LIMITS = {
    "statsforecast AutoTheta": 5.0,
    "mlforecast+LightGBM daily": 30.0,
    "mlforecast+LightGBM as documented": 30.0,
}


def sales(series: int, seed: int = 1, items: int | None = None) -> pl.DataFrame:
    """[date, store, item, units] of three years up to the end of the target week."""
    random = np.random.default_rng(seed)
    items = items or ITEMS_A_STORE.get(series, 10)
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


def one(model: str, series: int) -> dict[str, Any]:
    """One model on one chain, in this process: seconds to cut the panel, to fit and predict, and what its orders would have cost."""
    from bench.lib.shop_peers import PEERS as KNOWN
    from bench.shop_accuracy import ours
    from tanuki.shop import scores
    from tanuki.shop.forecasting.forecaster import quantile

    forecast = KNOWN[model] if model in KNOWN else ours(model)
    forecast(
        of_sales(sales(10)).panel(TARGET)
    )  # libraries are loaded, and what they compile is compiled, before anything is timed
    cut = seconds = processor = 0.0
    found = []
    for number, part in enumerate(part_sizes(series), start=1):
        history: History = of_sales(sales(part, seed=number, items=ITEMS_A_STORE[series]))
        begun = time.perf_counter()
        panel = history.panel(TARGET)
        cut += time.perf_counter() - begun
        begun, busy = time.perf_counter(), time.process_time()
        made = forecast(panel)
        seconds, processor = (
            seconds + time.perf_counter() - begun,
            processor + time.process_time() - busy,
        )
        week = history.sales.filter(pl.col("date").is_between(TARGET.monday, TARGET.sunday))
        found.append(
            made.join(
                week.group_by("store", "item").agg(pl.col("units").sum()), on=["store", "item"]
            )
        )
    rows = pl.concat(found)
    actual = rows["units"].to_numpy()
    ways = [
        scores.cost(actual, ordered, 3.0)
        for ordered in (quantile(rows, 0.75), rows["mean"].to_numpy())
    ]
    return {
        "model": model,
        "series": series,
        "seconds": seconds,
        "processor_s": processor,
        "panel_s": cut,
        "cost_3": min(ways)
        if model in KNOWN
        else ways[0],  # a peer orders the way that suits it better
        "rows": rows.height,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def part_sizes(series: int) -> list[int]:
    """How many series are forecast together, one part after the other: whole stores, as `forecasts.parts` does it."""
    items = ITEMS_A_STORE[series]
    most = max(1, PART_ROWS // (items * 365 * YEARS)) * items
    return [min(most, series - n) for n in range(0, series, most)]


def measure(sizes: list[int], models: list[str], peers: list[str]) -> None:
    """Every model on every chain, printed, compared and kept."""
    lines = []
    for series in sizes:
        for model in [*models, *(peers if series <= LARGEST_OF_PEERS else [])]:
            done = subprocess.run(
                [sys.executable, __file__, "--one", model, "--sizes", str(series)],
                check=True,
                capture_output=True,
                text=True,
            )
            lines.append(json.loads(done.stdout.splitlines()[-1]))
            print(row(lines[-1]), flush=True)
        if series > LARGEST_OF_PEERS and peers:
            print(f"{series:,} series: peers are skipped above {LARGEST_OF_PEERS}.")
    print(f"\n{heads()}")
    for line in lines:
        print(row(line))
    said = [text for model in models for text in verdicts(model, lines)]
    print("\n" + "\n".join(said))
    folder = (
        RESULTS if set(SIZES) <= set(sizes) and set(PEERS) <= set(peers) else PART
    )  # a part of them is for looking, not for the record
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shop_speed.json").write_text(
        json.dumps({"models": lines, "targets": said}, indent=1) + "\n", encoding="utf-8"
    )


def heads() -> str:
    """The head of the table."""
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


def row(line: dict[str, Any]) -> str:
    """A measurement as a line of the table."""
    numbers = (
        line["seconds"],
        line["processor_s"],
        line["panel_s"],
        line["cost_3"],
        line["peak_gib"],
    )
    return f"| {line['model']} | {line['series']:,} | {' | '.join(f'{number:.2f}' for number in numbers)} |"


def verdicts(model: str, lines: list[dict[str, Any]]) -> list[str]:
    """How many times as fast as each peer at 500 series and at which cost, and how time grows with the number of series."""
    mine = {line["series"]: line for line in lines if line["model"] == model}
    said = []
    for peer, times in LIMITS.items():
        theirs = [
            line for line in lines if line["model"] == peer and line["series"] == LARGEST_OF_PEERS
        ]
        if theirs and LARGEST_OF_PEERS in mine:
            ours = mine[LARGEST_OF_PEERS]
            faster, dearer = (
                theirs[0]["seconds"] / ours["seconds"],
                ours["cost_3"] / theirs[0]["cost_3"],
            )
            said.append(
                f"{verdict(faster >= times)} {model} is {faster:.1f} × as fast as {peer} at {LARGEST_OF_PEERS} series (at least {times:.0f} ×)"
            )
            said.append(
                f"{verdict(dearer <= 1)} its orders at 3:1 cost {dearer:.3f} × {peer}'s (at most 1)"
            )
    if LARGEST_OF_PEERS in mine and max(mine) > LARGEST_OF_PEERS:
        last = mine[max(mine)]
        for key in ("seconds", "panel_s"):
            grown = math.log(last[key] / mine[LARGEST_OF_PEERS][key]) / math.log(
                last["series"] / LARGEST_OF_PEERS
            )
            what = "fit and predict" if key == "seconds" else "cutting the panel"
            said.append(
                f"{verdict(grown <= 1.1)} {what}: growth exponent {grown:.2f} from {LARGEST_OF_PEERS} to {last['series']:,} series (at most 1.1)"
            )
    return said


def verdict(good: bool) -> str:
    return "ok  " if good else "MISS"


def chain(series: int, workers: int) -> None:
    """36 monthly files of sales imported and one week run to its proposals by the real commands, in a folder of their own.

    The week's parts are taken by so many worker processes: the command's own, and `tanuki worker` for each other one.
    """
    tanuki = str(Path(sys.executable).with_name("tanuki"))
    with tempfile.TemporaryDirectory() as folder:
        files = monthly(series, Path(folder) / "files")
        environment = {**os.environ, "TANUKI_HOME": str(Path(folder) / "home")}
        masters = [
            argument
            for kind in ("stores", "items", "prices")
            for argument in (f"--{kind}", str(Path(folder) / "files" / f"{kind}.csv"))
        ]
        imported = [argument for file in files for argument in ("--sales", str(file))]
        steps = {
            "import of the masters": [tanuki, "shop", "import", *masters],
            f"import of {len(files)} months of sales": [tanuki, "shop", "import", *imported],
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
                    **watched(command, environment, [tanuki, "worker"], others),
                }
            )
            print(lines[-1], flush=True)
    for line in lines:
        print(
            f"{line['what']:34} {line['series']:>8,} series {line['seconds']:>9.1f} s   {line['peak_gib']:>6.2f} GiB at most"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "shop_chain.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def monthly(series: int, folder: Path) -> list[Path]:
    """The chain's masters and its sales as one CSV a month, up to the cut-off."""
    folder.mkdir()
    sold = sales(series).filter(pl.col("date") <= TARGET.cutoff)
    sold = sold.with_columns(pl.col("date").dt.truncate("1mo").alias("month"))
    sold = sold.filter(
        pl.col("month") > sold["month"].min()
    )  # 36 months: the first of the three years' 37 is not whole
    sold.select(store=pl.col("store").unique(maintain_order=True)).write_csv(folder / "stores.csv")
    items = sold.select(pl.col("item").unique(maintain_order=True))
    items.write_csv(folder / "items.csv")
    items.with_columns(price=pl.lit(PRICE), applied_from=pl.lit(date(2015, 1, 1))).write_csv(
        folder / "prices.csv"
    )
    made = []
    for (month,), part in sold.partition_by("month", as_dict=True, maintain_order=True).items():
        made.append(folder / f"sales_{month:%Y-%m}.csv")
        part.select(
            "date",
            day_of_week=pl.col("date").dt.strftime("%a").str.to_uppercase(),
            week_of_year=pl.col("date").dt.week(),
            store="store",
            item="item",
            sales=pl.col("units").cast(pl.Int64),
            total_sales_amount=pl.col("units").cast(pl.Int64) * PRICE,
        ).write_csv(made[-1])
    return made


STARTER = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""  # a small process starts what is watched, since Linux tells the most memory that any child ever held


def watched(
    command: list[str], environment: dict[str, str], other: list[str], others: int
) -> dict[str, float]:
    """Wall time of a command with some other processes beside it, and the most memory that each held, added up."""
    begun = time.perf_counter()
    beside = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, *other],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(others)
    ]
    done = subprocess.run(
        [sys.executable, "-c", STARTER, *command],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - begun
    said = [done.stdout]
    for process in beside:
        subprocess.run(
            ["pkill", "-TERM", "-P", str(process.pid)], check=True
        )  # the worker itself, below its starter
        said.append(process.communicate(timeout=60)[0])
    return {"seconds": seconds, "peak_gib": sum(int(text.split()[-1]) for text in said) / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=None)
    parser.add_argument("--models", nargs="*", default=[DEFAULT])
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    parser.add_argument(
        "--chain", action="store_true", help="the real commands from files to proposals instead"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="worker processes of the chain's week"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.sizes[0])))
    elif options.chain:
        for series in options.sizes or [SIZES[-1]]:
            chain(series, options.workers)
    else:
        measure(options.sizes or list(SIZES), options.models, options.peers)


if __name__ == "__main__":
    main()
