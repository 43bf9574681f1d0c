"""Whatever somebody puts into a path, a query or a form: a sentence, never a fault of ours."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from tanuki.platform import rate_limit
from tests.factories import members_and_posts, populated_site
from tests.factories.api_routes import Route, list_routes
from tests.factories.http_clients import bearer, csrf, signed_in

# as they stand in an address: no text, half a letter, no number although a digit, too large, no number, no moment, one at the end of time
ODD = (
    "%00",
    "%ED%A0%80",
    "%C2%B2",
    str(2**63),
    "9" * 5_000,
    "nan-1",
    "2021-01-01T00:00:00",
    "9999-12-31T23:59:59-14:00",
)
USUAL: dict[str, Any] = {
    "post_id": 1,
    "comment_id": 1,
    "case_id": 1,
    "decision_id": 3,
    "appeal_id": 1,
    "name": "taro",
}
USUAL |= {
    "relation": "followers",
    "category": "cat",
    "digest": "0",
    "size": "list",
    "subject": "post",
    "subject_id": 1,
    "id": 1,
}
USUAL |= {
    "title": "x",
    "key": "k",
    "text": "x",
    "verdict": "uphold",
    "answer": "x",
    "version": 1,
    "display": "x",
    "kind": "mute",
}
USUAL |= {"reason": "other", "action": "keep", "overturn": True, "events": "[]"}
LEFT_OUT = ("password", "photo", "camera", "confirmed")


class Asked(NamedTuple):
    """A request with an odd value in one place and usual ones in the others."""

    route: Route
    path: str
    form: dict[str, Any] | None


def odd_requests(app: Any, api: bool) -> Iterator[Asked]:
    """One for each odd value in each place of each route."""
    for route in list_routes(app):
        if route.path.startswith("/api") != api:
            continue
        usual, names = (
            route.fill_path(**USUAL),
            [name for name in route.body_fields if name not in LEFT_OUT],
        )
        around = {"q": "cat"} if route.path.endswith("search") else {"subject": "post", "id": "1"}
        for odd in ODD:
            yield from (
                Asked(route, route.fill_path(**{**USUAL, name: odd}), None) for name in route.path_fields
            )
            for name in route.query_fields:
                query = {**around, name: odd}
                yield Asked(
                    route,
                    f"{usual}?{'&'.join(f'{key}={value}' for key, value in query.items())}",
                    None,
                )
            yield from (
                Asked(route, usual, {**{each: USUAL.get(each, "") for each in names}, name: odd})
                for name in names
            )


def sent(asked: Asked, token: str) -> dict[str, Any]:
    """What goes with it, as JSON for programs and as a form for pages."""
    if asked.route.method == "GET":
        return {}
    form = asked.form or {}
    if not token:
        return {
            "json": {name: unquote(str(value), errors="replace") for name, value in form.items()}
        }
    content = "&".join(f"{name}={value}" for name, value in {"csrf": token, **form}.items())
    return {"content": content, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


@pytest.mark.parametrize("kind", ["pages", "programs"])
def test_odd_values_get_a_sentence(resources, kind):
    world, api = populated_site.gather(resources), kind == "programs"
    members_and_posts.member(resources, "saki")  # moderates, and is a member
    wrong = []
    with bearer(resources, world.app, "saki") if api else signed_in(world.app, "saki") as browser:
        token = "" if api else csrf(browser, "/animals/credits")
        for number, asked in enumerate(odd_requests(world.app, api)):
            if number % 200 == 0:
                with resources.db.write() as db:
                    rate_limit.delete_expired_counters(db, datetime.now(UTC) + timedelta(days=1))
            answer = browser.request(asked.route.method, asked.path, **sent(asked, token))
            if answer.status_code >= 500:
                wrong.append((asked.route.name, asked.path[:100], str(asked.form)[:200]))
    assert wrong == []
