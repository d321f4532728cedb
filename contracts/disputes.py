"""Typed client of the oracle's disputes, at the oracle's own address. Writes return a Call for contracts.transactor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress
from web3.types import BlockIdentifier

from contracts.abi import artifact
from contracts.endpoint import Call, Endpoint, call_of
from contracts.job import NOBODY, Job


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a result tree: `level` l is binary depth min(4l, depth)."""

    root: bytes
    level: int
    index: int

    def as_tuple(self) -> tuple[bytes, int, int]:
        """In the order of the ABI."""
        return (self.root, self.level, self.index)


@dataclass(frozen=True, slots=True)
class Demand:
    """One demand, in the order of the Solidity struct."""

    demander: ChecksumAddress
    answer_by: int
    """Seconds; answers count before this."""
    released: bool
    bond: int
    """Wei, held until the job is settled."""
    answerer: ChecksumAddress

    @property
    def made(self) -> bool:
        """Whether the node was ever demanded."""
        return self.demander != NOBODY

    @property
    def answered(self) -> bool:
        """Whether somebody answered it in time."""
        return self.answerer != NOBODY


@dataclass(frozen=True, slots=True)
class ResultProof:
    """A result leaf and the siblings that lead from it to `root`."""

    root: bytes
    index: int
    leaf: bytes
    siblings: Sequence[bytes]

    def as_tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return (self.root, self.index, self.leaf, list(self.siblings))


@dataclass(frozen=True, slots=True)
class InputProof:
    """An input row and the siblings that lead from its leaf to the data root; empty for the padding."""

    row: bytes = b""
    siblings: Sequence[bytes] = ()

    def as_tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return (self.row, list(self.siblings))


@dataclass(frozen=True, slots=True)
class Gold:
    """An item of the requester's verification set, opened: it stands at `position` of the tree under the gold root."""

    position: int
    index: int
    output: bytes
    salt: bytes
    siblings: Sequence[bytes]

    def as_tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return (self.position, self.index, self.output, self.salt, list(self.siblings))


@dataclass(frozen=True, slots=True)
class Audit:
    """What became of a job's verification set, in the order of the Solidity struct."""

    executor: ChecksumAddress = NOBODY
    """Who showed by execution that an opened item is wrong."""
    open_accusations: int = 0
    """Opened against a root that says otherwise, and not yet executed."""


class Disputes:
    """Refute, demand and answer; execute a whole job; open the verification set."""

    def __init__(self, endpoint: Endpoint, oracle: ChecksumAddress) -> None:
        self.endpoint = endpoint
        self.contract = endpoint.web3.eth.contract(address=oracle, abi=artifact("Disputes").abi)

    def refute(self, job: Job, result: ResultProof, given: InputProof) -> Call:
        """Refute a root by executing one item."""
        return self._call("refute", job.as_tuple(), result.as_tuple(), given.as_tuple())

    def demand(self, job: Job, node: Node, payment: int) -> Call:
        """Demand a node; payment is at least the bond, in wei, and the rest is credited back."""
        return self._call("demand", job.as_tuple(), node.as_tuple(), value=payment)

    def answer(self, job: Job, node: Node, nodes: Sequence[bytes], siblings: Sequence[bytes]) -> Call:
        """Answer a demand above the last level."""
        return self._call("answer", job.as_tuple(), node.as_tuple(), list(nodes), list(siblings))

    def answer_leaf(self, job: Job, result: ResultProof, given: InputProof) -> Call:
        """Answer a demand at the last level."""
        return self._call("answerLeaf", job.as_tuple(), result.as_tuple(), given.as_tuple())

    def execute_job(self, job: Job, rows: bytes) -> Call:
        """Execute every row of the job: rows are all of them, one after the other, each of the model's length."""
        return self._call("executeJob", job.as_tuple(), rows)

    def extend_challenge(self, job: Job, result: ResultProof, given: InputProof) -> Call:
        """Give the resumable execution of one item one more response window."""
        return self._call("extendChallenge", job.as_tuple(), result.as_tuple(), given.as_tuple())

    def accuse(self, job: Job, gold: Gold, result: ResultProof) -> Call:
        """Open an item of the verification set against a root whose leaf there says otherwise."""
        return self._call("accuse", job.as_tuple(), gold.as_tuple(), result.as_tuple())

    def judge(self, job: Job, gold: Gold, result: ResultProof, given: InputProof) -> Call:
        """Execute an accused item: one of the two verdicts is wrong."""
        return self._call("judge", job.as_tuple(), gold.as_tuple(), result.as_tuple(), given.as_tuple())

    def release_bounty(self, job: Job, root: bytes) -> Call:
        """Credit the refuter of `root`."""
        return self._call("releaseBounty", job.as_tuple(), root)

    def release_bond(self, job: Job, node: Node) -> Call:
        """Credit a demand's bond to whom it belongs: the answerer; the demander where the root was refuted, or is the
        true one of a job executed whole; where it was silenced, the demander's share."""
        return self._call("releaseBond", job.as_tuple(), node.as_tuple())

    def demand_of(self, job_id: bytes, node: Node, block: BlockIdentifier = "latest") -> Demand:
        """What is known of a demand."""
        return Demand(*self._read("demandOf", job_id, node.as_tuple(), block=block))

    def executor(self, job_id: bytes, block: BlockIdentifier = "latest") -> ChecksumAddress:
        """Who executed the whole job; NOBODY if it was not."""
        return ChecksumAddress(self._read("executorOf", job_id, block=block))

    def audit(self, job_id: bytes, block: BlockIdentifier = "latest") -> Audit:
        """What became of the job's verification set."""
        return Audit(*self._read("auditOf", job_id, block=block))

    def is_accused(self, job_id: bytes, position: int, root: bytes, block: BlockIdentifier = "latest") -> bool:
        """Whether this item was opened against this root and not yet executed."""
        return bool(self._read("isAccused", job_id, position, root, block=block))

    def bond_for(self, job: Job, node: Node) -> int:
        """Wei that demanding this node costs at the reference price (a higher base fee raises it)."""
        return int(self._read("bondFor", job.as_tuple(), node.as_tuple()))

    def _call(self, name: str, *values: Any, value: int = 0) -> Call:
        return call_of(self.contract.get_function_by_name(name)(*values), value)

    def _read(self, name: str, *values: Any, block: BlockIdentifier = "latest") -> Any:
        return self.endpoint.read(self.contract.get_function_by_name(name)(*values), block)
