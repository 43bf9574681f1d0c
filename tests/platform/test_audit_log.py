"""The audit log on both engines: one hash chain; changed, missing and swapped entries are found."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, insert, update

from tanuki.platform import audit_log
from tanuki.platform.audit_log import AuditLogEntry, AuditLogHead

NOW = datetime(2021, 1, 11, 12, tzinfo=UTC)


def append(db, number):
    details = {"reason": "spam", "note": "もう一度", "score": 0.1 + 0.2, "list": (1, None)}
    return audit_log.append_entry(
        db,
        audit_log.AuditedAction(
            actor="hana", action="remove", target=f"post:{number}", details=details
        ),
        NOW + timedelta(microseconds=number),
    )


@pytest.fixture
def filled(database):
    """Five entries, in two transactions."""
    for numbers in ((1, 2), (3, 4, 5)):
        with database.write() as db:
            for number in numbers:
                append(db, number)
    return database


def find_broken_entry(database):
    with database.read() as db:
        return audit_log.find_broken_entry(db)


def test_what_was_written_holds(filled):
    assert find_broken_entry(filled) is None


def test_an_empty_log_is_whole(database):
    assert find_broken_entry(database) is None


def test_entries_come_newest_first_in_pages_and_about_one_thing(filled):
    with filled.read() as db:
        assert [entry.id for entry in audit_log.load_entries(db, limit=2)] == [5, 4]
        assert [entry.id for entry in audit_log.load_entries(db, before=4)] == [3, 2, 1]
        [only] = audit_log.load_entries(db, target="post:3")
        assert (only.actor, only.action, only.details["note"], only.at) == (
            "hana",
            "remove",
            "もう一度",
            NOW + timedelta(microseconds=3),
        )


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOW + timedelta(days=1)},
        {"actor": "ken"},
        {"action": "keep"},
        {"target": "post:9"},
        {"details": {"reason": "other"}},
        {"previous_digest": "0" * 64},
        {"digest": "0" * 64},
    ],
    ids=str,
)
def test_a_changed_entry_is_found(filled, change):
    with filled.write() as db:
        db.execute(update(AuditLogEntry).where(AuditLogEntry.id == 3).values(change))
    assert find_broken_entry(filled) == 3


def test_an_entry_changed_with_its_digest_breaks_the_next(filled):
    with filled.write() as db:
        entry = db.get(AuditLogEntry, 3)
        entry.actor = "ken"
        entry.digest = audit_log.compute_digest(entry)
    assert find_broken_entry(filled) == 4


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_deleted_entry_is_found_also_the_last(filled, missing):
    with filled.write() as db:
        db.execute(delete(AuditLogEntry).where(AuditLogEntry.id == missing))
    assert find_broken_entry(filled) == missing


def test_all_deleted_is_found(filled):
    with filled.write() as db:
        db.execute(delete(AuditLogEntry))
    assert find_broken_entry(filled) == 1


def test_swapped_entries_are_found(filled):
    with filled.write() as db:
        for old, new in [(2, 99), (3, 2), (99, 3)]:
            db.execute(update(AuditLogEntry).where(AuditLogEntry.id == old).values(id=new))
    assert find_broken_entry(filled) == 2


def test_an_entry_put_in_from_outside_is_found(filled):
    with filled.write() as db:
        values = {
            "at": NOW,
            "actor": "ken",
            "action": "keep",
            "target": "x",
            "details": {},
            "previous_digest": "",
            "digest": "",
        }
        db.execute(insert(AuditLogEntry).values(id=6, **values))
    assert find_broken_entry(filled) == 6


def test_a_changed_head_is_found(filled):
    with filled.write() as db:
        db.execute(update(AuditLogHead).values(digest="0"))
    assert find_broken_entry(filled) == 6


def test_many_who_add_at_once_make_one_chain_alone_or_in_batches(database):
    def alone(number):
        with database.write() as db:
            append(db, number)

    def batched(number):
        database.write_batched(lambda db: append(db, number))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: (alone if number % 2 else batched)(number), range(60)))
    assert find_broken_entry(database) is None
    with database.read() as db:
        assert sorted(
            int(entry.target.split(":")[1]) for entry in audit_log.load_entries(db, limit=100)
        ) == list(range(60))


def test_what_is_rolled_back_was_never_on_record(filled):
    with pytest.raises(ZeroDivisionError), filled.write() as db:
        append(db, 6)
        raise ZeroDivisionError
    assert find_broken_entry(filled) is None
    with filled.write() as db:
        assert append(db, 7).id == 6
    assert find_broken_entry(filled) is None
