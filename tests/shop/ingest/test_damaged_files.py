"""Damaged and odd files: each is refused or read correctly, and none ends the process."""

import io
import json
import random
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from sqlalchemy import select

from tanuki.errors import UserError
from tanuki.platform.accounts import COMMAND_LINE
from tanuki.shop.commands.data import import_
from tanuki.shop.ingest import quarantine, readers
from tanuki.shop.ingest.schemas import LAYOUTS
from tanuki.shop.tables import Import
from tests.factories.command_line import CommandRunner
from tests.shop.ingest.test_loading import NOW, import_text, list_quarantined, read_facts

HEAD = "date,store,item,units\n"
DATA = Path(__file__).parents[4] / "shared" / "data"
AISHOP = DATA / "aishop"
STORE_ITEM = DATA / "store_item" / "sales_2013_2016.parquet"


def parquet(compression="zstd", **columns):
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer, compression=compression)
    return buffer.getvalue()


def read(content, mapping=None):
    content = content.encode() if isinstance(content, str) else content
    return readers.read_rows(LAYOUTS["sales"], "x", content, mapping or {})


@pytest.mark.parametrize("compression", ["zstd", "snappy", "uncompressed"])
def test_a_damaged_parquet_file_is_refused_or_read_and_never_ends_the_process(compression):
    whole = parquet(
        compression,
        date=[date(2021, 1, 3)] * 40,
        store=["千葉"] * 40,
        item=["b"] * 40,
        units=list(range(40)),
    )
    chance = random.Random(7)
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            content[chance.randrange(4, len(content))] = chance.randrange(256)
        if chance.random() < 0.1:
            del content[chance.randrange(4, len(content)) :]
        try:
            read(bytes(content))
        except UserError as error:
            assert str(error).startswith("x ")
            refused += 1
    assert refused > 200


