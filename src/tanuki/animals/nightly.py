"""What the network learns every night, and when it sees with other eyes."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from dbos import DBOS

from tanuki.animals.similarity import index_client
from tanuki.animals.similarity.training import TRAINING, run_id
from tanuki.animals.vision import registration
from tanuki.i18n import TOKYO
from tanuki.platform.resources import current

CHORE_SECONDS = 60.0


@DBOS.workflow(name="animals-nightly")
def nightly(due: datetime, _context: Any) -> None:
    """Every night: a new index of similar pictures."""
    begin(due.astimezone(TOKYO).date().isoformat())


@DBOS.step(name="begin_nightly")
def begin(why: str) -> None:
    """Enqueue a day's training, or that for new eyes; the same again is the same run."""
    res = current()
    with res.db.write() as db:
        res.work.enqueue(db, TRAINING, run_id(why))


def look_after() -> None:
    """Start a training when other eyes went live than the index has: new posts are looked at with those."""
    res = current()
    eyes = registration.live(res)
    if eyes is None:
        return
    with res.db.read() as db:
        index = index_client.live(res, db, eyes)
    if index.version is not None and index.eyes != eyes:
        begin(f"eyes-{eyes}")


SCHEDULES: list[dict[str, Any]] = [
    {
        "schedule_name": "animals-nightly",
        "workflow_fn": nightly,
        "schedule": "10 3 * * *",
        "context": None,
        "cron_timezone": "Asia/Tokyo",
    },
]
CHORES: list[tuple[Callable[[], None], float]] = [(look_after, CHORE_SECONDS)]
