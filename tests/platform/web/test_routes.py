"""The directory finds the same route as trying one after the other; and many requests at once do not wait for each other for ever."""

import asyncio
import re
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, Form, Request
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import select, update
from starlette.routing import Match

from tanuki.animals import web as animals_web
from tanuki.platform.accounts import Account
from tanuki.platform.web import app as web
from tanuki.platform.web import routes
from tanuki.platform.web.pages import Db, Done, System, Who, WriteDb, action
from tanuki.platform.web.routes import Directory
from tanuki.shop import web as shop_web
from tests.factories.http_clients import bearer, make_person, visitor

router = APIRouter(dependencies=[Depends(lambda: None)])
inner = APIRouter()


@router.get("/t/{thing}")
def anything(thing: str) -> str:
    return f"anything {thing}"


@router.get("/t/written")
def written() -> str:
    return "never, as the one above comes first"


@router.get("/t/{thing}.csv")
def csv(thing: str) -> str:
    return "never"


@router.get("/u/written")
@inner.get("/inner/{a}/x/{b}")
def first(request: Request) -> str:
    return f"first {sorted(request.path_params.items())}"


@router.get("/u/{thing}")
def second(thing: str) -> str:
    return "second"


@router.post("/u/{thing}", status_code=201)
def posted(thing: str) -> str:
    return "posted"


@router.get("/files/{name:path}")
def files(name: str) -> str:
    return f"file {name}"


router.include_router(inner)


@pytest.fixture
def app(embedded, tmp_path):
    return web.create(embedded, [System("test", "Test", router, [], tmp_path, tmp_path)])


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("get", "/t/written", 200, "anything written"),
        ("get", "/t/a.csv", 200, "anything a.csv"),
        ("get", "/u/written", 200, "first []"),
        ("get", "/u/other", 200, "second"),
        ("post", "/u/written", 201, "posted"),
        ("get", "/inner/1/x/2", 200, "first [('a', '1'), ('b', '2')]"),
        ("get", "/files/a/b/c.txt", 200, "file a/b/c.txt"),
        ("delete", "/u/other", 405, None),
        ("get", "/inner/1/y/2", 404, None),
        ("get", "/t", 404, None),
        ("get", "/", 303, None),
    ],
)
def test_the_first_route_that_fits_answers(app, method, path, status, said):
    answer = visitor(app).request(method, path)
    assert answer.status_code == status
    assert said is None or answer.json() == said


def test_the_directory_picks_what_the_list_would_for_every_route_of_the_site(embedded):
    made = web.create(embedded, [shop_web.SYSTEM, animals_web.SYSTEM])
    [directory] = [route for route in made.routes if isinstance(route, Directory)]
    assert len(directory.routes) > 100
    for route in directory.routes:
        path = re.sub(r"\{\w+(:path)?\}", "1", route.path)
        for method in (*sorted(route.methods), "BREW"):
            scope = {"type": "http", "path": path, "method": method, "root_path": ""}
            one_by_one = next(
                (each for each in directory.routes if each.matches(dict(scope))[0] == Match.FULL),
                None,
            )
            assert directory.matches(dict(scope))[1].get("route") is one_by_one, (method, path)
            assert len(directory.near(path)) < 12, path


def test_a_routers_routes_are_worked_out_once_and_serve_every_site(embedded, tmp_path):
    system = System("test", "Test", router, [], tmp_path, tmp_path)
    assert routes.flat(router, "test") is routes.flat(router, "test")
    for app in (web.create(embedded, [system]), web.create(embedded, [system])):
        assert visitor(app).get("/u/other").json() == "second"
        assert app.openapi()["paths"]["/u/{thing}"]["get"]["tags"] == ["test"]


def test_a_route_keeps_what_its_routers_say():
    asked = APIRouter(dependencies=[Depends(lambda: None)])
    within = APIRouter()
    within.get("/x", responses={404: {"description": "x"}}, response_model=int)(lambda: 1)
    asked.include_router(within)
    [route] = routes.flat(asked, "tag")
    assert (
        route.tags,
        len(route.dependencies),
        route.responses[404]["description"],
        route.response_model,
    ) == (["tag"], 1, "x", int)
    assert isinstance(FastAPI(), FastAPI)


# ---- many at once


def display(db: Db, who: Who) -> str:
    account = db.scalars(select(Account).where(Account.name == who.name)).one()
    return account.display


def rename(db: WriteDb, who: Who, display: Annotated[str, Form()]) -> Done:
    db.execute(update(Account).where(Account.name == who.name).values(display=display))
    return Done("/")


def test_more_requests_than_threads_and_connections_are_all_answered(resources, tmp_path):
    busy = APIRouter()
    busy.get("/api/test/display")(display)
    action(busy, "/test/rename", rename)
    app = web.create(resources, [System("test", "Test", busy, [], tmp_path, tmp_path)])
    make_person(resources, "hana", ("analyst", None))
    headers = dict(bearer(resources, app, "hana").headers)

    async def ask() -> list[int]:
        async with AsyncClient(
            transport=ASGITransport(app), base_url="http://testserver", headers=headers
        ) as client:
            reads = [client.get("/api/test/display") for _ in range(100)]
            writes = [
                client.post("/api/test/rename", json={"display": f"h{number}"})
                for number in range(60)
            ]
            return [answer.status_code for answer in await asyncio.gather(*reads, *writes)]

    assert asyncio.run(asyncio.wait_for(ask(), 25)) == [200] * 160
    assert resources.db.engine.pool.checkedout() == 0
