"""The forecast of a week: the champion of the registry fitted on what is known now, the rows that the cycle keeps of it, and how a challenger is made."""

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
from tanuki.shop.forecasting import forecaster
from tanuki.shop.forecasting.forecaster import Forecaster
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.panel import History
from tanuki.shop.tables import Forecast

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry, Version
    from tanuki.platform.warehouse import Warehouse

REGISTERED = "shop-forecast"
SCORED_WEEKS = 8
PART_ROWS = 2_000_000  # daily facts forecast together: about 1.5 GB while it lasts


def parts(
    db: Session, warehouse: "Warehouse", week: Week, *, as_of: datetime, most_rows: int = PART_ROWS
) -> list[list[str]]:
    """The stores that are forecast together, so that no part of a large chain is more than one process can hold; none when nothing is known.

    Stores stay in the order of their codes, as many in a part as `most_rows` facts allow, at least one.
    """
    found: list[list[str]] = []
    room = 0
    for store, rows in warehouse.counts(
        db, SALES, "store", as_of=as_of, where="date <= ?", params=(week.cutoff,)
    ):
        if not found or rows > room:
            found.append([])
            room = most_rows
        found[-1].append(store)
        room -= rows
    return found


def make(
    db: Session,
    warehouse: "Warehouse",
    registry: "Registry",
    week: Week,
    *,
    as_of: datetime,
    stores: Sequence[str] | None = None,
) -> tuple[pl.DataFrame, str, str | None]:
    """The forecast of a week, its buffer week and both from what was recorded at `as_of`, for some stores or all.

    Gives the rows, the model's name and its version (None: nothing was ever trained). The rows have a column `moved` (with_moves).
    """
    known = panel.load(db, warehouse, as_of=as_of, stores=stores).panel(week)
    if known.sales.height == 0:
        raise UserError(
            "No sales up to %(cutoff)s are known, so %(week)s cannot be forecast; import them first.",
            cutoff=week.cutoff,
            week=week,
        )
    panel.check(known.sales)
    model, version = champion(registry)
    model.fit(known)
    return with_moves(model.predict(known), model.explain(known), week), model.name, version


def with_moves(forecast: pl.DataFrame, explained: pl.DataFrame, week: Week) -> pl.DataFrame:
    """A forecast with a column `moved`: of the target week, what moves the last known week's units to its mean; null elsewhere."""
    moved = explained.select(
        "store",
        "item",
        pl.lit(str(week)).alias("week"),
        pl.struct("last", *forecaster.MOVES).alias("moved"),
    )
    return forecast.join(moved, on=["store", "item", "week"], how="left", maintain_order="left")


def champion(registry: "Registry") -> tuple[Forecaster, str | None]:
    """The model that the cycle uses, as it was registered, and its version; the default one when none is."""
    try:
        version = registry.get(REGISTERED, CHAMPION)
    except NotFound:
        return forecaster.make(forecaster.DEFAULT), None
    model = forecaster.make(version.parameters["forecaster"])
    with TemporaryDirectory() as folder:
        model.load(registry.load(REGISTERED, version.version, into=Path(folder)))
    return model, version.version


def next_week(history: History) -> Week:
    """The week that is ordered next: the last whole week of sales is its cut-off."""
    return history.weeks()[1].plus(2)


def train(history: History, registry: "Registry", name: str, week: Week) -> "Version":
    """Fit a model as if to order `week` and register it as the challenger, with its scores over the eight weeks before that were known.

    It changes nothing that is live: the gate judges it, and a release makes it the champion.
    """
    known = history.panel(week)
    if known.sales.height == 0:
        raise UserError(
            "No sales up to %(cutoff)s are known, so nothing can be learnt for %(week)s.",
            cutoff=week.cutoff,
            week=week,
        )
    model = forecaster.make(name)
    model.fit(known)
    past = [week.plus(-n) for n in range(SCORED_WEEKS + 1, 1, -1)]
    found = backtest.summary(backtest.run(history, past, {name: forecaster.FORECASTERS[name]}))
    metrics = {
        key: float(value)
        for row in found
        if row["model"] == name
        for key, value in row.items()
        if isinstance(value, int | float)
    }
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
    return registry.set_alias(REGISTERED, CHALLENGER, version.version)


def store(db: Session, week: Week, frame: pl.DataFrame, model: str, as_of: datetime) -> None:
    """Keep a forecast as the one of a week's cycle for the stores it has; an earlier one of theirs is replaced."""
    if frame.height == 0:
        return
    db.execute(
        delete(Forecast).where(
            Forecast.cycle == str(week), Forecast.store.in_(frame["store"].unique().to_list())
        )
    )
    db.execute(
        insert(Forecast),
        [
            {**row, "cycle": str(week), "model": model, "as_of": as_of}
            for row in frame.iter_rows(named=True)
        ],
    )


def there(db: Session, week: Week, stores: Sequence[str]) -> bool:
    """Whether a week's cycle has a forecast for all these stores already."""
    found = (
        select(Forecast.store)
        .where(Forecast.cycle == str(week), Forecast.week == str(week))
        .distinct()
    )
    return set(stores) <= set(db.scalars(found))


def of_week(db: Session, week: Week) -> list[Forecast]:
    """What was forecast for a target week, by store and item."""
    wanted = (Forecast.cycle == str(week), Forecast.week == str(week))
    return list(db.scalars(select(Forecast).where(*wanted).order_by(Forecast.store, Forecast.item)))


def of_cycle(db: Session, week: Week) -> list[Forecast]:
    """All that was forecast when a week was ordered: the week itself and its buffer week."""
    return list(
        db.scalars(
            select(Forecast)
            .where(Forecast.cycle == str(week))
            .order_by(Forecast.week, Forecast.store, Forecast.item)
        )
    )
