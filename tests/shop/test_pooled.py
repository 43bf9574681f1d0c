"""What the pooled regression must find in sales whose truth is known."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from tanuki.shop import scores
from tanuki.shop.features import grid
from tanuki.shop.forecasters.pooled import Pooled, Settings, learn
from tanuki.shop.panel import History, of_sales
from tanuki.shop.weeks import Week

TARGET = Week(2021, 30)
START = date(2020, 1, 6)
STORES, ITEMS = ("a", "b", "c", "d", "e"), ("beer", "milk", "tea", "water")


def truth(day: date, store: str, item: str) -> float:
    """Mean sales of a day: level × weekday × season."""
    season = 1 + 0.4 * np.sin(2 * np.pi * (day.month - 4) / 12)
    return 15.0 * (1 + STORES.index(store)) * (1 + 0.3 * ITEMS.index(item)) * (1.4 if day.weekday() >= 5 else 0.9) * season


def chain(change=lambda day, store, item: 1.0, until: date = TARGET.sunday) -> History:
    """Every store and item, Poisson around the truth times a change."""
    random = np.random.default_rng(11)
    days = [START + timedelta(days=n) for n in range((until - START).days + 1)]
    return of_sales(
        pl.concat(
            pl.DataFrame(
                {
                    "date": days,
                    "store": s,
                    "item": i,
                    "units": random.poisson([truth(day, s, i) * change(day, s, i) for day in days]).astype(float),
                }
            )
            for s in STORES
            for i in ITEMS
        )
    )


def target_week(history: History) -> pl.DataFrame:
    panel, model = history.panel(TARGET), Pooled()
    model.fit(panel)
    return model.predict(panel).filter(pl.col("week") == str(TARGET))


def true_week(store: str, item: str) -> float:
    return sum(truth(day, store, item) for day in TARGET.days)


def test_season_weekday_and_level_are_found_within_a_few_percent():
    forecast = target_week(chain())
    errors = [row["mean"] / true_week(row["store"], row["item"]) - 1 for row in forecast.iter_rows(named=True)]
    assert np.abs(errors).mean() < 0.03
    assert np.abs(errors).max() < 0.08


def test_eight_of_ten_weeks_fall_between_the_outer_deciles():
    forecast = target_week(chain())
    means = np.array([true_week(row["store"], row["item"]) for row in forecast.iter_rows(named=True)])
    sold = np.random.default_rng(5).poisson(np.tile(means, (200, 1)))
    shares = [scores.coverage_80(week.astype(float), forecast["q10"].to_numpy(), forecast["q90"].to_numpy()) for week in sold]
    assert 0.74 < np.mean(shares) < 0.92


def test_a_level_that_doubled_five_weeks_ago_is_believed():
    jumped = chain(lambda day, store, item: 2.0 if (store, item) == ("c", "tea") and day > TARGET.cutoff - timedelta(weeks=5) else 1.0)
    forecast = target_week(jumped).filter(pl.col("store") == "c", pl.col("item") == "tea")
    assert 1.6 * true_week("c", "tea") < forecast["mean"].item() < 2.1 * true_week("c", "tea")


def test_a_planned_discount_raises_the_forecast_as_past_discounts_raised_sales():
    def cheap(day: date, item: str) -> bool:
        return item == "beer" and (day.isocalendar().week % 5 == 0 or TARGET.monday <= day <= TARGET.sunday)

    history = chain(lambda day, store, item: 1.6 if cheap(day, item) else 1.0)
    weeks = [day for day in (START + timedelta(weeks=n) for n in range(82)) if cheap(day, "beer")]
    plans = pl.DataFrame(
        [("", "beer", monday, monday + timedelta(days=6), 0.2) for monday in weeks], schema=history.promotions.schema, orient="row"
    )
    with_plans, without = target_week(replace(history, promotions=plans)), target_week(history)
    for store in STORES:
        row = (pl.col("store") == store) & (pl.col("item") == "beer")
        assert with_plans.filter(row)["mean"].item() == pytest.approx(1.6 * true_week(store, "beer"), rel=0.1)
        assert without.filter(row)["mean"].item() < 1.35 * true_week(store, "beer")


def test_an_items_year_end_is_remembered_from_the_first_days_of_the_year_before():
    def busy(day: date, store: str, item: str) -> float:
        return 1.5 if item == "beer" and ((day.month, day.day) >= (12, 24) or (day.month, day.day) <= (1, 3)) else 1.0

    history = chain(busy, until=Week(2021, 2).sunday)
    opened = replace(history, sales=pl.concat([first_days(), history.sales]))
    panel, model = opened.panel(Week(2020, 53)), Pooled()
    model.fit(panel)
    effects = model.effects
    assert effects is not None
    lift = dict(zip(effects.items, effects.item_event[:, -1] * effects.event[-1], strict=True))
    assert lift["beer"] > 1.15
    assert lift["milk"] == pytest.approx(1.0, abs=0.1)


def first_days() -> pl.DataFrame:
    """The first five days of 2020, the first three of them busy for beer."""
    days = [date(2020, 1, n) for n in range(1, 6)]
    rows = [
        (day, s, i, round(truth(day, s, i) * (1.5 if i == "beer" and day.day <= 3 else 1.0))) for day in days for s in STORES for i in ITEMS
    ]
    return pl.DataFrame(rows, schema={"date": pl.Date, "store": pl.String, "item": pl.String, "units": pl.Float64}, orient="row")


def test_a_month_never_seen_widens_the_band():
    young = chain(until=date(2020, 8, 30))
    widths = {}
    for target in (Week(2020, 35), Week(2020, 37)):  # late August, and the middle of a September that nobody saw
        panel, model = young.panel(target), Pooled()
        model.fit(panel)
        forecast = model.predict(panel).filter(pl.col("week") == str(target))
        widths[target] = ((forecast["q90"] - forecast["q10"]) / forecast["mean"]).mean()
    assert widths[Week(2020, 37)] > 1.3 * widths[Week(2020, 35)]


def test_days_taken_together_by_kind_learn_the_same_as_days_one_by_one():
    history = chain(until=date(2020, 12, 27))
    numbers = grid(history.panel(Week(2020, 52)))
    unknown = np.full_like(numbers.units, np.nan)
    tiny = np.zeros_like(numbers.units)
    tiny[0, 0] = 1e-12  # a price that moves by nothing to speak of keeps the days apart
    together, apart = (learn(numbers, unknown, discount, Settings(rounds=10)) for discount in (unknown, tiny))
    assert together.base == pytest.approx(apart.base)
    assert together.month == pytest.approx(apart.month)
    assert together.item_event == pytest.approx(apart.item_event)
