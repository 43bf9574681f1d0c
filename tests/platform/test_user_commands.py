"""`tanuki users`: accounts from the command line, with every secret printed once."""

import json
import re
from datetime import UTC, datetime

import pytest

from tanuki.app import bootstrap
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.platform import sessions, tokens
from tanuki.platform.commands.users import users
from tanuki.settings import Settings
from tests.factories.command_line import CommandRunner


@pytest.fixture
def tanuki(tmp_path, monkeypatch):
    """Runs `tanuki users …` in a home folder of its own and gives what it printed."""
    monkeypatch.setenv("TANUKI_HOME", str(tmp_path / "home"))

    def run(*arguments):
        result = CommandRunner().invoke(users, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run.home = tmp_path / "home"
    return run


def sign_in(home, name, password):
    made = bootstrap.create_resources(Settings(home=home))
    try:
        with made.db.write() as db:
            return sessions.sign_in(
                db, sessions.Credentials(name, password, "192.0.2.1"), datetime.now(UTC)
            )
    finally:
        bootstrap.close_resources(made)


def test_an_added_user_signs_in_with_the_printed_password(tanuki):
    said = tanuki("add", "hana", "--role", "analyst", "--display", "Hana")
    password = re.search(r"shown this once: (\S+)$", said)[1]
    assert sign_in(tanuki.home, "hana", password)


def test_a_password_from_a_file_is_used_and_not_printed(tanuki, tmp_path):
    (tmp_path / "password").write_text("a password from a file\n", encoding="utf-8")
    said = tanuki("add", "ken", "--role", "operator", "--password-file", str(tmp_path / "password"))
    assert "a password from a file" not in said
    assert sign_in(tanuki.home, "ken", "a password from a file")


def test_the_list_shows_roles_with_their_stores(tanuki):
    tanuki(
        "add",
        "ken",
        "--role",
        "manager",
        "--store",
        "chiba",
        "--store",
        "ueno",
        "--role",
        "analyst",
    )
    [row] = [json.loads(line) for line in tanuki("list", "--json").splitlines()]
    assert (row["name"], row["roles"], row["disabled_at"]) == (
        "ken",
        "analyst manager:chiba manager:ueno",
        None,
    )
    assert "ken" in tanuki("list")


def test_disabling_enabling_and_a_new_password(tanuki):
    tanuki("add", "hana", "--role", "admin")
    tanuki("disable", "hana")
    password = re.search(r"shown this once: (\S+)$", tanuki("password", "hana"))[1]
    assert sign_in(tanuki.home, "hana", password) is None
    tanuki("enable", "hana")
    assert sign_in(tanuki.home, "hana", password)


def test_a_token_is_printed_and_works(tanuki):
    tanuki("add", "hana", "--role", "admin")
    only_reads = tanuki("token", "hana", "report", "--days", "30").strip()
    does_more = tanuki("token", "hana", "bot", "--scope", "write", "--scope", "moderate").strip()
    made = bootstrap.create_resources(Settings(home=tanuki.home))
    with made.db.read() as db:
        hana = tokens.find_token_person(db, only_reads, datetime.now(UTC))
        assert (hana.name, hana.token_scopes) == ("hana", {"read"})
        assert tokens.find_token_person(db, does_more, datetime.now(UTC)).token_scopes == {
            "read",
            "write",
            "moderate",
        }
    bootstrap.close_resources(made)


def test_a_member_becomes_a_moderator_and_a_manager_gets_another_store(tanuki):
    tanuki("add", "hana", "--role", "member")
    assert (
        tanuki("grant", "hana", "--role", "moderator") == "hana has the roles: member moderator\n"
    )
    tanuki("grant", "Hana", "--role", "manager", "--store", "chiba", "--store", "ueno")
    assert (
        tanuki("withdraw", "hana", "--role", "manager", "--store", "ueno")
        == "hana has the roles: manager:chiba member moderator\n"
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["add", "ken", "--role", "manager"], UserError),
        (["add", "ken", "--role", "analyst", "--store", "chiba"], UserError),
        (["add", "ken"], UserError),
        (["add", "hana", "--role", "admin"], Conflict),
        (["grant", "nobody", "--role", "member"], NotFound),
        (["grant", "hana", "--role", "manager"], UserError),
        (["withdraw", "hana", "--role", "member"], NotFound),
        (["withdraw", "hana", "--role", "admin"], UserError),
        (["disable", "nobody"], NotFound),
        (["token", "nobody", "report"], NotFound),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tanuki, arguments, error):
    tanuki("add", "hana", "--role", "admin")
    with pytest.raises(error):
        tanuki(*arguments)
