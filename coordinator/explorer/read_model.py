"""What the explorer answers: frozen records that a page draws and that the API gives as JSON.

In Python amounts are int wei, hashes bytes, times unix seconds; in JSON amounts are decimal strings (a wei does not fit
JavaScript's numbers), hashes 0x and hex digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from contracts.job import Outcome, Phase
from coordinator.explorer.field_types import Address, Hash, Octets, PhaseName, Text, Wei
from coordinator.explorer.passports import SignedPassport


class State(StrEnum):
    """Where a job stands: its phase until it is settled, then how it ended."""

    DRAWING = "drawing"
    COMMITTING = "committing"
    REVEALING = "revealing"
    CHALLENGING = "challenging"
    SETTLING = "settling"
    ACCEPTED = "accepted"
    UNAVAILABLE = "unavailable"
    HUNG = "hung"
    EXPIRED = "expired"

    @classmethod
    def of(cls, phase: Phase, outcome: Outcome) -> State:
        """The state of a job in this phase with this outcome."""
        return cls((phase if outcome is Outcome.OPEN else outcome).name.lower())

    @property
    def is_over(self) -> bool:
        """Whether the job is settled."""
        return self in (State.ACCEPTED, State.UNAVAILABLE, State.HUNG, State.EXPIRED)


class Standing(StrEnum):
    """What is known of a revealed root."""

    STANDS = "stands"
    QUESTIONED = "questioned"
    """It has a demand that nobody has answered yet."""
    SILENCED = "silenced"
    """The job was settled while a demand was open."""
    REFUTED = "refuted"
    """The chain executed an item, or every row, and found otherwise."""
    EXECUTED = "executed"
    """Every row was executed, and this is what came out."""


class SeatState(StrEnum):
    """What became of a worker's seats."""

    SEALED = "sealed"
    REVEALED = "revealed"
    ABSTAINED = "abstained"
    """Revealed that the data could not be had."""
    PAID = "paid"
    RETURNED = "returned"
    """Released, with neither pay nor loss."""
    FORFEITED = "forfeited"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list, and what to ask for to get the next; None at its end."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class ChainStanding:
    """How far the chain was read. Everything else is as of the confirmed block, by the head's clock."""

    chain_id: int
    oracle: Address
    head: int
    head_time: int
    confirmed_block: int
    confirmed_time: int
    revision: int
    """Grows whenever a record here may have changed."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as a line of a list."""

    job_id: Hash
    state: State
    is_disputed: bool
    requester: Address
    model_id: Hash
    model_name: str | None
    """Where it is one of the zoo."""
    item_count: int
    seats: int
    granted_seats: int
    reward: Wei
    cost_to_corrupt: Wei
    created_block: int
    created_at: int
    phase_ends_at: int | None
    """None where blocks, or nobody, decide."""
    settled_at: int | None


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """A phase of a job's life."""

    phase: PhaseName
    began_at: int
    ends_at: int | None
    """None where the clock does not decide."""
    is_over: bool


@dataclass(frozen=True, slots=True)
class JobTerms:
    """What the requester asked for. Windows in seconds."""

    model_id: Hash
    data_root: Hash
    item_count: int
    seats: int
    quorum: int
    seat_stake: Wei
    reward: Wei
    call_out_fee: Wei
    gold_root: Hash
    gold_count: int
    audit_bond: Wei
    commit_window: int
    reveal_window: int
    challenge_window: int
    response_window: int
    consumer: Address | None
    callback_gas: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's seats in a job's jury."""

    worker: Address
    seats: int
    lane: int
    state: SeatState
    commitment: Hash
    sealed_root: Hash
    root: Hash | None
    """Once revealed; None too for an abstention."""
    is_winning: bool | None
    """Whether its root is the winning one; None while that is open."""
    committed_at: int
    revealed_at: int | None
    paid: Wei
    forfeited: Wei


@dataclass(frozen=True, slots=True)
class RootTally:
    """A revealed root, and the seats on it."""

    root: Hash
    seats: int
    standing: Standing
    is_winner: bool
    """Whether it wins, or won."""
    demands: int
    open_demands: int
    refuter: Address | None
    bounty: Wei | None
    """What its refutation earns."""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event of the oracle."""

    id: str
    """Its place in the stream of events."""
    name: str
    block: int
    log_index: int
    time: int
    transaction: Hash
    job_id: Hash | None
    actors: tuple[Address, ...]
    values: Mapping[str, Any]
    """Its other arguments as JSON has them: amounts and numbers as decimal strings, bytes as hex, long ones cut."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything about a job but its events."""

    row: JobRow
    nonce: str
    """A decimal number of up to 78 digits."""
    terms: JobTerms
    data_uri: Text
    data_uri_length: int
    """Characters before it was cut."""
    data_uri_is_right: bool
    """Whether it is what the terms hash; else no worker follows it."""
    data_link: str | None
    """The URI where it is http or https and safe to show as a link."""
    total_stake: Wei
    """All stake when it was created: what its draw is measured against."""
    phase: PhaseName
    phases: tuple[PhaseSpan, ...]
    next_step: str
    """Who does what next, in words."""
    jury: tuple[Seat, ...]
    roots: tuple[RootTally, ...]
    winner: Hash | None
    """The root that won, or wins if nothing more happens."""
    executed_by: Address | None
    """Who had every row executed."""
    is_delivered: bool
    accusations: int
    events: int
    """How many there are."""


