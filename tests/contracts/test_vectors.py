"""The shared vectors, run by Solidity and by its Python twins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pyrevm import AccountInfo

from contracts import commitment, errors, gas_budget, gold, job, merkle, signed_commit, stake, tally
from contracts.job import Execution, Job, JobState, Outcome, Phase, Terms
from contracts.signed_commit import SignedCommit
from contracts.tally import Tally
from tests.contracts.chain import Chain, Contract, load, party
from tests.contracts.world import NewWorld
from tests.vectors import make

VECTORS = Path(make.__file__).parent
ADDRESS_LENGTH = 42  # characters; nothing else in the vectors is as long
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
    is_hex = isinstance(value, str) and value.startswith("0x") and len(value) != ADDRESS_LENGTH
    return bytes.fromhex(value[2:]) if is_hex else value


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
    assert oracle_harness().read("jobId", made.as_tuple()) == unhex(case["id"])


def oracle_harness() -> Contract:
    """The harness at the vectors' address, which ids and signatures bind."""
    chain, oracle = Chain(), vectors("job")["contract"]
    deployed = chain.deploy(load("ProtocolHarness")["bytecode"])
    chain.evm.insert_account_info(oracle, AccountInfo(code=chain.evm.get_code(deployed)))
    return Contract(chain, oracle, "ProtocolHarness")


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
def test_commitments(case: dict[str, Any]) -> None:
    job_id, root, salt = unhex([case["job_id"], case["root"], case["salt"]])
    worker: Any = case["worker"]
    sealed = commitment.compute(job_id, worker, root, salt)
    assert sealed == unhex(case["commitment"]) == harness().read("commitment", job_id, worker, root, salt)
    for word, digest in zip((sealed, root), unhex(case["digests"]), strict=True):
        assert commitment.digest_of(job_id, word) == digest == harness().read("digestOf", job_id, word)
        assert len(digest) == commitment.DIGEST_BYTES
    secret, sealed_root = unhex([case["secret"], case["sealed_root"]])
    assert commitment.seal(root, secret, sealed) == sealed_root
    assert commitment.unseal(sealed_root, secret, sealed) == root


def test_the_abstention_is_the_same_word() -> None:
    assert harness().read("dataUnavailable") == commitment.DATA_UNAVAILABLE


# Signed commitments


def signed_of(case: dict[str, Any]) -> tuple[bytes, SignedCommit]:
    return unhex(case["job_id"]), SignedCommit(*unhex(case["signed"]))


@pytest.mark.parametrize("case", vectors("signature"), ids=lambda case: case["job_id"][:10])
def test_a_signed_commitment_is_its_workers_and_nobody_elses(case: dict[str, Any]) -> None:
    oracle, solidity = vectors("job")["contract"], oracle_harness()
    job_id, signed = signed_of(case)
    assert signed_commit.signer_of(signed, 1, oracle, job_id) == signed.worker
    assert solidity.read("isSigned", job_id, signed.as_tuple())
    for name, other in OTHERS.items():
        forged = replace(signed, **{name: other(getattr(signed, name))})
        assert signed_commit.signer_of(forged, 1, oracle, job_id) != forged.worker, name
        assert not solidity.read("isSigned", job_id, forged.as_tuple()), name
    assert not solidity.read("isSigned", bytes(32), signed.as_tuple())
    assert signed_commit.signer_of(signed, 2, oracle, job_id) != signed.worker
    assert not harness().read("isSigned", job_id, signed.as_tuple())  # another contract's domain
    assert signed_commit.signer_of(signed, 1, party("another oracle"), job_id) != signed.worker


def flipped(word: bytes) -> bytes:
    return word[:-1] + bytes([word[-1] ^ 1])


OTHERS: dict[str, Callable[[Any], Any]] = {
    "worker": lambda _: party("another worker"),
    "lane": lambda lane: lane + 1,
    "commitment": flipped,
    "sealed_root": flipped,
    "tickets": lambda tickets: [*tickets, 2**256 - 1],
    "deadline": lambda deadline: deadline ^ 1,
    "r": flipped,
    "vs": flipped,
}
"""What can be changed of a signed commitment."""
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize("case", vectors("signature"), ids=lambda case: case["job_id"][:10])
def test_a_signature_has_no_second_form(case: dict[str, Any]) -> None:
    """secp256k1's other solution (n − s, the other parity) needs the bit that holds the parity here."""
    job_id, signed = signed_of(case)
    vs = int.from_bytes(signed.vs, "big")
    s, odd = vs & (2**255 - 1), vs >> 255
    assert s <= ORDER // 2
    for parity in (0, 1):
        other = replace(signed, vs=((ORDER - s) | parity << 255).to_bytes(32, "big"))
        assert not oracle_harness().read("isSigned", job_id, other.as_tuple())
    turned = replace(signed, vs=(s | (1 - odd) << 255).to_bytes(32, "big"))
    assert not oracle_harness().read("isSigned", job_id, turned.as_tuple())


def test_the_signature_vectors_have_both_parities() -> None:
    assert {signed_of(case)[1].vs[0] >> 7 for case in vectors("signature")} == {0, 1}


@pytest.mark.parametrize("r", [0, ORDER, 2**256 - 1])
def test_nobody_signed_what_is_no_signature(r: int) -> None:
    """ecrecover answers 0 then, which must not pass for a worker at address 0."""
    job_id, signed = signed_of(vectors("signature")[0])
    broken = replace(signed, worker=job.NOBODY, r=r.to_bytes(32, "big"))
    assert not oracle_harness().read("isSigned", job_id, broken.as_tuple())
    assert signed_commit.signer_of(broken, 1, vectors("job")["contract"], job_id) is None


