"""The rollout of each model: which versions its servers answer with, and which may be."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotFound
from tanuki.platform.mlops import runtimes
from tanuki.platform.mlops.guardrails import Bounds
from tanuki.platform.mlops.registry import CHAMPION, Registry, Version
from tanuki.platform.mlops.runtimes import ModelError, ModelSignature
from tanuki.platform.mlops.tables import Rollout, RolloutMode

MAX_MODELS = 1_000


def version_with_alias(registry: Registry, model: str, alias: str = CHAMPION) -> Version | None:
    """The version that an alias means now; None when it means none."""
    try:
        return registry.get(model, alias)
    except NotFound:
        return None


def load_rollout(db: Session, model: str) -> Rollout | None:
    """A model's rollout; None when no server answers with it."""
    return db.get(Rollout, model, populate_existing=True)


def list_rollouts(db: Session) -> list[Rollout]:
    return list(db.scalars(select(Rollout).order_by(Rollout.model).limit(MAX_MODELS)))


def champion_version(db: Session, registry: Registry, model: str) -> str | None:
    """The champion: by the rollout, else (no server answers with the model) by the alias."""
    rollout = load_rollout(db, model)
    if rollout is not None:
        return rollout.champion
    version = version_with_alias(registry, model)
    return version.version if version else None


@contextmanager
def change_rollout(
    db: Session, model: str, now: datetime, *, bounds: Bounds | None = None
) -> Iterator[Rollout]:
    """A model's rollout, locked, to be changed; stored under the next serial with these bounds.

    A model without a rollout gets one. Without `bounds` the default ones hold.
    """
    rollout = db.get(Rollout, model, with_for_update=True, populate_existing=True)
    if rollout is None:
        rollout = Rollout(
            model=model,
            champion=None,
            challenger=None,
            files={},
            mode=RolloutMode.CHAMPION_ONLY,
            share=0.0,
            bounds={},
            serial=0,
            at=now,
        )
        db.add(rollout)
    yield rollout
    rollout.bounds = (bounds or Bounds()).as_json()
    rollout.serial += 1
    rollout.at = now
    db.flush()


def remove_challenger(rollout: Rollout) -> None:
    rollout.challenger, rollout.mode, rollout.share = None, RolloutMode.CHAMPION_ONLY, 0.0


def pick_files(files: dict[str, str], versions: Sequence[str | None]) -> dict[str, str]:
    """The prefixes of these versions."""
    return {version: prefix for version, prefix in files.items() if version in versions}


def check_version(registry: Registry, model: str, version: str, champion: str | None) -> str | None:
    """Load a version, run it once and give its files' prefix.

    None: its files have no description, so no server answers with it. Raises Conflict when it
    cannot be loaded or its inputs and outputs differ from those of `champion` (None: not compared).
    """
    prefix = registry.prefix(model, version)
    with TemporaryDirectory() as folder:
        try:
            if runtimes.read_description(registry.files, prefix) is None:
                return None
            signature = registry.load_runner(prefix, Path(folder)).spec
        except ModelError as error:
            raise Conflict(
                "Version %(version)s cannot serve: %(why)s", version=version, why=str(error)
            ) from error
        expected = (
            None
            if champion is None
            else load_signature(registry, registry.prefix(model, champion), Path(folder))
        )
    if expected is not None and (difference := runtimes.interface_difference(signature, expected)):
        raise Conflict(
            "The inputs or outputs of version %(version)s differ from those of version %(live)s "
            "(%(difference)s).",
            version=version,
            live=champion,
            difference=difference,
        )
    return prefix


def load_signature(registry: Registry, prefix: str, cache: Path) -> ModelSignature | None:
    """A version's inputs and outputs, by its description or else by loading it.

    None when no server can answer with it.
    """
    try:
        description = runtimes.read_description(registry.files, prefix)
        if description is None:
            return None
        if "inputs" in description and "outputs" in description:
            return ModelSignature.from_json(description)
        return registry.load_runner(prefix, cache).spec
    except ModelError:
        return None
