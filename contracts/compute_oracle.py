"""Typed client of the oracle. Reads return the twins' types; writes return a Call for contracts.transactor to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress
from web3.types import BlockIdentifier

from contracts.abi import artifact
from contracts.commitment import Seat
from contracts.endpoint import Call, Endpoint, call_of
from contracts.job import Job, JobState, Phase, Terms
from contracts.signed_commit import SignedCommit
from contracts.stake import Account
from contracts.tally import Tally


@dataclass(frozen=True, slots=True)
class Bounds:
    """A deployment's bounds, in the order of the Solidity struct. Windows and periods in seconds, price in wei a gas."""

    min_window: int = 60
    max_window: int = 7 * 24 * 3600
    unbonding_period: int = 14 * 24 * 3600
    block_time: int = 12
    max_item_count: int = 2**32 - 1
    max_seats: int = 255
    reference_price: int = 10**9

    def as_tuple(self) -> tuple[int, ...]:
        """In the order of the ABI."""
        return (
            self.min_window,
            self.max_window,
            self.unbonding_period,
            self.block_time,
            self.max_item_count,
            self.max_seats,
            self.reference_price,
        )


DEV_BOUNDS = Bounds(min_window=1, max_window=3600, unbonding_period=4000, block_time=1)
"""Windows of seconds, for a dev chain."""


@dataclass(frozen=True, slots=True)
class SeatRef:
    """A worker's seats in a job, by the lane they are in."""

    worker: ChecksumAddress
    lane: int

    def as_tuple(self) -> tuple[ChecksumAddress, int]:
        """In the order of the ABI."""
        return (self.worker, self.lane)


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a worker's commitment to a root; the salt is 32 bytes."""

    worker: ChecksumAddress
    lane: int
    salt: bytes

    def as_tuple(self) -> tuple[ChecksumAddress, int, bytes]:
        """In the order of the ABI."""
        return (self.worker, self.lane, self.salt)


