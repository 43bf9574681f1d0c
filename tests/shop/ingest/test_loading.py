"""Imports: layouts, encodings, each fault with its sentence, and the good rows of the same file."""

import io
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from tanuki.errors import UserError
from tanuki.shop.ingest import loading, quarantine
from tanuki.shop.ingest.loading import PRICES, SALES, STOCK
from tanuki.shop.tables import Import, Item, QuarantinedRow, Region, Store, Supplier
from tests.factories.store_chain import (
    ITEMS_CSV,
    NOW,
    PRICES_CSV,
    REGIONS_CSV,
    STORES_CSV,
    make_chain,
    sales_csv,
)

HEAD = "date,day_of_week,week_of_year,store,item,sales,total_sales_amount\n"
GOOD = "2021-01-04,MON,1,chiba,beer,10,2000\n2021-01-05,TUE,1,chiba,beer,11,2200\n"


def import_text(res, content, kind="sales", now=NOW, name="x.csv", mapping=None):
    content = content.encode() if isinstance(content, str) else content
    upload = loading.Upload(kind, name, content, mapping)
    with res.db.write() as db:
        return loading.import_file(db, res.warehouse, upload, by="tests", now=now)


def list_quarantined(res):
    with res.db.read() as db:
        return [
            (row.row, row.column, row.actual, quarantine.render_expected(row))
            for row in db.scalars(select(QuarantinedRow).order_by(QuarantinedRow.id))
        ]


def read_facts(res, table=SALES, as_of=NOW):
    with res.db.read() as db:
        return res.warehouse.read_facts(db, table, as_of=as_of)


@pytest.fixture
def masters(embedded):
    """Masters and prices, and no sales."""
    for kind, text in (
        ("regions", REGIONS_CSV),
        ("stores", STORES_CSV),
        ("items", ITEMS_CSV),
        ("prices", PRICES_CSV),
    ):
        import_text(embedded, text, kind)
    return embedded


ROWS = [
    ("2021-01-32,,,chiba,beer,5,", "date", "2021-01-32", "a day such as 2021-01-31"),
    ("2021-02-30,,,chiba,beer,5,", "date", "2021-02-30", "a day such as 2021-01-31"),
    ("yesterday,,,chiba,beer,5,", "date", "yesterday", "a day such as 2021-01-31"),
    (",,,chiba,beer,5,", "date", "", "a day such as 2021-01-31"),
    ("0021-01-06,,,chiba,beer,5,", "date", "0021-01-06", "a day from 1990-01-01 to 2100-12-31"),
    ("2021-01-12,,,chiba,beer,5,", "date", "2021-01-12", "a day up to today, 2021-01-11"),
    ("2021-01-06,,,atlantis,beer,5,", "store", "atlantis", "a known store"),
    ("2021-01-06,,,chiba,ambrosia,5,", "item", "ambrosia", "a known item"),
    ("2021-01-06,,,,beer,5,", "store", "", "a name"),
    ("2021-01-06,,,chiba,,5,", "item", "", "a name"),
    (f"2021-01-06,,,{'x' * 201},beer,5,", "store", "x" * 201, "a name of at most 200 characters"),
    ("2021-01-06,,,chiba,beer,-3,", "units", "-3", "zero or more"),
    ("2021-01-06,,,chiba,beer,many,", "units", "many", "a whole number"),
    ("2021-01-06,,,chiba,beer,2.5,", "units", "2.5", "a whole number"),
    ("2021-01-06,,,chiba,beer,,", "units", "", "a whole number"),
    ("2021-01-06,,,chiba,beer,NaN,", "units", "NaN", "a whole number"),
    ("2021-01-06,,,chiba,beer,inf,", "units", "inf", "a whole number"),
    ("2021-01-06,,,chiba,beer,2000000,", "units", "2000000", "at most 1,000,000 a day"),
    ("2021-01-06,,,chiba,beer,9000,", "units", "9000", "at most 1550 (the series' median is 11)"),
    ("2021-01-06,MON,,chiba,beer,5,", "day_of_week", "MON", "WED for 2021-01-06"),
    ("2021-01-06,someday,,chiba,beer,5,", "day_of_week", "someday", "WED for 2021-01-06"),
    ("2021-01-06,,2,chiba,beer,5,", "week_of_year", "2", "1, the ISO week of 2021-01-06"),
    (
        "2021-01-06,,,chiba,beer,5,999",
        "amount_yen",
        "999",
        "1000 (5 × 200.0 yen, the price in force)",
    ),
    ("2021-01-06,,,chiba,beer,5,-1000", "amount_yen", "-1000", "zero or more"),
    (
        "2021-01-05,,,chiba,beer,11,2200",
        "item",
        "beer",
        "one row for each date, store, item; row 2 has it already",
    ),
    (
        "2021-01-05,,,chiba,beer,12,2400",
        "item",
        "beer",
        "one row for each date, store, item; row 2 has it already",
    ),
    (
        "2021-01-06,,,chiba,beer,5,1000,more",
        "(row)",
        None,
        "as many values as the header has, not 8",
    ),
    ("2021-01-06,,,chiba", "(row)", None, "as many values as the header has, not 4"),
]


