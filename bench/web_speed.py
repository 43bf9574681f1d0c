"""What the page kit costs: pages and JSON of one list, from our site and from a bare FastAPI and SQLAlchemy app that does the same queries.

Each server is one process; the same few connections ask each in turn, several rounds, and the best round counts, so that a busy machine
does not decide. Beside requests a second stands the processor time that the server took for one, which a busy machine does not change.
"""

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from pydantic import BaseModel
from sqlalchemy import Engine, select
from sqlalchemy.orm import Mapped, Session, mapped_column

import tanuki.app.metadata  # every table
from tanuki.platform import accounts
from tanuki.platform.accounts import Account, AccountGrant, AccountSession
from tanuki.platform.database.engine import Base, Database, engine
from tanuki.platform.web.pages import Db, System, Viewer, page
from tanuki.settings import Settings

RESULTS = Path(__file__).parent / "results" / "web_speed.json"
CONNECTIONS, ROUNDS, SECONDS = 8, 5, 2.0
LIST = """<h1>Things</h1><ul>{% for row in view.rows %}<li><a href="/things/{{ row.id }}">{{ row.title }}</a> {{ row.text }} ({{ row.count }})</li>{% endfor %}</ul>"""
WHOLE = f"<!doctype html><html lang=en><head><title>Things</title></head><body><p>{{{{ who }}}}</p>{LIST}</body></html>"
OURS = f'{{% extends "base.html" %}}{{% block content %}}{LIST}{{% endblock %}}'


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


def things(db: Session) -> Things:
    """The query that both do."""
    found = db.scalars(select(Thing).order_by(Thing.id.desc()).limit(24))
    return Things(
        rows=[Row(id=each.id, title=each.title, text=each.text, count=each.count) for each in found]
    )


# ---- the two servers -----------------------------------------------------------------------------------------------


def ours(home: Path) -> FastAPI:
    """Our site with one more system."""
    from tanuki.app import bootstrap
    from tanuki.platform import log
    from tanuki.platform.web import app
    from tanuki.shop import web as shop_web

    settings = Settings(home=home, log="json")
    log.set_up(settings)
    templates = home / "templates"
    templates.mkdir(exist_ok=True)
    (templates / "things.html").write_text(OURS)
    router = APIRouter()

    def view(db: Db, viewer: Viewer) -> Things:
        """The list."""
        return things(db)

    page(router, "/things", view, "things.html", public=True)
    menu = [("/things", "Things", ("anybody",))]
    return app.create(
        bootstrap.resources(settings, upgrade=False),
        [shop_web.SYSTEM, System("things", "Things", router, menu, templates, home)],
    )


def bare(home: Path) -> FastAPI:
    """The least that anybody would write."""
    made: Engine = engine(f"sqlite:///{home}/tanuki.db")
    app, template = FastAPI(), Environment(autoescape=True).from_string(WHOLE)

    def session() -> Iterator[Session]:
        with Session(made.execution_options(tanuki_write=False)) as db:
            yield db

    def person(request: Request, db: Annotated[Session, Depends(session)]) -> str | None:
        token = request.cookies.get("tanuki-session")
        found = db.get(AccountSession, accounts.digest(token)) if token else None
        if found is None or found.expires_at <= datetime.now(UTC):
            return None
        account = db.get_one(Account, found.name)
        db.scalars(select(AccountGrant).where(AccountGrant.name == account.name)).all()
        return account.display

    @app.get("/things", response_class=HTMLResponse)
    def html(
        db: Annotated[Session, Depends(session)], who: Annotated[str | None, Depends(person)]
    ) -> HTMLResponse:
        return HTMLResponse(template.render(view=things(db), who=who))

    @app.get("/api/things")
    def data(
        db: Annotated[Session, Depends(session)], who: Annotated[str | None, Depends(person)]
    ) -> Things:
        return things(db)

    return app


