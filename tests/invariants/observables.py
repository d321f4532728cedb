"""Everything that the oracle shows of itself, as the specification says it should be, word for word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils import keccak

from contracts.commitment import DATA_UNAVAILABLE, digest_of, tag_of
from contracts.job import NOBODY, Execution, Outcome
from contracts.merkle import depth_of, last_level
from contracts.specification import is_verdict
from contracts.specification.books import locked, party_of, stake_before, taken_lanes, total_stake
from contracts.specification.disputes import bond_for
from contracts.specification.phases import phase, phase_end
from contracts.specification.state import Address, Demand, Environment, JobRecord, NodeKey, Party, Seats, State
from contracts.specification.vote import (
    abstained_seats,
    granted_seats,
    open_demands,
    refuted_seats,
    result_roots,
    seats_on,
    standing_roots,
)
from tests.invariants.calldata import JOB, NODE, address_word, blob, job_words, pack, word, words
from tests.invariants.fast_chain import FastChain

if TYPE_CHECKING:  # the world looks through these eyes, too
    from tests.contracts.world import Claim


def selector(name: str, *types: str) -> bytes:
    return keccak(text=f"{name}({','.join(types)})")[:4]


ACCOUNT_OF = selector("accountOf", "address")
TOTAL_STAKE = selector("totalStake")
JOB_STATE = selector("jobState", "bytes32")
PHASE_OF = selector("phaseOf", JOB)
PHASE_END = selector("phaseEnd", JOB)
SEAT_AT = selector("seatAt", "address", "uint256")
TALLY_OF = selector("tallyOf", "bytes32", "bytes32")
DEMAND_OF = selector("demandOf", "bytes32", NODE)
EXECUTOR_OF = selector("executorOf", "bytes32")
AUDIT_OF = selector("auditOf", "bytes32")
STAKE_BEFORE = selector("stakeBefore", "address", "uint256")
BOND_FOR = selector("bondFor", JOB, NODE)
VERDICT = selector("verdict", "bytes32", "uint256", "bytes", "bytes32[]")
IS_ACCUSED = selector("isAccused", "bytes32", "uint256", "bytes32")


class Divergence(AssertionError):
    """The contracts do, say or show something else than the specification."""


@dataclass(frozen=True, slots=True)
class View:
    """One question to the oracle, and what it must answer."""

    what: str
    question: bytes
    answer: bytes


class Observer:
    """Looks at an oracle and compares it with a state of the specification."""

    def __init__(self, chain: FastChain, oracle: str) -> None:
        self.chain = chain
        self.oracle = oracle

    def compare(self, views: Iterator[View]) -> None:
        """Ask; raises Divergence for another answer."""
        for view in views:
            answer = self.ask(view.question)
            if answer != view.answer:
                raise Divergence(f"{view.what} should be\n  {_shown(view.answer)}\nand is\n  {_shown(answer)}")

    def ask(self, question: bytes) -> bytes:
        return self.chain.ask(self.oracle, question)

    def compare_money(self, state: State) -> None:
        """What the oracle holds and what left for the zero address."""
        for what, held, address in (("balance", state.balance, self.oracle), ("burned", state.burned, NOBODY)):
            if self.chain.balance(address) != held:
                raise Divergence(f"{what} should be {held} and is {self.chain.balance(address)}")

    # What there is to see

    def changes(self, before: State, after: State, env: Environment) -> Iterator[View]:
        """What a transaction can have changed."""
        touched = {who for who, party in after.parties.items() if before.parties.get(who) is not party}
        for job_id, record in after.jobs.items():
            earlier = before.jobs.get(job_id)
            if earlier is not record:
                touched |= _seated_since(record, earlier)
                yield from self.job_views(job_id, record, env, earlier)
        yield from (account_view(after, who) for who in touched)
        if before.totals is not after.totals:
            yield total_view(after)

    def everything(self, state: State, env: Environment) -> Iterator[View]:
        """All that is remembered."""
        yield total_view(state)
        workers = {worker for record in state.jobs.values() for worker in record.seats}
        yield from (account_view(state, who) for who in state.parties.keys() | workers)
        for worker in sorted(workers)[env.block_number % 3 :: 3]:
            yield from history_views(state, worker)
        for job_id, record in state.jobs.items():
            yield from self.job_views(job_id, record, env, None)
            yield from bond_views(state, record, env)

    def job_views(
        self, job_id: bytes, record: JobRecord, env: Environment, earlier: JobRecord | None
    ) -> Iterator[View]:
        """All of a job, or all that is not as it was earlier."""
        yield self.state_view(job_id, record)
        yield from phase_views(record, env)
        if earlier is None:
            yield from (tally_view(job_id, record, root) for root in (DATA_UNAVAILABLE, bytes(32)))
        if earlier is None or _votes(earlier) != _votes(record):
            yield from (tally_view(job_id, record, root) for root in result_roots(record))
        for worker, seats in record.seats.items():
            if not seats.is_released and not (earlier and earlier.seats.get(worker) is seats):
                yield seat_view(job_id, record, worker, seats)
        for node, made in record.demands.items():
            if not (earlier and earlier.demands.get(node) is made):
                yield demand_view(job_id, node, made)
        if record.accusations or record.gold_refuter or record.executor:
            yield from audit_views(job_id, record)

    def state_view(self, job_id: bytes, record: JobRecord) -> View:
        """JobState. Which root's seats it counts itself is the contracts' own affair while no root is known to be right, and
        so are the sums over standing roots once nothing depends on them."""
        answer = self.ask(JOB_STATE + job_id)
        root = answer[480:512]
        favourite = record.winner or record.true_root
        may_be = {favourite} if favourite else result_roots(record) or {bytes(32)}
        if root not in may_be:
            raise Divergence(f"the root of job 0x{job_id.hex()} is 0x{root.hex()}")
        expected = state_words(record, root)
        if record.true_root is not None:
            for unused in STANDING_WORDS:
                expected[unused] = answer[32 * unused : 32 * unused + 32]
        return View(f"the state of job 0x{job_id.hex()}", JOB_STATE + job_id, b"".join(expected))


STANDING_WORDS = (7, 8, 10)
"""standingSeats, standingRoots, quorumStands in JobState."""


def state_words(record: JobRecord, root: bytes) -> list[bytes]:
    """JobState, field by field."""
    standing = [seats_on(record, each) for each in standing_roots(record)]
    levels = 1 + max((level for _, level, _ in record.demands), default=-1)
    execution = Execution.EXTENDED if record.is_extended else Execution.NONE
    numbers = (
        granted_seats(record),
        sum(seats.count for seats in record.seats.values() if seats.root is None),
        abstained_seats(record),
        seats_on(record, root) if root in result_roots(record) else 0,
        sum(standing),
        len(standing),
        refuted_seats(record),
        any(seats >= record.terms.quorum for seats in standing),
        levels,
        execution if record.true_root is None else Execution.WHOLE,
        record.outcome,
        record.terms.item_count if record.outcome == Outcome.ACCEPTED else 0,
    )
    seed = record.seed.ljust(32, b"\0")
    return [word(record.created_block), word(started_at(record)), seed, *map(word, numbers), root]


def started_at(record: JobRecord) -> int:
    """From where all windows have their fixed places; 0 while undrawn."""
    if record.drawn_at is None:
        return 0
    if record.reveal_ended_at is not None:
        return record.reveal_ended_at - record.terms.reveal_window - record.terms.commit_window
    if record.commit_ended_at is not None:
        return record.commit_ended_at - record.terms.commit_window
    return record.drawn_at


def phase_views(record: JobRecord, env: Environment, is_end_asked: bool = True) -> Iterator[View]:
    """Where a job stands."""
    words = job_words(record.job)
    yield View("the phase", PHASE_OF + words, word(phase(record, env)))
    if is_end_asked:
        yield View("the phase's end", PHASE_END + words, word(phase_end(record, env)))


def account_view(state: State, who: Address) -> View:
    party: Party = party_of(state, who)
    lanes = sum(1 << lane for lane in taken_lanes(state, who))
    numbers = (party.bonded, locked(state, who), lanes, party.unbonding, party.ready_at, party.credit)
    return View(f"the account of {who}", ACCOUNT_OF + address_word(who), b"".join(map(word, numbers)))


def history_views(state: State, who: Address) -> Iterator[View]:
    """What somebody had bonded before some blocks: around three of the changes."""
    stakes = party_of(state, who).stakes
    changes = {stakes[place][0] for place in (0, len(stakes) // 2, len(stakes) - 1) if stakes}
    for number in changes | {number + 1 for number in changes}:
        question = STAKE_BEFORE + address_word(who) + word(number)
        yield View(f"{who}'s stake before block {number}", question, word(stake_before(state, who, number)))


def bond_views(state: State, record: JobRecord, env: Environment) -> Iterator[View]:
    """What demands would cost now."""
    last = last_level(depth_of(record.terms.item_count))
    for root in result_roots(record):
        for level in {0, last}:
            question = BOND_FOR + job_words(record.job) + root + word(level) + word(0)
            yield View(f"the bond at level {level}", question, word(bond_for(state, env, record, root, level)))


def verdict_views(state: State, job_id: bytes, claim: Claim) -> Iterator[View]:
    """Whether the outputs of a claim are the job's verdicts: of the first and the last item, and of each as the other."""
    last = len(claim.outputs) - 1
    for index, shown in ((0, 0), (last, last), (last, 0), (last + 1, last)):
        output, siblings = claim.outputs[shown], claim.tree.proof(shown)
        answer = is_verdict(state, job_id, index, output, siblings)
        question = VERDICT + pack(job_id, word(index), blob(output), words(siblings))
        yield View(f"the verdict on item {index}", question, word(answer))


