"""How near to the oracle any forecaster can come: what is left of the cost is out of reach.

    python -m bench.shop_reach [WEEKS [SEEDS]]

The reference forecaster knows how the example world works: each day's factors and the distribution
of the noise. It does not know drift and weather ahead. It filters drift from past demand with a
Kalman filter, which is optimal for them, and draws weather from its distribution. Nothing that
learns from sales can do better.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta

import numpy as np
import polars as pl

from bench.lib.reporting import write_results
from bench.shop_cost import compare_by_seed
from tanuki.shop.commands.simulate import DEFAULT_LAST_DAY
from tanuki.shop.features import Numbers
from tanuki.shop.forecasting.forecaster import QUANTILE_LEVELS
from tanuki.shop.simulation.closed_loop import compare_policies, simulate_policy
from tanuki.shop.simulation.demand import (
    DRIFT_MEMORY,
    DRIFT_STEP,
    GAMMA_NOISE_SHAPE,
    WEATHER_MEMORY,
    WEATHER_SHARE,
    WEATHER_STEP_C,
    draw_taste_and_drift,
    normal_temperature,
    simulate_environment,
)
from tanuki.shop.simulation.inventory import DAYS_PER_WEEK, Counts, OrderPolicy, Trajectory
from tanuki.shop.simulation.personas import ITEMS, region_index_of_stores
from tanuki.shop.simulation.policies import apply_ordering_rule, make_policy
from tanuki.shop.simulation.scenarios import Scenario, example_scenario

WEEKS, SEEDS = 52, 3
DRAWS = 1000
REFERENCES = {  # name: (knows last week's drift, knows the weather ahead)
    "knows the world": (False, False),
    "and the weather": (False, True),
    "and last week's drift": (True, True),
}


def make_reference_policy(
    scenario: Scenario, seed: int, *, knows_drift: bool, knows_weather: bool
) -> OrderPolicy:
    """The ordering rule on draws of the two weeks as the world would draw them."""
    last_day = scenario.monday + timedelta(days=len(scenario.demand) - 1)
    world = simulate_environment(seed, last_day)
    days, weeks = len(scenario.demand), len(scenario.demand) // DAYS_PER_WEEK
    _, drift = draw_taste_and_drift(seed, len(world.days) // DAYS_PER_WEEK)
    anomaly = (world.degrees - normal_temperature(world.days))[:days]
    region = region_index_of_stores()
    warmth = np.array([item.demand.warmth for item in ITEMS]) / 10
    without_drift = world.expected / np.exp(np.repeat(drift, DAYS_PER_WEEK, axis=0)[:days])
    usual = without_drift / np.exp(warmth * anomaly[:, region, None])
    shape = (weeks, DAYS_PER_WEEK, *drift.shape[1:])
    mean, variance = filter_drift(scenario.demand.reshape(shape), without_drift.reshape(shape))
    if knows_drift:
        mean[1:], variance[1:] = DRIFT_MEMORY * drift[: weeks - 1], DRIFT_STEP**2

    def draw_demand(week: int, _: Trajectory) -> Numbers:
        rng = np.random.default_rng([seed, 99, week])
        ahead = slice(week * DAYS_PER_WEEK, (week + 2) * DAYS_PER_WEEK)
        first = mean[week] + np.sqrt(variance[week]) * rng.normal(size=(DRAWS, *drift.shape[1:]))
        second = DRIFT_MEMORY * first + rng.normal(0.0, DRIFT_STEP, first.shape)
        weather = anomaly[None, ahead]
        if not knows_weather:
            weather = draw_weather(anomaly[week * DAYS_PER_WEEK - 1], rng)
        drift_ahead = np.repeat(np.stack([first, second], axis=1), DAYS_PER_WEEK, axis=1)
        expected = usual[ahead] * np.exp(warmth * weather[:, :, region, None] + drift_ahead)
        noise = rng.gamma(GAMMA_NOISE_SHAPE, 1 / GAMMA_NOISE_SHAPE, expected.shape)
        demand = rng.poisson(expected * noise)
        two_weeks = demand.reshape(DRAWS, 2, *shape[1:]).sum(axis=2)
        units = np.concatenate([two_weeks, two_weeks.sum(axis=1, keepdims=True)], axis=1)
        quantiles = np.quantile(units, QUANTILE_LEVELS, axis=0)
        return np.moveaxis(np.concatenate([quantiles, units.mean(axis=0)[None]]), 0, -1)

    return apply_ordering_rule(scenario, draw_demand)


def filter_drift(demand: Counts, without_drift: Numbers) -> tuple[Numbers, Numbers]:
    """Mean and variance of each week's log drift given all weeks before. [week, store, item]

    A Kalman filter of the AR(1) drift, observed as log(demand / mean without drift) of a week.
    `demand` and `without_drift` are [week, day, store, item].
    """
    expected = without_drift.sum(axis=1)
    observed = np.log(np.maximum(demand.sum(axis=1), 0.5) / expected)
    noise = (without_drift + without_drift**2 / GAMMA_NOISE_SHAPE).sum(axis=1) / expected**2
    mean = np.zeros(observed.shape)
    variance = np.full(observed.shape, DRIFT_STEP**2 / (1 - DRIFT_MEMORY**2))
    for week in range(len(observed) - 1):
        gain = variance[week] / (variance[week] + noise[week])
        mean[week + 1] = DRIFT_MEMORY * (mean[week] + gain * (observed[week] - mean[week]))
        variance[week + 1] = DRIFT_MEMORY**2 * variance[week] * (1 - gain) + DRIFT_STEP**2
    return mean, variance


def draw_weather(today: Numbers, rng: np.random.Generator) -> Numbers:
    """Two weeks of degrees above normal, from today's. [draw, day, region]"""
    path = [np.repeat(today[None], DRAWS, axis=0)]
    for _ in range(2 * DAYS_PER_WEEK):
        steps = rng.normal(0.0, WEATHER_STEP_C, (DRAWS, len(today) + 1))
        path.append(WEATHER_MEMORY * path[-1] + WEATHER_SHARE * (steps[:, :-1] + steps[:, -1:]))
    return np.stack(path[1:], axis=1)


