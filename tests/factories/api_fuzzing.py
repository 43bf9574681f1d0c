"""The API tried by schemathesis, in process: every operation with what its description allows and forbids, as somebody in a role; half of the ids are real."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zlib import crc32

import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
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
from tanuki.platform.web import rest
from tests.factories import members_and_posts
from tests.factories.populated_site import Crowd

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FORGET = 40  # requests, after which no limit is remembered: otherwise most would be answered 429
LONGEST_URL = 16_000  # servers refuse longer ones
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
Case = Any  # of schemathesis


class Wrong(NamedTuple):
    """An answer that is not as announced."""

    operation: str
    sent: str
    why: str


def made_up(
    app: FastAPI, *, examples: int, number: int | None = None, only: str = ""
) -> list[Case]:
    """So many requests for each operation of the API, half of them as described and half not. Without a number always the same ones."""
    schema = schemathesis.openapi.from_dict(rest.description(app))
    found: list[Case] = []
    for operation in (operation_result.ok() for operation_result in schema.get_all_operations()):
        for mode in MODES:
            if only not in operation.label:
                continue
            collect = given(case=operation.as_strategy(mode))(lambda case: found.append(case))
            collect = collect if number is None else seed(number)(collect)
            bounded = settings(
                max_examples=examples // len(MODES),
                derandomize=number is None,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            try:
                bounded(collect)()
            except Unsatisfiable:  # nothing that is not as described can be sent to it
                continue
    return found


def real_ids(crowd: Crowd) -> dict[str, list[Any]]:
    """What stands behind the parameters of paths."""
    return {
        "post_id": list(crowd.posts.values()),
        "comment_id": [crowd.comment, crowd.gone],
        "case_id": [crowd.case],
        "decision_id": [crowd.decision],
        "appeal_id": [crowd.appeal],
        "name": ["hana", "taro", "mika", "bo", "Hana"],
        "which": ["followers", "following"],
        "run_id": [f"post-{crowd.posts['checking']}"],
    }


def tried(crowd: Crowd, browser: TestClient, cases: list[Case]) -> Iterator[Wrong]:
    """Send the requests in any order, half of them about something that is there; gives what is wrong."""
    ids = real_ids(crowd)
    for number, case in enumerate(random.Random(1).sample(cases, len(cases))):
        if number % FORGET == 0:
            with crowd.res.db.write() as db:
                rate_limit.forget(db, datetime.now(UTC) + timedelta(days=1))
        sent = as_sent(case, ids, number)
        if len(str(sent.url)) > LONGEST_URL:
            continue
        headers = {
            name: value for name, value in sent.headers.items() if name.lower() != "authorization"
        }  # always the role's own
        answer = browser.request(
            sent.method or "GET", str(sent.url), headers=headers, content=sent.body or b""
        )
        try:
            case.validate_response(answer, checks=CHECKS)
            assert str(answer.status_code) in case.operation.definition.raw["responses"], (
                f"{answer.status_code} is not announced"
            )
        except (AssertionError, BaseExceptionGroup) as wrong:
            whole = "; ".join(map(str, getattr(wrong, "exceptions", [wrong])))
            yield Wrong(
                case.operation.label,
                f"{sent.method} {sent.url} {(sent.body or b'')[:300]!r}",
                whole,
            )


def as_sent(case: Case, ids: dict[str, list[Any]], number: int) -> requests.PreparedRequest:
    """A request as it goes over the wire. Every second one is about what is there, and a picture in it is one."""
    path, body = dict(case.path_parameters), case.body
    pick, real = divmod(crc32(f"{number}".encode()), 2)
    if real:
        case.path_parameters.update(
            {key: ids[key][pick % len(ids[key])] for key in path if key in ids}
        )
        if isinstance(body, dict) and "photo" in body:
            case.body = {**body, "photo": members_and_posts.picture(pick % 5)}
    made = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    case.path_parameters.update(path)
    case.body = body
    return made
