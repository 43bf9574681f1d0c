"""How fast the warehouse appends and reads as of a moment: one million facts and a thousand corrections, beside Polars reading the same bytes."""

import json
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

import tanuki.app.metadata  # noqa: F401 every table
from tanuki.platform.database.engine import Base, Database
from tanuki.platform.object_store import Objects
from tanuki.platform.warehouse import FactTable, Warehouse

RESULTS = Path(__file__).parent / "results" / "warehouse.json"
SOLD = FactTable(
    "sold", ("date", "store"), {"date": pl.Date, "store": pl.String, "units": pl.Int64}
)
THEN = datetime(2021, 1, 1, tzinfo=UTC)


def main() -> None:
    days = pl.DataFrame({"date": [date(2000, 1, 1) + timedelta(days=n) for n in range(10_000)]})
    facts = days.join(
        pl.DataFrame({"store": [f"store-{n}" for n in range(100)]}), how="cross"
    ).with_columns(units=pl.lit(3, pl.Int64))
    with tempfile.TemporaryDirectory() as folder:
        db = Database(f"sqlite:///{folder}/bench.db")
        Base.metadata.create_all(db.engine)
        warehouse = Warehouse(Objects(f"{folder}/objects"))
        begun = time.perf_counter()
        with db.write() as session:
            warehouse.append(session, SOLD, facts, recorded_at=THEN, source="bench")
        append = time.perf_counter() - begun
        with db.write() as session:
            warehouse.append(
                session,
                SOLD,
                facts.head(1000).with_columns(units=pl.lit(4, pl.Int64)),
                recorded_at=THEN,
                source="bench",
            )
        begun = time.perf_counter()
        with db.read() as session:
            known = warehouse.read(session, SOLD, as_of=THEN)
        read = time.perf_counter() - begun
        begun = time.perf_counter()
        plain = (
            pl.read_parquet(f"{warehouse.folder('sold')}/**/*.parquet")
            .unique(["date", "store"], keep="last")
            .sort("date", "store")
        )
        peer = time.perf_counter() - begun
        assert known.height == plain.height == facts.height
        db.close()
    rows = {
        "facts": facts.height,
        "append_s": append,
        "read_as_of_s": read,
        "polars_unique_s": peer,
        "read_over_polars": read / peer,
    }
    for name, value in rows.items():
        print(f"{name:<18} {value:>12,.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
