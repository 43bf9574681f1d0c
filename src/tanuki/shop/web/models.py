"""Forecast models: accuracy of the versions, comparison by store and item, and the weeks' model.

Verdicts, releases and rollbacks are on the page of all models, `/models/shop-forecast`.
"""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki.platform.accounts import require_role
from tanuki.platform.mlops import release
from tanuki.platform.mlops.tables import GateVerdict
from tanuki.platform.web.admin.models import CurrentReader, Reader
from tanuki.platform.web.auth import CurrentPerson
from tanuki.platform.web.pages import read_route
from tanuki.platform.web.transactions import Db
from tanuki.shop import forecasts, weekly
from tanuki.shop.forecasting import forecaster
from tanuki.shop.store_access import CHAIN_ROLES

router = APIRouter()
WEEKS_PER_PAGE = 20
COMPARED_SLICES = ("store", "item")
COMPARED_MEASURE = "yen"
COMPARISONS_PER_PAGE = 40


class ForecastVersion(BaseModel):
    """A registered version."""

    version: str
    forecaster: str
    aliases: list[str]
    data_first: str
    data_last: str
    metrics: dict[str, float]
    parameters: dict[str, Any]
    code_version: str
    created_at: datetime


class WeekModel(BaseModel):
    """The model that a week was forecast with."""

    week: str
    model: str | None
    version: str | None
    forecast_at: datetime | None


class SliceComparison(BaseModel):
    """The newest evaluated version's cost in a store or item; `change` is positive when worse."""

    slice: str
    label: str
    rows: int
    cost_yen: float
    other_cost_yen: float
    change: float
    low: float
    high: float


class ForecastModelsView(BaseModel):
    """Versions, newest first. Without any the default model is used.

    comparisons: of the newest evaluated version with the champion or, where there was none, with
    the best baseline; the worst first.
    """

    model: str
    default: str
    known: list[str]
    versions: list[ForecastVersion]
    evaluated: str | None
    other: str | None
    comparisons: list[SliceComparison]
    weeks: list[WeekModel]


@read_route(
    router,
    "/shop/models",
    "shop/models.html",
    csv=lambda page: [
        version.model_dump(exclude={"metrics", "parameters", "aliases"})
        for version in page.versions
    ],
)
def show_forecast_models_page(
    db: Db, person: CurrentPerson, reader: CurrentReader
) -> ForecastModelsView:
    """The forecast's versions, where the newest is better or worse, and what each week used."""
    require_role(person, *CHAIN_ROLES)
    newest = next(iter(release.list_verdicts(db, forecasts.FORECAST_MODEL, 1)), None)
    return ForecastModelsView(
        model=forecasts.FORECAST_MODEL,
        default=forecaster.DEFAULT_FORECASTER,
        known=list(forecaster.FORECASTERS),
        versions=[
            ForecastVersion(
                version=version.version,
                forecaster=str(version.parameters["forecaster"]),
                aliases=list(version.aliases),
                data_first=version.data_window[0],
                data_last=version.data_window[1],
                metrics=version.metrics,
                parameters=version.parameters,
                code_version=version.code_version,
                created_at=version.created_at,
            )
            for version in reader.registry.versions(forecasts.FORECAST_MODEL)
        ],
        evaluated=newest.version if newest else None,
        other=compared_model(newest) if newest else None,
        comparisons=build_slice_comparisons(db, reader, newest) if newest else [],
        weeks=[
            WeekModel(
                week=cycle.week,
                model=cycle.model,
                version=cycle.model_version,
                forecast_at=cycle.forecast_at,
            )
            for cycle in weekly.list_cycles(db, WEEKS_PER_PAGE)
        ],
    )


def compared_model(verdict: GateVerdict) -> str | None:
    """The model that slices were compared with: a champion's version, or the best baseline."""
    return verdict.champion or verdict.report.get("default") or verdict.report.get("baseline")


def build_slice_comparisons(
    db: Session, reader: Reader, verdict: GateVerdict
) -> list[SliceComparison]:
    """A verdict's comparison of cost by store and item, the worst first."""
    spec = reader.lifecycle.spec(verdict.model)
    labels = reader.labels(db, verdict.model)
    has_champion = verdict.champion or verdict.report.get("default")
    other = "champion" if has_champion else verdict.report.get("baseline")
    lines = [
        line
        for line in verdict.report.get("comparisons", [])
        if line["slice"] in COMPARED_SLICES
        and line["measure"] == COMPARED_MEASURE
        and line["other"] == other
    ]
    lines.sort(key=lambda line: -line["change"])
    return [
        SliceComparison(
            slice=reader.say(spec.texts.slices[line["slice"]]),
            label=labels.get(line["label"], line["label"]),
            rows=line["rows"],
            cost_yen=line["loss"],
            other_cost_yen=line["other_loss"],
            change=line["change"],
            low=line["low"],
            high=line["high"],
        )
        for line in lines[:COMPARISONS_PER_PAGE]
    ]
