"""Warehouse: appending a million facts, and reading them as of a moment after corrections.

    python -m bench.warehouse [--days 10000]

Facts of 100 stores on 10,000 days, then a thousand corrections. Beside it, Polars reads the same
Parquet files and keeps the last fact of each key.
"""

import argparse
import tempfile
from datetime import UTC, date, datetime, timedelta

import polars as pl

from bench.lib.engines import open_database
from bench.lib.reporting import print_figures, write_results
from bench.lib.timing import time_call
from tanuki.platform.database.engine import Database
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.warehouse import FactTable, Warehouse

SALES = FactTable(
    "sold", ("date", "store"), {"date": pl.Date, "store": pl.String, "units": pl.Int64}
)
RECORDED_AT = datetime(2021, 1, 1, tzinfo=UTC)
FIRST_DAY = date(2000, 1, 1)
STORES, CORRECTIONS = 100, 1_000
REPORTED_DAYS = 10_000  # results of a smaller run are not written


def generate_facts(days: int) -> pl.DataFrame:
    """One fact for each store and day."""
    dates = pl.DataFrame({"date": [FIRST_DAY + timedelta(days=number) for number in range(days)]})
    stores = pl.DataFrame({"store": [f"store-{number}" for number in range(STORES)]})
    return dates.join(stores, how="cross").with_columns(units=pl.lit(3, pl.Int64))


def append_facts(database: Database, warehouse: Warehouse, facts: pl.DataFrame) -> None:
    with database.write() as db:
        warehouse.append_facts(db, SALES, facts, recorded_at=RECORDED_AT, source="bench")


def read_facts(database: Database, warehouse: Warehouse) -> pl.DataFrame:
    with database.read() as db:
        return warehouse.read_facts(db, SALES, as_of=RECORDED_AT)


def read_with_polars(warehouse: Warehouse) -> pl.DataFrame:
    """The last fact of each key in the same files."""
    facts = pl.read_parquet(f"{warehouse.folder_of(SALES.name)}/**/*.parquet")
    return facts.unique(["date", "store"], keep="last").sort("date", "store")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=REPORTED_DAYS)
    options = parser.parse_args()
    facts = generate_facts(options.days)
    corrections = facts.head(CORRECTIONS).with_columns(units=pl.lit(4, pl.Int64))
    with (
        tempfile.TemporaryDirectory() as folder,
        open_database(f"sqlite:///{folder}/bench.db") as database,
    ):
        warehouse = Warehouse(ObjectStore(f"{folder}/objects"))
        _, append_s = time_call(lambda: append_facts(database, warehouse, facts))
        append_facts(database, warehouse, corrections)
        current, read_s = time_call(lambda: read_facts(database, warehouse))
        peer, peer_s = time_call(lambda: read_with_polars(warehouse))
        assert current.height == peer.height == facts.height
    figures = {
        "facts": facts.height,
        "append_s": append_s,
        "read_as_of_s": read_s,
        "polars_unique_s": peer_s,
        "read_over_polars": read_s / peer_s,
    }
    print_figures(figures)
    if options.days >= REPORTED_DAYS:
        write_results("warehouse", figures)


if __name__ == "__main__":
    main()
