"""The API's description holds: whatever is sent by whom, no fault of ours, and each answer is as announced; its examples are true."""

import pytest

from tanuki.platform.web import rest
from tests.factories import api_fuzzing, populated_site
from tests.factories.http_clients import bearer, visitor

ROLES = {
    "stranger": None,
    "member": "hana",
    "banned member": "bo",
    "moderator": "mona",
    "admin": "root",
}
EXAMPLES = 8  # for each operation; bench/animals_fuzz.py tries more


@pytest.fixture(scope="module")
def made_up():
    """The same requests for everybody: making them up takes longer than answering."""
    known = []

    def once(app):
        if not known:
            known.extend(api_fuzzing.made_up(app, examples=EXAMPLES))
        return known

    return once


@pytest.mark.parametrize("role", ROLES)
def test_whatever_is_sent_is_answered_as_announced(embedded, made_up, role):
    world, name = populated_site.gather(embedded), ROLES[role]
    cases = made_up(world.app)
    assert len({case.operation.label for case in cases}) == sum(
        map(len, rest.description(world.app)["paths"].values())
    )
    with visitor(world.app) if name is None else bearer(embedded, world.app, name) as browser:
        assert [*api_fuzzing.tried(world, browser, cases)] == []
