"""A person's browser in a journey."""

from playwright.sync_api import Browser, Page, Request

from tests.factories.http_clients import PASSWORD


class Visit:
    """A person's browser, which remembers everything that went wrong in it."""

    def __init__(
        self, chromium: Browser, server: str, lang: str, width: int, *, scripts: bool | None = None
    ) -> None:
        self.scripts = width > 600 if scripts is None else scripts
        self.context = chromium.new_context(
            viewport={"width": width, "height": 860},
            locale={"ja": "ja-JP", "en": "en-US"}[lang],
            java_script_enabled=self.scripts,
        )
        self.page: Page = self.context.new_page()
        self.server = server
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"page: {error}"))
        self.page.on("requestfailed", self.failed)
        self.page.on(
            "request",
            lambda request: (
                request.url.startswith((server, "data:"))
                or self.faults.append(f"left the machine: {request.url}")
            ),
        )

    def failed(self, request: Request) -> None:
        """Record a request without an answer, unless the browser itself gave it up."""
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.url} {request.failure}")

    def sign_in(self, name: str) -> None:
        self.page.goto(f"{self.server}/sign-in")
        self.page.fill("input[name=name]", name)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.click("main form button")

    def go(self, path: str) -> None:
        answer = self.page.goto(self.server + path)
        assert answer is not None
        assert answer.status == 200
        self.fits()

    def fits(self) -> None:
        """Nothing sticks out sideways."""
        out = (
            self.page.locator("html").evaluate("page => page.scrollWidth - page.clientWidth")
            if self.scripts
            else 0
        )
        assert out <= 0, (self.page.url, out)