@pytest.mark.parametrize(("row", "column", "found", "expected"), ROWS)
def test_a_row_that_cannot_be_believed_waits_with_its_sentence_and_the_others_are_in(
    masters, row, column, found, expected
):
    report = import_text(masters, HEAD + GOOD + row + "\n2021-01-07,THU,1,osaka,milk,4,600\n")
    assert (report.rows, report.new, report.quarantined) == (4, 3, 1)
    ((at, in_column, what, wanted),) = list_quarantined(masters)
    assert (at, in_column, wanted) == (3, column, expected)
    assert found is None or what == found
    assert read_facts(masters)["units"].to_list() == [10, 11, 4]


FILES = [
    (b"", "x.csv is empty; expected a header and rows of sales."),
    (b"  \n\n", "x.csv is empty"),
    (HEAD.encode(), "x.csv has a header and no rows"),
    (b"a,b\n1,2\n", "x.csv has no column for date"),
    (b"2021-01-04,chiba,beer,5\n2021-01-05,chiba,beer,5\n", "x.csv has no column for date"),
    (b"date,store,item\n2021-01-04,chiba,beer\n", "x.csv has no column for units"),
    (b"just words\nmore words\n", "x.csv has only one column"),
    (b"date,store,store,item,sales\n", "x.csv has the column store more than once"),
    (b"PK\x03\x04 excel", "x.csv is a zip archive or Excel workbook; expected CSV or Parquet."),
    (b"%PDF-1.7 ...", "x.csv is a PDF"),
    (b"<html><body>", "x.csv is a web page"),
    (b"\x89PNG\r\n", "x.csv is a picture"),
    (b"PAR1 and then nothing", "x.csv is not a whole Parquet file"),
    (b"date,store,item,sales\n2021-01-04,ch\x00iba,beer,5\n", "x.csv is not text"),
    (
        "date,store,item,sales\n2021-01-04,千葉,beer,5\n".encode()
        + "2021-01-05,横浜,beer,5\n".encode("cp932"),
        "x.csv, line 3, is neither UTF-8 nor Shift-JIS",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("content", "says"), FILES)
def test_what_is_no_such_file_is_one_sentence_that_names_it_and_nothing_changes(
    masters, content, says
):
    with pytest.raises(UserError) as error:
        import_text(masters, content)
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)
    assert read_facts(masters).is_empty()


@pytest.mark.parametrize(
    "content",
    [
        "日付,店舗,商品,販売数\n2021-01-04,千葉,麦茶,5\n".encode(),
        "日付,店舗,商品,販売数\n2021-01-04,千葉,麦茶,5\n".encode("utf-8-sig"),
        "日付,店舗,商品,販売数\n2021-01-04,千葉,麦茶,5\n".encode("cp932"),
        "日付,店舗,商品,販売数\n2021-01-04,千葉,麦茶,5\n".encode("utf-16"),
        "日付\t店舗\t商品\t販売数\r\n2021/1/4\t千葉\t麦茶\t5\r\n".encode(),
        '日付;店舗;商品;販売数\n20210104;"千葉";麦茶;"5"\n'.encode(),
        "Date,Store,Item,Units\n2021年1月4日,千葉,麦茶, 5 \n".encode(),
        "\n\ndate,store,item,sales\n2021-01-04,千葉,麦茶,5\n\n".encode(),
    ],
)
def test_encodings_delimiters_headers_and_dates_of_all_sorts_say_the_same(embedded, content):
    assert import_text(embedded, content).new == 1
    (row,) = read_facts(embedded).select("date", "store", "item", "units").rows()
    assert row == (date(2021, 1, 4), "千葉", "麦茶", 5)


