"""Entity tags: `If-None-Match` for reading what changed, `If-Match` for changing what was read."""

from hashlib import sha256

from fastapi import Request, Response
from pydantic import BaseModel

from tanuki.errors import Stale

ETAG_LENGTH = 24


class NotModified(Exception):
    """The sender has the current version already; answered with 304."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


def set_etag(request: Request, response: Response, value: object, *, weak: bool = False) -> None:
    """Give the answer an entity tag made from `value`, which must hold all that the answer says.

    A weak tag is made from less, such as a version: it saves sending the answer again, but
    `require_match` does not accept it. Raises NotModified when the sender has this version.
    """
    etag = compute_etag(value, weak=weak)
    if request.method in ("GET", "HEAD") and matches_any(
        request.headers.get("if-none-match", ""), etag
    ):
        raise NotModified(etag)
    response.headers["ETag"] = etag


def require_match(request: Request, value: object) -> None:
    """Raises Stale when the request has an If-Match and `value` is another version.

    A request without If-Match is not refused.
    """
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return
    if compute_etag(value) not in [etag.strip() for etag in header.split(",")]:
        raise Stale("It has changed since it was read; read it again, then decide anew.")


def compute_etag(value: object, *, weak: bool = False) -> str:
    if isinstance(value, BaseModel):
        text = value.model_dump_json()
    else:
        text = value if isinstance(value, str) else repr(value)
    return f'{"W/" if weak else ""}"{sha256(text.encode()).hexdigest()[:ETAG_LENGTH]}"'


def matches_any(header: str, etag: str) -> bool:
    """Whether an If-None-Match names the tag; weak comparison, as RFC 9110 asks for."""
    etags = [candidate.strip().removeprefix("W/") for candidate in header.split(",")]
    return "*" in etags or etag.removeprefix("W/") in etags
