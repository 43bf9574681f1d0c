"""Models: the versions in the registry, which one the cycle uses, and which one each week used."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from tanuki.platform.accounts import require
from tanuki.platform.web.kit import Db, Res, Who, page
from tanuki.shop import forecasters, forecasts, weekly
from tanuki.shop.people import CHAIN

router = APIRouter()


class ModelVersion(BaseModel):
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


class UsedBy(BaseModel):
    """The model that a week used."""

    week: str
    model: str | None
    version: str | None
    forecast_at: datetime | None


class ModelsView(BaseModel):
    """Versions, newest first; none when nothing was ever trained, and then the default is used."""

    default: str
    known: list[str]
    champion: str | None
    versions: list[ModelVersion]
    weeks: list[UsedBy]


def view(db: Db, who: Who, res: Res) -> ModelsView:
    """The registry's versions and the weeks that used them."""
    require(who, *CHAIN)
    versions = [
        ModelVersion(
            version=each.version,
            forecaster=str(each.parameters["forecaster"]),
            aliases=list(each.aliases),
            data_first=each.data_window[0],
            data_last=each.data_window[1],
            metrics=each.metrics,
            parameters=each.parameters,
            code_version=each.code_version,
            created_at=each.created_at,
        )
        for each in res.registry.versions(forecasts.REGISTERED)
    ]
    return ModelsView(
        default=forecasters.DEFAULT,
        known=list(forecasters.FORECASTERS),
        champion=next((each.version for each in versions if "champion" in each.aliases), None),
        versions=versions,
        weeks=[
            UsedBy(week=each.week, model=each.model, version=each.model_version, forecast_at=each.forecast_at)
            for each in weekly.cycles(db, 20)
        ],
    )


page(
    router,
    "/shop/models",
    view,
    "shop/models.html",
    csv=lambda view: [each.model_dump(exclude={"metrics", "parameters", "aliases"}) for each in view.versions],
)
