"""Objects that a process makes once, on first use, and shares between its threads."""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar, cast, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Closeable(Protocol):
    """Something that holds processes, files or connections until it is closed."""

    def close(self) -> None: ...


class ProcessCache:
    """One object of each class. A system keeps its caches and clients here, not in its modules."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._objects: dict[type, object] = {}

    def get(self, kind: type[T], create: Callable[[], T]) -> T:
        """The object of this class, created at the first call."""
        with self._lock:
            if kind not in self._objects:
                self._objects[kind] = create()
            return cast(T, self._objects[kind])

    def close(self) -> None:
        """Close every object that can be closed; a later `get` creates a new one."""
        with self._lock:
            objects, self._objects = list(self._objects.values()), {}
        for kept in objects:
            if isinstance(kept, Closeable):
                kept.close()
