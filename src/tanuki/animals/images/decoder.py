"""A pool of child processes that decode pictures, each within limits of memory and time.

A child does one job at a time. It may crash, hang or be killed: that costs one picture.
"""

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
ENVIRONMENT = {"LANG": "C.UTF-8", "VIPS_CONCURRENCY": "1", "MALLOC_ARENA_MAX": "2"}
"""Of a child. Nothing of our own environment, which may hold secrets."""

MAX_MEMORY_MB = 512
"""What decoding a picture may need in all."""
MAX_HEAP_MB = 448
"""What a child may allocate; the rest is the code of its libraries."""
MAX_CPU_SECONDS = 1.8
"""Computing time: a picture may cost two seconds, the rest is for handing it over."""
MAX_WALL_SECONDS = 6.0
"""For a child that hangs. Longer, because on a busy machine a process gets a third of the time."""
START_TIMEOUT_SECONDS = 20.0
"""A child is ready after 0.2 s; if it is not after this, it never will be."""
QUEUE_TIMEOUT_SECONDS = 10.0
"""How long a caller waits for a free child."""
JOBS_PER_PROCESS = 500
"""Then a child is replaced, in case a library loses a little memory with each picture."""
MAX_ANSWER_BYTES = 1 << 26
"""More than any three JPEGs of our sizes."""
TIME_LIMIT_SIGNALS = (-signal.SIGPROF, -signal.SIGALRM)
"""Exit status of a child that its own timers ended."""


@dataclass(frozen=True)
class DecodeJob:
    """source: a format of formats.py. pixels: at most so many. sizes: longest side by name."""

    source: str
    pixels: int
    sizes: dict[str, int]
    quality: int


@dataclass(frozen=True)
class DecodedPhoto:
    """Width and height of the largest size, the mean colour (#rrggbb), a JPEG for each size."""

    width: int
    height: int
    colour: str
    files: dict[str, bytes]


@dataclass(frozen=True)
class Refusal:
    """Why a picture was not decoded: `pixels` (with width and height), `memory`, `time`, `damaged`.

    A picture on which the child crashed counts as damaged.
    """

    reason: str
    width: int = 0
    height: int = 0


class Decoder:
    """At most `max_processes` child processes, started when they are needed. Threads may share it.

    Without a number: one for each core that this process may use.
    """

    def __init__(self, max_processes: int | None = None) -> None:
        self.max_processes = max_processes or len(os.sched_getaffinity(0))
        self.alive: set[DecoderProcess] = set()
        self.peak_mb = 0  # the most memory that any child had after a job
        self._changed = threading.Condition()
        self._free: list[DecoderProcess] = []
        self._busy = 0

    def decode(self, content: bytes, job: DecodeJob) -> DecodedPhoto | Refusal:
        """Decode a picture in a child. Raises TooMany if none is free for long."""
        process = self._take_process()
        try:
            result = process.decode(content, job)
        finally:
            self._return_process(process)
        self.peak_mb = max(self.peak_mb, process.peak_mb)
        return result

    def close(self) -> None:
        """End every child; jobs that are still running are broken off."""
        with self._changed:
            processes, self._free, self.alive = list(self.alive), [], set()
        for process in processes:
            process.end()

    def _take_process(self) -> "DecoderProcess":
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._busy < self.max_processes, QUEUE_TIMEOUT_SECONDS
            ):
                raise TooMany(
                    "Too many pictures are being read at the moment. Please try again in a minute."
                )
            self._busy += 1
            process = self._free.pop() if self._free else None
        if process is not None and process.is_ready():
            return process
        if process is not None:
            self._drop_process(process)
        try:
            started = DecoderProcess()
        except OSError:
            self._count_return()
            raise
        with self._changed:
            self.alive.add(started)
        return started

    def _return_process(self, process: "DecoderProcess") -> None:
        if not process.is_ready() or process.jobs >= JOBS_PER_PROCESS:
            self._drop_process(process)
        else:
            with self._changed:
                if process in self.alive:
                    self._free.append(process)
        self._count_return()

    def _drop_process(self, process: "DecoderProcess") -> None:
        with self._changed:
            self.alive.discard(process)
        process.end()

    def _count_return(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify()


class DecoderProcess:
    """A child that runs cleaning.py. It ends when its input ends, so also if we are killed."""

    def __init__(self) -> None:
        self.jobs = self.peak_mb = 0
        self.timed_out = False
        command = [sys.executable, "-I", str(SCRIPT), str(MAX_HEAP_MB << 20)]
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
        with self._time_limit(START_TIMEOUT_SECONDS):
            ready = self.answers.read(1)
        if not ready:
            self.end()
            raise OSError(
                "the process that decodes pictures does not start: "
                f"exit status {self.process.returncode}"
            )

    def decode(self, content: bytes, job: DecodeJob) -> DecodedPhoto | Refusal:
        self.jobs += 1
        limits = {"cpu_s": MAX_CPU_SECONDS, "wall_s": MAX_WALL_SECONDS}
        request = {**vars(job), "bytes": len(content), **limits}
        answer = None
        # Suppressed: the child died, or its answer makes no sense.
        with (
            self._time_limit(MAX_WALL_SECONDS),
            contextlib.suppress(OSError, ValueError, KeyError, TypeError),
        ):
            self.requests.write(json.dumps(request).encode() + b"\n" + content)
            self.requests.flush()
            answer = self._read_answer()
        if answer is not None and not self.timed_out:
            return answer
        self.end()
        code = self.process.returncode
        log.warning(
            "picture decoder ended",
            extra={"source": job.source, "bytes": len(content), "code": code},
        )
        return Refusal("time" if self.timed_out or code in TIME_LIMIT_SIGNALS else "damaged")

    def _read_answer(self) -> DecodedPhoto | Refusal:
        answer: dict[str, Any] = json.loads(self.answers.readline(10_000))
        self.peak_mb = int(answer["peak_mb"])
        if "refused" in answer:
            return Refusal(
                str(answer["refused"]), int(answer.get("width", 0)), int(answer.get("height", 0))
            )
        lengths = {str(size): int(length) for size, length in answer["files"].items()}
        if sum(lengths.values()) > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
        files = {size: self.answers.read(length) for size, length in lengths.items()}
        if any(len(files[size]) != length for size, length in lengths.items()):
            raise ValueError("the answer is incomplete")
        return DecodedPhoto(
            int(answer["width"]), int(answer["height"]), str(answer["colour"]), files
        )

    def is_ready(self) -> bool:
        """Whether it can take another job."""
        return not self.timed_out and self.process.poll() is None

    def end(self) -> None:
        """Kill it and close its pipes; it may have ended already."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                pipe.close()

    @contextlib.contextmanager
    def _time_limit(self, seconds: float) -> Iterator[None]:
        """Kill the process after so many seconds, which ends all reading and writing."""
        timer = threading.Timer(seconds, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _time_out(self) -> None:
        self.timed_out = True
        self.process.kill()
