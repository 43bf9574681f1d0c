"""What people saw and did, as those who learn from it need it: with what else could have been shown, in which order, and how likely each place was.

Nobody is named: a member stands as a random pseudonym, a visitor as nobody. What members do is kept in the transaction in which they do it,
unless they said no; what they look at, too, unless their browser asks not to be followed.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from tanuki.animals import members, pagination
from tanuki.animals.tables import Member
from tanuki.errors import NotFound, UserError
from tanuki.platform import event_log, rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.event_log import Event, Kind

KINDS = (
    # a page of posts was sent to somebody: what could have been on it, and each post that was
    Kind(
        "request",
        {
            "request": str,
            "page": str,
            "ordering": str,
            "version": int,
            "shown": int,
            "considered": list[int],
        },
    ),
    Kind(
        "impression",
        {
            "request": str,
            "page": str,
            "ordering": str,
            "version": int,
            "considered": int,
            "post": int,
            "position": int,
            "source": str,
            "propensity": float,
        },
        each="posts",
    ),
    # told by the browser: a post was in sight, its page was opened, for so long
    Kind("seen", {"request": str, "post": int, "position": int}),
    Kind("open", {"request": str, "post": int, "position": int}),
    Kind("dwell", {"request": str, "post": int, "position": int, "ms": int}),
    Kind("search", {"request": str, "terms": list[str], "results": int}),
    # what members did; `undone`: they took it back
    Kind("like", {"post": int, "undone": bool}),
    Kind("follow", {"whom": str, "undone": bool}),
    Kind("comment", {"post": int}),
    Kind("post", {"post": int, "category": str, "breed": str}),
    Kind("report", {"subject": str, "subject_id": int, "reason": str}),
    # what was suggested for a photo that they posted, and whether they took it; the words themselves are the post's
    Kind(
        "suggest",
        {
            "request": str,
            "post": int,
            "what": str,
            "source": str,
            "lang": str,
            "place": int,
            "taken": bool,
        },
        each="offered",
    ),
)
FROM_BROWSERS = ("seen", "open", "dwell")
MOST_AT_ONCE = 100  # in one message of a browser
MESSAGES = {
    "member": 1_200,
    "visitor": 6_000,
}  # an hour, of a member or from an address, which an office shares
LONGEST_DWELL_MS = 600_000  # who looks longer has gone away from the screen
LARGEST_POSITION = 10_000
TERMS_MOST, TERM_LONGEST = 12, 40
REQUEST = re.compile(r"[A-Za-z0-9._-]{8,64}")
HOUR = 3600
SUGGESTED: dict[str, tuple[str | None, ...]] = {
    "what": ("kind", "title", "tag"),
    "source": ("eyes", "posts"),
    "lang": ("ja", "en", None),
}
MOST_SUGGESTED = 20_000  # letters


@dataclass(frozen=True)
class Placed:
    """A post in its place of a list. `propensity` is how likely the order was to show this post here, given who asked and what they had been shown."""

    post_id: int
    source: str  # why it is there: following, popular, new, chance, search, …
    position: int  # from 0, over all pages
    propensity: float
    order: str
    version: int


@dataclass(frozen=True)
class Looker:
    """Somebody whose looking may be logged: a member's pseudonym, or nobody we know."""

    person: str | None


def allowed(member: Member | None, headers: Mapping[str, str]) -> bool:
    """Whether what somebody looks at may be logged: they did not say no here, and their browser does not ask for it (DNT, Sec-GPC)."""
    asks_not_to = headers.get("dnt") == "1" or headers.get("sec-gpc") == "1"
    return not asks_not_to and (member is None or member.events)


def looker(db: Session, viewer: Person | None, headers: Mapping[str, str]) -> Looker | None:
    """Who looks; None when that must not be logged. `headers` are the request's, their names in small letters."""
    try:
        member = members.of(db, viewer) if viewer is not None else None
    except NotFound:
        member = None
    if not allowed(member, headers):
        return None
    return Looker(member.pseudonym if member is not None else None)


# ---- what was shown ------------------------------------------------------------------------------------------------


def in_order(
    post_ids: Iterable[int], source: str, *, first: int = 0, order: str, version: int = 1
) -> tuple[Placed, ...]:
    """The places of posts in a list without chance, such as the newest or what a search found."""
    return tuple(
        Placed(post_id, source, position, 1.0, order, version)
        for position, post_id in enumerate(post_ids, first)
    )


def listed(
    who: Looker | None,
    page: str,
    placed: Sequence[Placed],
    *,
    considered: Sequence[int] = (),
    request_id: str,
    now: datetime,
) -> list[Event]:
    """Posts were shown on a page: home, newest, category, search, member … `considered` are those that could have been, shown or not."""
    if who is None or not placed:
        return []
    ids = list(considered) or [each.post_id for each in placed]
    same = {
        "request": request_id,
        "page": page,
        "ordering": placed[0].order,
        "version": placed[0].version,
    }
    each_post = [
        {
            "post": each.post_id,
            "position": each.position,
            "source": each.source,
            "propensity": each.propensity,
        }
        for each in placed
    ]
    return [
        made("request", who.person, now, **same, shown=len(placed), considered=ids),
        made("impression", who.person, now, **same, considered=len(ids), posts=each_post),
    ]


