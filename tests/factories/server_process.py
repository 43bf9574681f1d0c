"""A real server in a process of its own, and the Chromium for browser tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tanuki.platform.resources import Resources

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def run_server(home: Resources) -> Iterator[str]:
    """`tanuki up` on a home folder and a free port; gives its address. Ended by its process id."""
    environment = {
        **os.environ,
        "TANUKI_HOME": str(home.settings.home),
        "TANUKI_PORT": "0",
        "TANUKI_SCHEDULE": "false",
        "TANUKI_LOG": "json",
    }
    log = home.settings.home / "server.log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "tanuki", "up"], env=environment, stdout=out, stderr=out
        ) as process,
    ):
        try:
            yield wait_for_address(log, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for_address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    """The server's address, from the line with which it starts."""
    for _ in range(600):
        for line in log.read_text().splitlines():
            if line.startswith("Tanuki is at "):
                return line.removeprefix("Tanuki is at ").strip().rstrip("/")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(log.read_text())
