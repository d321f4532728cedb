"""A job as the chain has it now. Every duty starts from here: no message and no file is believed about where a job stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils import event_abi_to_log_topic, to_canonical_address
from hexbytes import HexBytes
from web3.contract.base_contract import BaseContractEvent
from web3.types import FilterParams, LogReceipt

from contracts import job as protocol
from contracts import merkle
from contracts.commitment import DATA_UNAVAILABLE, Seat, tag_of
from contracts.compute_oracle import SeatRef
from contracts.deployment import Contracts
from contracts.disputes import Gold, Node, ResultProof
from contracts.endpoint import ChainError, Rejected
from contracts.job import TERMS_TYPES, Job, JobState, Phase
from contracts.stake import LANES, Account
from contracts.tally import Tally
from oracle_worker.json_log import current_job
from oracle_worker.salt import SealedRoot

WORD_BYTES = 32
TOTAL_STAKE_WORD = 1 + len(TERMS_TYPES)
"""Where JobCreated has the total stake, in words: after the nonce and the terms."""


class UnknownJob(ChainError):
    """The oracle has no job with this id: other terms, another chain or another deployment."""

    def __init__(self, job_id: bytes, oracle: ChecksumAddress) -> None:
        super().__init__(
            f"the oracle {oracle} has no job 0x{job_id.hex()}: its terms, the chain or the deployment are others than meant"
        )
        self.job_id = job_id


class UntoldSeats(ChainError):
    """A lane of the worker's holds seats that look like the job's, and no event tells of them."""

    def __init__(self, job_id: bytes, worker: ChecksumAddress, lane: int) -> None:
        super().__init__(
            f"lane {lane} of {worker} has the tag of job 0x{job_id.hex()}, and no event tells what it is committed to: "
            "does the node keep all logs? (One job in 16 million has another's tag by chance: then it is that one's)"
        )
        self.job_id = job_id
        self.worker = worker
        self.lane = lane


@dataclass(frozen=True, slots=True)
class Head:
    """A block: its number, time (unix seconds) and base fee (wei a gas)."""

    number: int
    timestamp: int
    base_fee: int


@dataclass(frozen=True, slots=True)
class Sight:
    """A job at one block."""

    job: Job
    job_id: bytes
    state: JobState
    head: Head

    @property
    def phase(self) -> Phase:
        """The job's phase at that block."""
        return protocol.phase(self.state, self.job.terms, self.head.timestamp, self.head.number)

    @property
    def depth(self) -> int:
        """Binary depth of the job's trees."""
        return merkle.depth_of(self.job.terms.item_count)


@dataclass(slots=True)
class SeenSeats:
    """A worker's seats in the job, as events told them."""

    lane: int
    sealed: list[SealedRoot]
    """What each commit carried; all of them are of one commitment."""
    count: int
    root: bytes | None = None
    """What it was opened to."""
    released: bool = False

    @property
    def word(self) -> bytes:
        """What the lane's digest is of, beside the job: the root once it is revealed, the commitment before."""
        return self.root if self.root is not None else self.sealed[-1].commitment


@dataclass(frozen=True, slots=True)
class SeenDemand:
    """A demand as its event told it. answer_by: unix seconds; bond: wei."""

    node: Node
    demander: ChecksumAddress
    bond: int
    answer_by: int


@dataclass(frozen=True, slots=True)
class SeenLeaf:
    """What answered a demand at the last level: the root's leaf, and the row and its path to the data root."""

    leaf: bytes
    row: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SeenAccusation:
    """An opened item of the verification set, and the leaf that a root has there instead."""

    gold: Gold
    result: ResultProof


