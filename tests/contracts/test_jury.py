"""Identity buys nothing: a stake fills as many seats of a jury however it is split over addresses."""

from __future__ import annotations

from importlib import import_module
from math import sqrt
from random import Random
from statistics import fmean, variance

import pytest
from eth_hash.auto import keccak

from contracts import stake
from tests.contracts.chain import party

JOBS = 10_000
SPLITS = (1, 2, 10, 100)
MINE, OTHERS = 100, 100  # tickets
SEATS = 8
SEED = 20_261


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four million tickets: with the C extension where it is installed (the same function, five times as fast)."""
    try:
        sha3 = import_module("sha3")
    except ImportError:
        return
    assert sha3.keccak_256(b"ticket").digest() == keccak(b"ticket")
    monkeypatch.setattr(stake, "keccak", lambda data: sha3.keccak_256(data).digest())


def filled_seats(rng: Random, won: int, others: int) -> int:
    """How many of a jury's seats go to one stake if all winning tickets come in random order."""
    if won + others <= SEATS:
        return won
    return sum(ticket < won for ticket in rng.sample(range(won + others), SEATS))


@pytest.mark.slow
def test_splitting_a_stake_changes_neither_the_mean_nor_the_spread_of_its_seats() -> None:
    rng = Random(SEED)
    total = MINE + OTHERS  # a seat's stake is 1 wei here: a ticket a wei
    seats: dict[int, list[int]] = {split: [] for split in SPLITS}
    for _ in range(JOBS):
        seed = rng.randbytes(stake.SEED_BYTES)
        others = sum(rng.random() * total < SEATS for _ in range(OTHERS))
        for split in SPLITS:
            each = MINE // split
            won = sum(
                1
                for address in range(split)
                for _ in stake.winning_tickets(seed, party(f"mine {split} {address}"), each, SEATS, total)
            )
            seats[split].append(filled_seats(rng, won, others))
    for one in SPLITS:
        for other in SPLITS:
            error = sqrt((variance(seats[one]) + variance(seats[other])) / JOBS)
            assert abs(fmean(seats[one]) - fmean(seats[other])) <= 4 * error, (one, other)
            # The variance of a variance, for counts as light-tailed as these.
            spread = sqrt(2 / JOBS) * (variance(seats[one]) + variance(seats[other]))
            assert abs(variance(seats[one]) - variance(seats[other])) <= 4 * spread, (one, other)
    expected = SEATS * MINE / total
    assert all(
        0.8 * expected < fmean(seats[split]) <= expected * 1.02 for split in SPLITS
    )  # full juries turn some away


def test_a_test_that_looked_at_the_address_would_be_noticed() -> None:
    """The same comparison tells apart stakes that differ by a tenth."""
    rng = Random(SEED)
    counts: dict[int, list[int]] = {MINE: [], MINE * 9 // 10: []}
    for _ in range(JOBS // 2):
        seed = rng.randbytes(stake.SEED_BYTES)
        for tickets, seen in counts.items():
            seen.append(
                sum(1 for _ in stake.winning_tickets(seed, party(f"a stake of {tickets}"), tickets, SEATS, 200))
            )
    larger, smaller = counts.values()
    error = sqrt((variance(larger) + variance(smaller)) / len(larger))
    assert fmean(larger) - fmean(smaller) > 4 * error
