"""Sessions, moments and migrations, on both engines."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.exc import StatementError

from tanuki.app import bootstrap
from tanuki.app.metadata import MIGRATIONS
from tanuki.errors import UserError
from tanuki.platform.database.engine import Base, Database
from tanuki.platform.database.migrations import load_revision
from tanuki.platform.jobs import WorkerHeartbeat
from tanuki.settings import Settings

NOON = datetime(2021, 1, 11, 12, tzinfo=timezone(timedelta(hours=9)))


def beat(name="w", at=NOON):
    return WorkerHeartbeat(name=name, host="h", pid=1, started_at=at, seen_at=at)


def test_a_write_is_there_after_its_block_and_not_after_an_error(database):
    with database.write() as db:
        db.add(beat("kept"))
    with pytest.raises(ZeroDivisionError), database.write() as db:
        db.add(beat("lost"))
        db.flush()
        raise ZeroDivisionError
    with database.read() as db:
        assert list(db.scalars(select(WorkerHeartbeat.name))) == ["kept"]


def test_moments_come_back_in_utc_with_their_zone(database):
    with database.write() as db:
        db.add(beat())
    with database.read() as db:
        assert db.scalars(select(WorkerHeartbeat.seen_at)).one() == NOON
        assert db.scalars(select(WorkerHeartbeat.seen_at)).one().tzinfo is UTC


def test_a_moment_without_a_zone_is_refused(database):
    with pytest.raises(StatementError, match="no time zone"), database.write() as db:
        db.add(beat(at=datetime(2021, 1, 11)))  # noqa: DTZ001


def test_a_read_sees_one_snapshot_while_others_write(database):
    with database.read() as db:
        assert db.scalars(select(WorkerHeartbeat)).all() == []
        with database.write() as other:
            other.add(beat())
        assert db.scalars(select(WorkerHeartbeat)).all() == []


def test_migrations_make_exactly_the_tables_of_the_code(database_url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    MIGRATIONS.upgrade(database_url)
    MIGRATIONS.upgrade(database_url)
    made = Database(database_url)
    with made.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "include_object": for_this_engine(connection.dialect.name)},
        )
        assert compare_metadata(context, Base.metadata) == []
        assert set(Base.metadata.tables) < set(inspect(connection).get_table_names())
    made.close()


def for_this_engine(engine):
    """Without the tables that FTS5 makes for itself, and without indexes for the other engine."""
    return lambda thing, name, kind, _reflected, _compare: (
        not (kind == "table" and name.startswith("post_fts"))
        and not (kind == "index" and thing.info.get("only", engine) != engine)
    )


def test_downgrading_and_upgrading_again_works(database_url):
    from alembic import command

    MIGRATIONS.upgrade(database_url)
    command.downgrade(MIGRATIONS.config(database_url), "base")
    MIGRATIONS.upgrade(database_url)
    made = Database(database_url)
    with made.read() as db:
        assert load_revision(db) == MIGRATIONS.newest_revision()
    made.close()


@pytest.mark.postgres
def test_another_database_is_refused_until_it_is_upgraded(postgres_url, tmp_path):
    settings = Settings.model_validate({"home": tmp_path, "database": postgres_url})
    with pytest.raises(UserError, match="tanuki db upgrade"):
        bootstrap.create_resources(settings)
    MIGRATIONS.upgrade(postgres_url)
    bootstrap.close_resources(bootstrap.create_resources(settings))


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path):
    settings = Settings.model_validate(
        {"home": tmp_path, "database": "postgresql://nobody@127.0.0.1:1/none"}
    )
    with pytest.raises(UserError, match="does not answer"):
        bootstrap.create_resources(settings)