def serve(which: str, home: str, port: str) -> None:
    """One server process."""
    import uvicorn

    app = {"ours": ours, "bare": bare}[which](Path(home))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_config=None, access_log=False)


# ---- asking --------------------------------------------------------------------------------------------------------


@contextmanager
def running(which: str, home: str, port: int, script: str = __file__) -> Iterator[int]:
    """A server process while the block lasts; gives its id."""
    with Path(home, f"{which}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, script, "serve", which, home, str(port)], stderr=log, stdout=log
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(port: int, path: str, cookie: str, seconds: float) -> list[float]:
    """Ask over a few connections for a while; gives how long each answer took."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: identity\r\n{cookie}\r\n".encode()
    end, taken = time.perf_counter() + seconds, []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            taken.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return taken


async def wait_for(port: int) -> None:
    """Until it listens."""
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


def fill(home: str) -> str:
    """The database of both, with somebody who is signed in; gives their session."""
    db = Database(f"sqlite:///{home}/tanuki.db")
    Base.metadata.create_all(db.engine)
    now = datetime.now(UTC)
    with db.write() as session:
        session.add_all(
            Thing(
                title=f"Thing {n}",
                text="A text about this thing, as long as a caption. " * 2,
                count=n,
            )
            for n in range(1000)
        )
        accounts.add_user(session, "hana", grants=[("analyst", None)], now=now)
        token = secrets.token_urlsafe(32)
        session.add(
            AccountSession(
                digest=accounts.digest(token),
                name="hana",
                created_at=now,
                expires_at=now + timedelta(days=1),
            )
        )
    db.close()
    return f"Cookie: tanuki-session={token}; tanuki-visitor=x\r\n"


def measured(ports: dict[str, int], pids: dict[str, int], path: str, cookie: str) -> dict[str, Any]:
    """Both servers in turn, round after round."""
    rounds: dict[str, list[tuple[float, float, float]]] = {which: [] for which in ports}
    for _ in range(ROUNDS):
        for which, port in ports.items():
            before = cpu_seconds(pids[which])
            taken = asyncio.run(ask(port, path, cookie, SECONDS))
            cpu = cpu_seconds(pids[which]) - before
            rounds[which].append(
                (
                    len(taken) / SECONDS,
                    cpu / len(taken) * 1000,
                    statistics.quantiles(taken, n=100)[98] * 1000,
                )
            )
    best = {
        which: (max(r[0] for r in each), min(r[1] for r in each), min(r[2] for r in each))
        for which, each in rounds.items()
    }
    row: dict[str, Any] = {}
    for which, (rate, cpu, p99) in best.items():
        row |= {
            f"{which}_per_s": round(rate),
            f"{which}_cpu_ms": round(cpu, 3),
            f"{which}_p99_ms": round(p99, 1),
        }
    return row | {
        "of_bare": round(best["ours"][0] / best["bare"][0], 2),
        "of_bare_by_cpu": round(best["bare"][1] / best["ours"][1], 2),
    }


def main() -> None:
    ports = {"ours": 8471, "bare": 8472}
    with tempfile.TemporaryDirectory() as home:
        signed_in = fill(home)
        with (
            running("ours", home, ports["ours"]) as one,
            running("bare", home, ports["bare"]) as two,
        ):
            for port in ports.values():
                asyncio.run(wait_for(port))
            pids, rows = {"ours": one, "bare": two}, {}
            for name, path, cookie in [
                ("page, stranger", "/things", "Cookie: tanuki-visitor=x\r\n"),
                ("page, signed in", "/things", signed_in),
                ("JSON, stranger", "/api/things", ""),
                ("JSON, signed in", "/api/things", signed_in),
            ]:
                rows[name] = measured(ports, pids, path, cookie)
                print(
                    f"{name:<16} "
                    + "  ".join(f"{key} {value}" for key, value in rows[name].items()),
                    flush=True,
                )
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()

assert tanuki.app.metadata
