"""The forecast of a week: the champion of the registry fitted on what is known now, the rows that the cycle keeps of it, and how one becomes champion."""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from tanuki import __version__
from tanuki.errors import NotFound, UserError
from tanuki.platform.models.registry import CHAMPION
from tanuki.shop import backtest, forecasters, panel
from tanuki.shop.forecasters import Forecaster
from tanuki.shop.panel import History
from tanuki.shop.tables import Forecast
from tanuki.shop.weeks import Week

if TYPE_CHECKING:
    from tanuki.platform.models.registry import Registry, Version
    from tanuki.platform.warehouse import Warehouse

REGISTERED = "shop-forecast"
SCORED_WEEKS = 8


def make(db: Session, warehouse: "Warehouse", registry: "Registry", week: Week, *, as_of: datetime) -> tuple[pl.DataFrame, str, str | None]:
    """The forecast of a week and its buffer week from what was recorded at `as_of`, the model's name, and its version (None: nothing was ever trained)."""
    known = panel.load(db, warehouse, as_of=as_of).panel(week)
    if known.sales.height == 0:
        raise UserError(
            "No sales up to %(cutoff)s are known, so %(week)s cannot be forecast; import them first.", cutoff=week.cutoff, week=week
        )
    panel.check(known.sales)
    model, version = champion(registry)
    model.fit(known)
    return model.predict(known), model.name, version


def champion(registry: "Registry") -> tuple[Forecaster, str | None]:
    """The model that the cycle uses, as it was registered, and its version; the default one when none is."""
    try:
        version = registry.get(REGISTERED, CHAMPION)
    except NotFound:
        return forecasters.make(forecasters.DEFAULT), None
    model = forecasters.make(version.parameters["forecaster"])
    with TemporaryDirectory() as folder:
        model.load(registry.load(REGISTERED, version.version, into=Path(folder)))
    return model, version.version


def next_week(history: History) -> Week:
    """The week that is ordered next: the last whole week of sales is its cut-off."""
    return history.weeks()[1].plus(2)


def train(history: History, registry: "Registry", name: str, week: Week) -> "Version":
    """Fit a model as if to order `week`, register it with its scores over the eight weeks before that were known, and make it the champion."""
    known = history.panel(week)
    if known.sales.height == 0:
        raise UserError("No sales up to %(cutoff)s are known, so nothing can be learnt for %(week)s.", cutoff=week.cutoff, week=week)
    model = forecasters.make(name)
    model.fit(known)
    past = [week.plus(-n) for n in range(SCORED_WEEKS + 1, 1, -1)]
    found = backtest.summary(backtest.run(history, past, {name: forecasters.FORECASTERS[name]}))
    metrics = {key: float(value) for row in found if row["model"] == name for key, value in row.items() if isinstance(value, int | float)}
    first, _ = panel.days_of(known.sales)
    with TemporaryDirectory() as folder:
        model.save(Path(folder))
        version = registry.save(
            REGISTERED,
            Path(folder),
            parameters={"forecaster": name, **model.parameters},
            metrics=metrics,
            data_window=(first.isoformat(), week.cutoff.isoformat()),
            code_version=__version__,
        )
    return registry.set_alias(REGISTERED, CHAMPION, version.version)


def store(db: Session, week: Week, frame: pl.DataFrame, model: str, as_of: datetime) -> None:
    """Keep a forecast as the one of a week's cycle; an earlier one of the same cycle is replaced."""
    db.execute(delete(Forecast).where(Forecast.cycle == str(week)))
    if frame.height:
        db.execute(insert(Forecast), [{**row, "cycle": str(week), "model": model, "as_of": as_of} for row in frame.iter_rows(named=True)])


def of_week(db: Session, week: Week) -> list[Forecast]:
    """What was forecast for a target week, by store and item."""
    wanted = (Forecast.cycle == str(week), Forecast.week == str(week))
    return list(db.scalars(select(Forecast).where(*wanted).order_by(Forecast.store, Forecast.item)))


def of_cycle(db: Session, week: Week) -> list[Forecast]:
    """All that was forecast when a week was ordered: the week itself and its buffer week."""
    return list(db.scalars(select(Forecast).where(Forecast.cycle == str(week)).order_by(Forecast.week, Forecast.store, Forecast.item)))
