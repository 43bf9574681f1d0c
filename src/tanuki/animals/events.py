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
from tanuki.platform.event_log import Event, EventKind

EVENT_KINDS = (
    # a page of posts was sent to somebody: what could have been on it, and each post that was
    EventKind(
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
    EventKind(
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
        list_field="posts",
    ),
    # told by the browser: a post was in sight, its page was opened, for so long
    EventKind("seen", {"request": str, "post": int, "position": int}),
    EventKind("open", {"request": str, "post": int, "position": int}),
    EventKind("dwell", {"request": str, "post": int, "position": int, "ms": int}),
    EventKind("search", {"request": str, "terms": list[str], "results": int}),
    # what members did; `undone`: they took it back
    EventKind("like", {"post": int, "undone": bool}),
    EventKind("follow", {"whom": str, "undone": bool}),
    EventKind("comment", {"post": int}),
    EventKind("post", {"post": int, "category": str, "breed": str}),
    EventKind("report", {"subject": str, "subject_id": int, "reason": str}),
    # what was suggested for a photo that they posted, and whether they took it; the words themselves are the post's
    EventKind(
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
        list_field="offered",
    ),
)
BROWSER_EVENT_KINDS = ("seen", "open", "dwell")
MAX_EVENTS_PER_BEACON = 100  # in one message of a browser
BEACONS_PER_HOUR = {
    "member": 1_200,
    "visitor": 6_000,
}  # an hour, of a member or from an address, which an office shares
MAX_DWELL_MS = 600_000  # who looks longer has gone away from the screen
MAX_POSITION = 10_000
MAX_SEARCH_TERMS, MAX_SEARCH_TERM_LENGTH = 12, 40
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
HOUR = 3600
SUGGESTION_VALUES: dict[str, tuple[str | None, ...]] = {
    "what": ("kind", "title", "tag"),
    "source": ("image_model", "posts"),
    "lang": ("ja", "en", None),
}
MAX_SUGGESTIONS_LENGTH = 20_000  # letters


@dataclass(frozen=True)
class RankedPost:
    """A post in its place of a list. `propensity` is how likely the order was to show this post here, given who asked and what they had been shown."""

    post_id: int
    source: str  # why it is there: following, popular, new, chance, search, …
    position: int  # from 0, over all pages
    propensity: float
    order: str
    version: int


@dataclass(frozen=True)
class Viewer:
    """Somebody whose looking may be logged: a member's pseudonym, or nobody we know."""

    pseudonym: str | None


def may_log(member: Member | None, headers: Mapping[str, str]) -> bool:
    """Whether what somebody looks at may be logged: they did not say no here, and their browser does not ask for it (DNT, Sec-GPC)."""
    asks_not_to = headers.get("dnt") == "1" or headers.get("sec-gpc") == "1"
    return not asks_not_to and (member is None or member.events)


def identify_viewer(
    db: Session, viewer: Person | None, headers: Mapping[str, str]
) -> Viewer | None:
    """Who looks; None when that must not be logged. `headers` are the request's, their names in small letters."""
    try:
        member = members.require_member(db, viewer) if viewer is not None else None
    except NotFound:
        member = None
    if not may_log(member, headers):
        return None
    return Viewer(member.pseudonym if member is not None else None)


# ---- what was shown ------------------------------------------------------------------------------------------------


def rank_in_order(
    post_ids: Iterable[int], source: str, *, first: int = 0, order: str, version: int = 1
) -> tuple[RankedPost, ...]:
    """The places of posts in a list without chance, such as the newest or what a search found."""
    return tuple(
        RankedPost(post_id, source, position, 1.0, order, version)
        for position, post_id in enumerate(post_ids, first)
    )


def listing_events(
    who: Viewer | None,
    page: str,
    placed: Sequence[RankedPost],
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
        build_event("request", who.pseudonym, now, **same, shown=len(placed), considered=ids),
        build_event("impression", who.pseudonym, now, **same, considered=len(ids), posts=each_post),
    ]


def search_events(
    who: Viewer | None, terms: Sequence[str], results: int, *, request_id: str, now: datetime
) -> list[Event]:
    """Somebody searched. `terms` are the folded words that were searched for, never what was typed."""
    if who is None:
        return []
    kept = [term[:MAX_SEARCH_TERM_LENGTH] for term in terms[:MAX_SEARCH_TERMS]]
    return [
        build_event("search", who.pseudonym, now, request=request_id, terms=kept, results=results)
    ]


def build_event(kind: str, person: str | None, now: datetime, **values: Any) -> Event:
    """An event as the platform keeps it."""
    return Event(kind=kind, at=now, person=person, values=values)


# ---- what members did ----------------------------------------------------------------------------------------------


def record_action(db: Session, me: Member, kind: str, *, now: datetime, **values: Any) -> None:
    """A member did something, in the transaction in which they did it; not kept when they said no."""
    if me.events:
        event_log.add_events(db, build_event(kind, me.pseudonym, now, **values))


def pseudonym_of(member: Member) -> str | None:
    """How a member is called in what others did."""
    return member.pseudonym if member.events else None


def parse_suggestions(suggested: str) -> list[dict[str, Any]]:
    """What a form says was suggested on it: {"request": "…", "offered": [{"what", "value", "lang", "source"}, …]}. Raises UserError for anything else."""
    try:
        told = json.loads(suggested[:MAX_SUGGESTIONS_LENGTH])
        kept = [
            {name: each[name] for name in ("what", "value", "lang", "source")}
            for each in told["offered"]
        ]
        good = (
            REQUEST_ID.fullmatch(told["request"]) is not None and len(kept) <= MAX_EVENTS_PER_BEACON
        )
    except (ValueError, TypeError, KeyError):
        good = False
    if not good or not all(
        each["what"] in SUGGESTION_VALUES["what"]
        and each["source"] in SUGGESTION_VALUES["source"]
        and each["lang"] in SUGGESTION_VALUES["lang"]
        and isinstance(each["value"], str)
        for each in kept
    ):
        raise UserError(
            "What was suggested is not as our form says it; please choose the photo again."
        )
    return kept


def record_suggestions(
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
        for place, one in enumerate(parse_suggestions(said))
    ]
    if each:
        record_action(
            db,
            me,
            "suggest",
            now=now,
            request=json.loads(said)["request"],
            post=post_id,
            offered=each,
        )


# ---- what browsers tell --------------------------------------------------------------------------------------------


def record_beacon(
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
    told = [parse_event(each) for each in parse_event_list(body)]
    kind = "visitor" if viewer is None else "member"
    rate_limit.use(
        db,
        address if viewer is None else viewer.name,
        "beacon",
        now=now,
        most=BEACONS_PER_HOUR[kind],
        seconds=HOUR,
    )
    who = identify_viewer(db, viewer, headers)
    if who is None:
        return 0
    event_log.add_events(db, *(build_event(kind, who.pseudonym, now, **values) for kind, values in told))
    return len(told)


def parse_event_list(body: object) -> list[object]:
    """The list that a browser sent."""
    if not isinstance(body, list):
        raise UserError("Expected a list of events.")
    if len(body) > MAX_EVENTS_PER_BEACON:
        raise UserError(
            "Expected at most %(most)s events at once; found %(found)s.",
            most=MAX_EVENTS_PER_BEACON,
            found=len(body),
        )
    return body


def parse_event(told: object) -> tuple[str, dict[str, Any]]:
    """The kind and the values of one event as a browser sent it."""
    if not isinstance(told, dict):
        raise UserError("Expected each event to be an object.")
    kind, request = told.get("kind"), told.get("request")
    if kind not in BROWSER_EVENT_KINDS:
        raise UserError(
            "%(kind)s is not a kind of event; expected one of %(known)s.",
            kind=str(kind)[:40],
            known=", ".join(BROWSER_EVENT_KINDS),
        )
    if request is not None and not (isinstance(request, str) and REQUEST_ID.fullmatch(request)):
        raise UserError("An event's request is not one of ours.")
    values = {"request": request, "post": parse_whole_number(told, "post", 1, pagination.MAX_ID)}
    values["position"] = (
        None
        if told.get("position") is None
        else parse_whole_number(told, "position", 0, MAX_POSITION)
    )
    if kind == "dwell":
        values["ms"] = min(parse_whole_number(told, "ms", 0, pagination.MAX_ID), MAX_DWELL_MS)
    return str(kind), values


def parse_whole_number(told: Mapping[str, object], name: str, least: int, most: int) -> int:
    """A whole number of an event."""
    found = told.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise UserError(
            "An event's %(name)s is a whole number of at least %(least)s.", name=name, least=least
        )
    return found
