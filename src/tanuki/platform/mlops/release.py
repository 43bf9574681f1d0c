"""Changes of what is live: release, override, rollback, shadow and canary. All stay on record.

A GO makes a version the champion, a named person may do so against a NO-GO, and one step leads
back. Before that a version may answer beside the champion as its challenger: in shadow, where
nobody sees its answers, or in a canary, for some people. A challenger or a new champion that
violates its guardrails is taken back automatically.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotAllowed, UserError
from tanuki.platform import audit_log
from tanuki.platform.accounts import RESERVED_NAMES, Person, require_role
from tanuki.platform.audit_log import AuditedAction
from tanuki.platform.mlops import rollout
from tanuki.platform.mlops.evaluation import Evaluation, Reason
from tanuki.platform.mlops.guardrails import Bounds
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from tanuki.platform.mlops.rollout import change_rollout, load_rollout, version_with_alias
from tanuki.platform.mlops.tables import (
    Decision,
    GateVerdict,
    Release,
    ReleaseKind,
    Rollout,
    RolloutMode,
)

MAY_RELEASE = ("analyst", "operator")
"""Roles that may release on a GO and roll back."""
MAY_OVERRIDE = ("analyst",)
"""Roles that may release against a NO-GO: those that know what its reasons mean."""
RECORDS_PER_PAGE = 50


@dataclass(frozen=True)
class ModelChange:
    """Who changes what is live of a model, when, and in which transaction."""

    db: Session
    registry: Registry
    model: str
    actor: Person
    now: datetime

    def record(self, action: str, **values: object) -> None:
        """Put the change on the audit log."""
        details = {name: value for name, value in values.items() if value is not None}
        audit_log.append_entry(
            self.db,
            AuditedAction(self.actor.name, action, f"model:{self.model}", details),
            self.now,
        )


@dataclass(frozen=True)
class ReleaseRecord:
    """Why a version becomes the champion."""

    kind: ReleaseKind
    verdict: GateVerdict | None = None
    why: str | None = None


def record_verdict(
    db: Session, model: str, evaluation: Evaluation, *, by: str, now: datetime
) -> GateVerdict:
    """Put the verdict on a version on record."""
    verdict = GateVerdict(
        model=model,
        version=evaluation.version,
        champion=evaluation.champion,
        decision=Decision.GO if evaluation.verdict.go else Decision.NO_GO,
        report=evaluation.report,
        at=now,
        by=by,
    )
    db.add(verdict)
    db.flush()
    return verdict


def release_version(
    change: ModelChange,
    verdict: GateVerdict,
    *,
    bounds: Bounds | None = None,
    same_interface: bool = True,
) -> Release:
    """Make the version of a GO the champion.

    `same_interface=False`: its inputs and outputs may differ from the champion's, because the
    callers change with it. Raises Conflict for a NO-GO, and when the champion changed since the
    verdict.
    """
    require_role(change.actor, *MAY_RELEASE)
    newest = require_go(change, verdict.version, verdict.id)
    record = ReleaseRecord(ReleaseKind.GATE, newest)
    return make_champion(
        change, verdict.version, record, bounds=bounds, same_interface=same_interface
    )


def require_go(change: ModelChange, version: str, verdict_id: int | None = None) -> GateVerdict:
    """The newest verdict about a version, a GO beside the champion of now. Raises Conflict."""
    newest = latest_verdict(change.db, change.model, version)
    if newest is None or (verdict_id is not None and newest.id != verdict_id) or not newest.go:
        raise Conflict(
            "The newest verdict about version %(version)s is not this GO. "
            "Against a NO-GO only a person may release a version, with a reason.",
            version=version,
        )
    if rollout.champion_version(change.db, change.registry, change.model) != newest.champion:
        raise Conflict(
            "Another version became the champion since version %(version)s was evaluated. "
            "Please evaluate it again.",
            version=version,
        )
    return newest


def override_verdict(change: ModelChange, version: str, why: str) -> Release:
    """Make a version the champion against a NO-GO: a named person's decision, with a reason."""
    require_role(change.actor, *MAY_OVERRIDE)
    if change.actor.name in RESERVED_NAMES:
        raise NotAllowed(
            "Only a person with an account may release a version against a NO-GO; "
            "name the account with --by."
        )
    if not why.strip():
        raise UserError(
            "Please say why version %(version)s is released against the NO-GO.", version=version
        )
    verdict = latest_verdict(change.db, change.model, version)
    if verdict is None:
        raise UserError(
            "Version %(version)s has no verdict; please evaluate it first.", version=version
        )
    if verdict.go:
        raise Conflict("Version %(version)s has a GO, so no override is needed.", version=version)
    record = ReleaseRecord(ReleaseKind.OVERRIDE, verdict, why.strip())
    return make_champion(change, version, record, same_interface=False)


