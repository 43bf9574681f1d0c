"""Settings to Resources: the only place that chooses engines."""

from sqlalchemy.exc import OperationalError

from tanuki.animals.events import EVENT_KINDS
from tanuki.animals.similarity.index import INDEX_KIND, SimilarityIndex
from tanuki.app.metadata import MIGRATIONS
from tanuki.errors import UserError
from tanuki.platform import jobs
from tanuki.platform.database.engine import Database
from tanuki.platform.database.migrations import load_revision
from tanuki.platform.event_log import EventLog
from tanuki.platform.jobs import Jobs
from tanuki.platform.mlops import overview, runtimes
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.object_store import ObjectStore
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


def create_resources(settings: Settings, *, upgrade: bool | None = None) -> Resources:
    """The engines that the settings name.

    The embedded database is created and upgraded here. Another one must be upgraded already:
    UserError when it does not answer or its schema is another revision. `upgrade` overrides
    this; False leaves the schema alone and does not check it.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    url = settings.database_url
    if (settings.embedded if upgrade is None else upgrade) and not is_schema_current(url):
        upgrade_schema(url)
    objects = ObjectStore(
        settings.objects_url,
        settings.s3_endpoint,
        settings.s3_key,
        settings.s3_secret.get_secret_value(),
    )
    db = Database(url)
    if not settings.embedded and upgrade is None:
        require_current_schema(db)
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
        migrations=MIGRATIONS,
        objects=objects,
        warehouse=Warehouse(objects),
        registry=registry,
        jobs=Jobs(url),
        events=EventLog(db, EVENT_KINDS),
        models=models(settings, db, registry),
    )


def models(settings: Settings, db: Database, registry: Registry) -> Inference:
    """The models of this process, or those of the server that the settings name."""
    runtimes.RUNTIMES[INDEX_KIND] = SimilarityIndex
    overview.OWN_WORDS.update(WORDS)
    if settings.models:
        return client.connect(settings.models)
    return Models(db, registry, settings.home.absolute() / "models", kept=settings.models_kept)


def close_resources(res: Resources) -> None:
    """Write what is still queued, end threads and close connections."""
    res.models.close()
    res.events.close()
    res.jobs.close()
    res.db.close()


def upgrade_schema(url: str) -> None:
    """Bring our tables and those of durable work to this code's revision."""
    MIGRATIONS.upgrade(url)
    jobs.create_job_tables(url)


def is_schema_current(url: str) -> bool:
    """Whether the schema is at this code's revision. It takes milliseconds; an upgrade does not."""
    database = Database(url)
    try:
        with database.read() as db:
            return load_revision(db) == MIGRATIONS.newest_revision()
    finally:
        database.close()


def require_current_schema(database: Database) -> None:
    """Raises UserError for a database that does not answer or has another revision's schema."""
    try:
        with database.read() as db:
            revision = load_revision(db)
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise UserError(
            "The database does not answer (%(reason)s)."
            " Expected the database that TANUKI_DATABASE names.",
            reason=reason,
        ) from error
    if revision != MIGRATIONS.newest_revision():
        database.close()
        raise UserError(
            "The database has the schema %(found)s, but this program needs %(wanted)s."
            " Please run `tanuki db upgrade`.",
            found=revision or "empty",
            wanted=MIGRATIONS.newest_revision(),
        )
