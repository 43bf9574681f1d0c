"""Verdicts and changes of models for tests of releases."""

from datetime import datetime

from sqlalchemy.orm import Session

from tanuki.platform.accounts import SYSTEM, Person
from tanuki.platform.mlops import release
from tanuki.platform.mlops.evaluation import Evaluation, Verdict
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.mlops.release import ModelChange
from tanuki.platform.mlops.tables import GateVerdict


def add_verdict(
    db: Session,
    model: str,
    version: str,
    now: datetime,
    *,
    reasons: tuple[dict[str, object], ...] = (),
    champion: str | None = None,
) -> GateVerdict:
    """Put a verdict on record: GO without reasons, NO-GO with some."""
    verdict = Verdict(not reasons, list(reasons))
    evaluation = Evaluation(version, champion, verdict, {"reasons": list(reasons)})
    return release.record_verdict(db, model, evaluation, by=SYSTEM.name, now=now)


def release_on_verdict(
    db: Session, registry: Registry, verdict: GateVerdict, now: datetime, actor: Person = SYSTEM
) -> None:
    """Make the version of a verdict the champion."""
    release.release_version(ModelChange(db, registry, verdict.model, actor, now), verdict)