def test_moments_in_parquet_are_their_day_where_they_were_and_lists_are_nothing():
    moment = datetime(2021, 1, 4, 0, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
    rows = read(
        parquet(
            date=[moment],
            store=[1],
            item=pl.Series(["b"], dtype=pl.Categorical),
            units=[5.0],
            day_of_week=[["MON"]],
        )
    )
    assert rows.select("date", "store", "item").row(0) == ("2021-01-04", "1", "b")
    assert rows["day_of_week"].to_list() == [None]


@pytest.mark.parametrize(
    "content",
    [
        HEAD.replace("\n", "\r") + "2021-01-04,a,b,5\r",
        "_row,_ragged,date,store,item,units\n7,8,2021-01-04,a,b,5\n",
        ",date,store,item,units\n0,2021-01-04,a,b,5\n",
        " Date , store,ITEM,units\n2021-01-04,a,b,5\n",
        HEAD + "\n\n2021-01-04,a,b,５\n",
        HEAD + "2021-01-04,a,b,5円\n",
    ],
)
def test_odd_line_ends_names_and_digits_say_the_same(embedded, content):
    assert import_text(embedded, content).new == 1
    assert read_facts(embedded)["units"].to_list() == [5]


@pytest.mark.parametrize(
    ("date_", "units"),
    [
        ("2021-01-04", "1;5"),
        ("2021-01-04", "1,5"),
        ("2021-01-04", "12,34"),
        ("2021113", "5"),
        ("01/02/2021", "5"),
        ("21-01-04", "5"),
    ],
)
def test_what_can_be_read_two_ways_is_not_guessed(embedded, date_, units):
    assert (
        import_text(
            embedded, f'date,store,item,units\n{date_},a,b,"{units}"\n2021-01-05,a,b,6\n'
        ).new
        == 1
    )
    assert read_facts(embedded)["units"].to_list() == [6]


@pytest.mark.parametrize(
    "spoilt", ['2021-01-04,"chiba,beer,5', '2021-01-04,chiba,"' + "x" * 200_000]
)
def test_a_quote_that_is_never_closed_spoils_its_own_row_only(embedded, spoilt):
    report = import_text(
        embedded,
        f"{HEAD}2021-01-03,chiba,beer,1\n{spoilt}\n2021-01-05,chiba,beer,2\n2021-01-06,chiba,beer,3\n",
    )
    assert (report.new, report.quarantined) == (3, 1)
    assert [row for row, *_ in list_quarantined(embedded)] == [2]


def test_a_cell_may_hold_a_line_end():
    assert read(HEAD + '2021-01-04,"Chiba\nEast",b,5\n')["store"].to_list() == ["Chiba\nEast"]


def test_uneven_rows_are_the_same_with_quotes_and_without():
    text = HEAD + "2021-01-04,a,b,5\n\n2021-01-05,a\n2021-01-06,a,b,5,6,7\n,,,\n2021-01-07,a,b,8\n"
    plain, quoted = read(text), read(text.replace("2021-01-07", '"2021-01-07"'))
    assert plain.equals(quoted, null_equal=True)
    assert plain[readers.ROW].to_list() == [1, 3, 4, 6]
    assert plain[readers.RAGGED].to_list() == [None, 2, 6, None]
    assert plain["units"].to_list() == ["5", None, "5,6,7", "8"]


@pytest.mark.parametrize("first", ["utf-8", "cp932"])
def test_two_encodings_in_one_file_are_refused_at_the_line_where_the_second_begins(first):
    second = {"utf-8": "cp932", "cp932": "utf-8"}[first]
    content = (
        HEAD.encode()
        + "2021-01-04,千葉,b,5\n".encode(first)
        + "2021-01-05,横浜,b,5\n".encode(second)
    )
    with pytest.raises(UserError, match="x, line 3, is neither UTF-8 nor Shift-JIS"):
        read(content)


def test_an_absurd_sale_in_a_short_file_is_seen_beside_other_series_and_beside_what_is_known(
    embedded,
):
    assert (
        import_text(
            embedded, HEAD + "2021-01-04,a,b,99999\n2021-01-04,a,c,5\n2021-01-04,a,d,6\n"
        ).quarantined
        == 1
    )
    import_text(embedded, HEAD + "".join(f"2021-01-0{n},a,large,4000\n" for n in range(1, 8)))
    assert import_text(embedded, HEAD + "2021-01-08,a,large,9000\n").new == 1
    report = import_text(embedded, HEAD + "2021-01-09,a,c,9000\n")
    assert report.quarantined == 1
    with embedded.db.read() as db:
        row = quarantine.list_waiting_rows(db, COMMAND_LINE, import_id=report.id)[0].id
    with (
        pytest.raises(UserError, match="still wrong: units is 8000, expected at most"),
        embedded.db.write() as db,
    ):
        quarantine.fix_row(db, embedded.warehouse, COMMAND_LINE, row, {"units": "8000"}, NOW)


def test_a_row_after_a_bad_one_about_the_same_is_no_repetition(embedded):
    assert (
        import_text(embedded, HEAD + "2021-01-04,a,b,-1\n2021-01-04,a,b,5\n2021-01-04,a,b,6\n").new
        == 1
    )
    assert read_facts(embedded)["units"].to_list() == [5]
    assert [(row, expected) for row, _, _, expected in list_quarantined(embedded)] == [
        (1, "zero or more"),
        (3, "one row for each date, store, item; row 2 has it already"),
    ]


def run(tmp_path, *arguments):
    return CommandRunner(env={"TANUKI_HOME": str(tmp_path / "home")}).invoke(
        import_, [str(argument) for argument in arguments]
    )


def test_the_command_takes_masters_first_and_says_how_many_rows_wait(tmp_path):
    (tmp_path / "sales.csv").write_text(
        "date,store,item,qty\n2021-01-04,a,b,5\n2021-01-04,nowhere,b,5\n"
    )
    (tmp_path / "stores.csv").write_text("id,name\n1,a\n")
    done = run(
        tmp_path,
        "--sales",
        tmp_path / "sales.csv",
        "--stores",
        tmp_path / "stores.csv",
        "--map",
        "units=qty",
    )
    assert done.exit_code == 0, done.output
    assert "1 rows wait in quarantine" in done.output
    assert "sales.csv, row 2, store: found nowhere, expected a known store" in done.output


def test_a_map_that_no_file_has_is_said_before_anything_comes_in(tmp_path):
    (tmp_path / "sales.csv").write_text(HEAD + "2021-01-04,a,b,5\n")
    wrong = run(tmp_path, "--sales", tmp_path / "sales.csv", "--map", "colour=units")
    assert isinstance(wrong.exception, UserError)
    assert "colour" in str(wrong.exception)
    assert json.loads(run(tmp_path, "--sales", tmp_path / "sales.csv", "--json").output)["new"] == 1


@pytest.mark.skipif(not AISHOP.is_dir(), reason="needs the real data beside the project")
def test_the_real_sales_and_masters_come_in_whole(embedded):
    now = NOW + timedelta(days=365)
    for kind, name in (
        ("regions", "regions"),
        ("stores", "stores"),
        ("items", "items"),
        ("prices", "item_prices"),
    ):
        assert (
            import_text(embedded, (AISHOP / f"{name}.csv").read_bytes(), kind, now).quarantined == 0
        )
    report = import_text(
        embedded, (AISHOP / "sales_2020-01-01_2021-06-30.csv").read_bytes(), now=now
    )
    assert (report.rows, report.new, report.quarantined) == (54_700, 54_700, 0)
    assert (
        import_text(
            embedded,
            (AISHOP / "sales_2020-01-01_2021-06-30.csv").read_bytes(),
            now=now + timedelta(1),
        ).unchanged
        == 54_700
    )
    with embedded.db.read() as db:
        assert len(list(db.scalars(select(Import)))) == 5


@pytest.mark.skipif(not STORE_ITEM.is_file(), reason="needs the real data beside the project")
def test_the_real_demand_file_comes_in_whole(embedded):
    report = import_text(embedded, STORE_ITEM.read_bytes())
    assert (report.rows, report.new, report.quarantined) == (730_500, 730_500, 0)
