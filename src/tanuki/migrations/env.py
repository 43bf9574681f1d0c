"""How Alembic runs the migrations: on its caller's database and metadata, under a lock."""

from alembic import context
from sqlalchemy import MetaData, text
from sqlalchemy.schema import SchemaItem

from tanuki.platform.database.engine import create_database_engine

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


with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=include_object,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        if engine.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        context.run_migrations()
    connection.commit()
engine.dispose()
