"""One multiplicative Poisson regression for all stores and items: what one series cannot tell alone, it borrows from the others.

units ~ base(series) × weekday × weekday(series) × month × month(item) × event × event(item) × period(item) × price paid, times how the series did lately. Every factor is
the ratio of what was sold to what the others expect, drawn towards its prior as if `…_counts` more units had been sold just as the prior says.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tanuki.shop.features import EVENTS, Codes, Grid, events, on_days
from tanuki.shop.features import grid as grid_of
from tanuki.shop.forecasters import LEADS, QUANTILES, Numbers, forecast
from tanuki.shop.panel import Panel

Known = NDArray[np.bool_]
MOST_ELASTIC = 5.0
RECENT_WEEKS = 18  # looked at for how a series did lately
USUAL_STEP = 0.08  # by how much demand moves from a month to the next, at least, while few months are known


@dataclass(frozen=True)
class Settings:
    """What a data scientist may turn; chosen on rolling weeks of 2020-W40 to 2020-W50 and on other chains' sales (docs/log.md)."""

    base_counts: float = 30.0  # a series' level, towards that of its store and item
    weekday_counts: float = 2000.0  # a series' weekdays, towards everyone's
    month_counts: float = 200.0  # a month, towards the months beside it: only what was never seen is filled from them
    item_month_counts: float = 20_000.0  # an item's month, towards everyone's
    event_counts: float = 5000.0  # a kind of day, towards an ordinary one
    item_event_counts: float = 500.0  # an item's kind of day, towards everyone's
    period_counts: float = 1000.0  # an item's level in a period, towards the periods beside it
    period_weeks: int = 8
    recent_counts: float = 5000.0  # how a series did lately, towards how its item did; less when it is plainly elsewhere
    recent_item_counts: float = 6000.0  # how an item did lately, towards how all did
    recent_weeks: float = 3.0  # sales so many weeks old count half
    price_counts: float = 200.0  # how strongly demand follows price, towards not at all
    rounds: int = 40
    origins: int = 4  # past weeks on which the spread is measured
    least_spread: float = 0.02  # of the level, beyond that of Poisson counts


@dataclass(frozen=True)
class Effects:
    """Every factor of the regression; lines as in the grid it was learnt from."""

    stores: list[str]
    items: list[str]
    store: Numbers  # level of a store; a series never seen gets store × item
    item: Numbers
    keys: list[list[str]]  # store and item of each series
    base: Numbers
    weekday: Numbers  # 7
    series_weekday: Numbers  # series × 7
    month: Numbers  # 12
    item_month: Numbers  # items × 12
    unseen: Numbers  # 12: the variance of a month's logarithm when it was only guessed from the months around it, else 0
    event: Numbers
    item_event: Numbers  # items × events
    period: Numbers  # items, in the last period
    elasticity: float  # demand falls as price to this power
    price: Numbers  # usual price of a series; NaN when never known


@dataclass
class Pooled:
    """The regression as a forecaster; its quantiles are those of a negative binomial whose spread was measured on past weeks."""

    settings: Settings = field(default_factory=Settings)
    effects: Effects | None = None
    spread: list[float] = field(default_factory=lambda: [0.0, 0.0])  # beyond Poisson, as a share of the level; for each lead
    name: str = "pooled"

    @property
    def parameters(self) -> dict[str, float]:
        return {key: float(value) for key, value in asdict(self.settings).items()}

    def fit(self, panel: Panel) -> None:
        grid = grid_of(panel)
        if grid.keys.height == 0:
            return
        price, discount = paid(grid, panel, grid.days)
        self.effects = learn(grid, price, discount, self.settings)
        self.spread = measure_spread(grid, price, discount, self.settings)

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = grid_of(panel)
        if grid.keys.height == 0 or self.effects is None:
            return forecast(panel, grid.keys.clear(), [], [])
        days = [*panel.target.buffer.days, *panel.target.days]
        recent = grid.last(RECENT_WEEKS * 7)
        lately = recent_level(recent, shape_of(self.effects, recent, recent.days, *paid(grid, panel, recent.days)), self.settings)
        mean = weeks_of(shape_of(self.effects, grid, days, *paid(grid, panel, days)) * lately[:, None])
        unseen = unseen_weeks(self.effects, days)
        quantiles = [negative_binomial(mean[lead - 1], float(np.hypot(self.spread[lead - 1], unseen[lead - 1]))) for lead in LEADS]
        return forecast(panel, grid.keys, quantiles, list(mean))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {} if self.effects is None else asdict(self.effects)
        arrays = {key: value for key, value in kept.items() if isinstance(value, np.ndarray)}
        np.savez(folder / "effects.npz", allow_pickle=False, **arrays)
        rest = {key: value for key, value in kept.items() if key not in arrays}
        text = json.dumps({"settings": asdict(self.settings), "spread": self.spread, "effects": rest}, ensure_ascii=False)
        (folder / "pooled.json").write_text(text, encoding="utf-8")

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / "pooled.json").read_text(encoding="utf-8"))
        self.settings, self.spread = Settings(**kept["settings"]), kept["spread"]
        with np.load(folder / "effects.npz", allow_pickle=False) as arrays:
            self.effects = Effects(**kept["effects"], **arrays) if kept["effects"] else None


