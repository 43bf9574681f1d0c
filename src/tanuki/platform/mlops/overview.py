"""One model for the command and the page: versions, rollout, counts, verdicts and releases."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from tanuki.errors import NotFound
from tanuki.i18n import Translate, english
from tanuki.platform.mlops import guardrails, release, rollout
from tanuki.platform.mlops.guardrails import VersionCounts, render_violation
from tanuki.platform.mlops.lifecycle import Lifecycle
from tanuki.platform.mlops.registry import Registry, Version
from tanuki.platform.mlops.tables import GateVerdict, Release, Rollout, ServedAs

RECORDS_PER_MODEL = 20


@dataclass(frozen=True)
class ServedVersion:
    """What all servers counted of a version under the present rollout; `role` None: it has left."""

    version: str
    role: ServedAs | None
    counts: VersionCounts


@dataclass(frozen=True)
class ModelOverview:
    """A model, its newest versions and records. Without servers that answer, no rollout."""

    model: str
    champion: str | None
    rollout: Rollout | None
    versions: list[Version]
    served: list[ServedVersion]
    verdicts: list[GateVerdict]
    releases: list[Release]


def load_overview(db: Session, registry: Registry, model: str) -> ModelOverview:
    """All about one model. Raises NotFound."""
    row, versions = rollout.load_rollout(db, model), registry.versions(model)
    if row is None and not versions:
        raise NotFound("There is no model %(model)s.", model=model)
    counts = guardrails.load_counts(db, model, [row.serial]) if row else {}
    return ModelOverview(
        model,
        rollout.champion_version(db, registry, model),
        row,
        versions[:RECORDS_PER_MODEL],
        [
            ServedVersion(version, role_of(row, version), version_counts)
            for version, version_counts in sorted(counts.items())
        ],
        release.list_verdicts(db, model, RECORDS_PER_MODEL),
        release.list_releases(db, model, RECORDS_PER_MODEL),
    )


def role_of(row: Rollout | None, version: str) -> ServedAs | None:
    if row is not None and version == row.champion:
        return ServedAs.CHAMPION
    return ServedAs.CHALLENGER if row is not None and version == row.challenger else None


def release_reason(
    why: str | None, violation: dict[str, Any] | None, say: Translate = english
) -> str | None:
    """Why the champion changed: a person's words, or the violated guardrail as a sentence."""
    return render_violation(violation, say) if violation else why


# ---- as table rows -------------------------------------------------------------------------------


def verdict_row(lifecycle: Lifecycle, verdict: GateVerdict) -> dict[str, Any]:
    return {
        "id": verdict.id,
        "version": verdict.version,
        "verdict": verdict.decision,
        "champion": verdict.champion,
        "at": verdict.at,
        "by": verdict.by,
        "reasons": " ".join(lifecycle.render_reasons(verdict)),
    }


def counts_row(served: ServedVersion) -> dict[str, Any]:
    counts = served.counts
    return {
        "version": served.version,
        "role": served.role,
        "requests": counts.requests,
        "errors": counts.errors,
        "p50_ms": counts.quantile(0.5),
        "p95_ms": counts.quantile(0.95),
        "compared": counts.compared,
        "agreement": counts.agreement,
        "last_error": counts.last_error or None,
    }


def version_row(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "aliases": " ".join(version.aliases),
        "data_first": version.data_window[0],
        "data_last": version.data_window[1],
        "code": version.code_version,
        "created": version.created_at,
    }


def release_row(entry: Release) -> dict[str, Any]:
    names = ("version", "previous", "kind", "at", "by")
    why = release_reason(entry.why, entry.violation)
    return {**{name: getattr(entry, name) for name in names}, "why": why}


def rollout_row(row: Rollout) -> dict[str, Any]:
    names = ("champion", "challenger", "mode", "share", "serial", "at")
    return {name: getattr(row, name) for name in names}


def overview_tables(
    lifecycle: Lifecycle, overview: ModelOverview
) -> list[tuple[str, list[dict[str, Any]]]]:
    """An overview as titled tables."""
    return [
        ("Rollout", [rollout_row(overview.rollout)] if overview.rollout else []),
        ("Counted under this rollout", [counts_row(served) for served in overview.served]),
        ("Versions", [version_row(version) for version in overview.versions]),
        ("Verdicts", [verdict_row(lifecycle, verdict) for verdict in overview.verdicts]),
        ("Releases", [release_row(entry) for entry in overview.releases]),
    ]


def overview_json(lifecycle: Lifecycle, overview: ModelOverview) -> dict[str, Any]:
    """An overview as one JSON object."""
    row = overview.rollout
    return {
        "model": overview.model,
        "title": lifecycle.title(overview.model),
        "champion": overview.champion,
        "rollout": {**rollout_row(row), "bounds": row.bounds} if row else None,
        "served": [counts_row(served) for served in overview.served],
        "versions": [
            {**version_row(version), "metrics": version.metrics} for version in overview.versions
        ],
        "verdicts": [verdict_row(lifecycle, verdict) for verdict in overview.verdicts],
        "releases": [release_row(entry) for entry in overview.releases],
    }
