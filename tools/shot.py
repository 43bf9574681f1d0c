"""Takes the README's screenshot: this week's page of the example chain."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "week.png"
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-background-networking"]


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "TANUKI_HOME": home,
            "TANUKI_PORT": "0",
            "TANUKI_SCHEDULE": "false",
        }
        tanuki = [sys.executable, "-m", "tanuki"]
        output = subprocess.run(
            [*tanuki, "shop", "example"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        password = re.search(r"^\s*analyst\s+(\S+)", output, re.MULTILINE)
        assert password is not None
        log = Path(home) / "server.log"
        with (
            log.open("w") as out,
            subprocess.Popen([*tanuki, "up"], env=environment, stdout=out, stderr=out) as server,
        ):
            try:
                take_screenshot(wait_for_address(log), password[1])
            finally:
                server.terminate()


def wait_for_address(log: Path) -> str:
    """The server's address, from the line with which it starts."""
    for _ in range(300):
        line = re.search(r"Tanuki is at (\S+)/", log.read_text())
        if line:
            return line[1]
        time.sleep(0.1)
    raise SystemExit(log.read_text())


def take_screenshot(server: str, password: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS
        )
        page = browser.new_context(
            viewport={"width": 1200, "height": 860}, locale="en-US"
        ).new_page()
        page.goto(f"{server}/sign-in")
        page.fill("input[name=name]", "analyst")
        page.fill("input[name=password]", password)
        page.click("main form button")
        page.goto(f"{server}/shop/week")
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
