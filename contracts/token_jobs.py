"""Typed client of TokenJobs: jobs whose reward is an ERC-20 token. Reads return plain data; writes return a Call for
contracts.transactor to send. Amounts are in the token's smallest unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eth_abi import encode
from eth_typing import ABIComponent, ABIFunction, ChecksumAddress
from eth_utils import keccak, to_canonical_address
from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes
from web3.types import BlockIdentifier, FilterParams

from contracts.abi import artifact
from contracts.compute_oracle import SeatRef
from contracts.endpoint import Call, Endpoint, Rejected, call_of
from contracts.job import NOBODY, Job, Terms

NATIVE: ChecksumAddress = NOBODY
"""What stands for the native coin where a token is asked for."""
CLAIM_PERIOD = 30 * 24 * 3600
"""Seconds that a deployment leaves workers to claim, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Reward:
    """What a job pays, in the order of the Solidity struct."""

    funder: ChecksumAddress
    claim_end: int
    """Seconds: from then on `close` may end the claims; 0 = not allotted."""
    seats: int
    """Paid for and not claimed."""
    token: ChecksumAddress
    left: int
    """Not yet credited to anyone."""
    share: int
    """Of a seat; until allotted, of a seat that worked in vain."""

    @property
    def exists(self) -> bool:
        """Whether the job was created through this contract."""
        return self.funder != NOBODY


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker's seats in a job were credited with, and by which transaction."""

    job_id: bytes
    token: ChecksumAddress
    amount: int
    transaction: bytes


