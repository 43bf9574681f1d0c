"""Rate limits on both engines: so many uses in a window, counted with what was done."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from tanuki.errors import TooMany
from tanuki.platform import rate_limit
from tanuki.platform.rate_limit import (
    RateLimit,
    RateLimitCounter,
    RateLimitExceeded,
    RateLimitState,
)

NOW = datetime(2021, 1, 11, 12, tzinfo=UTC)
LIKES = RateLimit("likes", max_uses=3, window_seconds=60)
POSTS = RateLimit("posts", max_uses=9, window_seconds=60)


def count_use(database, subject="hana", limit=LIKES, *, at=NOW):
    with database.write() as db:
        return rate_limit.count_use(db, subject, limit, at)


def test_uses_count_down_and_are_then_refused_until_the_window_ends(database):
    assert [count_use(database).remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(RateLimitExceeded, match="try again in 30 seconds") as refusal:
        count_use(database, at=NOW + timedelta(seconds=30))
    assert refusal.value.seconds == 30
    assert refusal.value.state == RateLimitState(LIKES, remaining=0, reset_seconds=30)
    assert count_use(database, at=NOW + timedelta(seconds=60)) == RateLimitState(LIKES, 2, 60)


def test_the_window_begins_with_the_first_use(database):
    assert count_use(database).reset_seconds == 60
    assert count_use(database, at=NOW + timedelta(seconds=59.5)).reset_seconds == 1


def test_subjects_and_limits_are_counted_apart(database):
    for _ in range(3):
        count_use(database)
    assert count_use(database, "ken").remaining == 2
    assert count_use(database, limit=RateLimit("posts", 3, 60)).remaining == 2


def test_refused_and_rolled_back_uses_do_not_count(database):
    for _ in range(3):
        count_use(database)
    for _ in range(5):
        with pytest.raises(TooMany):
            count_use(database)
    with database.write() as db:
        assert db.scalars(select(RateLimitCounter.uses)).one() == 3
    with pytest.raises(ZeroDivisionError), database.write() as db:
        rate_limit.count_use(db, "ken", LIKES, NOW)
        raise ZeroDivisionError
    assert count_use(database, "ken").remaining == 2


def test_concurrent_uses_get_exactly_what_the_limit_allows(database):
    def attempt(_):
        try:
            count_use(database, limit=RateLimit("likes", 10, 60))
        except TooMany:
            return 0
        return 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(40))) == 10


def test_a_session_knows_its_own_uses_also_in_a_group_commit(database):
    def write_of(subject):
        def write(db):
            rate_limit.count_use(db, subject, LIKES, NOW)
            rate_limit.count_use(db, subject, POSTS, NOW)
            return rate_limit.counted_limits(db)

        return write

    with ThreadPoolExecutor(8) as pool:
        for states in pool.map(database.write_batched, [write_of(f"w{n}") for n in range(8)]):
            assert [(state.limit.name, state.remaining) for state in states] == [
                ("likes", 2),
                ("posts", 8),
            ]


def test_no_name_is_stored_and_expired_counters_are_deleted(database):
    count_use(database), count_use(database, "ken", RateLimit("likes", 3, 600))
    with database.write() as db:
        assert not any("hana" in counter.key for counter in db.scalars(select(RateLimitCounter)))
        rate_limit.delete_expired_counters(db, NOW + timedelta(seconds=60))
        assert db.scalar(select(func.count()).select_from(RateLimitCounter)) == 1
