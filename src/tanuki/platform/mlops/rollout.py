"""What the servers of each model do: the row that they read, and whether a version may stand in it at all."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotFound
from tanuki.platform.mlops import runtimes
from tanuki.platform.mlops.guardrails import Bounds
from tanuki.platform.mlops.registry import CHAMPION
from tanuki.platform.mlops.runtimes import ModelError, Spec
from tanuki.platform.mlops.tables import Serving

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry, Version

ALONE, SHADOW, CANARY = "alone", "shadow", "canary"
PREVIOUS = "previous"
MOST_MODELS = 1_000


def live(registry: "Registry", model: str, alias: str = CHAMPION) -> "Version | None":
    """The version that an alias means now; None when it means none."""
    try:
        return registry.get(model, alias)
    except NotFound:
        return None


def plan(db: Session, model: str) -> Serving | None:
    """What the servers of a model do now; None when none serves it."""
    return db.get(Serving, model, populate_existing=True)


def plans(db: Session) -> list[Serving]:
    """What all servers do now."""
    return list(db.scalars(select(Serving).order_by(Serving.model).limit(MOST_MODELS)))


def champion(db: Session, registry: "Registry", model: str) -> str | None:
    """The version that is live: by its plan, else (no server answers with it) by its alias."""
    found = plan(db, model)
    if found is not None:
        return found.champion
    version = live(registry, model)
    return version.version if version else None


def put(
    db: Session,
    model: str,
    now: datetime,
    *,
    files: dict[str, str],
    bounds: Bounds | None = None,
    **values: Any,
) -> Serving:
    """Change a model's plan; a version's prefix is kept as long as it is named, or was live before."""
    found = db.get(Serving, model, with_for_update=True, populate_existing=True)
    if found is None:
        found = Serving(
            model=model,
            champion=None,
            challenger=None,
            files={},
            mode=ALONE,
            share=0.0,
            bounds={},
            serial=0,
            at=now,
        )
        db.add(found)
    for name, value in values.items():
        setattr(found, name, value)
    found.files = {**found.files, **files}
    found.bounds = (bounds or Bounds()).as_json()
    found.serial += 1
    found.at = now
    db.flush()
    return found


def only(files: dict[str, str], versions: Sequence[str | None]) -> dict[str, str]:
    """The prefixes of these versions."""
    return {version: prefix for version, prefix in files.items() if version in versions}


def fits(
    registry: "Registry", model: str, version: str, beside: str | None, *, other_shape: bool = False
) -> str | None:
    """Load a version, let it answer, and give its files' prefix; None when it is of a kind that no server answers with.

    Raises Conflict when it cannot be loaded, or (unless `other_shape`) takes or gives something else than the version beside it.
    """
    prefix = registry.prefix(model, version)
    with TemporaryDirectory() as folder:
        try:
            if runtimes.described(registry.files, prefix) is None:
                return None
            ours = runtimes.opened(registry.files, prefix, Path(folder)).spec
        except ModelError as error:
            raise Conflict(
                "Version %(version)s cannot serve: %(why)s", version=version, why=str(error)
            ) from error
        theirs = (
            None
            if beside is None or other_shape
            else spec_of(registry, registry.prefix(model, beside), Path(folder))
        )
    if theirs is not None and (what := runtimes.same_shape(ours, theirs)):
        raise Conflict(
            "Version %(version)s does not take and give what version %(live)s does (%(what)s).",
            version=version,
            live=beside,
            what=what,
        )
    return prefix


def spec_of(registry: "Registry", prefix: str, cache: Path) -> Spec | None:
    """What a version takes and gives, read if it says so, else by loading it; None when no server can answer with it."""
    try:
        told = runtimes.described(registry.files, prefix)
        if told is None:
            return None
        return (
            Spec.read(told)
            if "inputs" in told and "outputs" in told
            else runtimes.opened(registry.files, prefix, cache).spec
        )
    except ModelError:
        return None
