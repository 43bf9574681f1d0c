"""Takes the README's screenshots: the example chain's week, and the example site's home feed."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
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
        subprocess.run([*tanuki, "animals", "example"], env=environment, check=True)
        password = re.search(r"^\s*analyst\s+(\S+)", output, re.MULTILINE)
        assert password is not None
        log = Path(home) / "server.log"
        with (
            log.open("w") as out,
            subprocess.Popen([*tanuki, "up"], env=environment, stdout=out, stderr=out) as server,
        ):
            try:
                take_screenshots(wait_for_address(log), password[1])
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


def take_screenshots(server: str, password: str) -> None:
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
        PICTURES.mkdir(parents=True, exist_ok=True)
        for path, name in (("/shop/week", "week.png"), ("/animals", "animals.png")):
            page.goto(f"{server}{path}", wait_until="networkidle")
            page.screenshot(path=PICTURES / name)
        browser.close()


if __name__ == "__main__":
    main()
