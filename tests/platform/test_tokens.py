"""API tokens: whose they are, what they are for, when they end."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform import accounts, tokens
from tanuki.platform.accounts import AccountToken, require

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
        accounts.add_user(db, name, grants=[(role, None)], password=PASSWORD, now=NOW)


def bearer(db, name, *scopes):
    return tokens.person_of_token(
        db, tokens.add_token(db, name, "test", scopes=scopes, now=NOW), NOW
    )


def test_an_api_token_is_its_owner_until_it_ends_or_is_revoked(db):
    token = tokens.add_token(db, "hana", "report", now=NOW, days=30)
    hana = tokens.person_of_token(db, token, NOW)
    assert hana.name == "hana"
    assert tokens.person_of_token(db, token, NOW + timedelta(days=30)) is None
    assert accounts.person_of_session(db, token, NOW) is None
    [kept] = tokens.tokens_of(db, hana)
    tokens.revoke_token(db, hana, kept.digest)
    assert tokens.person_of_token(db, token, NOW) is None


def test_a_token_reads_and_does_more_only_when_it_was_made_for_it(db):
    assert bearer(db, "hana").allowed == {"read"}
    assert bearer(db, "hana", "write").allowed == {"read", "write"}
    assert bearer(db, "mei", "moderate", "write", "write").allowed == {"read", "write", "moderate"}
    assert [each.scopes for each in tokens.tokens_of(db, accounts.person(db, "mei"))] == [
        "read write moderate"
    ]
    assert accounts.person(db, "hana").allowed is None


def test_a_token_from_before_there_were_scopes_reads_and_writes(db):
    insert = "insert into account_token (digest, name, label, created_at) values (:digest, 'hana', 'old', '2021-01-01 00:00:00+00:00')"
    db.execute(
        text(insert.replace("+00:00", "") if db.bind.dialect.name == "sqlite" else insert),
        {"digest": accounts.digest("old")},
    )
    assert tokens.person_of_token(db, "old", NOW).allowed == {"read", "write"}


@pytest.mark.parametrize("name", ["mei", "ken"])
def test_who_moderates_does_so_with_a_token_only_when_it_is_for_that(quick, name):
    require(accounts.person(quick, name), "moderator")
    require(bearer(quick, name, "moderate"), "moderator")
    without = bearer(quick, name, "write")
    assert not without.has("moderator")
    with pytest.raises(NotAllowed, match="may not moderate"):
        require(without, "moderator")
    assert without.has("moderator", "admin") == (
        name == "ken"
    )  # what an admin does is not moderating


def test_who_does_not_moderate_gets_no_token_that_does(quick):
    with pytest.raises(NotAllowed, match="Only a moderator's"):
        tokens.add_token(quick, "hana", "bot", scopes=("moderate",), now=NOW)
    with pytest.raises(NotAllowed, match="role moderator"):
        require(bearer(quick, "hana", "write"), "moderator")
    token = tokens.add_token(quick, "mei", "bot", scopes=("moderate",), now=NOW)
    accounts.grant(quick, "mei", "member", now=NOW)
    accounts.withdraw(quick, "mei", "moderator")
    assert not tokens.person_of_token(quick, token, NOW).has("moderator")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"scopes": ("admin",)}, "admin is not what a token can be for"),
        ({"label": " "}, "1 to 60 characters"),
        ({"label": "x" * 61}, "1 to 60 characters"),
        ({"days": 0}, "1 to 3650 days; found 0"),
        ({"days": 3651}, "1 to 3650 days"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(quick, wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        tokens.add_token(quick, "hana", **{"label": "report", "now": NOW, **wrong})
    assert quick.scalars(select(AccountToken)).all() == []


def test_nobody_has_more_tokens_than_the_page_shows(quick):
    for n in range(tokens.MOST):
        tokens.add_token(quick, "hana", f"report {n}", now=NOW)
    with pytest.raises(Conflict, match="revoke one"):
        tokens.add_token(quick, "hana", "one more", now=NOW)
    assert len(tokens.tokens_of(quick, accounts.person(quick, "hana"))) == tokens.MOST


def test_a_disabled_persons_token_is_nobodys_and_they_get_none(quick):
    token = tokens.add_token(quick, "hana", "report", now=NOW)
    accounts.disable(quick, "hana", now=NOW)
    assert tokens.person_of_token(quick, token, NOW) is None
    with pytest.raises(Conflict, match="hana is disabled"):
        tokens.add_token(quick, "hana", "report", now=NOW)


def test_nobody_revokes_anothers_token(db):
    token = tokens.add_token(db, "hana", "report", now=NOW)
    with pytest.raises(NotFound):
        tokens.revoke_token(db, accounts.person(db, "ken"), accounts.digest(token))


def test_a_tokens_last_use_is_noted_every_ten_minutes(db):
    token = tokens.add_token(db, "hana", "report", now=NOW)
    assert tokens.bearer(db, token, NOW)[1]
    tokens.note_token_use(db, token, NOW)
    assert not tokens.bearer(db, token, NOW + timedelta(minutes=9))[1]
    assert tokens.bearer(db, token, NOW + timedelta(minutes=11))[1]
