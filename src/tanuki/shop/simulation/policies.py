"""Who may order in a simulation: managers by habit, the published practice, our forecasts, and two who know what nobody can.

A policy is made for a scene and then orders on each Monday for the next. All but the managers and the published practice order by the same
rule, so that they differ only in what they know of demand.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.errors import UserError
from tanuki.shop.forecasting import forecaster
from tanuki.shop.ordering import LEVELS, Demand, Line, Stock, propose
from tanuki.shop.simulation.demand import NOISE_SHAPE
from tanuki.shop.simulation.inventory import WEEK, Counts, Lived, Order
from tanuki.shop.simulation.managers import in_cases
from tanuki.shop.simulation.scenarios import Scene

Numbers = NDArray[np.float64]

REFIT = 4  # weeks for which a model is kept before it learns again
PUBLISHED = "lightgbm"  # boosted trees, as published samples use; only their mean is ordered
TAIL = 12.0  # standard deviations beyond the mean that the law of a sum is worked out to


def managers(scene: Scene) -> Order:
    """As they order by habit."""
    return scene.managers.order


def published(scene: Scene) -> Order:
    """The published practice: a point forecast ordered as it is, less what should be left over, in full cases."""
    expect = forecasts(scene, PUBLISHED)

    def order(week: int, lived: Lived) -> Counts:
        buffer, target, _ = expect(week, lived)[..., -1]
        left = np.maximum(0.0, lived.on_hand(week) + lived.deliveries[week] - buffer)
        return np.where(target > left, in_cases(np.maximum(0.0, target - left), scene.rules), 0)

    return order


def ours(scene: Scene, model: str = forecaster.DEFAULT) -> Order:
    """Our forecast's quantiles through the ordering rule."""
    expect = forecasts(scene, model)
    return lambda week, lived: by_rule(scene, week, lived, expect(week, lived))


def oracle(scene: Scene) -> Order:
    """Knows each coming day's expected demand, with its weather and moods, and the law of chance, but not the dice."""
    expected = scene.expected
    if expected is None:
        raise UserError(
            "The oracle needs expected demand, which only the example world knows; leave it out with recorded sales."
        )
    return lambda week, lived: by_rule(
        scene, week, lived, law(expected[week * WEEK : (week + 2) * WEEK])
    )


def clairvoyant(scene: Scene) -> Order:
    """Knows the dice too: what each customer will want. Nobody can; it says what is left when nothing is uncertain."""

    def order(week: int, lived: Lived) -> Counts:
        both = (
            scene.demand[week * WEEK : (week + 2) * WEEK]
            .reshape(2, WEEK, *lived.thrown.shape[1:])
            .sum(axis=1)
        )
        sums = np.concatenate([both, both.sum(axis=0, keepdims=True)]).astype(np.float64)
        return by_rule(scene, week, lived, np.repeat(sums[..., None], len(LEVELS) + 1, axis=-1))

    return order


POLICIES: dict[str, Callable[[Scene], Order]] = {
    "managers": managers,
    "published": published,
    "ours": ours,
    "oracle": oracle,
    "clairvoyant": clairvoyant,
}


def by_rule(scene: Scene, week: int, lived: Lived, known: Numbers) -> Counts:
    """The ordering rule for all stores and items. `known` is [buffer, target and both; store; item; LEVELS and last the mean]."""
    on_hand, coming = lived.on_hand(week), lived.deliveries[week]
    lines = []
    for s, store in enumerate(scene.stores):
        for i in range(len(scene.items)):
            buffer, target, both = (
                Demand(float(each[-1]), tuple(each[:-1].tolist())) for each in known[:, s, i]
            )
            lines.append(
                Line(
                    store,
                    buffer,
                    target,
                    both,
                    scene.rules[i],
                    Stock(float(on_hand[s, i]), float(coming[s, i])),
                )
            )
    return np.array([each.units for each in propose(lines)], dtype=np.int64).reshape(on_hand.shape)


def forecasts(scene: Scene, name: str) -> Callable[[int, Lived], Numbers]:
    """What a model expects on a week's Monday, as `by_rule` takes it; it learns again every REFIT weeks, and looks at the latest sales always."""
    model = forecaster.make(name)
    keys = scene.frame(
        [scene.monday], np.zeros((1, len(scene.stores), len(scene.items)), dtype=np.int64)
    ).select("store", "item")

    def expect(week: int, lived: Lived) -> Numbers:
        nonlocal model
        target = scene.week(week + 1)
        panel = scene.known(week, lived).panel(target)
        if (week - scene.begin) % REFIT == 0:
            model = forecaster.make(name)
            model.fit(panel)
        frame = model.predict(panel)
        found = np.zeros((3, *scene.carried.shape, len(LEVELS) + 1))
        for n, text in enumerate((str(target.buffer), str(target), target.both)):
            rows = keys.join(
                frame.filter(pl.col("week") == text),
                on=["store", "item"],
                how="left",
                maintain_order="left",
            )
            found[n][scene.carried] = (
                rows.select(*forecaster.COLUMNS, "mean").fill_null(0.0).to_numpy()
            )
        return found

    return expect


def law(expected: Numbers) -> Numbers:
    """Quantiles at LEVELS and the mean of a week's demand, the next one's and both together, from two weeks' expected days.

    Each day is Poisson with a mean that a gamma widens, as the example world draws it, and days are drawn apart; the characteristic function
    of a sum is the product of theirs, and its transform the exact law.
    """
    days = expected.reshape(2, WEEK, -1)
    mean = days.sum(axis=1)
    spread = np.sqrt((days + days**2 / NOISE_SHAPE).sum(axis=(0, 1)))
    size = 1 << int(np.ceil(np.log2((mean.sum(axis=0) + TAIL * spread).max() + 2)))
    turns = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size) - 1
    weeks = [
        sum(-NOISE_SHAPE * np.log(1 - day[:, None] / NOISE_SHAPE * turns) for day in week)
        for week in days
    ]
    found = []
    for logs, middle in zip([*weeks, weeks[0] + weeks[1]], [*mean, mean.sum(axis=0)], strict=True):
        below = np.cumsum(np.fft.irfft(np.exp(logs), size, axis=1), axis=1)
        units = [np.argmax(below >= level - 1e-9, axis=1) for level in LEVELS]
        found.append(np.column_stack([*units, middle]))
    return np.stack(found).reshape(3, *expected.shape[1:], len(LEVELS) + 1)
