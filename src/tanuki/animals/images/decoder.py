"""A pool of child processes that decode: each does one job at a time, within memory and time, and may be killed without costing anyone else anything."""

import atexit
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tanuki.errors import TooMany

log = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("cleaning.py")
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "VIPS_CONCURRENCY": "1",
    "MALLOC_ARENA_MAX": "2",
}  # and none of ours: it may hold secrets

MEMORY_MB = 512  # a picture may cost so much
DATA_MB = 448  # what the child may allocate of it; the rest is the code of its libraries
CPU_S = 1.8  # a picture may cost two seconds: this much computing, and a little for handing over
WALL_S = 6.0  # for a child that neither computes nor answers; longer, because a busy machine gives a process a third of its time
START_S = 20.0  # a child is ready after 0.2 s; after this it never will be
WAIT_S = 10.0  # for a free child; more callers than children take turns
JOBS = 500  # before a child is replaced, should a library lose a little memory with each
ANSWER_BYTES = 1 << 26  # more than any three JPEGs of our sizes
TOO_LONG = (-signal.SIGPROF, -signal.SIGALRM)  # how a child ends by its own clocks


@dataclass(frozen=True)
class Job:
    """What is to be made of a picture: the longest side of every size, and the quality of the JPEGs."""

    source: str
    pixels: int  # at most
    sizes: dict[str, int]
    quality: int


@dataclass(frozen=True)
class Done:
    """A clean picture: width and height of its largest size, its mean colour, a JPEG for each size."""

    width: int
    height: int
    colour: str
    files: dict[str, bytes]


@dataclass(frozen=True)
class Refusal:
    """Why there is none: pixels (with width and height), memory, time or damaged. A child that crashed had a damaged picture."""

    why: str
    width: int = 0
    height: int = 0


class Decoder:
    """So many child processes at most, started when they are needed and kept. Threads may share it."""

    def __init__(self, children: int | None = None) -> None:
        self.most = children or len(os.sched_getaffinity(0))
        self.turn = threading.Condition()
        self.free: list[Child] = []
        self.alive: set[Child] = set()
        self.busy = 0
        self.peak_mb = 0  # the most memory that any child had after a job

    def clean(self, content: bytes, job: Job) -> Done | Refusal:
        """A picture made clean in a child process. Raises TooMany when none is free for long."""
        child = self._take()
        try:
            result = child.do(content, job)
        finally:
            self._give_back(child)
        self.peak_mb = max(self.peak_mb, child.peak_mb)
        return result

    def close(self) -> None:
        """End every child; jobs still under way are broken off."""
        with self.turn:
            children, self.free, self.alive = list(self.alive), [], set()
        for child in children:
            child.end()

    def _take(self) -> "Child":
        with self.turn:
            if not self.turn.wait_for(lambda: self.busy < self.most, WAIT_S):
                raise TooMany(
                    "Too many pictures are being read at the moment. Please try again in a minute."
                )
            self.busy += 1
            child = self.free.pop() if self.free else None
        if child is not None and child.runs():
            return child
        if child is not None:
            self._forget(child)
        try:
            started = Child()
        except OSError:
            self._leave()
            raise
        with self.turn:
            self.alive.add(started)
        return started

    def _give_back(self, child: "Child") -> None:
        if not child.runs() or child.jobs >= JOBS:
            self._forget(child)
        else:
            with self.turn:
                if child in self.alive:
                    self.free.append(child)
        self._leave()

    def _forget(self, child: "Child") -> None:
        with self.turn:
            self.alive.discard(child)
        child.end()

    def _leave(self) -> None:
        with self.turn:
            self.busy -= 1
            self.turn.notify()


class Child:
    """One process that runs cleaning.py. It ends by itself when its input does, so also when we are killed."""

    def __init__(self) -> None:
        self.jobs = self.peak_mb = 0
        self.late = False
        command = [sys.executable, "-I", str(SCRIPT), str(DATA_MB << 20)]
        self.process = subprocess.Popen(  # noqa: S603 our own script
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        assert self.process.stdin and self.process.stdout
        self.requests, self.answers = self.process.stdin, self.process.stdout
        with self._within(START_S):
            ready = self.answers.read(1)
        if not ready:
            self.end()
            raise OSError(
                f"the process that decodes pictures does not start: exit status {self.process.returncode}"
            )

    def do(self, content: bytes, job: Job) -> Done | Refusal:
        """One job. Afterwards the process may have ended."""
        self.jobs += 1
        asked = {**vars(job), "bytes": len(content), "cpu_s": CPU_S, "wall_s": WALL_S}
        answer = None
        with (
            self._within(WALL_S),
            contextlib.suppress(OSError, ValueError, KeyError, TypeError),
        ):  # it died, or what it says makes no sense
            self.requests.write(json.dumps(asked).encode() + b"\n" + content)
            self.requests.flush()
            answer = self._answer()
        if answer is not None and not self.late:
            return answer
        self.end()
        code = self.process.returncode
        log.warning(
            "picture decoder ended",
            extra={"source": job.source, "bytes": len(content), "code": code},
        )
        return Refusal("time" if self.late or code in TOO_LONG else "damaged")

    def _answer(self) -> Done | Refusal:
        said: dict[str, Any] = json.loads(self.answers.readline(10_000))
        self.peak_mb = int(said["peak_mb"])
        if "refused" in said:
            return Refusal(
                str(said["refused"]), int(said.get("width", 0)), int(said.get("height", 0))
            )
        lengths = {str(size): int(length) for size, length in said["files"].items()}
        if sum(lengths.values()) > ANSWER_BYTES:
            raise ValueError("too long an answer")
        files = {size: self.answers.read(length) for size, length in lengths.items()}
        if any(len(files[size]) != length for size, length in lengths.items()):
            raise ValueError("an incomplete answer")
        return Done(int(said["width"]), int(said["height"]), str(said["colour"]), files)

    def runs(self) -> bool:
        """Whether it can take another job."""
        return not self.late and self.process.poll() is None

    def end(self) -> None:
        """Kill it and take away what is left of it; a process that has ended already is fine."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                pipe.close()

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """What happens in the block is over after so many seconds: the process is killed, which ends all reading and writing."""
        timer = threading.Timer(seconds, self._too_late)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _too_late(self) -> None:
        self.late = True
        self.process.kill()


_shared: dict[int, Decoder] = {}  # by process: after a fork the children are the other process's
_sharing = threading.Lock()


def shared() -> Decoder:
    """The decoder of this process, made at the first call and closed when the process ends."""
    with _sharing:
        if os.getpid() not in _shared:
            if not _shared:
                atexit.register(close)
            _shared.clear()
            _shared[os.getpid()] = Decoder()
        return _shared[os.getpid()]


def close() -> None:
    """End the children of this process; a later call of shared() starts anew."""
    with _sharing:
        made = _shared.pop(os.getpid(), None)
    if made is not None:
        made.close()
