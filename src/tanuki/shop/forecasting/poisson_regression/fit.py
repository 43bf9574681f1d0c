"""The factors of the regression, learnt in turns: those that items share from sums over stores, those of a series from its own days."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tanuki.shop.features import EVENTS, Codes, Grid, Numbers
from tanuki.shop.forecasting.poisson_regression.calendar_effects import (
    DETAILS,
    PAYDAYS,
    Days,
    codes,
    onehot,
    periods,
)
from tanuki.shop.forecasting.poisson_regression.regressors import Causes

Known = NDArray[np.bool_]
FEW = 3.0
PLAIN = 0.01  # a variance beyond the mean, as a share of the squared mean, below which all cells count alike
SAMPLE = 50_000
CUT, REST = (
    0.98,
    1.08,
)  # the largest surprises are cut there; what that leaves of the variance of normal errors
USUAL_STEP = (
    0.08  # by how much demand moves from a month to the next, at least, while few months are known
)
MOST_STEEP = 6.0  # no coefficient is beyond


@dataclass(frozen=True)
class Settings:
    """What a data scientist may turn (docs/log.md). A `…_counts` draws a factor to its prior as if so many more units had sold as the prior says."""

    base_counts: float = 30.0  # a series' level, towards that of its store and item
    weekday_counts: float = 2000.0  # a series' weekdays, towards everyone's
    month_counts: float = (
        200.0  # a month, towards the months beside it: only what was never seen is filled from them
    )
    item_month_counts: float = 20_000.0  # an item's month, towards everyone's
    free_month_counts: float = 1000.0  # the same where past weeks ask for it
    event_counts: float = 5000.0  # a kind of day, towards an ordinary one
    item_event_counts: float = 500.0  # an item's kind of day, towards everyone's
    store_event_counts: float = 5000.0  # a store's kind of day, towards everyone's
    detail_counts: float = 5000.0  # Christmas, the last days of the year, New Year's Day: each towards the year's end as a whole
    payday_counts: float = 20_000.0
    period_counts: float = 1000.0  # an item's level in a period, towards the periods beside it
    period_weeks: int = 8
    cause_counts: float = (
        200.0  # an item's response to a cause, towards everyone's; and that towards none
    )
    rounds: int = 10
    more_rounds: int = 4  # when it goes on from fewer days
    inner_rounds: int = 4
    origins: int = (
        8  # past weeks forecast as if they were ahead, for the followers' weights and the spread
    )
    apart: int = 2  # weeks between them
    least_spread: float = 0.02  # of the level, beyond that of Poisson counts


@dataclass(frozen=True)
class Effects:
    """Every factor of the regression; lines as in the grid it was learnt from."""

    stores: list[str]
    items: list[str]
    keys: list[list[str]]  # store and item of each series
    store: Numbers  # level of a store; a series never seen gets store × item
    item: Numbers
    base: Numbers
    weekday: Numbers  # 7
    series_weekday: Numbers  # series × 7
    month: Numbers  # 12
    item_month: Numbers  # items × 12
    unseen: Numbers  # 12: the variance of a month's logarithm when it was only guessed from the months around it, else 0
    event: Numbers
    item_event: Numbers  # items × events
    store_event: Numbers  # stores × events
    detail: Numbers
    payday: Numbers
    period: Numbers  # items, in the last period
    causes: list[str]
    response: Numbers  # items × causes
    response_of_all: Numbers  # causes
    dispersion: float  # of daily units beside their mean + burst × mean²
    burst: float
    growth: float  # a week, of the logarithm of all demand, over the last year; 0 while only one year is known


class Learner:
    """The factors while they are being learnt."""

    def __init__(self, grid: Grid, causes: Causes, settings: Settings) -> None:
        self.grid, self.causes, self.settings = grid, causes, settings
        self.known = np.isfinite(grid.units)
        self.sold = self.units = np.where(self.known, grid.units, 0.0)
        self.days: Days = codes(grid.days)
        self.period_of = periods(len(grid.days), settings.period_weeks)
        self.by_weekday = onehot(self.days.weekday, 7)
        lines, items, stores = len(self.units), len(grid.items), len(grid.stores)
        self.of_item, self.of_store = summing(grid.item, items), summing(grid.store, stores)
        self.sold_by_item = self.of_item @ self.units
        self.shared = Shared(self.days, self.period_of, items, settings)
        self.base = np.full(lines, max(self.units.sum() / max(self.known.sum(), 1), 1e-9))
        self.store, self.item = np.ones(stores), np.full(items, self.base[0] if lines else 1.0)
        self.series_weekday = np.ones((lines, 7))
        self.store_event = np.ones((stores, len(EVENTS)))
        self.response = np.zeros((items, len(causes.names)))
        self.response_of_all = np.zeros(len(causes.names))
        self.dispersion, self.burst = 1.0, 0.0
        self.weight: Numbers | None = (
            None  # of each cell: the more its variance grows beyond its mean, the less
        )

    def weighed(self, cells: Numbers) -> Numbers:
        """Cells (lines × days) as they count."""
        return cells if self.weight is None else cells * self.weight

    def go_on_from(self, before: "Learner") -> None:
        """Begin where it ended with fewer days."""
        for name in (
            "base",
            "store",
            "item",
            "series_weekday",
            "store_event",
            "response",
            "response_of_all",
        ):
            setattr(self, name, getattr(before, name).copy())
        self.dispersion, self.burst = before.dispersion, before.burst
        self.shared.go_on_from(before.shared)

    def effects(self) -> Effects:
        """What was learnt so far."""
        shared = self.shared
        return Effects(
            stores=self.grid.stores,
            items=self.grid.items,
            keys=[list(row) for row in self.grid.keys.iter_rows()],
            store=self.store,
            item=self.item,
            base=self.base,
            weekday=shared.weekday,
            series_weekday=self.series_weekday,
            month=shared.month,
            item_month=shared.item_month,
            unseen=guessed(shared.month, self.known.sum(axis=0) @ shared.by_month > 0),
            event=shared.event,
            item_event=shared.item_event,
            store_event=self.store_event,
            detail=shared.detail,
            payday=shared.payday,
            period=shared.period[:, -1],
            causes=list(self.causes.names),
            response=self.response,
            response_of_all=self.response_of_all,
            dispersion=self.dispersion,
            burst=self.burst,
            growth=growth(shared.period, self.item, self.settings.period_weeks),
        )

    def improve(self, n: int) -> None:
        """One round: what items share, then what is each series' own, then the responses to causes."""
        kept, grid = self.settings, self.grid
        own = (self.series_weekday * self.base[:, None])[:, self.days.weekday] * self.known
        if self.causes.names:
            own *= self.causes.effect(self.response[grid.item])
        own *= self.store_event[grid.store][:, self.days.event]
        if self.weight is not None:
            own *= self.weight
        self.shared.improve(self.sold_by_item, self.of_item @ own, self.dispersion)
        own *= self.shared.factor()[grid.item]  # now what is expected of each line on each day
        if n:
            self.look_again(own if self.weight is None else own / self.weight)
            own = self.weighed(self.expected).copy()
        units = self.weighed(self.units)
        by_store = self.of_store @ own
        by_event = self.shared.by_event
        sold_by_store = self.of_store @ units
        before = self.store_event.copy()
        self.store_event = drawn(
            sold_by_store @ by_event,
            by_store @ by_event,
            self.store_event,
            kept.store_event_counts,
            self.dispersion,
        )
        self.store_event /= self.store_event[:, :1]
        own *= (self.store_event / before)[grid.store][:, self.days.event]
        if self.causes.names and n:
            self.respond(units, own)
        sold, due = units @ self.by_weekday, own @ self.by_weekday
        before = self.series_weekday.copy()
        self.series_weekday = drawn(
            sold, due, self.series_weekday, kept.weekday_counts, self.dispersion
        )
        self.find_levels(
            sold.sum(axis=1), (due * self.series_weekday / before).sum(axis=1) / self.base
        )

    def look_again(self, expected: Numbers) -> None:
        """How counts vary around what is expected, what was wanted on days that sold out, and how much each cell counts."""
        self.expected = expected
        sure = self.known & ~self.grid.sold_out
        self.dispersion, self.burst = dispersed(self.units, expected, sure)
        self.units = wanted(self.sold, self.grid.sold_out, expected, self.burst)
        self.weight = 1 / (1 + self.burst * expected) if self.burst > PLAIN else None
        self.sold_by_item = self.of_item @ self.weighed(self.units)

    def respond(self, units: Numbers, own: Numbers) -> None:
        """One Newton step of every item's responses, drawn to everyone's; `own` is brought to the new ones."""
        x, size = self.causes.values, len(self.causes.names)
        counts = self.settings.cause_counts * self.dispersion
        slope, bend = (
            np.zeros((len(self.response), size)),
            np.zeros((len(self.response), size, size)),
        )
        missed = units - own
        for k in range(size):
            slope[:, k] = (self.of_item @ (x[k] * missed)).sum(axis=1)
            weight = x[k] * own
            for j in range(k + 1):
                bend[:, k, j] = bend[:, j, k] = (self.of_item @ (weight * x[j])).sum(axis=1)
        told = np.einsum("ikk->ik", bend)
        alone = self.response + np.linalg.solve(bend + np.eye(size), slope[:, :, None])[:, :, 0]
        trust = told / (told + counts)
        everyone = (trust * np.clip(alone, -MOST_STEEP, MOST_STEEP)).sum(axis=0) / (
            trust.sum(axis=0) + 0.05
        )
        drawn_to = np.einsum("ikj,ij->ik", bend, alone) + counts * everyone
        new = np.linalg.solve(bend + counts * np.eye(size), drawn_to[:, :, None])[:, :, 0]
        new = np.clip(
            np.clip(new, self.response - 1.0, self.response + 1.0), -MOST_STEEP, MOST_STEEP
        )
        own *= self.causes.effect((new - self.response)[self.grid.item])
        self.response, self.response_of_all = new, everyone

    def find_levels(self, sold: Numbers, at_one: Numbers) -> None:
        """The level of each store, item and series; a series with few sales keeps near the product of its store's and item's."""
        grid, counts = self.grid, self.settings.base_counts * self.dispersion
        self.item = np.maximum(
            ratio(self.of_item @ sold, self.of_item @ (at_one * self.store[grid.store])), 1e-9
        )
        self.store = np.maximum(
            ratio(self.of_store @ sold, self.of_store @ (at_one * self.item[grid.item])), 1e-9
        )
        prior = self.store[grid.store] * self.item[grid.item]
        self.base = (sold + counts) / (at_one + counts / prior)


