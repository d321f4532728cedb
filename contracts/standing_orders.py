"""Typed clients of standing orders: recurring jobs that anyone triggers when due. Reads return plain data; writes return a
Call for contracts.transactor to send. Amounts are wei, times are unix seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from typing import Any

from eth_abi import decode, encode
from eth_typing import ChecksumAddress
from eth_utils import keccak, to_checksum_address
from hexbytes import HexBytes
from web3.types import BlockIdentifier

from contracts.abi import artifact
from contracts.endpoint import Call, Endpoint, call_of
from contracts.job import TERMS_TYPES, Job, Terms, data_uri_hash


@dataclass(frozen=True, slots=True)
class Schedule:
    """At most one run in each interval from `first_due` on; a missed interval is not made up for."""

    first_due: int
    interval: int
    """Seconds."""
    runs: int = 0
    """How many; 0 = until cancelled."""

    def as_tuple(self) -> tuple[int, ...]:
        """In the order of the ABI."""
        return astuple(self)


@dataclass(frozen=True, slots=True)
class Feed:
    """What changes from run to run, in the order of the Solidity struct: the data, and the verification set over it."""

    data_root: bytes
    data_uri_hash: bytes
    item_count: int
    gold_root: bytes = bytes(32)
    gold_count: int = 0

    def as_tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return astuple(self)


NO_FEED = Feed(bytes(32), bytes(32), 0)


def with_feed(terms: Terms, feed: Feed) -> Terms:
    """The order's terms over one run's data; with NO_FEED, the terms as the order keeps them."""
    return replace(
        terms,
        data_root=feed.data_root,
        data_uri_hash=feed.data_uri_hash,
        item_count=feed.item_count,
        gold_root=feed.gold_root,
        gold_count=feed.gold_count,
    )


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the chain announced it."""

    address: ChecksumAddress
    owner: ChecksumAddress
    feeder: ChecksumAddress
    schedule: Schedule
    tip: int
    terms: Terms
    """Without a feed."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """The data of one run."""

    feed: Feed
    data_uri: str


class StandingOrders:
    """The maker of orders."""

    def __init__(self, endpoint: Endpoint, address: ChecksumAddress) -> None:
        self.endpoint = endpoint
        self.address = address
        self.contract = endpoint.web3.eth.contract(address=address, abi=artifact("StandingOrders").abi)

    def create(
        self, nonce: int, feeder: ChecksumAddress, schedule: Schedule, tip: int, terms: Terms, funds: int
    ) -> Call:
        """Make an order of the sender's with `funds` wei in it; simulating it returns the order's address. What `terms` say
        of a feed is left out."""
        values = (nonce, feeder, schedule.as_tuple(), tip, with_feed(terms, NO_FEED).as_tuple())
        return call_of(self.contract.functions.create(*values), funds)

    def oracle(self) -> ChecksumAddress:
        """The oracle's address."""
        return ChecksumAddress(self.endpoint.read(self.contract.functions.ORACLE()))

    def created(self, first: int, last: int) -> Iterator[Order]:
        """The orders made in these blocks, oldest first. Raises endpoint.Rejected where a node finds that too many blocks."""
        for topics, data in _logs(self.endpoint, self.address, ORDER_CREATED, [], first, last):
            order, owner, feeder = (to_checksum_address(topic[-20:]) for topic in topics[1:])
            schedule, tip, terms = decode([SCHEDULE_TYPE, "uint256", TERMS_TYPE], data)
            plain = [to_checksum_address(value) if isinstance(value, str) else value for value in terms]
            yield Order(order, owner, feeder, Schedule(*schedule), tip, Terms.of_tuple(plain))


