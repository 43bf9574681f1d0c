"""How Alembic runs our migrations: on the given URL, under a lock, with every table of Tanuki known."""

from alembic import context
from sqlalchemy import text
from sqlalchemy.schema import SchemaItem

from tanuki.platform.database.engine import Base, engine

__import__("tanuki.app.metadata")

config = context.config
made = engine(config.attributes["url"])
OURS = set(Base.metadata.tables)
ADVISORY_LOCK = 740117


def ours(thing: SchemaItem, name: str | None, kind: str, reflected: bool, _compare: object) -> bool:
    """Tables of others (DBOS keeps its own in the same SQLite file) are not our business, nor is an index that says it is for another engine only."""
    if kind == "index" and thing.info.get("only", made.dialect.name) != made.dialect.name:
        return False
    return not (kind == "table" and reflected and name not in OURS)


with made.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=ours,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        if made.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        context.run_migrations()
    connection.commit()
made.dispose()
