"""Browsers of people who sign in through the real form, and programs with API tokens."""

import re
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from tanuki.platform import accounts, tokens
from tanuki.platform.resources import Resources

PASSWORD = "a password for tests"


def visitor(app: FastAPI, **kwargs: Any) -> TestClient:
    """A browser in which nobody is signed in; it does not follow redirects."""
    return TestClient(app, follow_redirects=False, **kwargs)


def make_person(resources: Resources, name: str, *grants: tuple[str, str | None]) -> None:
    """An account with the password for tests."""
    with resources.db.write() as db:
        accounts.add_user(db, accounts.NewUser(name, grants, password=PASSWORD), datetime.now(UTC))


def signed_in(app: FastAPI, name: str) -> TestClient:
    """A browser in which that person is signed in."""
    browser = visitor(app)
    answer = browser.post(
        "/sign-in", data={"name": name, "password": PASSWORD, "csrf": csrf(browser, "/sign-in")}
    )
    assert answer.status_code == 303, answer.text
    return browser


def bearer(
    resources: Resources, app: FastAPI, name: str, scopes: tuple[str, ...] | None = None
) -> TestClient:
    """A program with an API token of that person; without `scopes` it has all of theirs."""
    with resources.db.write() as db:
        person = accounts.find_person(db, name)
        assert person is not None
        if scopes is None:
            scopes = tokens.allowed_token_scopes(person)
        token = tokens.create_token(
            db, name, tokens.NewToken("test", scopes=scopes), datetime.now(UTC)
        )
    return visitor(app, headers={"Authorization": f"Bearer {token}"})


def csrf(browser: TestClient, path: str = "/account") -> str:
    """The CSRF token of the forms on a page."""
    field = re.search(r'name="csrf" value="([\w-]+)"', browser.get(path).text)
    assert field is not None
    return field[1]
