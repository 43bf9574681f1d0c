"""Answers that were kept, computed again byte for byte; and forgotten when they are old, because people's pictures are among the inputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tanuki.errors import NotFound
from tanuki.platform.mlops import rollout, runtimes
from tanuki.platform.mlops.runtimes import Array, ModelError
from tanuki.platform.mlops.tables import Prediction
from tanuki.platform.serving import oip_json
from tanuki.platform.serving.batching import Lane

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry

KEPT = timedelta(days=7)
LAST = 100


@dataclass(frozen=True)
class Again:
    """An answer beside the same computed now: what differs, in a sentence; None when not a byte does."""

    prediction: Prediction
    different: str | None


def again(
    db: Session, registry: "Registry", cache: Path, *, model: str | None = None, last: int = LAST
) -> Iterator[Again]:
    """The last answers that were kept, newest first, each computed again by the version that gave it."""
    wanted = select(Prediction).order_by(Prediction.id.desc()).limit(last)
    if model is not None:
        wanted = wanted.where(Prediction.model == model)
    lanes: dict[tuple[str, str], Lane | str] = {}
    try:
        for kept in db.scalars(wanted).all():
            key = (kept.model, kept.version)
            if key not in lanes:
                lanes[key] = lane(db, registry, cache, *key)
            yield Again(kept, difference(kept, lanes[key]))
    finally:
        for each in lanes.values():
            if isinstance(each, Lane):
                each.close()


def lane(db: Session, registry: "Registry", cache: Path, model: str, version: str) -> Lane | str:
    """A version loaded, or why it cannot be."""
    found = rollout.plan(db, model)
    try:
        prefix = (found.files.get(version) if found else None) or registry.prefix(model, version)
        return Lane(runtimes.opened(registry.files, prefix, cache))
    except (NotFound, ModelError) as error:
        return str(error)


def difference(kept: Prediction, way: Lane | str) -> str | None:
    """What differs between an answer and the same computed now."""
    if isinstance(way, str):
        return way
    if sha256(kept.inputs).hexdigest() != kept.input_hash:
        return "The inputs are not those that were kept: their digest is another."
    try:
        outputs = way.ask(oip_json.unpacked(kept.inputs), alone=True).outputs
    except ModelError as error:
        return str(error)
    if oip_json.packed(outputs) == kept.outputs:
        return None
    before = oip_json.unpacked(kept.outputs)
    return " ".join(
        said(name, before.get(name), outputs.get(name)) for name in sorted({*before, *outputs})
    ).strip()


def said(name: str, before: Array | None, now: Array | None) -> str:
    """How one output differs."""
    if before is None or now is None:
        return f"{name} was {'absent' if before is None else 'there'} and is {'absent' if now is None else 'there'}."
    if before.shape != now.shape or before.dtype != now.dtype:
        return (
            f"{name} was {before.dtype} {list(before.shape)} and is {now.dtype} {list(now.shape)}."
        )
    other = int((before != now).sum())
    if not other:
        return ""
    far = (
        ""
        if before.dtype.kind == "O"
        else f", at most by {np.abs(before.astype(np.float64) - now.astype(np.float64)).max():.3g}"
    )
    return f"{name} differs in {other} of {before.size} numbers{far}."


def forget(db: Session, now: datetime) -> int:
    """Forget answers that are old; gives how many."""
    return len(
        db.scalars(
            delete(Prediction).where(Prediction.at < now - KEPT).returning(Prediction.id)
        ).all()
    )
