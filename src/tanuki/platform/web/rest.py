"""What programs are promised: problem details, entity tags, idempotency keys, announced limits, pages of a list, and the API's description."""

from collections.abc import Iterable
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field

from tanuki.errors import Stale, UserError
from tanuki.platform.rate_limit import Left
from tanuki.platform.web.pages import person_of

T = TypeVar("T")
PROBLEM = "application/problem+json"
REF = "#/components/schemas/Problem"
KEY_LENGTH = 80
WHY = {
    304: "Not changed since it was read.",
    400: "What was sent cannot be done; the detail says why.",
    401: "Nobody is signed in, or the token is not valid.",
    403: "This person, or this token, may not do that.",
    404: "There is no such thing, or it is not this person's to see.",
    405: "The path is not used with this method.",
    409: "It is no longer in the state that allows this, or somebody changed it meanwhile.",
    412: "It is not what the request says that it has seen.",
    413: "What was sent is too large.",
    422: "Something is missing, or not of its kind.",
    429: "Too often; Retry-After says how many seconds to wait.",
    500: "The fault is ours.",
}


class Problem(BaseModel):
    """What went wrong (RFC 9457): `detail` is a sentence for people, in their language; `request_id` finds it in our log."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(examples=["about:blank"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str
    request_id: str


class Page(BaseModel, Generic[T]):
    """Some of a list; `next` is what to send as `after` for those that follow, null at the end."""

    items: list[T]
    next: str | None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside what it gives, for its `responses`."""
    return {status: response(status) for status in statuses}


def response(status: int) -> dict[str, Any]:
    """One such answer, with an example; one without a body below 400."""
    if status < 400:
        return {"description": WHY[status]}
    example = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": WHY[status],
        "instance": "/api/…",
        "request_id": "5f0c2a9be1d34c77",
    }
    made: dict[str, Any] = {
        "description": WHY[status],
        "content": {PROBLEM: {"schema": {"$ref": REF}, "example": example}},
    }
    if status == 429:
        made["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        }
    return made


# ---- entity tags ---------------------------------------------------------------------------------------------------


class NotModified(Exception):
    """Who asks has it already."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


def etag(request: Request, response: Response, value: object, *, weak: bool = False) -> None:
    """Give the answer an entity tag made from `value`, which must hold all that it says; who has that already is answered 304.

    Weak: made from less, such as a version; enough to save sending, not enough for `if_match`.
    """
    tag = tag_of(value, weak=weak)
    if request.method in ("GET", "HEAD") and has(request.headers.get("if-none-match", ""), tag):
        raise NotModified(tag)
    response.headers["ETag"] = tag


def if_match(request: Request, value: object) -> None:
    """Refuse a change by a program that says (If-Match) what it has seen, when that is not what there is. Who does not say is not refused."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return
    if tag_of(value) not in [each.strip() for each in given.split(",")]:
        raise Stale("It has changed since it was read; read it again, then decide anew.")


def tag_of(value: object, *, weak: bool = False) -> str:
    """The entity tag of a value."""
    text = (
        value.model_dump_json()
        if isinstance(value, BaseModel)
        else value
        if isinstance(value, str)
        else repr(value)
    )
    return f'{"W/" if weak else ""}"{sha256(text.encode()).hexdigest()[:24]}"'


def has(given: str, tag: str) -> bool:
    """Whether an If-None-Match names the tag; strong or weak is the same here."""
    known = [each.strip().removeprefix("W/") for each in given.split(",")]
    return "*" in known or tag.removeprefix("W/") in known


# ---- idempotency keys and limits -----------------------------------------------------------------------------------


async def key_of(
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            description="Made up by the sender for this one thing, such as a UUID: the same key again does it once and gives the same.",
            json_schema_extra={
                "minLength": 1,
                "maxLength": KEY_LENGTH,
                "pattern": f"^[!-~]{{1,{KEY_LENGTH}}}$",
            },
            examples=["7f2c1f5e-8f5b-4a1e-9d55-0d6a3c6f4b2a"],
        ),
    ],
) -> str:
    """The sender's key for this request."""
    if not 1 <= len(key) <= KEY_LENGTH or not all("!" <= character <= "~" for character in key):
        raise UserError(
            "An Idempotency-Key has 1 to %(length)s visible characters.", length=KEY_LENGTH
        )
    return key


