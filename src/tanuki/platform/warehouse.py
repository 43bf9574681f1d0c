"""The warehouse: append-only facts as Parquet in the object store, read by DuckDB as of a moment.

The database lists the files that count, so a read sees exactly what was committed; any other tool can read the same folders.
"""

import io
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.errors import UserError
from tanuki.platform.db import Base
from tanuki.platform.objects import Objects

if TYPE_CHECKING:
    import duckdb
    import polars as pl

FOLDER = "warehouse"
READS = ("select", "with", "describe", "summarize", "show", "from", "values", "pivot", "unpivot", "explain")


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


class Warehouse:
    """Facts are only ever added; the newest version of each key recorded up to a moment is what was known at that moment."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def append(self, db: Session, table: FactTable, frame: "pl.DataFrame", *, recorded_at: datetime, source: str) -> None:
        """Add facts. They count once the caller's transaction commits. A column `removed` (bool) takes facts back."""
        import polars as pl

        if frame.is_empty():
            return
        removed = pl.col("removed") if "removed" in frame.columns else pl.lit(False).alias("removed")
        whole = frame.select(
            *(pl.col(name).cast(kind) for name, kind in table.schema.items()),
            pl.lit(recorded_at.astimezone(UTC)).cast(pl.Datetime("us", "UTC")).alias("recorded_at"),
            removed,
        )
        if whole.select(table.keys).is_duplicated().any():
            raise ValueError(f"facts of {table.name} have the same key {table.keys} more than once in one append")
        content = io.BytesIO()
        whole.write_parquet(content)
        key = f"{FOLDER}/{table.name}/{recorded_at.astimezone(UTC):%Y-%m-%d}/{uuid.uuid4().hex}.parquet"
        self.objects.put(key, content.getvalue())
        db.merge(WarehouseTable(name=table.name, keys=list(table.keys)))
        db.flush()
        db.add(WarehouseFile(table=table.name, key=key, rows=whole.height, recorded_at=recorded_at, source=source))
        db.flush()

    def read(self, db: Session, table: FactTable, *, as_of: datetime, where: str = "true", params: Sequence[object] = ()) -> "pl.DataFrame":
        """The facts known at a moment, columns of the schema and recorded_at. `where` is SQL over the key columns."""
        import polars as pl

        schema = {**table.schema, "recorded_at": pl.Datetime("us", "UTC")}
        files = self.files(db, table.name, as_of)
        if not files:
            return pl.DataFrame(schema=schema)
        columns = ", ".join(f'"{name}"' for name in schema)
        with self.duck() as duck:
            query = f"select {columns} from ({self.newest(files, table.keys, where)}) order by {quoted(table.keys)}"
            found: pl.DataFrame = duck.sql(query, params=list(params)).pl()
        return found.with_columns(pl.col("recorded_at").dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))).cast(pl.Schema(schema))

    def files(self, db: Session, table: str, as_of: datetime | None = None) -> list[WarehouseFile]:
        """The Parquet files that count at a moment, oldest first."""
        query = select(WarehouseFile).where(WarehouseFile.table == table).order_by(WarehouseFile.id)
        if as_of is not None:
            query = query.where(WarehouseFile.recorded_at <= as_of)
        return list(db.scalars(query))

    def newest(self, files: Sequence[WarehouseFile], keys: Sequence[str], where: str = "true") -> str:
        """SQL for the newest version of each key in the files; the later file wins among those of one moment."""
        if len(files) == 1:
            return f"select * from {self.parquet(files)} where not removed and ({where})"
        order = " ".join(f"when '{self.objects.path(file.key)}' then {file.id}" for file in files)
        numbered = (
            f"select * exclude (filename), case filename {order} end as _file from {self.parquet(files, filename=True)} where {where}"
        )
        return (
            f"select * exclude (_file) from ({numbered} qualify row_number() over "
            f"(partition by {quoted(keys)} order by recorded_at desc, _file desc) = 1) where not removed"
        )

    def parquet(self, files: Sequence[WarehouseFile], *, filename: bool = False) -> str:
        """SQL that reads the files."""
        paths = ", ".join("'" + self.objects.path(file.key).replace("'", "''") + "'" for file in files)
        return f"read_parquet([{paths}], union_by_name=true{', filename=true' if filename else ''})"

    def sql(self, db: Session, query: str, *, as_of: datetime | None = None) -> "pl.DataFrame":
        """Ask anything of the facts, read-only: each table as it is known, and `<table>_history` with every version."""
        import duckdb

        if not query.strip() or query.split(None, 1)[0].lower().strip("(") not in READS:
            raise UserError("The warehouse is only read; expected a query that begins with SELECT or WITH.")
        with self.duck() as duck:
            for table in db.scalars(select(WarehouseTable).order_by(WarehouseTable.name)):
                files = self.files(db, table.name, as_of)
                if files:
                    duck.execute(f'create view "{table.name}" as {self.newest(files, table.keys)}')
                    duck.execute(f'create view "{table.name}_history" as select * from {self.parquet(files)}')
            duck.execute(f"set allowed_directories = ['{self.folder()}']")
            duck.execute("set enable_external_access = false")
            duck.execute("set lock_configuration = true")
            try:
                if len(duck.extract_statements(query)) != 1:
                    raise UserError("Expected one query at a time.")
                found: pl.DataFrame = duck.sql(query).pl()
                return found
            except duckdb.Error as error:
                raise UserError("The warehouse cannot answer: %(why)s", why=" ".join(str(error).split())) from error

    def folder(self, table: str = "") -> str:
        """Where the Parquet files of a table (of all) are, for any other tool."""
        return self.objects.path(f"{FOLDER}/{table}".rstrip("/"))

    def orphans(self, db: Session) -> list[str]:
        """Parquet files that no committed import names: what crashes left."""
        known = set(db.scalars(select(WarehouseFile.key)))
        return [key for key in self.objects.list(FOLDER) if key not in known]

    @contextmanager
    def duck(self) -> Iterator["duckdb.DuckDBPyConnection"]:
        """A DuckDB connection of its own, which fetches nothing from anywhere."""
        import duckdb

        with duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}) as duck:
            duck.execute("set TimeZone = 'UTC'")
            if not self.objects.local:
                duck.register_filesystem(self.objects.fs)
            yield duck


def quoted(names: Sequence[str]) -> str:
    """Column names for SQL."""
    return ", ".join(f'"{name}"' for name in names)