@dataclass(slots=True)
class History:
    """What a job's events told, up to one block."""

    total_stake: int = 0
    """Wei of all stake before the job's creation: what the draw counts."""
    seats: dict[ChecksumAddress, SeenSeats] = field(default_factory=dict)
    last_commit: int = 0
    """The block of the last commit."""
    revealed: dict[bytes, int] = field(default_factory=dict)
    """Seats by root; DATA_UNAVAILABLE is among them."""
    refuted: dict[bytes, ChecksumAddress] = field(default_factory=dict)
    """Refuter by root, of the roots refuted by one item."""
    executed: tuple[bytes, ChecksumAddress] | None = None
    """The true root, and who executed the whole job."""
    demands: dict[Node, SeenDemand] = field(default_factory=dict)
    answers: dict[Node, tuple[bytes, ...]] = field(default_factory=dict)
    """The nodes given, for demands above the last level."""
    answerers: dict[Node, ChecksumAddress] = field(default_factory=dict)
    """Who answered each demand, at whatever level."""
    leaves: dict[Node, SeenLeaf] = field(default_factory=dict)
    """What was given for demands at the last level."""
    accusations: dict[tuple[bytes, int], SeenAccusation] = field(default_factory=dict)
    """By (root, position), those that nobody judged."""
    bounties: set[bytes] = field(default_factory=set)
    """Roots whose bounty is released."""
    bonds: set[Node] = field(default_factory=set)
    """Demands whose bond is released."""
    is_delivered: bool = False

    @property
    def suspects(self) -> list[bytes]:
        """The revealed result roots that can still be refuted."""
        return [root for root in self.revealed if root != DATA_UNAVAILABLE and self.refuter(root) is None]

    def refuter(self, root: bytes) -> ChecksumAddress | None:
        """Who showed by execution that a revealed result root is wrong: of one item, or of all."""
        if root in self.refuted:
            return self.refuted[root]
        if self.executed is None or root in (self.executed[0], DATA_UNAVAILABLE):
            return None
        return self.executed[1]

    def open_demands(self) -> Iterator[SeenDemand]:
        """Demands that nobody answered."""
        for node, demand in self.demands.items():
            if node not in self.answerers:
                yield demand

    def payee(self, node: Node) -> ChecksumAddress:
        """Whose a demand's bond is once the job is settled: its maker's if the root was refuted, else its answerer's."""
        maker = self.demands[node].demander
        return maker if self.refuter(node.root) is not None else self.answerers.get(node, maker)

    def held(self) -> dict[bytes, list[SeatRef]]:
        """The seats that nobody released, by the word that releases them."""
        groups: dict[bytes, list[SeatRef]] = {}
        for worker, seats in self.seats.items():
            if not seats.released:
                groups.setdefault(seats.word, []).append(SeatRef(worker, seats.lane))
        return groups

    def take(self, name: str, values: dict[str, Any], block: int, last_level: int) -> None:
        """One event, in the chain's order."""
        root = bytes(values["root"]) if "root" in values else bytes(32)
        match name:
            case "Committed":
                sealed = SealedRoot(bytes(values["commitment"]), bytes(values["sealedRoot"]))
                before = self.seats.get(values["worker"])
                every = [*before.sealed, sealed] if before else [sealed]
                self.seats[values["worker"]] = SeenSeats(values["lane"], every, values["seats"])
                self.last_commit = block
            case "Revealed":
                for worker in values["workers"]:
                    seats = self._committed(worker)
                    seats.root = root
                    self.revealed[root] = self.revealed.get(root, 0) + seats.count
            case "Refuted":
                self.refuted[root] = values["refuter"]
            case "Executed":
                self.executed = (root, values["executor"])
            case "Demanded":
                node = Node(root, values["level"], values["index"])
                self.demands[node] = SeenDemand(node, values["demander"], values["bond"], values["answerBy"])
            case "Answered":
                node = Node(root, values["level"], values["index"])
                self.answers[node] = tuple(map(bytes, values["nodes"]))
                self.answerers[node] = values["answerer"]
            case "LeafAnswered":
                node = Node(root, last_level, values["index"])
                siblings = tuple(map(bytes, values["siblings"]))
                self.leaves[node] = SeenLeaf(bytes(values["leaf"]), bytes(values["row"]), siblings)
                self.answerers[node] = values["answerer"]
            case "Accused":
                opened = values["gold"]
                path = tuple(map(bytes, opened["siblings"]))
                gold = Gold(opened["position"], opened["index"], bytes(opened["output"]), bytes(opened["salt"]), path)
                result = ResultProof(root, gold.index, bytes(values["leaf"]), tuple(map(bytes, values["siblings"])))
                self.accusations[root, gold.position] = SeenAccusation(gold, result)
            case "AccusationJudged":
                self.accusations.pop((root, values["position"]), None)
            case "SeatsReleased":
                for worker in values["workers"]:
                    self._committed(worker).released = True
            case "BountyReleased":
                self.bounties.add(root)
            case "BondReleased":
                self.bonds.add(Node(root, values["level"], values["index"]))
            case "Delivered":
                self.is_delivered = True

    def _committed(self, worker: ChecksumAddress) -> SeenSeats:
        if worker not in self.seats:
            raise ChainError(
                f"the node tells what became of the seats of {worker} and not that it took them: logs are missing"
            )
        return self.seats[worker]