def simulate_job(job: tuple[int, int]) -> pl.DataFrame:
    """The ledgers of (seed, weeks)."""
    seed, weeks = job
    scenario = example_scenario(seed, DEFAULT_LAST_DAY, weeks)
    orders = {name: make_policy(scenario, name) for name in ("managers", "oracle")}
    for name, (drift, weather) in REFERENCES.items():
        orders[name] = make_reference_policy(
            scenario, seed, knows_drift=drift, knows_weather=weather
        )
    ledgers = [simulate_policy(scenario, name, order) for name, order in orders.items()]
    return pl.concat(ledgers).select(pl.lit(seed).alias("seed"), pl.all())


def main() -> None:
    arguments = [int(argument) for argument in sys.argv[1:]]
    weeks, seeds = [*arguments, *(WEEKS, SEEDS)[len(arguments) :]]
    with ProcessPoolExecutor() as pool:
        ledgers = pl.concat(pool.map(simulate_job, [(seed, weeks) for seed in range(1, seeds + 1)]))
    by_seed, total = compare_by_seed(ledgers), compare_policies(ledgers)
    groups = [(f"seed {seed}", rows) for seed, rows in by_seed.items()]
    for title, rows in [*groups, (f"{seeds} seeds", total)]:
        for row in rows:
            print(
                f"{title:8}  {row['policy']:22} fill rate {row['fill_rate']:7.2%}"
                f"  yen {row['yen']:12,.0f}  to managers {row['to_managers']:5.3f}"
                f"  to oracle {row['to_oracle']:5.3f}"
            )
    if not arguments:
        write_results("shop_reach", {"weeks": weeks, "total": total, "seeds": by_seed})


if __name__ == "__main__":
    main()
