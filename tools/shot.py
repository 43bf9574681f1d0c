"""Takes the README's picture: this week's page of the example chain, in a home folder of its own."""

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
FLAGS = ["--no-sandbox", "--disable-background-networking"]


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "TANUKI_HOME": home,
            "TANUKI_PORT": "0",
            "TANUKI_SCHEDULE": "false",
        }
        tanuki = [sys.executable, "-m", "tanuki"]
        made = subprocess.run(
            [*tanuki, "shop", "example"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = re.search(r"^\s*analyst\s+(\S+)", made, re.MULTILINE)
        assert found is not None
        log = Path(home) / "server.log"
        with (
            log.open("w") as out,
            subprocess.Popen([*tanuki, "up"], env=environment, stdout=out, stderr=out) as server,
        ):
            try:
                take(address(log), found[1])
            finally:
                server.terminate()


def address(log: Path) -> str:
    """Where the server is, once it says so."""
    for _ in range(300):
        found = re.search(r"Tanuki is at (\S+)/", log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise SystemExit(log.read_text())


def take(server: str, password: str) -> None:
    """Sign in as the analyst and take the picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
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
