"""Group commit: one thread runs the writes of all callers; those that wait share a transaction."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

T = TypeVar("T")

MAX_WRITES_PER_COMMIT = 200  # a longer transaction would keep other writers waiting
MAX_ATTEMPTS_PER_WRITE = 5  # of a write that the database asks to repeat

# PostgreSQL: how long a group waits for a row that another process holds. That process may be
# waiting for a row of ours.
GROUP_LOCK_TIMEOUT = "200ms"

# PostgreSQL: deadlock, serialization failure, lock not available in time.
RETRYABLE_SQLSTATES = ("40P01", "40001", "55P03")


class PendingWrite(Generic[T]):
    """A write in the queue: the function, its caller's context variables, and the answer."""

    def __init__(self, function: Callable[[Session], T]) -> None:
        self.function = function
        self.context = copy_context()
        self.answer: Future[T] = Future()
        self.result: Any = None  # of type T, once the function has run
        self.error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        """Call the function in a savepoint, in its own session. Keeps its error for the caller."""
        self.result = self.error = None
        session = Session(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        )
        try:
            with session, session.begin():
                self.result = self.context.copy().run(self.function, session)
        except BaseException as error:  # noqa: BLE001 it is raised in the caller's thread
            self.error = error

    def send_answer(self, error: BaseException | None = None) -> None:
        """Give the caller its error, or else its result."""
        if (error := error or self.error) is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(self.result)


class GroupCommitWriter:
    """The thread that runs writes in the order of the calls, up to 200 in one transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.queue: SimpleQueue[PendingWrite[Any] | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.closed = False
        self.thread = threading.Thread(target=self.run, name="writer", daemon=True)
        self.thread.start()

    def submit(self, function: Callable[[Session], T]) -> Future[T]:
        """Put a write into the queue. Raises RuntimeError when closed, or inside a write."""
        write = PendingWrite(function)
        if threading.current_thread() is self.thread:
            raise RuntimeError("a write of the group commit writer waits for itself")
        with self.lock:
            if self.closed:
                raise RuntimeError("the database is closed")
            self.queue.put(write)
        return write.answer

    def close(self) -> None:
        """Run the writes that are in the queue, then end the thread."""
        with self.lock:
            self.closed = True
            self.queue.put(None)
        self.thread.join()

    def run(self) -> None:
        write = self.queue.get()
        while write is not None:
            group = [write]
            while (
                len(group) < MAX_WRITES_PER_COMMIT
                and not self.queue.empty()
                and (write := self.queue.get()) is not None
            ):
                group.append(write)
            self.commit_group(group)
            if write is not None:
                write = self.queue.get()

    def commit_group(
        self, group: list[PendingWrite[Any]], attempts: int = MAX_ATTEMPTS_PER_WRITE
    ) -> None:
        """Run a group in one transaction. If that fails, run each write alone to find the fault.

        On PostgreSQL a group locks the rows of all its writes. Two processes can therefore wait
        for each other where single writes would not.
        """
        begun = False
        try:
            with (
                self.engine.connect().execution_options(tanuki_durable=True) as connection,
                connection.begin(),
            ):
                begun = True
                if len(group) > 1 and connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"set local lock_timeout = '{GROUP_LOCK_TIMEOUT}'")
                for write in group:
                    write.run(connection)
                    # Neither a lost connection nor a deadlock is the fault of this write.
                    if write.error is not None and (
                        connection.invalidated or is_serialization_failure(write.error)
                    ):
                        raise write.error
        except SQLAlchemyError as error:
            if begun and (len(group) > 1 or (attempts > 1 and is_serialization_failure(error))):
                for write in group:
                    self.commit_group([write], attempts - 1)
                return
            for write in group:
                write.send_answer(error)
            return
        for write in group:
            write.send_answer()


def is_serialization_failure(error: BaseException) -> bool:
    """Whether two transactions were in each other's way, so that this one has to be repeated."""
    return (
        isinstance(error, DBAPIError)
        and getattr(error.orig, "sqlstate", None) in RETRYABLE_SQLSTATES
    )
