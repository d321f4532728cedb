"""What a fault is, and the register of all kinds.

A fault is a generator: it does its harm, yields once in every tick while it lasts, and undoes what it did when it is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.chaos.phases import PHASES
from tests.chaos.stage import Stage

Harm = Callable[[Stage, Random], Iterator[None]]
OUTAGE = (6.0, 14.0)
"""Seconds that most faults last; of windows of three minutes."""


@dataclass(frozen=True)
class Fault:
    """seconds: shortest and longest that it lasts; None: to the end of the run. control: what of a record it must fill, where
    it is beyond what is promised: whether the campaign would notice."""

    name: str
    family: str
    harm: Harm
    seconds: tuple[float, float] | None
    phases: tuple[str, ...]
    needs: Callable[[], str | None]
    """What this machine lacks for it; None if nothing."""
    control: Literal["lost", "twice"] | None = None


FAULTS: dict[str, Fault] = {}


def _nothing() -> str | None:
    return None


def fault(
    name: str,
    family: str,
    *,
    seconds: tuple[float, float] | None = OUTAGE,
    phases: tuple[str, ...] = tuple(PHASES),
    needs: Callable[[], str | None] = _nothing,
    control: Literal["lost", "twice"] | None = None,
) -> Callable[[Harm], Harm]:
    """Put a kind of fault into the register."""

    def register(harm: Harm) -> Harm:
        assert name not in FAULTS, name
        FAULTS[name] = Fault(name, family, harm, seconds, phases, needs, control)
        return harm

    return register


def lasting() -> Iterator[None]:
    """Nothing more to do until it is closed."""
    while True:
        yield


def working(work: Callable[[threading.Event], None], hands: int = 1) -> Iterator[None]:
    """Until it is closed, `work` in so many threads, each of which ends when the event is set."""
    ended = threading.Event()
    threads = [threading.Thread(target=work, args=(ended,), daemon=True) for _ in range(hands)]
    for thread in threads:
        thread.start()
    try:
        yield from lasting()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
