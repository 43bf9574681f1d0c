"""Models of both systems: champion, challenger, counts, verdicts, releases, and the steps."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.i18n import Translate, msgid
from tanuki.platform import audit_log
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.mlops import overview, release, rollout
from tanuki.platform.mlops.evaluation import OVERALL
from tanuki.platform.mlops.lifecycle import Lifecycle
from tanuki.platform.mlops.overview import ModelOverview
from tanuki.platform.mlops.reasons import MEASURES as PLATFORM_MEASURES
from tanuki.platform.mlops.reasons import PLAIN
from tanuki.platform.mlops.registry import CHAMPION, Registry
from tanuki.platform.mlops.release import ModelChange
from tanuki.platform.mlops.tables import (
    GateVerdict,
    Release,
    ReleaseKind,
    Rollout,
    RolloutMode,
    ServedAs,
)
from tanuki.platform.web.auth import CurrentPerson, Lang
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import Res, Site, get_site
from tanuki.platform.web.transactions import Db, WriteDb

router = APIRouter()
MAY_SEE_MODELS = ("analyst", "operator")
AUDIT_ENTRIES_PER_MODEL = 50
MODE_TITLES: dict[str, str] = {
    RolloutMode.CHAMPION_ONLY: msgid("champion only"),
    RolloutMode.SHADOW: msgid("shadow"),
    RolloutMode.CANARY: msgid("canary"),
}
ROLE_TITLES: dict[str | None, str] = {
    ServedAs.CHAMPION: msgid("champion"),
    ServedAs.CHALLENGER: msgid("challenger"),
    None: msgid("no longer used"),
}
KIND_TITLES: dict[str, str] = {
    ReleaseKind.GATE: msgid("on a GO"),
    ReleaseKind.OVERRIDE: msgid("override of a NO-GO"),
    ReleaseKind.ROLLBACK: msgid("rollback"),
}
ACTION_TITLES: dict[str, str] = {
    "model release": msgid("released"),
    "model shadow": msgid("shadow started"),
    "model canary": msgid("canary started"),
    "model dismiss": msgid("challenger removed"),
}
OTHER_TITLES: dict[str, str] = {
    CHAMPION: msgid("the champion"),
    "managers": msgid("the managers’ orders"),
}
"""Whom a version is compared with; baselines have their technical names."""


class ModelRow(BaseModel):
    """A model. Without servers that answer with it `mode` is empty.

    path: of its page here, or before its first version of the system's own page.
    """

    model: str
    title: str
    path: str
    champion: str | None
    challenger: str | None
    mode: str
    share: float | None
    since: datetime | None
    page: str | None


class ModelsView(BaseModel):
    """Every model that is registered, served, or has a page in its system."""

    models: list[ModelRow]


class ServedRow(BaseModel):
    """What all servers counted of a version under the present rollout."""

    version: str
    role: str
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    compared: int
    agreement: float | None
    last_error: str | None


class VersionRow(BaseModel):
    version: str
    aliases: str
    data_first: str
    data_last: str
    code: str
    created: datetime
    metrics: dict[str, float]


class ComparisonRow(BaseModel):
    """A version compared with another model over all rows; `change` is positive when worse."""

    measure: str
    other: str
    rows: int
    change: float
    low: float
    high: float


class VerdictRow(BaseModel):
    id: int
    version: str
    champion: str | None
    go: bool
    at: datetime
    by: str
    sentences: list[str]
    comparisons: list[ComparisonRow]
    may_override: bool


class ReleaseRow(BaseModel):
    version: str
    previous: str | None
    kind: str
    at: datetime
    by: str
    why: str | None


class AuditRow(BaseModel):
    id: int
    action: str
    version: str | None
    at: datetime
    by: str
    why: str | None


class ModelView(BaseModel):
    """One model."""

    model: ModelRow
    bounds: dict[str, float]
    served: list[ServedRow]
    versions: list[VersionRow]
    verdicts: list[VerdictRow]
    releases: list[ReleaseRow]
    audit_log: list[AuditRow]
    previous: str | None
    may_release: bool


class Reader:
    """What rendering needs: the models' specs, the reader's language and its translator."""

    def __init__(self, site: Annotated[Site, Depends(get_site)], lang: Lang) -> None:
        self.lifecycle: Lifecycle = site.resources.lifecycle
        self.registry: Registry = site.resources.registry
        self.lang = lang
        self.say: Translate = site.texts.translator(lang)

    def labels(self, db: Session, model: str) -> Mapping[str, str]:
        """Names of slices' labels, such as stores, by code."""
        spec = self.lifecycle.specs.get(model)
        return spec.load_labels(db, self.lang) if spec and spec.load_labels else {}

    def measure(self, model: str, measure: str) -> str:
        spec = self.lifecycle.specs.get(model)
        texts = spec.texts if spec else PLAIN
        return self.say({**PLATFORM_MEASURES, **texts.measures}.get(measure, measure))


