"""How Alembic runs the migrations: on its caller's database and metadata, under a lock."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import MetaData, text
from sqlalchemy.schema import SchemaItem

from tanuki.platform.database.engine import create_database_engine
from tanuki.platform.database.types import Utc

ADVISORY_LOCK = 740117  # any number; nobody else locks it

engine = create_database_engine(context.config.attributes["url"])
metadata: MetaData = context.config.attributes["metadata"]
table_names = set(metadata.tables)


def include_object(
    item: SchemaItem, name: str | None, kind: str, reflected: bool, _compare: object
) -> bool:
    """Leave out other programs' tables (DBOS has its own in the same SQLite file).

    An index may be for one engine only; on the other one it is left out, too.
    """
    if kind == "index" and item.info.get("only", engine.dialect.name) != engine.dialect.name:
        return False
    return not (kind == "table" and reflected and name not in table_names)


def render_item(kind: str, item: object, autogen: AutogenContext) -> str | Literal[False]:
    """Write our own column type with a short name; everything else as Alembic does."""
    if kind == "type" and isinstance(item, Utc):
        autogen.imports.add("from tanuki.platform.database.types import Utc")
        return "Utc()"
    return False


with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=include_object,
        render_item=render_item,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        if engine.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        context.run_migrations()
    connection.commit()
engine.dispose()
