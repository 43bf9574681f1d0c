"""Garbage collection: keeps Python's full collections from stopping a server's requests.

A full collection visits all objects while every request waits: 0.2 s every 14 s, under load, with
the models of the example site loaded.
"""

import gc
import time
from collections.abc import Callable
from typing import Any

SLOW_COLLECTION_SECONDS = 0.03  # a pause that a visitor may notice
MAX_FREEZES = 10  # each may keep a little garbage for good


def freeze_long_lived_objects() -> Callable[[str, dict[str, Any]], None]:
    """Freeze all current objects (`gc.freeze`), so that full collections skip them.

    Freezes again after each slow collection, at most ten times. What survives one, such as
    libraries, caches and models, stays for long. Returns the new member of `gc.callbacks`.
    """
    started_at, freezes_left = 0.0, MAX_FREEZES

    def freeze_after_slow_collection(phase: str, info: dict[str, Any]) -> None:
        nonlocal started_at, freezes_left
        if info["generation"] < 2:
            return
        if phase == "start":
            started_at = time.perf_counter()
        elif freezes_left and time.perf_counter() - started_at > SLOW_COLLECTION_SECONDS:
            freezes_left -= 1
            gc.freeze()

    gc.collect()
    gc.freeze()
    gc.callbacks.append(freeze_after_slow_collection)
    return freeze_after_slow_collection
