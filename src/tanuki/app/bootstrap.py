"""Settings to Resources: the only place that chooses engines."""

from pathlib import Path

from sqlalchemy.exc import OperationalError

from tanuki.animals.events import EVENT_KINDS
from tanuki.animals.similarity.gate import INDEX_SPEC
from tanuki.animals.similarity.index import INDEX_KIND, SimilarityIndex
from tanuki.animals.vision.evaluation import ENCODER_SPEC
from tanuki.app.metadata import MIGRATIONS
from tanuki.errors import UserError
from tanuki.platform import jobs
from tanuki.platform.database.engine import Database
from tanuki.platform.database.migrations import load_revision
from tanuki.platform.event_log import EventLog
from tanuki.platform.jobs import Jobs
from tanuki.platform.mlops.lifecycle import Lifecycle
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.resources import Resources
from tanuki.platform.serving import client
from tanuki.platform.serving.inference import Inference
from tanuki.platform.serving.server import ModelServer
from tanuki.platform.warehouse import Warehouse
from tanuki.settings import Settings
from tanuki.shop.gate import FORECAST_SPEC

MODEL_SPECS = (FORECAST_SPEC, ENCODER_SPEC, INDEX_SPEC)


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
    artifacts = ObjectStore(
        f"{settings.objects_url}/mlflow", objects.endpoint, objects.key, objects.secret
    )
    registry = Registry(settings.mlflow_url, artifacts, {INDEX_KIND: SimilarityIndex})
    warehouse = Warehouse(objects)
    cache = settings.home.absolute() / "models"
    specs = {spec.name: spec for spec in MODEL_SPECS}
    return Resources(
        settings=settings,
        db=db,
        migrations=MIGRATIONS,
        objects=objects,
        warehouse=warehouse,
        registry=registry,
        lifecycle=Lifecycle(db, warehouse, registry, cache, specs),
        jobs=Jobs(url),
        events=EventLog(db, EVENT_KINDS),
        models=create_inference(settings, db, registry, cache),
    )


def create_inference(
    settings: Settings, db: Database, registry: Registry, cache: Path
) -> Inference:
    """The models of this process, or those of the server that the settings name."""
    if settings.model_server:
        return client.connect_model_server(settings.model_server)
    return ModelServer(db, registry, cache, sample_rate=settings.prediction_sample_rate)


def close_resources(res: Resources) -> None:
    """Write what is still queued, end threads and close connections."""
    res.process_cache.close()
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
            "The database has the schema %(current)s, but this program needs %(needed)s."
            " Please run `tanuki db upgrade`.",
            current=revision or "empty",
            needed=MIGRATIONS.newest_revision(),
        )
