"""Problem details (RFC 9457): what the API answers when something went wrong."""

from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

PROBLEM_TYPE = "application/problem+json"
PROBLEM_REF = "#/components/schemas/Problem"
PROBLEM_DESCRIPTIONS = {
    304: "Not changed since it was read.",
    400: "The request cannot be carried out; the detail says why.",
    401: "Nobody is signed in, or the token is not valid.",
    403: "This person, or this token, may not do that.",
    404: "It does not exist, or this person may not see it.",
    405: "The path does not support this method.",
    409: "Its state does not allow this any more, or somebody changed it in the meantime.",
    412: "It is not the version that If-Match names.",
    413: "The request is too large.",
    422: "A field is missing, or its value is of the wrong type.",
    429: "Too many requests; Retry-After says how many seconds to wait.",
    500: "An error on our side.",
}
READ_PROBLEMS = (400, 401, 403, 404, 422)
WRITE_PROBLEMS = (*READ_PROBLEMS, 409, 413, 429)
Responses = dict[int | str, dict[str, Any]]  # as FastAPI's `responses`: parts of OpenAPI


class Problem(BaseModel):
    """What went wrong (RFC 9457).

    `detail` is a sentence for people, in their language. `request_id` finds it in our log.
    """

    model_config = ConfigDict(extra="forbid")

    type: str = Field(examples=["about:blank"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str
    request_id: str


def answer_problem(problem: Problem) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    return JSONResponse(problem.model_dump(), problem.status, headers, media_type=PROBLEM_TYPE)


def problem_responses(*statuses: int) -> Responses:
    """The problems that a route may answer with, for its `responses`."""
    return {status: problem_response(status) for status in statuses}


def problem_response(status: int) -> dict[str, Any]:
    """The OpenAPI of one problem, with an example; one without a body below 400."""
    if status < 400:
        return {"description": PROBLEM_DESCRIPTIONS[status]}
    example = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=PROBLEM_DESCRIPTIONS[status],
        instance="/api/…",
        request_id="5f0c2a9be1d34c77",
    )
    content = {"schema": {"$ref": PROBLEM_REF}, "example": example.model_dump()}
    response: dict[str, Any] = {
        "description": PROBLEM_DESCRIPTIONS[status],
        "content": {PROBLEM_TYPE: content},
    }
    if status == 429:
        response["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        }
    return response
