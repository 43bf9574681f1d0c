"""What the network learns every night, and when it sees with other eyes."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from dbos import DBOS

from tanuki.animals.similarity import index_client
from tanuki.animals.similarity.training import TRAINING, training_run_id
from tanuki.animals.vision import registration
from tanuki.i18n import TOKYO
from tanuki.platform.resources import process_resources

CHORE_SECONDS = 60.0


@DBOS.workflow(name="animals-nightly")
def train_nightly(due: datetime, _context: Any) -> None:
    """Every night: a new index of similar pictures."""
    enqueue_training(due.astimezone(TOKYO).date().isoformat())


@DBOS.step(name="begin_nightly")
def enqueue_training(why: str) -> None:
    """Enqueue a day's training, or that for new eyes; the same again is the same run."""
    res = process_resources()
    with res.db.write() as db:
        res.jobs.enqueue(db, TRAINING, training_run_id(why))


def retrain_for_new_encoder() -> None:
    """Start a training when other eyes went live than the index has: new posts are looked at with those."""
    res = process_resources()
    eyes = registration.find_live_version(res)
    if eyes is None:
        return
    with res.db.read() as db:
        index = index_client.find_live_index(res, db, eyes)
    if index.version is not None and index.encoder_version != eyes:
        enqueue_training(f"eyes-{eyes}")


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": "animals-nightly",
        "workflow_fn": train_nightly,
        "schedule": "10 3 * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
CHORES: list[tuple[Callable[[], None], float]] = [(retrain_for_new_encoder, CHORE_SECONDS)]
