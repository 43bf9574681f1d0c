"""The API's description in OpenAPI: who may call what, which problems it answers with, examples."""

from typing import Any, Generic, TypeVar

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from tanuki.platform.web.auth import require_person
from tanuki.platform.web.problem import PROBLEM_REF, PROBLEM_TYPE, Problem, problem_response

T = TypeVar("T")
Schema = dict[str, Any]


class Page(BaseModel, Generic[T]):
    """One page of a list; send `next` as `after` for the following page. It is null at the end."""

    items: list[T]
    next: str | None


def describe_api(app: FastAPI) -> Schema:
    """The OpenAPI document, built once: FastAPI's, completed with problems, access and examples."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components: Schema = document.setdefault("components", {})
        schemas: dict[str, Schema] = components.setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        closed = find_closed_operations(app)
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                complete_operation(operation, method, is_closed=(method.upper(), path) in closed)
        complete_examples(schemas)
        app.openapi_schema = document
    return app.openapi_schema


def complete_operation(operation: Schema, method: str, *, is_closed: bool) -> None:
    """Add to an operation the problems that FastAPI does not know, and whether it is public."""
    responses: dict[str, Any] = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422", "")):
        responses["422"] = problem_response(422)
    if "requestBody" in operation:
        responses.setdefault("413", problem_response(413))
    for status in (
        *((401,) if is_closed else ()),
        *(400, 403, 404, 500),
        *(() if method == "get" else (409, 429)),
    ):
        responses.setdefault(str(status), problem_response(status))
    responses.setdefault(
        "default",
        {
            "description": "Another problem.",
            "content": {PROBLEM_TYPE: {"schema": {"$ref": PROBLEM_REF}}},
        },
    )
    if not is_closed:
        operation["security"] = [{}, {"token": []}]


def find_closed_operations(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of each operation that only people who are signed in may call."""
    return {
        (method, route.path_format)
        for route in app.routes
        if isinstance(route, APIRoute) and requires_person(route.dependant)
        for method in route.methods or ()
    }


def requires_person(dependant: Dependant) -> bool:
    return any(
        dependency.call is require_person or requires_person(dependency)
        for dependency in dependant.dependencies
    )


# ---- examples ------------------------------------------------------------------------------------


def complete_examples(schemas: dict[str, Schema]) -> None:
    """Put nulls, which FastAPI removes, back into examples, and give pages of a list an example."""
    for schema in schemas.values():
        for example in schema.get("examples", ()):
            add_missing_nulls(example, schema, schemas)
    for name, schema in schemas.items():
        if name.startswith("Page_"):
            item = schemas[referenced_name(schema["properties"]["items"]["items"])]
            schema["examples"] = [{"items": item.get("examples", []), "next": None}]


def add_missing_nulls(example: object, schema: Schema, schemas: dict[str, Schema]) -> None:
    """Give an example, at every depth, null for each required property that it lacks."""
    if isinstance(example, list):
        for item in example:
            add_missing_nulls(item, schema.get("items", {}), schemas)
    elif name := referenced_name(schema):
        add_missing_nulls(example, schemas[name], schemas)
    elif isinstance(example, dict):
        for name in schema.get("required", ()):
            example.setdefault(name, None)
        for name, value in example.items():
            add_missing_nulls(value, schema.get("properties", {}).get(name, {}), schemas)


def referenced_name(schema: Schema) -> str:
    """The name of the schema that this one refers to, also as one of several; or an empty text."""
    candidates = [schema, *schema.get("anyOf", ())]
    return next(
        (
            str(candidate["$ref"]).rpartition("/")[2]
            for candidate in candidates
            if "$ref" in candidate
        ),
        "",
    )
