"""`tanuki sql`, `warehouse` and `mlflow`: the warehouse and the model registry's own pages."""

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from tanuki import settings
from tanuki.cli.context import echo
from tanuki.cli.output import emit, json_option
from tanuki.cli.values import parse_moment
from tanuki.errors import UserError
from tanuki.platform.commands.context import open_resources

if TYPE_CHECKING:
    import polars as pl

MIN_ORPHAN_AGE_SECONDS = 3600.0  # a younger file may belong to an import that has yet to commit
MLFLOW_PORT = 5000


@click.command(
    help="Query the warehouse, read-only:"
    ' `tanuki sql "select store, sum(units) from shop_sales group by store"`.'
)
@click.argument("query")
@click.option("--as-of", help="As it was known at this moment, such as 2021-01-11T10:00+09:00.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV instead of a table.")
@json_option
def sql(query: str, as_of: str | None, as_csv: bool, as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        answer = res.warehouse.query_facts(db, query, as_of=parse_moment(as_of))
    if as_csv:
        click.echo(format_csv(answer), nl=False)
    else:
        emit(answer.to_dicts(), as_json, answer.columns)


def format_csv(answer: "pl.DataFrame") -> str:
    """An answer as CSV. Raises UserError for lists and structs, which CSV does not have."""
    from polars.exceptions import ComputeError

    try:
        return answer.write_csv()
    except ComputeError as error:
        raise UserError(
            "This answer does not fit into CSV (%(why)s). Please use --json.",
            why=" ".join(str(error).split()),
        ) from error


@click.group(help="The warehouse's Parquet files: their folder, and what crashes left there.")
def warehouse() -> None: ...


@warehouse.command(
    "path",
    help="Print the folder of a table's Parquet files, or of all tables. Any tool that reads"
    " Parquet can use them.",
)
@click.argument("table", required=False, default="")
def print_path(table: str) -> None:
    with open_resources() as res:
        click.echo(res.warehouse.folder_of(table))


@warehouse.command("tidy", help="Delete Parquet files of imports that crashed.")
def delete_orphans() -> None:
    with open_resources() as res, res.db.read() as db:
        orphans = [
            key
            for key in res.warehouse.list_orphans(db)
            if time.time() - res.objects.load_modified_at(key).timestamp() > MIN_ORPHAN_AGE_SECONDS
        ]
        for key in orphans:
            res.objects.delete(key)
            click.echo(key)
        echo("%(count)s files were deleted.", count=len(orphans))


@click.group(help="The model registry's own pages.")
def mlflow() -> None: ...


@mlflow.command("ui", help="Serve MLflow's pages on this machine until stopped.")
@click.option("--port", default=MLFLOW_PORT, show_default=True, help="The port to listen on.")
def serve_mlflow(port: int) -> None:
    with open_resources() as res:
        uri = res.registry.tracking_uri
        if uri.startswith(("http://", "https://")):
            echo("The model registry has its own server, at %(url)s", url=uri)
            return
        _ = res.registry.client  # creates the registry if it does not exist
    options = {"--host": "127.0.0.1", "--port": str(port), "--workers": "1"}
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *(s for pair in options.items() for s in pair),
    ]
    environment = settings.child_environment(
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_BACKEND_STORE_URI=uri,
    )
    echo("The model registry is at %(url)s", url=f"http://127.0.0.1:{port}/")
    sys.stdout.flush()
    # It replaces this process, so that a signal to us ends the server.
    os.execve(sys.executable, command, environment)  # noqa: S606
