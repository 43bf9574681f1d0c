"""Routes that `read_route` and `write_route` register: access, problems, and many at once."""

import asyncio
from typing import Annotated

import pytest
from fastapi import APIRouter, Form, Response
from httpx2 import ASGITransport, AsyncClient
from pydantic import BaseModel
from sqlalchemy import select, update

from tanuki.animals import web as animals_web
from tanuki.platform.accounts import Account
from tanuki.platform.web import app as web
from tanuki.platform.web.auth import CurrentPerson, Viewer
from tanuki.platform.web.navigation import Menu
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import System
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop import web as shop_web
from tests.factories.http_clients import bearer, csrf, make_person, signed_in, visitor

router = APIRouter()


class Thing(BaseModel):
    name: str


@read_route(router, "/api/test/things/{name}", public=True)
def load_thing(viewer: Viewer, name: str) -> Thing:
    return Thing(name=name)


@read_route(router, "/api/test/secrets")
def load_secret() -> Thing:
    return Thing(name="secret")


@read_route(router, "/test/greeting", public=True)
def show_greeting(viewer: Viewer) -> Response:
    return Response("hello")


@write_route(router, "/api/test/things/{name}", method="PUT")
def replace_thing(person: CurrentPerson, name: str, thing: Thing) -> Thing:
    return thing


@write_route(router, "/test/form")
def send_form(person: CurrentPerson, text: Annotated[str, Form()]) -> Response:
    return Response(text)


@read_route(router, "/api/test/display")
def load_display(db: Db, person: CurrentPerson) -> str:
    account = db.scalars(select(Account).where(Account.name == person.name)).one()
    return account.display_name


@write_route(router, "/test/rename")
def rename(db: WriteDb, person: CurrentPerson, display: Annotated[str, Form()]) -> ActionResult:
    db.execute(update(Account).where(Account.name == person.name).values(display_name=display))
    return ActionResult("/")


@pytest.fixture
def app(embedded, tmp_path):
    make_person(embedded, "hana", ("analyst", None))
    return create_app(embedded, tmp_path)


def create_app(resources, folder):
    return web.create_app(resources, [System("test", Menu("Test"), [router], folder, folder)])


def test_a_route_is_closed_unless_it_is_public(app):
    browser = visitor(app)
    assert browser.get("/api/test/things/a").json() == {"name": "a"}
    assert browser.get("/test/greeting").text == "hello"
    assert browser.get("/api/test/secrets").status_code == 401
    assert browser.get("/api/test/display").status_code == 401


def test_a_write_needs_a_person_and_the_csrf_token(app):
    hana = signed_in(app, "hana")
    thing = {"json": {"name": "b"}}
    token = {"headers": {"X-CSRF-Token": csrf(hana)}}
    assert hana.put("/api/test/things/a", **thing).status_code == 403
    assert visitor(app).put("/api/test/things/a", **thing, **token).status_code == 401
    assert hana.put("/api/test/things/a", **thing, **token).json() == {"name": "b"}
    assert hana.post("/test/form", data={"text": "x"}).status_code == 403
    assert hana.post("/test/form", data={"text": "x", "csrf": csrf(hana)}).text == "x"


def test_a_page_that_renders_itself_is_not_part_of_the_api(app):
    paths = visitor(app).get("/api/openapi.json").json()["paths"]
    assert "/api/test/things/{name}" in paths
    assert not any(path.endswith(("greeting", "form")) for path in paths)


def test_every_api_route_documents_its_problems(app):
    paths = visitor(app).get("/api/openapi.json").json()["paths"]
    assert {"400", "401", "403", "404", "422"} <= set(
        paths["/api/test/things/{name}"]["get"]["responses"]
    )
    assert {"409", "413", "429"} <= set(paths["/api/test/things/{name}"]["put"]["responses"])


def test_no_two_routes_of_the_site_have_the_same_path_and_method(embedded):
    app = web.create_app(embedded, [shop_web.SYSTEM, animals_web.SYSTEM])
    keys = [(method, route.path) for route in app.routes for method in route.methods]
    assert len(keys) > 150
    assert sorted(keys) == sorted(set(keys))


def test_more_requests_than_threads_and_connections_are_all_answered(resources, tmp_path):
    make_person(resources, "hana", ("analyst", None))
    app = create_app(resources, tmp_path)
    headers = dict(bearer(resources, app, "hana").headers)

    async def send_requests() -> list[int]:
        async with AsyncClient(
            transport=ASGITransport(app), base_url="http://testserver", headers=headers
        ) as client:
            reads = [client.get("/api/test/display") for _ in range(100)]
            writes = [
                client.post("/api/test/rename", json={"display": f"h{number}"})
                for number in range(60)
            ]
            return [answer.status_code for answer in await asyncio.gather(*reads, *writes)]

    assert asyncio.run(asyncio.wait_for(send_requests(), 25)) == [200] * 160
    assert resources.db.engine.pool.checkedout() == 0
