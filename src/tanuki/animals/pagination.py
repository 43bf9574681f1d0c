"""Pages of long lists (keyset pagination).

A page's cursor holds the sort values of its last item, and the next page begins after them. Items
that are added or removed meanwhile therefore move nothing. A cursor is JSON in URL-safe base64,
compressed where that is shorter; clients pass it on unread.
"""

import json
import zlib
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from tanuki.errors import UserError

T = TypeVar("T")
CursorValue = int | float | str | list[int]

CURSOR_VERSION = 1  # a cursor of another version is refused
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_PAGE_SIZE = 100
MAX_ID = 2**31 - 1  # ids are 32 bits wide: PostgreSQL refuses even to compare with a larger number
MAX_MICROSECONDS = 2**63 - 1
MAX_CURSOR_LENGTH = 7_500  # characters: with its path a URL stays below the 8 KB that proxies take
MAX_CURSOR_BYTES = 20_000  # once decompressed


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items of a list, in order. `next` is the cursor of the next page, None at the end."""

    items: list[T]
    next: str | None = None


def make_page(rows: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """A page of at most `limit` items, out of rows that were fetched with `limit + 1`."""
    items = list(rows[:limit])
    return Page(items, cursor_of(items[-1]) if len(rows) > limit else None)


def clamp_page_size(limit: int) -> int:
    """The limit, between 1 and `MAX_PAGE_SIZE`."""
    return max(1, min(limit, MAX_PAGE_SIZE))


# ---- cursors -------------------------------------------------------------------------------------


def encode_cursor(*values: CursorValue) -> str:
    """A cursor of these values."""
    content = json.dumps([CURSOR_VERSION, *values], separators=(",", ":")).encode()
    shorter = min(content, zlib.compress(content), key=len)
    return urlsafe_b64encode(shorter).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[object]:
    """The values of a cursor, whose types and ranges the caller checks.

    Cursors come from outside. Raises UserError for anything that `encode_cursor` cannot have
    written.
    """
    if len(cursor) > MAX_CURSOR_LENGTH or not cursor.isascii():
        raise invalid_cursor()
    try:
        content = b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if not content.startswith(b"["):
            content = zlib.decompressobj().decompress(content, MAX_CURSOR_BYTES)
        values = json.loads(content)
    except (Base64Error, ValueError, zlib.error, RecursionError):
        raise invalid_cursor() from None
    if not isinstance(values, list) or values[:1] != [CURSOR_VERSION]:
        raise invalid_cursor()
    return values[1:]


def id_cursor(id_: int) -> str:
    """The cursor in a list ordered by id."""
    return encode_cursor(id_)


def parse_id_cursor(cursor: str) -> int:
    """The id of an `id_cursor`. Raises UserError for anything else."""
    values = decode_cursor(cursor)
    if len(values) != 1:
        raise invalid_cursor()
    return whole_number(values[0])


def moment_cursor(moment: datetime, id_: int) -> str:
    """The cursor in a list ordered by moment and id."""
    return encode_cursor(microseconds_of(moment), id_)


def parse_moment_cursor(cursor: str) -> tuple[datetime, int]:
    """The moment and the id of a `moment_cursor`. Raises UserError for anything else."""
    values = decode_cursor(cursor)
    if len(values) != 2:
        raise invalid_cursor()
    return moment_of(values[0]), whole_number(values[1])


def microseconds_of(moment: datetime) -> int:
    """A moment as a cursor holds it: microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_of(value: object) -> datetime:
    """The moment that a cursor holds as microseconds since 1970."""
    try:
        return EPOCH + timedelta(microseconds=whole_number(value, MAX_MICROSECONDS))
    except OverflowError:
        raise invalid_cursor() from None


def whole_number(value: object, largest: int = MAX_ID) -> int:
    """A whole number of a cursor, from 0 to `largest`."""
    if type(value) is not int or not 0 <= value <= largest:
        raise invalid_cursor()
    return value


def invalid_cursor() -> UserError:
    """The error for a cursor that did not come from a page of this list."""
    return UserError("There is no such place in the list; begin again at its first page.")
