"""Odd values in paths, queries and forms get an error message, never a server error."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from tanuki.platform import rate_limit
from tests.factories import members_and_posts, populated_site
from tests.factories.api_routes import Route, list_routes
from tests.factories.http_clients import bearer, csrf, signed_in

# As written in a URL: a null byte, half a surrogate pair, a digit that is no number,
# too large, no number, not a moment, a moment without zone, the last moment.
ODD_VALUES = (
    "%00",
    "%ED%A0%80",
    "%C2%B2",
    str(2**63),
    "9" * 5_000,
    "nan-1",
    "2021-01-01T00:00:00",
    "9999-12-31T23:59:59-14:00",
)
USUAL_VALUES: dict[str, Any] = {
    "post_id": 1,
    "comment_id": 1,
    "case_id": 1,
    "decision_id": 3,
    "appeal_id": 1,
    "name": "taro",
}
USUAL_VALUES |= {
    "relation": "followers",
    "category": "cat",
    "digest": "0",
    "size": "list",
    "subject": "post",
    "subject_id": 1,
    "id": 1,
}
USUAL_VALUES |= {
    "title": "x",
    "key": "k",
    "text": "x",
    "verdict": "uphold",
    "answer": "x",
    "version": 1,
    "display": "x",
    "kind": "mute",
}
USUAL_VALUES |= {"reason": "other", "action": "keep", "overturn": True, "events": "[]"}
SKIPPED_FIELDS = ("password", "photo", "camera", "confirmed")


class OddRequest(NamedTuple):
    """A request with one odd value among usual ones."""

    route: Route
    path: str
    form: dict[str, Any] | None


def generate_odd_requests(app: Any, api: bool) -> Iterator[OddRequest]:
    """One for each odd value in each field of each route."""
    for route in list_routes(app):
        if route.path.startswith("/api") != api:
            continue
        path, fields = (
            route.fill_path(**USUAL_VALUES),
            [name for name in route.body_fields if name not in SKIPPED_FIELDS],
        )
        query = {"q": "cat"} if route.path.endswith("search") else {"subject": "post", "id": "1"}
        for odd_value in ODD_VALUES:
            yield from (
                OddRequest(route, route.fill_path(**{**USUAL_VALUES, name: odd_value}), None)
                for name in route.path_fields
            )
            for name in route.query_fields:
                values = {**query, name: odd_value}
                yield OddRequest(
                    route,
                    f"{path}?{'&'.join(f'{key}={value}' for key, value in values.items())}",
                    None,
                )
            yield from (
                OddRequest(
                    route,
                    path,
                    {**{field: USUAL_VALUES.get(field, "") for field in fields}, name: odd_value},
                )
                for name in fields
            )


def build_request(odd_request: OddRequest, token: str) -> dict[str, Any]:
    """The body: JSON for programs, a form for pages."""
    if odd_request.route.method == "GET":
        return {}
    form = odd_request.form or {}
    if not token:
        return {
            "json": {name: unquote(str(value), errors="replace") for name, value in form.items()}
        }
    content = "&".join(f"{name}={value}" for name, value in {"csrf": token, **form}.items())
    return {"content": content, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


@pytest.mark.parametrize("kind", ["pages", "programs"])
def test_odd_values_cause_no_server_error(resources, kind):
    site, is_api = populated_site.populate_site(resources), kind == "programs"
    members_and_posts.make_member(resources, "saki")  # moderates, and is a member
    failures = []
    with bearer(resources, site.app, "saki") if is_api else signed_in(site.app, "saki") as browser:
        token = "" if is_api else csrf(browser, "/animals/credits")
        for number, odd_request in enumerate(generate_odd_requests(site.app, is_api)):
            if number % 200 == 0:
                with resources.db.write() as db:
                    rate_limit.delete_expired_counters(db, datetime.now(UTC) + timedelta(days=1))
            response = browser.request(
                odd_request.route.method, odd_request.path, **build_request(odd_request, token)
            )
            if response.status_code >= 500:
                failures.append(
                    (odd_request.route.name, odd_request.path[:100], str(odd_request.form)[:200])
                )
    assert failures == []
