"""Two HTTP servers side by side, ours and a bare one: requests per second, p99, processor time.

Each server is one process. The same few connections ask each in turn for several rounds, and the
best round counts, so that a busy machine does not decide. Processor time per request does not
depend on how busy the machine is.
"""

import asyncio
import importlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from bench.lib.timing import processor_seconds

CONNECTIONS = 8
ROUNDS = 5
SECONDS_PER_ROUND = 2.0
VISITOR = "Cookie: tanuki-visitor=x\r\n"
SERVERS = ("ours", "bare")


@dataclass(frozen=True)
class Server:
    """A running server process."""

    port: int
    pid: int


@dataclass(frozen=True)
class Round:
    """What one round of requests to one server measured."""

    requests_per_s: float
    processor_ms: float
    p99_ms: float


@contextmanager
def start_servers(module: str, home: str, first_port: int) -> Iterator[dict[str, Server]]:
    """Start `create_ours(home)` and `create_bare(home)` of a module as processes of their own."""
    processes = {}
    ports = {name: first_port + number for number, name in enumerate(SERVERS)}
    try:
        for name, port in ports.items():
            command = [sys.executable, "-m", __name__, module, name, home, str(port)]
            with Path(home, f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(command, stderr=log, stdout=log)
        for port in ports.values():
            asyncio.run(wait_for_port(port))
        yield {name: Server(ports[name], processes[name].pid) for name in SERVERS}
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()


def compare_servers(servers: Mapping[str, Server], path: str, headers: str) -> dict[str, Any]:
    """Figures of both servers for one path, and ours as a share of the bare one's."""
    rounds: dict[str, list[Round]] = {name: [] for name in servers}
    for _ in range(ROUNDS):
        for name, server in servers.items():
            rounds[name].append(measure_round(server, path, headers))
    rates = {name: max(r.requests_per_s for r in own) for name, own in rounds.items()}
    costs = {name: min(r.processor_ms for r in own) for name, own in rounds.items()}
    tails = {name: min(r.p99_ms for r in own) for name, own in rounds.items()}
    row: dict[str, Any] = {}
    for name in servers:
        row |= {
            f"{name}_per_s": round(rates[name]),
            f"{name}_cpu_ms": round(costs[name], 3),
            f"{name}_p99_ms": round(tails[name], 1),
        }
    return row | {
        "of_bare": round(rates["ours"] / rates["bare"], 2),
        "of_bare_by_cpu": round(costs["bare"] / costs["ours"], 2),
    }


def measure_round(server: Server, path: str, headers: str) -> Round:
    before = processor_seconds(server.pid)
    durations = asyncio.run(send_requests(server.port, path, headers, SECONDS_PER_ROUND))
    spent = processor_seconds(server.pid) - before
    return Round(
        len(durations) / SECONDS_PER_ROUND,
        spent / len(durations) * 1000,
        statistics.quantiles(durations, n=100)[98] * 1000,
    )


async def send_requests(port: int, path: str, headers: str, seconds: float) -> list[float]:
    """GET a path over a few connections for a while; gives the seconds of each answer."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: identity\r\n"
    request = f"{head}{headers}\r\n".encode()
    end, durations = time.perf_counter() + seconds, []

    async def keep_asking() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            started = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            durations.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(keep_asking() for _ in range(CONNECTIONS)))
    return durations


async def wait_for_port(port: int) -> None:
    """Wait up to a minute until a server listens."""
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


def serve(module: str, name: str, home: str, port: str) -> None:
    """One server process: `create_<name>(home)` of a module."""
    import uvicorn

    create: Callable[[Path], FastAPI] = getattr(importlib.import_module(module), f"create_{name}")
    uvicorn.run(
        create(Path(home)), host="127.0.0.1", port=int(port), log_config=None, access_log=False
    )


if __name__ == "__main__":
    serve(*sys.argv[1:])