def searched(
    who: Looker | None, terms: Sequence[str], results: int, *, request_id: str, now: datetime
) -> list[Event]:
    """Somebody searched. `terms` are the folded words that were searched for, never what was typed."""
    if who is None:
        return []
    kept = [term[:TERM_LONGEST] for term in terms[:TERMS_MOST]]
    return [made("search", who.person, now, request=request_id, terms=kept, results=results)]


def made(kind: str, person: str | None, now: datetime, **values: Any) -> Event:
    """An event as the platform keeps it."""
    return Event(kind=kind, at=now, person=person, values=values)


# ---- what members did ----------------------------------------------------------------------------------------------


def did(db: Session, me: Member, kind: str, *, now: datetime, **values: Any) -> None:
    """A member did something, in the transaction in which they did it; not kept when they said no."""
    if me.events:
        event_log.add(db, made(kind, me.pseudonym, now, **values))


def stand_in(member: Member) -> str | None:
    """How a member is called in what others did."""
    return member.pseudonym if member.events else None


def offered(suggested: str) -> list[dict[str, Any]]:
    """What a form says was suggested on it: {"request": "…", "offered": [{"what", "value", "lang", "source"}, …]}. Raises UserError for anything else."""
    try:
        told = json.loads(suggested[:MOST_SUGGESTED])
        kept = [
            {name: each[name] for name in ("what", "value", "lang", "source")}
            for each in told["offered"]
        ]
        good = REQUEST.fullmatch(told["request"]) is not None and len(kept) <= MOST_AT_ONCE
    except (ValueError, TypeError, KeyError):
        good = False
    if not good or not all(
        each["what"] in SUGGESTED["what"]
        and each["source"] in SUGGESTED["source"]
        and each["lang"] in SUGGESTED["lang"]
        and isinstance(each["value"], str)
        for each in kept
    ):
        raise UserError(
            "What was suggested is not as our form says it; please choose the photo again."
        )
    return kept


def suggested(
    db: Session, me: Member, post_id: int, said: str, taken: set[int], *, now: datetime
) -> None:
    """What was suggested for a post's photo, and the places of what was taken; without the words. `said` is what the form says, as offered() reads it."""
    each = [
        {
            "what": one["what"],
            "source": one["source"],
            "lang": one["lang"],
            "place": place,
            "taken": place in taken,
        }
        for place, one in enumerate(offered(said))
    ]
    if each:
        did(
            db,
            me,
            "suggest",
            now=now,
            request=json.loads(said)["request"],
            post=post_id,
            offered=each,
        )


# ---- what browsers tell --------------------------------------------------------------------------------------------


def accept_beacon(
    db: Session,
    viewer: Person | None,
    body: object,
    headers: Mapping[str, str],
    *,
    address: str,
    now: datetime,
) -> int:
    """What a browser says was seen, opened and looked at: a JSON list of objects. Kept in this transaction; gives how many.

    {"kind": "seen" | "open" | "dwell", "post": 12, "request": "…", "position": 3, "ms": 4000}; request and position where they are known.
    Raises UserError for anything else, TooMany for too many messages. `address` is counted on for visitors, and not kept.
    """
    told = [checked(each) for each in as_list(body)]
    kind = "visitor" if viewer is None else "member"
    rate_limit.use(
        db,
        address if viewer is None else viewer.name,
        "beacon",
        now=now,
        most=MESSAGES[kind],
        seconds=HOUR,
    )
    who = looker(db, viewer, headers)
    if who is None:
        return 0
    event_log.add(db, *(made(kind, who.person, now, **values) for kind, values in told))
    return len(told)


def as_list(body: object) -> list[object]:
    """The list that a browser sent."""
    if not isinstance(body, list):
        raise UserError("Expected a list of events.")
    if len(body) > MOST_AT_ONCE:
        raise UserError(
            "Expected at most %(most)s events at once; found %(found)s.",
            most=MOST_AT_ONCE,
            found=len(body),
        )
    return body


def checked(told: object) -> tuple[str, dict[str, Any]]:
    """The kind and the values of one event as a browser sent it."""
    if not isinstance(told, dict):
        raise UserError("Expected each event to be an object.")
    kind, request = told.get("kind"), told.get("request")
    if kind not in FROM_BROWSERS:
        raise UserError(
            "%(kind)s is not a kind of event; expected one of %(known)s.",
            kind=str(kind)[:40],
            known=", ".join(FROM_BROWSERS),
        )
    if request is not None and not (isinstance(request, str) and REQUEST.fullmatch(request)):
        raise UserError("An event's request is not one of ours.")
    values = {"request": request, "post": number(told, "post", 1, pagination.LARGEST)}
    values["position"] = (
        None if told.get("position") is None else number(told, "position", 0, LARGEST_POSITION)
    )
    if kind == "dwell":
        values["ms"] = min(number(told, "ms", 0, pagination.LARGEST), LONGEST_DWELL_MS)
    return str(kind), values


def number(told: Mapping[str, object], name: str, least: int, most: int) -> int:
    """A whole number of an event."""
    found = told.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise UserError(
            "An event's %(name)s is a whole number of at least %(least)s.", name=name, least=least
        )
    return found
