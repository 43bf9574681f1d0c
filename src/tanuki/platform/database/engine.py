"""Database engine: one schema on SQLite (WAL) or PostgreSQL; whoever opens a session commits it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import DeclarativeBase, Session

from tanuki.errors import UserError
from tanuki.platform.database.group_commit import GroupCommitWriter
from tanuki.platform.database.types import Utc

T = TypeVar("T")

NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
SQLITE_PRAGMAS = (
    "busy_timeout=30000",
    "journal_mode=wal",
    "synchronous=normal",
    "foreign_keys=on",
)
SQLITE_CONNECTIONS = {"pool_size": 10, "max_overflow": 40}  # as many as the web server has threads
POSTGRESQL_CONNECTIONS = {"pool_size": 10, "max_overflow": 20}


class Base(DeclarativeBase):
    """All tables of Tanuki, in one metadata."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {datetime: Utc}  # noqa: RUF012 SQLAlchemy's own way


class Database:
    """Sessions on one engine: `read()` never writes; `write()` commits at the end of its block.

    On SQLite a write takes the write lock at its beginning, so what it read cannot change under
    it. `write_batched()` is for short writes under load: writes that wait at the same moment share
    one commit (group commit), which is on the disk before any caller gets its answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_database_engine(url)
        self.reading = (
            self.engine.execution_options(tanuki_write=False)
            if self.embedded
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent snapshot of the committed rows."""
        with self.open_reader() as session:
            yield session

    def open_reader(self) -> Session:
        """The session of `read`, which the caller closes. It connects when it is first used."""
        return Session(self.reading, expire_on_commit=False, autoflush=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction, committed when the block ends without an error.

        It takes a connection when it is first used.
        """
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def write_batched(self, function: Callable[[Session], T]) -> T:
        """The function's result, once its writes are committed in one group with others.

        The function runs in the writer's thread, in the order of the calls. An error in it undoes
        only its own writes. When the common commit fails it runs once more, alone. It must
        therefore be short and repeatable. Neither the function nor a `write()` block may call this
        again: the first would wait for itself, the second holds the lock that this needs.
        """
        return self.writer.submit(function).result()

    @cached_property
    def writer(self) -> GroupCommitWriter:
        """The writer of `write_batched`; its thread starts with the first use."""
        return GroupCommitWriter(self.engine)

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded SQLite file."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Commit the writes that wait, and close every connection."""
        if "writer" in self.__dict__:
            self.writer.close()
        self.engine.dispose()


def create_database_engine(url: str) -> Engine:
    """An engine for a SQLAlchemy URL; creates the folder of a SQLite file if it is absent."""
    if not url.startswith("sqlite"):
        postgresql = create_engine(
            url, pool_pre_ping=True, hide_parameters=True, **POSTGRESQL_CONNECTIONS
        )
        event.listen(postgresql, "handle_error", reject_nul_character)
        return postgresql
    sqlite = create_engine(url, hide_parameters=True, **SQLITE_CONNECTIONS)
    if sqlite.url.database:
        Path(sqlite.url.database).parent.mkdir(parents=True, exist_ok=True)
    event.listen(sqlite, "connect", configure_sqlite_connection)
    event.listen(sqlite, "begin", begin_sqlite_transaction)
    return sqlite


def configure_sqlite_connection(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # the driver must not send BEGIN: the next function does
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def begin_sqlite_transaction(connection: Connection) -> None:
    """Begin a write with the write lock, and sync the disk as often as the connection asks.

    A durable commit survives a power failure; any other commit only survives a killed process.
    """
    options = connection.get_execution_options()
    durable = options.get("tanuki_durable", False)
    if durable != connection.info.get("tanuki_durable", False):
        connection.exec_driver_sql(f"PRAGMA synchronous={'full' if durable else 'normal'}")
        connection.info["tanuki_durable"] = durable
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("tanuki_write", True) else "BEGIN")


def reject_nul_character(context: ExceptionContext) -> None:
    """Answer a text with NUL by a UserError. PostgreSQL stores no such text; SQLite does."""
    if "NUL (0x00)" in str(context.original_exception):
        raise UserError("A text cannot contain the character NUL.")
