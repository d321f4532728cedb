"""Where the chain stands: its head, whose clock decides phases, and how far its blocks are confirmed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Head and confirmed block of one look at the chain. Times are the blocks', in unix seconds."""

    now: int
    """The head's time."""
    block_number: int
    """The head's number."""
    confirmed_time: int
    """The time of the block up to which events are recorded; 0 before the first."""
    confirmed_block: int

    @property
    def delay(self) -> int:
        """Seconds after which we learn what happened."""
        return self.now - self.confirmed_time
