"""The forecast of a week by the champion, its rows in the database, and training of challengers."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from tanuki import __version__
from tanuki.errors import NotFound, UserError
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION
from tanuki.shop import backtest, panel
from tanuki.shop.calendar import Week
from tanuki.shop.forecasting.forecaster import (
    DEFAULT_FORECASTER,
    DRIVERS,
    FORECASTERS,
    Forecaster,
    make_forecaster,
)
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.panel import History
from tanuki.shop.tables import Forecast

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry, Version
    from tanuki.platform.warehouse import Warehouse

FORECAST_MODEL = "shop-forecast"  # in the model registry
SCORED_WEEKS = 8  # past weeks on which a new version is scored
MAX_ROWS_PER_PART = 2_000_000  # daily facts forecast together; a process then holds about 1.5 GB


def split_stores(
    db: Session,
    warehouse: "Warehouse",
    week: Week,
    *,
    as_of: datetime,
    max_rows: int = MAX_ROWS_PER_PART,
) -> list[list[str]]:
    """The stores that are forecast together, so that one process can hold each part of a chain.

    Stores stay in the order of their codes. A part has as many as `max_rows` daily facts allow, at
    least one. Without known sales there is no part.
    """
    parts: list[list[str]] = []
    free_rows = 0
    for store, rows in warehouse.count_facts(
        db, SALES, "store", as_of=as_of, where="date <= ?", params=(week.cutoff,)
    ):
        if not parts or rows > free_rows:
            parts.append([])
            free_rows = max_rows
        parts[-1].append(store)
        free_rows -= rows
    return parts


def make_forecast(
    db: Session,
    warehouse: "Warehouse",
    registry: "Registry",
    week: Week,
    *,
    as_of: datetime,
    stores: Sequence[str] | None = None,
) -> tuple[pl.DataFrame, str, str | None]:
    """(forecast, forecaster's name, version) of a week, from what was recorded at `as_of`.

    The forecast is `Forecaster.predict`'s with a column `contributions` (join_contributions), for
    some stores or all. The version is None while none has been released. Raises UserError without
    known sales.
    """
    known = panel.load_history(db, warehouse, as_of=as_of, stores=stores).build_panel(week)
    if known.sales.height == 0:
        raise UserError(
            "No sales up to %(cutoff)s are known, so %(week)s cannot be forecast;"
            " import them first.",
            cutoff=week.cutoff,
            week=week,
        )
    panel.validate_sales(known.sales)
    model, version = load_champion(registry)
    model.fit(known)
    forecast = join_contributions(model.predict(known), model.explain(known), week)
    return forecast, model.name, version


def join_contributions(
    forecast: pl.DataFrame, explanation: pl.DataFrame, week: Week
) -> pl.DataFrame:
    """The forecast with a column `contributions`: last week's units and the drivers' effects.

    Only the target week has it; null elsewhere.
    """
    contributions = explanation.select(
        "store",
        "item",
        pl.lit(str(week)).alias("week"),
        pl.struct("last", *DRIVERS).alias("contributions"),
    )
    keys = ["store", "item", "week"]
    return forecast.join(contributions, on=keys, how="left", maintain_order="left")


def load_champion(registry: "Registry") -> tuple[Forecaster, str | None]:
    """The champion as it was registered, and its version; else the default forecaster and None."""
    try:
        version = registry.get(FORECAST_MODEL, CHAMPION)
    except NotFound:
        return make_forecaster(DEFAULT_FORECASTER), None
    model = make_forecaster(version.parameters["forecaster"])
    with TemporaryDirectory() as folder:
        model.load(registry.load(FORECAST_MODEL, version.version, into=Path(folder)))
    return model, version.version


def next_order_week(history: History) -> Week:
    """The week to order next: its cut-off is the end of the last week of sales."""
    return history.complete_weeks()[1].plus(2)


def train_challenger(history: History, registry: "Registry", name: str, week: Week) -> "Version":
    """Fit a forecaster as if to order `week`, and register it as the challenger.

    Its metrics are the scores of the SCORED_WEEKS weeks before that were known. Nothing in use
    changes: the gate evaluates the version, and a release makes it the champion. Raises NotFound
    for an unknown name, UserError without known sales.
    """
    known = history.build_panel(week)
    if known.sales.height == 0:
        raise UserError(
            "No sales up to %(cutoff)s are known, so no model can be fitted for %(week)s.",
            cutoff=week.cutoff,
            week=week,
        )
    model = make_forecaster(name)
    model.fit(known)
    past_weeks = [week.plus(-n) for n in range(SCORED_WEEKS + 1, 1, -1)]
    rows = backtest.run_backtest(history, past_weeks, {name: FORECASTERS[name]})
    metrics = {
        metric: float(value)
        for scores in backtest.summarize_backtest(rows)
        if scores["model"] == name
        for metric, value in scores.items()
        if isinstance(value, int | float)
    }
    first, _ = panel.sales_date_range(known.sales)
    with TemporaryDirectory() as folder:
        model.save(Path(folder))
        version = registry.save(
            FORECAST_MODEL,
            Path(folder),
            parameters={"forecaster": name, **model.parameters},
            metrics=metrics,
            data_window=(first.isoformat(), week.cutoff.isoformat()),
            code_version=__version__,
        )
    return registry.set_alias(FORECAST_MODEL, CHALLENGER, version.version)


def save_forecast(
    db: Session, week: Week, frame: pl.DataFrame, model: str, as_of: datetime
) -> None:
    """Save the forecast of a week's cycle for its stores, in place of an earlier one of theirs."""
    if frame.height == 0:
        return
    stores = frame["store"].unique().to_list()
    db.execute(delete(Forecast).where(Forecast.cycle == str(week), Forecast.store.in_(stores)))
    db.execute(
        insert(Forecast),
        [
            {**row, "cycle": str(week), "model": model, "as_of": as_of}
            for row in frame.iter_rows(named=True)
        ],
    )


def has_forecast(db: Session, week: Week, stores: Sequence[str]) -> bool:
    """Whether a week's cycle has a forecast for all these stores."""
    forecast_stores = (
        select(Forecast.store)
        .where(Forecast.cycle == str(week), Forecast.week == str(week))
        .distinct()
    )
    return set(stores) <= set(db.scalars(forecast_stores))


def list_target_forecasts(db: Session, week: Week) -> list[Forecast]:
    """The forecasts of a target week, by store and item."""
    query = select(Forecast).where(Forecast.cycle == str(week), Forecast.week == str(week))
    return list(db.scalars(query.order_by(Forecast.store, Forecast.item)))


def list_cycle_forecasts(db: Session, week: Week) -> list[Forecast]:
    """All forecasts of a week's cycle: the target week, its buffer week, and both."""
    query = select(Forecast).where(Forecast.cycle == str(week))
    return list(db.scalars(query.order_by(Forecast.week, Forecast.store, Forecast.item)))
