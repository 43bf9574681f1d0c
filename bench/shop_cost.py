"""Claim: the default policy fills 99 % of demand at 0.6 times the managers' cost or less.

    python -m bench.shop_cost [WEEKS [SEEDS [MODEL]]]

Each policy orders for 52 weeks of the example world's true demand, with five seeds that are the
same for all. With arguments nothing is written. `bench.shop_accuracy` measures the cost of orders
on recorded sales, week by week.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import polars as pl

from bench.lib.reporting import print_target, write_results
from bench.lib.timing import time_call
from tanuki.shop.commands.simulate import DEFAULT_LAST_DAY
from tanuki.shop.forecasting.forecaster import DEFAULT_FORECASTER
from tanuki.shop.simulation.closed_loop import compare_policies, simulate_policy, sum_ledgers
from tanuki.shop.simulation.policies import POLICIES, make_policy
from tanuki.shop.simulation.scenarios import example_scenario

WEEKS, SEEDS = 52, 5
TARGETS = {"fill_rate": 0.99, "to_managers": 0.60, "to_oracle": 1.35}  # fill_rate: at least
COLUMNS = ("fill_rate", "lost", "waste", "stock", "cover_days", "yen", "to_managers", "to_oracle")
TWO_DIGITS = ("fill_rate", "cover_days", "to_managers", "to_oracle")


def simulate_job(job: tuple[int, str, int, str]) -> tuple[pl.DataFrame, float]:
    """The ledger of (seed, policy, weeks, model), and its seconds."""
    seed, policy, weeks, model = job
    scenario = example_scenario(seed, DEFAULT_LAST_DAY, weeks)
    order = make_policy(scenario, policy, model)
    ledger, seconds = time_call(lambda: simulate_policy(scenario, policy, order))
    return ledger.select(pl.lit(seed).alias("seed"), pl.all()), seconds


def format_policy(name: str, row: dict[str, Any]) -> str:
    values = {**row, "fill_rate": row["fill_rate"] * 100}
    cells = [
        f"{values[key]:14,.2f}" if key in TWO_DIGITS else f"{values[key]:14,.0f}" for key in COLUMNS
    ]
    return f"{name:22}" + "".join(cells)


def compare_by_seed(ledgers: pl.DataFrame) -> dict[int, list[dict[str, Any]]]:
    parts = ledgers.group_by("seed", maintain_order=True)
    return {seed: compare_policies(part) for (seed,), part in parts}


def main() -> None:
    arguments = sys.argv[1:]
    defaults = [str(WEEKS), str(SEEDS), DEFAULT_FORECASTER]
    weeks, seeds, model = [*arguments, *defaults[len(arguments) :]]
    jobs = [
        (seed, policy, int(weeks), model)
        for seed in range(1, int(seeds) + 1)
        for policy in POLICIES
    ]
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(simulate_job, jobs))
    ledgers = pl.concat([ledger for ledger, _ in results])
    by_seed, total = compare_by_seed(ledgers), compare_policies(ledgers)
    print(f"{'':22}" + "".join(f"{key:>14}" for key in COLUMNS))
    groups = [(f"seed {seed}", rows) for seed, rows in by_seed.items()]
    for title, rows in [*groups, (f"{seeds} seeds", total)]:
        print(title)
        for row in rows:
            print(format_policy(f"  {row['policy']}", row))
    tanuki = next(row for row in total if row["policy"] == "tanuki")
    met = {
        key: tanuki[key] >= target if key == "fill_rate" else tanuki[key] <= target
        for key, target in TARGETS.items()
    }
    for key, target in TARGETS.items():
        bound = "at least" if key == "fill_rate" else "at most"
        print_target(met[key], f"{key} {tanuki[key]:.3f} ({bound} {target:.2f})")
    if not arguments:
        seconds = dict.fromkeys(POLICIES, 0.0)
        for (_, policy, *_), (_, policy_seconds) in zip(jobs, results, strict=True):
            seconds[policy] += policy_seconds
        write_results(
            "shop_cost",
            {
                "weeks": WEEKS,
                "model": model,
                "targets": TARGETS,
                "met": met,
                "total": total,
                "seeds": by_seed,
                "items": sum_ledgers(ledgers, ("policy", "item")).to_dicts(),
                "seconds": {policy: round(value, 1) for policy, value in seconds.items()},
            },
        )


if __name__ == "__main__":
    main()
