"""What is live: a GO makes a version the champion, a named person may against a NO-GO, and one step leads back. Every change is kept for ever.

Before that a version may answer beside the champion as its challenger: in the shadow, where nobody sees it, or in a canary, for some people. It
goes by itself when it leaves its bounds, and so does a new champion.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotAllowed, UserError
from tanuki.platform import audit_log
from tanuki.platform.accounts import RESERVED, SYSTEM, Person, require
from tanuki.platform.mlops import rollout
from tanuki.platform.mlops.evaluation import Judged
from tanuki.platform.mlops.guardrails import Bounds
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION
from tanuki.platform.mlops.rollout import ALONE, CANARY, PREVIOUS, SHADOW, live
from tanuki.platform.mlops.tables import GateVerdict, Release, Serving

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry

__all__ = ["PREVIOUS", "live"]
GATE, OVERRIDE, ROLLBACK = "gate", "override", "rollback"
MAY_RELEASE = ("analyst", "operator")  # on a GO, and back
MAY_OVERRIDE = ("analyst",)  # who knows what the sentences of a NO-GO mean
SHOWN = 50


def keep_verdict(db: Session, verdict: GateVerdict) -> GateVerdict:
    """Put a verdict on record."""
    db.add(verdict)
    db.flush()
    return verdict


def keep(db: Session, model: str, found: Judged, *, by: str, now: datetime) -> GateVerdict:
    """Put what the gate found about a version of a model on record."""
    made = GateVerdict(
        model=model,
        version=found.version,
        champion=found.champion,
        go=found.verdict.go,
        report=found.report,
        at=now,
        by=by,
    )
    return keep_verdict(db, made)


def release(
    db: Session,
    registry: "Registry",
    who: Person,
    verdict: GateVerdict,
    now: datetime,
    *,
    bounds: Bounds | None = None,
    other_shape: bool = False,
) -> Release:
    """Make the version of a GO the champion. Raises Conflict for a NO-GO, and when what it was compared with is no longer live.

    `other_shape`: it may take and give something else than the version that is live, because who asks it changes with it.
    """
    require(who, *MAY_RELEASE)
    newest = must_go(db, registry, verdict.model, verdict.version, verdict.id)
    return go_live(
        db,
        registry,
        verdict.model,
        verdict.version,
        GATE,
        who,
        now,
        verdict=newest,
        bounds=bounds,
        other_shape=other_shape,
    )


def must_go(
    db: Session, registry: "Registry", model: str, version: str, verdict_id: int | None = None
) -> GateVerdict:
    """The newest verdict about a version, when it is a GO beside what is live now. Raises Conflict."""
    newest = latest(db, model, version)
    if newest is None or (verdict_id is not None and newest.id != verdict_id) or not newest.go:
        raise Conflict(
            "The newest verdict about version %(version)s is not this GO; a NO-GO goes live only by a person's own decision, with a reason.",
            version=version,
        )
    if rollout.champion(db, registry, model) != newest.champion:
        raise Conflict(
            "Another version went live since version %(version)s was judged; judge it again.",
            version=version,
        )
    return newest


def override(
    db: Session,
    registry: "Registry",
    who: Person,
    model: str,
    version: str,
    *,
    why: str,
    now: datetime,
) -> Release:
    """Make a version the champion although the gate said NO-GO: a named person's decision, with a reason."""
    require(who, *MAY_OVERRIDE)
    if who.name in RESERVED:
        raise NotAllowed(
            "Against a NO-GO a version goes live only by a person with a name; say who with --by."
        )
    if not why.strip():
        raise UserError(
            "Please say why version %(version)s goes live against the gate.", version=version
        )
    verdict = latest(db, model, version)
    if verdict is None:
        raise UserError(
            "Version %(version)s was never judged; let the gate judge it first.", version=version
        )
    if verdict.go:
        raise Conflict(
            "Version %(version)s has a GO and needs nobody's decision against it.", version=version
        )
    return go_live(
        db,
        registry,
        model,
        version,
        OVERRIDE,
        who,
        now,
        verdict=verdict,
        why=why.strip(),
        other_shape=True,
    )


def rollback(
    db: Session, registry: "Registry", who: Person, model: str, *, why: str, now: datetime
) -> Release:
    """Back to the version that was live before; done again, forth to the one that was left."""
    require(who, *MAY_RELEASE)
    if not why.strip():
        raise UserError("Please say why the model goes back.")
    found = rollout.plan(db, model)
    if found is not None:
        align(registry, found)
    before = live(registry, model, PREVIOUS)
    if before is None:
        raise Conflict("No version was live before this one, so there is no way back.")
    return go_live(
        db, registry, model, before.version, ROLLBACK, who, now, why=why.strip(), other_shape=True
    )


