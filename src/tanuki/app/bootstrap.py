"""Settings to Resources: the only place that chooses engines."""

from tanuki.animals.events import KINDS
from tanuki.animals.similarity.index import KIND, Index
from tanuki.errors import UserError
from tanuki.platform import jobs
from tanuki.platform.database import engine as database
from tanuki.platform.event_log import EventLog
from tanuki.platform.jobs import Work
from tanuki.platform.mlops import overview, runtimes
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.object_store import Objects
from tanuki.platform.resources import Resources
from tanuki.platform.serving import client
from tanuki.platform.serving.server import Inference, Models
from tanuki.platform.warehouse import Warehouse
from tanuki.settings import Settings

WORDS = {  # of the models' own gates
    "shop-forecast": "tanuki.shop.gate:words",
    "animals-eyes": "tanuki.animals.vision.evaluation:words",
    "animals-similar": "tanuki.animals.similarity.messages:words",
}


def resources(settings: Settings, *, upgrade: bool | None = None) -> Resources:
    """The engines that the settings name. The embedded database is created and upgraded by itself; another one must be current.

    Raises UserError when the database does not answer or its schema is not current.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    url = settings.database_url
    if settings.embedded if upgrade is None else upgrade:
        ensure_current(url)
    objects = Objects(
        settings.objects_url,
        settings.s3_endpoint,
        settings.s3_key,
        settings.s3_secret.get_secret_value(),
    )
    db = database.Database(url)
    if not settings.embedded and upgrade is None:
        must_be_current(db)
    registry = Registry(
        settings.mlflow_url,
        f"{settings.objects_url}/mlflow",
        objects.endpoint,
        objects.key,
        objects.secret,
    )
    return Resources(
        settings=settings,
        db=db,
        objects=objects,
        warehouse=Warehouse(objects),
        registry=registry,
        work=Work(url),
        events=EventLog(db, KINDS),
        models=models(settings, db, registry),
    )


def models(settings: Settings, db: database.Database, registry: Registry) -> Inference:
    """The models of this process, or those of the server that the settings name."""
    runtimes.KINDS[KIND] = Index
    overview.OWN_WORDS.update(WORDS)
    if settings.models:
        return client.connect(settings.models)
    return Models(db, registry, settings.home.absolute() / "models", kept=settings.models_kept)


def close(made: Resources) -> None:
    """Give back what resources() took."""
    made.models.close()
    made.events.close()
    made.work.close()
    made.db.close()


def ensure_current(url: str) -> None:
    """Upgrade the schema unless it is current already, which is the usual case and takes a moment only."""
    if not is_current(url):
        upgrade_all(url)


def upgrade_all(url: str) -> None:
    """Bring our tables and those of durable work up to date."""
    database.upgrade(url)
    jobs.upgrade(url)


def is_current(url: str) -> bool:
    """Whether the schema is the newest this code knows."""
    made = database.Database(url)
    try:
        with made.read() as db:
            return database.revision_of(db) == database.newest_revision()
    finally:
        made.close()


def must_be_current(db: database.Database) -> None:
    """Refuse a database that does not answer or is not upgraded."""
    from sqlalchemy.exc import OperationalError

    try:
        with db.read() as session:
            found = database.revision_of(session)
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise UserError(
            "The database does not answer (%(reason)s); expected the one that TANUKI_DATABASE names.",
            reason=reason,
        ) from error
    if found != database.newest_revision():
        db.close()
        raise UserError(
            "The database's schema is %(found)s, this code needs %(wanted)s; run `tanuki db upgrade`.",
            found=found or "empty",
            wanted=database.newest_revision(),
        )
