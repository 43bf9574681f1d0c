"""Versions in memory: each loaded once, held by its requests, and let go with the last of them when nobody wants it any more."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tanuki.platform.mlops import runtimes
from tanuki.platform.object_store import Objects
from tanuki.platform.serving.batching import Lane

Key = tuple[str, str]  # model and version

EXTRA = 2  # versions that are asked for by number and stand in no plan, kept loaded


@dataclass
class Loaded:
    """A version in memory, and how many requests hold it."""

    version: str
    lane: Lane
    users: int = 0
    retired: bool = False


class Memory:
    """The versions of this process. `lock` is held for moments only, never while a version is loaded."""

    def __init__(self, files: Objects, cache: Path) -> None:
        self.files, self.cache = files, cache
        self.lock = threading.RLock()
        self.found: dict[Key, Loaded] = {}
        self.extra: list[Key] = []

    def load(self, key: Key, prefix: str) -> Loaded:
        """A version in memory, warmed up. Raises ModelError."""
        with self.lock:
            found = self.found.get(key)
            if found is not None:
                found.retired = False
                return found
        made = Loaded(key[1], Lane(runtimes.opened(self.files, prefix, self.cache)))
        with self.lock:
            self.found[key] = made
        return made

    def hold(self, key: Key) -> Loaded | None:
        """A version that stays until it is let go of; None when it is not loaded."""
        with self.lock:
            found = self.found.get(key)
            if found is not None:
                found.users += 1
            return found

    @contextmanager
    def holding(self, key: Key, found: Loaded) -> Iterator[Loaded]:
        """Let go of a version when its request has ended."""
        try:
            yield found
        finally:
            with self.lock:
                found.users -= 1
                if found.retired and not found.users:
                    self.free(key, found)

    def borrow(self, key: Key, prefix: str, planned: Callable[[Key], bool]) -> Loaded:
        """Load a version that no plan names, and hold it; the one borrowed longest ago goes."""
        found = self.load(key, prefix)
        with self.lock:
            found.users += 1
            self.extra = [*(each for each in self.extra if each != key), key]
            while len(self.extra) > EXTRA:
                gone = self.extra.pop(0)
                if not planned(gone):
                    self.retire(gone)
        return found

    def retire(self, key: Key) -> None:
        """Let a version go, now or with its last request; one that was asked for by its number stays a while."""
        with self.lock:
            found = self.found.get(key)
            if found is None or key in self.extra:
                return
            found.retired = True
            if not found.users:
                self.free(key, found)

    def free(self, key: Key, found: Loaded) -> None:
        """Forget a version."""
        with self.lock:
            if self.found.get(key) is found:
                del self.found[key]
        found.lane.close()

    def close(self) -> None:
        """Let everything go."""
        with self.lock:
            for key, found in list(self.found.items()):
                self.free(key, found)
