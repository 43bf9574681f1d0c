"""The API's description holds: no request by anybody causes a fault or an undescribed response."""

import pytest

from tanuki.platform.web.openapi import describe_api
from tests.factories import api_fuzzing, populated_site
from tests.factories.http_clients import bearer, visitor

ROLES = {
    "visitor": None,
    "member": "hana",
    "banned member": "bo",
    "moderator": "mona",
    "admin": "root",
}


@pytest.fixture(scope="module")
def generated_cases(request):
    """The same requests for every role: generating them takes longer than sending them."""
    examples, cases = request.config.getoption("--fuzz-examples"), []

    def generate_once(app):
        if not cases:
            cases.extend(api_fuzzing.generate_cases(app, examples=examples))
        return cases

    return generate_once


@pytest.mark.parametrize("role", ROLES)
def test_every_response_is_as_described(embedded, generated_cases, role):
    """On SQLite. With `--fuzz-examples N` for N requests to each operation."""
    site, name = populated_site.populate_site(embedded), ROLES[role]
    cases = generated_cases(site.app)
    operations = {case.operation.label for case in cases}
    assert len(operations) == sum(map(len, describe_api(site.app)["paths"].values()))
    browser = visitor(site.app) if name is None else bearer(embedded, site.app, name)
    with browser:
        assert list(api_fuzzing.find_violations(site, browser, cases)) == []
