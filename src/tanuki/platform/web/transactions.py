"""Database sessions of a request: one that reads, one transaction that writes, and group commit."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Depends, Request, Response
from sqlalchemy.orm import Session

from tanuki.platform import rate_limit
from tanuki.platform.resources import Resources
from tanuki.platform.web.auth import CurrentVisit
from tanuki.platform.web.headers import set_rate_limit_headers
from tanuki.platform.web.site import Res, get_site

T = TypeVar("T")


async def open_read_session(request: Request) -> AsyncIterator[Session]:
    """A session that reads. It takes a connection in the thread that first uses it.

    Closing waits for nothing on SQLite. PostgreSQL ends a transaction over the network, so that
    happens in a thread of its own: those of the pool may be waiting for this connection.
    """
    database = get_site(request).resources.db
    db = database.open_reader()
    try:
        yield db
    finally:
        if database.embedded or not db.in_transaction():
            db.close()
        else:
            with CancelScope(shield=True):
                await to_thread.run_sync(db.close, limiter=CapacityLimiter(1))


def open_write_session(res: Res, visit: CurrentVisit) -> Iterator[Session]:
    """One transaction. It begins after the visit is known: noting a token's use writes, too."""
    with res.db.write() as db:
        yield db


# scope="function": commit before the answer leaves, so that a commit that fails is not answered 303
Db = Annotated[Session, Depends(open_read_session, scope="function")]
WriteDb = Annotated[Session, Depends(open_write_session, scope="function")]


def write_batched(response: Response, res: Resources, write: Callable[[Session], T]) -> T:
    """Run a short write in a group commit, and announce what it left of its rate limits."""

    def write_and_count(db: Session) -> tuple[T, list[rate_limit.RateLimitState]]:
        return write(db), rate_limit.counted_limits(db)

    value, spent = res.db.write_batched(write_and_count)
    set_rate_limit_headers(response, spent)
    return value
