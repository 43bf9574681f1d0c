"""Rows that wait: put right, dropped, and by whom."""

import pytest

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.shop.ingest import quarantine
from tanuki.shop.ingest.loading import list_imports
from tests.factories.store_chain import ANALYST, CHIBA, NOBODY, NOW, OPERATOR, make_chain
from tests.shop.ingest.test_loading import HEAD, import_text, read_facts


@pytest.fixture
def held(resources):
    """Two rows wait."""
    make_chain(resources)
    import_text(
        resources, HEAD + "2021-01-11,,,chiba,beer,many,\n2021-01-11,,,nowhere,coffee,4,480\n"
    )
    with resources.db.read() as db:
        return resources, [row.id for row in quarantine.list_waiting_rows(db, ANALYST)]


def fix(res, row, who=ANALYST, **values):
    with res.db.write() as db:
        return quarantine.fix_row(db, res.warehouse, who, row, values, NOW)


def test_a_row_that_was_put_right_counts_and_who_did_it_stays_on_record(held):
    res, (first, _) = held
    before = read_facts(res).height
    row = fix(res, first, units="12")
    assert (row.status, row.decided_by, row.decided_at, row.why) == (
        "fixed",
        "ana",
        NOW,
        "units: 12",
    )
    assert read_facts(res).height == before + 1
    with res.db.read() as db:
        assert quarantine.count_waiting_rows(db) == 1
    with pytest.raises(Conflict, match="was fixed by ana already"):
        fix(res, first, units="13")


def test_a_row_that_is_still_wrong_waits_on_and_says_why(held):
    res, (first, second) = held
    with pytest.raises(UserError, match="is still wrong: units is -1, expected zero or more"):
        fix(res, first, units="-1")
    with pytest.raises(UserError, match="is still wrong: store is nowhere, expected a known store"):
        fix(res, second, units="4")
    with pytest.raises(UserError, match="sales have no column colour"):
        fix(res, first, colour="red")
    with res.db.read() as db:
        assert quarantine.count_waiting_rows(db) == 2


def test_dropped_rows_stay_on_record_with_the_reason(held):
    res, (first, _) = held
    with pytest.raises(UserError, match="Please say why"), res.db.write() as db:
        quarantine.drop_row(db, ANALYST, first, why=" ", now=NOW)
    with res.db.write() as db:
        row = quarantine.drop_row(db, OPERATOR, first, why="a test till", now=NOW)
        assert (row.status, row.why, row.values["units"]) == ("dropped", "a test till", "many")
        assert quarantine.drop_import_rows(db, ANALYST, row.import_id, why="the rest", now=NOW) == 1
        assert quarantine.count_waiting_rows(db) == 0


@pytest.mark.parametrize("who", [CHIBA, NOBODY])
def test_managers_and_others_see_and_do_nothing_here(held, who):
    res, (first, _) = held
    for act in (
        lambda db: quarantine.list_waiting_rows(db, who),
        lambda db: quarantine.drop_row(db, who, first, why="x", now=NOW),
        lambda db: quarantine.fix_row(db, res.warehouse, who, first, {"units": "1"}, NOW),
        lambda db: quarantine.drop_import_rows(db, who, 1, why="x", now=NOW),
        lambda db: list_imports(db, who),
    ):
        with pytest.raises(NotAllowed), res.db.write() as db:
            act(db)


def test_a_row_that_is_not_there_is_not_found(held):
    res, _ = held
    with pytest.raises(NotFound, match="no quarantined row 999"):
        fix(res, 999, units="1")
