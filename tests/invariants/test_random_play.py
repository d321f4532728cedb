"""Random parties in random orders: liars, no-shows, refuters, floods, relays, audits, early and late calls, several jobs at
once. Every call goes to the contracts and to the specification; what is compared is in tests.invariants.lockstep, what the
specification itself must never do in tests.invariants.driver.

QUORATE_CALLS says how many calls are made (default 20,000).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import SECTION
from tests.contracts.test_specification import refusals
from tests.invariants.calldata import NAMES
from tests.invariants.examples import BROKEN, explain, picks_of, play

CALLS = int(os.environ.get("QUORATE_CALLS", "20000"))
ENTRY_POINTS = tuple(NAMES.values())
LEAST_SHARE = 1 / 400
"""Of all calls, for each entry point, must succeed."""
OUTCOMES = (
    "ACCEPTED",
    "ACCEPTED after a refutation",
    "ACCEPTED after a silence",
    "ACCEPTED by execution",
    "ACCEPTED by execution alone",
    "UNAVAILABLE",
    "UNAVAILABLE after a refutation",
    "UNAVAILABLE after a silence",
    "HUNG",
    "HUNG after a refutation",
    "HUNG after a silence",
    "EXPIRED undrawn",
    "EXPIRED with too few seats",
)
PROMISES = (
    "honest seats kept",
    "honest seats kept beside a lie",
    "abstentions kept",
    "abstentions kept beside a lie",
    "honest audit bonds kept",
)
NEVER = {"BadBound", "ModelNotMeasured"}
"""Refusals of deployments and of models that this play does not have."""
FROM_ELSEWHERE = {"", "UnknownModel", "ExecutionUnfinished", "WrongProof"}
"""Refusals of the registry and the seed source, and of a payment where none is taken."""
PLAYED: Counter[str] = Counter()
"""Entry point → calls that succeeded; "… refused" → calls that were refused; "outcome …" → jobs; "error …" → refusals."""


def calls_made() -> int:
    return sum(PLAYED[name] + PLAYED[f"{name} refused"] for name in ENTRY_POINTS)


def errors_to_see() -> list[str]:
    """Every refusal of the specification that random play can come to."""
    return sorted((set(refusals()) - NEVER) | FROM_ELSEWHERE)


def distribution(seconds: float) -> list[str]:
    """A line for each entry point, outcome and promise, and all refusals."""
    lines = [f"{'entry point':<16}{'succeeded':>10}{'refused':>10}"]
    lines += [f"{name:<16}{PLAYED[name]:>10,}{PLAYED[f'{name} refused']:>10,}" for name in ENTRY_POINTS]
    succeeded, total = sum(PLAYED[name] for name in ENTRY_POINTS), calls_made()
    lines.append(f"{'all':<16}{succeeded:>10,}{total - succeeded:>10,}  {succeeded / max(total, 1):.0%} succeeded")
    lines.append(f"{total / seconds:,.0f} calls a second of processor time")
    lines += [f"{name:<40}{PLAYED[f'outcome {name}']:>8,} jobs" for name in OUTCOMES]
    lines += [f"{name:<40}{PLAYED[name]:>8,}" for name in PROMISES]
    seen = [f"{name or 'unpaid entry points'} {PLAYED[f'error {name}']:,}" for name in errors_to_see()]
    return lines + ["refused with: " + ", ".join(seen[at : at + 6]) for at in range(0, len(seen), 6)]


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_whatever_anybody_tries_the_contracts_do_what_the_specification_does(
    record_property: Callable[[str, object], None],
) -> None:
    example, started = 0, time.process_time()
    while calls_made() < CALLS:
        picks = picks_of(example)
        try:
            play(picks, counts=PLAYED)
        except BROKEN:
            raise explain(picks) from None
        example += 1
    record_property(SECTION, distribution(time.process_time() - started))
    assert 2 * sum(PLAYED[name] for name in ENTRY_POINTS) >= calls_made(), "most calls were nonsense"
    rare = [name for name in ENTRY_POINTS if PLAYED[name] < LEAST_SHARE * calls_made()]
    assert not rare, f"hardly ever succeeded: {rare}"
    assert not (unseen := [name for name in OUTCOMES if not PLAYED[f"outcome {name}"]]), f"no job ended {unseen}"
    assert not (unseen := [name for name in errors_to_see() if not PLAYED[f"error {name}"]]), f"never refused: {unseen}"
    assert all(PLAYED[name] for name in PROMISES), "hardly anybody was honest"