Key = Annotated[str, Depends(key_of)]


def rate_headers(response: Response, spent: Left | Iterable[Left]) -> None:
    """Announce what is left of limits (RateLimit-Policy and RateLimit, as the IETF drafts them)."""
    response.headers.update(announced([spent] if isinstance(spent, Left) else spent))


def announced(spent: Iterable[Left]) -> dict[str, str]:
    """The headers about limits; none when nothing was counted."""
    known = list(spent)
    if not known:
        return {}
    return {
        "RateLimit-Policy": ", ".join(
            f'"{each.what}";q={each.most};w={each.window}' for each in known
        ),
        "RateLimit": ", ".join(f'"{each.what}";r={each.left};t={each.seconds}' for each in known),
    }


# ---- the API's description -----------------------------------------------------------------------------------------


def description(app: FastAPI) -> dict[str, Any]:
    """The API in OpenAPI, made once: every operation says who may call it and that whatever goes wrong is a problem."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        parts: dict[str, Any] = made.setdefault("components", {})
        schemas: dict[str, Any] = parts.setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        closed = operations_that_need_a_person(app)
        for path, methods in made["paths"].items():
            for method, operation in methods.items():
                complete(operation, method, closed=(method.upper(), path) in closed)
        complete_examples(schemas)
        app.openapi_schema = made
    return app.openapi_schema


def complete_examples(schemas: dict[str, Any]) -> None:
    """Put back into examples the nulls, which the framework takes out of them, and give a page of a list the example of what it holds."""
    for schema in schemas.values():
        for example in schema.get("examples", ()):
            put_nulls(example, schema, schemas)
    for name, schema in schemas.items():
        if name.startswith("Page_"):
            held = schemas[referred(schema["properties"]["items"]["items"])]
            schema["examples"] = [{"items": held.get("examples", []), "next": None}]


def put_nulls(example: object, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Give an example, and what is in it, null for each property that it must have and lacks."""
    if isinstance(example, list):
        for each in example:
            put_nulls(each, schema.get("items", {}), schemas)
    elif name := referred(schema):
        put_nulls(example, schemas[name], schemas)
    elif isinstance(example, dict):
        for name in schema.get("required", ()):
            example.setdefault(name, None)
        for name, value in example.items():
            put_nulls(value, schema.get("properties", {}).get(name, {}), schemas)


def referred(schema: dict[str, Any]) -> str:
    """The name of the schema that one stands for, also as one of several or as null; empty when it stands for itself."""
    among = [schema, *schema.get("anyOf", ())]
    return next((str(each["$ref"]).rpartition("/")[2] for each in among if "$ref" in each), "")


def complete(operation: dict[str, Any], method: str, *, closed: bool) -> None:
    """Say of an operation what the framework does not know: its problems, and that anybody may call it."""
    answers: dict[str, Any] = operation["responses"]
    if "HTTPValidationError" in str(answers.get("422", "")):
        answers["422"] = response(422)
    if "requestBody" in operation:
        answers.setdefault("413", response(413))
    for status in (
        *((401,) if closed else ()),
        400,
        403,
        404,
        500,
        *(() if method == "get" else (409, 429)),
    ):
        answers.setdefault(str(status), response(status))
    answers.setdefault(
        "default",
        {"description": "Another problem.", "content": {PROBLEM: {"schema": {"$ref": REF}}}},
    )
    if not closed:
        operation["security"] = [{}, {"token": []}]


def operations_that_need_a_person(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of each operation that is refused to whom we do not know."""
    return {
        (method, str(route.path_format))
        for route in iter_route_contexts(app.routes)
        if needs_person(getattr(route, "dependant", None))
        for method in route.methods or ()
    }


def needs_person(dependant: Any) -> bool:
    """Whether somewhere among what a route asks for is the person."""
    return dependant is not None and any(
        dependency.call is person_of or needs_person(dependency)
        for dependency in dependant.dependencies
    )
