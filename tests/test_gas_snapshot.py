"""The gas of every entry point, from receipts, against the checked-in snapshot and the limits that we promise."""

from __future__ import annotations

import json

import pytest

from benchmarks import gas
from benchmarks.__main__ import SNAPSHOT

pytestmark = pytest.mark.slow
TOLERANCE = 0.01
LIMITS = {
    "job/direct/3": 560_000,
    "job/direct/5": 860_000,
    "job/direct/10": 1_500_000,
    "job/direct/31": 4_400_000,
    "job/relayed/3": 340_000,
    "job/relayed/5": 420_000,
    "job/relayed/10": 620_000,
    "job/relayed/31": 1_500_000,
    "commit": 60_000,
    "reveal": 75_000,
    "refute/wine-grading": 120_000,
    "refute/13-32-16-3/1000": 110_000,
    "verdict/depth10": 12_000,
    "execute/13-32-16-3": 30_000,
    "execute/digit-tagging": 1_400_000,
    "gas_per_mac/64-128-64-10": 6.0,
}


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    """Everything measured once."""
    return {row["name"]: row["value"] for row in gas.measure()}


def test_gas_is_what_the_snapshot_says(measured: dict[str, float]) -> None:
    kept = json.loads(SNAPSHOT.read_text())
    assert measured.keys() == kept.keys(), "run `python -m benchmarks gas --snapshot`"
    moved = {
        name: (kept[name], now) for name, now in measured.items() if abs(now - kept[name]) > TOLERANCE * kept[name]
    }
    assert moved == {}, "if this is meant, run `python -m benchmarks gas --snapshot`"


@pytest.mark.parametrize("name", LIMITS)
def test_gas_stays_below_its_limit(measured: dict[str, float], name: str) -> None:
    assert measured[name] <= LIMITS[name]
