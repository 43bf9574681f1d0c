"""Cost of the platform's pages: a list as page and JSON, beside a bare FastAPI application.

    python -m bench.web_speed

The bare application (FastAPI, SQLAlchemy, Jinja) makes the same queries.
"""

import secrets
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

import tanuki.app.metadata  # noqa: F401 every table
from bench.lib.http_comparison import VISITOR, compare_servers, start_servers
from bench.lib.reporting import format_figures, write_results
from tanuki.platform import accounts
from tanuki.platform.accounts import (
    Account,
    AccountGrant,
    AccountSession,
    NewUser,
    digest_token,
)
from tanuki.platform.database.engine import Base, Database, create_database_engine
from tanuki.platform.web import navigation
from tanuki.platform.web.auth import Viewer
from tanuki.platform.web.navigation import Menu, MenuEntry
from tanuki.platform.web.pages import read_route
from tanuki.platform.web.site import System
from tanuki.platform.web.transactions import Db
from tanuki.settings import Settings

FIRST_PORT = 8471
ROWS = 1000
LIST = (
    "<h1>Things</h1><ul>{% for row in page.rows %}"
    '<li><a href="/things/{{ row.id }}">{{ row.title }}</a> {{ row.text }} ({{ row.count }})</li>'
    "{% endfor %}</ul>"
)
BARE_PAGE = (
    "<!doctype html><html lang=en><head><title>Things</title></head>"
    f"<body><p>{{{{ name }}}}</p>{LIST}</body></html>"
)
OUR_PAGE = f'{{% extends "base.html" %}}{{% block content %}}{LIST}{{% endblock %}}'


class Thing(Base):
    """A row of the list."""

    __tablename__ = "bench_thing"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    text: Mapped[str]
    count: Mapped[int]


class Row(BaseModel):
    id: int
    title: str
    text: str
    count: int


class Things(BaseModel):
    rows: list[Row]


def load_things(db: Session) -> Things:
    """The query of both applications."""
    things = db.scalars(select(Thing).order_by(Thing.id.desc()).limit(24))
    return Things(
        rows=[
            Row(id=thing.id, title=thing.title, text=thing.text, count=thing.count)
            for thing in things
        ]
    )


# ---- the two servers -----------------------------------------------------------------------------


def create_ours(home: Path) -> FastAPI:
    """Our site with one more system."""
    from tanuki.app import bootstrap
    from tanuki.platform import log
    from tanuki.platform.web import app
    from tanuki.shop import web as shop_web

    settings = Settings(home=home, log="json")
    log.set_up_logging(settings)
    templates = home / "templates"
    templates.mkdir(exist_ok=True)
    (templates / "things.html").write_text(OUR_PAGE)
    router = APIRouter()

    @read_route(router, "/things", "things.html", public=True)
    def show_things(db: Db, viewer: Viewer) -> Things:
        return load_things(db)

    menu = Menu("Things", (MenuEntry("/things", "Things", (navigation.VISITOR,)),))
    return app.create_app(
        bootstrap.create_resources(settings, upgrade=False),
        [shop_web.SYSTEM, System("things", menu, [router], templates, home)],
    )


def create_bare(home: Path) -> FastAPI:
    """The least code that does the same."""
    engine = create_database_engine(f"sqlite:///{home}/tanuki.db")
    app, template = FastAPI(), Environment(autoescape=True).from_string(BARE_PAGE)

    def open_session() -> Iterator[Session]:
        with Session(engine.execution_options(tanuki_write=False)) as db:
            yield db

    BareDb = Annotated[Session, Depends(open_session)]  # noqa: N806

    def find_person(request: Request, db: BareDb) -> str | None:
        token = request.cookies.get("tanuki-session")
        session = db.get(AccountSession, digest_token(token)) if token else None
        if session is None or session.expires_at <= datetime.now(UTC):
            return None
        account = db.get_one(Account, session.name)
        db.scalars(select(AccountGrant).where(AccountGrant.name == account.name)).all()
        return account.display_name

    Name = Annotated[str | None, Depends(find_person)]  # noqa: N806

    @app.get("/things", response_class=HTMLResponse)
    def things_page(db: BareDb, name: Name) -> HTMLResponse:
        return HTMLResponse(template.render(page=load_things(db), name=name))

    @app.get("/api/things")
    def things_json(db: BareDb, name: Name) -> Things:
        return load_things(db)

    return app


def fill_database(home: str) -> str:
    """The database of both applications, with a signed-in person; gives their cookies."""
    database = Database(f"sqlite:///{home}/tanuki.db")
    Base.metadata.create_all(database.engine)
    now, token = datetime.now(UTC), secrets.token_urlsafe(32)
    text = "A text about this thing, as long as a caption. " * 2
    with database.write() as db:
        db.add_all(
            Thing(title=f"Thing {number}", text=text, count=number) for number in range(ROWS)
        )
        accounts.add_user(db, NewUser("hana", grants=[("analyst", None)]), now)
        db.add(
            AccountSession(
                digest=digest_token(token),
                name="hana",
                created_at=now,
                expires_at=now + timedelta(days=1),
            )
        )
    database.close()
    return f"Cookie: tanuki-session={token}; tanuki-visitor=x\r\n"


def main() -> None:
    rows = {}
    with tempfile.TemporaryDirectory() as home:
        signed_in = fill_database(home)
        with start_servers(__spec__.name, home, FIRST_PORT) as servers:
            for name, path, headers in [
                ("page, visitor", "/things", VISITOR),
                ("page, signed in", "/things", signed_in),
                ("JSON, visitor", "/api/things", ""),
                ("JSON, signed in", "/api/things", signed_in),
            ]:
                rows[name] = compare_servers(servers, path, headers)
                print(f"{name:<16} {format_figures(rows[name])}", flush=True)
    write_results("web_speed", rows)


if __name__ == "__main__":
    main()
