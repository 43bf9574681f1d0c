"""API tokens: whose they are, what they are for, when they end."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform import accounts, sessions, tokens
from tanuki.platform.accounts import AccountToken, require_role

NOW = datetime(2021, 1, 4, 1, tzinfo=UTC)
PASSWORD = "correct horse"


@pytest.fixture
def db(database):
    with database.write() as session:
        people(session)
        yield session


@pytest.fixture
def quick(sqlite):
    with sqlite.write() as session:
        people(session)
        yield session


def people(db):
    for name, role in [("hana", "member"), ("ken", "admin"), ("mei", "moderator")]:
        accounts.add_user(db, accounts.NewUser(name, [(role, None)], password=PASSWORD), NOW)


def bearer(db, name, *scopes):
    return tokens.find_token_person(
        db, tokens.create_token(db, name, tokens.NewToken("test", scopes=scopes), NOW), NOW
    )


def test_an_api_token_is_its_owner_until_it_ends_or_is_revoked(db):
    token = tokens.create_token(db, "hana", tokens.NewToken("report", days=30), NOW)
    hana = tokens.find_token_person(db, token, NOW)
    assert hana.name == "hana"
    assert tokens.find_token_person(db, token, NOW + timedelta(days=30)) is None
    assert sessions.find_session_person(db, token, NOW) is None
    [kept] = tokens.load_tokens(db, hana)
    tokens.revoke_token(db, hana, kept.digest)
    assert tokens.find_token_person(db, token, NOW) is None


def test_a_token_reads_and_does_more_only_when_it_was_made_for_it(db):
    assert bearer(db, "hana").token_scopes == {"read"}
    assert bearer(db, "hana", "write").token_scopes == {"read", "write"}
    assert bearer(db, "mei", "moderate", "write", "write").token_scopes == {
        "read",
        "write",
        "moderate",
    }
    assert [token.scopes for token in tokens.load_tokens(db, accounts.find_person(db, "mei"))] == [
        "read write moderate"
    ]
    assert accounts.find_person(db, "hana").token_scopes is None


def test_a_token_from_before_there_were_scopes_reads_and_writes(db):
    insert = (
        "insert into account_token (digest, name, label, created_at)"
        " values (:digest, 'hana', 'old', '2021-01-01 00:00:00+00:00')"
    )
    db.execute(
        text(insert.replace("+00:00", "") if db.bind.dialect.name == "sqlite" else insert),
        {"digest": accounts.digest_token("old")},
    )
    assert tokens.find_token_person(db, "old", NOW).token_scopes == {"read", "write"}


@pytest.mark.parametrize("name", ["mei", "ken"])
def test_who_moderates_does_so_with_a_token_only_when_it_is_for_that(quick, name):
    require_role(accounts.find_person(quick, name), "moderator")
    require_role(bearer(quick, name, "moderate"), "moderator")
    without = bearer(quick, name, "write")
    assert not without.has_role("moderator")
    with pytest.raises(NotAllowed, match="may not moderate"):
        require_role(without, "moderator")
    assert without.has_role("moderator", "admin") == (
        name == "ken"
    )  # what an admin does is not moderating


def test_who_does_not_moderate_gets_no_token_that_does(quick):
    with pytest.raises(NotAllowed, match="Only a moderator's"):
        tokens.create_token(quick, "hana", tokens.NewToken("bot", scopes=("moderate",)), NOW)
    with pytest.raises(NotAllowed, match="role moderator"):
        require_role(bearer(quick, "hana", "write"), "moderator")
    token = tokens.create_token(quick, "mei", tokens.NewToken("bot", scopes=("moderate",)), NOW)
    accounts.grant_role(quick, "mei", accounts.Grant("member"), NOW)
    accounts.revoke_role(quick, "mei", accounts.Grant("moderator"))
    assert not tokens.find_token_person(quick, token, NOW).has_role("moderator")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"scopes": ("admin",)}, "admin is not a scope of a token"),
        ({"label": " "}, "1 to 60 characters"),
        ({"label": "x" * 61}, "1 to 60 characters"),
        ({"days": 0}, "1 to 3650 days, not 0"),
        ({"days": 3651}, "1 to 3650 days"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(quick, wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        new = tokens.NewToken(**{"label": "report", **wrong})
        tokens.create_token(quick, "hana", new, NOW)
    assert quick.scalars(select(AccountToken)).all() == []


def test_nobody_has_more_tokens_than_the_page_shows(quick):
    for n in range(tokens.MAX_TOKENS_PER_ACCOUNT):
        tokens.create_token(quick, "hana", tokens.NewToken(f"report {n}"), NOW)
    with pytest.raises(Conflict, match="revoke one"):
        tokens.create_token(quick, "hana", tokens.NewToken("one more"), NOW)
    assert (
        len(tokens.load_tokens(quick, accounts.find_person(quick, "hana")))
        == tokens.MAX_TOKENS_PER_ACCOUNT
    )


def test_a_disabled_persons_token_is_nobodys_and_they_get_none(quick):
    token = tokens.create_token(quick, "hana", tokens.NewToken("report"), NOW)
    accounts.disable_account(quick, "hana", now=NOW)
    assert tokens.find_token_person(quick, token, NOW) is None
    with pytest.raises(Conflict, match="hana is disabled"):
        tokens.create_token(quick, "hana", tokens.NewToken("report"), NOW)


def test_nobody_revokes_anothers_token(db):
    token = tokens.create_token(db, "hana", tokens.NewToken("report"), NOW)
    with pytest.raises(NotFound):
        tokens.revoke_token(db, accounts.find_person(db, "ken"), accounts.digest_token(token))


def test_a_tokens_last_use_is_noted_every_ten_minutes(db):
    token = tokens.create_token(db, "hana", tokens.NewToken("report"), NOW)
    assert tokens.authenticate_token(db, token, NOW)[1]
    tokens.save_token_use(db, token, NOW)
    assert not tokens.authenticate_token(db, token, NOW + timedelta(minutes=9))[1]
    assert tokens.authenticate_token(db, token, NOW + timedelta(minutes=11))[1]
