"""What functions may need, made once in start.py and passed as one value; workflow steps, which get only their own arguments, ask here."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tanuki.platform.database.engine import Database
from tanuki.platform.database.migrations import Migrations
from tanuki.platform.event_log import EventLog
from tanuki.platform.jobs import Jobs
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.process_cache import ProcessCache
from tanuki.platform.warehouse import Warehouse
from tanuki.settings import Settings

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry
    from tanuki.platform.serving.server import Inference


@dataclass(frozen=True)
class Resources:
    """The engines of this process. The registry and the models import heavy libraries only when they are used."""

    settings: Settings
    db: Database
    migrations: Migrations
    objects: ObjectStore
    warehouse: Warehouse
    registry: "Registry"
    jobs: Jobs
    events: EventLog
    models: "Inference"
    # Of this object alone: a changed copy (`dataclasses.replace`) begins with an empty one.
    process_cache: ProcessCache = field(default_factory=ProcessCache, init=False, compare=False)


_current: list[Resources] = []


def set_process_resources(resources: Resources) -> None:
    """Make these the resources of this process's workflow steps."""
    _current[:] = [resources]


def process_resources() -> Resources:
    """The resources of this process's workflow steps; a bug when none were set."""
    return _current[0]
