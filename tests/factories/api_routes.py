"""Every route of the network as it is registered: its method, its path, and what it takes; so that no table in a test forgets one."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts


class Route(NamedTuple):
    """A route with the names of what it takes in its path, query and form or JSON."""

    method: str
    path: str
    in_path: list[str]
    in_query: list[str]
    in_body: list[str]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def filled(self, **values: object) -> str:
        """The path with values in their places."""
        return re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), self.path)


def routes(app: FastAPI) -> list[Route]:
    """The network's pages, forms and API."""
    found = []
    for iter_route_context in iter_route_contexts(app.routes):
        path = str(iter_route_context.path_format)
        if not path.startswith(("/animals", "/api/animals")):
            continue
        every = list(parts(iter_route_context.dependant))
        asked = [
            sorted({field.alias for part in every for field in getattr(part, kind)})
            for kind in ("query_params", "body_params")
        ]
        in_json = [
            name
            for part in every
            for field in part.body_params
            for name in getattr(field.field_info.annotation, "model_fields", ())
        ]
        found += [
            Route(method, path, re.findall(r"\{(\w+)\}", path), asked[0], in_json or asked[1])
            for method in iter_route_context.methods - {"HEAD"}
        ]
    return sorted(found)


def parts(dependant: Any) -> Iterator[Any]:
    """What a route asks for, and what that asks for."""
    yield dependant
    for dependency in dependant.dependencies:
        yield from parts(dependency)
