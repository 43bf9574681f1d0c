"""A real server in a process of its own, and a real Chromium."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tanuki import start
from tanuki.platform import resources as resources_file
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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
    made = start.resources(Settings(home=tmp_path / "home"))
    resources_file.use(made)
    yield made
    start.close(made)


@pytest.fixture
def server(home: Resources) -> Iterator[str]:
    """`tanuki up` on that home folder and a free port; gives its address. Ended by its process id."""
    environment = {
        **os.environ,
        "TANUKI_HOME": str(home.settings.home),
        "TANUKI_PORT": "0",
        "TANUKI_SCHEDULE": "false",
        "TANUKI_LOG": "json",
    }
    log = home.settings.home / "server.log"
    with log.open("w") as out, subprocess.Popen([sys.executable, "-m", "tanuki", "up"], env=environment, stdout=out, stderr=out) as process:
        try:
            yield address_in(log, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def address_in(log: Path, process: "subprocess.Popen[bytes]") -> str:
    """Where the server says that it is, once it says so."""
    for _ in range(600):
        for line in log.read_text().splitlines():
            if line.startswith("Tanuki is at "):
                return line.removeprefix("Tanuki is at ").strip().rstrip("/")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(log.read_text())