CurrentReader = Annotated[Reader, Depends()]


@read_route(router, "/models", "models.html", csv=lambda page: page.models)
def show_models_page(db: Db, person: CurrentPerson, reader: CurrentReader) -> ModelsView:
    """Every model."""
    require_role(person, *MAY_SEE_MODELS)
    rollouts = {row.model: row for row in rollout.list_rollouts(db)}
    specs = reader.lifecycle.specs.values()
    with_page = {spec.name for spec in specs if spec.page}
    names = sorted({*reader.registry.names(), *rollouts, *with_page})
    return ModelsView(
        models=[
            build_model_row(
                reader,
                name,
                rollout.champion_version(db, reader.registry, name),
                rollouts.get(name),
            )
            for name in names
        ]
    )


def build_model_row(
    reader: Reader, model: str, champion: str | None, row: Rollout | None
) -> ModelRow:
    spec = reader.lifecycle.specs.get(model)
    own_page = spec.page if spec else None
    is_new = row is None and champion is None and model not in reader.registry.names()
    return ModelRow(
        model=model,
        title=reader.say(reader.lifecycle.title(model)),
        path=own_page if is_new and own_page else f"/models/{quote(model)}",
        champion=champion,
        challenger=row.challenger if row else None,
        mode=MODE_TITLES[row.mode] if row else "",
        share=row.share if row and row.challenger else None,
        since=row.at if row else None,
        page=own_page,
    )


@read_route(
    router,
    "/models/{model}",
    "model.html",
    csv=lambda page: [version.model_dump(exclude={"metrics"}) for version in page.versions],
)
def show_model_page(db: Db, person: CurrentPerson, reader: CurrentReader, model: str) -> ModelView:
    """One model."""
    require_role(person, *MAY_SEE_MODELS)
    details = overview.load_overview(db, reader.registry, model)
    newest = details.releases[0] if details.releases else None
    return ModelView(
        model=build_model_row(reader, model, details.champion, details.rollout),
        bounds=dict(details.rollout.bounds) if details.rollout else {},
        served=[
            ServedRow(**{**overview.counts_row(served), "role": ROLE_TITLES[served.role]})
            for served in details.served
        ],
        versions=[
            VersionRow(**overview.version_row(version), metrics=version.metrics)
            for version in details.versions
        ],
        verdicts=build_verdict_rows(db, reader, details, person),
        releases=[build_release_row(reader, entry) for entry in details.releases],
        audit_log=[
            build_audit_row(reader, entry)
            for entry in audit_log.load_entries(db, f"model:{model}", limit=AUDIT_ENTRIES_PER_MODEL)
        ],
        previous=newest.previous if newest else None,
        may_release=person.has_role(*release.MAY_RELEASE),
    )


def build_release_row(reader: Reader, entry: Release) -> ReleaseRow:
    why = overview.release_reason(entry.why, entry.violation, reader.say)
    return ReleaseRow(
        **{**overview.release_row(entry), "kind": KIND_TITLES[entry.kind], "why": why}
    )


def build_audit_row(reader: Reader, entry: audit_log.AuditLogEntry) -> AuditRow:
    details = entry.details
    return AuditRow(
        id=entry.id,
        action=ACTION_TITLES[entry.action],
        version=details.get("version"),
        at=entry.at,
        by=entry.actor,
        why=overview.release_reason(details.get("why"), details.get("violation"), reader.say),
    )


