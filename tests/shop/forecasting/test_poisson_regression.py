"""The Poisson regression on sales whose truth is known."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from tanuki.shop import scores
from tanuki.shop.calendar import Week
from tanuki.shop.features import EVENTS
from tanuki.shop.features import build_grid as grid_of
from tanuki.shop.forecasting.forecaster import DRIVERS
from tanuki.shop.forecasting.poisson_regression.calibration import choose_item_month_prior
from tanuki.shop.forecasting.poisson_regression.dispersion import PastForecasts, calibrate_levels
from tanuki.shop.forecasting.poisson_regression.forecaster import PoissonRegression
from tanuki.shop.forecasting.poisson_regression.regressors import PRICE, build_regressors
from tanuki.shop.forecasting.poisson_regression.residual_boosting import WeeklyResiduals
from tanuki.shop.panel import History, history_from_sales

TARGET = Week(2021, 30)
START = date(2020, 1, 6)
STORES, ITEMS = ("a", "b", "c", "d", "e"), ("beer", "milk", "tea", "water")


def truth(day: date, store: str, item: str) -> float:
    """Mean sales of a day: level × weekday × season."""
    season = 1 + 0.4 * np.sin(2 * np.pi * (day.month - 4) / 12)
    return (
        15.0
        * (1 + STORES.index(store))
        * (1 + 0.3 * ITEMS.index(item))
        * (1.4 if day.weekday() >= 5 else 0.9)
        * season
    )


def chain(change=lambda day, store, item: 1.0, until: date = TARGET.sunday) -> History:
    """Every store and item, Poisson around the truth times a change."""
    random = np.random.default_rng(11)
    days = [START + timedelta(days=n) for n in range((until - START).days + 1)]
    return history_from_sales(
        pl.concat(
            pl.DataFrame(
                {
                    "date": days,
                    "store": s,
                    "item": i,
                    "units": random.poisson(
                        [truth(day, s, i) * change(day, s, i) for day in days]
                    ).astype(float),
                }
            )
            for s in STORES
            for i in ITEMS
        )
    )


def target_week(history: History) -> pl.DataFrame:
    panel, model = history.build_panel(TARGET), PoissonRegression()
    model.fit(panel)
    return model.predict(panel).filter(pl.col("week") == str(TARGET))


def true_week(store: str, item: str) -> float:
    return sum(truth(day, store, item) for day in TARGET.days)


def test_season_weekday_and_level_are_estimated_within_a_few_percent():
    forecast = target_week(chain())
    errors = [
        row["mean"] / true_week(row["store"], row["item"]) - 1
        for row in forecast.iter_rows(named=True)
    ]
    assert np.abs(errors).mean() < 0.03
    assert np.abs(errors).max() < 0.08


def test_eight_of_ten_weeks_fall_between_the_outer_deciles():
    forecast = target_week(chain())
    means = np.array(
        [true_week(row["store"], row["item"]) for row in forecast.iter_rows(named=True)]
    )
    sold = np.random.default_rng(5).poisson(np.tile(means, (200, 1)))
    shares = [
        scores.coverage_80(
            week.astype(float), forecast["q10"].to_numpy(), forecast["q90"].to_numpy()
        )
        for week in sold
    ]
    assert 0.74 < np.mean(shares) < 0.92


def test_a_level_that_doubled_five_weeks_ago_is_followed():
    jumped = chain(
        lambda day, store, item: (
            2.0
            if (store, item) == ("c", "tea") and day > TARGET.cutoff - timedelta(weeks=5)
            else 1.0
        )
    )
    forecast = target_week(jumped).filter(pl.col("store") == "c", pl.col("item") == "tea")
    assert 1.6 * true_week("c", "tea") < forecast["mean"].item() < 2.1 * true_week("c", "tea")


def test_a_planned_discount_raises_the_forecast_as_past_discounts_raised_sales():
    def cheap(day: date, item: str) -> bool:
        return item == "beer" and (
            day.isocalendar().week % 5 == 0 or TARGET.monday <= day <= TARGET.sunday
        )

    history = chain(lambda day, store, item: 1.6 if cheap(day, item) else 1.0)
    weeks = [day for day in (START + timedelta(weeks=n) for n in range(82)) if cheap(day, "beer")]
    plans = pl.DataFrame(
        [("", "beer", monday, monday + timedelta(days=6), "price", 0.2) for monday in weeks],
        schema=history.promotions.schema,
        orient="row",
    )
    with_plans, without = target_week(replace(history, promotions=plans)), target_week(history)
    for store in STORES:
        row = (pl.col("store") == store) & (pl.col("item") == "beer")
        assert with_plans.filter(row)["mean"].item() == pytest.approx(
            1.6 * true_week(store, "beer"), rel=0.1
        )
        assert without.filter(row)["mean"].item() < 1.35 * true_week(store, "beer")


def test_an_items_year_end_is_learnt_from_the_first_days_of_the_year():
    def busy(day: date, store: str, item: str) -> float:
        return (
            1.5
            if item == "beer"
            and ((day.month, day.day) >= (12, 24) or (day.month, day.day) <= (1, 3))
            else 1.0
        )

    history = chain(busy, until=Week(2021, 2).sunday)
    opened = replace(history, sales=pl.concat([first_days(), history.sales]))
    panel, model = opened.build_panel(Week(2020, 53)), PoissonRegression()
    model.fit(panel)
    effects = model.effects
    assert effects is not None
    lift = dict(
        zip(
            effects.keys.items,
            effects.calendar.item_event[:, -1] * effects.calendar.event[-1],
            strict=True,
        )
    )
    assert lift["beer"] > 1.15
    assert lift["milk"] == pytest.approx(1.0, abs=0.1)


def first_days() -> pl.DataFrame:
    """The first five days of 2020, the first three of them busy for beer."""
    days = [date(2020, 1, n) for n in range(1, 6)]
    rows = [
        (day, s, i, round(truth(day, s, i) * (1.5 if i == "beer" and day.day <= 3 else 1.0)))
        for day in days
        for s in STORES
        for i in ITEMS
    ]
    return pl.DataFrame(
        rows,
        schema={"date": pl.Date, "store": pl.String, "item": pl.String, "units": pl.Float64},
        orient="row",
    )


def test_a_month_without_sales_widens_the_interval():
    young = chain(until=date(2020, 8, 30))
    widths = {}
    for target in (
        Week(2020, 35),
        Week(2020, 37),
    ):  # late August, and the middle of a September that nobody saw
        panel, model = young.build_panel(target), PoissonRegression()
        model.fit(panel)
        forecast = model.predict(panel).filter(pl.col("week") == str(target))
        widths[target] = ((forecast["q90"] - forecast["q10"]) / forecast["mean"]).mean()
    assert widths[Week(2020, 37)] > 1.3 * widths[Week(2020, 35)]


def test_driver_effects_add_up_to_the_forecast_and_name_the_promotion():
    plans = pl.DataFrame(
        [
            ("", "beer", monday, monday + timedelta(days=6), "display", 0.0)
            for monday in display_weeks()
        ],
        schema=chain().promotions.schema,
        orient="row",
    )
    history = replace(
        chain(lambda day, store, item: 1.5 if item == "beer" and on_display(day) else 1.0),
        promotions=plans,
    )
    panel, model = history.build_panel(TARGET), PoissonRegression()
    model.fit(panel)
    explained = model.explain(panel)
    means = model.predict(panel).filter(pl.col("week") == str(TARGET))["mean"]
    total = explained.select(pl.sum_horizontal("last", *DRIVERS)).to_series()
    assert total.to_list() == pytest.approx(means.to_list())
    beer, milk = (
        explained.filter(pl.col("item") == "beer"),
        explained.filter(pl.col("item") == "milk"),
    )
    assert (beer["promotion"] / beer["last"]).min() > 0.25
    assert (milk["promotion"] / milk["last"]).abs().max() < 0.05
    last_week = history.sales.filter(
        pl.col("date").is_between(TARGET.cutoff - timedelta(days=6), TARGET.cutoff)
    )
    sold = (
        last_week.group_by("store", "item")
        .agg(pl.col("units").sum())
        .sort("store", "item")["units"]
    )
    assert explained["last"].to_list() == sold.to_list()


def on_display(day: date) -> bool:
    return (
        day.isocalendar().week % 5 == 0 and day < TARGET.buffer.monday
    ) or TARGET.monday <= day <= TARGET.sunday


def display_weeks() -> list[date]:
    return [day for day in (START + timedelta(weeks=n) for n in range(82)) if on_display(day)]


def test_demand_on_days_that_sold_out_is_estimated_above_sales():
    history = chain()
    most = 85.0  # there is never more of tea in store c than that on a day
    scarce = (pl.col("store") == "c") & (pl.col("item") == "tea")
    sold = history.sales.with_columns(
        pl.when(scarce)
        .then(pl.col("units").clip(upper_bound=most))
        .otherwise(pl.col("units"))
        .alias("units")
    )
    left = history.sales.select(
        "date",
        "store",
        "item",
        pl.when(scarce)
        .then((most - pl.col("units")).clip(lower_bound=0.0))
        .otherwise(9.0)
        .alias("units"),
    )
    row = (pl.col("store") == "c") & (pl.col("item") == "tea")
    uninformed = target_week(replace(history, sales=sold)).filter(row)["mean"].item()
    informed = target_week(replace(history, sales=sold, stock=left)).filter(row)["mean"].item()
    truth_there = true_week("c", "tea")
    assert uninformed < 0.9 * truth_there
    assert abs(informed - truth_there) < 0.5 * abs(uninformed - truth_there)


def test_days_without_stock_do_not_lower_the_forecast():
    history = chain()
    gone = (
        (pl.col("store") == "b")
        & (pl.col("item") == "milk")
        & pl.col("date").is_between(TARGET.cutoff - timedelta(days=13), TARGET.cutoff)
    )
    sold = history.sales.with_columns(
        pl.when(gone).then(0.0).otherwise(pl.col("units")).alias("units")
    )
    left = history.sales.select(
        "date", "store", "item", pl.when(gone).then(0.0).otherwise(9.0).alias("units")
    )
    forecast = target_week(replace(history, sales=sold, stock=left)).filter(
        pl.col("store") == "b", pl.col("item") == "milk"
    )
    assert forecast["mean"].item() == pytest.approx(true_week("b", "milk"), rel=0.1)


def test_a_hot_spell_that_is_over_does_not_raise_the_level():
    random = np.random.default_rng(3)
    days = [START + timedelta(days=n) for n in range((TARGET.sunday - START).days + 1)]
    degrees = {
        day: 16 - 10 * np.cos(2 * np.pi * day.timetuple().tm_yday / 365.25) + random.normal(0, 2)
        for day in days
    }
    for n in range(14):
        degrees[TARGET.cutoff - timedelta(days=n)] += 8  # the two last known weeks are much too hot

    def warmed(day: date, store: str, item: str) -> float:
        usual = 16 - 10 * np.cos(2 * np.pi * day.timetuple().tm_yday / 365.25)
        return float(np.exp(0.05 * (degrees[day] - usual))) if item == "beer" else 1.0

    history = chain(warmed)
    known = pl.DataFrame(
        {"date": days, "region": "x", "temperature_c": [degrees[day] for day in days]}
    )
    informed = replace(
        history, weather=known, stores=history.stores.with_columns(pl.lit("x").alias("region"))
    )
    beer = pl.col("item") == "beer"
    truth_there = np.array([true_week(store, "beer") for store in STORES])
    uninformed_error = target_week(history).filter(beer)["mean"].to_numpy() / truth_there - 1
    error = target_week(informed).filter(beer)["mean"].to_numpy() / truth_there - 1
    assert uninformed_error.mean() > 0.1
    assert abs(error.mean()) < 0.5 * uninformed_error.mean()


def test_stores_differ_in_what_a_holiday_does():
    def obon(day: date, store: str, item: str) -> float:
        return (
            {"a": 0.5, "b": 1.6}.get(store, 1.0)
            if (8, 13) <= (day.month, day.day) <= (8, 16)
            else 1.0
        )

    history = chain(obon, until=Week(2021, 32).sunday)
    panel, model = history.build_panel(Week(2021, 32)), PoissonRegression()
    model.fit(panel)
    effects = model.effects
    assert effects is not None
    of_store = dict(
        zip(effects.keys.stores, effects.calendar.store_event[:, EVENTS.index("obon")], strict=True)
    )
    assert of_store["a"] < 0.75 < 1.25 < of_store["b"]


def test_steady_growth_continues():
    first = date(2018, 1, 1)
    days = [first + timedelta(days=n) for n in range((TARGET.sunday - first).days + 1)]
    random = np.random.default_rng(8)
    grown = [np.exp(0.25 * (day - first).days / 365) for day in days]
    sales = pl.concat(
        pl.DataFrame(
            {
                "date": days,
                "store": s,
                "item": i,
                "units": random.poisson(80 * np.array(grown)).astype(float),
            }
        )
        for s in STORES
        for i in ITEMS
    )
    forecast = target_week(history_from_sales(sales))
    then = 80 * sum(np.exp(0.25 * (day - first).days / 365) for day in TARGET.days)
    assert forecast["mean"].mean() == pytest.approx(then, rel=0.01)


def test_the_interval_of_both_weeks_is_wider_than_one_weeks_and_narrower_than_the_sum():
    panel, model = chain().build_panel(TARGET), PoissonRegression()
    model.fit(panel)
    forecast = (
        model.predict(panel)
        .with_columns((pl.col("q90") - pl.col("q10")).alias("band"))
        .sort("store", "item")
    )
    buffer, target, both = (
        forecast.filter(pl.col("week") == week)["band"].to_numpy()
        for week in (str(TARGET.buffer), str(TARGET), TARGET.two_week_interval)
    )
    assert (both <= buffer + target + 1).all()
    assert (both > target).mean() > 0.9


def advertised_chain() -> History:
    """Sales that rise far only when a cut price is advertised; both are planned ahead."""
    random = np.random.default_rng(21)
    stores, items = [f"s{n:02d}" for n in range(16)], ["a", "b", "c"]
    sales, prices, plans = [], [], []
    for week in range(82):
        monday = START + timedelta(weeks=week)
        for store in stores:
            for item in items:
                cut, advertised = random.random() < 0.3, random.random() < 0.3
                if monday == TARGET.monday:
                    cut, advertised = store < "s08", item != "c"
                mean = (
                    12.0
                    * (1 + items.index(item))
                    * (7.0 if cut and advertised else 1.1 if cut or advertised else 1.0)
                )
                days = [monday + timedelta(days=n) for n in range(7)]
                sales += [
                    (day, store, item, float(units))
                    for day, units in zip(days, random.poisson(mean, 7), strict=True)
                ]
                prices.append((item, store, monday, days[-1], 70.0 if cut else 100.0))
                if advertised:
                    plans.append((store, item, monday, days[-1], "feat", 0.0))
    history = history_from_sales(
        pl.DataFrame(
            sales,
            schema={"date": pl.Date, "store": pl.String, "item": pl.String, "units": pl.Float64},
            orient="row",
        )
    )
    return replace(
        history,
        prices=pl.DataFrame(prices, schema=history.prices.schema, orient="row"),
        promotions=pl.DataFrame(plans, schema=history.promotions.schema, orient="row"),
    )


def test_residual_boosting_finds_an_interaction_that_the_regression_cannot(tmp_path):
    history = advertised_chain()
    panel, model = history.build_panel(TARGET), PoissonRegression()
    model.fit(panel)
    assert model.boosting_weight > 0.2
    forecast = (
        model.predict(panel)
        .filter(pl.col("week") == str(TARGET))
        .with_columns((pl.col("item") != "c").alias("advertised"))
    )
    level = 12.0 * 7 * (1 + pl.col("item").replace_strict({"a": 0, "b": 1, "c": 2}))
    lift = forecast.with_columns(
        (pl.col("mean") / level).alias("lift"), (pl.col("store") < "s08").alias("cut")
    )
    means = {
        (cut, advertised): value
        for cut, advertised, value in lift.group_by("cut", "advertised")
        .agg(pl.col("lift").mean())
        .iter_rows()
    }
    assert means[True, True] > 4.5
    assert means[True, False] < 2.0 > means[False, True]
    explained = model.explain(panel)
    assert explained.select(
        pl.sum_horizontal("last", *DRIVERS)
    ).to_series().to_list() == pytest.approx(forecast["mean"].to_list())
    model.save(tmp_path)
    loaded = PoissonRegression()
    loaded.load(tmp_path)
    assert loaded.predict(panel).equals(model.predict(panel))


def test_without_strong_regressors_nothing_is_boosted():
    panel, model = chain().build_panel(TARGET), PoissonRegression()
    model.fit(panel)
    assert (model.boosting_weight, model.booster) == (0.0, None)


def test_boosting_features_hold_the_lowest_price_of_eight_weeks_and_the_stores_promotions():
    panel = advertised_chain().build_panel(TARGET)
    grid = grid_of(panel)
    regressors = build_regressors(grid, panel, grid.days)
    residuals = WeeklyResiduals(grid, np.ones_like(grid.units), regressors)
    features, week = residuals.build_features(60), 60 * 7
    price, advertised = (
        regressors.values[regressors.names.index(PRICE)],
        regressors.values[regressors.names.index("promotion feat")],
    )
    lowest = [
        min(price[line, week - 7 * back] for back in range(1, 9)) - price[line, week]
        for line in range(len(price))
    ]
    others = [
        sum(
            advertised[other, week]
            for other in range(len(advertised))
            if grid.store[other] == grid.store[line] and other != line
        )
        for line in range(len(advertised))
    ]
    for expected in (lowest, others):
        assert any(np.allclose(column, expected) for column in features.T)


def median_level(shocks: np.ndarray, rows: np.ndarray) -> float:
    """The calibrated level of the median after eight weeks of these errors.

    `shocks` are each week's factor, `rows` those of its lines (8 × lines of five items).
    """
    grid = grid_of(chain().build_panel(TARGET))
    grid = replace(grid, item=np.arange(rows.shape[1]) % 5)
    week = np.round(1000 * shocks[:, None] * rows)
    actual = np.stack([week, week, 2 * week], axis=1)
    mean = np.broadcast_to(np.array([1000.0, 1000.0, 2000.0])[None, :, None], actual.shape)
    past = PastForecasts(actual, mean, np.zeros((8, 3)), np.zeros(actual.shape))
    return float(calibrate_levels(grid, past, np.full(actual.shape, 0.3), "gamma")[4])


def test_the_median_follows_the_skew_of_rows_and_not_the_error_of_a_whole_week():
    random = np.random.default_rng(4)
    even, skew = (
        random.gamma(1 / 0.3**2, 0.3**2, (8, 1000)),
        1.5 - random.exponential(0.5, (8, 1000)).clip(max=1.4),
    )
    assert median_level(np.ones(8), even) == pytest.approx(0.5, abs=0.02)
    assert median_level(np.full(8, 1.3), even) == pytest.approx(0.5, abs=0.03)
    assert median_level(np.ones(8), skew / skew.mean()) > 0.54


@pytest.mark.parametrize(("opposite", "free"), [(True, True), (False, False)])
def test_item_months_are_shrunk_less_when_past_weeks_are_forecast_better_so(opposite, free):
    first = date(2018, 1, 1)
    days = [first + timedelta(days=n) for n in range((TARGET.sunday - first).days + 1)]
    random = np.random.default_rng(6)
    season = np.array([np.sin(2 * np.pi * day.month / 12) for day in days])
    sales = pl.concat(
        pl.DataFrame(
            {
                "date": days,
                "store": store,
                "item": item,
                "units": random.poisson(8 * (1 + sign * 0.5 * season)).astype(float),
            }
        )
        for store in STORES
        for item, sign in zip(ITEMS, (1, -1, 1, -1) if opposite else (1, 1, 1, 1), strict=True)
    )
    model = PoissonRegression()
    grid = grid_of(history_from_sales(sales).build_panel(TARGET))
    chosen, _ = choose_item_month_prior(
        grid,
        build_regressors(grid, history_from_sales(sales).build_panel(TARGET), grid.days),
        model.settings,
    )
    assert (chosen.prior_units.item_month == model.settings.free_item_month_prior_units) == free
    young = grid.last_days(7 * 100)
    assert choose_item_month_prior(
        young,
        build_regressors(young, history_from_sales(sales).build_panel(TARGET), young.days),
        model.settings,
    ) == (model.settings, None)
