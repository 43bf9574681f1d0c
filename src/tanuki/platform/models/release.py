"""What is live: a GO makes a version the champion, a named person may against a NO-GO, and one step leads back. Every change is kept for ever."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform.accounts import RESERVED, Person, require
from tanuki.platform.models.registry import CHAMPION
from tanuki.platform.models.tables import GateVerdict, Release

if TYPE_CHECKING:
    from tanuki.platform.models.registry import Registry, Version

PREVIOUS = "previous"
GATE, OVERRIDE, ROLLBACK = "gate", "override", "rollback"
MAY_RELEASE = ("analyst", "operator")  # on a GO, and back
MAY_OVERRIDE = ("analyst",)  # who knows what the sentences of a NO-GO mean
SHOWN = 50


def live(registry: "Registry", model: str, alias: str = CHAMPION) -> "Version | None":
    """The version that an alias means now; None when it means none."""
    try:
        return registry.get(model, alias)
    except NotFound:
        return None


def keep_verdict(db: Session, verdict: GateVerdict) -> GateVerdict:
    """Put a verdict on record."""
    db.add(verdict)
    db.flush()
    return verdict


def release(db: Session, registry: "Registry", who: Person, verdict: GateVerdict, now: datetime) -> Release:
    """Make the version of a GO the champion. Raises Conflict for a NO-GO, and when what it was compared with is no longer live."""
    require(who, *MAY_RELEASE)
    newest = latest(db, verdict.model, verdict.version)
    if newest is None or newest.id != verdict.id or not newest.go:
        raise Conflict(
            "The newest verdict about version %(version)s is not this GO; a NO-GO goes live only by a person's own decision, with a reason.",
            version=verdict.version,
        )
    champion = live(registry, verdict.model)
    if (champion.version if champion else None) != newest.champion:
        raise Conflict("Another version went live since version %(version)s was judged; judge it again.", version=verdict.version)
    return go_live(db, registry, verdict.model, verdict.version, GATE, who, now, verdict=newest)


def override(db: Session, registry: "Registry", who: Person, model: str, version: str, *, why: str, now: datetime) -> Release:
    """Make a version the champion although the gate said NO-GO: a named person's decision, with a reason."""
    require(who, *MAY_OVERRIDE)
    if who.name in RESERVED:
        raise NotAllowed("Against a NO-GO a version goes live only by a person with a name; say who with --by.")
    if not why.strip():
        raise UserError("Please say why version %(version)s goes live against the gate.", version=version)
    verdict = latest(db, model, version)
    if verdict is None:
        raise UserError("Version %(version)s was never judged; let the gate judge it first.", version=version)
    if verdict.go:
        raise Conflict("Version %(version)s has a GO and needs nobody's decision against it.", version=version)
    return go_live(db, registry, model, version, OVERRIDE, who, now, verdict=verdict, why=why.strip())


def rollback(db: Session, registry: "Registry", who: Person, model: str, *, why: str, now: datetime) -> Release:
    """Back to the version that was live before; done again, forth to the one that was left."""
    require(who, *MAY_RELEASE)
    if not why.strip():
        raise UserError("Please say why the model goes back.")
    before = live(registry, model, PREVIOUS)
    if before is None:
        raise Conflict("No version was live before this one, so there is no way back.")
    return go_live(db, registry, model, before.version, ROLLBACK, who, now, why=why.strip())


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
) -> Release:
    """Record the change, then move the aliases, so that a change without its record cannot be. Raises Conflict when it is live already."""
    champion = live(registry, model)
    if champion is not None and champion.version == version:
        raise Conflict("Version %(version)s is live already.", version=version)
    made = Release(
        model=model,
        version=version,
        previous=champion.version if champion else None,
        kind=kind,
        verdict_id=verdict.id if verdict else None,
        at=now,
        by=who.name,
        why=why,
    )
    db.add(made)
    db.flush()
    if champion is not None:
        registry.set_alias(model, PREVIOUS, champion.version)
    registry.set_alias(model, CHAMPION, version)
    return made


def latest(db: Session, model: str, version: str) -> GateVerdict | None:
    """The newest verdict about a version."""
    wanted = select(GateVerdict).where(GateVerdict.model == model, GateVerdict.version == version)
    return db.scalars(wanted.order_by(GateVerdict.id.desc()).limit(1)).first()


def verdicts(db: Session, model: str, limit: int = SHOWN) -> list[GateVerdict]:
    """Verdicts about a model's versions, newest first."""
    return list(db.scalars(select(GateVerdict).where(GateVerdict.model == model).order_by(GateVerdict.id.desc()).limit(limit)))


def releases(db: Session, model: str, limit: int = SHOWN) -> list[Release]:
    """What went live, newest first."""
    return list(db.scalars(select(Release).where(Release.model == model).order_by(Release.id.desc()).limit(limit)))
