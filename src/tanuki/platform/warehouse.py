"""The warehouse: append-only facts as Parquet in the object store, read by DuckDB as of a moment.

The database lists the files that count, so a read sees exactly what was committed; any other tool can read the same folders.
"""

import io
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import UserError
from tanuki.platform.database.engine import Base
from tanuki.platform.object_store import ObjectStore

if TYPE_CHECKING:
    import duckdb
    import polars as pl

WAREHOUSE_FOLDER = "warehouse"


@dataclass(frozen=True)
class FactTable:
    """A table of facts: the columns that say what a fact is about, and all columns with their Polars types."""

    name: str
    keys: tuple[str, ...]
    schema: dict[str, Any]


class WarehouseTable(Base):
    """A fact table that has been written to."""

    __tablename__ = "warehouse_table"

    name: Mapped[str] = mapped_column(primary_key=True)
    keys: Mapped[list[str]] = mapped_column(JSON)


class WarehouseFile(Base):
    """A Parquet file that counts."""

    __tablename__ = "warehouse_file"

    id: Mapped[int] = mapped_column(primary_key=True)
    table: Mapped[str] = mapped_column(ForeignKey("warehouse_table.name"), index=True)
    key: Mapped[str] = mapped_column(unique=True)
    rows: Mapped[int]
    recorded_at: Mapped[datetime]
    source: Mapped[str]


@dataclass(frozen=True)
class PreparedFile:
    """A Parquet file that is written and does not count yet."""

    key: str
    rows: int
    recorded_at: datetime


