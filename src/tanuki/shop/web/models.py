"""Models: the versions in the registry, what the gate found about them, what went live and why, and which one each week used."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki.i18n import msgid
from tanuki.platform.accounts import require_role
from tanuki.platform.mlops import release
from tanuki.platform.mlops.evaluation import OVERALL
from tanuki.platform.mlops.registry import CHAMPION
from tanuki.platform.mlops.tables import GateVerdict
from tanuki.platform.web.admin.models import Released
from tanuki.platform.web.auth import CurrentPerson, Lang
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import Res
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop import forecasts, gate, weekly
from tanuki.shop.forecasting import forecaster as forecasters
from tanuki.shop.store_access import CHAIN_ROLES
from tanuki.shop.web.formatting import load_names

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


class Compared(BaseModel):
    """A version beside another model over all rows: how much worse (below 0: better) as a share, and between what and what."""

    measure: str
    other: str
    rows: int
    ours: float
    theirs: float
    change: float
    low: float
    high: float


class Verdict(BaseModel):
    """What the gate found about a version, with a sentence for each reason."""

    id: int
    version: str
    champion: str | None
    default: str | None  # the model that stood for the champion while none was released
    go: bool
    at: datetime
    by: str
    weeks: list[str]
    reasons: list[dict[str, Any]]
    sentences: list[str]
    compared: list[Compared]
    live: bool
    may_override: bool


class ModelsView(BaseModel):
    """Versions, newest first; none when nothing was ever trained, and then the default is used."""

    default: str
    known: list[str]
    champion: str | None
    previous: str | None
    may_roll_back: bool
    versions: list[ModelVersion]
    verdicts: list[Verdict]
    releases: list[Released]
    weeks: list[UsedBy]


def verdicts(db: Session, person: CurrentPerson, lang: str, champion: str | None) -> list[Verdict]:
    """The gate's verdicts as the page shows them; only the newest about a version that is not live can be decided against."""
    called = load_names(db, lang)
    known = {**called.items, **called.stores, **called.regions}
    rows: list[Verdict] = []
    for each in release.list_verdicts(db, forecasts.FORECAST_MODEL):
        newest = each.version not in {row.version for row in rows}
        may = (
            newest
            and not each.go
            and each.version != champion
            and person.has_role(*release.MAY_OVERRIDE)
        )
        rows.append(verdict(each, lang, known, live=each.version == champion, may_override=may))
    return rows


def verdict(
    each: GateVerdict, lang: str, known: dict[str, str], *, live: bool, may_override: bool
) -> Verdict:
    """One verdict in the reader's words."""
    return Verdict(
        id=each.id,
        version=each.version,
        champion=each.champion,
        default=each.report["default"],
        go=each.go,
        at=each.at,
        by=each.by,
        weeks=each.report["weeks"],
        reasons=each.report["reasons"],
        sentences=[gate.render_reasons(reason, lang, known) for reason in each.report["reasons"]],
        compared=[
            Compared(**{**line, "measure": gate.MEASURES[line["measure"]][lang]})
            for line in each.report["comparisons"]
            if line["slice"] == OVERALL
        ],
        live=live,
        may_override=may_override,
    )


@read_route(
    router,
    "/shop/models",
    "shop/models.html",
    csv=lambda page: [
        version.model_dump(exclude={"metrics", "parameters", "aliases"})
        for version in page.versions
    ],
)
def show_forecasters_page(db: Db, person: CurrentPerson, res: Res, lang: Lang) -> ModelsView:
    """The registry's versions, the gate's verdicts, and the weeks that used them."""
    require_role(person, *CHAIN_ROLES)
    versions = [
        ModelVersion(
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
        for version in res.registry.versions(forecasts.FORECAST_MODEL)
    ]
    meant = {alias: version.version for version in versions for alias in version.aliases}
    champion, previous = meant.get(CHAMPION), meant.get(release.PREVIOUS)
    return ModelsView(
        default=forecasters.DEFAULT_FORECASTER,
        known=list(forecasters.FORECASTERS),
        champion=champion,
        previous=previous,
        may_roll_back=previous is not None and person.has_role(*release.MAY_RELEASE),
        versions=versions,
        verdicts=verdicts(db, person, lang, champion),
        releases=[
            Released(**{name: getattr(each, name) for name in Released.model_fields})
            for each in release.list_releases(db, forecasts.FORECAST_MODEL)
        ],
        weeks=[
            UsedBy(
                week=cycle.week,
                model=cycle.model,
                version=cycle.model_version,
                forecast_at=cycle.forecast_at,
            )
            for cycle in weekly.list_cycles(db, 20)
        ],
    )


@write_route(router, "/shop/models/rollback")
def roll_back(
    db: WriteDb, person: CurrentPerson, res: Res, why: Annotated[str, Form()]
) -> ActionResult:
    """Back to the version that was live before."""
    made = release.roll_back_version(
        db, res.registry, person, forecasts.FORECAST_MODEL, why=why, now=datetime.now(UTC)
    )
    return ActionResult(
        "/shop/models", msgid("Version %(version)s is live again."), {"version": made.version}
    )


@write_route(router, "/shop/models/{version}/override")
def override(
    db: WriteDb, person: CurrentPerson, res: Res, version: str, why: Annotated[str, Form()]
) -> ActionResult:
    """Make a version live against a NO-GO."""
    release.override_verdict(
        db, res.registry, person, forecasts.FORECAST_MODEL, version, why=why, now=datetime.now(UTC)
    )
    return ActionResult(
        "/shop/models",
        msgid("Version %(version)s is live, against the gate."),
        {"version": version},
    )