def roll_back_version(change: ModelChange, why: str) -> Release:
    """Make the version that was champion before champion again; a second call undoes the first."""
    require_role(change.actor, *MAY_RELEASE)
    if not why.strip():
        raise UserError("Please say why the model is rolled back.")
    current = load_rollout(change.db, change.model)
    if current is not None:
        align_aliases(change.registry, current)
    previous = version_with_alias(change.registry, change.model, PREVIOUS)
    if previous is None:
        raise Conflict("No version was live before this one, so there is nothing to roll back to.")
    record = ReleaseRecord(ReleaseKind.ROLLBACK, why=why.strip())
    return make_champion(change, previous.version, record, same_interface=False)


def make_champion(
    change: ModelChange,
    version: str,
    record: ReleaseRecord,
    *,
    bounds: Bounds | None = None,
    same_interface: bool = True,
) -> Release:
    """Record the change, then move the aliases: no change is without its record.

    Raises Conflict when the version is the champion already, or cannot serve.
    """
    db, registry, model = change.db, change.registry, change.model
    before = rollout.champion_version(db, registry, model)
    if before == version:
        raise Conflict("Version %(version)s is live already.", version=version)
    prefix = rollout.check_version(registry, model, version, before if same_interface else None)
    release = Release(
        model=model,
        version=version,
        previous=before,
        kind=record.kind,
        verdict_id=record.verdict.id if record.verdict else None,
        at=change.now,
        by=change.actor.name,
        why=record.why,
    )
    db.add(release)
    db.flush()
    change.record(
        "model release", version=version, previous=before, kind=record.kind, why=record.why
    )
    if prefix is not None:
        with change_rollout(db, model, change.now, bounds=bounds) as row:
            row.champion = version
            row.files = rollout.pick_files({**row.files, version: prefix}, [version, before])
            rollout.remove_challenger(row)
    if before is not None:
        registry.set_alias(model, PREVIOUS, before)
    registry.set_alias(model, CHAMPION, version)
    if prefix is not None and version_with_alias(registry, model, CHALLENGER) is not None:
        registry.drop_alias(model, CHALLENGER)
    return release


def drop_unrecorded_champion(db: Session, registry: Registry, model: str) -> None:
    """Drop the alias of a first release that was killed before its record was committed.

    Only the record counts. For models that servers answer with.
    """
    if load_rollout(db, model) is None and version_with_alias(registry, model) is not None:
        registry.drop_alias(model, CHAMPION)


# ---- beside the champion -------------------------------------------------------------------------


def start_shadow(
    change: ModelChange, version: str, *, share: float = 1.0, bounds: Bounds | None = None
) -> Rollout:
    """Let a version answer a share of the requests as well; nobody sees its answers.

    It needs no verdict.
    """
    return start_challenger(change, version, RolloutMode.SHADOW, share, bounds)


def start_canary(
    change: ModelChange, version: str, *, share: float = 0.1, bounds: Bounds | None = None
) -> Rollout:
    """Give a share of the people, always the same ones, a version's answers; needs a GO."""
    require_role(change.actor, *MAY_RELEASE)
    require_go(change, version)
    return start_challenger(change, version, RolloutMode.CANARY, share, bounds)


def start_challenger(
    change: ModelChange, version: str, mode: RolloutMode, share: float, bounds: Bounds | None
) -> Rollout:
    """Put a version beside the champion; another challenger goes."""
    require_role(change.actor, *MAY_RELEASE)
    if not 0 < share <= 1:
        raise UserError("A share is more than 0 and at most 1; %(share)s is not.", share=share)
    current = load_rollout(change.db, change.model)
    if current is None or current.champion is None:
        raise Conflict(
            "No version of the model %(model)s is live, so none can be put beside it.",
            model=change.model,
        )
    champion = current.champion
    if champion == version:
        raise Conflict("Version %(version)s is live already.", version=version)
    prefix = rollout.check_version(change.registry, change.model, version, champion)
    if prefix is None:
        raise Conflict(
            "Version %(version)s has no model.json, so no server can answer with it.",
            version=version,
        )
    with change_rollout(change.db, change.model, change.now, bounds=bounds) as row:
        row.files = {**row.files, version: prefix}
        row.challenger, row.mode, row.share = version, mode, share
    change.record(f"model {mode}", version=version, share=share, champion=champion)
    change.registry.set_alias(change.model, CHALLENGER, version)
    return row


