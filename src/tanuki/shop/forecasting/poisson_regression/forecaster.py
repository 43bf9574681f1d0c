"""One multiplicative Poisson regression for all stores and items: what one series cannot tell alone, it borrows from the others.

units ~ base(series) × weekday(series) × month(item) × event(item, store) × payday × period(item) × what is paid and promoted × warmth, times how the
series did lately. Every factor is the ratio of what was sold to what the others expect, drawn towards its prior as if some more units had
been sold just as the prior says.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tanuki.shop.features import Grid, Numbers
from tanuki.shop.features import grid as grid_of
from tanuki.shop.forecasting.forecaster import explanation, forecast
from tanuki.shop.forecasting.poisson_regression import residual_boosting, smoothing
from tanuki.shop.forecasting.poisson_regression.calendar_effects import codes
from tanuki.shop.forecasting.poisson_regression.dispersion import Spread, measure, quantiles
from tanuki.shop.forecasting.poisson_regression.fit import (
    Effects,
    Learner,
    Settings,
    learn,
    summing,
)
from tanuki.shop.forecasting.poisson_regression.regressors import KINDS, Causes, causes, kind_of
from tanuki.shop.forecasting.poisson_regression.smoothing import FOLLOWERS, RECENT_WEEKS
from tanuki.shop.panel import Panel

TWO_YEARS = 104  # weeks: with fewer an item's months take the place of its level


@dataclass
class Pooled:
    """The regression as a forecaster."""

    settings: Settings = field(default_factory=Settings)
    effects: Effects | None = None
    spread: Spread | None = None
    weights: list[float] = field(default_factory=list)
    booster: Any = None  # the second opinion
    share: float = 0.0  # how much it counts
    name: str = "pooled"

    @property
    def parameters(self) -> dict[str, float]:
        return {key: float(value) for key, value in asdict(self.settings).items()}

    def fit(self, panel: Panel) -> None:
        grid = grid_of(panel)
        if grid.keys.height == 0:
            return
        moved_by = causes(grid, panel, grid.days)
        settings, learner = with_months_of_items(grid, moved_by, self.settings)
        self.weights, self.share, self.spread, learner = past_weeks(
            grid, moved_by, settings, learner
        )
        self.effects = learn(grid, moved_by, settings, learner).effects()
        self.booster = None
        if self.share > 0:
            shape = shape_of(self.effects, grid, grid.days, moved_by)
            self.booster = residual_boosting.learn(
                residual_boosting.Weeks(grid, shape, moved_by), len(grid.days) // 7
            )

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = grid_of(panel)
        if grid.keys.height == 0 or self.effects is None or self.spread is None:
            return forecast(panel, grid.keys.clear(), [], [])
        parts, mean, _ = self.ahead(grid, panel)
        then = {name: part[:, -14:] for name, part in parts.items()}
        days = [*panel.target.buffer.days, *panel.target.days]
        share = np.sqrt(
            self.spread.shares(grid.keys["item"].to_list(), moves(then))
            + unseen_weeks(self.effects, days)[:, None] ** 2
        )
        totals = [mean[0], mean[1], mean.sum(axis=0)]
        made = [
            quantiles(total, share[n], self.spread.levels, self.spread.family)
            for n, total in enumerate(totals)
        ]
        return forecast(panel, grid.keys, made, list(mean))

    def explain(self, panel: Panel) -> pl.DataFrame:
        grid = grid_of(panel)
        if grid.keys.height == 0 or self.effects is None:
            return explanation(grid.keys.clear(), {})
        parts, mean, level = self.ahead(grid, panel)
        last, then = slice(-21, -14), slice(-7, None)
        now = {name: part[:, last] for name, part in parts.items()}
        before = product(now).sum(axis=1) * level[1]
        found = {"last": np.nan_to_num(grid.units[:, -7:]).sum(axis=1)}
        found["level"] = before - found["last"]
        for name in now:  # one part after the other from the last known week's days to the target's
            now[name] = parts[name][:, then]
            after = product(now).sum(axis=1) * level[1]
            found[name] = found.get(name, 0.0) + after - before
            before = after
        found["promotion"] = (
            found.get("promotion", 0.0) + mean[1] - before
        )  # the second opinion is about prices and promotions
        return explanation(grid.keys, found)

    def ahead(self, grid: Grid, panel: Panel) -> tuple[dict[str, Numbers], Numbers, Numbers]:
        """The parts of the last weeks' days and the fourteen to forecast; the means of the two weeks and the level in them: 2 × lines."""
        effects, days = needed(self.effects), [*panel.target.buffer.days, *panel.target.days]
        recent = grid.last(RECENT_WEEKS * 7)
        past = len(recent.days)
        first, end = len(grid.days) - past, len(grid.days) + len(days)
        moved_by = causes(grid, panel, [*grid.days, *days]).between(first, end)
        parts = parts_of(effects, grid, [*recent.days, *days], moved_by)
        shape = product(parts)
        sold, due, around = smoothing.weekly_sums(recent, shape[:, :past], effects.burst)
        level = np.tensordot(
            self.weights, smoothing.ahead(grid, sold, due, around, effects.growth), axes=1
        )
        mean = weeks_of(shape[:, past:]) * level
        if self.booster is not None:
            weeks = residual_boosting.Weeks(recent, shape, moved_by)
            mean = residual_boosting.mixed(
                mean, residual_boosting.means(self.booster, weeks, past // 7), self.share
            )
        return parts, mean, level

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        parts = {
            "effects": {} if self.effects is None else asdict(self.effects),
            "spread": {} if self.spread is None else asdict(self.spread),
        }
        arrays = {
            f"{part}.{key}": value
            for part, kept in parts.items()
            for key, value in kept.items()
            if isinstance(value, np.ndarray)
        }
        np.savez(folder / "pooled.npz", allow_pickle=False, **arrays)
        rest = {
            part: {key: value for key, value in kept.items() if not isinstance(value, np.ndarray)}
            for part, kept in parts.items()
        }
        if self.booster is not None:
            (folder / "opinion.txt").write_text(self.booster.model_to_string(), encoding="utf-8")
        text = json.dumps(
            {
                "settings": asdict(self.settings),
                "weights": self.weights,
                "share": self.share,
                **rest,
            },
            ensure_ascii=False,
        )
        (folder / "pooled.json").write_text(text, encoding="utf-8")

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / "pooled.json").read_text(encoding="utf-8"))
        self.settings, self.weights, self.share = (
            Settings(**kept["settings"]),
            kept["weights"],
            kept["share"],
        )
        if (folder / "opinion.txt").exists():
            import lightgbm

            self.booster = lightgbm.Booster(
                model_str=(folder / "opinion.txt").read_text(encoding="utf-8")
            )
        with np.load(folder / "pooled.npz", allow_pickle=False) as arrays:
            for part in ("effects", "spread"):
                kept[part] |= {
                    key.split(".", 1)[1]: arrays[key]
                    for key in arrays
                    if key.startswith(f"{part}.")
                }
        self.effects = Effects(**kept["effects"]) if kept["effects"] else None
        self.spread = Spread(**kept["spread"]) if kept["spread"] else None