class Warehouse:
    """Facts are only ever added; the newest version of each key recorded up to a moment is what was known at that moment."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def append_facts(
        self,
        db: Session,
        table: FactTable,
        frame: "pl.DataFrame",
        *,
        recorded_at: datetime,
        source: str,
    ) -> None:
        """Add facts. They count once the caller's transaction commits. A column `removed` (bool) takes facts back.

        Facts that do not fit the table are a bug of the caller: ValueError.
        """
        self.register_file(
            db, table, self.prepare_file(table, frame, recorded_at=recorded_at), source=source
        )

    def prepare_file(
        self, table: FactTable, frame: "pl.DataFrame", *, recorded_at: datetime
    ) -> PreparedFile | None:
        """Write facts so that `count` takes a moment only: first half of `append`, for those who must not hold a transaction meanwhile."""
        import polars as pl

        if frame.is_empty():
            return None
        moment = (
            pl.lit(recorded_at.astimezone(UTC)).cast(pl.Datetime("us", "UTC")).alias("recorded_at")
        )
        whole = fit_to_schema(table, frame).select(*table.schema, moment, "removed")
        content = io.BytesIO()
        whole.write_parquet(content)
        key = f"{WAREHOUSE_FOLDER}/{table.name}/{recorded_at.astimezone(UTC):%Y-%m-%d}/{uuid.uuid4().hex}.parquet"
        self.objects.put(key, content.getvalue())
        return PreparedFile(key, whole.height, recorded_at)

    def register_file(
        self, db: Session, table: FactTable, ready: PreparedFile | None, *, source: str
    ) -> None:
        """Let facts that are written count, once the caller's transaction commits."""
        if ready is None:
            return
        db.merge(WarehouseTable(name=table.name, keys=list(table.keys)))
        db.flush()
        db.add(
            WarehouseFile(
                table=table.name,
                key=ready.key,
                rows=ready.rows,
                recorded_at=ready.recorded_at,
                source=source,
            )
        )
        db.flush()

    def read_facts(
        self,
        db: Session,
        table: FactTable,
        *,
        as_of: datetime,
        where: str = "true",
        params: Sequence[object] = (),
    ) -> "pl.DataFrame":
        """The facts known at a moment, columns of the schema and recorded_at. `where` is SQL over the key columns."""
        import polars as pl

        schema = {**table.schema, "recorded_at": pl.Datetime("us", "UTC")}
        files = self.load_files(db, table.name, as_of)
        if not files:
            return pl.DataFrame(schema=schema)
        columns = ", ".join(f'"{name}"' for name in schema)
        with self.connect_duckdb() as duck:
            query = f"select {columns} from ({self.newest_versions_sql(files, table.keys, where)}) order by {quote_names(table.keys)}"
            found: pl.DataFrame = duck.sql(query, params=list(params)).pl()
        return found.with_columns(
            pl.col("recorded_at").dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
        ).cast(pl.Schema(schema))

    def count_facts(
        self,
        db: Session,
        table: FactTable,
        column: str,
        *,
        as_of: datetime,
        where: str = "true",
        params: Sequence[object] = (),
    ) -> list[tuple[str, int]]:
        """How many facts were recorded by a moment for each value of a column, in its order; corrected ones count each time."""
        files = self.load_files(db, table.name, as_of)
        if not files:
            return []
        query = f'select "{column}", count(*) from {self.parquet_sql(files)} where {where} group by 1 order by 1'
        with self.connect_duckdb() as duck:
            return [
                (str(value), int(rows))
                for value, rows in duck.execute(query, list(params)).fetchall()
            ]

    def load_latest_value(
        self, db: Session, table: FactTable, column: str, *, as_of: datetime
    ) -> Any:
        """The largest value of a column ever recorded by a moment, read from the files' own statistics; None when there are no facts."""
        files = self.load_files(db, table.name, as_of)
        if not files:
            return None
        with self.connect_duckdb() as duck:
            found = duck.execute(
                f'select max("{column}") from {self.parquet_sql(files)}'
            ).fetchone()
        return found[0] if found else None

    def load_files(
        self, db: Session, table: str, as_of: datetime | None = None
    ) -> list[WarehouseFile]:
        """The Parquet files that count at a moment, oldest first."""
        query = select(WarehouseFile).where(WarehouseFile.table == table).order_by(WarehouseFile.id)
        if as_of is not None:
            query = query.where(WarehouseFile.recorded_at <= as_of)
        return list(db.scalars(query))

    def newest_versions_sql(
        self, files: Sequence[WarehouseFile], keys: Sequence[str], where: str = "true"
    ) -> str:
        """SQL for the newest version of each key in the files; the later file wins among those of one moment."""
        if len(files) == 1:
            return f"select * from {self.parquet_sql(files)} where not removed and ({where})"
        order = " ".join(
            f"when {quote_literal(self.objects.path_of(file.key))} then {file.id}" for file in files
        )
        numbered = f"select * exclude (filename), case filename {order} end as _file from {self.parquet_sql(files, filename=True)} where {where}"
        return (
            f"select * exclude (_file) from ({numbered} qualify row_number() over "
            f"(partition by {quote_names(keys)} order by recorded_at desc, _file desc) = 1) where not removed"
        )

    def parquet_sql(self, files: Sequence[WarehouseFile], *, filename: bool = False) -> str:
        """SQL that reads the files."""
        paths = ", ".join(quote_literal(self.objects.path_of(file.key)) for file in files)
        return f"read_parquet([{paths}], union_by_name=true{', filename=true' if filename else ''})"

    def query_facts(
        self, db: Session, query: str, *, as_of: datetime | None = None
    ) -> "pl.DataFrame":
        """Ask anything of the facts, read-only: each table as it is known, and `<table>_history` with every version."""
        import duckdb
        import polars as pl

        with self.connect_duckdb() as duck:
            for table in db.scalars(select(WarehouseTable).order_by(WarehouseTable.name)):
                every = self.load_files(db, table.name)
                known = [file for file in every if as_of is None or file.recorded_at <= as_of]
                files, there = (
                    known or every[-1:],
                    "true" if known else "false",
                )  # nothing known yet: the columns without rows
                duck.execute(
                    f'create view "{table.name}" as {self.newest_versions_sql(files, table.keys, there)}'
                )
                duck.execute(
                    f'create view "{table.name}_history" as select * from {self.parquet_sql(files)} where {there}'
                )
            duck.execute(f"set allowed_directories = [{quote_literal(self.folder_of())}]")
            duck.execute("set enable_external_access = false")
            duck.execute("set lock_configuration = true")
            try:
                require_read_only(duck, query)
                found: pl.DataFrame = duck.sql(query).pl()
                return found
            except (duckdb.Error, pl.exceptions.PolarsError) as error:
                raise UserError(
                    "The warehouse cannot answer: %(why)s", why=" ".join(str(error).split())
                ) from error

    def folder_of(self, table: str = "") -> str:
        """Where the Parquet files of a table (of all) are, for any other tool."""
        return self.objects.path_of(f"{WAREHOUSE_FOLDER}/{table}".rstrip("/"))

    def list_orphans(self, db: Session) -> list[str]:
        """Parquet files that no committed import names: what crashes left."""
        known = set(db.scalars(select(WarehouseFile.key)))
        return [key for key in self.objects.list_keys(WAREHOUSE_FOLDER) if key not in known]

    @contextmanager
    def connect_duckdb(self) -> Iterator["duckdb.DuckDBPyConnection"]:
        """A DuckDB connection of its own, which fetches nothing from anywhere."""
        import duckdb

        spills = f"{tempfile.gettempdir()}/tanuki-duckdb-{os.getpid()}"  # what does not fit in memory; DuckDB takes it away again
        given: dict[str, Any] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": spills,
        }
        with duckdb.connect(config=given) as duck:
            duck.execute("set TimeZone = 'UTC'")
            if not self.objects.is_local:
                duck.register_filesystem(self.objects.fs)
            yield duck


