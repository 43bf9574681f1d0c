"""How benchmarks measure time: of a call, of a process, at a steady rate, and as quantiles."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def time_call(function: Callable[[], T]) -> tuple[T, float]:
    """What a call returns, and its wall-clock seconds."""
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def quantile(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_threads(functions: list[Callable[[], None]]) -> None:
    """Call each function in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def call_at_rate(
    rate: float, seconds: float, function: Callable[[int], None], threads: int
) -> None:
    """Call `function(n)` `rate` times a second, however long the calls take.

    A late call does not delay the others as long as one of the threads is free (open-loop load).
    """
    started, lock, count = time.perf_counter(), threading.Lock(), [0]

    def work() -> None:
        while True:
            with lock:
                number = count[0]
                count[0] += 1
            due = started + number / rate
            if due - started >= seconds:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            function(number)

    run_threads([work] * threads)
