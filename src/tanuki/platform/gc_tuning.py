"""Python's full collections of garbage stop every request of a server while they look at all objects there are: here 0.2 s every 14 s under load."""

import gc
import time
from collections.abc import Callable
from typing import Any

SLOW_COLLECTION_SECONDS = 0.03  # seconds; a pause that somebody may notice
MAX_FREEZES = 10  # times that what is there is left out; each may keep a little garbage for good


def freeze_long_lived_objects() -> Callable[[str, dict[str, Any]], None]:
    """Leave out of full collections what there is now, and again what has survived one that took long: libraries, caches and models, which stay.

    Gives what was added to `gc.callbacks`.
    """
    began, left = 0.0, MAX_FREEZES

    def look(phase: str, about: dict[str, Any]) -> None:
        nonlocal began, left
        if about["generation"] < 2:
            return
        if phase == "start":
            began = time.perf_counter()
        elif left and time.perf_counter() - began > SLOW_COLLECTION_SECONDS:
            left -= 1
            gc.freeze()

    gc.collect()
    gc.freeze()
    gc.callbacks.append(look)
    return look
