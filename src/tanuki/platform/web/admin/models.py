"""Models of both systems: what is live, what stands beside it and how it does, what the gate found, what went live; there and back with a reason."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel

from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform import audit_log
from tanuki.platform.accounts import require_role
from tanuki.platform.mlops import overview, release, rollout
from tanuki.platform.mlops.overview import Overview
from tanuki.platform.web.auth import CurrentPerson, Lang
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import Res
from tanuki.platform.web.transactions import Db, WriteDb

router = APIRouter()
LOOK = ("analyst", "operator")
STEPS = 50
MODES = {
    rollout.ALONE: msgid("alone"),
    rollout.SHADOW: msgid("in the shadow"),
    rollout.CANARY: msgid("in a canary"),
}
ROLES = {"champion": msgid("live"), "challenger": msgid("beside it"), "left": msgid("gone")}
KINDS = {
    release.GATE: msgid("by the gate’s GO"),
    release.OVERRIDE: msgid("against the gate"),
    release.ROLLBACK: msgid("the way back"),
}
WHAT = {
    "model release": msgid("went live"),
    "model shadow": msgid("into the shadow"),
    "model canary": msgid("into a canary"),
    "model dismiss": msgid("taken away"),
}


class ModelRow(BaseModel):
    """A model. The mode is empty when no server answers with it."""

    model: str
    champion: str | None
    challenger: str | None
    mode: str
    share: float | None
    since: datetime | None


class ModelsView(BaseModel):
    """Every model that is registered or served."""

    models: list[ModelRow]


class WatchedRow(BaseModel):
    """What all servers counted of a version under the plan of now."""

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
    """A registered version."""

    version: str
    aliases: str
    data_first: str
    data_last: str
    code: str
    created: datetime
    metrics: dict[str, float]


class VerdictRow(BaseModel):
    """What the gate found about a version."""

    id: int
    version: str
    champion: str | None
    go: bool
    at: datetime
    by: str
    sentences: list[str]
    may_override: bool


class Released(BaseModel):
    """A change of what is live."""

    version: str
    previous: str | None
    kind: str
    at: datetime
    by: str
    why: str | None


class StepRow(BaseModel):
    """A step on the audit trail."""

    id: int
    what: str
    version: str | None
    at: datetime
    by: str
    why: str | None


class ModelView(BaseModel):
    """One model."""

    plan: ModelRow
    bounds: dict[str, float]
    watched: list[WatchedRow]
    versions: list[VersionRow]
    verdicts: list[VerdictRow]
    releases: list[Released]
    steps: list[StepRow]
    previous: str | None
    may_release: bool


@read_route(router, "/models", "models.html", csv=lambda page: page.models)
def show_models_page(db: Db, person: CurrentPerson, res: Res) -> ModelsView:
    """Every model."""
    require_role(person, *LOOK)
    serving = {plan.model: plan for plan in rollout.list_rollouts(db)}
    names = sorted({*res.registry.names(), *serving})
    return ModelsView(
        models=[
            build_model_row(
                name,
                serving[name].champion
                if name in serving
                else rollout.champion_version(db, res.registry, name),
                serving.get(name),
            )
            for name in names
        ]
    )


def build_model_row(model: str, champion: str | None, plan: Any) -> ModelRow:
    """A model as the page shows it."""
    return ModelRow(
        model=model,
        champion=champion,
        challenger=plan.challenger if plan else None,
        mode=MODES[plan.mode] if plan else "",
        share=plan.share if plan and plan.challenger else None,
        since=plan.at if plan else None,
    )


@read_route(
    router,
    "/models/{model}",
    "model.html",
    csv=lambda page: [version.model_dump(exclude={"metrics"}) for version in page.versions],
)
def show_model_page(db: Db, person: CurrentPerson, res: Res, lang: Lang, model: str) -> ModelView:
    """One model."""
    require_role(person, *LOOK)
    found = overview.of(db, res.registry, model)
    last = found.releases[0] if found.releases else None
    return ModelView(
        plan=build_model_row(model, found.champion, found.plan),
        bounds=dict(found.plan.bounds) if found.plan else {},
        watched=[
            WatchedRow(**{**overview.counts_line(each), "role": ROLES[each.role]})
            for each in found.watched
        ],
        versions=[
            VersionRow(**overview.version_line(version), metrics=version.metrics)
            for version in found.versions
        ],
        verdicts=verdicts(found, lang, person.has_role(*release.MAY_OVERRIDE)),
        releases=[
            Released(**{**overview.release_line(each), "kind": KINDS[each.kind]})
            for each in found.releases
        ],
        steps=[
            StepRow(
                id=entry.id,
                what=WHAT[entry.action],
                version=entry.details.get("version"),
                at=entry.at,
                by=entry.actor,
                why=entry.details.get("why"),
            )
            for entry in audit_log.load_entries(db, f"model:{model}", limit=STEPS)
        ],
        previous=last.previous if last else None,
        may_release=person.has_role(*release.MAY_RELEASE),
    )


def verdicts(found: Overview, lang: str, may_override: bool) -> list[VerdictRow]:
    """Verdicts in the reader's words; only the newest about a version that is not live can be decided against."""
    rows: list[VerdictRow] = []
    for verdict in found.verdicts:
        newest = verdict.version not in {made.version for made in rows}
        said = {
            name: getattr(verdict, name) for name in ("id", "version", "champion", "go", "at", "by")
        }
        may = may_override and newest and not verdict.go and verdict.version != found.champion
        rows.append(
            VerdictRow(**said, sentences=overview.sentences(verdict, lang), may_override=may)
        )
    return rows