@dataclass(frozen=True, slots=True)
class DemandedNode:
    """A node of a disputed result tree that somebody demanded."""

    level: int
    """Level l stands at binary depth min(4·l, depth): the root is level 0."""
    index: int
    first_item: int
    last_item: int
    """The items below it; last_item < first_item where there is only padding."""
    parent: tuple[int, int] | None
    """(level, index) of the node above."""
    demander: Address
    bond: Wei
    demanded_at: int
    demand_transaction: Hash
    answer_by: int
    answerer: Address | None
    answered_at: int | None
    answer_transaction: Hash | None
    seconds_left: int | None
    """Until it may no longer be answered, by the head's clock; None once it was, or the job is settled."""
    children: tuple[Hash, ...]
    """Of an answer above the last level."""
    leaf: Hash | None
    """Of an answer at the last level."""
    released_to: Address | None
    released: Wei | None
    """What of the bond was credited; the rest was burned."""


@dataclass(frozen=True, slots=True)
class Refutation:
    """A root shown wrong by the chain's own execution of one item."""

    root: Hash
    index: int
    claimed_leaf: Hash
    """What the root has there: the hash of the claimed logits. The logits themselves the chain was never told."""
    right_leaf: Hash
    refuter: Address
    refuted_at: int
    block: int
    transaction: Hash


@dataclass(frozen=True, slots=True)
class Evidence:
    """A refutation's item: what was executed, and what came out."""

    refutation: Refutation
    row: Octets | None
    """The input row; None where the refutation was sent through another contract."""
    logits: tuple[int, ...] | None
    """What the chain computes of it, asked just now."""
    reason: str | None
    """Why row or logits are missing, in words."""


@dataclass(frozen=True, slots=True)
class DisputedRoot:
    """A revealed root as the tree it is, as far as it was demanded."""

    tally: RootTally
    depth: int
    """Binary levels below the root."""
    levels: int
    """Levels that can be demanded."""
    workers: tuple[Address, ...]
    """Who revealed it."""
    nodes: tuple[DemandedNode, ...]
    """By level and index."""
    refutation: Refutation | None


@dataclass(frozen=True, slots=True)
class AccusedItem:
    """An item of the verification set, opened against a root."""

    root: Hash
    position: int
    index: int
    leaf: Hash
    accused_at: int
    executor: Address | None
    gold_right: bool | None
    """Once it was executed."""


