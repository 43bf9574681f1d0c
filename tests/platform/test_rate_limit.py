"""Limits on both engines: so many times in a while, counted with what was done, announced."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from tanuki.errors import TooMany
from tanuki.platform import rate_limit
from tanuki.platform.rate_limit import Left, RateLimit

NOW = datetime(2021, 1, 11, 12, tzinfo=UTC)


def use(database, who="hana", what="likes", *, at=NOW, most=3, seconds=60):
    with database.write() as db:
        return rate_limit.use(db, who, what, now=at, most=most, seconds=seconds)


def test_it_counts_down_and_then_refuses_until_the_while_is_over(database):
    assert [use(database).left for _ in range(3)] == [2, 1, 0]
    with pytest.raises(TooMany, match="try again in 30 seconds") as refused:
        use(database, at=NOW + timedelta(seconds=30))
    assert refused.value.seconds == 30
    assert rate_limit.reached(refused.value) == Left("likes", 3, 60, 0, 30)
    assert rate_limit.reached(TooMany("Wait %(seconds)s seconds.", seconds=1)) is None
    assert use(database, at=NOW + timedelta(seconds=60)) == Left("likes", 3, 60, 2, 60)


def test_the_while_begins_with_the_first_time(database):
    assert use(database).seconds == 60
    assert use(database, at=NOW + timedelta(seconds=59.5)).seconds == 1


def test_one_is_not_counted_for_another_nor_one_thing_for_another(database):
    for _ in range(3):
        use(database)
    assert use(database, who="ken").left == use(database, what="posts").left == 2


def test_what_is_refused_or_rolled_back_does_not_make_the_wait_longer(database):
    for _ in range(3):
        use(database)
    for _ in range(5):
        with pytest.raises(TooMany):
            use(database)
    with database.write() as db:
        assert db.scalars(select(RateLimit.used)).one() == 3
    with pytest.raises(ZeroDivisionError), database.write() as db:
        rate_limit.use(db, "ken", "likes", now=NOW, most=3, seconds=60)
        raise ZeroDivisionError
    assert use(database, who="ken").left == 2


def test_many_at_once_get_exactly_what_there_is(database):
    def attempt(_):
        try:
            use(database, most=10)
        except TooMany:
            return 0
        return 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(40))) == 10


def test_a_session_knows_what_it_has_used_and_those_who_write_together_only_their_own(database):
    def write(who):
        def do(db):
            rate_limit.use(db, who, "likes", now=NOW, most=3, seconds=60)
            rate_limit.use(db, who, "posts", now=NOW, most=9, seconds=60)
            return rate_limit.spent(db)

        return do

    with ThreadPoolExecutor(8) as pool:
        for spent in pool.map(database.write_batched, [write(f"w{n}") for n in range(8)]):
            assert [(each.what, each.left) for each in spent] == [("likes", 2), ("posts", 8)]


def test_no_name_is_kept_and_what_is_over_is_forgotten(database):
    use(database), use(database, who="ken", seconds=600)
    with database.write() as db:
        assert not any("hana" in each.key for each in db.scalars(select(RateLimit)))
        rate_limit.forget(db, NOW + timedelta(seconds=60))
        assert db.scalar(select(func.count()).select_from(RateLimit)) == 1
