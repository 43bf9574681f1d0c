"""Durable work from the command line: list, show, cancel, resume."""

import click

from tanuki.cli.output import emit, json_option
from tanuki.platform.commands.context import open_resources


@click.group(help="Durable work: runs, their steps, and what to do with them.")
def work() -> None: ...


@work.command("list", help="Runs, newest first.")
@click.option("--status", help="queued, running, done, failed, cancelled or given up.")
@click.option("--limit", default=50, show_default=True)
@json_option
def list_(status: str | None, limit: int, as_json: bool) -> None:
    with open_resources() as res:
        runs = res.jobs.list_runs(status=status, limit=limit)
        rows = [
            {
                "id": r.id,
                "name": r.name,
                "status": r.status,
                "started": r.created_at,
                "seconds": r.seconds,
                "worker": r.executor,
                "error": r.error,
            }
            for r in runs
        ]
        emit(rows, as_json)


@work.command(help="One run with its steps.")
@click.argument("run_id")
@json_option
def show(run_id: str, as_json: bool) -> None:
    with open_resources() as res:
        run = res.jobs.load_run(run_id)
        if not as_json:
            click.echo(
                f"{run.id} ({run.name}) is {run.status}{': ' + run.error if run.error else ''}"
            )
        emit(
            [
                {"step": s.name, "started": s.started_at, "seconds": s.seconds, "error": s.error}
                for s in run.steps
            ],
            as_json,
        )


@work.command(help="Stop a run before its next step.")
@click.argument("run_id")
def cancel(run_id: str) -> None:
    with open_resources() as res:
        click.echo(f"{run_id} is {res.jobs.cancel_run(run_id).status}.")


@work.command(help="Let a cancelled or failed run go on at the step it was in.")
@click.argument("run_id")
def resume(run_id: str) -> None:
    with open_resources() as res:
        click.echo(f"{run_id} is {res.jobs.resume_run(run_id).status}.")
