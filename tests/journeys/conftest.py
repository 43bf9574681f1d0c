"""A real server in a process of its own, and a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tanuki.app import bootstrap
from tanuki.platform import resources as resources_file
from tanuki.platform.resources import Resources
from tanuki.settings import Settings
from tests.factories.server_process import CHROMIUM, FLAGS, serving


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; `make setup-test` installs it. Gone after the module: its event loop is not one that others can live with."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Resources]:
    """The engines of an empty home folder, its database made as `tanuki` makes it."""
    made = bootstrap.create_resources(Settings(home=tmp_path / "home"))
    resources_file.set_process_resources(made)
    yield made
    bootstrap.close_resources(made)


@pytest.fixture
def server(home: Resources) -> Iterator[str]:
    """`tanuki up` on that home folder."""
    with serving(home) as address:
        yield address
