"""Every route of AI Animals as it is registered, so that no table in a test misses one."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts


class Route(NamedTuple):
    """A route with the names of its parameters in path, query, and form or JSON."""

    method: str
    path: str
    path_fields: list[str]
    query_fields: list[str]
    body_fields: list[str]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def fill_path(self, **values: object) -> str:
        """The path with values in place of its parameters."""
        return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), self.path)


def list_routes(app: FastAPI) -> list[Route]:
    """The pages, forms and API of AI Animals."""
    routes = []
    for context in iter_route_contexts(app.routes):
        path = str(context.path_format)
        if not path.startswith(("/animals", "/api/animals")):
            continue
        dependants = list(walk_dependants(context.dependant))
        query_fields, body_fields = (
            sorted({field.alias for dependant in dependants for field in getattr(dependant, kind)})
            for kind in ("query_params", "body_params")
        )
        json_fields = [
            name
            for dependant in dependants
            for field in dependant.body_params
            for name in getattr(field.field_info.annotation, "model_fields", ())
        ]
        routes += [
            Route(
                method,
                path,
                re.findall(r"\{(\w+)\}", path),
                query_fields,
                json_fields or body_fields,
            )
            for method in context.methods - {"HEAD"}
        ]
    return sorted(routes)


def walk_dependants(dependant: Any) -> Iterator[Any]:  # FastAPI does not export this type
    """A dependant and, recursively, its dependencies."""
    yield dependant
    for dependency in dependant.dependencies:
        yield from walk_dependants(dependency)
