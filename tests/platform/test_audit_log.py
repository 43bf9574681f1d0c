"""The trail on both engines: one chain whoever adds, and whatever is changed, taken out or swapped is found."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, insert, update

from tanuki.platform import audit_log
from tanuki.platform.audit_log import TrailEntry, TrailHead

NOW = datetime(2021, 1, 11, 12, tzinfo=UTC)


def add(db, number):
    values = {"reason": "spam", "note": "もう一度", "score": 0.1 + 0.2, "list": (1, None)}
    return audit_log.add(
        db,
        by="hana",
        what="remove",
        about=f"post:{number}",
        values=values,
        now=NOW + timedelta(microseconds=number),
    )


@pytest.fixture
def filled(database):
    """Five entries, in two transactions."""
    for numbers in ((1, 2), (3, 4, 5)):
        with database.write() as db:
            for number in numbers:
                add(db, number)
    return database


def check(database):
    with database.read() as db:
        return audit_log.check(db)


def test_what_was_written_holds(filled):
    assert check(filled) is None


def test_an_empty_trail_holds(database):
    assert check(database) is None


def test_entries_come_newest_first_in_pages_and_about_one_thing(filled):
    with filled.read() as db:
        assert [entry.id for entry in audit_log.entries(db, limit=2)] == [5, 4]
        assert [entry.id for entry in audit_log.entries(db, before=4)] == [3, 2, 1]
        [only] = audit_log.entries(db, about="post:3")
        assert (only.by, only.what, only.values["note"], only.at) == (
            "hana",
            "remove",
            "もう一度",
            NOW + timedelta(microseconds=3),
        )


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOW + timedelta(days=1)},
        {"by": "ken"},
        {"what": "keep"},
        {"about": "post:9"},
        {"values": {"reason": "other"}},
        {"previous": "0" * 64},
        {"digest": "0" * 64},
    ],
    ids=str,
)
def test_a_changed_entry_is_found(filled, change):
    with filled.write() as db:
        db.execute(update(TrailEntry).where(TrailEntry.id == 3).values(change))
    assert check(filled) == 3


def test_an_entry_changed_with_its_digest_breaks_the_next(filled):
    with filled.write() as db:
        entry = db.get(TrailEntry, 3)
        entry.by = "ken"
        entry.digest = audit_log.digest(entry)
    assert check(filled) == 4


@pytest.mark.parametrize("gone", [1, 3, 5])
def test_a_deleted_entry_is_found_also_the_last(filled, gone):
    with filled.write() as db:
        db.execute(delete(TrailEntry).where(TrailEntry.id == gone))
    assert check(filled) == gone


def test_all_deleted_is_found(filled):
    with filled.write() as db:
        db.execute(delete(TrailEntry))
    assert check(filled) == 1


def test_swapped_entries_are_found(filled):
    with filled.write() as db:
        for old, new in [(2, 99), (3, 2), (99, 3)]:
            db.execute(update(TrailEntry).where(TrailEntry.id == old).values(id=new))
    assert check(filled) == 2


def test_an_entry_put_in_from_outside_is_found(filled):
    with filled.write() as db:
        values = {
            "at": NOW,
            "by": "ken",
            "what": "keep",
            "about": "x",
            "values": {},
            "previous": "",
            "digest": "",
        }
        db.execute(insert(TrailEntry).values(id=6, **values))
    assert check(filled) == 6


def test_a_changed_head_is_found(filled):
    with filled.write() as db:
        db.execute(update(TrailHead).values(digest="0"))
    assert check(filled) == 6


def test_many_who_add_at_once_make_one_chain_whether_alone_or_together(database):
    def alone(number):
        with database.write() as db:
            add(db, number)

    def together(number):
        database.write_batched(lambda db: add(db, number))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: (alone if number % 2 else together)(number), range(60)))
    assert check(database) is None
    with database.read() as db:
        assert sorted(
            int(entry.about.split(":")[1]) for entry in audit_log.entries(db, limit=100)
        ) == list(range(60))


def test_what_is_rolled_back_was_never_on_record(filled):
    with pytest.raises(ZeroDivisionError), filled.write() as db:
        add(db, 6)
        raise ZeroDivisionError
    assert check(filled) is None
    with filled.write() as db:
        assert add(db, 7).id == 6
    assert check(filled) is None