class ChainView:
    """Reads jobs from one deployment. Every method raises ChainError where the node does not answer."""

    def __init__(self, contracts: Contracts, log_range: int = 2000) -> None:
        self.contracts = contracts
        self.log_range = log_range
        ours = [contracts.oracle.contract.events[name]() for name in _ORACLE_EVENTS]
        theirs = [contracts.disputes.contract.events[name]() for name in _DISPUTE_EVENTS]
        self._events: dict[bytes, BaseContractEvent] = {
            bytes(event_abi_to_log_topic(one.abi)): one for one in ours + theirs
        }
        self._committed = bytes(event_abi_to_log_topic(contracts.oracle.contract.events["Committed"]().abi))
        self._created = bytes(event_abi_to_log_topic(contracts.oracle.contract.events["JobCreated"]().abi))

    def head(self, number: int | None = None) -> Head:
        """The latest block, or the one of a number."""
        wanted = "latest" if number is None else hex(number)
        block = self.contracts.endpoint.ask("eth_getBlockByNumber", wanted, False)
        if block is None:
            raise ChainError(f"the node does not have block {wanted}")
        return Head(int(block["number"], 16), int(block["timestamp"], 16), int(block.get("baseFeePerGas") or "0x0", 16))

    def job_id(self, job: Job) -> bytes:
        """The job's id on this deployment."""
        return job.id(self.contracts.endpoint.chain_id, self.contracts.deployment.oracle)

    def sight(self, job: Job) -> Sight:
        """The job at the latest block. Raises UnknownJob."""
        job_id = self.job_id(job)
        current_job.set("0x" + job_id.hex())
        head = self.head()
        state = self.contracts.oracle.job_state(job_id, head.number)
        if state.created_block == 0:
            raise UnknownJob(job_id, self.contracts.deployment.oracle)
        return Sight(job, job_id, state, head)

    def sights(self, jobs: Sequence[Job]) -> list[Sight]:
        """Those jobs that there are, at the latest block."""
        job_ids = [self.job_id(job) for job in jobs]
        if len(jobs) == 1:
            current_job.set("0x" + job_ids[0].hex())
        head = self.head()
        states = self.contracts.oracle.job_states(job_ids, head.number)
        each = zip(jobs, job_ids, states, strict=True)
        return [Sight(job, job_id, state, head) for job, job_id, state in each if state.created_block != 0]

    def account(self, sight: Sight, worker: ChecksumAddress) -> Account:
        """A worker's entry in the books at the sight's block."""
        return self.contracts.oracle.account(worker, sight.head.number)

    def seats(self, sight: Sight, history: History, worker: ChecksumAddress) -> tuple[SeenSeats, Seat] | None:
        """A worker's unreleased seats in the job: what events told of them, and what their lane holds.

        None if it has none. Raises UntoldSeats, so that a node without its logs is not taken for a job without seats.
        """
        account = self.account(sight, worker)
        seen = history.seats.get(worker)
        if seen is not None and account.holds(seen.lane):
            seat = self.contracts.oracle.seat_at(worker, seen.lane, sight.head.number)
            if seat.holds(sight.job_id, seen.word):
                return seen, seat
        lanes = [lane for lane in range(LANES) if account.holds(lane)]
        for lane, seat in zip(lanes, self.contracts.oracle.seats_at(worker, lanes, sight.head.number), strict=True):
            if seat.tag == tag_of(sight.state.seed):
                raise UntoldSeats(sight.job_id, worker, lane)
        return None

    def tallies(self, sight: Sight, history: History) -> dict[bytes, Tally]:
        """What is known of each revealed root at the sight's block."""
        oracle = self.contracts.oracle
        return {root: oracle.tally(sight.job_id, root, sight.head.number) for root in history.revealed}

    def history(self, sight: Sight) -> History:
        """Everything that the job's events told up to the sight's block."""
        history = History()
        last_level = merkle.last_level(sight.depth)
        for log in self._logs(sight.job_id, sight.state.created_block, sight.head.number):
            topic = bytes(log["topics"][0])
            if topic == self._created:
                history.total_stake = _total_stake_of(bytes(log["data"]))
                continue
            decoded = self._events[topic].process_log(log)
            history.take(decoded["event"], dict(decoded["args"]), log["blockNumber"], last_level)
        return history

    def last_jobs(self, worker: ChecksumAddress) -> dict[int, bytes]:
        """The last job of each lane that a worker ever committed in, from the whole chain's events."""
        topics = [[HexBytes(self._committed)], None, HexBytes(bytes(12) + to_canonical_address(worker))]
        head = self.head().number
        jobs: dict[int, bytes] = {}
        # a worker's own commits are few: a node that can tells of all of them at once
        for log in self._logs_of(topics, self.contracts.deployment.block, head, head + 1):
            args = self._events[self._committed].process_log(log)["args"]
            jobs[args["lane"]] = bytes(args["jobId"])
        return jobs

    def words(self, job_id: bytes, worker: ChecksumAddress) -> list[bytes]:
        """What can name a worker's seats in a job: the root that they revealed, else each commitment told of."""
        oracle, head = self.contracts.oracle, self.head().number
        created = oracle.job_state(job_id, head).created_block
        commitments: list[bytes] = []
        for log in self._logs(job_id, created, head):
            topic = bytes(log["topics"][0])
            if topic == self._created:
                continue
            told = self._events[topic].process_log(log)
            if told["event"] == "Revealed" and worker in told["args"]["workers"]:
                return [bytes(told["args"]["root"])]
            if told["event"] == "Committed" and told["args"]["worker"] == worker:
                commitments.append(bytes(told["args"]["commitment"]))
        return commitments[-1:]

    def is_commit_deep(self, sight: Sight, history: History, confirmations: int) -> bool:
        """Whether the block that closed the commit phase has `confirmations` blocks on top of it."""
        number = sight.head.number - confirmations
        if sight.state.granted_seats >= sight.job.terms.seats:  # the commit that took the last seat closed it
            return number >= history.last_commit
        return number >= 0 and self.head(number).timestamp >= protocol.commit_end(sight.state, sight.job.terms)

    def _logs(self, job_id: bytes, first: int, last: int) -> Iterator[LogReceipt]:
        topics = [[HexBytes(topic) for topic in (self._created, *self._events)], HexBytes(job_id)]
        return self._logs_of(topics, first, last, self.log_range)

    def _logs_of(self, topics: list[Any], first: int, last: int, size: int) -> Iterator[LogReceipt]:
        """The oracle's logs with these topics, `size` blocks at a time or as many as the node gives."""
        while first <= last:
            until = min(first + size - 1, last)
            wanted: FilterParams = {
                "address": self.contracts.deployment.oracle,
                "topics": topics,
                "fromBlock": first,
                "toBlock": until,
            }
            try:
                with self.contracts.endpoint.reaching():
                    found = self.contracts.endpoint.web3.eth.get_logs(wanted)
            except Rejected:
                if size == 1:
                    raise
                size = -(-size // 4)  # nodes bound ranges and answers, each by a rule of its own
                continue
            yield from found
            first = until + 1


_ORACLE_EVENTS = ("Committed", "Revealed", "SeatsReleased", "Delivered")
_DISPUTE_EVENTS = (
    *("Refuted", "Demanded", "Answered", "LeafAnswered", "Executed", "Accused"),
    *("AccusationJudged", "BountyReleased", "BondReleased"),
)


def _total_stake_of(created: bytes) -> int:
    """From the data of a JobCreated event, of which nothing else is read: a requester wrote the rest."""
    return int.from_bytes(created[TOTAL_STAKE_WORD * WORD_BYTES : (TOTAL_STAKE_WORD + 1) * WORD_BYTES], "big")
