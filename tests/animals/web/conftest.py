"""The network's site on SQLite, with members who are signed in."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tanuki.animals import web as animals_web
from tanuki.platform.resources import Resources
from tanuki.platform.web import app as web


@pytest.fixture
def app(embedded: Resources):
    """The site, on an empty home folder."""
    return web.create(embedded, [animals_web.SYSTEM])