def total_view(state: State) -> View:
    return View("the total stake", TOTAL_STAKE, word(total_stake(state)))


def seat_view(job_id: bytes, record: JobRecord, worker: Address, seats: Seats) -> View:
    """A lane with unreleased seats."""
    digest = digest_of(job_id, seats.commitment if seats.root is None else seats.root)
    status = 1 if seats.root is None else 2
    words = (digest.ljust(32, b"\0"), tag_of(record.seed).ljust(32, b"\0"), word(seats.count), word(status))
    question = SEAT_AT + address_word(worker) + word(seats.lane)
    return View(f"lane {seats.lane} of {worker}", question, b"".join(words))


def tally_view(job_id: bytes, record: JobRecord, root: bytes) -> View:
    """A root's tally; that of a word that is no result root is empty."""
    is_result = root in result_roots(record)
    numbers = (
        seats_on(record, root) if is_result else 0,
        len(open_demands(record, root)),
        root in record.bounties_released,
    )
    refuter = address_word(record.refuters.get(root, NOBODY))
    return View(f"the tally of 0x{root.hex()}", TALLY_OF + job_id + root, refuter + b"".join(map(word, numbers)))


def demand_view(job_id: bytes, node: NodeKey, made: Demand) -> View:
    root, level, index = node
    words = (
        address_word(made.demander),
        word(made.answer_by),
        word(made.is_released),
        word(made.bond),
        address_word(made.answerer or NOBODY),
    )
    question = DEMAND_OF + job_id + root + word(level) + word(index)
    return View(f"the demand of level {level}, index {index} of 0x{root.hex()}", question, b"".join(words))


def audit_views(job_id: bytes, record: JobRecord) -> Iterator[View]:
    """Who executed what, and the accusations."""
    yield View("who executed the job", EXECUTOR_OF + job_id, address_word(record.executor or NOBODY))
    refuter = address_word(record.gold_refuter or NOBODY)
    yield View("the audit", AUDIT_OF + job_id, refuter + word(sum(record.accusations.values())))
    for (position, root), is_open in record.accusations.items():
        question = IS_ACCUSED + job_id + word(position) + root
        yield View(f"the accusation of item {position}", question, word(is_open))


def _votes(record: JobRecord) -> tuple[Any, ...]:
    """What tallies are made of."""
    roots = [seats.root for seats in record.seats.values()]
    return roots, record.demands, record.refuters, record.bounties_released


def _seated_since(record: JobRecord, earlier: JobRecord | None) -> set[Address]:
    """Whose seats are not as they were."""
    before = earlier.seats if earlier else {}
    return {worker for worker, seats in record.seats.items() if before.get(worker) is not seats}


def _shown(words: bytes) -> str:
    return " ".join(words[at : at + 32].hex().lstrip("0") or "0" for at in range(0, len(words), 32))