def needed(effects: Effects | None) -> Effects:
    """The effects. Raises ValueError before anything was learnt."""
    if effects is None:
        raise ValueError("nothing was learnt yet; fit comes first")
    return effects


def with_months_of_items(
    grid: Grid, moved_by: Causes, settings: Settings
) -> tuple[Settings, Learner | None]:
    """The settings with items' months as free as the last past weeks were best forecast with, and what was learnt with them; nothing is tried before two years are known.

    Weeks are compared by item and within each item's level, since it is its season that is asked for.
    """
    origin = len(grid.days) // 7 - settings.origins * settings.apart
    if origin < TWO_YEARS:
        return settings, None
    columns, end = 7 * origin, 7 * (len(grid.days) // 7)
    past, before, of_item = (
        grid.known_to(columns),
        moved_by.between(0, columns),
        summing(grid.item, len(grid.items)),
    )
    known = np.isfinite(grid.units[:, columns:end]) & ~grid.sold_out[:, columns:end]
    sold = weeks_of(of_item @ np.where(known, grid.units[:, columns:end], 0.0))
    tried: list[tuple[float, Settings, Learner]] = []
    for counts in (settings.item_month_counts, settings.free_month_counts):
        chosen = replace(settings, item_month_counts=counts)
        learner = learn(past, before, chosen, tried[0][2] if tried else None)
        shape = shape_of(
            learner.effects(), past, grid.days[columns:end], moved_by.ahead(columns, end)
        )
        due = weeks_of(of_item @ np.where(known, shape, 0.0))
        due *= sold.sum(axis=0) / np.maximum(due.sum(axis=0), 1e-9)
        tried.append((float(((sold - due) ** 2 / np.maximum(due, 1.0)).sum()), chosen, learner))
    return min(tried, key=lambda each: each[0])[1:]


def past_weeks(
    grid: Grid, moved_by: Causes, settings: Settings, learner: Learner | None
) -> tuple[list[float], float, Spread, Learner | None]:
    """The followers' weights, the second opinion's share and the spread, over past weeks forecast as if they were ahead; and the last learner.

    Each week is learnt anew, from what was learnt for the one before; the first from `learner`, where there is one. Weeks that sold out do not count.
    """
    origins = list(range(len(grid.days) // 7 - 2, 5, -settings.apart))[: settings.origins][::-1]
    booster: Any = None
    lines = grid.keys.height
    means = np.full((len(FOLLOWERS), len(origins), 2, lines), np.nan)
    actual, unseen = np.full((len(origins), 3, lines), np.nan), np.zeros((len(origins), 3))
    stretch, opinions = (
        np.zeros((len(origins), 3, lines)),
        np.full((len(origins), 2, lines), np.nan),
    )
    for n, origin in enumerate(origins):
        columns = 7 * origin
        past, end = grid.known_to(columns), 7 * (origin + 2)
        before = moved_by.between(0, columns)
        learner = learn(past, before, settings, learner)
        effects = learner.effects()
        recent = past.last(RECENT_WEEKS * 7)
        first = columns - len(recent.days)
        shape = shape_of(effects, past, recent.days, moved_by.between(first, columns))
        then = parts_of(effects, past, grid.days[columns:end], moved_by.ahead(columns, end))
        daily = product(then)
        ahead, stretch[n] = weeks_of(daily), moves(then)
        sold, due, around = smoothing.weekly_sums(recent, shape, effects.burst)
        begun = np.isfinite(past.units).any(axis=1)
        means[:, n] = np.where(
            begun, ahead * smoothing.ahead(past, sold, due, around, effects.growth), np.nan
        )
        if n % residual_boosting.AGAIN == 0 and (
            booster is not None or (n == 0 and moved_far(effects, past, before))
        ):
            booster = residual_boosting.learn(
                residual_boosting.Weeks(past, shape_of(effects, past, past.days, before), before),
                origin,
            )
        if booster is not None:
            weeks = residual_boosting.Weeks(
                recent, np.concatenate([shape, daily], axis=1), moved_by.between(first, end)
            )
            opinions[n] = residual_boosting.means(booster, weeks, len(recent.days) // 7)
        week = grid.units[:, columns:end].reshape(lines, 2, 7).sum(axis=2).T
        out = grid.sold_out[:, columns:end].reshape(lines, 2, 7).any(axis=2).T
        week = np.where(out, np.nan, week)
        actual[n] = [week[0], week[1], week.sum(axis=0)]
        unseen[n] = unseen_weeks(effects, grid.days[columns:end])
    weight = (
        smoothing.weights(losses(actual, means))
        if origins
        else np.full(len(FOLLOWERS), 1 / len(FOLLOWERS))
    )
    mean, share = np.tensordot(weight, means, axes=1), 0.0
    if booster is not None:
        tried = np.stack(
            [residual_boosting.mixed(mean, opinions, each) for each in residual_boosting.SHARES]
        )
        share = float(smoothing.weights(losses(actual, tried)) @ np.array(residual_boosting.SHARES))
        mean = residual_boosting.mixed(mean, opinions, share)
    mean = np.concatenate([mean, mean.sum(axis=1, keepdims=True)], axis=1)
    return (
        [float(w) for w in weight],
        share,
        measure(grid, actual, mean, unseen, stretch, settings.least_spread),
        learner,
    )


def losses(actual: Numbers, means: Numbers) -> Numbers:
    """What each of several ways to forecast past weeks missed: ways × origins × 2 × lines; squared errors in their usual size, the largest cut."""
    missed = (actual[None, :, :2] - means) ** 2
    middle = means.mean(axis=0)
    relative = (missed.mean(axis=0) - middle) / np.maximum(middle, 1.0) ** 2
    usual = max(
        float(np.nanmedian(relative)) * 2 if np.isfinite(relative).any() else 0.0, 0.05**2
    )  # of squares, twice the median is about the mean
    away = missed / np.maximum(middle + usual * middle**2, 1.0)
    return np.asarray(np.nansum(np.minimum(away, np.nanquantile(away, 0.99)), axis=(1, 2, 3)))


def moved_far(effects: Effects, grid: Grid, moved_by: Causes) -> bool:
    """Whether prices and promotions move weeks so far that a second opinion is worth its time."""
    chosen = [n for n, name in enumerate(moved_by.names) if kind_of(name) != "weather"]
    if not chosen or not effects.causes:
        return False
    place = [effects.causes.index(moved_by.names[n]) for n in chosen]
    values = [moved_by.values[n][:, ::7] for n in chosen]
    return bool(
        np.log(Causes([], values, values).effect(effects.response[grid.item][:, place])).std()
        > residual_boosting.MOVES_FAR
    )


def shape_of(effects: Effects, grid: Grid, days: Sequence[date], moved_by: Causes) -> Numbers:
    """What is expected of each line on each day were it as in the last period."""
    return product(parts_of(effects, grid, days, moved_by))


def product(parts: Mapping[str, Numbers]) -> Numbers:
    """All parts together."""
    return np.asarray(reduce(np.multiply, parts.values()))


def moves(ahead: Mapping[str, Numbers]) -> Numbers:
    """By how much, as a logarithm, causes move the buffer week, the target week and both: 3 × lines."""
    daily = product(ahead)
    plain = product({name: part for name, part in ahead.items() if name not in KINDS})
    weeks, without = weeks_of(daily), weeks_of(plain)
    both = np.stack([*weeks, weeks.sum(axis=0)]) / np.maximum(
        np.stack([*without, without.sum(axis=0)]), 1e-9
    )
    return np.asarray(np.log(np.maximum(both, 1e-3)))


def parts_of(
    effects: Effects, grid: Grid, days: Sequence[date], moved_by: Causes
) -> dict[str, Numbers]:
    """The factors of each line and day by what they stand for; their product is what is expected. Stores, items and series never seen get what is known of the others."""
    known = {tuple(key): line for line, key in enumerate(effects.keys)}
    lines = np.array([known.get(key, -1) for key in grid.keys.iter_rows()])
    seen = lines >= 0
    store_number = {store: n for n, store in enumerate(effects.stores)}
    item_number = {item: n for n, item in enumerate(effects.items)}
    stores = np.array([store_number.get(store, -1) for store in grid.keys["store"]])
    items = np.array([item_number.get(item, -1) for item in grid.keys["item"]])
    met, sold = (stores >= 0)[:, None], (items >= 0)[:, None]
    prior = np.where(met[:, 0], effects.store[stores], effects.store.mean()) * np.where(
        sold[:, 0], effects.item[items], effects.item.mean()
    )
    base = np.where(seen, effects.base[lines], prior) * np.where(
        sold[:, 0], effects.period[items], 1.0
    )
    on = codes(days)
    parts = {
        "level": base[:, None]
        * (np.where(seen[:, None], effects.series_weekday[lines], 1.0) * effects.weekday)[
            :, on.weekday
        ]
    }
    parts["season"] = (
        np.where(sold, effects.item_month[items], 1.0)[:, on.month] * effects.month[on.month]
    )
    everyone = effects.event[on.event] * effects.detail[on.detail] * effects.payday[on.payday]
    of_event = np.where(sold, effects.item_event[items], 1.0) * np.where(
        met, effects.store_event[stores], 1.0
    )
    parts["holiday"] = of_event[:, on.event] * everyone
    place = {name: k for k, name in enumerate(moved_by.names)}
    response = np.where(sold, effects.response[items], effects.response_of_all)
    for kind in dict.fromkeys(map(kind_of, effects.causes)):
        chosen = [
            (place[name], k)
            for k, name in enumerate(effects.causes)
            if kind_of(name) == kind and name in place
        ]
        if chosen:
            values = [moved_by.values[at] for at, _ in chosen]
            parts[kind] = Causes([], values, values).effect(response[:, [k for _, k in chosen]])
    return parts


def weeks_of(daily: Numbers) -> Numbers:
    """Days added up to weeks: weeks × lines."""
    return np.asarray(daily.reshape(len(daily), -1, 7).sum(axis=2).T)


def unseen_weeks(effects: Effects, days: Sequence[date]) -> Numbers:
    """Of two weeks and both together, the spread that months never seen add."""
    weeks = np.sqrt(effects.unseen)[codes(days).month].reshape(-1, 7).mean(axis=1)
    return np.array([*weeks, weeks.mean()])
