"""Health checks and metrics for the outside: liveness, readiness, and numbers for Prometheus."""

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
PARTS_NEEDED = ("database", "schema", "objects")


@router.get("/healthz", include_in_schema=False)
def answer_liveness() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz", include_in_schema=False)
def answer_readiness(res: Res) -> Response:
    """Whether requests can be served: the database has the right schema, objects can be written."""
    parts = {**check_database(res), "objects": check_objects(res)}
    is_ready = all(parts[part] == "ok" for part in PARTS_NEEDED)
    status = "ready" if is_ready else "not ready"
    return JSONResponse({"status": status, **parts}, 200 if is_ready else 503)


@router.get("/metrics", include_in_schema=False)
def export_metrics(res: Res) -> Response:
    """All metrics in Prometheus's text format. The queues' lengths are counted now."""
    for queue, length in res.jobs.count_queued_runs().items():
        metrics.set_queue_length(queue, length)
    return Response(
        metrics.process_metrics().text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


def check_database(res: Resources) -> dict[str, object]:
    """The state of database and schema, and for information how many workers are alive."""
    newest = res.migrations.newest_revision()
    try:
        with res.db.read() as db:
            is_reachable(db)
            revision = load_revision(db)
            workers = len(jobs.load_live_workers(db, datetime.now(UTC)))
    except SQLAlchemyError as error:
        return {"database": error.__class__.__name__, "schema": "unknown", "workers": 0}
    return {
        "database": "ok",
        "schema": "ok" if revision == newest else f"{revision}, needs {newest}",
        "workers": workers,
    }


def check_objects(res: Resources) -> str:
    """Whether an object can be written and deleted: "ok" or the name of the error."""
    key = f"health/{secrets.token_hex(8)}"
    try:
        res.objects.put(key, b"ready?")
        res.objects.delete(key)
    except OSError as error:
        return error.__class__.__name__
    return "ok"
