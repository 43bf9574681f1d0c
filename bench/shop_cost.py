"""What ordering costs in yen: each policy lives through 52 weeks of the example world's true demand, five seeds, the same for all.

What the same orders are worth on recorded sales, week by week without a memory, is measured in `bench/shop_accuracy.py`.
`python bench/shop_cost.py [WEEKS [SEEDS [MODEL]]]` is for a shorter look, or for another model, and keeps no results.
"""

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import polars as pl

from tanuki.shop.commands.simulate import LAST_DAY
from tanuki.shop.forecasting import forecaster
from tanuki.shop.simulation import closed_loop, scenarios
from tanuki.shop.simulation.policies import POLICIES

RESULTS = Path(__file__).parent / "results" / "shop_cost.json"
WEEKS, SEEDS = 52, 5
LIMITS = {
    "fill_rate": 0.99,
    "to_managers": 0.60,
    "to_oracle": 1.35,
}  # ours: at least, at most, at most
COLUMNS = ("fill_rate", "lost", "waste", "stock", "cover_days", "yen", "to_managers", "to_oracle")


def lived(job: tuple[int, str, int, str]) -> tuple[pl.DataFrame, float]:
    """The ledger of one policy under one seed, and the seconds it took."""
    seed, policy, weeks, model = job
    begun = time.perf_counter()
    ledger = closed_loop.run(scenarios.example(seed, LAST_DAY, weeks), policy, model=model)
    return ledger.select(pl.lit(seed).alias("seed"), pl.all()), time.perf_counter() - begun


def line(name: str, row: dict) -> str:
    """A policy's row of the table."""
    shown = {**row, "fill_rate": row["fill_rate"] * 100}
    return f"{name:14}" + "".join(
        f"{shown[key]:14,.2f}"
        if key in ("fill_rate", "cover_days") or "to_" in key
        else f"{shown[key]:14,.0f}"
        for key in COLUMNS
    )


def main() -> None:
    weeks, seeds, model = (
        *sys.argv[1:],
        *(str(WEEKS), str(SEEDS), forecaster.DEFAULT)[len(sys.argv) - 1 :],
    )
    jobs = [
        (seed, policy, int(weeks), model)
        for seed in range(1, int(seeds) + 1)
        for policy in POLICIES
    ]
    with ProcessPoolExecutor() as pool:
        done = list(pool.map(lived, jobs))
    ledgers = pl.concat([ledger for ledger, _ in done])
    by_seed = {
        seed: closed_loop.compared(part)
        for (seed,), part in ledgers.group_by("seed", maintain_order=True)
    }
    altogether = closed_loop.compared(ledgers)
    print(f"{'':14}" + "".join(f"{key:>14}" for key in COLUMNS))
    for name, rows in [
        *((f"seed {seed}", rows) for seed, rows in by_seed.items()),
        (f"{seeds} seeds", altogether),
    ]:
        print(name)
        for row in rows:
            print(line(f"  {row['policy']}", row))
    ours = next(row for row in altogether if row["policy"] == "ours")
    held = {
        key: ours[key] >= limit if key == "fill_rate" else ours[key] <= limit
        for key, limit in LIMITS.items()
    }
    for key, limit in LIMITS.items():
        print(
            f"ours {key:12} {ours[key]:7.3f}   limit {limit:5.2f}   {'ok' if held[key] else 'MISSED'}"
        )
    if len(sys.argv) == 1:
        RESULTS.parent.mkdir(exist_ok=True)
        seconds = {
            name: round(
                sum(
                    took
                    for (_, policy, *_), (_, took) in zip(jobs, done, strict=True)
                    if policy == name
                ),
                1,
            )
            for name in POLICIES
        }
        items = closed_loop.totals(ledgers, ("policy", "item")).to_dicts()
        RESULTS.write_text(
            json.dumps({"weeks": WEEKS, "model": model, "limits": LIMITS, "held": held, "all": altogether, "seeds": by_seed, "items": items, "seconds": seconds}, indent=1) + "\n"
        )  # fmt: skip


if __name__ == "__main__":
    main()
