"""Records: one SQLAlchemy schema on SQLite (WAL) or PostgreSQL, sessions whose owner commits, group commit, and UTC times."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    TypeDecorator,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session

from tanuki.errors import UserError

T = TypeVar("T")

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
MIGRATIONS = Path(__file__).parents[2] / "migrations"
MOST_TOGETHER = 200  # writes in one commit: more would keep other writers waiting
LOCK_WAIT = "200ms"  # of a group on PostgreSQL for a row that another process holds, perhaps while it waits for ours
WAITED_FOR_EACH_OTHER = (
    "40P01",
    "40001",
    "55P03",
)  # PostgreSQL: a deadlock, writes that crossed, a lock not had in time
TRIES = 5  # of one write that waited for another which waited for it


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

    On SQLite a write takes the write lock at its beginning, so what it read cannot change under it. `together()` is for short writes
    under load: those that wait at the same moment share one commit, which is on the disk before anybody is told.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = engine(url)
        how: dict[str, Any] = (
            {"tanuki_write": False} if self.embedded else {"isolation_level": "REPEATABLE READ"}
        )
        self.reading = self.engine.execution_options(**how)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent snapshot of what is committed."""
        with self.reader() as session:
            yield session

    def reader(self) -> Session:
        """The session of `read`, for those who close it themselves. It takes a connection when it is first used."""
        return Session(self.reading, expire_on_commit=False, autoflush=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction, committed when the block ends without an error. It takes a connection when it is first used."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def together(self, do: Callable[[Session], T]) -> T:
        """What `do` gives, once it is committed together with the others that wait; its error undoes only its own part.

        It runs in another thread, in the order of the calls, and once more by itself when the common commit fails: it must be repeatable,
        short, and must not call this again. Not from inside `write()`, which holds the lock that this needs.
        """
        answer: Future[T] = self.writer.add(do)
        return answer.result()

    @cached_property
    def writer(self) -> "Writer":
        """The thread that writes for all; it begins with the first use."""
        return Writer(self.engine)

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded SQLite file."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Write what waits, and give every connection back to the system."""
        if "writer" in self.__dict__:
            self.writer.close()
        self.engine.dispose()


class Call:
    """A write that waits: what to do, in whose context, and the answer. As a context it keeps an error for the one who asked."""

    def __init__(self, do: Callable[[Session], Any]) -> None:
        self.do = do
        self.context = copy_context()
        self.answer: Future[Any] = Future()
        self.result: Any = None
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        self.result = self.error = None

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.error = error
        return True

    def run(self, connection: Connection) -> None:
        """Do it in a savepoint of the connection's transaction, in a session of its own."""
        with (
            self,
            Session(
                connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
            ) as session,
            session.begin(),
        ):
            self.result = self.context.copy().run(self.do, session)

    def tell(self, error: BaseException | None = None) -> None:
        """Answer with an error, or with what was found."""
        if (error := error or self.error) is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(self.result)


class Writer:
    """One thread that runs what callers hand in, in that order; all that waits shares a transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.waiting: SimpleQueue[Call | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.closed = False
        self.thread = threading.Thread(target=self.run, name="writer", daemon=True)
        self.thread.start()

    def add(self, do: Callable[[Session], Any]) -> Future[Any]:
        """Let it wait for its turn."""
        call = Call(do)
        if threading.current_thread() is self.thread:
            raise RuntimeError("a write that is run together with others waits for itself")
        with self.lock:
            if self.closed:
                raise RuntimeError("the database is closed")
            self.waiting.put(call)
        return call.answer

    def close(self) -> None:
        """Run what waits, then end the thread."""
        with self.lock:
            self.closed = True
            self.waiting.put(None)
        self.thread.join()

    def run(self) -> None:
        """Group after group, until closed."""
        call = self.waiting.get()
        while call is not None:
            group = [call]
            while (
                len(group) < MOST_TOGETHER
                and not self.waiting.empty()
                and (call := self.waiting.get()) is not None
            ):
                group.append(call)
            self.write(group)
            if call is not None:
                call = self.waiting.get()

    def write(self, group: list[Call], tries: int = TRIES) -> None:
        """One transaction for the group. When it fails, each is tried by itself, so that only the one at fault is told so.

        On PostgreSQL a group holds the rows of all its writes, so two processes can wait for each other where single writes would not.
        """
        begun = False
        try:
            with (
                self.engine.connect().execution_options(tanuki_durable=True) as connection,
                connection.begin(),
            ):
                begun = True
                if len(group) > 1 and connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"set local lock_timeout = '{LOCK_WAIT}'")
                for call in group:
                    call.run(connection)
                    if call.error is not None and (
                        connection.invalidated or crossed(call.error)
                    ):  # which is nobody's fault
                        raise call.error
        except SQLAlchemyError as error:
            if begun and (len(group) > 1 or (tries > 1 and crossed(error))):
                for call in group:
                    self.write([call], tries - 1)
                return
            for call in group:
                call.tell(error)
            return
        for call in group:
            call.tell()


def crossed(error: BaseException) -> bool:
    """Whether two transactions waited for each other, so that one of them has to begin anew."""
    return (
        isinstance(error, DBAPIError)
        and getattr(error.orig, "sqlstate", None) in WAITED_FOR_EACH_OTHER
    )


def engine(url: str) -> Engine:
    """An engine for a SQLAlchemy URL; a SQLite file's folder is made when absent."""
    if not url.startswith("sqlite"):
        server = create_engine(
            url, pool_pre_ping=True, pool_size=10, max_overflow=20, hide_parameters=True
        )
        event.listen(server, "handle_error", refuse_nul)
        return server
    made = create_engine(
        url, pool_size=10, max_overflow=40, hide_parameters=True
    )  # as many as the web server has threads
    if made.url.database:
        Path(made.url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        for pragma in (
            "busy_timeout=30000",
            "journal_mode=wal",
            "synchronous=normal",
            "foreign_keys=on",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        durable = options.get(
            "tanuki_durable", False
        )  # on the disk at the commit; otherwise safe from a killed process, not from a power cut
        if durable != connection.info.get("tanuki_durable", False):
            connection.exec_driver_sql(f"PRAGMA synchronous={'full' if durable else 'normal'}")
            connection.info["tanuki_durable"] = durable
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if options.get("tanuki_write", True) else "BEGIN"
        )

    return made


def refuse_nul(wrong: ExceptionContext) -> None:
    """PostgreSQL keeps no text with the character NUL, and does not even compare with one; who sent it hears so. SQLite takes it as any other."""
    if "NUL (0x00)" in str(wrong.original_exception):
        raise UserError("A text cannot hold the character NUL.")


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
