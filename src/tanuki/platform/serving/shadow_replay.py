"""Kept predictions: computed again, byte for byte, and deleted when old.

They are deleted because people's pictures are among the inputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tanuki.errors import NotFound
from tanuki.platform.mlops import rollout
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.mlops.runtimes import Array, ModelError
from tanuki.platform.mlops.tables import Prediction
from tanuki.platform.serving import oip_json
from tanuki.platform.serving.batching import ModelQueue

PREDICTION_RETENTION = timedelta(days=7)
DEFAULT_REPLAYS = 100


@dataclass(frozen=True)
class ReplayedPrediction:
    """A prediction, and how it differs from the same computed now; None: not by a byte."""

    prediction: Prediction
    difference: str | None


def replay_predictions(
    db: Session,
    registry: Registry,
    cache: Path,
    *,
    model: str | None = None,
    limit: int = DEFAULT_REPLAYS,
) -> Iterator[ReplayedPrediction]:
    """The newest kept predictions, each computed again by the version that made it."""
    query = select(Prediction).order_by(Prediction.id.desc()).limit(limit)
    if model is not None:
        query = query.where(Prediction.model == model)
    queues: dict[tuple[str, str], ModelQueue | str] = {}
    try:
        for prediction in db.scalars(query).all():
            key = (prediction.model, prediction.version)
            if key not in queues:
                queues[key] = open_queue(db, registry, cache, prediction)
            yield ReplayedPrediction(prediction, find_difference(prediction, queues[key]))
    finally:
        for queue in queues.values():
            if isinstance(queue, ModelQueue):
                queue.close()


def open_queue(
    db: Session, registry: Registry, cache: Path, prediction: Prediction
) -> ModelQueue | str:
    """The version of a prediction, loaded, or why it cannot be."""
    row = rollout.load_rollout(db, prediction.model)
    try:
        prefix = row.files.get(prediction.version) if row else None
        prefix = prefix or registry.prefix(prediction.model, prediction.version)
        return ModelQueue(registry.load_runner(prefix, cache))
    except (NotFound, ModelError) as error:
        return str(error)


def find_difference(prediction: Prediction, queue: ModelQueue | str) -> str | None:
    """What differs between a prediction and the same computed now; None when nothing does."""
    if isinstance(queue, str):
        return queue
    if sha256(prediction.inputs).hexdigest() != prediction.input_hash:
        return "The stored inputs were changed: their digest is another."
    try:
        outputs = queue.infer(oip_json.unpack_tensors(prediction.inputs), unbatched=True).outputs
    except ModelError as error:
        return str(error)
    if oip_json.pack_tensors(outputs) == prediction.outputs:
        return None
    before = oip_json.unpack_tensors(prediction.outputs)
    return " ".join(
        describe_difference(name, before.get(name), outputs.get(name))
        for name in sorted({*before, *outputs})
    ).strip()


def describe_difference(name: str, before: Array | None, now: Array | None) -> str:
    """How one output differs, as a sentence; empty when it does not."""
    if before is None or now is None:
        state = {True: "absent", False: "there"}
        return f"{name} was {state[before is None]} and is {state[now is None]}."
    if before.shape != now.shape or before.dtype != now.dtype:
        return (
            f"{name} was {before.dtype} {list(before.shape)} and is {now.dtype} {list(now.shape)}."
        )
    changed = int((before != now).sum())
    if not changed:
        return ""
    if before.dtype.kind == "O":
        return f"{name} differs in {changed} of {before.size} values."
    largest = np.abs(before.astype(np.float64) - now.astype(np.float64)).max()
    return f"{name} differs in {changed} of {before.size} numbers, at most by {largest:.3g}."


def delete_old_predictions(db: Session, now: datetime) -> int:
    """Delete old predictions; gives how many."""
    query = delete(Prediction).where(Prediction.at < now - PREDICTION_RETENTION)
    return len(db.scalars(query.returning(Prediction.id)).all())
