"""`tanuki db`: the schema's revision and its upgrade."""

import click

from tanuki import settings
from tanuki.app import bootstrap
from tanuki.app.metadata import MIGRATIONS
from tanuki.cli.context import echo
from tanuki.platform.database.engine import Database
from tanuki.platform.database.migrations import load_revision


@click.group(help="The database's schema.")
def db() -> None: ...


@db.command(
    "upgrade",
    help="Upgrade the schema to this program's revision. The embedded database does it by itself.",
)
def upgrade_database() -> None:
    bootstrap.upgrade_schema(settings.read_settings().database_url)
    echo("The schema is at %(revision)s.", revision=MIGRATIONS.newest_revision())


@db.command("revision", help="Show the schema's revision, and the one that this program needs.")
def print_revision() -> None:
    database = Database(settings.read_settings().database_url)
    with database.read() as session:
        current = load_revision(session)
    database.close()
    echo(
        "The schema is at %(revision)s. This program needs %(needed)s.",
        revision=current or "-",
        needed=MIGRATIONS.newest_revision(),
    )