class Shared:
    """What all stores of an item share, learnt from sums over stores: items × days."""

    def __init__(self, days: Days, period_of: Codes, items: int, settings: Settings) -> None:
        self.days, self.period_of, self.settings = days, period_of, settings
        self.by_weekday, self.by_month, self.by_event = (
            onehot(days.weekday, 7),
            onehot(days.month, 12),
            onehot(days.event, len(EVENTS)),
        )
        self.by_detail, self.by_payday = (
            onehot(days.detail, len(DETAILS)),
            onehot(days.payday, len(PAYDAYS)),
        )
        self.by_period = onehot(period_of, int(period_of.max()) + 1)
        self.weekday, self.month, self.item_month = np.ones(7), np.ones(12), np.ones((items, 12))
        self.event, self.item_event = np.ones(len(EVENTS)), np.ones((items, len(EVENTS)))
        self.detail, self.payday = np.ones(len(DETAILS)), np.ones(len(PAYDAYS))
        self.period = np.ones((items, self.by_period.shape[1]))

    def go_on_from(self, before: "Shared") -> None:
        """Begin where it ended with fewer days; periods are counted back from the last day."""
        for name in ("weekday", "month", "item_month", "event", "item_event", "detail", "payday"):
            setattr(self, name, getattr(before, name).copy())
        count = min(self.period.shape[1], before.period.shape[1])
        self.period[:, -count:] = before.period[:, -count:]
        self.period[:, :-count] = before.period[:, :1]

    def factor(self) -> Numbers:
        """Items × days."""
        days = self.days
        own = (
            self.item_month[:, days.month]
            * self.period[:, self.period_of]
            * self.item_event[:, days.event]
        )
        return np.asarray(
            own * self.everyones(self.weekday, self.month, self.event, self.detail, self.payday)
        )

    def everyones(
        self, weekday: Numbers, month: Numbers, event: Numbers, detail: Numbers, payday: Numbers
    ) -> Numbers:
        """What all items share, of each day."""
        days = self.days
        return (
            weekday[days.weekday]
            * month[days.month]
            * event[days.event]
            * detail[days.detail]
            * payday[days.payday]
        )

    def improve(self, sold: Numbers, rest: Numbers, dispersion: float) -> None:
        """Some rounds, given what the other factors expect."""
        expected = rest * self.factor()
        sums = [sold @ by for by in (self.by_month, self.by_event, self.by_period)]
        for _ in range(self.settings.inner_rounds):
            before = self.everyones(self.weekday, self.month, self.event, self.detail, self.payday)
            self.for_everyone(sold.sum(axis=0), expected.sum(axis=0), dispersion)
            expected *= (
                self.everyones(self.weekday, self.month, self.event, self.detail, self.payday)
                / before
            )
            self.for_items(sums, expected, dispersion)

    def for_everyone(self, sold: Numbers, due: Numbers, dispersion: float) -> None:
        """The factors that all items share, from sums of each day."""
        kept, days = self.settings, self.days

        def moved(new: Numbers, old: Numbers, codes: Codes) -> Numbers:
            nonlocal due
            due = due * (new / old)[codes]
            return new

        new = self.weekday * ratio(sold @ self.by_weekday, due @ self.by_weekday)
        self.weekday = moved(new / new.mean(), self.weekday, days.weekday)
        new = shrunk(
            sold @ self.by_month,
            due @ self.by_month,
            self.month,
            beside(self.month, circular=True),
            kept.month_counts * dispersion,
        )
        self.month = moved(new / np.exp(np.log(new).mean()), self.month, days.month)
        new = shrunk(
            sold @ self.by_event,
            due @ self.by_event,
            self.event,
            1.0,
            kept.event_counts * dispersion,
        )
        self.event = moved(new / new[0], self.event, days.event)
        new = shrunk(
            sold @ self.by_detail,
            due @ self.by_detail,
            self.detail,
            1.0,
            kept.detail_counts * dispersion,
        )
        self.detail = moved(new / new[0], self.detail, days.detail)
        new = shrunk(
            sold @ self.by_payday,
            due @ self.by_payday,
            self.payday,
            1.0,
            kept.payday_counts * dispersion,
        )
        self.payday = moved(new / new[0], self.payday, days.payday)

    def for_items(self, sums: list[Numbers], expected: Numbers, dispersion: float) -> None:
        """The factors of each item; `expected` (items × days) is brought to the new ones."""
        kept, days = self.settings, self.days
        by_month, by_event, by_period = sums
        new = shrunk(
            by_month,
            expected @ self.by_month,
            self.item_month,
            1.0,
            kept.item_month_counts * dispersion,
        )
        expected *= (new / self.item_month)[:, days.month]
        self.item_month = new
        new = drawn(
            by_event, expected @ self.by_event, self.item_event, kept.item_event_counts, dispersion
        )
        new = new / new[:, :1]
        expected *= (new / self.item_event)[:, days.event]
        self.item_event = new
        around = beside(self.period, circular=False)
        new = shrunk(
            by_period,
            expected @ self.by_period,
            self.period,
            around,
            kept.period_counts * dispersion,
        )
        new = new / new[:, -1:]
        expected *= (new / self.period)[:, self.period_of]
        self.period = new


