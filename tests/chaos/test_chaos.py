"""A small part of `make chaos`, for every day: runs of every family, at every moment; and controls that must not go well."""

from __future__ import annotations

import pytest

from coordinator.devnet import find_anvil
from tests.chaos.books import Sent, bill
from tests.chaos.campaign import every_run, lanes, told
from tests.chaos.fault import FAULTS
from tests.chaos.phases import PHASES
from tests.chaos.play import Record, Run
from tests.chaos.table import markdown
from tests.end_to_end.services import redis_server
from tests.requirements import missing

LOST, TWICE = "the signer away until after its reveal window", "every transaction sent once more"
DAILY = {
    "the machine lost power, Redis with it": "before its reveal",
    "the disk wiped, the keystore kept": "before its reveal",
    "the database overwritten": "before the draw",
    "the machine's clock an hour behind": "after the settlement",
    "Redis stopped": "before the refutation",
    "messages repeated": "before the refutation",
    "2 blocks reorganised, transactions lost": "after its commit",
    "transactions held back and handed over late": "before its reveal",
    "fees times a hundred": "after its reveal",
    "all nodes lag": "after the refutation",
    "one node of three hides events": "before the refutation",
    "data corrupt": "before its commit",
}
LANES = 3


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """By fault: the daily runs and the controls."""
    if find_anvil() is None:
        missing("anvil", "npm install --prefix .tools @foundry-rs/anvil")
    redis_server()
    for name in DAILY:
        if why := FAULTS[name].needs():
            missing("a tool for a fault", why)
    runs = [Run(name, phase, 0) for name, phase in DAILY.items()]
    runs += [Run(name, FAULTS[name].phases[0], 0) for name in (LOST, TWICE)]
    return {run.fault: record for run, record in lanes(runs, LANES, tmp_path_factory.mktemp("lanes"))}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", DAILY)
def test_an_honest_operator_loses_nothing_and_pays_for_nothing_twice(records: dict[str, Record], name: str) -> None:
    record = records[name]
    assert record.is_good, f"{told(record)}\n{record}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stake_that_is_lost_is_noticed(records: dict[str, Record]) -> None:
    record = records[LOST]
    assert record.lost > 0 and record.seated, told(record)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_duty_that_is_paid_for_twice_is_noticed(records: dict[str, Record]) -> None:
    record = records[TWICE]
    assert "reveal" in record.twice and record.wasted > 0, told(record)


def test_there_are_enough_kinds_at_every_moment() -> None:
    runs = list(every_run(list(FAULTS), list(PHASES), [0]))
    assert len(runs) >= 300
    everywhere = [fault for fault in FAULTS.values() if set(fault.phases) == set(PHASES)]
    assert len(everywhere) >= 20
    assert set(DAILY.values()) == set(PHASES)
    families = {fault.family for fault in FAULTS.values() if not fault.control}
    assert {FAULTS[name].family for name in DAILY} == families


def sent(duty: str, arguments: str = "", *, succeeded: bool = True, sender: str = "0xab") -> Sent:
    return Sent(sender, duty, arguments, succeeded, 7)


def test_the_bill_tells_repetitions_from_races_and_from_what_is_done_several_times() -> None:
    made = [
        sent("commit", "a"),
        sent("demand", "node 1"),
        sent("demand", "node 2"),
        sent("settle", succeeded=False),
        sent("reveal", "x", succeeded=False),
        sent("reveal", "y"),
        sent("commit", "b", sender="0xcd"),
    ]
    found = bill(made, "0xAB")
    assert (found.twice, found.reverted, found.wasted, found.sent) == (["reveal"], ["settle"], 14, 6)


def test_the_table_shows_what_went_badly() -> None:
    def record(phase: str, **changes: object) -> Record:
        return Record("Redis flushed", phase, 0, 1, True, **{"reached": True, "outcome": "accepted", **changes})  # type: ignore[arg-type]

    good, lost, twice, bad = (
        record("before the draw"),
        record("before its commit", lost=5),
        record("after its commit", twice=["commit"]),
        record("before its reveal", left_over=True),
    )
    control = Record(LOST, "before its reveal", 0, 1, True, reached=True, lost=9)
    text = markdown([good, lost, twice, bad, control])
    assert "4 runs of 1 kinds of fault: 5 wei of honest stake lost, 1 duties paid for twice" in text
    assert "| Redis flushed | ✓ | **lost** | **twice** | **bad** |  |" in text
    assert [good.is_good, lost.is_good, twice.is_good, bad.is_good, control.is_good] == [
        True,
        False,
        False,
        False,
        True,
    ]
