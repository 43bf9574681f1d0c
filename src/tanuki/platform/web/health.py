"""Seen from outside: alive, ready, and the numbers for Prometheus."""

import secrets
from datetime import UTC, datetime

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from tanuki.platform import jobs, metrics
from tanuki.platform.database.migrations import is_reachable, load_revision
from tanuki.platform.resources import Resources
from tanuki.platform.web.site import Res

router = APIRouter(tags=["health"])


@router.get("/healthz", include_in_schema=False)
def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", include_in_schema=False)
def ready(res: Res) -> Response:
    """Whether requests can be served: the database answers with the right schema, and objects can be written."""
    found = {**database_state(res), "objects": objects_state(res)}
    good = all(found[part] == "ok" for part in ("database", "schema", "objects"))
    return JSONResponse({"status": "ready" if good else "not ready", **found}, 200 if good else 503)


@router.get("/metrics", include_in_schema=False)
def numbers(res: Res) -> Response:
    """Everything in Prometheus's text format; what waits is counted now."""
    for queue, length in res.jobs.count_queued_runs().items():
        metrics.set_queue_length(queue, length)
    return Response(
        metrics.process_metrics().text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


def database_state(res: Resources) -> dict[str, object]:
    """Database and schema, and how many workers have lately said that they are alive (for information)."""
    try:
        with res.db.read() as db:
            is_reachable(db)
            revision = load_revision(db)
            current = revision == res.migrations.newest_revision()
            alive = len(jobs.load_live_workers(db, datetime.now(UTC)))
    except SQLAlchemyError as error:
        return {"database": error.__class__.__name__, "schema": "unknown", "workers": 0}
    return {
        "database": "ok",
        "schema": "ok" if current else f"{revision}, needs {res.migrations.newest_revision()}",
        "workers": alive,
    }


def objects_state(res: Resources) -> str:
    """Whether an object can be written and taken away again."""
    key = f"health/{secrets.token_hex(8)}"
    try:
        res.objects.put(key, b"ready?")
        res.objects.delete(key)
    except OSError as error:
        return error.__class__.__name__
    return "ok"
