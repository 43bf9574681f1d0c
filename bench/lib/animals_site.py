"""Load benchmarks of AI Animals: real server processes, members with tokens, generated photos."""

import http.client
import io
import json
import os
import random
import signal
import subprocess
import sys
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
from tanuki.platform.accounts import NewUser
from tanuki.platform.resources import Resources
from tanuki.platform.tokens import NewToken
from tanuki.settings import Settings

API = "/api/animals"
PHOTO_SIZE = (640, 480)


# ---- photos --------------------------------------------------------------------------------------


def generate_photo(number: int) -> bytes:
    """A JPEG of 640 × 480, different for each number, about as large as a small photo."""
    chance = random.Random(number)
    image = (
        Image.effect_noise((PHOTO_SIZE[0] // 8, PHOTO_SIZE[1] // 8), 60 + number % 40)
        .resize(PHOTO_SIZE)
        .convert("RGB")
    )
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, size = (
            chance.randrange(PHOTO_SIZE[0]),
            chance.randrange(PHOTO_SIZE[1]),
            chance.randrange(20, 200),
        )
        pen.ellipse((x, y, x + size, y + size), fill=tuple(chance.randrange(256) for _ in range(3)))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def generate_photos(count: int) -> list[bytes]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(generate_photo, range(count)))


# ---- the site ------------------------------------------------------------------------------------


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
        res = bootstrap.create_resources(self.settings, upgrade=True)
        try:
            yield res
        finally:
            bootstrap.close_resources(res)

    def start(self, command: str) -> None:
        """Start `tanuki serve` or `tanuki worker`; waits for a server, which keeps its port."""
        log = self.home / f"{command}.log"
        environment = {
            **os.environ,
            "TANUKI_HOME": str(self.home),
            "TANUKI_DATABASE": self.database,
            "TANUKI_PORT": str(self.address[1]),
            "TANUKI_LOG": "json",
            "TANUKI_WORKER": "" if command == "serve" else f"bench-{uuid.uuid4().hex[:6]}",
        }
        with log.open("wb") as out:
            self.processes[command] = subprocess.Popen(
                [sys.executable, "-m", "tanuki", command], env=environment, stdout=out, stderr=out
            )
        if command == "serve":
            self.address = self.read_address(log)

    def read_address(self, log: Path) -> tuple[str, int]:
        """Where the web server listens, as it writes into its log."""
        for _ in range(1200):
            for line in log.read_text().splitlines():
                if line.startswith("Tanuki is at "):
                    url = urlsplit(line.removeprefix("Tanuki is at ").strip())
                    return str(url.hostname), int(url.port or 0)
            if self.processes["serve"].poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(log.read_text()[-2000:])

    def kill(self, command: str) -> None:
        """SIGKILL."""
        self.processes[command].kill()
        self.processes[command].wait()

    def stop(self) -> None:
        """Stop every running process, by process id."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def add_members(res: Resources, count: int) -> list[tuple[str, str]]:
    """Names and API tokens of new members. A member may post at most sixty times an hour."""
    members_and_tokens, now = [], datetime.now(UTC)
    for number in range(count):
        with res.db.write() as db:
            name = f"member{number}-{uuid.uuid4().hex[:4]}"
            user = NewUser(name, [("member", None)], password="a password for a bench")
            accounts.add_user(db, user, now)
            person = accounts.find_person(db, name)
            assert person is not None
            members.join_community(db, person, now=now)
            new_token = NewToken("bench", scopes=("read", "write"))
            members_and_tokens.append((name, tokens.create_token(db, name, new_token, now)))
    return members_and_tokens


# ---- requests ------------------------------------------------------------------------------------


@dataclass
class Response:
    """A response and the seconds until it was read. Status 0: there was none."""

    status: int
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """An API client with a connection of its own; one per thread."""

    site: Site
    token: str = ""
    connection: http.client.HTTPConnection | None = field(default=None)

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Response:
        """Send one request; once more on a new connection if the server had closed the kept one."""
        header_fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            header_fields["Authorization"] = f"Bearer {self.token}"
        started = time.perf_counter()
        reused = self.connection is not None
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(*self.site.address, timeout=30)
            self.connection.request(method, path, body, header_fields)
            response = self.connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            if reused and isinstance(error, ConnectionError):
                return self.request(method, path, body, **headers)
            return Response(0, b"", time.perf_counter() - started)
        return Response(response.status, content, time.perf_counter() - started)

    def post(self, key: str, photo: bytes, title: str) -> Response:
        """Post a photo."""
        boundary = uuid.uuid4().hex
        fields = {"title": title, "category": "cat", "description": "For a bench."}
        disposition = "Content-Disposition: form-data; name="
        parts = [
            f'--{boundary}\r\n{disposition}"{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        file = f'--{boundary}\r\n{disposition}"photo"; filename="a.jpg"\r\n'
        body = b"".join(
            [
                *parts,
                f"{file}Content-Type: image/jpeg\r\n\r\n".encode(),
                photo,
                f"\r\n--{boundary}--\r\n".encode(),
            ]
        )
        return self.request(
            "POST",
            f"{API}/posts",
            body,
            Content_Type=f"multipart/form-data; boundary={boundary}",
            Idempotency_Key=key,
        )