def fit_to_schema(table: FactTable, frame: "pl.DataFrame") -> "pl.DataFrame":
    """The facts in the table's types, with `removed`. Raises ValueError unless columns, values and keys fit without a loss."""
    import polars as pl

    whole = frame if "removed" in frame.columns else frame.with_columns(removed=pl.lit(False))
    kinds = {**table.schema, "removed": pl.Boolean}
    if set(whole.columns) != set(kinds):
        raise ValueError(
            f"facts of {table.name} have the columns {sorted(whole.columns)}; expected {sorted(kinds)}"
        )
    try:
        cast = whole.select(pl.col(name).cast(kind) for name, kind in kinds.items())
    except pl.exceptions.InvalidOperationError as error:
        raise ValueError(f"facts of {table.name} do not fit its types: {error}") from error
    for name, kind in whole.schema.items():
        if (
            kind not in (pl.Null, kinds[name])
            and not cast[name].cast(kind).eq_missing(whole[name]).all()
        ):
            raise ValueError(
                f"facts of {table.name} do not fit its types: {name} loses something from {kind} to {kinds[name]}"
            )
    keys = list(table.keys)
    if any(cast.select(*keys, "removed").null_count().row(0)):
        raise ValueError(f"facts of {table.name} have nothing in {keys} or removed")
    if cast.select(keys).is_duplicated().any():
        raise ValueError(
            f"facts of {table.name} have the same key {keys} more than once in one append"
        )
    return cast


def require_read_only(duck: "duckdb.DuckDBPyConnection", query: str) -> None:
    """Refuse a query that is not one SELECT (or what DuckDB makes one of) and everything in it that writes.

    The kind of statement does not tell: DuckDB lets a WITH at the top write files. It does not below the top, so it is planned there first.
    """
    from duckdb import StatementType

    statements = duck.extract_statements(query)
    if not statements or statements[0].type not in (
        StatementType.SELECT,
        StatementType.MULTI,
    ):  # a PIVOT is several
        raise UserError(
            "The warehouse is only read; expected a query that begins with SELECT or WITH."
        )
    if len(statements) != 1:
        raise UserError("Expected one query at a time.")
    duck.execute(f"explain from (\n{statements[0].query.strip().rstrip(';')}\n)")


def quote_literal(value: str) -> str:
    """A text for SQL."""
    return "'" + value.replace("'", "''") + "'"


def quote_names(names: Sequence[str]) -> str:
    """Column names for SQL."""
    return ", ".join(f'"{name}"' for name in names)
