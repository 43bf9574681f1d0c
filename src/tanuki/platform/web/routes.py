"""Finding the route of a request without trying every one: a tree of the paths' parts in front of the framework's own list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from inspect import iscoroutinefunction, isfunction, isgeneratorfunction, signature
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

SAID = [
    name
    for name in signature(APIRouter.add_api_route).parameters
    if name not in ("self", "path", "endpoint")
]
FLAT = "tanuki_flat"


@dataclass
class Node:
    """What follows a part of a path: parts that are written out, a part that may be anything, and the routes that end here."""

    written: dict[str, "Node"] = field(default_factory=dict)
    anything: "Node | None" = None
    ends: list[int] = field(default_factory=list)
    rest: list[int] = field(
        default_factory=list
    )  # routes whose last parameter takes all that follows


class Directory(BaseRoute):
    """Stands first among an app's routes and picks the one that takes a request, the earliest as without it. What no route takes goes on."""

    def __init__(self, routes: list[APIRoute]) -> None:
        self.routes = routes
        self.root = Node()
        for number, route in enumerate(routes):
            self.add(number, route.path)

    def add(self, number: int, path: str) -> None:
        """Put a route where its path leads."""
        node = self.root
        for part in path.split("/"):
            if part.endswith(":path}"):
                node.rest.append(number)
                return
            if "{" in part:
                node.anything = node.anything or Node()
                node = node.anything
            else:
                node = node.written.setdefault(part, Node())
        node.ends.append(number)

    def near(self, path: str) -> list[int]:
        """The few routes whose path may be this one, in the order in which they were registered."""
        found: list[int] = []
        nodes = [self.root]
        for part in path.split("/"):
            for node in nodes:
                found += node.rest
            nodes = [
                after
                for node in nodes
                for after in (node.written.get(part), node.anything)
                if after is not None
            ]
        for node in nodes:
            found += node.ends
        return sorted(found)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The first that takes path and method."""
        if scope["type"] == "http":
            for number in self.near(scope["path"]):
                match, child = self.routes[number].matches(scope)
                if match == Match.FULL:
                    return match, child
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route that was picked answer."""
        await scope["route"].handle(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: object) -> object:  # type: ignore[override]
        """The routes say that themselves."""
        raise NoMatchFound(name, path_params)


def include(app: FastAPI, routers: Sequence[tuple[APIRouter, str]]) -> None:
    """Give an app the routes of some routers, each with a tag, found by a directory."""
    whole = [route for router, tag in routers for route in flat(router, tag)]
    app.router.routes += [Directory(whole), *whole]


def flat(router: APIRouter, tag: str) -> list[APIRoute]:
    """A router's routes and those of the routers in it, each whole. Kept with the router: working out what a route asks for takes its time."""
    made: list[APIRoute] | None = getattr(router, FLAT, None)
    if made is None:
        alone = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        alone.include_router(router, tags=[tag] if tag else None)
        made = [
            whole(route)
            for route in iter_route_contexts(alone.routes)
            if isinstance(route.original_route, APIRoute)
        ]
        setattr(router, FLAT, made)
    return made


def whole(route: RouteContext) -> APIRoute:
    """A route as it is with all that the routers around it add."""
    assert route.endpoint is not None
    said = {name: getattr(route, name) for name in SAID if hasattr(route, name)}
    return APIRoute(
        route.path or "",
        in_thread(route.endpoint),
        **{**said, "form_limits": getattr(route.original_route, "form_limits", None)},
    )


def in_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function run in a thread of the pool, and only that: what the framework does with its answer needs no thread again.

    Otherwise a request that has written waits for a thread before it commits, while all threads wait for what it has locked.
    """
    if iscoroutinefunction(endpoint) or isgeneratorfunction(endpoint) or not isfunction(endpoint):
        return endpoint

    @wraps(endpoint)
    async def run(*args: Any, **kwargs: Any) -> Any:
        return await run_in_threadpool(endpoint, *args, **kwargs)

    return run
