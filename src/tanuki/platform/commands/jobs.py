"""`tanuki jobs`: durable runs listed, shown, cancelled and resumed."""

import click

from tanuki.cli.context import echo
from tanuki.cli.output import emit, json_option
from tanuki.platform.commands.context import open_resources
from tanuki.platform.jobs import Run


@click.group(help="Durable runs and their steps: list, show, cancel, resume.")
def jobs() -> None: ...


@jobs.command("list", help="List runs, newest first.")
@click.option("--status", help="Only queued, running, done, failed, cancelled or given up runs.")
@click.option("--limit", default=50, show_default=True, help="How many runs.")
@json_option
def list_runs(status: str | None, limit: int, as_json: bool) -> None:
    with open_resources() as res:
        rows = [
            {
                "id": run.id,
                "name": run.name,
                "status": run.status,
                "started": run.created_at,
                "seconds": run.seconds,
                "worker": run.executor,
                "error": run.error,
            }
            for run in res.jobs.list_runs(status=status, limit=limit)
        ]
        emit(rows, as_json)


@jobs.command("show", help="Show a run with its steps.")
@click.argument("run_id")
@json_option
def show_run(run_id: str, as_json: bool) -> None:
    with open_resources() as res:
        run = res.jobs.load_run(run_id)
        if not as_json:
            print_status(run)
        rows = [
            {
                "step": step.name,
                "started": step.started_at,
                "seconds": step.seconds,
                "error": step.error,
            }
            for step in run.steps
        ]
        emit(rows, as_json)


@jobs.command("cancel", help="Stop a run before its next step.")
@click.argument("run_id")
def cancel_run(run_id: str) -> None:
    with open_resources() as res:
        print_status(res.jobs.cancel_run(run_id))


@jobs.command("resume", help="Resume a cancelled or failed run at the step where it stopped.")
@click.argument("run_id")
def resume_run(run_id: str) -> None:
    with open_resources() as res:
        print_status(res.jobs.resume_run(run_id))


def print_status(run: Run) -> None:
    echo("%(run)s (%(name)s): %(status)s", run=run.id, name=run.name, status=run.status)
    if run.error:
        click.echo(f"  {run.error}")
