"""The warehouse: append-only facts as Parquet in the object store, read by DuckDB as of a moment.

The database lists the files that belong to a table, so a read sees exactly what was committed. Any
other tool can read the same folders. docs/decisions/libraries.md says why no lakehouse library does
this.
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
    """A table of facts: its key columns, and all columns with their Polars types."""

    name: str
    keys: tuple[str, ...]
    schema: dict[str, Any]  # Polars types are classes or instances


class WarehouseTable(Base):
    """A fact table that has been written to."""

    __tablename__ = "warehouse_table"

    name: Mapped[str] = mapped_column(primary_key=True)
    keys: Mapped[list[str]] = mapped_column(JSON)


class WarehouseFile(Base):
    """A Parquet file that belongs to a table."""

    __tablename__ = "warehouse_file"

    id: Mapped[int] = mapped_column(primary_key=True)
    table: Mapped[str] = mapped_column(ForeignKey("warehouse_table.name"), index=True)
    key: Mapped[str] = mapped_column(unique=True)
    rows: Mapped[int]
    recorded_at: Mapped[datetime]
    source: Mapped[str]


@dataclass(frozen=True)
class PreparedFile:
    """A Parquet file that is written, but does not belong to its table yet."""

    key: str
    rows: int
    recorded_at: datetime


class Warehouse:
    """Facts are only ever appended. What was known at a moment is the newest version of each key
    among the facts recorded up to that moment."""

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
        """Append facts. They are visible once the caller's transaction commits.

        A column `removed` (bool) takes facts back. Raises ValueError for facts that do not fit the
        table, which is a bug of the caller.
        """
        prepared = self.prepare_file(table, frame, recorded_at=recorded_at)
        self.register_file(db, table, prepared, source=source)

    def prepare_file(
        self, table: FactTable, frame: "pl.DataFrame", *, recorded_at: datetime
    ) -> PreparedFile | None:
        """Write the file of new facts, without a transaction; `register_file` does the rest.

        None for an empty frame.
        """
        import polars as pl

        if frame.is_empty():
            return None
        moment = (
            pl.lit(recorded_at.astimezone(UTC)).cast(pl.Datetime("us", "UTC")).alias("recorded_at")
        )
        whole = fit_to_schema(table, frame).select(*table.schema, moment, "removed")
        content = io.BytesIO()
        whole.write_parquet(content)
        day = f"{recorded_at.astimezone(UTC):%Y-%m-%d}"
        key = f"{WAREHOUSE_FOLDER}/{table.name}/{day}/{uuid.uuid4().hex}.parquet"
        self.objects.put(key, content.getvalue())
        return PreparedFile(key, whole.height, recorded_at)

    def register_file(
        self, db: Session, table: FactTable, prepared: PreparedFile | None, *, source: str
    ) -> None:
        """Make the facts of a file visible, once the caller's transaction commits."""
        if prepared is None:
            return
        db.merge(WarehouseTable(name=table.name, keys=list(table.keys)))
        db.flush()
        db.add(
            WarehouseFile(
                table=table.name,
                key=prepared.key,
                rows=prepared.rows,
                recorded_at=prepared.recorded_at,
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
        """The facts known at a moment: the columns of the schema, and recorded_at.

        `where` is SQL over the key columns, with `params` for its question marks.
        """
        import polars as pl

        schema = {**table.schema, "recorded_at": pl.Datetime("us", "UTC")}
        files = self.load_files(db, table.name, as_of)
        if not files:
            return pl.DataFrame(schema=schema)
        columns = ", ".join(f'"{name}"' for name in schema)
        with self.connect_duckdb() as duck:
            newest = self.newest_versions_sql(files, table.keys, where)
            query = f"select {columns} from ({newest}) order by {quote_names(table.keys)}"
            facts: pl.DataFrame = duck.sql(query, params=list(params)).pl()
        return facts.with_columns(
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
        """Pairs of a column's value and the number of facts recorded by a moment, in order.

        Every correction of a fact counts again.
        """
        files = self.load_files(db, table.name, as_of)
        if not files:
            return []
        query = (
            f'select "{column}", count(*) from {self.parquet_sql(files)} where {where}'
            " group by 1 order by 1"
        )
        with self.connect_duckdb() as duck:
            return [
                (str(value), int(rows))
                for value, rows in duck.execute(query, list(params)).fetchall()
            ]

    def load_latest_value(
        self, db: Session, table: FactTable, column: str, *, as_of: datetime
    ) -> Any:  # noqa: ANN401 a value of the column's type
        """The largest value of a column recorded by a moment; None without facts.

        DuckDB reads it from the statistics of the Parquet files.
        """
        files = self.load_files(db, table.name, as_of)
        if not files:
            return None
        with self.connect_duckdb() as duck:
            query = f'select max("{column}") from {self.parquet_sql(files)}'
            row = duck.execute(query).fetchone()
        return row[0] if row else None

    def load_files(
        self, db: Session, table: str, as_of: datetime | None = None
    ) -> list[WarehouseFile]:
        """A table's Parquet files at a moment, oldest first."""
        query = select(WarehouseFile).where(WarehouseFile.table == table).order_by(WarehouseFile.id)
        if as_of is not None:
            query = query.where(WarehouseFile.recorded_at <= as_of)
        return list(db.scalars(query))

    def newest_versions_sql(
        self, files: Sequence[WarehouseFile], keys: Sequence[str], where: str = "true"
    ) -> str:
        """SQL for the newest version of each key in the files.

        Among facts recorded at the same moment the one in the later file wins.
        """
        if len(files) == 1:
            return f"select * from {self.parquet_sql(files)} where not removed and ({where})"
        order = " ".join(
            f"when {quote_literal(self.objects.path_of(file.key))} then {file.id}" for file in files
        )
        numbered = (
            f"select * exclude (filename), case filename {order} end as _file"
            f" from {self.parquet_sql(files, filename=True)} where {where}"
        )
        return (
            f"select * exclude (_file) from ({numbered} qualify row_number() over"
            f" (partition by {quote_names(keys)} order by recorded_at desc, _file desc) = 1)"
            " where not removed"
        )

    def parquet_sql(self, files: Sequence[WarehouseFile], *, filename: bool = False) -> str:
        paths = ", ".join(quote_literal(self.objects.path_of(file.key)) for file in files)
        return f"read_parquet([{paths}], union_by_name=true{', filename=true' if filename else ''})"

    def query_facts(
        self, db: Session, query: str, *, as_of: datetime | None = None
    ) -> "pl.DataFrame":
        """The answer to any read-only SQL query.

        Each table is a view of what is known (as of a moment); `<table>_history` has every version.
        Raises UserError for a query that DuckDB refuses or that writes.
        """
        import duckdb
        import polars as pl

        with self.connect_duckdb() as duck:
            for table in db.scalars(select(WarehouseTable).order_by(WarehouseTable.name)):
                all_files = self.load_files(db, table.name)
                known = [file for file in all_files if as_of is None or file.recorded_at <= as_of]
                # Before its first fact a table has columns, but no rows.
                files, where = (known, "true") if known else (all_files[-1:], "false")
                newest = self.newest_versions_sql(files, table.keys, where)
                history = f"select * from {self.parquet_sql(files)} where {where}"
                duck.execute(f'create view "{table.name}" as {newest}')
                duck.execute(f'create view "{table.name}_history" as {history}')
            duck.execute(f"set allowed_directories = [{quote_literal(self.folder_of())}]")
            duck.execute("set enable_external_access = false")
            duck.execute("set lock_configuration = true")
            try:
                require_read_only(duck, query)
                answer: pl.DataFrame = duck.sql(query).pl()
                return answer
            except (duckdb.Error, pl.exceptions.PolarsError) as error:
                raise UserError(
                    "The warehouse cannot answer: %(why)s", why=" ".join(str(error).split())
                ) from error

    def folder_of(self, table: str = "") -> str:
        """The folder of a table's Parquet files, or of all tables."""
        return self.objects.path_of(f"{WAREHOUSE_FOLDER}/{table}".rstrip("/"))

    def list_orphans(self, db: Session) -> list[str]:
        """Keys of Parquet files that belong to no table: left by crashed imports."""
        known = set(db.scalars(select(WarehouseFile.key)))
        return [key for key in self.objects.list_keys(WAREHOUSE_FOLDER) if key not in known]

    @contextmanager
    def connect_duckdb(self) -> Iterator["duckdb.DuckDBPyConnection"]:
        """A new DuckDB connection, which installs no extensions."""
        import duckdb

        config: dict[str, Any] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # For what does not fit into memory. DuckDB deletes the folder itself.
            "temp_directory": f"{tempfile.gettempdir()}/tanuki-duckdb-{os.getpid()}",
        }
        with duckdb.connect(config=config) as duck:
            duck.execute("set TimeZone = 'UTC'")
            if not self.objects.is_local:
                duck.register_filesystem(self.objects.fs)
            yield duck


def fit_to_schema(table: FactTable, frame: "pl.DataFrame") -> "pl.DataFrame":
    """The facts in the table's types, with the column `removed`.

    Raises ValueError unless columns and values fit without loss and every key is unique.
    """
    import polars as pl

    whole = frame if "removed" in frame.columns else frame.with_columns(removed=pl.lit(False))
    kinds = {**table.schema, "removed": pl.Boolean}
    if set(whole.columns) != set(kinds):
        raise ValueError(
            f"facts of {table.name} have the columns {sorted(whole.columns)};"
            f" expected {sorted(kinds)}"
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
                f"facts of {table.name} do not fit its types:"
                f" {name} loses something from {kind} to {kinds[name]}"
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
    """Raises UserError unless the query is one SELECT, and DuckDB's error if a part of it writes.

    The statement's type does not tell: DuckDB lets a WITH at the top level write files. It does not
    let one in a subquery, so the query is planned as a subquery first.
    """
    from duckdb import StatementType

    statements = duck.extract_statements(query)
    readable = (StatementType.SELECT, StatementType.MULTI)  # MULTI: a PIVOT
    if not statements or statements[0].type not in readable:
        raise UserError(
            "The warehouse is read-only. Expected a query that begins with SELECT or WITH."
        )
    if len(statements) != 1:
        raise UserError("Please ask one query at a time.")
    duck.execute(f"explain from (\n{statements[0].query.strip().rstrip(';')}\n)")


def quote_literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def quote_names(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