class ComputeOracle:
    """The oracle's own half: stake, jobs, verdicts. Disputes are contracts.disputes.Disputes at the same address."""

    def __init__(self, endpoint: Endpoint, address: ChecksumAddress) -> None:
        self.endpoint = endpoint
        self.address = address
        self.contract = endpoint.web3.eth.contract(address=address, abi=artifact("ComputeOracle").abi)

    # ---- Writes, in lifecycle order ----

    def deposit(self, amount: int) -> Call:
        """Bond `amount` wei of the sender's, whole gwei."""
        return self._call("deposit", value=amount)

    def unbond(self, amount: int) -> Call:
        """Start to unbond `amount` wei of free stake, whole gwei."""
        return self._call("unbond", amount)

    def withdraw(self, to: ChecksumAddress) -> Call:
        """Pay the sender's credit and unbonded stake to `to`."""
        return self._call("withdraw", to)

    def create_job(self, nonce: int, terms: Terms, data_uri: str) -> Call:
        """Create a job; reward and audit bond go with it."""
        return self._call("createJob", nonce, terms.as_tuple(), data_uri, value=terms.payment)

    def draw(self, job_id: bytes, proof: bytes) -> Call:
        """Draw the jury; proof is the seed block's RLP-encoded header."""
        return self._call("draw", job_id, proof)

    def commit(self, job: Job, lane: int, commitment: bytes, sealed_root: bytes, tickets: Sequence[int]) -> Call:
        """Take seats with all winning tickets so far, ascending."""
        return self._call("commit", job.as_tuple(), lane, commitment, sealed_root, list(tickets))

    def commit_for(self, job: Job, commits: Sequence[SignedCommit]) -> Call:
        """The same for many workers, by their signatures; what `commit` would refuse is passed over."""
        return self._call("commitFor", job.as_tuple(), [one.as_tuple() for one in commits])

    def reveal(self, job: Job, root: bytes, openings: Sequence[Opening]) -> Call:
        """Open commitments to one root, of any workers; wrong ones are passed over."""
        return self._call("reveal", job.as_tuple(), root, [one.as_tuple() for one in openings])

    def settle(self, job: Job, root: bytes = bytes(32), seats: Sequence[SeatRef] = ()) -> Call:
        """Record the outcome, and release `seats` of `root`; it is the winner's, or anything where none wins."""
        return self._call("settle", job.as_tuple(), root, [one.as_tuple() for one in seats])

    def release(self, job: Job, word: bytes, seats: Sequence[SeatRef]) -> Call:
        """Unlock, pay or write off seats that share one fate.

        word: the root they revealed; the commitment, for one worker's seats that were never opened.
        """
        return self._call("release", job.as_tuple(), word, [one.as_tuple() for one in seats])

    def deliver(self, job: Job) -> Call:
        """Tell the job's consumer how the job ended."""
        return self._call("deliver", job.as_tuple())

    def multicall(self, calls: Sequence[Call]) -> Call:
        """Several calls of this contract in one transaction: all or nothing. ValueError for another contract's, and for
        one that carries a payment."""
        for call in calls:
            if call.to != self.address or call.value != 0:
                raise ValueError(f"a multicall is of {self.address} and carries no payment: {call}")
        return self._call("multicall", [call.data for call in calls])

    # ---- Reads ----

    def bounds(self) -> Bounds:
        """The deployment's bounds."""
        return Bounds(*self._read("bounds"))

    def registry(self) -> ChecksumAddress:
        """The model registry's address."""
        return ChecksumAddress(self._read("registry"))

    def job_id_of(self, job: Job) -> bytes:
        """The job's id as the chain computes it."""
        return bytes(self._read("jobIdOf", job.as_tuple()))

    def job_state(self, job_id: bytes, block: BlockIdentifier = "latest") -> JobState:
        """The job's state; created_block is 0 if there is no such job."""
        return JobState.of_tuple(self._read("jobState", job_id, block=block))

    def job_states(self, job_ids: Sequence[bytes], block: int) -> list[JobState]:
        """The same of many jobs, in order."""
        return [JobState.of_tuple(values) for values in self._read_each("jobState", [(one,) for one in job_ids], block)]

    def phase(self, job: Job, block: BlockIdentifier = "latest") -> Phase:
        """The job's phase. Raises errors.UnknownJob."""
        return Phase(self._read("phaseOf", job.as_tuple(), block=block))

    def seat_at(self, worker: ChecksumAddress, lane: int, block: BlockIdentifier = "latest") -> Seat:
        """What the worker's lane holds, or held last."""
        return Seat.of_tuple(self._read("seatAt", worker, lane, block=block))

    def seats_at(self, worker: ChecksumAddress, lanes: Sequence[int], block: int) -> list[Seat]:
        """The same of several lanes, in order."""
        return [
            Seat.of_tuple(values) for values in self._read_each("seatAt", [(worker, lane) for lane in lanes], block)
        ]

    def tally(self, job_id: bytes, root: bytes, block: BlockIdentifier = "latest") -> Tally:
        """What is known of a root; its seats wherever they are counted."""
        return Tally.of_tuple(self._read("tallyOf", job_id, root, block=block))

    def account(self, party: ChecksumAddress, block: BlockIdentifier = "latest") -> Account:
        """What is bonded, locked, leaving and owed."""
        return Account(*self._read("accountOf", party, block=block))

    def credit(self, party: ChecksumAddress, block: BlockIdentifier = "latest") -> int:
        """Wei that the party can withdraw at once."""
        return self.account(party, block).credit

    def total_stake(self, block: BlockIdentifier = "latest") -> int:
        """Wei of all bonded stake."""
        return int(self._read("totalStake", block=block))

    def stake_before(self, worker: ChecksumAddress, block_number: int) -> int:
        """Wei the worker had bonded at the end of the block before `block_number`."""
        return int(self._read("stakeBefore", worker, block_number))

    def min_seat_stake(self, model_id: bytes, item_count: int) -> int:
        """Least seat stake in wei. Raises errors.UnknownModel."""
        return int(self._read("minSeatStake", model_id, item_count))

    def verdict(self, job_id: bytes, index: int, output: bytes, siblings: Sequence[bytes]) -> bool:
        """Whether the job was Accepted with `output` for item `index`."""
        return bool(self._read("verdict", job_id, index, output, list(siblings)))

    def _call(self, name: str, *values: Any, value: int = 0) -> Call:
        return call_of(self.contract.get_function_by_name(name)(*values), value)

    def _read(self, name: str, *values: Any, block: BlockIdentifier = "latest") -> Any:
        return self.endpoint.read(self.contract.get_function_by_name(name)(*values), block)

    def _read_each(self, name: str, arguments: Sequence[Sequence[Any]], block: int) -> list[Any]:
        function = self.contract.get_function_by_name(name)
        return self.endpoint.read_each([function(*values) for values in arguments], block)
