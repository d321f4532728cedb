"""A job as the chain has it now. Every duty starts from here: no message and no file is believed about where a job stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils import event_abi_to_log_topic
from hexbytes import HexBytes
from web3.contract.base_contract import BaseContractEvent
from web3.types import FilterParams, LogReceipt

from contracts import job as protocol
from contracts import merkle
from contracts.commitment import Seat
from contracts.deployment import Contracts
from contracts.disputes import Node
from contracts.endpoint import ChainError, Rejected
from contracts.job import Job, JobState, Phase
from contracts.tally import Tally
from oracle_worker.salt import SealedRoot


class UnknownJob(ChainError):
    """The oracle has no job with this id: other terms, another chain or another deployment."""

    def __init__(self, job_id: bytes, oracle: ChecksumAddress) -> None:
        super().__init__(
            f"the oracle {oracle} has no job 0x{job_id.hex()}: its terms, the chain or the deployment are others than meant"
        )
        self.job_id = job_id


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


@dataclass(frozen=True, slots=True)
class SeenDemand:
    """A demand as its event told it. answer_by: unix seconds; bond: wei."""

    node: Node
    demander: ChecksumAddress
    bond: int
    answer_by: int


@dataclass(slots=True)
class History:
    """What a job's events told, up to one block."""

    committed: dict[ChecksumAddress, list[SealedRoot]] = field(default_factory=dict)
    last_commit: int = 0
    """The block of the last commit."""
    revealed: dict[bytes, int] = field(default_factory=dict)
    """Seats by root."""
    refuted: dict[bytes, ChecksumAddress] = field(default_factory=dict)
    """Refuter by root."""
    demands: dict[Node, SeenDemand] = field(default_factory=dict)
    answers: dict[Node, tuple[bytes, ...]] = field(default_factory=dict)
    """The nodes given, for demands above the last level."""
    answerers: dict[Node, ChecksumAddress] = field(default_factory=dict)
    """Who answered each demand, at whatever level."""
    released: set[ChecksumAddress] = field(default_factory=set)
    bounties: set[bytes] = field(default_factory=set)
    """Roots whose bounty is released."""
    bonds: set[Node] = field(default_factory=set)
    """Demands whose bond is released."""

    def open_demands(self) -> Iterator[SeenDemand]:
        """Demands that nobody answered."""
        for node, demand in self.demands.items():
            if node not in self.answerers:
                yield demand

    def payee(self, node: Node) -> ChecksumAddress:
        """Whose a demand's bond is once the job is settled: its maker's if the root was refuted, else its answerer's."""
        maker = self.demands[node].demander
        return maker if node.root in self.refuted else self.answerers.get(node, maker)

    def take(self, name: str, values: dict[str, Any], block: int, last_level: int) -> None:
        """One event, in the chain's order."""
        root = bytes(values["root"]) if "root" in values else bytes(32)
        match name:
            case "Committed":
                sealed = SealedRoot(bytes(values["commitment"]), bytes(values["sealedRoot"]))
                self.committed.setdefault(values["worker"], []).append(sealed)
                self.last_commit = block
            case "Revealed":
                self.revealed[root] = self.revealed.get(root, 0) + int(values["seats"])
            case "Refuted":
                self.refuted[root] = values["refuter"]
            case "Demanded":
                node = Node(root, values["level"], values["index"])
                self.demands[node] = SeenDemand(node, values["demander"], values["bond"], values["answerBy"])
            case "Answered":
                node = Node(root, values["level"], values["index"])
                self.answers[node] = tuple(map(bytes, values["nodes"]))
                self.answerers[node] = values["answerer"]
            case "LeafAnswered":
                self.answerers[Node(root, last_level, values["index"])] = values["answerer"]
            case "SeatReleased":
                self.released.add(values["worker"])
            case "BountyReleased":
                self.bounties.add(root)
            case "BondReleased":
                self.bonds.add(Node(root, values["level"], values["index"]))


class ChainView:
    """Reads jobs from one deployment. Every method raises ChainError where the node does not answer."""

    def __init__(self, contracts: Contracts, log_range: int = 2000) -> None:
        self.contracts = contracts
        self.log_range = log_range
        # only these: what a requester wrote into JobCreated need not even decode
        ours = [contracts.oracle.contract.events[name]() for name in ("Committed", "Revealed", "SeatReleased")]
        theirs = ("Refuted", "Demanded", "Answered", "LeafAnswered", "BountyReleased", "BondReleased")
        ours += [contracts.disputes.contract.events[name]() for name in theirs]
        self._events: dict[bytes, BaseContractEvent] = {bytes(event_abi_to_log_topic(one.abi)): one for one in ours}

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
        head = self.head()
        state = self.contracts.oracle.job_state(job_id, head.number)
        if state.created_at == 0:
            raise UnknownJob(job_id, self.contracts.deployment.oracle)
        return Sight(job, job_id, state, head)

    def seat(self, sight: Sight, worker: ChecksumAddress) -> Seat:
        """A worker's seats at the sight's block."""
        return self.contracts.oracle.seat(sight.job_id, worker, sight.head.number)

    def tallies(self, sight: Sight, history: History) -> dict[bytes, Tally]:
        """What is known of each revealed root at the sight's block."""
        oracle = self.contracts.oracle
        return {root: oracle.tally(sight.job_id, root, sight.head.number) for root in history.revealed}

    def history(self, sight: Sight) -> History:
        """Everything that the job's events told up to the sight's block."""
        history = History()
        last_level = merkle.last_level(sight.depth)
        for log in self._logs(sight.job_id, sight.state.created_block, sight.head.number):
            decoded = self._events[bytes(log["topics"][0])].process_log(log)
            history.take(decoded["event"], dict(decoded["args"]), decoded["blockNumber"], last_level)
        return history

    def is_commit_deep(self, sight: Sight, history: History, confirmations: int) -> bool:
        """Whether the block that closed the commit phase has `confirmations` blocks on top of it."""
        number = sight.head.number - confirmations
        if sight.state.commit_ended_at:  # by the commit that took the last seat
            return number >= history.last_commit
        return number >= 0 and self.head(number).timestamp >= protocol.commit_end(sight.state, sight.job.terms)

    def _logs(self, job_id: bytes, first: int, last: int) -> Iterator[LogReceipt]:
        size = self.log_range
        while first <= last:
            until = min(first + size - 1, last)
            wanted: FilterParams = {
                "address": self.contracts.deployment.oracle,
                "topics": [[HexBytes(topic) for topic in self._events], HexBytes(job_id)],
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
