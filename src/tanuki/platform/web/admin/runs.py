"""Pages of durable runs: their steps, durations and errors; operators cancel and resume them."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from tanuki.i18n import Translate, msgid
from tanuki.platform.accounts import require_role
from tanuki.platform.database.types import MAX_OFFSET
from tanuki.platform.jobs import Run
from tanuki.platform.web.auth import CurrentPerson, CurrentReader
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import Res, Site, get_site

router = APIRouter(tags=["operations"])
RUNS_PER_PAGE = 50
READER_ROLES = ("analyst", "operator")
STATUSES = (
    msgid("queued"),
    msgid("running"),
    msgid("done"),
    msgid("failed"),
    msgid("cancelled"),
    msgid("given up"),
)
RUN_TITLES = {
    "hourly": msgid("Hourly maintenance"),
    "events-export": msgid("Event log export"),
    "DBOS.sleep": msgid("Wait"),
    "DBOS.recv": msgid("Wait for a decision"),
}
WEEK = re.compile(r"\d{4}-W\d{2}")
PART = re.compile(r"-part-(\d+)")


class StepRow(BaseModel):
    """A step of a run."""

    name: str
    title: str
    started_at: datetime | None
    seconds: float | None
    error: str | None


class RunRow(BaseModel):
    """A run. The title says what it does, the name and id are what logs and commands use."""

    id: str
    name: str
    title: str
    status: str
    created_at: datetime | None
    updated_at: datetime | None
    seconds: float | None
    error: str | None
    executor: str | None


class RunsPage(BaseModel):
    """A page of runs, newest first."""

    runs: list[RunRow]
    status: str | None
    statuses: list[str]
    offset: int
    limit: int


class RunPage(BaseModel):
    """A run with its steps."""

    run: RunRow
    steps: list[StepRow]
    may_act: bool


@read_route(router, "/runs", "runs.html", csv=lambda page: page.runs)
def show_runs_page(
    request: Request,
    reader: CurrentReader,
    status: str | None = None,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> RunsPage:
    """Runs, newest first."""
    require_role(reader.person, *READER_ROLES)
    site = get_site(request)
    runs = site.resources.jobs.list_runs(status=status, limit=RUNS_PER_PAGE, offset=offset)
    titles = run_titles(site)
    return RunsPage(
        runs=[build_run_row(run, titles, reader.say) for run in runs],
        status=status,
        statuses=list(STATUSES),
        offset=offset,
        limit=RUNS_PER_PAGE,
    )


@read_route(router, "/runs/{run_id}", "run.html", csv=lambda page: page.steps)
def show_run_page(request: Request, reader: CurrentReader, run_id: str) -> RunPage:
    require_role(reader.person, *READER_ROLES)
    site = get_site(request)
    run, titles = site.resources.jobs.load_run(run_id), run_titles(site)
    return RunPage(
        run=build_run_row(run, titles, reader.say),
        steps=[
            StepRow(
                name=step.name,
                title=reader.say(titles[step.name])
                if step.name in titles
                else plain_words(step.name),
                started_at=step.started_at,
                seconds=step.seconds,
                error=step.error,
            )
            for step in run.steps
        ],
        may_act=reader.person.has_role("operator"),
    )


def run_titles(site: Site) -> dict[str, str]:
    """A title (msgid) for each kind of run, and some of their steps, by name."""
    titles = dict(RUN_TITLES)
    for system in site.systems:
        titles.update(system.run_titles)
    return titles


def build_run_row(run: Run, titles: Mapping[str, str], say: Translate) -> RunRow:
    fields = {field: getattr(run, field) for field in RunRow.model_fields if field != "title"}
    return RunRow(**fields, title=render_run_title(run, titles, say))


def render_run_title(run: Run, titles: Mapping[str, str], say: Translate) -> str:
    """What a run does, in words, with the week and the part that its id names."""
    title = say(titles[run.name]) if run.name in titles else plain_words(run.name)
    week, part = WEEK.search(run.id), PART.search(run.id)
    if week:
        title = say(msgid("%(title)s, week %(week)s"), title=title, week=week[0])
    if part:
        title = say(msgid("%(title)s, part %(part)s"), title=title, part=part[1])
    return title


def plain_words(name: str) -> str:
    """A workflow's or step's name as words: `release_to_stores` is "Release to stores"."""
    return name.replace("-", " ").replace("_", " ").capitalize()


@write_route(router, "/runs/{run_id}/cancel")
def cancel_run(person: CurrentPerson, res: Res, run_id: str) -> ActionResult:
    """Stop a run before its next step."""
    require_role(person, "operator")
    res.jobs.cancel_run(run_id)
    return ActionResult(f"/runs/{run_id}", msgid("The run stops before its next step."))


@write_route(router, "/runs/{run_id}/resume")
def resume_run(person: CurrentPerson, res: Res, run_id: str) -> ActionResult:
    """Continue a run at the step it was in."""
    require_role(person, "operator")
    res.jobs.resume_run(run_id)
    return ActionResult(f"/runs/{run_id}", msgid("The run continues."))