def go_live(
    db: Session,
    registry: "Registry",
    model: str,
    version: str,
    kind: str,
    who: Person,
    now: datetime,
    *,
    verdict: GateVerdict | None = None,
    why: str | None = None,
    bounds: Bounds | None = None,
    other_shape: bool = False,
) -> Release:
    """Record the change, then move the aliases, so that a change without its record cannot be. Raises Conflict when it is live already, or cannot serve."""
    before = rollout.champion(db, registry, model)
    if before == version:
        raise Conflict("Version %(version)s is live already.", version=version)
    prefix = rollout.fits(registry, model, version, before, other_shape=other_shape)
    verdict_id = verdict.id if verdict else None
    made = Release(
        model=model,
        version=version,
        previous=before,
        kind=kind,
        verdict_id=verdict_id,
        at=now,
        by=who.name,
        why=why,
    )
    db.add(made)
    db.flush()
    note(db, model, "model release", who, now, version=version, previous=before, kind=kind, why=why)
    if prefix is not None:
        found = rollout.put(
            db,
            model,
            now,
            files={version: prefix},
            bounds=bounds,
            champion=version,
            challenger=None,
            mode=ALONE,
            share=0.0,
        )
        found.files = rollout.only(found.files, [version, before])
    if before is not None:
        registry.set_alias(model, PREVIOUS, before)
    registry.set_alias(model, CHAMPION, version)
    if prefix is not None and live(registry, model, CHALLENGER) is not None:
        registry.drop_alias(model, CHALLENGER)
    return made


def forget_unrecorded(db: Session, registry: "Registry", model: str) -> None:
    """Take the alias away that a first release left when it was killed before its record: only the record counts. For models that have a plan."""
    if rollout.plan(db, model) is None and live(registry, model) is not None:
        registry.drop_alias(model, CHAMPION)


def note(db: Session, model: str, what: str, who: Person, now: datetime, **values: object) -> None:
    """Put a step on the audit trail."""
    audit_log.add(
        db,
        by=who.name,
        what=what,
        about=f"model:{model}",
        values={name: each for name, each in values.items() if each is not None},
        now=now,
    )


# ---- beside the champion -------------------------------------------------------------------------------------------


def shadow(
    db: Session,
    registry: "Registry",
    who: Person,
    model: str,
    version: str,
    now: datetime,
    *,
    share: float = 1.0,
    bounds: Bounds | None = None,
) -> Serving:
    """Let a version answer a share of the requests, too; nobody sees what it says, so it needs no verdict."""
    return challenge(db, registry, who, model, version, SHADOW, share, now, bounds)


def canary(
    db: Session,
    registry: "Registry",
    who: Person,
    model: str,
    version: str,
    now: datetime,
    *,
    share: float = 0.1,
    bounds: Bounds | None = None,
) -> Serving:
    """Let some people, always the same, have a version's answers. It needs a GO beside what is live."""
    require(who, *MAY_RELEASE)
    must_go(db, registry, model, version)
    return challenge(db, registry, who, model, version, CANARY, share, now, bounds)


def challenge(
    db: Session,
    registry: "Registry",
    who: Person,
    model: str,
    version: str,
    mode: str,
    share: float,
    now: datetime,
    bounds: Bounds | None,
) -> Serving:
    """Put a version beside the champion; another that stood there goes."""
    require(who, *MAY_RELEASE)
    if not 0 < share <= 1:
        raise UserError("A share is more than 0 and at most 1; %(share)s is not.", share=share)
    found = rollout.plan(db, model)
    if found is None or found.champion is None:
        raise Conflict(
            "No version of the model %(model)s is live, so there is nothing to answer beside.",
            model=model,
        )
    if found.champion == version:
        raise Conflict("Version %(version)s is live already.", version=version)
    prefix = rollout.fits(registry, model, version, found.champion)
    if prefix is None:
        raise Conflict(
            "Version %(version)s has no model.json, so no server can answer with it.",
            version=version,
        )
    made = rollout.put(
        db,
        model,
        now,
        files={version: prefix},
        bounds=bounds,
        challenger=version,
        mode=mode,
        share=share,
    )
    note(
        db, model, f"model {mode}", who, now, version=version, share=share, champion=found.champion
    )
    registry.set_alias(model, CHALLENGER, version)
    return made


