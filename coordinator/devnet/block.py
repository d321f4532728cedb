"""A block: its header, transactions, receipts and events, and how the next one is built from a mempool's offer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from eth.abc import ReceiptAPI
from eth.db.trie import make_trie_root_and_nodes
from eth_typing import Address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from coordinator.devnet.execution import Execution, LogEntry, Outcome, StateStore
from coordinator.devnet.header import Header
from coordinator.devnet.log_index import PlacedLog
from coordinator.devnet.mempool import Offer, Pooled

log = logging.getLogger(__name__)

BLOCK_GAS_LIMIT = 36_000_000
GENESIS_BASE_FEE = 10**9


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a transaction did in its block. Gas in units, `gas_price` in wei for a unit."""

    pooled: Pooled
    index: int
    succeeded: bool
    gas_used: int
    cumulative_gas_used: int
    gas_price: int
    contract: bytes | None
    bloom: int
    logs: tuple[LogEntry, ...]
    first_log: int


@dataclass(slots=True)
class Block:
    """A mined block. `state_root` is the state that is read after it: the header's, unless balances were set by hand."""

    header: Header
    state_root: bytes
    receipts: tuple[Receipt, ...] = ()
    hash: bytes = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        encoded = self.header.encode()
        self.hash = keccak(encoded)
        self.size = len(encoded) + sum(receipt.pooled.size for receipt in self.receipts)

    @property
    def number(self) -> int:
        """The block's height; the genesis block is 0."""
        return self.header.number

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return self.header.timestamp

    @property
    def base_fee(self) -> int:
        """Wei for a unit of gas."""
        return self.header.base_fee

    def placed_logs(self) -> Iterable[PlacedLog]:
        """The block's events with their places."""
        for receipt in self.receipts:
            for offset, entry in enumerate(receipt.logs):
                yield PlacedLog(
                    entry, self.number, self.hash, receipt.pooled.hash, receipt.index, receipt.first_log + offset
                )


def make_genesis(state_root: bytes, timestamp: int, gas_limit: int) -> Block:
    """Block 0 over a state of pre-funded accounts."""
    header = Header(
        state_root=state_root, number=0, gas_limit=gas_limit, timestamp=timestamp, base_fee=GENESIS_BASE_FEE
    )
    return Block(header, state_root)


def next_header(parent: Block, timestamp: int, prevrandao: bytes) -> Header:
    """The header of an empty block on `parent`."""
    return Header(
        parent_hash=parent.hash,
        state_root=parent.state_root,
        number=parent.number + 1,
        gas_limit=parent.header.gas_limit,
        timestamp=timestamp,
        prevrandao=prevrandao,
        base_fee=parent.header.next_base_fee(),
    )


def build(
    store: StateStore, header: Header, hashes: Sequence[bytes], chain_id: int, offer: Offer | None
) -> tuple[Block, list[Pooled]]:
    """Fill the block of an empty `header`; the block, and the transactions that can never be valid on this state.

    `hashes` are those of up to 256 blocks before it, newest first.
    """
    if offer is None or (taken := offer.take()) is None:
        return Block(header, header.state_root), []
    filling = _Filling(header, Execution(store, header, header.state_root, hashes, chain_id))
    while taken is not None:
        if filling.try_to_add(taken):
            offer.advance(taken)
        taken = offer.take()
    return filling.finish(), filling.hopeless


class _Filling:
    """A block while it takes transactions."""

    def __init__(self, header: Header, execution: Execution) -> None:
        self._header = header
        self._execution = execution
        self._receipts: list[Receipt] = []
        self._encoded: list[ReceiptAPI] = []
        self._gas_used = 0
        self._logs = 0
        self.hopeless: list[Pooled] = []

    def try_to_add(self, pooled: Pooled) -> bool:
        """Execute the transaction if it fits and its turn has come."""
        if self._gas_used + pooled.transaction.gas > self._header.gas_limit:
            return False
        nonce = self._execution.state.get_nonce(Address(pooled.sender))
        if pooled.nonce != nonce:
            if pooled.nonce < nonce:
                self.hopeless.append(pooled)
            return False
        try:
            outcome = self._execution.apply(pooled.transaction)
        except ValidationError as refusal:
            log.info("dropped transaction 0x%s: %s", pooled.hash.hex(), refusal)
        except Exception:
            log.exception("dropped transaction 0x%s, on which the EVM broke", pooled.hash.hex())
        else:
            self._note(pooled, outcome)
            return True
        self.hopeless.append(pooled)
        return False

    def _note(self, pooled: Pooled, outcome: Outcome) -> None:
        self._gas_used += outcome.gas_used
        encoded = pooled.transaction.make_receipt(
            b"" if outcome.error else b"\x01",
            self._gas_used,
            tuple((e.address, tuple(int.from_bytes(t, "big") for t in e.topics), e.data) for e in outcome.logs),
        )
        self._encoded.append(encoded)
        receipt = Receipt(
            pooled=pooled,
            index=len(self._receipts),
            succeeded=outcome.error is None,
            gas_used=outcome.gas_used,
            cumulative_gas_used=self._gas_used,
            gas_price=self._header.base_fee + pooled.tip(self._header.base_fee),
            contract=outcome.contract,
            bloom=encoded.bloom,
            logs=outcome.logs,
            first_log=self._logs,
        )
        self._logs += len(outcome.logs)
        self._receipts.append(receipt)

    def finish(self) -> Block:
        """The sealed block; its state is in the store."""
        if not self._receipts:
            return Block(self._header, self._header.state_root)
        state_root = self._execution.persist()
        bloom = 0
        for receipt in self._receipts:
            bloom |= receipt.bloom
        transactions = tuple(receipt.pooled.transaction for receipt in self._receipts)
        header = replace(
            self._header,
            state_root=state_root,
            transactions_root=make_trie_root_and_nodes(transactions)[0],
            receipts_root=make_trie_root_and_nodes(tuple(self._encoded))[0],
            logs_bloom=bloom.to_bytes(256, "big"),
            gas_used=self._gas_used,
        )
        return Block(header, state_root, tuple(self._receipts))
