"""Events: what viewers were shown and what members did, for training and evaluating rankers.

An impression is logged with the posts that could have been shown instead, its position, and the
probability of that position (propensity), which off-policy evaluation needs. Nobody is named: a
member appears as a random pseudonym, a visitor not at all. Actions are recorded in the transaction
of the action unless the member opted out; views also not if the browser asks not to be tracked.
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
from tanuki.errors import UserError
from tanuki.platform import event_log, rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.event_log import Event, EventKind
from tanuki.platform.rate_limit import RateLimit

EVENT_KINDS = (
    # A page of posts was sent: all posts that could have been on it, and one row per post on it.
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
    # From the browser: a post was in the viewport, its page was opened, and for how long.
    EventKind("seen", {"request": str, "post": int, "position": int}),
    EventKind("open", {"request": str, "post": int, "position": int}),
    EventKind("dwell", {"request": str, "post": int, "position": int, "ms": int}),
    EventKind("search", {"request": str, "terms": list[str], "results": int}),
    # Actions of members; `undone` if they took it back.
    EventKind("like", {"post": int, "undone": bool}),
    EventKind("follow", {"whom": str, "undone": bool}),
    EventKind("comment", {"post": int}),
    EventKind("post", {"post": int, "category": str, "breed": str}),
    EventKind("report", {"subject": str, "subject_id": int, "reason": str}),
    # Suggestions for a photo that was posted, and whether they were accepted; without their texts.
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
MAX_EVENTS_PER_BEACON = 100
MEMBER_BEACONS = RateLimit("beacon", 1_200, 3600)
VISITOR_BEACONS = RateLimit("beacon", 6_000, 3600)  # per address, which an office shares
MAX_DWELL_MS = 600_000  # a longer view means that the viewer left the screen
MAX_POSITION = 10_000
MAX_SEARCH_TERMS, MAX_SEARCH_TERM_LENGTH = 12, 40
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
SUGGESTION_VALUES: dict[str, tuple[str | None, ...]] = {
    "what": ("kind", "title", "tag"),
    "source": ("image_model", "posts"),
    "lang": ("ja", "en", None),
}
MAX_SUGGESTIONS_LENGTH = 20_000  # characters


@dataclass(frozen=True)
class RankedPost:
    """A post at its position in a list.

    `propensity` is the probability with which the ranker puts this post here, given the viewer and
    what they have been shown.
    """

    post_id: int
    source: str  # why it is in the list: following, popular, new, chance, search …
    position: int  # from 0, over all pages
    propensity: float
    order: str
    version: int


@dataclass(frozen=True)
class Viewer:
    """Somebody whose views may be logged. The pseudonym is None for visitors."""

    pseudonym: str | None


def may_log(member: Member | None, headers: Mapping[str, str]) -> bool:
    """Whether views may be logged: the member did not opt out, and the browser sends neither
    `DNT: 1` nor `Sec-GPC: 1`."""
    opted_out = headers.get("dnt") == "1" or headers.get("sec-gpc") == "1"
    return not opted_out and (member is None or member.events)


def identify_viewer(
    db: Session, viewer: Person | None, headers: Mapping[str, str]
) -> Viewer | None:
    """The viewer as they are logged; None if they must not be. `headers` have lower-case names."""
    member = members.find_member(db, viewer.name) if viewer is not None else None
    if not may_log(member, headers):
        return None
    return Viewer(member.pseudonym if member is not None else None)


# ---- what was shown ------------------------------------------------------------------------------


def rank_in_order(
    post_ids: Iterable[int], source: str, *, first: int = 0, order: str, version: int = 1
) -> tuple[RankedPost, ...]:
    """The posts of a deterministic list, such as the newest or search results."""
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
    """The events of a page of posts: its request, and an impression of each post.

    `page` is home, newest, category, search, member … `considered` are all posts that could have
    been on it, by default those that were.
    """
    if who is None or not placed:
        return []
    ids = list(considered) or [post.post_id for post in placed]
    common = {
        "request": request_id,
        "page": page,
        "ordering": placed[0].order,
        "version": placed[0].version,
    }
    posts = [
        {
            "post": post.post_id,
            "position": post.position,
            "source": post.source,
            "propensity": post.propensity,
        }
        for post in placed
    ]
    return [
        build_event("request", who.pseudonym, now, **common, shown=len(placed), considered=ids),
        build_event("impression", who.pseudonym, now, **common, considered=len(ids), posts=posts),
    ]


def search_events(
    who: Viewer | None, terms: Sequence[str], results: int, *, request_id: str, now: datetime
) -> list[Event]:
    """The event of a search. `terms` are normalized search terms, never what was typed."""
    if who is None:
        return []
    short = [term[:MAX_SEARCH_TERM_LENGTH] for term in terms[:MAX_SEARCH_TERMS]]
    return [
        build_event("search", who.pseudonym, now, request=request_id, terms=short, results=results)
    ]


def build_event(
    kind: str,
    person: str | None,
    now: datetime,
    **values: Any,  # noqa: ANN401 the columns of the kind
) -> Event:
    return Event(kind=kind, at=now, person=person, values=values)


# ---- what members did ----------------------------------------------------------------------------


def record_action(
    db: Session,
    member: Member,
    kind: str,
    *,
    now: datetime,
    **values: Any,  # noqa: ANN401 the columns of the kind
) -> None:
    """Record an action of a member in its own transaction, unless the member opted out."""
    if member.events:
        event_log.add_events(db, build_event(kind, member.pseudonym, now, **values))


def pseudonym_of(member: Member) -> str | None:
    """How a member appears in the events of others; None if they opted out."""
    return member.pseudonym if member.events else None


def parse_suggestions(suggested: str) -> list[dict[str, Any]]:
    """The suggestions that a form says it offered.

    The form sends `{"request": "…", "offered": [{"what", "value", "lang", "source"}, …]}` as JSON.
    Raises UserError for anything else.
    """
    try:
        form = json.loads(suggested[:MAX_SUGGESTIONS_LENGTH])
        offered = [
            {name: suggestion[name] for name in ("what", "value", "lang", "source")}
            for suggestion in form["offered"]
        ]
        valid = (
            REQUEST_ID.fullmatch(form["request"]) is not None
            and len(offered) <= MAX_EVENTS_PER_BEACON
        )
    except (ValueError, TypeError, KeyError):
        valid = False
    if not valid or not all(is_known_suggestion(suggestion) for suggestion in offered):
        raise UserError("The suggestions could not be read. Please choose the photo again.")
    return offered


def is_known_suggestion(suggestion: dict[str, Any]) -> bool:
    return isinstance(suggestion["value"], str) and all(
        suggestion[name] in values for name, values in SUGGESTION_VALUES.items()
    )


def record_suggestions(
    db: Session, member: Member, post_id: int, suggested: str, accepted: set[int], *, now: datetime
) -> None:
    """Record the suggestions for a post's photo and which of them were accepted, without texts.

    `suggested` is what the form sent (see `parse_suggestions`), `accepted` are positions in it.
    """
    offered = [
        {
            "what": suggestion["what"],
            "source": suggestion["source"],
            "lang": suggestion["lang"],
            "place": position,
            "taken": position in accepted,
        }
        for position, suggestion in enumerate(parse_suggestions(suggested))
    ]
    if offered:
        request = json.loads(suggested)["request"]
        values = {"request": request, "post": post_id, "offered": offered}
        record_action(db, member, "suggest", now=now, **values)


# ---- from browsers -------------------------------------------------------------------------------


def record_beacon(
    db: Session,
    viewer: Person | None,
    body: object,
    headers: Mapping[str, str],
    *,
    address: str,
    now: datetime,
) -> int:
    """Record the events that a browser sends as a JSON list, and give their number.

    Each is `{"kind": "seen" | "open" | "dwell", "post": 12, "request": "…", "position": 3,
    "ms": 4000}`, where request and position may be missing. Raises UserError for anything else,
    TooMany for too many beacons. `address` is counted for visitors, and not stored.
    """
    received = [parse_event(event) for event in parse_event_list(body)]
    if viewer is None:
        rate_limit.count_use(db, address, VISITOR_BEACONS, now)
    else:
        rate_limit.count_use(db, viewer.name, MEMBER_BEACONS, now)
    who = identify_viewer(db, viewer, headers)
    if who is None:
        return 0
    events = [build_event(kind, who.pseudonym, now, **values) for kind, values in received]
    event_log.add_events(db, *events)
    return len(events)


def parse_event_list(body: object) -> list[object]:
    if not isinstance(body, list):
        raise UserError("Expected a list of events.")
    if len(body) > MAX_EVENTS_PER_BEACON:
        raise UserError(
            "Expected at most %(most)s events at once; found %(found)s.",
            most=MAX_EVENTS_PER_BEACON,
            found=len(body),
        )
    return body


def parse_event(event: object) -> tuple[str, dict[str, Any]]:
    """The kind and the values of an event from a browser."""
    if not isinstance(event, dict):
        raise UserError("Expected each event to be an object.")
    kind, request = event.get("kind"), event.get("request")
    if kind not in BROWSER_EVENT_KINDS:
        raise UserError(
            "%(kind)s is not a kind of event; expected one of %(known)s.",
            kind=str(kind)[:40],
            known=", ".join(BROWSER_EVENT_KINDS),
        )
    if request is not None and not (isinstance(request, str) and REQUEST_ID.fullmatch(request)):
        raise UserError("An event's request is not one of ours.")
    values = {"request": request, "post": parse_whole_number(event, "post", 1, pagination.MAX_ID)}
    values["position"] = (
        None
        if event.get("position") is None
        else parse_whole_number(event, "position", 0, MAX_POSITION)
    )
    if kind == "dwell":
        values["ms"] = min(parse_whole_number(event, "ms", 0, pagination.MAX_ID), MAX_DWELL_MS)
    return str(kind), values


def parse_whole_number(event: Mapping[str, object], name: str, least: int, most: int) -> int:
    value = event.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UserError(
            "An event's %(name)s is a whole number of at least %(least)s.", name=name, least=least
        )
    return value