def promote(
    db: Session,
    registry: "Registry",
    who: Person,
    model: str,
    now: datetime,
    *,
    why: str | None = None,
) -> Release:
    """Make the challenger the champion, on its GO."""
    require(who, *MAY_RELEASE)
    found = rollout.plan(db, model)
    if found is None or found.challenger is None:
        raise Conflict("No version of the model %(model)s stands beside the live one.", model=model)
    verdict = must_go(db, registry, model, found.challenger)
    bounds = Bounds.read(found.bounds)
    return go_live(
        db,
        registry,
        model,
        found.challenger,
        GATE,
        who,
        now,
        verdict=verdict,
        why=why or None,
        bounds=bounds,
    )


def dismiss(
    db: Session, registry: "Registry", who: Person, model: str, now: datetime, *, why: str
) -> str:
    """Take the challenger away; gives its version. The champion answers everybody."""
    require(who, *MAY_RELEASE)
    if not why.strip():
        raise UserError("Please say why the model goes back.")
    found = rollout.plan(db, model)
    if found is None or found.challenger is None:
        raise Conflict("No version of the model %(model)s stands beside the live one.", model=model)
    version = found.challenger
    take_away(db, found, who, now, why.strip())
    align(registry, found)
    return version


def take_away(db: Session, found: Serving, who: Person, now: datetime, why: str) -> None:
    """The plan without its challenger, and the step on the trail."""
    note(
        db,
        found.model,
        "model dismiss",
        who,
        now,
        version=found.challenger,
        champion=found.champion,
        why=why,
    )
    rollout.put(
        db,
        found.model,
        now,
        files={},
        bounds=Bounds.read(found.bounds),
        challenger=None,
        mode=ALONE,
        share=0.0,
    )


def go_back(db: Session, model: str, serial: int, why: str, now: datetime) -> str | None:
    """What servers do by themselves when a version leaves its bounds: the challenger goes, or the new champion makes way for the one before.

    Gives the version that went; None when the plan is another by now, or there is no way back. The registry is not asked: see align.
    """
    found = db.get(Serving, model, with_for_update=True, populate_existing=True)
    if found is None or found.serial != serial:
        return None
    if found.challenger is not None:
        gone = found.challenger
        take_away(db, found, SYSTEM, now, why)
        return gone
    last = releases(db, model, 1)
    if (
        not last
        or last[0].kind == ROLLBACK
        or last[0].version != found.champion
        or last[0].previous not in found.files
    ):
        return None
    gone, before = last[0].version, last[0].previous
    db.add(
        Release(
            model=model,
            version=before,
            previous=gone,
            kind=ROLLBACK,
            verdict_id=None,
            at=now,
            by=SYSTEM.name,
            why=why,
        )
    )
    note(
        db,
        model,
        "model release",
        SYSTEM,
        now,
        version=before,
        previous=gone,
        kind=ROLLBACK,
        why=why,
    )
    rollout.put(db, model, now, files={}, bounds=Bounds.read(found.bounds), champion=before)
    return gone


def align(registry: "Registry", found: Serving) -> None:
    """Let the registry's aliases mean what the plan says: servers that go back by themselves do not ask the registry."""
    now = live(registry, found.model)
    if found.champion is not None and (now is None or now.version != found.champion):
        if now is not None:
            registry.set_alias(found.model, PREVIOUS, now.version)
        registry.set_alias(found.model, CHAMPION, found.champion)
    wanted = live(registry, found.model, CHALLENGER)
    if found.challenger is not None and (wanted is None or wanted.version != found.challenger):
        registry.set_alias(found.model, CHALLENGER, found.challenger)
    if found.challenger is None and wanted is not None:
        registry.drop_alias(found.model, CHALLENGER)


def latest(db: Session, model: str, version: str) -> GateVerdict | None:
    """The newest verdict about a version."""
    wanted = select(GateVerdict).where(GateVerdict.model == model, GateVerdict.version == version)
    return db.scalars(wanted.order_by(GateVerdict.id.desc()).limit(1)).first()


def verdicts(db: Session, model: str, limit: int = SHOWN) -> list[GateVerdict]:
    """Verdicts about a model's versions, newest first."""
    return list(
        db.scalars(
            select(GateVerdict)
            .where(GateVerdict.model == model)
            .order_by(GateVerdict.id.desc())
            .limit(limit)
        )
    )


def releases(db: Session, model: str, limit: int = SHOWN) -> list[Release]:
    """What went live, newest first."""
    return list(
        db.scalars(
            select(Release).where(Release.model == model).order_by(Release.id.desc()).limit(limit)
        )
    )
