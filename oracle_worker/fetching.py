"""What a process fetches at the moment: each job's data once at a time, whoever asks, and not again at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PAUSE_SECONDS = 10.0
"""How long the same is not fetched again: it could not be had, or the disk lost it at once."""
MOST_REMEMBERED = 1024


class Fetching:
    """Downloads by what they are for (any bytes), and what waits for each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[bytes, set[int | None]] = {}
        self._rests_until: dict[bytes, float] = {}

    def begin(self, what: bytes, waiting: int | None) -> bool:
        """Whether the caller is to fetch it now. If somebody else does, `waiting` waits with them."""
        with self._lock:
            if what in self._waiting:
                self._waiting[what].add(waiting)
                return False
            if self._clock() < self._rests_until.get(what, 0.0):
                return False
            self._waiting[what] = {waiting}
            return True

    def end(self, what: bytes) -> set[int | None]:
        """What waited for it."""
        with self._lock:
            self._rests_until.pop(what, None)
            self._rests_until[what] = self._clock() + PAUSE_SECONDS
            if len(self._rests_until) > MOST_REMEMBERED:
                del self._rests_until[next(iter(self._rests_until))]
            return self._waiting.pop(what)
