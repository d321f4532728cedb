"""How long a signer takes for a duty, one after the other: whoever holds seats must be able to open them all at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

REMEMBERED = 8
LONGEST_MEMORY = 600.0
"""Seconds after which a duty says nothing any more of how long the next one takes."""


class Pace:
    """Of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)

    def note(self, seconds: float) -> None:
        """A commit or a reveal, which is like it, took so long from its first look at the chain until a block held it."""
        self._taken.append((self._clock(), seconds))

    def seconds(self, usual: float) -> float:
        """What the next ones will take each: as the last ones did, but no less than is usual."""
        now = self._clock()
        recent = [seconds for at, seconds in self._taken if now - at < LONGEST_MEMORY]
        return max(usual, median(recent)) if recent else usual
