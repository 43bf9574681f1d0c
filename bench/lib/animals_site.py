"""What the network's load benches share: a site of real processes, members with tokens, pictures made by code, requests with their times."""

import http.client
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, ImageDraw

from tanuki.animals import members
from tanuki.app import bootstrap
from tanuki.platform import accounts, tokens
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

API = "/api/animals"
SIZE = (640, 480)
RESULTS = Path(__file__).parents[1] / "results"


# ---- pictures ------------------------------------------------------------------------------------------------------


def picture(number: int) -> bytes:
    """A JPEG of 640 × 480, another one for each number, about as large as a small photo."""
    drawn = random.Random(number)
    image = (
        Image.effect_noise((SIZE[0] // 8, SIZE[1] // 8), 60 + number % 40)
        .resize(SIZE)
        .convert("RGB")
    )
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, size = drawn.randrange(SIZE[0]), drawn.randrange(SIZE[1]), drawn.randrange(20, 200)
        pen.ellipse((x, y, x + size, y + size), fill=tuple(drawn.randrange(256) for _ in range(3)))
    made = io.BytesIO()
    image.save(made, "JPEG", quality=85)
    return made.getvalue()


def pictures(count: int) -> list[bytes]:
    """So many."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(picture, range(count)))


# ---- the site ------------------------------------------------------------------------------------------------------


class Site:
    """`tanuki serve` and `tanuki worker` on a home folder; each can be killed and started again."""

    def __init__(self, home: Path, database: str = "") -> None:
        self.home, self.database = home, database
        self.settings = Settings.model_validate({"home": home, "database": database})
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = ("127.0.0.1", 0)

    @contextmanager
    def resources(self) -> Iterator[Resources]:
        """The engines, in this process."""
        made = bootstrap.resources(self.settings, upgrade=True)
        try:
            yield made
        finally:
            bootstrap.close(made)

    def begin(self, which: str) -> None:
        """Start one of the processes; the web server is waited for, and keeps its port."""
        log = self.home / f"{which}.log"
        environment = {
            **os.environ,
            "TANUKI_HOME": str(self.home),
            "TANUKI_DATABASE": self.database,
            "TANUKI_PORT": str(self.address[1]),
            "TANUKI_LOG": "json",
            "TANUKI_WORKER": "" if which == "serve" else f"bench-{uuid.uuid4().hex[:6]}",
        }
        with log.open("wb") as out:
            self.processes[which] = subprocess.Popen(
                [sys.executable, "-m", "tanuki", which], env=environment, stdout=out, stderr=out
            )
        if which == "serve":
            self.address = self.listens(log)

    def listens(self, log: Path) -> tuple[str, int]:
        """Where the web server listens, once it says so."""
        for _ in range(1200):
            for line in log.read_text().splitlines():
                if line.startswith("Tanuki is at "):
                    found = urlsplit(line.removeprefix("Tanuki is at ").strip())
                    return str(found.hostname), int(found.port or 0)
            if self.processes["serve"].poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(log.read_text()[-2000:])

    def kill(self, which: str) -> None:
        """SIGKILL."""
        self.processes[which].kill()
        self.processes[which].wait()

    def end(self) -> None:
        """Stop what runs, by process id."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def people(res: Resources, count: int) -> list[tuple[str, str]]:
    """Names and tokens of so many new members. Each posts at most sixty times an hour."""
    made, now = [], datetime.now(UTC)
    for n in range(count):
        with res.db.write() as db:
            name = f"member{n}-{uuid.uuid4().hex[:4]}"
            accounts.add_user(
                db, name, grants=[("member", None)], password="a password for a bench", now=now
            )
            person = accounts.person(db, name)
            assert person is not None
            members.join(db, person, now=now)
            made.append(
                (name, tokens.add_token(db, name, "bench", scopes=("read", "write"), now=now))
            )
    return made


# ---- requests ------------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What came back, and how long it took."""

    status: int
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Program:
    """A client that keeps its connection; one a thread."""

    site: Site
    token: str = ""
    connection: http.client.HTTPConnection | None = field(default=None)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request, again on a new connection when the server had closed the one that was kept. Status 0 when there was no answer."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            given["Authorization"] = f"Bearer {self.token}"
        began = time.perf_counter()
        kept = self.connection is not None
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(*self.site.address, timeout=30)
            self.connection.request(method, path, body, given)
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            if kept and isinstance(error, ConnectionError):
                return self.ask(method, path, body, **headers)
            return Answer(0, b"", time.perf_counter() - began)
        return Answer(answer.status, content, time.perf_counter() - began)

    def post(self, key: str, photo: bytes, title: str) -> Answer:
        """Post a photo."""
        mark = uuid.uuid4().hex
        fields = {"title": title, "category": "cat", "description": "For a bench."}
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
            for k, v in fields.items()
        ]
        head = f'--{mark}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'.encode()
        body = b"".join(parts) + head + photo + f"\r\n--{mark}--\r\n".encode()
        return self.ask(
            "POST",
            f"{API}/posts",
            body,
            Content_Type=f"multipart/form-data; boundary={mark}",
            Idempotency_Key=key,
        )


def at_rate(rate: float, seconds: float, do: Any, threads: int) -> None:
    """Call `do(n)` so often a second, whatever the answers take: late ones do not slow the others down as long as threads are free."""
    began, lock, count = time.perf_counter(), threading.Lock(), [0]

    def run() -> None:
        while True:
            with lock:
                n = count[0]
                count[0] += 1
            due = began + n / rate
            if due - began >= seconds:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            do(n)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def share(values: list[float], q: float) -> float:
    """A quantile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def verdict(good: bool) -> str:
    return "ok  " if good else "MISS"
