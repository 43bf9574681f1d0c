"""Work beside the requests: shadow requests, on a thread of low priority."""

import os
import threading
from collections import deque
from collections.abc import Callable

MAX_QUEUED_SHADOWS = 64
"""Further ones are dropped: shadows must not take the champion's time."""
BACKGROUND_NICENESS = 10
IDLE_SECONDS = 0.5


class ShadowQueue:
    """Shadow requests that wait for their thread."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()
        self.changed = threading.Condition()
        self.closed = False

    def add(self, request: Callable[[], None]) -> None:
        """Run a request when the thread has time; dropped when too many wait."""
        with self.changed:
            if len(self.waiting) < MAX_QUEUED_SHADOWS:
                self.waiting.append(request)
                self.changed.notify()

    def run(self) -> None:
        """Run shadow requests, one after the other, until closed."""
        lower_priority()
        while True:
            with self.changed:
                while not self.waiting and not self.closed:
                    self.changed.wait(IDLE_SECONDS)
                if self.closed:
                    return
                request = self.waiting.popleft()
            request()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def lower_priority() -> None:
    """Give this thread a core only when no request needs it: loading must not slow answers."""
    if hasattr(os, "setpriority"):
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + BACKGROUND_NICENESS
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, 19))
