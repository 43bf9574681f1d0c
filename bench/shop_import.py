"""How fast sales come in: one million rows of CSV, every row checked and written as facts; beside Polars only reading and writing the same file."""

import json
import resource
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from tanuki.app import bootstrap
from tanuki.settings import Settings
from tanuki.shop.ingest import loading

RESULTS = Path(__file__).parent / "results" / "shop_import.json"


def a_million_rows() -> bytes:
    """100 stores × 100 items × 100 days, with weekdays, weeks and amounts."""
    days = pl.DataFrame({"date": [date(2024, 1, 1) + timedelta(days=n) for n in range(100)]})
    stores = pl.DataFrame({"store": [f"store-{n}" for n in range(100)]})
    items = pl.DataFrame({"item": [f"item-{n}" for n in range(100)]}).with_row_index("n")
    frame = (
        days.join(stores, how="cross")
        .join(items, how="cross")
        .with_columns(sales=(pl.col("n") * 7 + pl.col("date").dt.day()) % 50)
    )
    frame = frame.with_columns(
        day_of_week=pl.col("date").dt.strftime("%a").str.to_uppercase(),
        week_of_year=pl.col("date").dt.week(),
        total_sales_amount=pl.col("sales") * 120,
    )
    return (
        frame.select(
            "date", "day_of_week", "week_of_year", "store", "item", "sales", "total_sales_amount"
        )
        .write_csv()
        .encode()
    )


def main() -> None:
    content = a_million_rows()
    with tempfile.TemporaryDirectory() as folder:
        res = bootstrap.create_resources(Settings(home=Path(folder)))
        prices = "item,price,applied_from\n" + "".join(
            f"item-{n},120,2020-01-01\n" for n in range(100)
        )
        with res.db.write() as db:
            loading.import_file(
                db,
                res.warehouse,
                loading.Upload("prices", "prices.csv", prices.encode()),
                by="bench",
                now=datetime.now(UTC),
            )
        begun = time.perf_counter()
        with res.db.write() as db:
            made = loading.import_file(
                db, res.warehouse, loading.Upload("sales", "sales.csv", content), by="bench", now=datetime.now(UTC)
            )
        ours = time.perf_counter() - begun
        begun = time.perf_counter()
        with res.db.write() as db:
            again = loading.import_file(
                db,
                res.warehouse,
                loading.Upload("sales", "sales.csv", content + b"\n"),
                by="bench",
                now=datetime.now(UTC),
            )
        second = time.perf_counter() - begun
        begun = time.perf_counter()
        pl.read_csv(content).write_parquet(Path(folder) / "plain.parquet")
        peer = time.perf_counter() - begun
        assert (made.new, made.quarantined, again.unchanged) == (1_000_000, 0, 1_000_000)
        bootstrap.close_resources(res)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = {
        "rows": 1_000_000,
        "import_s": ours,
        "import_again_s": second,
        "polars_csv_to_parquet_s": peer,
        "import_over_polars": ours / peer,
        "peak_gib": peak,
    }
    for name, value in rows.items():
        print(f"{name:<24} {value:>14,.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
