"""The site of AI Animals on SQLite."""

import pytest

from tanuki.animals import web as animals_web
from tanuki.platform.resources import Resources
from tanuki.platform.web import app as web


@pytest.fixture
def app(embedded: Resources):
    """The site, on an empty home folder."""
    return web.create_app(embedded, [animals_web.SYSTEM])
