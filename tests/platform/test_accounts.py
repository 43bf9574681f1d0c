"""Accounts: passwords, roles, sessions, tokens, and the login throttle."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select, text

from tanuki.errors import Conflict, NotAllowed, NotFound, TooMany, UserError
from tanuki.platform import accounts, passwords, sessions, tokens
from tanuki.platform.accounts import (
    COMMAND_LINE,
    SYSTEM,
    Account,
    AccountGrant,
    AccountSession,
    AccountToken,
    Person,
)
from tanuki.platform.login_throttle import LoginAttempts

NOW = datetime(2021, 1, 4, 1, tzinfo=UTC)
PASSWORD = "correct horse"


@pytest.fixture
def db(database):
    with database.write() as session:
        accounts.add_user(
            session,
            accounts.NewUser("hana", [("analyst", None)], display_name="Hana", password=PASSWORD),
            NOW,
        )
        yield session


@pytest.fixture
def quick(sqlite):
    with sqlite.write() as session:
        accounts.add_user(
            session,
            accounts.NewUser("hana", [("analyst", None)], display_name="Hana", password=PASSWORD),
            NOW,
        )
        yield session


def sign_in(db, name="hana", password=PASSWORD, *, address="192.0.2.1", now=NOW):
    return sessions.sign_in(db, sessions.Credentials(name, password, address), now)


def test_a_person_signs_in_and_is_known_by_the_token_until_it_ends(db):
    token = sign_in(db)
    assert sessions.find_session_person(db, token, NOW) == Person(
        "hana", "Hana", frozenset({("analyst", None)})
    )
    assert sessions.find_session_person(db, token, NOW + timedelta(days=13, hours=23)) is not None
    assert sessions.find_session_person(db, token, NOW + timedelta(days=14)) is None
    assert sessions.find_session_person(db, "another", NOW) is None


def test_a_name_may_be_typed_in_capitals_or_full_width(db):
    assert sign_in(db, " Ｈana ") is not None


def test_a_wrong_password_and_an_unknown_name_give_nothing(db):
    assert sign_in(db, password="wrong password") is None
    assert sign_in(db, "nobody") is None


def test_an_unknown_name_takes_as_long_as_a_wrong_password(quick):
    def seconds(name):
        started = time.process_time()
        for n in range(4):
            sign_in(quick, name, "wrong password", address=f"192.0.2.{n}")
        return time.process_time() - started

    seconds("warm-up")
    known, unknown = seconds("hana"), seconds("nobody")
    assert 0.4 < known / unknown < 2.5


def test_neither_password_nor_tokens_nor_addresses_are_in_the_database(db):
    token = sign_in(db)
    api = tokens.create_token(db, "hana", tokens.NewToken("report"), NOW)
    sign_in(db, password="wrong password")
    db.flush()
    for table in (Account, AccountGrant, AccountSession, AccountToken, LoginAttempts):
        content = str(db.execute(select(*table.__table__.columns)).all())
        assert not any(secret in content for secret in (PASSWORD, token, api, "192.0.2.1"))


def test_a_password_is_renewed_when_the_hash_has_old_parameters(db, real_hasher, monkeypatch):
    monkeypatch.setattr(passwords, "password_hasher", lambda: real_hasher)
    account = accounts.load_account(db, "hana")
    account.password_hash = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(
        PASSWORD
    )
    assert sign_in(db) is not None
    assert "m=65536" in account.password_hash
    assert sign_in(db) is not None


@pytest.mark.parametrize(
    "password",
    [
        *(
            "short",
            "x" * 1001,
            "1234512345",
            "1234567890",
            "Password123!",
            "1q2w3e4r5t",
            "Ｑｗｅｒｔｙｕｉｏｐ",
            "abababababab",
        ),
        *("hanako.sato", "HANAKO-SATO-1999", "  hanako.sato  "),
    ],
)
def test_a_password_that_is_short_endless_easily_guessed_or_the_name_is_refused(quick, password):
    with pytest.raises(UserError, match="password"):
        accounts.add_user(
            quick, accounts.NewUser("hanako.sato", [("admin", None)], password=password), NOW
        )


def test_words_that_do_not_belong_together_make_a_password_in_any_language(quick):
    for name, password in [
        ("ken", "correct horse battery"),
        ("mei", "柴犬と電車とりんごとギター"),
        ("rio", "hana likes rain"),
    ]:
        accounts.add_user(quick, accounts.NewUser(name, [("member", None)], password=password), NOW)
        assert sign_in(quick, name, password) is not None


def test_a_generated_password_works(quick):
    password = accounts.add_user(quick, accounts.NewUser("ken", [("operator", None)]), NOW)
    assert len(password) >= 16
    assert sign_in(quick, "ken", password) is not None


@pytest.mark.parametrize(
    "name", ["", "a", "tanuki", "command line", "has space", "<b>x</b>", "x" * 41, "花子"]
)
def test_a_name_that_is_reserved_or_not_plain_is_refused(quick, name):
    with pytest.raises(UserError, match="cannot be a user's name"):
        accounts.add_user(quick, accounts.NewUser(name, [("admin", None)]), NOW)


def test_a_name_is_taken_once(db):
    with pytest.raises(Conflict):
        accounts.add_user(db, accounts.NewUser("HANA", [("admin", None)]), NOW)


@pytest.mark.parametrize(
    "grants", [[], [("king", None)], [("manager", None)], [("analyst", "chiba")]]
)
def test_grants_that_make_no_sense_are_refused(quick, grants):
    with pytest.raises(UserError):
        accounts.add_user(quick, accounts.NewUser("ken", grants), NOW)


def test_a_manager_has_their_stores_and_only_those(db):
    accounts.add_user(
        db,
        accounts.NewUser(
            "ken",
            [("manager", "chiba"), ("manager", "ueno"), ("manager", "chiba")],
            password=PASSWORD,
        ),
        NOW,
    )
    ken = sessions.find_session_person(db, sign_in(db, "ken"), NOW)
    assert ken.role_scopes("manager") == {"chiba", "ueno"}
    assert ken.has_role("analyst", "manager") and not ken.has_role("analyst")


def test_roles_are_given_and_taken_and_the_last_one_stays(db):
    accounts.grant_role(db, "Hana", accounts.Grant("moderator"), NOW, actor="ken")
    accounts.grant_role(
        db, "hana", accounts.Grant("moderator"), NOW + timedelta(days=1), actor="rio"
    )
    accounts.grant_role(db, "hana", accounts.Grant("manager", "chiba"), NOW)
    assert accounts.load_grants(db, "hana") == {
        ("analyst", None),
        ("moderator", None),
        ("manager", "chiba"),
    }
    assert db.get(AccountGrant, ("hana", "moderator", "")).granted_by == "ken"
    for role, store in [("analyst", None), ("manager", "chiba")]:
        accounts.revoke_role(db, "hana", accounts.Grant(role, store))
    with pytest.raises(UserError, match="at least one role"):
        accounts.revoke_role(db, "hana", accounts.Grant("moderator"))
    with pytest.raises(NotFound):
        accounts.revoke_role(db, "hana", accounts.Grant("manager", "chiba"))
    with pytest.raises(UserError, match="not a role"):
        accounts.grant_role(db, "hana", accounts.Grant("king"), NOW)
    assert accounts.find_person(db, "hana").grants == {("moderator", None)}


def test_an_admin_has_every_role_and_others_only_theirs():
    assert COMMAND_LINE.has_role("analyst") and SYSTEM.has_role("operator")
    accounts.require_role(COMMAND_LINE, "analyst")
    with pytest.raises(NotAllowed, match="analyst / operator"):
        accounts.require_role(
            Person("ken", "Ken", frozenset({("manager", "chiba")})), "analyst", "operator"
        )


def test_disabling_ends_sessions_and_tokens_and_enabling_opens_again(db):
    token, api = sign_in(db), tokens.create_token(db, "hana", tokens.NewToken("report"), NOW)
    accounts.disable_account(db, "hana", now=NOW, actor="ken")
    assert sessions.find_session_person(db, token, NOW) is None
    assert tokens.find_token_person(db, api, NOW) is None
    assert sign_in(db) is None
    assert (
        accounts.load_account(db, "hana").disabled_at,
        accounts.load_account(db, "hana").disabled_by,
    ) == (
        NOW,
        "ken",
    )
    accounts.enable_account(db, "hana")
    assert sign_in(db) is not None


def test_changing_the_password_needs_the_old_one_and_ends_the_other_sessions(db):
    here, there = sign_in(db), sign_in(db)
    hana = sessions.find_session_person(db, here, NOW)
    with pytest.raises(UserError, match="old password"):
        accounts.change_password(db, hana, "wrong password", "a new password", now=NOW, keep=here)
    accounts.change_password(db, hana, PASSWORD, "a new password", now=NOW, keep=here)
    assert sessions.find_session_person(db, here, NOW) == hana
    assert sessions.find_session_person(db, there, NOW) is None
    assert sign_in(db) is None
    assert sign_in(db, password="a new password") is not None


def test_a_new_password_from_an_administrator_ends_every_session_and_every_wait(db):
    token = sign_in(db)
    for _ in range(5):
        sign_in(db, password="wrong password")
    password = accounts.set_password(db, "hana", now=NOW)
    assert sessions.find_session_person(db, token, NOW) is None
    assert sign_in(db, password=password) is not None


def test_signing_out_ends_this_session_and_everywhere_ends_all(db):
    one, two, three = sign_in(db), sign_in(db), sign_in(db)
    sessions.sign_out(db, one)
    assert [
        sessions.find_session_person(db, token, NOW) is None for token in (one, two, three)
    ] == [
        True,
        False,
        False,
    ]
    accounts.delete_sessions(db, "hana")
    assert db.scalar(select(func.count()).select_from(AccountSession)) == 0


def test_repeated_failures_of_a_name_wait_longer_and_longer(db):
    for n in range(5):
        assert sign_in(db, password="wrong password", address=f"192.0.2.{n}") is None
    with pytest.raises(TooMany, match="try again in 16 seconds"):
        sign_in(db)
    later = NOW + timedelta(seconds=15)
    assert sign_in(db, password="wrong password", now=later) is None
    with pytest.raises(TooMany):
        sign_in(db, now=later + timedelta(seconds=29))
    assert sign_in(db, now=later + timedelta(seconds=30)) is not None


def test_the_wait_is_never_longer_than_a_quarter_of_an_hour(quick):
    quick.add(
        LoginAttempts(
            key=f"name:{accounts.digest_token('hana')}", failures=1000, last_failed_at=NOW
        )
    )
    with pytest.raises(TooMany):
        sign_in(quick, now=NOW + timedelta(minutes=14))
    assert sign_in(quick, now=NOW + timedelta(minutes=15)) is not None


def test_an_address_that_tries_many_names_has_to_wait_and_others_need_not(quick):
    for n in range(20):
        assert sign_in(quick, f"guess{n}", "wrong password") is None
    with pytest.raises(TooMany):
        sign_in(quick)
    assert sign_in(quick, address="198.51.100.7") is not None


def test_waiting_does_not_tell_whether_the_name_exists(quick):
    for name in ("hana", "nobody"):
        for n in range(5):
            sign_in(quick, name, "wrong password", address=f"192.0.2.{n}")
        with pytest.raises(TooMany):
            sign_in(quick, name, address="198.51.100.7")


def test_old_tries_and_ended_sessions_are_cleared_away(db):
    sign_in(db)
    sign_in(db, "nobody", "wrong password")
    later = NOW + timedelta(days=20)
    sign_in(db, now=later)
    assert db.scalars(select(AccountSession.created_at)).all() == [later]
    assert db.scalars(select(LoginAttempts)).all() == []


def test_a_person_without_account_row_is_nobody(db):
    db.execute(text("delete from account_grant"))
    assert accounts.find_person(db, "hana").grants == frozenset()
    assert accounts.find_person(db, "nobody") is None
