"""Resources: the engines and services of a process, created once by `tanuki.app.bootstrap`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tanuki.platform.database.engine import Database
from tanuki.platform.database.migrations import Migrations
from tanuki.platform.event_log import EventLog
from tanuki.platform.jobs import Jobs
from tanuki.platform.mlops.lifecycle import Lifecycle
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.process_cache import ProcessCache
from tanuki.platform.warehouse import Warehouse
from tanuki.settings import Settings

if TYPE_CHECKING:
    from tanuki.platform.serving.inference import Inference


@dataclass(frozen=True)
class Resources:
    """Passed to functions as one value. The registry and the models load libraries when used."""

    settings: Settings
    db: Database
    migrations: Migrations
    objects: ObjectStore
    warehouse: Warehouse
    registry: Registry
    lifecycle: Lifecycle
    jobs: Jobs
    events: EventLog
    models: "Inference"
    # Of this object alone: a changed copy (`dataclasses.replace`) begins with an empty one.
    process_cache: ProcessCache = field(default_factory=ProcessCache, init=False, compare=False)


# DBOS calls a step with the arguments that it has stored, and after a crash in another process. So
# a step cannot be given its process's resources: it has to ask for them. This is the only place
# where a process keeps something outside of its Resources, and only `durable_steps` reads it.
_process_resources: list[Resources] = []


def set_process_resources(resources: Resources) -> None:
    """Set the resources of the durable steps in this process."""
    _process_resources[:] = [resources]


def process_resources() -> Resources:
    """The resources of the durable steps in this process; a bug when none were set."""
    return _process_resources[0]