# ---- learning ------------------------------------------------------------------------------------------------------


class Factors:
    """The factors while they are being learnt: each in turn, given the others."""

    def __init__(self, grid: Grid, relative: Numbers, settings: Settings) -> None:
        self.grid, self.settings = grid, settings
        known = np.isfinite(grid.units)
        self.units = np.where(known, grid.units, 0.0)
        self.relative = np.where(known, np.nan_to_num(relative), 0.0)
        self.prices_move = bool((self.relative != 0).any())
        self.known = known.astype(np.float64)  # days that are known
        kinds = np.stack([*calendar(grid.days), periods(len(grid.days), settings.period_weeks)])
        if not self.prices_move:  # then days of the same kind are as one
            kinds, day_kind = np.unique(kinds, axis=1, return_inverse=True)
            together = onehot(day_kind.reshape(-1))
            self.units, self.known = self.units @ together, self.known @ together
        self.weekdays, self.months, self.events, self.periods = kinds
        self.by_weekday, self.by_month = onehot(self.weekdays, 7), onehot(self.months, 12)
        self.by_event, self.by_period = onehot(self.events, len(EVENTS)), onehot(self.periods)
        self.of_item, self.of_store = onehot(grid.item, len(grid.items)).T, onehot(grid.store, len(grid.stores)).T

        lines, items = len(self.units), len(grid.items)
        self.store = np.ones(len(grid.stores))
        self.item = np.full(items, max(self.units.sum() / max(self.known.sum(), 1), 1e-9))
        self.base = self.item[grid.item].copy()
        self.weekday, self.series_weekday = np.ones(7), np.ones((lines, 7))
        self.month, self.item_month = np.ones(12), np.ones((items, 12))
        self.event, self.item_event = np.ones(len(EVENTS)), np.ones((items, len(EVENTS)))
        self.period = np.ones((items, self.by_period.shape[1]))
        self.elasticity = 0.0

    def expected(self, by: Numbers) -> Numbers:
        """What the factors say should have sold where something is known, added up by weekday, month, event or period."""
        weekly = (self.weekday * self.series_weekday * self.base[:, None])[:, self.weekdays]
        season = (
            (self.month * self.item_month)[:, self.months] * self.period[:, self.periods] * (self.event * self.item_event)[:, self.events]
        )
        daily = self.known * weekly * season[self.grid.item]
        return np.asarray((daily * np.exp(-self.elasticity * self.relative) if self.prices_move else daily) @ by)

    def improve(self) -> None:
        """One round over all factors."""
        kept, sold = self.settings, self.units
        self.weekday = self.weekday * ratio((sold @ self.by_weekday).sum(axis=0), self.expected(self.by_weekday).sum(axis=0))
        self.weekday /= self.weekday.mean()
        ones = np.ones_like(self.series_weekday)
        self.series_weekday = shrunk(sold @ self.by_weekday, self.expected(self.by_weekday), self.series_weekday, ones, kept.weekday_counts)
        around = beside(self.month, circular=True)
        self.month = shrunk(
            (sold @ self.by_month).sum(axis=0), self.expected(self.by_month).sum(axis=0), self.month, around, kept.month_counts
        )
        self.month /= np.exp(np.log(self.month).mean())
        items, ones = self.of_item, np.ones_like(self.item_month)
        self.item_month = shrunk(
            items @ (sold @ self.by_month), items @ self.expected(self.by_month), self.item_month, ones, kept.item_month_counts
        )
        ones = np.ones_like(self.event)
        self.event = shrunk(
            (sold @ self.by_event).sum(axis=0), self.expected(self.by_event).sum(axis=0), self.event, ones, kept.event_counts
        )
        self.event /= self.event[0]
        ones = np.ones_like(self.item_event)
        self.item_event = shrunk(
            items @ (sold @ self.by_event), items @ self.expected(self.by_event), self.item_event, ones, kept.item_event_counts
        )
        self.item_event /= self.item_event[:, :1]
        around = beside(self.period, circular=False)
        self.period = shrunk(
            items @ (sold @ self.by_period), items @ self.expected(self.by_period), self.period, around, kept.period_counts
        )
        self.period /= self.period[:, -1:]
        if self.prices_move:
            self.follow_price()
        self.find_levels()

    def follow_price(self) -> None:
        """One Newton step of the elasticity."""
        expected, counts = self.expected(np.eye(self.known.shape[1])), self.settings.price_counts
        slope = -(self.relative * (self.units - expected)).sum() - self.elasticity * counts
        self.elasticity = float(
            np.clip(self.elasticity + slope / ((self.relative**2 * expected).sum() + counts), -MOST_ELASTIC, MOST_ELASTIC)
        )

    def find_levels(self) -> None:
        """The level of each store, item and series; a series with few sales keeps near the product of its store's and item's."""
        sold, at_one = self.units.sum(axis=1), self.expected(np.ones(self.known.shape[1])) / self.base
        self.item = np.maximum(ratio(self.of_item @ sold, self.of_item @ (at_one * self.store[self.grid.store])), 1e-9)
        self.store = np.maximum(ratio(self.of_store @ sold, self.of_store @ (at_one * self.item[self.grid.item])), 1e-9)
        prior = self.store[self.grid.store] * self.item[self.grid.item]
        self.base = (sold + self.settings.base_counts) / (at_one + self.settings.base_counts / prior)


