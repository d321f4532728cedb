"""What the protocol remembers: who did what and when, and nothing that can be computed from it.

Addresses are checksummed, amounts wei, times unix seconds, hashes and roots 32 bytes. Every record is immutable; only the
State that holds them changes, and only through the entry points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TypeAlias

from eth_typing import ChecksumAddress

from contracts.job import Job, Outcome, Terms

if TYPE_CHECKING:  # types only: the specification runs without a client of any chain
    from contracts.compute_oracle import Bounds
    from contracts.signed_commit import SignedCommit

GWEI = 10**9

Address: TypeAlias = ChecksumAddress
History: TypeAlias = tuple[tuple[int, int], ...]
"""(block, wei from that block's end on), ascending."""
NodeKey: TypeAlias = tuple[bytes, int, int]
"""(root, level, index) of a node of a result tree."""


class Refused(Exception):
    """A transaction that the protocol refuses: nothing of it happens. `name` and `values` are the contracts' error."""

    def __init__(self, name: str, *values: Any) -> None:
        super().__init__(name, *values)
        self.name = name
        self.values = values


def require(condition: bool, name: str, *values: Any) -> None:
    """Refuse with the error `name` unless the condition holds. Raises Refused."""
    if not condition:
        refuse(name, *values)


def refuse(name: str, *values: Any) -> NoReturn:
    """Raises Refused."""
    raise Refused(name, *values)


class Event(NamedTuple):
    """What a transaction says to the world, with the contracts' names."""

    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Environment:
    """The transaction and its block, as far as the protocol looks at them."""

    sender: Address
    timestamp: int
    block_number: int
    value: int = 0
    base_fee: int = 0
    """Wei a gas."""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """What the registry knows of a model, as far as the protocol looks."""

    row_length: int
    """Bytes."""
    execution_gas: int
    """Gas of one execution; 0 until it is measured."""
    is_stepwise: bool
    """Whether one execution takes more than one transaction."""


class Registry(Protocol):
    """The models, and the chain's own execution of them. Its refusals are Refused, too."""

    def model(self, model_id: bytes) -> RegisteredModel:
        """What is known of a registered model; refuses an unknown one."""

    def execute(self, model_id: bytes, row: bytes) -> bytes:
        """The output for one row, of a model that one transaction can execute."""

    def output_of(self, model_id: bytes, row_leaf: bytes) -> bytes:
        """The output for one row, of a stepwise model; refuses unless its execution is finished."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is fixed when the oracle is created, for good."""

    chain_id: int
    oracle: Address
    bounds: Bounds
    registry: Registry
    randomness: Callable[[int, bytes], bytes]
    """The seed source: (block number, proof) → the block's randomness; refuses a wrong proof."""
    signer_of: Callable[[SignedCommit, bytes], Address | None]
    """(a commitment, the job's id) → who signed just that for this oracle on this chain (contracts.signed_commit)."""


@dataclass(frozen=True, slots=True)
class Party:
    """What somebody has with the oracle, outside of jobs."""

    stakes: History = ()
    """Bonded, including what is locked."""
    unbonding: int = 0
    ready_at: int = 0
    """When what is unbonding can be withdrawn."""
    credit: int = 0
    """Can be withdrawn at once."""

    @property
    def bonded(self) -> int:
        """Bonded now."""
        return self.stakes[-1][1] if self.stakes else 0


@dataclass(frozen=True, slots=True)
class Seats:
    """A worker's seats in one job: `count` votes for one sealed, later revealed, root."""

    lane: int
    count: int
    commitment: bytes
    root: bytes | None = None
    """None while sealed."""
    is_released: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """A node that somebody put up a bond to see."""

    demander: Address
    bond: int
    answer_by: int
    answerer: Address | None = None
    is_released: bool = False


@dataclass(frozen=True, slots=True)
class JobRecord:
    """All that happened in one job."""

    job: Job
    created_block: int
    total_stake: int
    """All stake at the end of the block before the creation: what the draw is measured against."""
    seed: bytes = b""
    drawn_at: int | None = None
    commit_ended_at: int | None = None
    """When the last seat was granted; None if the window runs, or ran, to its end."""
    reveal_ended_at: int | None = None
    """When the last commitment was opened; None likewise."""
    seats: Mapping[Address, Seats] = field(default_factory=dict)
    refuters: Mapping[bytes, Address] = field(default_factory=dict)
    """Root → who refuted it by the execution of one item."""
    demands: Mapping[NodeKey, Demand] = field(default_factory=dict)
    is_extended: bool = False
    true_root: bytes | None = None
    """Known once every row was executed."""
    executor: Address | None = None
    """Who executed every row."""
    accusations: Mapping[tuple[int, bytes], bool] = field(default_factory=dict)
    """(position in the verification set, root) → whether nobody has executed the item yet."""
    gold_refuter: Address | None = None
    """Who first showed by execution that an item of the verification set is wrong."""
    outcome: Outcome = Outcome.OPEN
    winner: bytes | None = None
    bounties_released: frozenset[bytes] = frozenset()
    is_delivered: bool = False

    @property
    def terms(self) -> Terms:
        """What was asked for."""
        return self.job.terms


@dataclass(slots=True)
class State:
    """Everything."""

    deployment: Deployment
    parties: dict[Address, Party] = field(default_factory=dict)
    totals: History = ()
    """All stake, as it was."""
    jobs: dict[bytes, JobRecord] = field(default_factory=dict)
    balance: int = 0
    """What the oracle holds."""
    burned: int = 0
    """What left for the zero address."""
    events: list[Event] = field(default_factory=list)
    """The present transaction's."""

    def copy(self) -> State:
        """Another state with the same records and no events."""
        return State(self.deployment, dict(self.parties), self.totals, dict(self.jobs), self.balance, self.burned)

    def emit(self, name: str, **args: Any) -> None:
        """Say something to the world."""
        self.events.append(Event(name, args))


def record_of(state: State, job_id: bytes) -> JobRecord:
    """The job's record. Refuses an unknown job."""
    return state.jobs.get(job_id) or refuse("UnknownJob", job_id)


def id_of(state: State, job: Job) -> bytes:
    """The id that the job has with this deployment."""
    return compute_id(state.deployment.chain_id, state.deployment.oracle, job)


@lru_cache(maxsize=1_024)
def compute_id(chain_id: int, oracle: Address, job: Job) -> bytes:
    """The job's id, remembered because every transaction asks for it."""
    return job.id(chain_id, oracle)