def promote_challenger(change: ModelChange, why: str | None = None) -> Release:
    """Make the challenger the champion, on its GO."""
    require_role(change.actor, *MAY_RELEASE)
    current, version = load_challenged(change)
    record = ReleaseRecord(ReleaseKind.GATE, require_go(change, version), why or None)
    return make_champion(change, version, record, bounds=Bounds.from_json(current.bounds))


def dismiss_challenger(change: ModelChange, why: str) -> str:
    """Take the challenger away, so that the champion answers everybody; gives its version."""
    require_role(change.actor, *MAY_RELEASE)
    if not why.strip():
        raise UserError("Please say why the challenger is taken away.")
    current, version = load_challenged(change)
    record_dismissal(change, current, why=why.strip())
    align_aliases(change.registry, current)
    return version


def load_challenged(change: ModelChange) -> tuple[Rollout, str]:
    """The rollout of a model with a challenger, and the challenger's version. Raises Conflict."""
    current = load_rollout(change.db, change.model)
    if current is None or current.challenger is None:
        raise Conflict("The model %(model)s has no challenger.", model=change.model)
    return current, current.challenger


def record_dismissal(
    change: ModelChange,
    current: Rollout,
    *,
    why: str | None = None,
    violation: Reason | None = None,
) -> None:
    """Take the challenger out of the rollout, and put that on the audit log."""
    change.record(
        "model dismiss",
        version=current.challenger,
        champion=current.champion,
        why=why,
        violation=violation,
    )
    bounds = Bounds.from_json(current.bounds)
    with change_rollout(change.db, change.model, change.now, bounds=bounds) as row:
        rollout.remove_challenger(row)


def roll_back_automatically(
    change: ModelChange, serial: int, violation: dict[str, Any]
) -> str | None:
    """Take back the version that violates a guardrail; gives that version.

    The challenger goes or, where there is none, the champion before the new one is champion again.
    None when the rollout's serial is another by now, or there is nothing to go back to. The
    registry is not asked, because servers do this: see `align_aliases`.
    """
    db, model = change.db, change.model
    current = db.get(Rollout, model, with_for_update=True, populate_existing=True)
    if current is None or current.serial != serial:
        return None
    if current.challenger is not None:
        challenger = current.challenger
        record_dismissal(change, current, violation=violation)
        return challenger
    newest = next(iter(list_releases(db, model, 1)), None)
    if (
        newest is None
        or newest.kind == ReleaseKind.ROLLBACK
        or newest.version != current.champion
        or newest.previous not in current.files
    ):
        return None
    before, champion = newest.version, newest.previous
    db.add(
        Release(
            model=model,
            version=champion,
            previous=before,
            kind=ReleaseKind.ROLLBACK,
            verdict_id=None,
            at=change.now,
            by=change.actor.name,
            why=None,
            violation=violation,
        )
    )
    change.record(
        "model release",
        version=champion,
        previous=before,
        kind=ReleaseKind.ROLLBACK,
        violation=violation,
    )
    with change_rollout(db, model, change.now, bounds=Bounds.from_json(current.bounds)) as row:
        row.champion = champion
    return before


def align_aliases(registry: Registry, current: Rollout) -> None:
    """Let the aliases mean what the rollout says: automatic rollbacks do not ask the registry."""
    champion = version_with_alias(registry, current.model)
    if current.champion is not None and (champion is None or champion.version != current.champion):
        if champion is not None:
            registry.set_alias(current.model, PREVIOUS, champion.version)
        registry.set_alias(current.model, CHAMPION, current.champion)
    challenger = version_with_alias(registry, current.model, CHALLENGER)
    if current.challenger is not None and (
        challenger is None or challenger.version != current.challenger
    ):
        registry.set_alias(current.model, CHALLENGER, current.challenger)
    if current.challenger is None and challenger is not None:
        registry.drop_alias(current.model, CHALLENGER)


# ---- on record -----------------------------------------------------------------------------------


def latest_verdict(db: Session, model: str, version: str) -> GateVerdict | None:
    """The newest verdict about a version."""
    query = select(GateVerdict).where(GateVerdict.model == model, GateVerdict.version == version)
    return db.scalars(query.order_by(GateVerdict.id.desc()).limit(1)).first()


def list_verdicts(db: Session, model: str, limit: int = RECORDS_PER_PAGE) -> list[GateVerdict]:
    """Verdicts about a model's versions, newest first."""
    query = select(GateVerdict).where(GateVerdict.model == model)
    return list(db.scalars(query.order_by(GateVerdict.id.desc()).limit(limit)))


def list_releases(db: Session, model: str, limit: int = RECORDS_PER_PAGE) -> list[Release]:
    """Changes of a model's champion, newest first."""
    query = select(Release).where(Release.model == model)
    return list(db.scalars(query.order_by(Release.id.desc()).limit(limit)))
