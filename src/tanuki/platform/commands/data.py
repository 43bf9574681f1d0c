"""The data's places from the command line: ask the warehouse, find its files, the registry's pages, the database's schema."""

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from tanuki.cli.output import emit, json_option
from tanuki.cli.values import parse_moment
from tanuki.errors import UserError
from tanuki.platform.commands.context import open_resources

if TYPE_CHECKING:
    import polars as pl

OLD_ENOUGH = 3600.0  # seconds; a younger file may belong to an import that is still to commit


@click.command(
    help='Ask the warehouse: `tanuki sql "select store, sum(units) from shop_sales group by store"`. Read-only.'
)
@click.argument("query")
@click.option("--as-of", help="See what was known at this moment, such as 2021-01-11T10:00+09:00.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV instead of a table.")
@json_option
def sql(query: str, as_of: str | None, as_csv: bool, as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        found = res.warehouse.sql(db, query, as_of=parse_moment(as_of))
    if as_csv:
        click.echo(csv(found), nl=False)
    else:
        emit(found.to_dicts(), as_json, found.columns)


def csv(found: "pl.DataFrame") -> str:
    """An answer as CSV, which has no lists and structs."""
    from polars.exceptions import ComputeError

    try:
        return found.write_csv()
    except ComputeError as error:
        raise UserError(
            "CSV cannot hold this answer (%(why)s); use --json.", why=" ".join(str(error).split())
        ) from error


@click.group(help="Where the warehouse's Parquet files are, and what crashes left there.")
def warehouse() -> None: ...


@warehouse.command(
    help="The folder of a table's Parquet files, or of all; any tool that reads Parquet can use them."
)
@click.argument("table", required=False, default="")
def path(table: str) -> None:
    with open_resources() as res:
        click.echo(res.warehouse.folder(table))


@warehouse.command(help="Delete Parquet files that no import names: what crashed imports left.")
def tidy() -> None:
    with open_resources() as res, res.db.read() as db:
        old = [
            key
            for key in res.warehouse.orphans(db)
            if time.time() - res.objects.load_modified_at(key).timestamp() > OLD_ENOUGH
        ]
        for key in old:
            res.objects.delete(key)
            click.echo(f"deleted {key}")
        click.echo(f"{len(old)} files that no import names.")


@click.group(help="The model registry's own pages.")
def mlflow() -> None: ...


@mlflow.command(help="Serve MLflow's pages on loopback until stopped.")
@click.option("--port", default=5000, show_default=True)
def ui(port: int) -> None:
    from tanuki import settings

    with open_resources() as res:
        uri = res.registry.tracking_uri
        if uri.startswith(("http://", "https://")):
            click.echo(f"The model registry has its own server, at {uri}")
            return
        _ = res.registry.client  # makes the registry when it is not there yet
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    extra = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": uri,
    }
    click.echo(f"The model registry is at http://127.0.0.1:{port}/")
    sys.stdout.flush()
    os.execve(sys.executable, command, settings.child_environment(**extra))  # noqa: S606 in our place: a signal to us ends the server
