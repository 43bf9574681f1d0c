"""Sign-up and account deletion: valid names, and what remains of a deleted account."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from tanuki.errors import Conflict, NotAllowed, NotFound, TooMany, UserError
from tanuki.platform import accounts, login_throttle, sessions, tokens
from tanuki.platform.accounts import (
    Account,
    AccountGrant,
    AccountSession,
    AccountToken,
    DeletedAccountName,
    Person,
)
from tanuki.platform.login_throttle import LoginAttempts

NOW = datetime(2021, 1, 4, 1, tzinfo=UTC)
PASSWORD = "correct horse"
XSS = "<script>alert(1)</script>\"'"


@pytest.fixture
def db(database):
    with database.write() as session:
        yield session


@pytest.fixture
def quick(sqlite):
    with sqlite.write() as session:
        yield session


def sign_up(db, name="hana", password=PASSWORD, *, display="", address="192.0.2.1", now=NOW):
    return sessions.sign_up(
        db, sessions.Credentials(name, password, address), now, display_name=display
    )


def sign_in(db, name="hana", password=PASSWORD, *, address="192.0.2.1"):
    return sessions.sign_in(db, sessions.Credentials(name, password, address), NOW)


# ---- signing up


def test_who_signs_up_is_a_member_and_signed_in(db):
    token = sign_up(db, " Ｈana ", display="  花子\n🐕‍🦺 ")
    assert sessions.find_session_person(db, token, NOW) == Person(
        "hana", "花子 🐕‍🦺", frozenset({("member", None)})
    )
    assert sign_in(db) is not None
    assert db.get(Account, "hana").created_by == "hana"


@pytest.mark.parametrize(
    "name",
    [
        "admin",
        "Ad-Min",
        "admin42",
        "moderator.",
        "tanuki_1",
        "t.a.n.u.k.i",
        "me",
        "deleted",
        "null",
    ],
)
def test_a_name_that_others_would_take_for_somebody_official_is_not_for_who_signs_up(quick, name):
    with pytest.raises(UserError, match="official"):
        sign_up(quick, name)
    assert quick.scalars(select(Account)).all() == []


@pytest.mark.parametrize("name", ["madmin", "mei", "tanukichi", "admiral"])
def test_a_name_that_only_looks_a_little_like_it_is_fine(quick, name):
    assert sign_up(quick, name)


@pytest.mark.parametrize(
    "name", ["", "x", "has space", "<b>x</b>", "花子", "../etc", "a" * 41, "-hana"]
)
def test_a_name_that_is_not_plain_is_refused(quick, name):
    with pytest.raises(UserError, match="cannot be a user's name"):
        sign_up(quick, name)


@pytest.mark.parametrize(
    "display", ["x" * 41, "a\u202eb", "a\u0000b", "\u200b", "\u3164", "\u2800\u2800", "\ud800"]
)
def test_an_invisible_or_too_long_display_name_is_refused(quick, display):
    with pytest.raises(UserError, match="display name"):
        sign_up(quick, display=display)
    assert quick.scalars(select(Account)).all() == []


@pytest.mark.parametrize(
    ("display", "shown"),
    [("", "hana"), (" \t", "hana"), (XSS, XSS), ("か\u3099", "が"), ("👩‍👧 🐈‍⬛", "👩‍👧 🐈‍⬛")],
)
def test_a_shown_name_is_any_text_that_can_be_seen(quick, display, shown):
    sign_up(quick, display=display)
    assert accounts.find_person(quick, "hana").display_name == shown


def test_a_weak_password_is_refused_before_anything_is_kept(quick):
    with pytest.raises(UserError, match="at least 10"):
        sign_up(quick, password="short")
    assert quick.scalars(select(Account)).all() == []


def test_a_name_is_given_once_however_it_is_typed(db):
    sign_up(db)
    with pytest.raises(Conflict, match="already a user hana"):
        sign_up(db, "HANA")


def test_of_two_who_take_a_name_at_the_same_moment_one_gets_it(database):
    def try_it(n):
        try:
            with database.write() as db:
                sign_up(db, password=f"{PASSWORD} {n}")
        except Conflict:
            return None
        return n

    with ThreadPoolExecutor(4) as pool:
        [winner] = [n for n in pool.map(try_it, range(4)) if n is not None]
    with database.write() as db:
        assert sign_in(db, password=f"{PASSWORD} {winner}") is not None


def test_one_address_asks_for_ten_names_an_hour_taken_or_not(db):
    sign_up(db)
    for _ in range(9):
        with pytest.raises(Conflict):
            sign_up(db)
    with pytest.raises(TooMany):
        sign_up(db, "ken")
    sign_up(db, "ken", address="198.51.100.7")
    sign_up(db, "mei", now=NOW + timedelta(hours=1))


def test_what_asks_for_no_name_does_not_count(quick):
    for _ in range(sessions.SIGN_UPS_PER_ADDRESS.max_uses):
        with pytest.raises(UserError):
            sign_up(quick, password="short")
    sign_up(quick)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("a-socket", "a-socket", True),
    ],
)
def test_a_home_is_one_place_however_many_addresses_it_has(one, other, same):
    assert (login_throttle.network_of(one) == login_throttle.network_of(other)) == same


def test_failures_from_many_addresses_of_one_home_have_to_wait_too(quick):
    for n in range(20):
        assert sign_in(quick, f"guess{n}", "wrong password", address=f"2001:db8::{n:x}") is None
    with pytest.raises(TooMany):
        sign_in(quick, address="2001:db8::ffff")


# ---- leaving


def leave(db, name="hana", password=PASSWORD):
    accounts.delete_own_account(db, accounts.find_person(db, name), password, now=NOW)


def test_who_left_is_nowhere_any_more(db):
    session, token = (
        sign_up(db, display="Hanako S."),
        tokens.create_token(db, "hana", tokens.NewToken("report"), NOW),
    )
    sign_in(db, password="wrong password", address="198.51.100.7")
    leave(db)
    assert accounts.find_person(db, "hana") is None
    assert sessions.find_session_person(db, session, NOW) is None
    assert tokens.find_token_person(db, token, NOW) is None
    assert sign_in(db) is None
    for table in (
        Account,
        AccountGrant,
        AccountSession,
        AccountToken,
        LoginAttempts,
        DeletedAccountName,
    ):
        content = str(db.execute(select(*table.__table__.columns)).all())
        assert not any(trace in content for trace in ("hana", "Hanako", "report")), table


def test_the_name_of_who_left_is_not_given_again_and_looks_like_one_that_is_taken(db):
    sign_up(db)
    sign_up(db, "ken", address="198.51.100.7")
    leave(db)
    for make in (
        lambda name: sign_up(db, name),
        lambda name: accounts.add_user(db, accounts.NewUser(name, [("analyst", None)]), NOW),
    ):
        said = {}
        for name in ("hana", "ken"):
            with pytest.raises(Conflict) as refused:
                make(name)
            said[name] = (refused.value.message, str(refused.value).replace(name, "…"))
        assert said["hana"] == said["ken"]
    sign_up(db, "hanae")


def test_what_is_kept_of_a_name_is_not_found_by_hashing_names(quick):
    sign_up(quick)
    leave(quick)
    [gone] = quick.scalars(select(DeletedAccountName))
    assert gone.at == NOW and gone.digest != accounts.digest_token("hana")
    assert (
        quick.scalars(
            select(LoginAttempts.key).where(
                LoginAttempts.key == f"name:{accounts.digest_token('hana')}"
            )
        ).all()
        == []
    )


def test_leaving_needs_the_password(db):
    sign_up(db)
    for wrong in ("", "wrong password"):
        with pytest.raises(UserError, match="password is not right"):
            leave(db, password=wrong)
    program = tokens.find_token_person(
        db, tokens.create_token(db, "hana", tokens.NewToken("bot", scopes=("write",)), NOW), NOW
    )
    with pytest.raises(NotAllowed, match="without the password"):
        accounts.delete_own_account(db, program, None, now=NOW)
    assert accounts.find_person(db, "hana") is not None
    accounts.delete_own_account(db, program, PASSWORD, now=NOW)
    with pytest.raises(NotFound):
        accounts.delete_own_account(db, program, PASSWORD, now=NOW)


def test_the_last_administrator_stays(db):
    for name in ("hana", "ken", "mei"):
        accounts.add_user(
            db, accounts.NewUser(name, [("admin", None), ("member", None)], password=PASSWORD), NOW
        )
    accounts.disable_account(db, "mei", now=NOW)
    leave(db, "hana")
    with pytest.raises(Conflict, match="last administrator"):
        leave(db, "ken")
    accounts.enable_account(db, "mei")
    leave(db, "ken")


def test_of_two_administrators_who_leave_at_the_same_moment_one_stays(database):
    with database.write() as db:
        for name in ("hana", "ken"):
            accounts.add_user(db, accounts.NewUser(name, [("admin", None)], password=PASSWORD), NOW)

    def try_it(name):
        try:
            with database.write() as db:
                leave(db, name)
        except Conflict:
            return name
        return None

    with ThreadPoolExecutor(2) as pool:
        [stays] = filter(None, pool.map(try_it, ["hana", "ken"]))
    with database.read() as db:
        assert db.scalars(select(Account.name)).all() == [stays]
