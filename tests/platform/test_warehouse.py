"""Append-only facts: what was known at each moment, on both databases, in a folder and on S3."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tanuki.errors import UserError
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.warehouse import FactTable, Warehouse

SOLD = FactTable("sold", ("day", "shop"), {"day": pl.Date, "shop": pl.String, "units": pl.Int64})
MONDAY = datetime(2021, 1, 4, tzinfo=UTC)
TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
DAY = date(2021, 1, 3)


@pytest.fixture(params=["folder", "s3"])
def warehouse(request, tmp_path) -> Warehouse:
    if request.param == "s3":
        return Warehouse(ObjectStore(**request.getfixturevalue("s3")))
    return Warehouse(ObjectStore(str(tmp_path / "objects")))


def add(database, warehouse, moment, *, table=SOLD, removed=None, **units):
    frame = pl.DataFrame(
        {"day": [DAY] * len(units), "shop": list(units), "units": list(units.values())}
    )
    if removed:
        frame = frame.with_columns(pl.col("shop").is_in(removed).alias("removed"))
    with database.write() as db:
        warehouse.append_facts(db, table, frame, recorded_at=moment, source="tests")


def known(database, warehouse, moment, **options):
    with database.read() as db:
        frame = warehouse.read_facts(db, SOLD, as_of=moment, **options)
    return dict(frame.select("shop", "units").iter_rows())


def test_each_moment_sees_what_was_recorded_until_then(database, warehouse):
    add(database, warehouse, MONDAY, chiba=1, osaka=2)
    add(database, warehouse, TUESDAY, chiba=5, kobe=3)
    assert known(database, warehouse, MONDAY - timedelta(seconds=1)) == {}
    assert known(database, warehouse, MONDAY) == {"chiba": 1, "osaka": 2}
    assert known(database, warehouse, TUESDAY) == {"chiba": 5, "kobe": 3, "osaka": 2}


def test_of_two_files_of_one_moment_the_later_counts(database, warehouse):
    add(database, warehouse, MONDAY, chiba=1)
    add(database, warehouse, MONDAY, chiba=2)
    assert known(database, warehouse, MONDAY) == {"chiba": 2}


def test_a_fact_that_was_taken_back_is_gone_from_then_on(database, warehouse):
    add(database, warehouse, MONDAY, chiba=1, osaka=2)
    add(database, warehouse, TUESDAY, chiba=1, removed=["chiba"])
    assert known(database, warehouse, TUESDAY) == {"osaka": 2}
    assert known(database, warehouse, MONDAY) == {"chiba": 1, "osaka": 2}
    add(database, warehouse, WEDNESDAY, chiba=7)
    assert known(database, warehouse, WEDNESDAY) == {"chiba": 7, "osaka": 2}


def test_an_append_that_was_rolled_back_was_never_there(database, warehouse):
    add(database, warehouse, MONDAY, chiba=1)
    frame = pl.DataFrame({"day": [DAY], "shop": ["chiba"], "units": [9]})
    with pytest.raises(ZeroDivisionError), database.write() as db:
        warehouse.append_facts(db, SOLD, frame, recorded_at=TUESDAY, source="tests")
        raise ZeroDivisionError
    assert known(database, warehouse, WEDNESDAY) == {"chiba": 1}
    with database.read() as db:
        (orphan,) = warehouse.list_orphans(db)
        assert warehouse.objects.exists(orphan)
        assert warehouse.query_facts(db, "select units from sold")["units"].to_list() == [1]


def test_a_part_can_be_read(database, warehouse):
    add(database, warehouse, MONDAY, chiba=1, osaka=2)
    assert known(database, warehouse, MONDAY, where="shop = ?", params=("osaka",)) == {"osaka": 2}


def test_nothing_reads_as_an_empty_frame_with_all_columns(sqlite, tmp_path):
    warehouse = Warehouse(ObjectStore(str(tmp_path)))
    with sqlite.read() as db:
        empty = warehouse.read_facts(db, SOLD, as_of=MONDAY)
    add(sqlite, warehouse, MONDAY, chiba=1)
    with sqlite.read() as db:
        assert warehouse.read_facts(db, SOLD, as_of=MONDAY).schema == empty.schema


ONE = {"day": [DAY], "shop": ["a"], "units": [1]}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"day": [DAY, DAY], "shop": ["a", "a"], "units": [1, 2]}, "more than once"),
        ({"day": [DAY], "shop": ["a"]}, "expected .*units"),
        (ONE | {"price": [1]}, "have the columns .*price"),
        (ONE | {"units": ["many"]}, "do not fit its types"),
        (ONE | {"units": [1.5]}, "units loses something from Float64 to Int64"),
        (ONE | {"day": [datetime(2021, 1, 3, 9, tzinfo=UTC)]}, "day loses something"),
        (ONE | {"shop": [None]}, "nothing in .*shop"),
        (ONE | {"removed": [None]}, "or removed"),
    ],
)
def test_facts_that_do_not_fit_their_table_are_a_bug_and_leave_nothing(
    sqlite, tmp_path, columns, says
):
    warehouse = Warehouse(ObjectStore(str(tmp_path / "objects")))
    with pytest.raises(ValueError, match=says), sqlite.write() as db:
        warehouse.append_facts(db, SOLD, pl.DataFrame(columns), recorded_at=MONDAY, source="tests")
    assert warehouse.objects.list_keys() == []


def test_facts_whose_types_hold_the_same_values_fit(sqlite, tmp_path):
    warehouse = Warehouse(ObjectStore(str(tmp_path / "objects")))
    frame = pl.DataFrame({"units": [2.0, None], "shop": ["a", "b"], "day": [DAY, DAY]}).cast(
        {"shop": pl.Categorical}
    )
    with sqlite.write() as db:
        warehouse.append_facts(db, SOLD, frame, recorded_at=MONDAY, source="tests")
    assert known(sqlite, warehouse, MONDAY) == {"a": 2, "b": None}


def test_a_folder_may_have_any_name(sqlite, tmp_path):
    warehouse = Warehouse(ObjectStore(str(tmp_path / "it's [mine] *")))
    add(sqlite, warehouse, MONDAY, chiba=1)
    add(sqlite, warehouse, TUESDAY, chiba=5)
    assert known(sqlite, warehouse, TUESDAY) == {"chiba": 5}
    with sqlite.read() as db:
        assert warehouse.query_facts(db, "select units from sold").rows() == [(5,)]


def test_sql_sees_the_newest_the_history_and_what_was_known_before(database, warehouse):
    add(database, warehouse, MONDAY, chiba=1)
    add(database, warehouse, TUESDAY, chiba=5)
    with database.read() as db:
        assert warehouse.query_facts(db, "select units from sold").rows() == [(5,)]
        assert warehouse.query_facts(db, "select units from sold", as_of=MONDAY).rows() == [(1,)]
        assert warehouse.query_facts(
            db, "with h as (from sold_history) select sum(units) from h"
        ).rows() == [(6,)]
        assert warehouse.query_facts(db, "describe sold")["column_name"].to_list() == [
            "day",
            "shop",
            "units",
            "recorded_at",
            "removed",
        ]
        before = MONDAY - timedelta(days=1)
        assert (
            warehouse.query_facts(
                db,
                "select shop, units from sold union all select shop, units from sold_history",
                as_of=before,
            ).rows()
            == []
        )


@pytest.mark.parametrize(
    "query",
    [
        "-- all\nfrom sold",
        "(select 1)",
        "with x as (from sold) from x -- end",
        "select 1;",
        "values (1)",
        "pivot sold on shop using sum(units)",
    ],
)
def test_sql_takes_a_question_however_it_begins(sqlite, tmp_path, query):
    warehouse = Warehouse(ObjectStore(str(tmp_path / "objects")))
    add(sqlite, warehouse, MONDAY, chiba=1)
    with sqlite.read() as db:
        assert warehouse.query_facts(db, query).height == 1


@pytest.mark.parametrize(
    "query",
    [
        "copy sold to '{there}'",
        "explain analyze copy sold to '{there}'",
        "with x as (copy sold to '{there}') select 1",
        "select (with x as (copy sold to '{there}') select 1)",
        "copy (pivot sold on shop using sum(units)) to '{there}'",
        "select 1) ; copy sold to '{there}'; from (select 1",
        "export database '{there}'",
        "attach '{there}'",
    ],
)
def test_sql_writes_nothing_even_where_it_may_read(sqlite, tmp_path, query):
    warehouse = Warehouse(ObjectStore(str(tmp_path / "objects")))
    add(sqlite, warehouse, MONDAY, chiba=1)
    (key,) = warehouse.objects.list_keys()
    content = warehouse.objects.get(key)
    for there in (warehouse.objects.path_of(key), f"{warehouse.folder_of('sold')}/new"):
        with pytest.raises(UserError), sqlite.read() as db:
            warehouse.query_facts(db, query.format(there=there))
    assert warehouse.objects.list_keys() == [key]
    assert warehouse.objects.get(key) == content


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "begins with SELECT"),
        ("drop table sold", "begins with SELECT"),
        ("copy sold to 'x.csv'", "begins with SELECT"),
        ("select nothing from sold", "cannot answer: Binder Error"),
        ("select * from elsewhere", "cannot answer: Catalog Error"),
        ("select 1; drop view sold", "one query at a time"),
        ("select * from read_csv('/etc/passwd')", "cannot answer"),
        ("with x as (select 1) insert into sold select 1", "begins with SELECT"),
        ("select * from read_text('{objects}/../secret')", "cannot answer: Permission Error"),
        ("select '1 day'::interval", "cannot answer"),
    ],
)
def test_sql_only_reads_the_warehouse_and_says_what_is_wrong(sqlite, tmp_path, query, says):
    warehouse = Warehouse(ObjectStore(str(tmp_path / "objects")))
    add(sqlite, warehouse, MONDAY, chiba=1)
    (tmp_path / "secret").write_text("hush")
    with pytest.raises(UserError, match=says) as error, sqlite.read() as db:
        warehouse.query_facts(db, query.replace("{objects}", str(tmp_path / "objects")))
    assert "\n" not in str(error.value)


def test_any_tool_can_read_the_folder(sqlite, tmp_path):
    warehouse = Warehouse(ObjectStore(str(tmp_path / "objects")))
    add(sqlite, warehouse, MONDAY, chiba=1)
    assert pl.read_parquet(f"{warehouse.folder_of('sold')}/**/*.parquet")["units"].to_list() == [1]