def test_thousands_separators_are_numbers(embedded):
    import_text(embedded, 'date,store,item,sales\n2021-01-04,a,b,"1,234"\n')
    assert read_facts(embedded)["units"].to_list() == [1234]


def test_the_layout_of_the_demand_file_is_recognised_and_masters_are_made(embedded):
    frame = pl.DataFrame(
        {
            "date": [datetime(2021, 1, 4), datetime(2021, 1, 5)],  # noqa: DTZ001
            "store": [1, 2],
            "item": [7, 7],
            "sales": [3, 4],
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    assert import_text(embedded, buffer.getvalue()).new == 2
    with embedded.db.read() as db:
        assert list(db.scalars(select(Store.code).order_by(Store.code))) == ["1", "2"]
        item = db.get(Item, "7")
        assert item is not None
        assert (item.case_units, item.shortage_cost_yen, item.leftover_cost_yen) == (1, 3.0, 1.0)


def test_other_names_are_mapped_and_a_wrong_map_is_named(embedded):
    text = "when,shop,what,qty\n2021-01-04,a,b,5\n"
    names = {"date": "when", "store": "shop", "item": "what", "units": "qty"}
    assert import_text(embedded, text, mapping=names).new == 1
    with pytest.raises(UserError, match="no column nothing, which --map names"):
        import_text(embedded, text, mapping={**names, "units": "nothing"})
    with pytest.raises(UserError, match="sales have no column colour"):
        import_text(embedded, text, mapping={**names, "colour": "qty"})


def test_masters_take_what_the_file_says_and_keep_what_it_leaves_empty(masters):
    with masters.db.read() as db:
        beer, chiba = db.get(Item, "beer"), db.get(Store, "chiba")
        assert beer is not None
        assert chiba is not None
        assert (beer.supplier_code, beer.case_units, beer.shelf_life_days, beer.external_id) == (
            "brewer",
            6,
            None,
            "21",
        )
        assert (chiba.region_code, chiba.external_id) == ("east", "11")
        assert set(db.scalars(select(Region.code))) == {"east", "west"}
        assert set(db.scalars(select(Supplier.code))) == {"brewer", "roaster"}
    report = import_text(masters, "name,case_units,name_ja\nbeer,12,ビール\ncocoa,,\n", "items")
    assert (report.new, report.changed) == (1, 1)
    with masters.db.read() as db:
        beer = db.get(Item, "beer")
        assert beer is not None
        assert (beer.case_units, beer.name_ja, beer.supplier_code) == (12, "ビール", "brewer")


def test_a_store_of_an_unknown_region_waits(masters):
    assert import_text(masters, "name,region\nnaha,south\n", "stores").quarantined == 1
    assert list_quarantined(masters)[0][1:] == ("region", "south", "a known region")


def test_the_price_in_force_is_the_stores_own_and_that_of_the_day(masters):
    prices = (
        "item,store,price,applied_from,applied_to\n"
        "beer,osaka,180,2017-01-01,2099-12-31\nbeer,,220,2021-01-06,2099-12-31\n"
    )
    import_text(masters, prices, "prices")
    rows = (
        "2021-01-05,,,chiba,beer,1,200\n2021-01-06,,,chiba,beer,1,220\n"
        "2021-01-06,,,osaka,beer,1,180\n2021-01-07,,,chiba,beer,1,200\n"
    )
    report = import_text(masters, HEAD + rows)
    assert (report.new, report.quarantined) == (3, 1)
    assert list_quarantined(masters)[0][3] == "220 (1 × 220.0 yen, the price in force)"
    assert read_facts(masters, PRICES).height == 5


def test_the_same_file_twice_changes_nothing(resources):
    make_chain(resources)
    text = sales_csv(date(2020, 1, 6), date(2021, 1, 10))
    before = read_facts(resources)
    with resources.db.read() as db:
        imports = db.scalar(select(func.count()).select_from(Import))
    report = import_text(resources, text, now=NOW + timedelta(hours=1))
    assert (report.new, report.changed, report.unchanged) == (0, 0, before.height)
    assert read_facts(resources, as_of=NOW + timedelta(days=1)).equals(before)
    import_text(resources, "name\nchiba\nosaka\n", "stores", now=NOW + timedelta(hours=2))
    assert import_text(resources, text, now=NOW + timedelta(hours=3)).unchanged == before.height
    with resources.db.read() as db:
        assert db.scalar(select(func.count()).select_from(Import)) <= imports + 1


def test_quarantined_rows_do_not_wait_twice_when_their_file_comes_again(masters):
    bad = HEAD + GOOD + "2021-01-06,,,atlantis,beer,5,\n"
    import_text(masters, bad)
    import_text(masters, HEAD + "2021-01-08,FRI,1,osaka,milk,4,600\n")
    import_text(masters, bad)
    assert len(list_quarantined(masters)) == 1


def test_rows_that_waited_for_a_master_are_in_when_it_has_come_and_the_file_comes_again(masters):
    text = HEAD + GOOD + "2021-01-06,,,atlantis,beer,5,\n"
    assert import_text(masters, text).quarantined == 1
    import_text(masters, "name,region\natlantis,east\n", "stores")
    report = import_text(masters, text)
    assert (report.new, report.unchanged, report.quarantined) == (1, 2, 0)
    with masters.db.read() as db:
        assert [row.status for row in db.scalars(select(QuarantinedRow))] == ["fixed"]


def test_a_corrected_file_replaces_and_what_was_known_before_stays_readable(resources):
    make_chain(resources)
    day = date(2021, 1, 10)
    report = import_text(resources, sales_csv(day, day, more=7), now=NOW + timedelta(hours=5))
    assert (report.new, report.changed) == (0, 6)
    now = read_facts(resources, as_of=NOW + timedelta(hours=6)).filter(pl.col("date") == day)[
        "units"
    ]
    before = read_facts(resources, as_of=NOW).filter(pl.col("date") == day)["units"]
    assert (now - before).to_list() == [7] * 6
    again = import_text(resources, sales_csv(day, day), now=NOW + timedelta(hours=7))
    assert again.changed == 6
    assert (
        read_facts(resources, as_of=NOW + timedelta(hours=8))
        .filter(pl.col("date") == day)["units"]
        .to_list()
        == before.to_list()
    )


def test_stock_deliveries_promotions_and_weather_come_in(masters):
    assert (
        import_text(masters, "date,store,item,stock\n2021-01-10,chiba,beer,40\n", "stock").new == 1
    )
    assert (
        import_text(masters, "date,store,item,units\n2021-01-18,chiba,beer,24\n", "deliveries").new
        == 1
    )
    assert (
        import_text(
            masters,
            "store,item,date_from,date_to,discount\n,beer,2021-02-01,2021-02-07,0.2\n",
            "promotions",
        ).new
        == 1
    )
    assert (
        import_text(masters, "date,region,temperature\n2021-01-10,east,4.5\n", "weather").new == 1
    )
    assert read_facts(masters, STOCK)["units"].to_list() == [40]
    assert (
        import_text(
            masters, "date,store,item,stock\n2021-01-12,chiba,beer,40\n", "stock"
        ).quarantined
        == 1
    )
    assert (
        import_text(
            masters,
            "store,item,date_from,date_to,discount\n,beer,2021-02-08,2021-02-07,2\n",
            "promotions",
        ).quarantined
        == 1
    )


def test_an_unknown_kind_is_named(embedded):
    with pytest.raises(
        UserError, match="weights is not a kind of file; expected one of regions, stores"
    ):
        import_text(embedded, "a,b\n1,2\n", "weights")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=200).map(
            lambda text: (HEAD + GOOD + text).encode("utf-8", "surrogatepass")
        ),
    )
)
def test_rubbish_is_refused_with_a_sentence_or_waits_but_never_breaks(embedded, content):
    try:
        report = import_text(embedded, content, now=datetime(2026, 1, 1, tzinfo=UTC))
    except UserError as error:
        assert "x.csv" in str(error)
    else:
        assert (
            report.new + report.changed + report.unchanged + report.quarantined
            <= report.rows + report.unchanged
        )


def test_text_that_postgresql_cannot_hold_does_not_break_the_others(resources):
    make_chain(resources)
    report = import_text(
        resources,
        "date,store,item,sales\n2021-01-11,chiba,beer,5\n2021-01-11,\ud83d\ude00,beer,5\n".encode(
            "utf-16", "surrogatepass"
        ),
    )
    assert (report.new, report.quarantined) == (1, 1)
