"""INSERT … ON CONFLICT, written alike for SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from tanuki.platform.database.engine import Base


def insert_or_ignore(db: Session, table: type[Base], **values: object) -> bool:
    """Insert a row unless one with the same unique values exists. Whether it was inserted.

    A row that a concurrent transaction is inserting counts as existing.
    """
    statement = insert_for(db, table).values(**values).on_conflict_do_nothing()
    return db.execute(statement.returning(*table_of(table).primary_key)).first() is not None


def insert_new_rows(db: Session, table: type[Base], rows: Sequence[Mapping[str, object]]) -> None:
    """Insert those rows whose unique values do not exist yet."""
    if rows:
        db.execute(insert_for(db, table).on_conflict_do_nothing(), rows)


def insert_for(db: Session, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """The session's own INSERT statement, which has `on_conflict_do_update`."""
    insert = sqlite.insert if db.get_bind().dialect.name == "sqlite" else postgresql.insert
    return insert(table_of(table))


def table_of(table: type[Base]) -> Table:
    """The table behind a mapped class."""
    assert isinstance(table.__table__, Table)
    return table.__table__