def wanted(units: Numbers, sold_out: Known, expected: Numbers, burst: float) -> Numbers:
    """Units sold, and on days that sold out the mean of what customers then wanted: that of a normal distribution above what was sold (Tobin, 1958)."""
    if not sold_out.any():
        return units
    from scipy.stats import norm

    mean = np.maximum(expected[sold_out], 0.05)
    width = np.sqrt(mean + burst * mean**2)
    low = np.minimum((units[sold_out] - mean) / width, 6.0)
    made = units.copy()
    made[sold_out] = np.maximum(units[sold_out], mean + width * norm.pdf(low) / norm.sf(low))
    return made


def growth(period: Numbers, item: Numbers, weeks: int) -> float:
    """The weekly growth of the logarithm over the last year, from items' periods (items × periods); 0 unless two years are known."""
    year = round(52 / weeks)
    if period.shape[1] < 2 * year:
        return 0.0
    log = np.log((period * item[:, None]).sum(axis=0))
    return float((log[-year:].mean() - log[-2 * year : -year].mean()) / 52)


def pearson(units: Numbers, expected: Numbers, rows: Known) -> float:
    """Pearson's dispersion, the largest surprises cut; 1 for Poisson counts."""
    mean = np.maximum(expected[rows], 0.25)
    if len(mean) == 0:
        return 1.0
    away = (units[rows] - expected[rows]) ** 2 / mean
    return float(np.clip(np.minimum(away, np.quantile(away, CUT)).mean() * REST, 1.0, 1000.0))


