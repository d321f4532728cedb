"""The shared vectors, run by Solidity and by its Python twins."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pyrevm import AccountInfo

from contracts import commitment, errors, gas_budget, job, stake, tally
from contracts.job import Job, JobState, Outcome, Phase, Terms
from contracts.tally import Tally
from tests.contracts.chain import Chain, Contract, load, party
from tests.contracts.world import NewWorld
from tests.vectors import make

VECTORS = Path(make.__file__).parent
STATE_COUNT = len(json.loads((VECTORS / "phase.json").read_text())["states"])


@cache
def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


def harness() -> Contract:
    chain = Chain()
    deployed = chain.deploy(load("ProtocolHarness")["bytecode"])
    return Contract(chain, deployed, "ProtocolHarness")


def unhex(value: Any) -> Any:
    """Bytes where there was hex, except addresses."""
    if isinstance(value, list):
        return [unhex(each) for each in value]
    return bytes.fromhex(value[2:]) if isinstance(value, str) and len(value) == 66 else value


def terms_of(values: list[Any]) -> Terms:
    return Terms.of_tuple(unhex(values))


def state_of(values: list[Any]) -> JobState:
    return JobState.of_tuple(unhex(values))


def as_abi(state: JobState) -> tuple[Any, ...]:
    return tuple(getattr(state, name) for name in JobState.__dataclass_fields__)


@pytest.mark.parametrize("name", sorted(make.make()))
def test_the_committed_vectors_are_what_the_script_makes(name: str) -> None:
    assert (VECTORS / name).read_text() == make.make()[name]


@pytest.mark.parametrize("case", vectors("job")["jobs"], ids=lambda case: case["id"][:10])
def test_job_ids(case: dict[str, Any]) -> None:
    requester, nonce, terms = case["job"]
    made = Job(requester, nonce, terms_of(terms))
    assert made.id(1, vectors("job")["contract"]) == unhex(case["id"])
    chain = Chain()  # the harness must stand at the vectors' address: the id binds it
    oracle = vectors("job")["contract"]
    place_at(chain, oracle)
    assert Contract(chain, oracle, "ProtocolHarness").read("jobId", made.as_tuple()) == unhex(case["id"])


def place_at(chain: Chain, address: str) -> None:
    deployed = chain.deploy(load("ProtocolHarness")["bytecode"])
    chain.evm.insert_account_info(address, AccountInfo(code=chain.evm.get_code(deployed)))


def test_ticket_seeds_and_odds() -> None:
    solidity = harness()
    for randomness, job_id, seed in unhex(vectors("ticket")["seeds"]):
        assert stake.seed_of(randomness, job_id) == seed == solidity.read("seedOf", randomness, job_id)
    for window, remaining, factor in vectors("ticket")["odds"]:
        assert stake.odds_factor(window, remaining) == factor == solidity.read("oddsFactor", window, remaining)


def test_winning_tickets_to_the_last_bit() -> None:
    solidity = harness()
    outcomes = set()
    for seed, worker, ticket, expected, total, won in vectors("ticket")["wins"]:
        assert stake.wins(unhex(seed), worker, ticket, expected, total) == won
        assert solidity.read("wins", unhex(seed), worker, ticket, expected, total) == won
        outcomes.add(won)
    assert outcomes == {True, False}


@pytest.mark.parametrize("case", vectors("commitment"), ids=lambda case: case["commitment"][:10])
def test_commitments(case: dict[str, str]) -> None:
    job_id, root, salt = unhex([case["job_id"], case["root"], case["salt"]])
    worker: Any = case["worker"]
    sealed = commitment.compute(job_id, worker, root, salt)
    assert sealed == unhex(case["commitment"]) == harness().read("commitment", job_id, worker, root, salt)
    digest = bytes.fromhex(case["digest"][2:])
    assert commitment.digest_of(root) == digest == harness().read("digestOf", root)
    secret, sealed_root = unhex([case["secret"], case["sealed_root"]])
    assert commitment.seal(root, secret, sealed) == sealed_root
    assert commitment.unseal(sealed_root, secret, sealed) == root


@pytest.mark.parametrize("number", range(STATE_COUNT))
def test_phases_at_every_edge(number: int) -> None:
    phases = vectors("phase")
    terms, state = terms_of(phases["terms"]), state_of(phases["states"][number])
    solidity = harness()
    solidity.send(party("ann"), "setState", as_abi(state))
    ends = solidity.read("ends", terms.as_tuple(), 1)
    assert [ends[0], ends[1], ends[3]] == phases["ends"][number]
    assert ends[2] == job.demand_end(state, terms, 1)
    for index, now, block, expected in phases["cases"]:
        if index == number:
            assert job.phase(state, terms, now, block) == expected
            solidity.chain.time, solidity.chain.number = now, block
            solidity.chain.roll(0, 0)
            assert solidity.read("phase", terms.as_tuple()) == expected


def test_the_phase_vectors_reach_every_phase() -> None:
    assert {case[3] for case in vectors("phase")["cases"]} == set(Phase)


def test_who_wins() -> None:
    solidity = harness()
    seen = set()
    for case in vectors("phase")["winners"]:
        state, one = state_of(case["state"]), Tally.of_tuple(case["tally"])
        solidity.send(party("ann"), "setState", as_abi(state))
        solidity.send(party("ann"), "setTally", tuple(case["tally"]))
        expected = (case["has_winner"], case["is_winner"])
        assert (tally.has_winner(state, case["quorum"]), tally.is_winner(one, state, case["quorum"])) == expected
        assert (solidity.read("hasWinner", 3), solidity.read("isWinner", 3)) == expected
        seen.add(expected)
    assert len(seen) >= 3


def test_quorum_bounds_are_those_that_a_deployment_accepts(new_world: NewWorld) -> None:
    world = new_world()
    terms = replace(terms_of(vectors("phase")["terms"]), data_uri_hash=job.data_uri_hash("ipfs://rows"))
    terms = replace(terms, reward=0, call_out_fee=0, gold_root=bytes(32), gold_count=0, audit_bond=0)
    terms = replace(terms, consumer=job.NOBODY, callback_gas=0, item_count=5)
    for seats, least, most in vectors("phase")["quorum_bounds"]:
        assert job.quorum_bounds(seats) == (least, most)
        for quorum in {0, least - 1, least, most, most + 1}:
            with pytest.raises(errors.OracleRevert) as caught:
                asked = replace(terms, seats=seats, quorum=quorum)
                world.send("ann", "createJob", 0, asked.as_tuple(), "ipfs://rows")
            # With a right quorum a later guard speaks.
            assert (caught.value.name == "QuorumOutOfBounds") == (not least <= quorum <= most)
            assert caught.value.name in ("QuorumOutOfBounds", "UnknownModel")


def test_gas_budgets() -> None:
    solidity = harness()
    for depth, row_length, execution, refutation, dispute, *answers in vectors("gas_budget"):
        assert gas_budget.refutation(execution, depth, row_length) == refutation
        assert solidity.read("refutationGas", execution, depth, row_length) == refutation
        assert gas_budget.dispute(execution, depth, row_length) == dispute
        assert solidity.read("disputeGas", execution, depth, row_length) == dispute
        for level, expected in enumerate(answers):
            assert gas_budget.answer(level, depth, row_length) == expected
            assert solidity.read("answerGas", level, depth, row_length) == expected


def test_checkpoints_agree_with_their_twin() -> None:
    solidity = harness()
    history = []
    for step, bonded in enumerate((5, 7, 0, 2**96 - 1, 3)):
        solidity.chain.roll(blocks=1 + step)
        solidity.send(party("ann"), "setBonded", bonded)
        history.append((solidity.chain.number, bonded))
    for number in range(history[0][0] - 1, solidity.chain.number + 2):
        assert solidity.read("bondedBefore", number) == stake.bonded_before(history, number)


def test_the_outcomes_are_in_the_order_of_the_solidity() -> None:
    assert [outcome.name for outcome in Outcome] == ["OPEN", "ACCEPTED", "HUNG", "EXPIRED"]
    assert [phase.name for phase in Phase] == [
        "DRAWING",
        "COMMITTING",
        "REVEALING",
        "CHALLENGING",
        "SETTLING",
        "SETTLED",
    ]
