"""Bugs seeded into the contracts, one at a time: each must be noticed by the same checks that the contracts pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from contracts.compiler import SOURCES, compile_sources, find_solc, read_sources

SRC = "contracts/src/"
ORACLE, DISPUTES = "ComputeOracle", "Disputes"
_NEEDED = ("OracleStorage.sol", "interfaces/", "libraries/")
AT_ONCE = 6
"""Mutants that one run of solc compiles: as WebAssembly it takes a third less for each once it is warm."""


@dataclass(frozen=True)
class Mutant:
    """`old` is replaced by `new` wherever it occurs in `file`; only `contract` is compiled with the change."""

    name: str
    contract: str
    file: str
    old: str
    new: str = ""


def _oracle(name: str, old: str, new: str = "", file: str = "ComputeOracle.sol") -> Mutant:
    return Mutant(name, ORACLE, file, old, new)


def _disputes(name: str, old: str, new: str = "", file: str = "Disputes.sol") -> Mutant:
    return Mutant(name, DISPUTES, file, old, new)


STAKE, TALLY, JOB = "libraries/Stake.sol", "libraries/Tally.sol", "libraries/Job.sol"
COMMITMENT, SIGNATURE, TICKET = "libraries/Commitment.sol", "libraries/Signature.sol", "libraries/Ticket.sol"

MUTANTS = (
    # Stake and the draw
    _oracle("a seat locks nothing", " + (amount / 1 gwei << LOCKED)", " + (amount >> 255)", STAKE),
    _oracle(
        "unbonded stake need not wait",
        "leaving.amount != 0 && block.timestamp >= leaving.readyAt",
        "leaving.amount != 0",
    ),
    _oracle(
        "stake of the same block counts",
        "if (uint32(Account.unwrap(account) >> SINCE) < blockNumber)",
        "if (uint32(Account.unwrap(account) >> SINCE) <= blockNumber)",
        STAKE,
    ),
    _oracle(
        "a change of stake is dated a block too early",
        "if (history[middle].since < blockNumber) low = middle + 1;",
        "if (history[middle].since <= blockNumber) low = middle + 1;",
        STAKE,
    ),
    _oracle(
        "the odds never double",
        "while (2 * factor * remaining <= window) factor *= 2;",
        "while (2 * factor * remaining <= window && factor == 0) factor *= 2;",
        TICKET,
    ),
    _oracle("a ticket counts twice", "ticket <= tickets[i - 1]", "ticket < tickets[i - 1]"),
    # Terms
    _oracle(
        "the call-out fee may be the whole reward",
        "terms.callOutFee > terms.reward / 10)",
        "terms.callOutFee > terms.reward)",
    ),
    _oracle("a seat's stake need not be whole gwei", "if (terms.seatStake % 1 gwei != 0) revert", "if (false) revert"),
    _oracle("a verification set may be larger than the job", "whole && terms.goldCount <= terms.itemCount", "whole"),
    _oracle("there is no time to open the verification set", "if (terms.goldCount != 0 &&", "if (seats == 0 &&"),
    # Commit, relayed or not
    _oracle(
        "a worker changes its mind",
        "if (i != lane || !seat.holds(digest)) {",
        "if (i != lane || digest == 0) {",
    ),
    _oracle(
        "a worker's tickets count in every lane",
        "if (i != lane || !seat.holds(digest)) {",
        "if (!seat.holds(digest)) {",
    ),
    _oracle(
        "a job takes a lane that another holds",
        "lane >= StakeLibrary.LANES || lanes >> lane & 1 != 0",
        "lane >= StakeLibrary.LANES",
    ),
    _oracle("there is one lane too many", "lane >= StakeLibrary.LANES", "lane > StakeLibrary.LANES"),
    _oracle("anybody commits for anybody", "SignatureLibrary.isSigned(", "domain != 0 || SignatureLibrary.isSigned("),
    _oracle("a signature outlives its deadline", "block.timestamp < one.deadline", "block.timestamp <= one.deadline"),
    _oracle("a relayer chooses the lane", "one.lane,", "uint8(0),", SIGNATURE),
    _oracle("a batch grants more seats than there are", "lottery.left -= added;"),
    _oracle("a batch grants one worker's seats", "lottery.granted += added;", "lottery.granted = added;"),
    _oracle("a full jury waits for the clock", "if (lottery.left == 0) state", "if (terms.seats == 0) state"),
    # Reveal
    _oracle(
        "a commitment is not bound to its worker",
        "keccak256(abi.encode(jobId, worker, root, salt))",
        "keccak256(abi.encode(jobId, worker == address(0), root, salt))",
        COMMITMENT,
    ),
    _oracle(
        "a root is named by its first bytes",
        "return bytes27(keccak256(abi.encode(jobId, word)));",
        "return bytes27(keccak256(abi.encode(jobId, bytes29(word))));",
        COMMITMENT,
    ),
    _oracle(
        "the reveal window is closed instead of half open",
        "if (block.timestamp < revealEnd(state, terms)) return Phase.Revealing;",
        "if (block.timestamp <= revealEnd(state, terms)) return Phase.Revealing;",
        JOB,
    ),
    _oracle(
        "an abstention votes",
        "if (root == CommitmentLibrary.DATA_UNAVAILABLE) state.abstainedSeats",
        "if (root == 0) state.abstainedSeats",
    ),
    _oracle(
        "a batch of openings opens one seat each",
        "state.sealedSeats -= uint8(opened);",
        "state.sealedSeats -= uint8(count);",
    ),
    _oracle(
        "reveals that end early take the challenge's time",
        "state.endEarly(state.revealEnd(job.terms));",
        "state.endEarly(state.commitEnd(job.terms));",
    ),
    # The vote
    _oracle(
        "a quorum is one seat less",
        "if (held + seats >= quorum) state.quorumStands = true;",
        "if (held + seats + 1 >= quorum) state.quorumStands = true;",
        TALLY,
    ),
    _oracle(
        "silenced seats count towards the survivor",
        "uint256(state.standingSeats) + state.refutedSeats >= quorum",
        "uint256(state.grantedSeats) - state.sealedSeats - state.abstainedSeats >= quorum",
        TALLY,
    ),
    _oracle(
        "data is unavailable though a result stands",
        "state.abstainedSeats >= terms.quorum && state.standingRoots == 0",
        "state.abstainedSeats >= terms.quorum",
    ),
    _oracle("a vote beats the execution of every row", " || state.execution == Execution.Whole", "", JOB),
    # Settlement and release
    _oracle(
        "what is forfeited stays in the total stake", "if (forfeited != 0) _setTotalStake(totalStake() - forfeited);"
    ),
    _oracle(
        "the remainder of the reward goes nowhere",
        "terms.reward - terms.reward % won",
        "terms.reward",
    ),
    _oracle(
        "a hung job pays who abstained",
        "return (state.standingSeats + abstained, state.standingSeats * fee);",
        "return (state.standingSeats + abstained, (state.standingSeats + abstained) * fee);",
    ),
    _oracle("a lane is never free again", " - (1 << LANE + lane)", " - (lane >> 255)", STAKE),
    _oracle(
        "a seat is released as often as one likes",
        "if (account.lanes() >> lane & 1 == 0 || !seat.holds(digest)) continue;",
        "if (!seat.holds(digest)) continue;",
    ),
    _oracle(
        "a no-show keeps its stake",
        "if (status == SeatStatus.Sealed) return (terms.seatStake,",
        "if (status == SeatStatus.Sealed) return (0,",
    ),
    _oracle(
        "a no-show shares the fate of a root that is named like its commitment",
        "if (seat.status() != status) continue;",
    ),
    _oracle("a consumer is told again and again", "_delivered[jobId] = true;"),
    _oracle(
        "a consumer is told the root of a job that was not accepted",
        "state.outcome == Outcome.Accepted ? state.root : bytes32(0)",
        "state.root",
    ),
    _oracle("a consumer gets all the gas", "call(callbackGas, consumer,", "call(gas(), consumer,"),
    _oracle(
        "a batch goes on after a refusal",
        "address(this).delegatecall(calls[i]);\n            if (!done) _revertWith(output);",
        "address(this).delegatecall(calls[i]);\n            if (!done && output.length == 0) _revertWith(output);",
    ),
    # The audit bond
    _oracle("an audit bond need not be paid", "uint256(terms.reward) + terms.auditBond", "uint256(terms.reward)"),
    _oracle("an accusation that nobody executed costs nothing", "audit.openAccusations != 0 &&", "bond == 0 &&"),
    _oracle(
        "executing every row costs the accuser its bond",
        "audit.openAccusations != 0 && _jobs[jobId].execution != Execution.Whole",
        "audit.openAccusations != 0",
    ),
    _oracle("half of an odd audit bond is a wei too little", "return bond - bond / 2;", "return bond / 2;"),
    # Refute, demand, answer
    _disputes(
        "any row refutes",
        "index >= terms.itemCount || !MerkleProof.verify(terms.dataRoot, depth, index, leaf, input.siblings)",
        "index >= terms.itemCount || (leaf == 0 && !MerkleProof.verify(terms.dataRoot, depth, index, leaf, input.siblings))",
    ),
    _disputes(
        "a node can be demanded below one that nobody answered",
        "if (node.level == 0) return;",
        "if (node.level <= 9) return;",
    ),
    _disputes(
        "deeper levels get no more time", "2 * level * terms.responseWindow", "level * terms.responseWindow", JOB
    ),
    _disputes("an answer may be late", "block.timestamp >= made.answerBy", "made.answerBy == 0"),
    _disputes(
        "an open demand leaves its root standing",
        "if (tally.stands()) state.fall(state.seatsOf(tally, node.root), job.terms.quorum);\n",
        "\n",
    ),
    _disputes(
        "a flood is as cheap as a demand",
        "price * (1 + openDemands)",
        "price * (1 + openDemands / 2 ** 99)",
    ),
    _disputes(
        "an answer earns even a liar its bond",
        "if (_refuterOf(jobId, state, tally, node.root) == address(0)) {",
        "if (made.answerer != address(0) || _refuterOf(jobId, state, tally, node.root) == address(0)) {",
    ),
    _disputes("a bond is released twice", "        made.released = true;\n"),
    _disputes("a bounty is released twice", "        tally.bountyReleased = true;\n"),
    # Executing all, or in steps
    _disputes("any rows are the job's", "if (dataRoot != job.terms.dataRoot) revert", "if (dataRoot == 0) revert"),
    _disputes(
        "executing every row refutes nobody",
        "state.refutedSeats = state.grantedSeats - state.sealedSeats - state.abstainedSeats - state.rootSeats;",
    ),
    _disputes(
        "who executes every row takes the refuters' bounties",
        "tally.refuter == address(0) && state.execution == Execution.Whole",
        "state.execution == Execution.Whole",
    ),
    _disputes(
        "silence on the true root costs its demanders",
        "else if (state.execution != Execution.Whole) amount",
        "else amount",
    ),
    _disputes(
        "a challenge is extended again and again",
        "if (state.execution != Execution.None) revert AlreadyExtended(jobId);",
    ),
    _disputes(
        "a challenge is extended though one transaction would do",
        "if (!REGISTRY.model(modelId).stepwise) revert ModelNotStepwise(modelId);",
        "if (modelId == 0) revert ModelNotStepwise(modelId);",
    ),
    # The verification set
    _disputes(
        "gold is opened too late to be executed",
        "if (block.timestamp >= end) revert GoldTooLate",
        "if (end == 0) revert GoldTooLate",
    ),
    _disputes(
        "an item is opened again and again", "if (_accusations[id] != Accusation.None) revert", "if (false) revert"
    ),
    _disputes("gold that agrees accuses", "if (goldResult == result.leaf) revert", "if (goldResult == 0) revert"),
    _disputes(
        "any item is gold",
        "terms.goldRoot, MerkleProof.depthOf(terms.goldCount), gold.position, leaf, gold.siblings",
        "leaf, 0, 0, leaf, gold.siblings[:0]",
    ),
    _disputes(
        "the last to show that gold is wrong is paid",
        "goldResult != rightLeaf && audit.executor == address(0)",
        "goldResult != rightLeaf",
    ),
    _disputes("an accusation stays open when it was judged", "        audit.openAccusations -= 1;\n"),
    _disputes(
        "a judgement refutes nobody",
        "if (rightLeaf == result.leaf || tally.refuter != address(0)) return;",
        "if (rightLeaf == result.leaf || tally.refuter != address(0) || true) return;",
    ),
)


class StaleMutant(Exception):
    """The text that a mutant changes is no longer in the sources, or the change is none."""


def mutated_sources(mutant: Mutant) -> dict[str, str]:
    """The sources that the mutant's contract needs, with its change. Raises StaleMutant."""
    needed = tuple(SRC + name for name in (f"{mutant.contract}.sol", *_NEEDED))
    sources = {path: text for path, text in read_sources(SOURCES).items() if path.startswith(needed)}
    path = SRC + mutant.file
    changed = sources[path].replace(mutant.old, mutant.new)
    if changed == sources[path]:
        raise StaleMutant(f"{mutant.name}: {mutant.old!r} is not in {path}, or the change is none")
    return {**sources, path: changed}


def compile_mutants(mutants: Sequence[Mutant] = MUTANTS, processes: int = 2) -> Mapping[str, Future[Mapping[str, str]]]:
    """By mutant's name, once solc has made it: the bytecodes of it and others, by name. Raises CompilerMissing; the futures
    StaleMutant and SolcError."""
    find_solc()
    pool = ThreadPoolExecutor(processes)
    made: dict[str, Future[Mapping[str, str]]] = {}
    for start in range(0, len(mutants), AT_ONCE):
        group = mutants[start : start + AT_ONCE]
        made |= dict.fromkeys([mutant.name for mutant in group], pool.submit(_compiled, group))
    pool.shutdown(wait=False)
    return made


def _compiled(mutants: Sequence[Mutant]) -> Mapping[str, str]:
    """Bytecode by mutant's name, of one run of solc: each mutant's sources are in a folder of their own."""
    sources = {
        f"{place}/{path}": text
        for place, mutant in enumerate(mutants)
        for path, text in mutated_sources(mutant).items()
    }
    made = compile_sources(sources)
    return {
        mutant.name: str(made[f"{place}/{SRC}{mutant.contract}.sol"][mutant.contract]["bytecode"])
        for place, mutant in enumerate(mutants)
    }
