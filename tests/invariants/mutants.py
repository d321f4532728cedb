"""Bugs seeded into the contracts, one at a time: each must be noticed by the same checks that the contracts pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from contracts.compiler import SOURCES, compile_sources, find_solc, read_sources

SRC = "contracts/src/"
ORACLE, DISPUTES = "ComputeOracle", "Disputes"
_NOT_NEEDED = ("ModelRegistry.sol", "IntegerNetwork.sol", "PrevrandaoSeed.sol", "BlockHeader.sol", "consumers/")


@dataclass(frozen=True)
class Mutant:
    """`old` is replaced by `new` wherever it occurs in `file`; only `contract` is compiled with the change."""

    name: str
    contract: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "a quorum is one seat less",
        ORACLE,
        "libraries/Tally.sol",
        "if (tally.seats >= quorum) state.quorumStands = true;",
        "if (tally.seats + 1 >= quorum) state.quorumStands = true;",
    ),
    Mutant("a seat locks nothing", ORACLE, "ComputeOracle.sol", "account.locked += uint96(locked);", ""),
    Mutant(
        "what is forfeited stays in the total stake",
        ORACLE,
        "ComputeOracle.sol",
        "if (forfeited != 0) _total.setBonded(_totalHistory, _total.bonded - forfeited);",
        "",
    ),
    Mutant(
        "a seat is released as often as one likes",
        ORACLE,
        "ComputeOracle.sol",
        "seat.status = SeatStatus.Released;",
        "",
    ),
    Mutant(
        "the remainder of the reward goes nowhere",
        ORACLE,
        "ComputeOracle.sol",
        "remainder = job.terms.reward % tally.seats;",
        "remainder = 0;",
    ),
    Mutant(
        "the reveal window is closed instead of half open",
        ORACLE,
        "libraries/Job.sol",
        "if (block.timestamp < revealEnd(state, terms)) return Phase.Revealing;",
        "if (block.timestamp <= revealEnd(state, terms)) return Phase.Revealing;",
    ),
    Mutant(
        "a commitment is not bound to its worker",
        ORACLE,
        "libraries/Commitment.sol",
        "keccak256(abi.encode(jobId, worker, root, salt))",
        "keccak256(abi.encode(jobId, worker == address(0), root, salt))",
    ),
    Mutant(
        "a root is named by its first bytes",
        ORACLE,
        "libraries/Commitment.sol",
        "return bytes29(keccak256(abi.encode(root)));",
        "return bytes29(root);",
    ),
    Mutant(
        "a ticket counts twice",
        ORACLE,
        "ComputeOracle.sol",
        "tickets[i] <= tickets[i - 1]",
        "tickets[i] < tickets[i - 1]",
    ),
    Mutant(
        "silenced seats count towards the survivor",
        ORACLE,
        "libraries/Tally.sol",
        "state.standingSeats + state.refutedSeats >= quorum",
        "state.revealedSeats >= quorum",
    ),
    Mutant(
        "stake of the same block counts",
        ORACLE,
        "libraries/Stake.sol",
        "if (account.since < blockNumber) return account.bonded;",
        "if (account.since <= blockNumber) return account.bonded;",
    ),
    Mutant(
        "unbonded stake need not wait",
        ORACLE,
        "ComputeOracle.sol",
        "leaving.amount != 0 && block.timestamp >= leaving.readyAt",
        "leaving.amount != 0",
    ),
    Mutant(
        "the odds never double",
        ORACLE,
        "libraries/Ticket.sol",
        "while (2 * factor * remaining <= window) factor *= 2;",
        "while (2 * factor * remaining <= window && factor == 0) factor *= 2;",
    ),
    Mutant(
        "a node can be demanded below one that nobody answered",
        DISPUTES,
        "Disputes.sol",
        "if (node.level == 0) return;",
        "if (node.level <= 9) return;",
    ),
    Mutant(
        "any row refutes",
        DISPUTES,
        "Disputes.sol",
        "index >= terms.itemCount || !MerkleProof.verify(terms.dataRoot, depth, index, leaf, input.siblings)",
        "index >= terms.itemCount || (leaf == 0 && !MerkleProof.verify(terms.dataRoot, depth, index, leaf, input.siblings))",
    ),
    Mutant("an answer may be late", DISPUTES, "Disputes.sol", "block.timestamp >= made.answerBy", "made.answerBy == 0"),
    Mutant("a bond is released twice", DISPUTES, "Disputes.sol", "        made.released = true;\n", ""),
    Mutant("a bounty is released twice", DISPUTES, "Disputes.sol", "        tally.bountyReleased = true;\n", ""),
    Mutant(
        "a flood is as cheap as a demand",
        DISPUTES,
        "Disputes.sol",
        "price * (1 + openDemands)",
        "price * (1 + openDemands / 2 ** 99)",
    ),
    Mutant(
        "deeper levels get no more time",
        DISPUTES,
        "libraries/Job.sol",
        "2 * level * terms.responseWindow",
        "level * terms.responseWindow",
    ),
    Mutant(
        "an answer earns even a liar its bond",
        DISPUTES,
        "Disputes.sol",
        "if (tally.refuter == address(0)) {\n            // On a silenced",
        "if (made.answerer != address(0) || tally.refuter == address(0)) {\n            // On a silenced",
    ),
    Mutant(
        "an open demand leaves its root standing",
        DISPUTES,
        "Disputes.sol",
        "        if (tally.stands()) tally.fall(state, job.terms.quorum);\n        tally.openDemands += 1;\n",
        "        tally.openDemands += 1;\n",
    ),
)


class StaleMutant(Exception):
    """The text that a mutant changes is no longer in the sources, or the change is none."""


def mutated_sources(mutant: Mutant) -> dict[str, str]:
    """The sources that the mutant's contract needs, with its change. Raises StaleMutant."""
    other = {ORACLE: f"{SRC}Disputes.sol", DISPUTES: f"{SRC}ComputeOracle.sol"}[mutant.contract]
    sources = {
        path: text
        for path, text in read_sources(SOURCES).items()
        if path != other and not any(path == SRC + name or path.startswith(SRC + name) for name in _NOT_NEEDED)
    }
    path = SRC + mutant.file
    changed = sources[path].replace(mutant.old, mutant.new)
    if changed == sources[path]:
        raise StaleMutant(f"{mutant.name}: {mutant.old!r} is not in {path}, or the change is none")
    return {**sources, path: changed}


def compile_mutants(mutants: Sequence[Mutant] = MUTANTS, processes: int = 2) -> Mapping[str, str]:
    """{mutant's name: the bytecode of its contract}. Raises CompilerMissing, StaleMutant, SolcError."""
    find_solc()

    def one(mutant: Mutant) -> tuple[str, str]:
        made = compile_sources(mutated_sources(mutant))
        return mutant.name, str(made[f"{SRC}{mutant.contract}.sol"][mutant.contract]["bytecode"])

    with ThreadPoolExecutor(processes) as pool:
        return dict(pool.map(one, mutants))
