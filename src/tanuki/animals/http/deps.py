"""Request dependencies of AI Animals: who asks, the session to read with, how writes commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import signature
from typing import Annotated, TypeVar

from fastapi import Depends, Path, Query, Request, Response
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.images import photo_files
from tanuki.i18n import Translate
from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources
from tanuki.platform.web.auth import CurrentPerson, CurrentVisit, Visit
from tanuki.platform.web.site import Res, get_site
from tanuki.platform.web.transactions import Db, write_batched

T = TypeVar("T")

RecordId = Annotated[int, Path(ge=1, le=pagination.MAX_ID)]
MemberName = Annotated[str, Path(min_length=1, max_length=40)]
PHOTO_FORM_BYTES = photo_files.MAX_UPLOAD_MB * 1_000_000 + 1_000_000
"""The largest body of a form with a photo: the photo, other fields, multipart headers."""


def now() -> datetime:
    return datetime.now(UTC)


def from_fields(shape: Callable[..., T]) -> Callable[..., T]:
    """A dependency that fills a dataclass from the request's fields.

    FastAPI would call the class itself in a thread of its pool, which takes longer than the call.
    """

    async def fill(**fields: object) -> T:
        return shape(**fields)

    fill.__signature__ = signature(shape)  # type: ignore[attr-defined]
    return fill  # type: ignore[return-value]  # FastAPI awaits it


@dataclass(frozen=True)
class RequestContext:
    """A request, and who makes it in which language."""

    request: Request
    visit: Visit

    @property
    def viewer(self) -> Person | None:
        """Who asks; None for a visitor who is not signed in."""
        return self.visit.person

    @property
    def person(self) -> Person:
        """Who asks, on a route that is not public."""
        assert self.visit.person is not None
        return self.visit.person

    @property
    def lang(self) -> str:
        return self.visit.lang

    @property
    def say(self) -> Translate:
        """`say(text, **values)` in the person's language."""
        return get_site(self.request).texts.translator(self.lang)


@dataclass(frozen=True)
class ReadContext(RequestContext):
    """A request that changes nothing, with the session to read in."""

    db: Session

    @property
    def res(self) -> Resources:
        return get_site(self.request).resources


@dataclass(frozen=True)
class WriteContext(RequestContext):
    """A request that changes something: the process's resources, and the moment."""

    response: Response
    res: Resources
    now: datetime

    def commit(self, change: Callable[[Session], T]) -> T:
        """Run a short change in a group commit; the response announces the rate limits' rest."""
        return write_batched(self.response, self.res, change)

    @contextmanager
    def reading(self) -> Iterator[ReadContext]:
        """A context to read with after the change, or to show a refused form again."""
        with self.res.db.read() as db:
            yield ReadContext(self.request, self.visit, db)


# The functions are async because a plain function would take a thread of the pool for nothing.


async def read_context(request: Request, db: Db, visit: CurrentVisit) -> ReadContext:
    return ReadContext(request, visit, db)


async def write_context(
    request: Request, response: Response, res: Res, visit: CurrentVisit
) -> WriteContext:
    return WriteContext(request, visit, response, res, now())


Read = Annotated[ReadContext, Depends(read_context)]
Write = Annotated[WriteContext, Depends(write_context)]


def join_on_first_write(res: Res, person: CurrentPerson) -> None:
    """Make a signed-up person a member when they first do something on the site."""
    with res.db.read() as db:
        is_member = members.find_viewer_id(db, person) is not None
    if not is_member and ("member", None) in person.grants:
        with res.db.write() as db:
            members.join_community(db, person, now=now())


async def member_write_context(
    context: Write, _: Annotated[None, Depends(join_on_first_write)]
) -> WriteContext:
    return context


MemberWrite = Annotated[WriteContext, Depends(member_write_context)]


@dataclass(frozen=True)
class PageFields:
    """Which part of a long list a program asks for."""

    after: Annotated[
        str | None,
        Query(
            max_length=pagination.MAX_CURSOR_LENGTH,
            description="Where a page ended: `next` of the one before.",
        ),
    ] = None
    limit: Annotated[
        int, Query(ge=1, le=pagination.MAX_PAGE_SIZE, description="How many at most.")
    ] = 24


PageRequest = Annotated[PageFields, Depends(from_fields(PageFields))]
