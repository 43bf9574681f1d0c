"""Long lists in pages that stay put: the next page begins after the last thing seen, so what comes or goes meanwhile moves nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from tanuki.errors import UserError

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_PAGE_SIZE = 100  # on one page
MAX_ID = 2**31 - 1  # an id can be no larger, and PostgreSQL takes no larger one even to look for


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, in its order, and what to ask for the next ones; None when these were the last."""

    items: list[T]
    next: str | None = None


def make_page(found: Sequence[T], limit: int, place: Callable[[T], str]) -> Page[T]:
    """A page of what was found when one more than the limit was asked for; `place` says where in the list a thing stands."""
    items = list(found[:limit])
    return Page(items, place(items[-1]) if len(found) > limit else None)


def clamp_page_size(limit: int) -> int:
    """How many a page may hold."""
    return max(1, min(limit, MAX_PAGE_SIZE))


def moment_cursor(moment: datetime, id_: int) -> str:
    """A place in a list ordered by moment and id."""
    return f"{(moment - EPOCH) // timedelta(microseconds=1)}-{id_}"


def parse_moment_cursor(place: str) -> tuple[datetime, int]:
    """The moment and id of a place. Raises UserError for one that we did not give."""
    microseconds, _, id_ = place.partition("-")
    try:
        return EPOCH + timedelta(microseconds=number(microseconds, most=2**63)), number(id_)
    except OverflowError:
        raise invalid_cursor() from None


def parse_id_cursor(place: str) -> int:
    """The id of a place in a list ordered by id. Raises UserError for one that we did not give."""
    return number(place)


def number(text: str, most: int = MAX_ID) -> int:
    """A number of a place."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise invalid_cursor()
    return int(text)


def invalid_cursor() -> UserError:
    """What somebody hears whose place is none."""
    return UserError("There is no such place in the list; begin again at its first page.")
