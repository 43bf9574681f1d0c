"""Claim: a million rows of sales are checked and imported in some seconds.

    python -m bench.shop_import

Beside it: Polars reading the same CSV and writing it as Parquet, without any check.
"""

import resource
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from bench.lib.reporting import print_figures, write_results
from bench.lib.timing import time_call
from tanuki.app import bootstrap
from tanuki.platform.resources import Resources
from tanuki.settings import Settings
from tanuki.shop.ingest import loading
from tanuki.shop.tables import Import

ROWS = 1_000_000
PRICE_YEN = 120


def make_sales_csv() -> bytes:
    """100 stores × 100 items × 100 days, with weekdays, weeks and amounts."""
    days = pl.DataFrame({"date": [date(2024, 1, 1) + timedelta(days=n) for n in range(100)]})
    stores = pl.DataFrame({"store": [f"store-{n}" for n in range(100)]})
    items = pl.DataFrame({"item": [f"item-{n}" for n in range(100)]}).with_row_index("n")
    sales = (
        days.join(stores, how="cross")
        .join(items, how="cross")
        .with_columns(sales=(pl.col("n") * 7 + pl.col("date").dt.day()) % 50)
    )
    columns = (
        "date",
        pl.col("date").dt.strftime("%a").str.to_uppercase().alias("day_of_week"),
        pl.col("date").dt.week().alias("week_of_year"),
        "store",
        "item",
        "sales",
        (pl.col("sales") * PRICE_YEN).alias("total_sales_amount"),
    )
    return sales.select(columns).write_csv().encode()


def make_prices_csv() -> bytes:
    rows = "".join(f"item-{n},{PRICE_YEN},2020-01-01\n" for n in range(100))
    return f"item,price,applied_from\n{rows}".encode()


def import_csv(res: Resources, kind: str, content: bytes) -> Import:
    now = datetime.now(UTC)
    with res.db.write() as db:
        return loading.import_file(
            db, res.warehouse, kind, f"{kind}.csv", content, by="bench", now=now
        )


def main() -> None:
    content = make_sales_csv()
    with tempfile.TemporaryDirectory() as folder:
        res = bootstrap.create_resources(Settings(home=Path(folder)))
        import_csv(res, "prices", make_prices_csv())
        first, import_s = time_call(lambda: import_csv(res, "sales", content))
        # A file with other bytes and the same rows: every row is compared, none is new.
        second, again_s = time_call(lambda: import_csv(res, "sales", content + b"\n"))
        target = Path(folder) / "plain.parquet"
        _, polars_s = time_call(lambda: pl.read_csv(content).write_parquet(target))
        assert (first.new, first.quarantined, second.unchanged) == (ROWS, 0, ROWS)
        bootstrap.close_resources(res)
    figures = {
        "rows": ROWS,
        "import_s": import_s,
        "import_again_s": again_s,
        "polars_csv_to_parquet_s": polars_s,
        "import_over_polars": import_s / polars_s,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    print_figures(figures, width=24)
    write_results("shop_import", figures)


if __name__ == "__main__":
    main()
