"""Random parties in random orders: liars, no-shows, refuters, floods, early and late calls, several jobs at once.

QUORATE_CALLS says how many calls are made (default 20,000). What is checked after each is in tests.invariants.driver.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.conftest import SECTION
from tests.invariants.calldata import ENTRY_POINTS
from tests.invariants.driver import Driver
from tests.invariants.play import finish, set_up, step

CALLS = int(os.environ.get("QUORATE_CALLS", "20000"))
BATCH = 20  # examples for each seed
OUTCOMES = (
    "ACCEPTED",
    "ACCEPTED after a refutation",
    "ACCEPTED after a silence",
    "HUNG",
    "HUNG after a refutation",
    "HUNG after a silence",
    "EXPIRED undrawn",
    "EXPIRED with too few seats",
)
HONEST = ("honest seats kept", "honest seats kept beside a lie")
PLAYED: Counter[str] = Counter()
"""Entry point → calls that succeeded; "… refused" → calls that reverted; "outcome …" → jobs."""


class RandomPlay(RuleBasedStateMachine):
    """Each step is a number, and a number is a move: hypothesis shrinks a failure to the few that matter."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(counts=PLAYED)
        self.broken = False
        set_up(self.driver)

    @rule(pick=st.integers(0, 2**32 - 1))
    def step(self, pick: int) -> None:
        try:
            step(self.driver, pick)
        except AssertionError:
            self.broken = True
            raise

    def teardown(self) -> None:
        if not self.broken:
            finish(self.driver)


def calls_made() -> int:
    return sum(PLAYED[name] + PLAYED[f"{name} refused"] for name in ENTRY_POINTS)


def distribution() -> list[str]:
    """A line for each entry point and outcome."""
    lines = [f"{'entry point':<16}{'succeeded':>10}{'refused':>10}"]
    lines += [f"{name:<16}{PLAYED[name]:>10,}{PLAYED[f'{name} refused']:>10,}" for name in ENTRY_POINTS]
    succeeded, total = sum(PLAYED[name] for name in ENTRY_POINTS), calls_made()
    lines.append(f"{'all':<16}{succeeded:>10,}{total - succeeded:>10,}  {succeeded / max(total, 1):.0%} succeeded")
    lines += [f"{name:<40}{PLAYED[f'outcome {name}']:>8,} jobs" for name in OUTCOMES]
    return lines + [f"{name:<40}{PLAYED[name]:>8,}" for name in HONEST]


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_no_order_of_calls_breaks_the_books_or_an_honest_seat(record_property: Callable[[str, object], None]) -> None:
    number = 0
    while calls_made() < CALLS:
        number += 1
        machine = seed(number)(type(f"RandomPlay{number}", (RandomPlay,), {}))
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=BATCH,
                stateful_step_count=400,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            ),
        )
    record_property(SECTION, distribution())
    succeeded = sum(PLAYED[name] for name in ENTRY_POINTS)
    assert 2 * succeeded >= calls_made()
    for name in ENTRY_POINTS:
        assert PLAYED[name] * 200 >= calls_made(), f"{name} hardly ever succeeded: {PLAYED[name]}"
    for name in OUTCOMES:
        assert PLAYED[f"outcome {name}"], f"no job ended {name}"
    assert all(PLAYED[name] * 100 >= calls_made() for name in HONEST), "hardly anybody was honest"
