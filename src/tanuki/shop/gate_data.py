"""What the gate compares: past weeks forecast again by every model, and what each would order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.platform.mlops.evaluation import ComparisonData, Measure, Numbers
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION
from tanuki.shop.backtest import MANAGERS_MODEL
from tanuki.shop.calendar import Week
from tanuki.shop.forecasting.forecaster import (
    QUANTILE_COLUMNS,
    Forecaster,
    interpolate_quantile,
)
from tanuki.shop.panel import History, Panel
from tanuki.shop.tables import DEFAULT_LEFTOVER_COST_YEN, DEFAULT_SHORTAGE_COST_YEN, Item

ForecasterFactory = Callable[[], Forecaster]
Rows = pl.DataFrame
"""A row per week, store and item: [week, store, item, region, size, actual, earlier, before, after,
buffer_mean, and for each model `<model>_mean` and `<model>_order`]. `before`, `earlier` and `after`
are the units sold one and two weeks before and one week after."""

SIZES = ("small", "middle", "large")


@dataclass(frozen=True)
class UnitCosts:
    """Yen per unit short and per unit left over, by item; items without a master have defaults."""

    by_item: Mapping[str, tuple[float, float]]

    def of_items(self, items: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Yen per unit short and per unit left over, a number per item."""
        default = (DEFAULT_SHORTAGE_COST_YEN, DEFAULT_LEFTOVER_COST_YEN)
        pairs = [self.by_item.get(item, default) for item in items]
        return np.array([shortage for shortage, _ in pairs]), np.array([left for _, left in pairs])


def load_unit_costs(db: Session) -> UnitCosts:
    """The costs of the item master."""
    rows = db.execute(select(Item.code, Item.shortage_cost_yen, Item.leftover_cost_yen)).all()
    return UnitCosts({code: (shortage, leftover) for code, shortage, leftover in rows})


@dataclass(frozen=True)
class GateData:
    """What is known of past weeks, and what errors cost."""

    history: History
    costs: UnitCosts


@dataclass(frozen=True)
class GateModels:
    """Makes of each model that is compared a new copy. `baselines` by name."""

    challenger: ForecasterFactory
    champion: ForecasterFactory | None
    baselines: Mapping[str, ForecasterFactory]

    def by_name(self) -> dict[str, ForecasterFactory]:
        champion = {CHAMPION: self.champion} if self.champion else {}
        return {CHALLENGER: self.challenger, **champion, **self.baselines}


@dataclass(frozen=True)
class PastForecasts:
    """Past weeks forecast again.

    expected, answered: the challenger's forecast rows that were asked for, and those that it gave,
    of all cycles. newest: its forecast of the last week, unchanged.
    """

    rows: Rows
    expected: pl.DataFrame
    answered: pl.DataFrame
    newest: pl.DataFrame