def learn(grid: Grid, price: Numbers, discount: Numbers, settings: Settings) -> Effects:
    """The effects that explain a grid best, given their priors."""
    usual = usual_price(price)
    found = Factors(grid, relative_price(price, usual, discount), settings)
    for _ in range(settings.rounds):
        found.improve()
    return Effects(
        stores=grid.stores,
        items=grid.items,
        store=found.store,
        item=found.item,
        keys=[list(row) for row in grid.keys.iter_rows()],
        base=found.base,
        weekday=found.weekday,
        series_weekday=found.series_weekday,
        month=found.month,
        item_month=found.item_month,
        unseen=guessed(found.month, found.known.sum(axis=0) @ found.by_month > 0),
        event=found.event,
        item_event=found.item_event,
        period=found.period[:, -1],
        elasticity=found.elasticity,
        price=usual,
    )


def calendar(days: Sequence[date]) -> tuple[Codes, Codes, Codes]:
    """Weekday, month (from 0) and event of each day."""
    return np.array([d.weekday() for d in days]), np.array([d.month - 1 for d in days]), events(days)


def periods(columns: int, weeks: int) -> Codes:
    """The number of each day's period; periods are whole back from the last day, and a short first one goes with the next."""
    back = (columns - 1 - np.arange(columns)) // (7 * weeks)
    back = np.minimum(back, max(columns // (7 * weeks) - 1, 0))
    return np.asarray(back.max() - back)


def usual_price(price: Numbers) -> Numbers:
    """Each line's median price; NaN where none is known."""
    return np.array([np.median(line[np.isfinite(line)]) if np.isfinite(line).any() else np.nan for line in price])


def relative_price(price: Numbers, usual: Numbers, discount: Numbers) -> Numbers:
    """The logarithm of what a customer pays over the usual price; 0 where it is not known to differ."""
    pays = np.where(np.isfinite(price / usual[:, None]), price / usual[:, None], 1.0) * (1 - np.clip(np.nan_to_num(discount), 0.0, 0.95))
    return np.asarray(np.log(np.maximum(pays, 0.05)))


def onehot(codes: Codes, size: int | None = None) -> Numbers:
    """A matrix that sums by code when multiplied with."""
    return np.asarray(np.eye(size or int(codes.max()) + 1)[codes])


def ratio(sold: Numbers, expected: Numbers) -> Numbers:
    """Sold over expected; 1 where nothing was expected."""
    return np.where((expected > 0) & (sold > 0), sold / np.maximum(expected, 1e-12), 1.0)


def shrunk(sold: Numbers, expected: Numbers, factor: Numbers, prior: Numbers, counts: float) -> Numbers:
    """The factor that explains what was sold, drawn to its prior; `expected` still holds the old factor."""
    return np.asarray((sold + counts) / (expected / factor + counts / prior))


def beside(factor: Numbers, *, circular: bool) -> Numbers:
    """For each, the geometric mean of the two beside it in time; at an end that is not circular, the one beside it."""
    log = np.log(factor)
    if log.shape[-1] == 1:
        return np.ones_like(factor)
    before, after = np.roll(log, 1, axis=-1), np.roll(log, -1, axis=-1)
    if not circular:
        before[..., 0], after[..., -1] = after[..., 0], before[..., -1]
    return np.asarray(np.exp((before + after) / 2))


def guessed(month: Numbers, seen: Known) -> Numbers:
    """How uncertain the logarithm of a month never seen is: that of a random walk between the seen months before and after it."""
    if seen.all() or not seen.any():
        return np.zeros(12)
    log = np.log(month)
    steps = [log[n] - log[n - 1] for n in range(12) if seen[n] and seen[n - 1]]
    step = max(float(np.mean(np.square(steps))) if steps else 0.0, USUAL_STEP**2)
    after = [next(d for d in range(12) if seen[(n + d) % 12]) for n in range(12)]
    before = [next(d for d in range(12) if seen[(n - d) % 12]) for n in range(12)]
    return np.array([step * a * b / max(a + b, 1) for a, b in zip(after, before, strict=True)])


# ---- forecasting ---------------------------------------------------------------------------------------------------


def shape_of(effects: Effects, grid: Grid, days: Sequence[date], price: Numbers, discount: Numbers) -> Numbers:
    """What is expected of each line on each day were it as in the last period; stores, items and series never seen get what is known of the others."""
    known = {tuple(key): line for line, key in enumerate(effects.keys)}
    lines = np.array([known.get(key, -1) for key in grid.keys.iter_rows()])
    seen = lines >= 0
    store = dict(zip(effects.stores, effects.store, strict=True))
    item_number = {item: n for n, item in enumerate(effects.items)}
    usual_store, usual_item = float(np.mean(effects.store)), float(np.mean(effects.item))
    items = np.array([item_number.get(item, -1) for item in grid.keys["item"]])
    prior = np.array([store.get(key, usual_store) for key in grid.keys["store"]]) * np.where(items >= 0, effects.item[items], usual_item)
    base = np.where(seen, effects.base[lines], prior) * np.where(items >= 0, effects.period[items], 1.0)
    weekday, month, event = calendar(days)
    by_weekday = np.where(seen[:, None], effects.series_weekday[lines], 1.0) * effects.weekday
    by_month = np.where((items >= 0)[:, None], effects.item_month[items], 1.0) * effects.month
    by_event = np.where((items >= 0)[:, None], effects.item_event[items], 1.0) * effects.event
    shape = base[:, None] * by_weekday[:, weekday] * by_month[:, month] * by_event[:, event]
    if effects.elasticity:
        usual = np.where(seen, effects.price[lines], np.nan)
        shape *= np.exp(-effects.elasticity * relative_price(price, usual, discount))
    return np.asarray(shape)


def paid(grid: Grid, panel: Panel, days: Sequence[date]) -> tuple[Numbers, Numbers]:
    """Price and discount of each line on each of the days; NaN where none is known."""
    return on_days(grid.keys, days, panel.prices, "price_yen"), on_days(grid.keys, days, panel.promotions, "discount")


def weeks_of(daily: Numbers) -> Numbers:
    """Days added up to weeks: weeks × lines."""
    return np.asarray(daily.reshape(len(daily), -1, 7).sum(axis=2).T)


def unseen_weeks(effects: Effects, days: Sequence[date]) -> Numbers:
    """Per week of `days`, the spread that months never seen add to it."""
    _, month, _ = calendar(days)
    return np.asarray(np.sqrt(effects.unseen)[month].reshape(-1, 7).mean(axis=1))


def recent_level(grid: Grid, expected: Numbers, settings: Settings) -> Numbers:
    """How each line did lately against what was expected of it: drawn to its item's way, and that to everyone's."""
    age = np.arange(len(grid.days))[::-1] / 7
    weight = 0.5 ** (age / settings.recent_weeks) * np.isfinite(grid.units)
    sold, due = (np.nan_to_num(grid.units) * weight).sum(axis=1), (expected * weight).sum(axis=1)
    everyone = sold.sum() / due.sum() if due.sum() > 0 else 1.0
    of_item = onehot(grid.item, len(grid.items)).T
    item = (of_item @ sold + settings.recent_item_counts * everyone) / (of_item @ due + settings.recent_item_counts)
    prior = item[grid.item]
    counts = settings.recent_counts
    surprise = (sold - prior * due) ** 2 / (np.maximum(prior * due, 1e-9) + (prior * due) ** 2 / counts)  # squared, in standard deviations
    counts = counts * np.minimum(1.0, 5 / (4 + surprise))  # a prior with heavy tails (Student's t): a level that jumped is believed
    return np.asarray((sold + counts * prior) / (due + counts))


# ---- the spread ----------------------------------------------------------------------------------------------------


def measure_spread(grid: Grid, price: Numbers, discount: Numbers, settings: Settings) -> list[float]:
    """Per lead, the spread beyond Poisson counts as a share of the level, over past weeks forecast as if they were ahead; learnt anew for each."""
    weeks = len(grid.days) // 7
    origins = list(range(weeks - 2, 5, -2))[: settings.origins]
    excess, level = np.zeros((len(LEADS), len(origins))), np.zeros((len(LEADS), len(origins)))
    for n, origin in enumerate(origins):
        columns, ahead = 7 * origin, slice(7 * origin, 7 * (origin + 2))
        past = grid.known_to(columns)
        begun = np.isfinite(past.units).any(axis=1)
        effects = learn(past, price[:, :columns], discount[:, :columns], replace(settings, rounds=max(settings.rounds // 2, 10)))
        recent = past.last(RECENT_WEEKS * 7)
        lately = slice(columns - len(recent.days), columns)
        ratios = recent_level(recent, shape_of(effects, recent, recent.days, price[:, lately], discount[:, lately]), settings)
        mean = weeks_of(shape_of(effects, past, grid.days[ahead], price[:, ahead], discount[:, ahead]) * ratios[:, None])
        actual = grid.units[:, ahead].reshape(len(mean.T), 2, 7).sum(axis=2).T
        counts = begun & np.isfinite(actual)
        unseen = unseen_weeks(effects, grid.days[ahead])[:, None]
        error = np.where(counts, (actual - mean) ** 2 - mean - (unseen * mean) ** 2, 0.0)
        excess[:, n], level[:, n] = error.sum(axis=1), (np.where(counts, mean, 0.0) ** 2).sum(axis=1)
    least = np.full(len(LEADS), settings.least_spread**2)
    measured = np.maximum(excess.sum(axis=1) / np.maximum(level.sum(axis=1), 1e-9), least) if origins else least * 25
    return [float(value) for value in np.sqrt(measured)]


def negative_binomial(mean: Numbers, spread: float) -> Numbers:
    """Quantiles of counts with this mean and a variance of mean + (spread × mean)²: lines × QUANTILES."""
    from scipy.stats import nbinom

    size = 1 / spread**2
    return np.asarray(nbinom.ppf(np.array(QUANTILES), size, (size / (size + np.maximum(mean, 1e-9)))[:, None]), dtype=np.float64)