@write_route(router, "/models/{model}/promote")
def promote(
    db: WriteDb, person: CurrentPerson, res: Res, model: str, why: Annotated[str, Form()] = ""
) -> ActionResult:
    """Make the challenger the champion."""
    made = release.promote_challenger(
        db, res.registry, person, model, datetime.now(UTC), why=why.strip() or None
    )
    return ActionResult(
        f"/models/{model}", msgid("Version %(version)s is live."), {"version": made.version}
    )


@write_route(router, "/models/{model}/dismiss")
def dismiss(
    db: WriteDb, person: CurrentPerson, res: Res, model: str, why: Annotated[str, Form()]
) -> ActionResult:
    """Take the challenger away."""
    version = release.dismiss_challenger(
        db, res.registry, person, model, datetime.now(UTC), why=why
    )
    return ActionResult(
        f"/models/{model}", msgid("Version %(version)s was taken away."), {"version": version}
    )


@write_route(router, "/models/{model}/rollback")
def roll_back(
    db: WriteDb, person: CurrentPerson, res: Res, model: str, why: Annotated[str, Form()]
) -> ActionResult:
    """Back to the version that was live before."""
    made = release.roll_back_version(
        db, res.registry, person, model, why=why, now=datetime.now(UTC)
    )
    return ActionResult(
        f"/models/{model}", msgid("Version %(version)s is live again."), {"version": made.version}
    )


@write_route(router, "/models/{model}/beside")
def beside(
    db: WriteDb,
    person: CurrentPerson,
    res: Res,
    model: str,
    version: Annotated[str, Form()],
    how: Annotated[str, Form()],
    percent: Annotated[float, Form()],
) -> ActionResult:
    """Put a version into the shadow or a canary."""
    steps = {rollout.SHADOW: release.start_shadow, rollout.CANARY: release.start_canary}
    if how not in steps:
        raise UserError(
            "%(how)s is no way for a version to stand beside the live one; expected %(known)s.",
            how=how,
            known=" / ".join(steps),
        )
    steps[how](db, res.registry, person, model, version, datetime.now(UTC), share=percent / 100)
    return ActionResult(
        f"/models/{model}",
        msgid("Version %(version)s stands beside the live one."),
        {"version": version},
    )


@write_route(router, "/models/{model}/{version}/override")
def override(
    db: WriteDb,
    person: CurrentPerson,
    res: Res,
    model: str,
    version: str,
    why: Annotated[str, Form()],
) -> ActionResult:
    """Make a version live against a NO-GO."""
    release.override_verdict(
        db, res.registry, person, model, version, why=why, now=datetime.now(UTC)
    )
    return ActionResult(
        f"/models/{model}",
        msgid("Version %(version)s is live, against the gate."),
        {"version": version},
    )
