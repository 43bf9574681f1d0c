"""Durable runs: which there are, their steps, durations and errors; cancel and resume for operators."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from tanuki.i18n import msgid
from tanuki.platform.accounts import require
from tanuki.platform.jobs import Run
from tanuki.platform.web.pages import Db, Done, Res, Who, action, page

router = APIRouter()
PAGE = 50
MOST_RUNS = 1_000_000_000  # a larger offset is no number that a database takes
LOOK = ("analyst", "operator")
STATUSES = (
    msgid("queued"),
    msgid("running"),
    msgid("done"),
    msgid("failed"),
    msgid("cancelled"),
    msgid("given up"),
)


class StepRow(BaseModel):
    """A step of a run."""

    name: str
    started_at: datetime | None
    seconds: float | None
    error: str | None


class RunRow(BaseModel):
    """A run."""

    id: str
    name: str
    status: str
    created_at: datetime | None
    updated_at: datetime | None
    seconds: float | None
    error: str | None
    executor: str | None


class RunsView(BaseModel):
    """A page of runs, newest first."""

    runs: list[RunRow]
    status: str | None
    statuses: list[str]
    offset: int
    limit: int


class RunView(BaseModel):
    """A run with its steps."""

    run: RunRow
    steps: list[StepRow]
    may_act: bool


def row(run: Run) -> RunRow:
    """A run as the page shows it."""
    return RunRow(**{name: getattr(run, name) for name in RunRow.model_fields})


def view(
    db: Db,
    who: Who,
    res: Res,
    status: str | None = None,
    offset: Annotated[int, Query(ge=0, le=MOST_RUNS)] = 0,
) -> RunsView:
    """Runs, newest first."""
    require(who, *LOOK)
    found = res.work.runs(status=status, limit=PAGE, offset=offset)
    return RunsView(
        runs=[row(each) for each in found],
        status=status,
        statuses=list(STATUSES),
        offset=offset,
        limit=PAGE,
    )


def run_view(db: Db, who: Who, res: Res, run_id: str) -> RunView:
    """One run."""
    require(who, *LOOK)
    run = res.work.run(run_id)
    steps = [
        StepRow(**{name: getattr(step, name) for name in StepRow.model_fields})
        for step in run.steps
    ]
    return RunView(run=row(run), steps=steps, may_act=who.has("operator"))


def cancel(who: Who, res: Res, run_id: str) -> Done:
    """Stop a run before its next step."""
    require(who, "operator")
    res.work.cancel(run_id)
    return Done(f"/runs/{run_id}", msgid("The run stops before its next step."))


def resume(who: Who, res: Res, run_id: str) -> Done:
    """Let a run go on at the step it was in."""
    require(who, "operator")
    res.work.resume(run_id)
    return Done(f"/runs/{run_id}", msgid("The run goes on."))


def steps(view: RunView) -> list[dict[str, Any]]:
    """A run's steps as rows."""
    return [step.model_dump() for step in view.steps]


page(router, "/runs", view, "runs.html", csv=lambda view: view.runs)
page(router, "/runs/{run_id}", run_view, "run.html", csv=steps)
action(router, "/runs/{run_id}/cancel", cancel)
action(router, "/runs/{run_id}/resume", resume)
