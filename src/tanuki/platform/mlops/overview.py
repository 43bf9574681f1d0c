"""One model as people look at it: its versions, its plan, what was counted, what the gate found, what went live. For the command and the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from tanuki.errors import NotFound
from tanuki.platform.mlops import evaluation, guardrails, release, rollout
from tanuki.platform.mlops.guardrails import Counts
from tanuki.platform.mlops.tables import GateVerdict, Release, Serving

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry, Version

LATELY = 20
OWN_WORDS: dict[
    str, str
] = {}  # by model: `module:function` that says the reasons of its own gate, given a reason and the language


@dataclass(frozen=True)
class Watching:
    """What all servers counted of a version under the plan of now."""

    version: str
    role: str
    counts: Counts


@dataclass(frozen=True)
class Overview:
    """A model. The plan is None when no server answers with it."""

    model: str
    champion: str | None
    plan: Serving | None
    versions: "list[Version]"
    watched: list[Watching]
    verdicts: list[GateVerdict]
    releases: list[Release]


def of(db: Session, registry: "Registry", model: str) -> Overview:
    """All about one model. Raises NotFound."""
    plan, versions = rollout.plan(db, model), registry.versions(model)
    if plan is None and not versions:
        raise NotFound("There is no model %(model)s.", model=model)
    counted = guardrails.counted(db, model, [plan.serial]) if plan else {}
    roles = {plan.champion: "champion", plan.challenger: "challenger"} if plan else {}
    watched = [
        Watching(version, roles.get(version, "left"), counts)
        for version, counts in sorted(counted.items())
    ]
    champion = plan.champion if plan else rollout.champion(db, registry, model)
    return Overview(
        model,
        champion,
        plan,
        versions[:LATELY],
        watched,
        release.verdicts(db, model, LATELY),
        release.releases(db, model, LATELY),
    )


def sentences(found: GateVerdict, lang: str) -> list[str]:
    """A verdict's reasons in words: the system's own, where it has some."""
    module, _, function = OWN_WORDS.get(found.model, f"{__name__}:plain").partition(":")
    say = getattr(import_module(module), function)
    return [say(reason, lang) for reason in found.report.get("reasons", [])]


def plain(reason: Mapping[str, Any], lang: str) -> str:
    """A reason in the platform's words; one that it has none for as it was kept."""
    if reason.get("code") in evaluation.WORDS:
        return evaluation.words(reason, lang)
    return str(
        reason.get("sentence")
        or reason.get(lang)
        or ", ".join(f"{name} {value}" for name, value in reason.items())
    )


def verdict(found: GateVerdict) -> dict[str, Any]:
    """A verdict in a line."""
    return {
        "id": found.id,
        "version": found.version,
        "verdict": "GO" if found.go else "NO-GO",
        "champion": found.champion,
        "at": found.at,
        "by": found.by,
        "reasons": " ".join(sentences(found, "en")),
    }


def counts_line(each: Watching) -> dict[str, Any]:
    """What was counted, in a line."""
    counts = each.counts
    return {
        "version": each.version,
        "role": each.role,
        "requests": counts.requests,
        "errors": counts.errors,
        "p50_ms": counts.quantile(0.5),
        "p95_ms": counts.quantile(0.95),
        "compared": counts.compared,
        "agreement": counts.agreed / counts.compared if counts.compared else None,
        "last_error": counts.last_error or None,
    }


def version_line(each: "Version") -> dict[str, Any]:
    """A version in a line."""
    return {
        "version": each.version,
        "aliases": " ".join(each.aliases),
        "data_first": each.data_window[0],
        "data_last": each.data_window[1],
        "code": each.code_version,
        "created": each.created_at,
    }


def release_line(each: Release) -> dict[str, Any]:
    """A change of what is live, in a line."""
    return {
        name: getattr(each, name) for name in ("version", "previous", "kind", "at", "by", "why")
    }


def plan_line(plan: Serving) -> dict[str, Any]:
    """A plan in a line."""
    return {
        name: getattr(plan, name)
        for name in ("champion", "challenger", "mode", "share", "serial", "at")
    }


def tables(found: Overview) -> list[tuple[str, list[dict[str, Any]]]]:
    """The same as titled tables."""
    return [
        ("Plan", [plan_line(found.plan)] if found.plan else []),
        ("Counted under this plan", [counts_line(each) for each in found.watched]),
        ("Versions", [version_line(version) for version in found.versions]),
        ("Verdicts", [verdict(each) for each in found.verdicts]),
        ("Releases", [release_line(each) for each in found.releases]),
    ]


def as_json(found: Overview) -> dict[str, Any]:
    """The same as one object."""
    return {
        "model": found.model,
        "champion": found.champion,
        "plan": {**plan_line(found.plan), "bounds": found.plan.bounds} if found.plan else None,
        "watched": [counts_line(each) for each in found.watched],
        "versions": [
            {**version_line(version), "metrics": version.metrics} for version in found.versions
        ],
        "verdicts": [verdict(each) for each in found.verdicts],
        "releases": [release_line(each) for each in found.releases],
    }
