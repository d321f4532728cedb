"""Words of calldata with more bits than their type has: the oracle hashes a job's terms as they lie there, so no such word may
make another job of one that is, or a job that nobody could name.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from eth_utils import keccak

from contracts import specification as spec
from contracts.job import NOBODY, TERMS_TYPES, Job, Terms
from tests.invariants import calldata, moves
from tests.invariants.arena import DATA_URI, REQUESTERS, Arena
from tests.invariants.calldata import word
from tests.invariants.driver import Driver
from tests.invariants.play import set_up

NARROW = [place for place, kind in enumerate(TERMS_TYPES) if kind != "bytes32"]
"""Of the 18 words of terms."""
REQUESTER = -2
"""Its place before the terms, in a job."""
UNKNOWN_JOB = keccak(text="UnknownJob(bytes32)")[:4]


def dirty(data: bytes, at: int, bit: int = 255) -> bytes:
    """The same with one more bit in the word that begins there."""
    changed = int.from_bytes(data[at : at + 32]) ^ 1 << bit
    return data[:at] + word(changed) + data[at + 32 :]


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    set_up(made)
    return made


def make_terms(driver: Driver) -> Terms:
    made = moves.make_terms(driver, Random(7))
    assert made is not None
    return replace(made[0], consumer=NOBODY, callback_gas=0)


@pytest.mark.parametrize("place", NARROW)
def test_no_job_is_created_with_a_bit_too_many(driver: Driver, place: int) -> None:
    terms = make_terms(driver)
    data = calldata.encode(spec.create_job, 1, terms, DATA_URI)
    assert attempt(driver.arena, dirty(data, 4 + 32 * (1 + place)), terms.payment) == (False, b"")
    assert attempt(driver.arena, data, terms.payment)[0]


@pytest.mark.parametrize("place", [REQUESTER, *NARROW])
def test_no_job_is_meant_by_a_bit_too_many(driver: Driver, place: int) -> None:
    terms = make_terms(driver)
    assert attempt(driver.arena, calldata.encode(spec.create_job, 1, terms, DATA_URI), terms.payment)[0]
    job = Job(REQUESTERS[0], 1, terms)
    for entry_point, arguments in ((spec.settle, (bytes(32), ())), (spec.execute_job, (b"",)), (spec.deliver, ())):
        data = calldata.encode(entry_point, job, *arguments)
        done, output = attempt(driver.arena, dirty(data, 4 + 32 * (2 + place)))
        assert not done and output[:4] in (UNKNOWN_JOB, b"")


def attempt(places: Arena, data: bytes, value: int = 0) -> tuple[bool, bytes]:
    return places.chain.attempt(REQUESTERS[0], places.oracle, data, value)
