"""How near the oracle anybody can come: a forecaster who knows how the example world works, but of its weather and moods only the past.

It knows each day's factors and the law of chance as they are drawn. Moods it must filter from past demand (Kalman's filter, which is best
for them), weather ahead it knows only in distribution. Nothing that learns from sales can do better, so what is left of its cost over the
oracle's is out of reach. `python bench/shop_reach.py [WEEKS [SEEDS]]`
"""

import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from tanuki.shop.commands.simulate import LAST_DAY
from tanuki.shop.ordering import LEVELS
from tanuki.shop.simulation import closed_loop, personas, scenarios
from tanuki.shop.simulation import demand as world
from tanuki.shop.simulation.inventory import WEEK, Counts, Lived, Order
from tanuki.shop.simulation.policies import POLICIES, by_rule
from tanuki.shop.simulation.scenarios import Scene

RESULTS = Path(__file__).parent / "results" / "shop_reach.json"
WEEKS, SEEDS = 52, 3
DRAWS = 1000


def knower(scene: Scene, *, seed: int, knows_mood: bool, knows_weather: bool) -> Order:
    """Orders by the rule from draws of the two weeks as the world would draw them. It may be told last week's mood, or the weather ahead."""
    made = world.nature(seed, scene.monday + timedelta(days=len(scene.demand) - 1))
    days, weeks = len(scene.demand), len(scene.demand) // WEEK
    _, mood = world.taste_and_mood(seed, len(made.days) // WEEK)
    unusual = (made.degrees - world.climate(made.days))[:days]
    region = personas.region_of_store()
    warmth = np.array([item.warmth for item in personas.ITEMS]) / 10
    without_mood = made.expected / np.exp(np.repeat(mood, WEEK, axis=0)[:days])
    usual = without_mood / np.exp(warmth * unusual[:, region, None])
    believed, unsure = filtered(
        scene.demand.reshape(weeks, WEEK, *mood.shape[1:]),
        without_mood.reshape(weeks, WEEK, *mood.shape[1:]),
    )
    if knows_mood:
        believed[1:], unsure[1:] = world.MOOD_MEMORY * mood[: weeks - 1], world.MOOD_SPREAD**2

    def order(week: int, lived: Lived) -> Counts:
        rng = np.random.default_rng([seed, 99, week])
        ahead = slice(week * WEEK, (week + 2) * WEEK)
        first = believed[week] + np.sqrt(unsure[week]) * rng.normal(size=(DRAWS, *mood.shape[1:]))
        second = world.MOOD_MEMORY * first + rng.normal(0.0, world.MOOD_SPREAD, first.shape)
        weather = (
            unusual[None, ahead] if knows_weather else weather_ahead(unusual[week * WEEK - 1], rng)
        )
        mean = usual[ahead] * np.exp(
            warmth * weather[:, :, region, None]
            + np.repeat(np.stack([first, second], axis=1), WEEK, axis=1)
        )
        drawn = rng.poisson(mean * rng.gamma(world.NOISE_SHAPE, 1 / world.NOISE_SHAPE, mean.shape))
        two = drawn.reshape(DRAWS, 2, WEEK, *mood.shape[1:]).sum(axis=2)
        units = np.concatenate([two, two.sum(axis=1, keepdims=True)], axis=1)
        return by_rule(
            scene,
            week,
            lived,
            np.moveaxis(
                np.concatenate([np.quantile(units, LEVELS, axis=0), units.mean(axis=0)[None]]),
                0,
                -1,
            ),
        )

    return order


def filtered(demand: Counts, without_mood: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What weeks before say of each week's mood: its mean and variance. [week, store, item]"""
    seen = np.log(np.maximum(demand.sum(axis=1), 0.5) / without_mood.sum(axis=1))
    chance = (without_mood + without_mood**2 / world.NOISE_SHAPE).sum(axis=1) / without_mood.sum(
        axis=1
    ) ** 2
    mean, variance = (
        np.zeros(seen.shape),
        np.full(seen.shape, world.MOOD_SPREAD**2 / (1 - world.MOOD_MEMORY**2)),
    )
    for week in range(len(seen) - 1):
        gain = variance[week] / (variance[week] + chance[week])
        mean[week + 1] = world.MOOD_MEMORY * (mean[week] + gain * (seen[week] - mean[week]))
        variance[week + 1] = (
            world.MOOD_MEMORY**2 * variance[week] * (1 - gain) + world.MOOD_SPREAD**2
        )
    return mean, variance


def weather_ahead(today: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two weeks of degrees above the usual, from today's. [draw, day, region]"""
    path = [np.repeat(today[None], DRAWS, axis=0)]
    for _ in range(2 * WEEK):
        steps = rng.normal(0.0, world.WEATHER_SPREAD, (DRAWS, len(today) + 1))
        path.append(
            world.WEATHER_MEMORY * path[-1] + world.WEATHER_SHARE * (steps[:, :-1] + steps[:, -1:])
        )
    return np.stack(path[1:], axis=1)


def lived(job: tuple[int, int]) -> pl.DataFrame:
    """The ledgers of one seed."""
    seed, weeks = job
    scene = scenarios.example(seed, LAST_DAY, weeks)
    kinds: dict[str, Callable[[Scene], Order]] = {
        "knows the world": partial(knower, seed=seed, knows_mood=False, knows_weather=False),
        "and the weather": partial(knower, seed=seed, knows_mood=False, knows_weather=True),
        "and last week's mood": partial(knower, seed=seed, knows_mood=True, knows_weather=True),
    }
    POLICIES.update(kinds)
    ledgers = [closed_loop.run(scene, name) for name in ("managers", "oracle", *kinds)]
    return pl.concat(ledgers).select(pl.lit(seed).alias("seed"), pl.all())


def main() -> None:
    weeks, seeds = (*map(int, sys.argv[1:]), *(WEEKS, SEEDS)[len(sys.argv) - 1 :])
    with ProcessPoolExecutor() as pool:
        ledgers = pl.concat(pool.map(lived, [(seed, weeks) for seed in range(1, seeds + 1)]))
    by_seed = {
        seed: closed_loop.compared(part)
        for (seed,), part in ledgers.group_by("seed", maintain_order=True)
    }
    altogether = closed_loop.compared(ledgers)
    for name, rows in [
        *((f"seed {seed}", rows) for seed, rows in by_seed.items()),
        (f"{seeds} seeds", altogether),
    ]:
        for row in rows:
            print(
                f"{name:8}  {row['policy']:22} fill rate {row['fill_rate']:7.2%}  yen {row['yen']:12,.0f}  to managers {row['to_managers']:5.3f}  to oracle {row['to_oracle']:5.3f}"
            )
    if len(sys.argv) == 1:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(
            json.dumps({"weeks": weeks, "all": altogether, "seeds": by_seed}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
