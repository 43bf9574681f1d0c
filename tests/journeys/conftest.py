"""A real server in a process of its own, and a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tanuki.app import bootstrap
from tanuki.platform import resources as resources_file
from tanuki.platform.resources import Resources
from tanuki.settings import Settings
from tests.factories.server_process import CHROMIUM, CHROMIUM_FLAGS, run_server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium (`make setup-test`). It ends with the module: it blocks its event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
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
    with run_server(home) as address:
        yield address
