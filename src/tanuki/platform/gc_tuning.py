"""Python's full collections of garbage stop every request of a server while they look at all objects there are: here 0.2 s every 14 s under load."""

import gc
import time
from collections.abc import Callable
from typing import Any

LONG = 0.03  # seconds; a pause that somebody may notice
MOST = 10  # times that what is there is left out; each may keep a little garbage for good


def keep_short() -> Callable[[str, dict[str, Any]], None]:
    """Leave out of full collections what there is now, and again what has survived one that took long: libraries, caches and models, which stay.

    Gives what was added to `gc.callbacks`.
    """
    began, left = 0.0, MOST

    def look(phase: str, about: dict[str, Any]) -> None:
        nonlocal began, left
        if about["generation"] < 2:
            return
        if phase == "start":
            began = time.perf_counter()
        elif left and time.perf_counter() - began > LONG:
            left -= 1
            gc.freeze()

    gc.collect()
    gc.freeze()
    gc.callbacks.append(look)
    return look
