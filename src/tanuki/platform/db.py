"""Records: one SQLAlchemy schema on SQLite (WAL) or PostgreSQL, sessions whose owner commits, and UTC times."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Engine, MetaData, TypeDecorator, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
MIGRATIONS = Path(__file__).parent / "migrations"


class Utc(TypeDecorator[datetime]):
    """A moment. Kept in UTC, given back with its zone (SQLite forgets zones); a moment without a zone is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables of Tanuki, in one metadata."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: Utc}  # noqa: RUF012 SQLAlchemy's own way


class Database:
    """Sessions on one engine. `read()` never writes; `write()` commits at the end, or rolls back when left by an error.

    On SQLite a write takes the write lock at its beginning, so what it read cannot change under it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = engine(url)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent snapshot of what is committed."""
        with self.engine.connect().execution_options(tanuki_write=False) as connection:
            if not self.embedded:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with Session(connection, expire_on_commit=False, autoflush=False) as session:
                yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction, committed when the block ends without an error."""
        with self.engine.connect() as connection, Session(connection, expire_on_commit=False) as session, session.begin():
            yield session

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded SQLite file."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Give every connection back to the system."""
        self.engine.dispose()


def engine(url: str) -> Engine:
    """An engine for a SQLAlchemy URL; a SQLite file's folder is made when absent."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20, hide_parameters=True)
    made = create_engine(url, hide_parameters=True)
    if made.url.database:
        Path(made.url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        for pragma in ("busy_timeout=30000", "journal_mode=wal", "synchronous=normal", "foreign_keys=on"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("tanuki_write", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return made


def add_once(db: Session, table: type[Base], **values: Any) -> bool:
    """Insert a row unless one with the same unique values is there, also one that a transaction beside this one is just adding. Whether it was added."""
    insert = sqlite.insert if db.get_bind().dialect.name == "sqlite" else postgresql.insert
    keys = list(table.__table__.primary_key)
    wanted = insert(table.__table__).values(**values).on_conflict_do_nothing().returning(*keys)  # type: ignore[arg-type]
    return db.execute(wanted).first() is not None


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema to a revision. One process at a time does it; the others wait and find it done."""
    from alembic import command

    command.upgrade(alembic_config(url), revision)


def alembic_config(url: str) -> Any:
    """Alembic's configuration for our migrations on a database."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config


def revision_of(db: Session) -> str | None:
    """The schema's revision, or None when nothing was ever made."""
    from alembic.migration import MigrationContext

    return MigrationContext.configure(db.connection()).get_current_revision()


def answers(db: Session) -> bool:
    """Whether the database answers a query."""
    return bool(db.execute(text("select 1")).scalar_one() == 1)


def newest_revision() -> str:
    """The newest revision among our migrations, read from their file names: 0001_name.py is revision 0001."""
    return max(file.name.split("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
