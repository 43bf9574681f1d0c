"""Property-based API tests with schemathesis, in process, as somebody in a role.

Every operation gets requests that its description allows and ones that it forbids. Half of the ids
in them exist.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zlib import crc32

import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from tanuki.platform import rate_limit
from tanuki.platform.web.openapi import describe_api
from tests.factories import members_and_posts
from tests.factories.populated_site import PopulatedSite

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REQUESTS_PER_RATE_LIMIT_RESET = 40
"""After so many requests all rate limits are reset: most would be answered 429 otherwise."""
MAX_URL_LENGTH = 16_000  # servers refuse longer ones
GENERATION_MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
Case = Any  # schemathesis's own class is not typed


class Violation(NamedTuple):
    """A response that is not as the API's description says."""

    operation: str
    request: str
    reason: str


def generate_cases(app: FastAPI, *, examples: int) -> list[Case]:
    """`examples` requests for each operation, always the same ones.

    Half of them follow the API's description and half do not.
    """
    schema = schemathesis.openapi.from_dict(describe_api(app))
    cases: list[Case] = []
    for operation in (result.ok() for result in schema.get_all_operations()):
        for mode in GENERATION_MODES:
            collect = given(case=operation.as_strategy(mode))(lambda case: cases.append(case))
            bounded = settings(
                max_examples=examples // len(GENERATION_MODES),
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            try:
                bounded(collect)()
            except Unsatisfiable:  # every request to this operation follows its description
                continue
    return cases


def existing_ids(site: PopulatedSite) -> dict[str, list[Any]]:
    """Values of path parameters that exist."""
    return {
        "post_id": list(site.posts.values()),
        "comment_id": [site.comment, site.removed_comment],
        "case_id": [site.case],
        "decision_id": [site.decision],
        "appeal_id": [site.appeal],
        "name": ["hana", "taro", "mika", "bo", "Hana"],
        "relation": ["followers", "following"],
        "run_id": [f"post-{site.posts['checking']}"],
    }


def find_violations(
    site: PopulatedSite, browser: TestClient, cases: list[Case]
) -> Iterator[Violation]:
    """Send the requests in a fixed random order; yields the wrong responses."""
    ids = existing_ids(site)
    for number, case in enumerate(random.Random(1).sample(cases, len(cases))):
        if number % REQUESTS_PER_RATE_LIMIT_RESET == 0:
            with site.res.db.write() as db:
                rate_limit.delete_expired_counters(db, datetime.now(UTC) + timedelta(days=1))
        request = prepare_request(case, ids, number)
        if len(str(request.url)) > MAX_URL_LENGTH:
            continue
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() != "authorization"  # the browser sends its own
        }
        response = browser.request(
            request.method or "GET", str(request.url), headers=headers, content=request.body or b""
        )
        try:
            case.validate_response(response, checks=CHECKS)
            assert str(response.status_code) in case.operation.definition.raw["responses"], (
                f"{response.status_code} is not described"
            )
        except (AssertionError, BaseExceptionGroup) as error:
            yield Violation(
                case.operation.label,
                f"{request.method} {request.url} {(request.body or b'')[:300]!r}",
                "; ".join(map(str, getattr(error, "exceptions", [error]))),
            )


def prepare_request(case: Case, ids: dict[str, list[Any]], number: int) -> requests.PreparedRequest:
    """The HTTP request of a case; every second one uses existing ids and real pictures."""
    path, body = dict(case.path_parameters), case.body
    choice, is_real = divmod(crc32(f"{number}".encode()), 2)
    if is_real:
        case.path_parameters.update(
            {key: ids[key][choice % len(ids[key])] for key in path if key in ids}
        )
        if isinstance(body, dict) and "photo" in body:
            case.body = {**body, "photo": members_and_posts.make_picture(choice % 5)}
    request = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    case.path_parameters.update(path)
    case.body = body
    return request