class TokenJobs:
    """Rewards in tokens: the requester of every job that it creates."""

    def __init__(self, endpoint: Endpoint, address: ChecksumAddress) -> None:
        self.endpoint = endpoint
        self.address = address
        self.contract = endpoint.web3.eth.contract(address=address, abi=artifact("TokenJobs").abi)

    # ---- Writes, in lifecycle order ----

    def create_job(
        self, token: ChecksumAddress, amount: int, nonce: int, terms: Terms, data_uri: str, call_out_fee: int = 0
    ) -> Call:
        """Create a job that pays `amount` of the token, which the sender has approved; the native coin goes with the call."""
        value = amount if token == NATIVE else 0
        return self._call("createJob", token, amount, call_out_fee, nonce, terms.as_tuple(), data_uri, value=value)

    def allot(self, job_id: bytes) -> Call:
        """Read the outcome: what no seat earns goes to the funder, and the claim period begins."""
        return self._call("allot", job_id)

    def claim(self, job_id: bytes, word: bytes, seats: Sequence[SeatRef]) -> Call:
        """Credit the workers of these seats; `word` as in ComputeOracle.release."""
        return self._call("claim", job_id, word, [seat.as_tuple() for seat in seats])

    def close(self, job_id: bytes) -> Call:
        """After the claim period, credit the funder with what nobody has claimed."""
        return self._call("close", job_id)

    def withdraw(self, token: ChecksumAddress, to: ChecksumAddress, least: int = 0) -> Call:
        """Pay the sender's credit to `to`, but not less than `least` should the token's balance have shrunk."""
        return self._call("withdraw", token, to, least)

    # ---- Reads ----

    def job(self, funder: ChecksumAddress, nonce: int, terms: Terms) -> Job:
        """The job as the oracle knows it."""
        return Job(self.address, nonce_of(funder, nonce), terms)

    def oracle(self) -> ChecksumAddress:
        """The oracle's address."""
        return ChecksumAddress(self._read("ORACLE"))

    def claim_period(self) -> int:
        """Seconds between allot and the first possible close."""
        return int(self._read("CLAIM_PERIOD"))

    def reward(self, job_id: bytes, block: BlockIdentifier = "latest") -> Reward:
        """What a job pays; it does not exist if the job was not created here."""
        return Reward(*self._read("rewardOf", job_id, block=block))

    def is_claimed(self, job_id: bytes, worker: ChecksumAddress, block: BlockIdentifier = "latest") -> bool:
        """Whether the worker's seats in this job were claimed."""
        return bool(self._read("isClaimed", job_id, worker, block=block))

    def claims(self, worker: ChecksumAddress, first: int, last: int) -> Iterator[Claim]:
        """What was claimed for a worker in these blocks, oldest first. Raises ChainError."""
        topics = [HexBytes(event_abi_to_log_topic(self.contract.events.Claimed().abi)), None]
        wanted: FilterParams = {
            "address": self.address,
            "topics": [*topics, HexBytes(bytes(12) + to_canonical_address(worker))],
        }
        size = last - first + 1  # a worker's own claims are few: a node that can tells of all of them at once
        while first <= last:
            wanted |= {"fromBlock": first, "toBlock": min(first + size - 1, last)}
            try:
                with self.endpoint.reaching():
                    logs = self.endpoint.web3.eth.get_logs(wanted)
            except Rejected:
                if size == 1:
                    raise
                size = -(-size // 4)
                continue
            for told in map(self.contract.events.Claimed().process_log, logs):
                job_id = bytes(told["args"]["jobId"])
                token = self.reward(job_id, last).token
                yield Claim(job_id, token, told["args"]["amount"], bytes(told["transactionHash"]))
            first += size

    def credit(self, token: ChecksumAddress, payee: ChecksumAddress, block: BlockIdentifier = "latest") -> int:
        """What the payee can withdraw."""
        return int(self._read("creditOf", token, payee, block=block))

    def held(self, token: ChecksumAddress, block: BlockIdentifier = "latest") -> int:
        """What jobs and payees are owed; a balance below it means that the token has shrunk."""
        return int(self._read("held", token, block=block))

    def _call(self, name: str, *values: Any, value: int = 0) -> Call:
        return call_of(self.contract.get_function_by_name(name)(*values), value)

    def _read(self, name: str, *values: Any, block: BlockIdentifier = "latest") -> Any:
        return self.endpoint.read(self.contract.get_function_by_name(name)(*values), block)


class Token:
    """As much of an ERC-20 token as paying with it takes."""

    def __init__(self, endpoint: Endpoint, address: ChecksumAddress) -> None:
        self.endpoint = endpoint
        self.address = address
        self.contract = endpoint.web3.eth.contract(address=address, abi=TOKEN_ABI)

    def approve(self, spender: ChecksumAddress, amount: int) -> Call:
        """Let `spender` take `amount` from the sender."""
        return call_of(self.contract.functions.approve(spender, amount))

    def allowance(self, owner: ChecksumAddress, spender: ChecksumAddress) -> int:
        """What `spender` may still take from `owner`."""
        return int(self.endpoint.read(self.contract.functions.allowance(owner, spender)))

    def balance(self, owner: ChecksumAddress, block: BlockIdentifier = "latest") -> int:
        """What `owner` has."""
        return int(self.endpoint.read(self.contract.functions.balanceOf(owner), block))

    def decimals(self) -> int:
        """Digits of an amount that are a fraction; a token need not say. Raises errors.Reverted, NoContract."""
        return int(self.endpoint.read(self.contract.functions.decimals()))


def creation(oracle: ChecksumAddress, claim_period: int = CLAIM_PERIOD) -> Call:
    """Deploy TokenJobs for an oracle; the receipt has its address."""
    arguments = encode(["address", "uint256"], [oracle, claim_period])
    return Call(None, bytes.fromhex(artifact("TokenJobs").bytecode[2:]) + arguments)


def nonce_of(funder: ChecksumAddress, nonce: int) -> int:
    """The nonce of the oracle's job: bound to the funder, so that nobody else can use it up."""
    return int.from_bytes(keccak(encode(["address", "uint256"], [funder, nonce])), "big")


def _function(name: str, inputs: Sequence[str], output: str, mutability: Literal["view", "nonpayable"]) -> ABIFunction:
    named = [ABIComponent(name=f"value{place}", type=kind) for place, kind in enumerate(inputs)]
    return ABIFunction(
        type="function",
        name=name,
        inputs=named,
        outputs=[ABIComponent(name="", type=output)],
        stateMutability=mutability,
    )


TOKEN_ABI = [
    _function("balanceOf", ["address"], "uint256", "view"),
    _function("allowance", ["address", "address"], "uint256", "view"),
    _function("decimals", [], "uint8", "view"),
    _function("approve", ["address", "uint256"], "bool", "nonpayable"),
]
