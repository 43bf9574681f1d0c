"""What functions may need, made once in start.py and passed as one value; workflow steps, which get only their own arguments, ask here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tanuki.platform.database.engine import Database
from tanuki.platform.database.migrations import Migrations
from tanuki.platform.event_log import EventLog
from tanuki.platform.jobs import Work
from tanuki.platform.object_store import Objects
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
    objects: Objects
    warehouse: Warehouse
    registry: "Registry"
    work: Work
    events: EventLog
    models: "Inference"


_current: list[Resources] = []


def use(resources: Resources) -> None:
    """Make these the resources of this process's workflow steps."""
    _current[:] = [resources]


def current() -> Resources:
    """The resources of this process's workflow steps; a bug when none were set."""
    return _current[0]
