"""Examples of random play: lists of numbers, each of which is a step. One that fails is cut down to the steps that matter."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

from contracts.errors import Reverted
from tests.contracts.chain import Halted
from tests.invariants.driver import Driver
from tests.invariants.play import finish, set_up, step

STEPS = 400
SHRINKING = 60.0  # seconds at most
BROKEN = (AssertionError, Reverted, Halted, LookupError, ValueError)
"""What a bug may look like: a broken rule, a revert where none may be, or nonsense in what the oracle says."""


class Failure(AssertionError):
    """An example that fails, cut down."""


def picks_of(seed: int, steps: int = STEPS) -> list[int]:
    """The example of that number."""
    rng = Random(seed)
    return [rng.getrandbits(32) for _ in range(steps)]


def play(picks: Sequence[int], code: Mapping[str, str] | None = None, counts: Counter[str] | None = None) -> Driver:
    """Play it, and everything to its end. Raises what is in BROKEN."""
    driver = Driver(code, counts)
    play_on(driver, picks)
    return driver


def play_on(driver: Driver, picks: Sequence[int]) -> None:
    set_up(driver)
    for pick in picks:
        step(driver, pick)
    finish(driver)


def find_failure(picks: Sequence[int], code: Mapping[str, str] | None = None) -> Exception | None:
    """What is wrong with the contracts by this example, if anything is."""
    try:
        play(picks, code)
    except BROKEN as failure:
        return failure
    return None


def shrink(picks: Sequence[int], code: Mapping[str, str] | None = None, seconds: float = SHRINKING) -> list[int]:
    """As few of the steps as still fail: ever smaller pieces are left out, from the end on."""
    deadline = time.monotonic() + seconds
    left, size = list(picks), max(len(picks) // 2, 1)
    while time.monotonic() < deadline:
        is_smaller = False
        for start in range(len(left) - size, -1, -size):
            rest = left[:start] + left[start + size :]
            if time.monotonic() < deadline and find_failure(rest, code):
                left, is_smaller = rest, True
        if not is_smaller and size == 1:
            break
        size = max(size // 2, 1)
    return left


def explain(picks: Sequence[int], code: Mapping[str, str] | None = None) -> Failure:
    """The failure of an example, cut down, with all that was done in it."""
    few = shrink(picks, code)
    driver = Driver(code)
    driver.trace = []
    try:
        play_on(driver, few)
    except BROKEN as failure:
        done = "\n  ".join(driver.trace)
        return Failure(f"{type(failure).__name__}: {failure}\nafter\n  {done}\nwhich is play({few})")
    return Failure(f"play({list(picks)}) fails, and a part of it does not any more")