@dataclass(frozen=True, slots=True)
class Dispute:
    """What is contested about a job."""

    job: JobRow
    phase_ends_at: int | None
    roots: tuple[DisputedRoot, ...]
    accusations: tuple[AccusedItem, ...]
    executed_by: Address | None
    executed_at: int | None
    extended_at: int | None
    """When an execution in steps was given more time."""
    winner: Hash | None


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """A disputed job as a line of a list."""

    job: JobRow
    roots: int
    open_demands: int
    next_deadline: int | None
    """The first `answer_by` of an open demand."""
    refuted_seats: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over everything up to the confirmed block."""

    jobs: int
    items: int
    """Of accepted jobs."""
    operators: int
    """With anything bonded."""
    bonded: Wei
    locked: Wei
    """Of it, held by seats."""
    seats_granted: int
    seats_held: int
    paid: Wei
    """To seats: rewards and call-out fees."""
    bounties: Wei
    """Paid to refuters."""
    burned: Wei
    disputes: int
    """Jobs that were ever disputed."""
    refutations: int
    demands: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """What happened in an interval of time."""

    since: int
    created: int
    settled: int
    mean_settlement: int | None
    """Seconds from creation to settlement; None where nothing was settled."""
    longest_settlement: int | None
    bonded: Wei
    """At its end."""
    paid: Wei
    """Within it."""
    burned: Wei


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page."""

    standing: ChainStanding
    states: Mapping[State, int]
    """Jobs in each state; every state is named."""
    disputes: tuple[DisputeRow, ...]
    """Those not settled, the most urgent first; at most 20."""
    newest: tuple[JobRow, ...]
    totals: Totals
    bucket_seconds: int
    series: tuple[Bucket, ...]
    """Ascending, without gaps."""


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """What an operator has done, in sums."""

    jobs: int = 0
    """In whose juries it sat."""
    seats: int = 0
    seats_revealed: int = 0
    seats_paid: int = 0
    """Released with pay."""
    seats_forfeited: int = 0
    """Released with a loss."""
    rewards: Wei = 0
    bounties: Wei = 0
    forfeited: Wei = 0
    refutations: int = 0
    demands: int = 0
    answers: int = 0
    bonds_won: Wei = 0
    """By answering."""
    bonds_lost: Wei = 0
    """By demanding what was answered."""


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """An operator as a line of a list."""

    address: Address
    bonded: Wei
    record: OperatorRecord


@dataclass(frozen=True, slots=True)
class Earnings:
    """An operator's sums after a block in which they changed."""

    time: int
    rewards: Wei
    bounties: Wei
    forfeited: Wei
    bonded: Wei


@dataclass(frozen=True, slots=True)
class Operator:
    """Everything about an operator but its events."""

    address: Address
    bonded: Wei
    locked: Wei
    seats_held: int
    lanes_held: int
    record: OperatorRecord
    earnings: tuple[Earnings, ...]
    """Ascending, at most 200 points: of a longer life, evenly chosen ones and the last."""
    open_jobs: tuple[JobRow, ...]
    """In whose juries it sits, newest first; at most 50."""
    passport: SignedPassport | None
    """Of its machine, if it gave this coordinator one."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model that jobs use, as a line of a list."""

    model_id: Hash
    name: str | None
    jobs: int
    accepted: int
    items: int
    """Of its accepted jobs."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the zoo says of a model."""

    title: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    shape: tuple[int, ...]
    data: Mapping[str, str]
    accuracy: Mapping[str, Any]
    macs: int
    """Multiplications of one item."""


@dataclass(frozen=True, slots=True)
class Model:
    """Everything about a model. What the chain was not there to tell is None."""

    row: ModelRow
    is_registered: bool | None
    row_length: int | None
    """Bytes."""
    output_length: int | None
    """Logits."""
    program_length: int | None
    """Bytes."""
    execution_gas: int | None
    """Gas of one execution, measured."""
    dispute_gas: int | None
    """Gas that a dispute costs at most in a job of 1,000 items: every answer on the way to a leaf, and the refutation."""
    is_stepwise: bool | None
    card: ModelCard | None
    newest_jobs: tuple[JobRow, ...]


@dataclass(frozen=True, slots=True)
class ProofStep:
    """One step of a proof's path, from the leaf up."""

    node: Hash
    sibling: Hash
    node_is_left: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict of one item of an accepted job, and what proves it."""

    job_id: Hash
    index: int
    output: Octets
    logits: tuple[int, ...]
    class_index: int
    class_name: str | None
    leaf: Hash
    siblings: tuple[Hash, ...]
    """As a contract's verdict(jobId, index, output, siblings) takes them."""
    path: tuple[ProofStep, ...]
    root: Hash
    holds: bool
    """What verdict(…) on the chain said of it just now."""


class Kind(StrEnum):
    """What a search can find."""

    JOB = "job"
    OPERATOR = "operator"
    REQUESTER = "requester"
    MODEL = "model"
    TRANSACTION = "transaction"


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a search found."""

    kind: Kind
    id: str
    """0x and hex digits; of a transaction, the job it belongs to is in `job_id`."""
    label: str
    job_id: Hash | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found, the likeliest first; at most 20."""

    query: Text
    found: tuple[Found, ...] = ()