class StandingOrder:
    """One order: the requester of its jobs."""

    def __init__(self, endpoint: Endpoint, address: ChecksumAddress) -> None:
        self.endpoint = endpoint
        self.address = address
        self.contract = endpoint.web3.eth.contract(address=address, abi=artifact("StandingOrder").abi)

    # ---- Writes ----

    def announce(self, run: int, feed: Feed, data_uri: str) -> Call:
        """As the feeder, say what data a run is over; again, to say it differently, until the run is made."""
        return self._call("announce", run, feed.as_tuple(), data_uri)

    def trigger(self, terms: Terms, data_uri: str) -> Call:
        """Create the next run's job, for the tip; `terms` are with_feed(the order's, the run's)."""
        return self._call("trigger", terms.as_tuple(), data_uri)

    def fund(self, amount: int) -> Call:
        """Put `amount` wei in for the runs to come."""
        return Call(self.address, b"", amount)

    def collect(self) -> Call:
        """Bring to the order what the oracle owes it."""
        return self._call("collect")

    def cancel(self) -> Call:
        """As the owner, end the order."""
        return self._call("cancel")

    def withdraw(self, to: ChecksumAddress) -> Call:
        """As the owner of an order that has ended, pay everything in it to `to`."""
        return self._call("withdraw", to)

    # ---- Reads ----

    def job(self, run: int, terms: Terms) -> Job:
        """A run's job as the oracle knows it; `terms` are with_feed(the order's, the run's)."""
        return Job(self.address, run, terms)

    def oracle(self) -> ChecksumAddress:
        """The oracle's address."""
        return ChecksumAddress(self._read("ORACLE"))

    def owner(self) -> ChecksumAddress:
        """Who may cancel and withdraw."""
        return ChecksumAddress(self._read("OWNER"))

    def feeder(self) -> ChecksumAddress:
        """Who announces."""
        return ChecksumAddress(self._read("FEEDER"))

    def tip(self) -> int:
        """Wei for whoever triggers a run."""
        return int(self._read("TIP"))

    def runs_made(self, block: BlockIdentifier = "latest") -> int:
        """How many runs were made: the next one's number."""
        return int(self._read("runsMade", block=block))

    def due(self, block: BlockIdentifier = "latest") -> int:
        """Seconds from which the next run can be triggered."""
        return int(self._read("due", block=block))

    def has_ended(self, block: BlockIdentifier = "latest") -> bool:
        """Whether no run will be made any more."""
        return bool(self._read("hasEnded", block=block))

    def is_announced(self, run: int, block: BlockIdentifier = "latest") -> bool:
        """Whether a run has its data."""
        return bytes(self._read("announced", run, block=block)) != bytes(32)

    def announcement(self, run: int, first: int, last: int) -> Announcement | None:
        """The last announcement for a run in these blocks; None if there is none. Raises endpoint.Rejected where a node finds
        that too many blocks."""
        found = None
        for _, data in _logs(self.endpoint, self.address, ANNOUNCED, [encode(["uint256"], [run])], first, last):
            feed, data_uri = decode([FEED_TYPE, "bytes"], data)  # bytes: a feeder may write what is no UTF-8
            found = Announcement(Feed(*feed), data_uri.decode("utf-8", "backslashreplace"))
        return found

    def _call(self, name: str, *values: Any, value: int = 0) -> Call:
        return call_of(self.contract.get_function_by_name(name)(*values), value)

    def _read(self, name: str, *values: Any, block: BlockIdentifier = "latest") -> Any:
        return self.endpoint.read(self.contract.get_function_by_name(name)(*values), block)


def feed_of(data_root: bytes, item_count: int, data_uri: str) -> Feed:
    """A feed without a verification set."""
    return Feed(data_root, data_uri_hash(data_uri), item_count)


def creation(oracle: ChecksumAddress) -> Call:
    """Deploy StandingOrders for an oracle; the receipt has its address."""
    return Call(None, bytes.fromhex(artifact("StandingOrders").bytecode[2:]) + encode(["address"], [oracle]))


SCHEDULE_TYPE = "(uint40,uint32,uint32)"
FEED_TYPE = "(bytes32,bytes32,uint64,bytes32,uint32)"
TERMS_TYPE = f"({','.join(TERMS_TYPES)})"
ORDER_CREATED = keccak(text=f"OrderCreated(address,address,address,{SCHEDULE_TYPE},uint256,{TERMS_TYPE})")
ANNOUNCED = keccak(text=f"Announced(uint256,{FEED_TYPE},string)")


def _logs(
    endpoint: Endpoint, address: ChecksumAddress, event: bytes, topics: list[bytes], first: int, last: int
) -> Iterator[tuple[list[bytes], bytes]]:
    """(topics, data) of the contract's events with these topics in these blocks, in order."""
    wanted = {
        "address": address,
        "topics": ["0x" + topic.hex() for topic in (event, *topics)],
        "fromBlock": hex(first),
        "toBlock": hex(last),
    }
    for log in endpoint.ask("eth_getLogs", wanted):
        yield [bytes(HexBytes(topic)) for topic in log["topics"]], bytes(HexBytes(log["data"]))
