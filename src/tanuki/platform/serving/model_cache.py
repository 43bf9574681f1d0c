"""Versions in memory: loaded once, held by their requests, unloaded with the last of them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tanuki.platform.mlops.registry import Registry
from tanuki.platform.serving.batching import ModelQueue

VersionKey = tuple[str, str]  # model and version

MAX_UNPLANNED_VERSIONS = 2
"""Versions that were asked for by number and stand in no rollout, kept loaded."""


@dataclass
class LoadedVersion:
    """A version in memory, and how many requests hold it."""

    version: str
    queue: ModelQueue
    users: int = 0
    retired: bool = False


class ModelCache:
    """The versions of this process. `lock` is held for moments only, never during a load."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.registry, self.folder = registry, folder
        self.lock = threading.RLock()
        self.loaded: dict[VersionKey, LoadedVersion] = {}
        self.unplanned: list[VersionKey] = []

    def load(self, key: VersionKey, prefix: str) -> LoadedVersion:
        """A version in memory, warmed up. Raises ModelError."""
        with self.lock:
            version = self.loaded.get(key)
            if version is not None:
                version.retired = False
                return version
        runner = self.registry.load_runner(prefix, self.folder)
        version = LoadedVersion(key[1], ModelQueue(runner))
        with self.lock:
            self.loaded[key] = version
        return version

    def acquire(self, key: VersionKey) -> LoadedVersion | None:
        """A version that stays until it is released; None when it is not loaded."""
        with self.lock:
            version = self.loaded.get(key)
            if version is not None:
                version.users += 1
            return version

    @contextmanager
    def releasing(self, key: VersionKey, version: LoadedVersion) -> Iterator[LoadedVersion]:
        """Release an acquired version at the end of the block."""
        try:
            yield version
        finally:
            with self.lock:
                version.users -= 1
                if version.retired and not version.users:
                    self.unload(key, version)

    def acquire_unplanned(
        self, key: VersionKey, prefix: str, is_planned: Callable[[VersionKey], bool]
    ) -> LoadedVersion:
        """Load and acquire a version that no rollout names; the least recent of them goes."""
        version = self.load(key, prefix)
        with self.lock:
            version.users += 1
            self.unplanned = [*(other for other in self.unplanned if other != key), key]
            while len(self.unplanned) > MAX_UNPLANNED_VERSIONS:
                oldest = self.unplanned.pop(0)
                if not is_planned(oldest):
                    self.retire(oldest)
        return version

    def retire(self, key: VersionKey) -> None:
        """Unload a version, now or with its last request, unless it is kept as an unplanned one."""
        with self.lock:
            version = self.loaded.get(key)
            if version is None or key in self.unplanned:
                return
            version.retired = True
            if not version.users:
                self.unload(key, version)

    def unload(self, key: VersionKey, version: LoadedVersion) -> None:
        with self.lock:
            if self.loaded.get(key) is version:
                del self.loaded[key]
        version.queue.close()

    def close(self) -> None:
        """Unload everything."""
        with self.lock:
            for key, version in list(self.loaded.items()):
                self.unload(key, version)