def dispersed(units: Numbers, expected: Numbers, known: Known) -> tuple[float, float]:
    """How daily units vary around their mean, the largest surprises cut: variance = dispersion × (mean + burst × mean²), Poisson's is 1 and 0."""
    every = max(1, expected.size // SAMPLE)  # of so many cells a sample tells enough
    rows = (known & (expected > 0.25)).ravel()[::every]
    mean, sold = expected.ravel()[::every][rows], units.ravel()[::every][rows]
    if len(mean) == 0:
        return 1.0, 0.0
    away = (sold - mean) ** 2 / mean
    burst = float(
        np.clip((np.minimum(away, np.quantile(away, CUT)) - 1).sum() * REST / mean.sum(), 0.0, 4.0)
    )
    away /= 1 + burst * mean
    return float(np.clip(np.minimum(away, np.quantile(away, CUT)).mean() * REST, 1.0, 100.0)), burst


def summing(codes: Codes, size: int) -> sparse.csr_matrix:
    """A matrix that adds up lines by store or item."""
    return sparse.csr_matrix(
        (np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(size, len(codes))
    )


def ratio(sold: Numbers, expected: Numbers) -> Numbers:
    """Sold over expected; 1 where nothing was expected."""
    return np.where((expected > 0) & (sold > 0), sold / np.maximum(expected, 1e-12), 1.0)


def shrunk(
    sold: Numbers,
    expected: Numbers,
    factor: Numbers,
    prior: Numbers | float,
    counts: Numbers | float,
) -> Numbers:
    """The factor that explains what was sold, drawn to its prior; `expected` still holds the old factor."""
    return np.asarray((sold + counts) / (expected / factor + counts / prior))


def drawn(
    sold: Numbers, expected: Numbers, factor: Numbers, counts: float, dispersion: float
) -> Numbers:
    """Factors (groups × kinds) drawn to 1 as strongly as their own differences tell (empirical Bayes, by the method of moments).

    `counts` says how strongly to draw before anything is seen; it weighs as much as FEW average groups.
    """
    alone = expected / factor
    away = np.where(
        alone > 0, (sold - alone) ** 2 / np.maximum(alone, 1e-9), 0.0
    )  # alone × (ratio - 1)²
    groups = (alone > 0).sum(axis=0)
    weight = alone.sum(axis=0)
    few = FEW * weight / np.maximum(groups, 1)
    variance = (
        np.maximum((away - dispersion * (alone > 0)).sum(axis=0), 0.0) + few / counts
    ) / np.maximum(weight + few, 1e-9)
    return shrunk(sold, expected, factor, 1.0, dispersion / np.maximum(variance, 1e-9))


def beside(factor: Numbers, *, circular: bool) -> Numbers:
    """For each, the geometric mean of the two beside it in time; at an end that is not circular, the one beside it."""
    log = np.log(factor)
    if log.shape[-1] == 1:
        return np.ones_like(factor)
    before, after = np.roll(log, 1, axis=-1), np.roll(log, -1, axis=-1)
    if not circular:
        before[..., 0], after[..., -1] = after[..., 0], before[..., -1]
    return np.asarray(np.exp((before + after) / 2))


def guessed(month: Numbers, seen: Numbers) -> Numbers:
    """How uncertain the logarithm of a month never seen is: that of a random walk between the seen months before and after it."""
    if seen.all() or not seen.any():
        return np.zeros(12)
    log = np.log(month)
    steps = [log[n] - log[n - 1] for n in range(12) if seen[n] and seen[n - 1]]
    step = max(float(np.mean(np.square(steps))) if steps else 0.0, USUAL_STEP**2)
    after = [next(d for d in range(12) if seen[(n + d) % 12]) for n in range(12)]
    before = [next(d for d in range(12) if seen[(n - d) % 12]) for n in range(12)]
    return np.array([step * a * b / max(a + b, 1) for a, b in zip(after, before, strict=True)])


def learn(grid: Grid, causes: Causes, settings: Settings, before: Learner | None = None) -> Learner:
    """The effects that explain a grid best, given their priors; quicker from what explained the same grid before with fewer days."""
    learner = Learner(grid, causes, settings)
    if before is not None:
        learner.go_on_from(before)
    for n in range(settings.rounds if before is None else settings.more_rounds):
        learner.improve(n if before is None else n + 1)
    return learner