# Verification sets


@pytest.mark.parametrize("case", vectors("gold"), ids=lambda case: str(case["index"]))
def test_gold_leaves(case: dict[str, Any]) -> None:
    index, (output, salt, leaf) = case["index"], unhex([case["output"], case["salt"], case["leaf"]])
    assert gold.gold_leaf(index, output, salt) == leaf == harness().read("goldLeaf", index, output, salt)


@pytest.mark.parametrize(("index", "salt"), [(-1, 32), (2**64, 32), (0, 31), (0, 33), (0, 0)])
def test_what_is_no_gold_has_no_leaf(index: int, salt: int) -> None:
    with pytest.raises(ValueError, match=r"index is 0 to|salt is 32 bytes"):
        gold.gold_leaf(index, b"", bytes(salt))


def test_a_verification_sets_openings_lead_to_its_root() -> None:
    items = [gold.GoldItem(index, bytes([index] * 8), bytes([index] * 32)) for index in (3, 1, 4, 15, 9)]
    tree = gold.GoldTree(items)
    for position, item in enumerate(items):
        opened = tree.opening(position)
        assert (opened.index, opened.output, opened.salt) == (item.index, item.output, item.salt)
        leaf = gold.gold_leaf(item.index, item.output, item.salt)
        assert merkle.verify(tree.root, tree.count, position, leaf, opened.siblings)
    for position in (-1, 5, 7):
        with pytest.raises(IndexError):
            tree.opening(position)


@pytest.mark.parametrize("count", [1, 2, 8, 64])
def test_a_level_that_is_used_up_folds_into_its_root(count: int) -> None:
    leaves = [merkle.input_leaf(bytes([i])) for i in range(count)]
    assert harness().read("foldIn", leaves) == merkle.MerkleTree(leaves).root


# Phases and votes


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


@pytest.mark.parametrize("number", range(1, STATE_COUNT))  # the first is not drawn
def test_a_phase_that_ends_early_moves_all_that_follows(number: int) -> None:
    phases = vectors("phase")
    terms, state = terms_of(phases["terms"]), state_of(phases["states"][number])
    end = job.commit_end(state, terms)
    now = end - min(terms.commit_window, 7)
    solidity = harness()
    solidity.send(party("ann"), "setState", as_abi(state))
    solidity.chain.time = now
    solidity.chain.roll(0, 0)
    solidity.send(party("ann"), "endEarly", end)
    moved = JobState.of_tuple(solidity.read("state"))
    assert moved == job.end_early(state, end, now)
    assert job.commit_end(moved, terms) == now
    assert job.challenge_end(state, terms) - job.challenge_end(moved, terms) == end - now


def test_the_phase_vectors_reach_every_phase() -> None:
    assert {case[3] for case in vectors("phase")["cases"]} == set(Phase)


def test_who_wins() -> None:
    solidity = harness()
    seen = set()
    for case in vectors("phase")["winners"]:
        state, one = state_of(case["state"]), Tally.of_tuple(case["tally"])
        root, quorum = unhex(case["root"]), case["quorum"]
        solidity.send(party("ann"), "setState", as_abi(state))
        solidity.send(party("ann"), "setTally", tuple(case["tally"]))
        expected = (case["seats"], case["has_winner"], case["is_winner"])
        twin = (tally.seats_of(state, one, root), tally.has_winner(state, quorum))
        assert (*twin, tally.is_winner(state, one, root, quorum)) == expected
        asked = (solidity.read("seatsOf", root), solidity.read("hasWinner", quorum))
        assert (*asked, solidity.read("isWinner", root, quorum)) == expected
        seen.add((state.execution, *expected[1:]))
    assert seen == {
        *((execution, *won) for execution in (0, 1) for won in ((True, True), (True, False))),
        (Execution.NONE, False, False),
        (Execution.WHOLE, True, True),
        (Execution.WHOLE, True, False),
    }


def test_quorum_bounds_are_those_that_a_deployment_accepts(new_world: NewWorld) -> None:
    world = new_world()
    terms = replace(terms_of(vectors("phase")["terms"]), data_uri_hash=job.data_uri_hash("ipfs://rows"))
    terms = replace(terms, reward=0, audit_bond=0, item_count=5)
    for seats, least, most in vectors("phase")["quorum_bounds"]:
        assert job.quorum_bounds(seats) == (least, most)
        for quorum in {0, least - 1, least, most, most + 1}:
            with pytest.raises(errors.OracleRevert) as caught:
                asked = replace(terms, seats=seats, quorum=quorum)
                world.oracle.send(party("ann"), "createJob", 0, asked.as_tuple(), "ipfs://rows")
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


def test_the_outcomes_are_in_the_order_of_the_solidity() -> None:
    assert [outcome.name for outcome in Outcome] == ["OPEN", "ACCEPTED", "UNAVAILABLE", "HUNG", "EXPIRED"]
    assert [execution.name for execution in Execution] == ["NONE", "EXTENDED", "WHOLE"]
    assert [phase.name for phase in Phase] == [
        "DRAWING",
        "COMMITTING",
        "REVEALING",
        "CHALLENGING",
        "SETTLING",
        "SETTLED",
    ]