def build_verdict_rows(
    db: Session, reader: Reader, details: ModelOverview, person: Person
) -> list[VerdictRow]:
    """Verdicts, newest first.

    Of a version that is not live the newest NO-GO can be overridden.
    """
    labels = reader.labels(db, details.model)
    may_override = person.has_role(*release.MAY_OVERRIDE)
    rows: list[VerdictRow] = []
    for verdict in details.verdicts:
        is_newest = verdict.version not in {row.version for row in rows}
        rows.append(
            VerdictRow(
                id=verdict.id,
                version=verdict.version,
                champion=verdict.champion,
                go=verdict.go,
                at=verdict.at,
                by=verdict.by,
                sentences=reader.lifecycle.render_reasons(verdict, reader.say, labels),
                comparisons=build_comparison_rows(reader, verdict),
                may_override=may_override
                and is_newest
                and not verdict.go
                and verdict.version != details.champion,
            )
        )
    return rows


def build_comparison_rows(reader: Reader, verdict: GateVerdict) -> list[ComparisonRow]:
    """A verdict's comparisons over all rows."""
    comparisons: list[dict[str, Any]] = verdict.report.get("comparisons", [])
    return [
        ComparisonRow(
            measure=reader.measure(verdict.model, comparison["measure"]),
            other=OTHER_TITLES.get(comparison["other"], comparison["other"]),
            rows=comparison["rows"],
            change=comparison["change"],
            low=comparison["low"],
            high=comparison["high"],
        )
        for comparison in comparisons
        if comparison["slice"] == OVERALL
    ]


# ---- actions -------------------------------------------------------------------------------------


def open_change(db: WriteDb, person: CurrentPerson, res: Res, model: str) -> ModelChange:
    """The change of a model that a request makes, a dependency."""
    return ModelChange(db, res.registry, model, person, datetime.now(UTC))


Change = Annotated[ModelChange, Depends(open_change)]


@write_route(router, "/models/{model}/promote")
def promote_challenger(change: Change, why: Annotated[str, Form()] = "") -> ActionResult:
    """Make the challenger the champion."""
    entry = release.promote_challenger(change, why.strip() or None)
    return model_result(change, msgid("Version %(version)s is live."), entry.version)


@write_route(router, "/models/{model}/dismiss")
def dismiss_challenger(change: Change, why: Annotated[str, Form()]) -> ActionResult:
    """Take the challenger away."""
    version = release.dismiss_challenger(change, why)
    return model_result(change, msgid("The challenger %(version)s was taken away."), version)


@write_route(router, "/models/{model}/rollback")
def roll_back_version(change: Change, why: Annotated[str, Form()]) -> ActionResult:
    """Make the previous champion live again."""
    entry = release.roll_back_version(change, why)
    return model_result(change, msgid("Version %(version)s is live again."), entry.version)


@write_route(router, "/models/{model}/challenge")
def start_challenger(
    change: Change,
    version: Annotated[str, Form()],
    mode: Annotated[str, Form()],
    percent: Annotated[float, Form()],
) -> ActionResult:
    """Put a version beside the champion, in shadow or as a canary."""
    starts = {RolloutMode.SHADOW: release.start_shadow, RolloutMode.CANARY: release.start_canary}
    if mode not in starts:
        raise UserError(
            "The mode is %(mode)s; expected one of %(known)s.", mode=mode, known=", ".join(starts)
        )
    starts[RolloutMode(mode)](change, version, share=percent / 100)
    return model_result(change, msgid("Version %(version)s is the challenger now."), version)


@write_route(router, "/models/{model}/{version}/override")
def override_verdict(change: Change, version: str, why: Annotated[str, Form()]) -> ActionResult:
    """Make a version live against a NO-GO."""
    release.override_verdict(change, version, why)
    return model_result(change, msgid("Version %(version)s is live, against the NO-GO."), version)


def model_result(change: ModelChange, message: str, version: str) -> ActionResult:
    return ActionResult(f"/models/{change.model}", message, {"version": version})
