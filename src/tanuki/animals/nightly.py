"""The nightly training of the similarity index, and the one after a new image encoder."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS

from tanuki.animals.similarity import index_client
from tanuki.animals.similarity.training import TRAINING, training_run_id
from tanuki.animals.vision import registration
from tanuki.i18n import TOKYO
from tanuki.platform.durable_steps import durable_step
from tanuki.platform.resources import Resources, process_resources

NIGHTLY = "animals-nightly"
RETRAIN_CHECK_SECONDS = 60.0


@DBOS.workflow(name=NIGHTLY)
def train_nightly(due: datetime, _context: object) -> None:
    """Train a new similarity index every night."""
    enqueue_training_step(due.astimezone(TOKYO).date().isoformat())


def enqueue_training(res: Resources, now: datetime, cause: str) -> None:
    """Enqueue a training run. The same cause, a day or an encoder's version, is the same run."""
    with res.db.write() as db:
        res.jobs.enqueue(db, TRAINING, training_run_id(cause))


enqueue_training_step = durable_step(NIGHTLY)(enqueue_training)


def retrain_for_new_encoder() -> None:
    """Start a training when the live index was built with another encoder than the live one."""
    res = process_resources()
    encoder_version = registration.find_live_version(res)
    if encoder_version is None:
        return
    with res.db.read() as db:
        index = index_client.find_live_index(res, db, encoder_version)
    if index.version is not None and index.encoder_version != encoder_version:
        enqueue_training(res, datetime.now(UTC), f"encoder-{encoder_version}")


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": NIGHTLY,
        "workflow_fn": train_nightly,
        "schedule": "10 3 * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
PERIODIC_TASKS: list[tuple[Callable[[], None], float]] = [
    (retrain_for_new_encoder, RETRAIN_CHECK_SECONDS)
]
