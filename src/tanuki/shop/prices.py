"""The price in force on a day."""

import polars as pl


def add_price_in_force(rows: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """`rows` with a column `price_yen`, sorted by date; null where no price is in force.

    rows: at least date, store, item. prices: store, item, applied_from, applied_to (null: still in
    force), price_yen, where store "" means every store. The latest price that began counts; a
    store's own goes before every store's.
    """
    prices = prices.select(
        "store", "item", "applied_from", "applied_to", pl.col("price_yen").cast(pl.Float64)
    ).sort("applied_from")
    rows = rows.sort("date")
    own = prices.filter(pl.col("store") != "")
    of_chain = prices.filter(pl.col("store") == "").drop("store")
    for name, keys, candidates in (
        ("_own", ["store", "item"], own),
        ("_chain", ["item"], of_chain),
    ):
        in_force = pl.col("date") <= pl.col("applied_to").fill_null(pl.col("date"))
        rows = (
            rows.join_asof(
                candidates,
                left_on="date",
                right_on="applied_from",
                by=keys,
                coalesce=True,
                check_sortedness=False,
            )
            .with_columns(pl.when(in_force).then(pl.col("price_yen")).alias(name))
            .drop("applied_to", "price_yen")
        )
    return rows.with_columns(pl.coalesce("_own", "_chain").alias("price_yen")).drop(
        "_own", "_chain"
    )
