"""What the network's routes share: how they are registered, who may write, and how writes are committed and their limits announced."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.images import photo_files
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources
from tanuki.platform.web import rest
from tanuki.platform.web.pages import MAX_BYTES, FromOurForm, Res, person_of

T = TypeVar("T")
Endpoint = Callable[..., Any]

PREFIX = "/api/animals"
Id = Annotated[int, Path(ge=1, le=pagination.LARGEST)]
Name = Annotated[str, Path(min_length=1, max_length=40)]
After = Annotated[
    str | None,
    Query(max_length=12_000, description="Where a page ended: `next` of the one before."),
]
Limit = Annotated[int, Query(ge=1, le=pagination.MOST, description="How many at most.")]
MAY_FAIL = (400, 401, 404, 422)
PICTURE_BYTES = (
    photo_files.UPLOAD_MB * 1_000_000 + 1_000_000
)  # of a form with a picture: the words, and what is written around them


def now() -> datetime:
    """The moment of a request."""
    return datetime.now(UTC)


def joined(res: Res, who: Annotated[Person, Depends(person_of)]) -> Person:
    """Somebody who signed up for the network and does something in it for the first time becomes a member now."""
    with res.db.read() as db:
        known = members.viewer_id(db, who) is not None
    if not known and ("member", None) in who.grants:
        with res.db.write() as db:
            members.join(db, who, now=now())
    return who


Acting = Annotated[Person, Depends(joined)]


def reads(router: APIRouter, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
    """Register a route that changes nothing."""
    responses = {**rest.problems(*MAY_FAIL, 403), **options.pop("responses", {})}
    return router.get(PREFIX + path, responses=responses, **options)


def writes(
    router: APIRouter,
    method: str,
    path: str,
    *,
    max_bytes: int | None = None,
    public: bool = False,
    **options: Any,
) -> Callable[[Endpoint], Endpoint]:
    """Register a route that changes something. A browser's session must send its secret along, a token needs the scope `write`.

    Nobody we know is told to sign in, unless it is `public`.
    """
    needed = [FromOurForm] if public else [Depends(person_of), FromOurForm]
    responses = {**rest.problems(*MAY_FAIL, 403, 409, 413, 429), **options.pop("responses", {})}

    def register(do: Endpoint) -> Endpoint:
        if max_bytes is not None:
            setattr(do, MAX_BYTES, max_bytes)
        router.add_api_route(
            PREFIX + path, do, methods=[method], dependencies=needed, responses=responses, **options
        )
        return do

    return register


def write(request: Request, response: Response, res: Resources, do: Callable[[Session], T]) -> T:
    """Do a short write, committed together with the others that wait, and say what is left of the limits that it counted against."""

    def counted(db: Session) -> tuple[T, list[rate_limit.Left]]:
        return do(db), rate_limit.spent(db)

    made, spent = res.db.together(counted)
    rest.rate_headers(response, spent)
    return made