def forecast_past_weeks(
    data: GateData, weeks: Sequence[Week], models: Mapping[str, ForecasterFactory]
) -> PastForecasts:
    """Every model's forecast of each week, with only what was known when that week was ordered."""
    frames, expected, answered = [], [], []
    sold = {
        week: data.history.actual_sales(week)
        for week in {target.plus(n) for target in weeks for n in (-2, -1, 0, 1)}
    }
    for week in weeks:
        panel = data.history.build_panel(week)
        series = (
            panel.sales.select("store", "item")
            .unique()
            .sort("store", "item")
            .join(data.history.stores, on="store", how="left")
        )
        rows = series.with_columns(pl.lit(str(week)).alias("week")).join(
            sold[week], on=["store", "item"], how="inner"
        )
        for column, other in (
            ("earlier", week.plus(-2)),
            ("before", week.plus(-1)),
            ("after", week.plus(1)),
        ):
            rows = rows.join(
                sold[other].rename({"actual": column}), on=["store", "item"], how="left"
            )
        forecasts = {name: forecast_panel(factory, panel) for name, factory in models.items()}
        cycle = pl.lit(str(week)).alias("cycle")
        horizon = pl.DataFrame({"week": [str(week.buffer), str(week), str(week.two_week_interval)]})
        expected.append(series.join(horizon, how="cross").with_columns(cycle))
        answered.append(forecasts[CHALLENGER].with_columns(cycle))
        for name, forecast in forecasts.items():
            target = forecast.filter(pl.col("week") == str(week)).unique(
                ["store", "item"], keep="first", maintain_order=True
            )
            orders = optimal_orders(target, data.costs, name)
            rows = rows.join(orders, on=["store", "item"], how="left")
        buffer = (
            forecasts[CHALLENGER]
            .filter(pl.col("week") == str(week.buffer))
            .unique(["store", "item"], keep="first")
            .select("store", "item", pl.col("mean").alias("buffer_mean"))
        )
        managers = data.history.delivered_units(week).rename(
            {"order_units": f"{MANAGERS_MODEL}_order"}
        )
        rows = rows.join(buffer, on=["store", "item"], how="left")
        frames.append(rows.join(managers, on=["store", "item"], how="left"))
    return PastForecasts(
        add_sizes(pl.concat(frames)),
        pl.concat(expected),
        pl.concat(answered),
        answered[-1].drop("cycle"),
    )


def forecast_panel(factory: ForecasterFactory, panel: Panel) -> pl.DataFrame:
    """A new model's forecast of a panel."""
    model = factory()
    model.fit(panel)
    return model.predict(panel)


def optimal_orders(forecast: pl.DataFrame, costs: UnitCosts, model: str) -> pl.DataFrame:
    """[store, item, <model>_mean, <model>_order]: the order that costs least on average.

    That is the quantile shortage / (shortage + leftover) of the forecast (newsvendor).
    """
    shortage, leftover = costs.of_items(forecast["item"].to_list())
    total = shortage + leftover
    level = np.where(total > 0, shortage / np.maximum(total, 1e-9), 0.5)
    quantiles = forecast.select(QUANTILE_COLUMNS).to_numpy()
    order = np.full(forecast.height, np.nan)
    for item_level in np.unique(level):
        rows = level == item_level
        order[rows] = interpolate_quantile(quantiles[rows], float(item_level))
    mean = pl.col("mean").alias(f"{model}_mean")
    return forecast.select("store", "item", mean).with_columns(pl.Series(f"{model}_order", order))


def add_sizes(rows: Rows) -> Rows:
    """Rows with their series' size: thirds of the series by mean sales, small to large."""
    series = (
        rows.group_by("store", "item")
        .agg(pl.col("actual").mean().alias("sold"))
        .sort("sold", "store", "item")
    )
    third = (np.arange(series.height) * len(SIZES) // max(series.height, 1)).tolist()
    size = series.select("store", "item").with_columns(
        pl.Series("size", [SIZES[n] for n in third], dtype=pl.String)
    )
    return rows.join(size, on=["store", "item"], how="left").sort("week", "store", "item")


def build_comparison(
    rows: Rows, costs: UnitCosts, models: Sequence[str], baselines: Sequence[str]
) -> ComparisonData:
    """Losses of every model's orders: their cost in yen, and units short per unit sold."""
    actual = rows["actual"].to_numpy()
    shortage_yen, leftover_yen = costs.of_items(rows["item"].to_list())
    yen, service = {}, {}
    for name in [*models, MANAGERS_MODEL]:
        order = rows[f"{name}_order"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        service[name] = np.maximum(actual - order, 0.0)
        yen[name] = shortage_yen * service[name] + leftover_yen * np.maximum(order - actual, 0.0)
    return ComparisonData(
        block=rows["week"].to_list(),
        slices={kind: rows[kind].to_list() for kind in ("region", "store", "item", "size")},
        measures=[
            Measure("yen", yen),
            Measure("service", service, denominator=actual, must_beat_baseline=False),
        ],
        challenger=CHALLENGER,
        champion=CHAMPION if CHAMPION in models else None,
        baselines=baselines,
        references=[MANAGERS_MODEL],
    )
