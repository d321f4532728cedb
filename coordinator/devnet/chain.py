"""The development chain itself: blocks on the wall clock, one lock around everything, answers to JSON-RPC methods."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from eth.constants import BLANK_ROOT_HASH
from eth.vm.forks.prague.state import PragueState
from eth_typing import Address
from eth_utils.crypto import keccak

from coordinator.devnet.accounts import dev_accounts
from coordinator.devnet.block import BLOCK_GAS_LIMIT, Block, Receipt, build, make_genesis, next_header
from coordinator.devnet.execution import Execution, StateStore, missing_state
from coordinator.devnet.log_index import LogFilter, LogIndex, PlacedLog
from coordinator.devnet.mempool import Mempool, Pooled, decode, refused
from coordinator.devnet.methods import Methods
from coordinator.devnet.wire import invalid

log = logging.getLogger(__name__)

BLOCKHASH_WINDOW = 256
STATES_KEPT = 1_024
SNAPSHOTS_KEPT = 256
SWEEP_AT = 400_000
MOST_AT_ONCE = 10_000
FURTHEST_TIME = 1 << 63
DEFAULT_SEED = b"quorate devnet"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A chain to go back to."""

    blocks: list[Block]
    state_root: bytes
    pooled: tuple[Pooled, ...]
    offset: float
    next_timestamp: int | None


class DevChain:
    """An Ethereum chain (Prague rules, EIP-1559, per-transaction gas cap of EIP-7825) in this process's memory.

    `accounts` maps addresses (20 bytes) to wei. `block_time` is the seconds between blocks, at least 1 because a
    timestamp is a whole second and never runs ahead of the chain's clock; None mines on demand only. The clock is the
    wall clock, plus what evm_increaseTime and mining on demand have put it forward. `seed` decides every block's
    prevrandao. All methods may be called from any thread.

    Memory: an empty block costs about 1 kB for ever (4 MB an hour at a block a second), a transaction a few kB. The
    states of the last 1,024 blocks stay; older ones are dropped, in a pause of up to some seconds, whenever another
    400,000 trie nodes (about 250 MB, 20,000 transactions) have come together. Calls at a block whose state is gone are
    refused. One lock, one thread's speed: about 200 small transactions a second, 2 million gas a second of storage
    reads; a call that burns all of its gas holds everything else up for as long.
    """

    def __init__(
        self,
        chain_id: int = 31_337,
        accounts: Mapping[bytes, int] | None = None,
        block_time: float | None = 1.0,
        seed: bytes = DEFAULT_SEED,
        *,
        gas_limit: int = BLOCK_GAS_LIMIT,
        timestamp: int | None = None,
    ) -> None:
        if block_time is not None and not 1.0 <= block_time <= 86_400:
            raise ValueError(f"block_time is {block_time} s: give 1 second or more, or None to mine on demand")
        if not 0 < chain_id < 1 << 53 or gas_limit < 21_000:
            raise ValueError(f"chain id {chain_id} or gas limit {gas_limit} makes no chain: both are positive numbers")
        self.chain_id = chain_id
        self.block_time = block_time
        self.lock = threading.RLock()
        self.mempool = Mempool()
        self._seed = seed
        self._forks = 0
        self._offset = 0.0 if timestamp is None else timestamp - time.time()
        self._next_timestamp: int | None = None
        self._store = StateStore()
        self._sweep_at = SWEEP_AT
        self._logs = LogIndex()
        self._by_hash: dict[bytes, Block] = {}
        self._places: dict[bytes, tuple[Block, Receipt]] = {}
        self._blocks: list[Block] = []
        self._snapshots: dict[int, Snapshot] = {}
        self._last_snapshot = 0
        self._pending: tuple[tuple[object, ...], Block] | None = None
        self._stop = threading.Event()
        self._miner: threading.Thread | None = None
        self._append(make_genesis(self._fund(accounts), int(self.clock()), gas_limit))
        self._methods = Methods(self)

    def _fund(self, accounts: Mapping[bytes, int] | None) -> bytes:
        # any header will do to open the empty state with
        empty = make_genesis(BLANK_ROOT_HASH, 0, 21_000)
        execution = self._execution(empty, empty.state_root, ())
        for address, wei in (dev_accounts() if accounts is None else accounts).items():
            execution.state.set_balance(Address(address), wei)
        return execution.persist()

    # --- running ---

    def start(self) -> None:
        """Begin to mine every `block_time` seconds. Does nothing if it has begun, or mines on demand only."""
        with self.lock:
            if self.block_time is None or self._miner is not None:
                return
            self._stop.clear()
            self._miner = threading.Thread(target=self._mine_on_time, args=(self.block_time,), daemon=True)
            self._miner.start()

    def close(self) -> None:
        """Stop mining. The chain still answers."""
        self._stop.set()
        miner, self._miner = self._miner, None
        if miner is not None:
            miner.join()

    def __enter__(self) -> DevChain:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _mine_on_time(self, period: float) -> None:
        due = time.monotonic() + period
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            try:
                early = self._mine_if_due()
            except Exception:  # a chain that stands still is worse than a block that is missing
                log.exception("could not mine a block")
                early = 0.0
            # a late block is not made up for: no bursts
            due = time.monotonic() + early if early else max(due + period, time.monotonic())

    def _mine_if_due(self) -> float:
        """Mine, unless the clock has not passed the last block's second: then the seconds until it has."""
        with self.lock:
            early = self.head.timestamp + 1 - self.clock()
            if early <= 0 or self._next_timestamp is not None:
                self._seal(None)
                return 0.0
        return early

    def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """The JSON-RPC result of one method. Raises RpcError, whatever the parameters are."""
        with self.lock:
            return self._methods.call(method, list(params))

    # --- reading; callers hold the lock ---

    @property
    def head(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    def clock(self) -> float:
        """The chain's time in unix seconds."""
        return time.time() + self._offset

    def block_at(self, number: int) -> Block | None:
        """The canonical block of this number."""
        return self._blocks[number] if 0 <= number < len(self._blocks) else None

    def block_by_hash(self, block_hash: bytes) -> Block | None:
        """The canonical block with this hash."""
        return self._by_hash.get(block_hash)

    def place_of(self, transaction_hash: bytes) -> tuple[Block, Receipt] | None:
        """The block that holds a transaction, and its receipt."""
        return self._places.get(transaction_hash)

    def find_logs(self, wanted: LogFilter, first: int, last: int) -> list[PlacedLog]:
        """Matching events of the blocks `first` to `last`."""
        return self._logs.find(wanted, first, last)

    def pending_block(self) -> Block:
        """The block that would be mined now."""
        timestamp = self._timestamp(None)
        key = (self.head.hash, self.head.state_root, self.mempool.revision, timestamp)
        if self._pending is None or self._pending[0] != key:
            self._pending = key, self._build(timestamp, with_pool=True)[0]
        return self._pending[1]

    def execution_after(self, block: Block) -> Execution:
        """The EVM on the state after a block, in that block's context. Raises RpcError if the state is gone."""
        if not self._store.holds(block.state_root):
            raise missing_state(block.number)
        return self._execution(block, block.state_root, self._hashes(block.number))

    def state_after(self, block: Block) -> PragueState:
        """The state after a block, to read from. Raises RpcError if it is gone."""
        return self.execution_after(block).state

    def _execution(self, block: Block, root: bytes, hashes: Sequence[bytes]) -> Execution:
        return Execution(self._store, block.header, root, hashes, self.chain_id)

    def _hashes(self, number: int) -> list[bytes]:
        """The hashes that BLOCKHASH can see in block `number`: newest first."""
        return [block.hash for block in reversed(self._blocks[max(number - BLOCKHASH_WINDOW, 0) : number])]

    # --- writing; callers hold the lock ---

    def accept(self, raw: bytes) -> bytes:
        """Put a signed transaction into the mempool; its hash. Raises RpcError in geth's words."""
        pooled = decode(raw, self.chain_id)
        if pooled.hash in self._places:
            raise refused("already known")
        state = self.state_after(self.head)
        sender = Address(pooled.sender)
        self.mempool.add(pooled, state.get_nonce(sender), state.get_balance(sender))
        return pooled.hash

    def mine(self, count: int = 1, interval: int | None = None, timestamp: int | None = None) -> None:
        """Mine `count` blocks now, each `interval` seconds after the last, or the first at `timestamp`. Raises RpcError."""
        if not 0 <= count <= MOST_AT_ONCE:
            raise invalid(f"{count} blocks at once: ask for at most {MOST_AT_ONCE}")
        for index in range(count):
            if interval:
                timestamp = self.head.timestamp + interval
            self._seal(timestamp if index == 0 or interval else None)

    def set_next_timestamp(self, timestamp: int) -> None:
        """The next block's timestamp in unix seconds; the clock goes on from there. Raises RpcError."""
        if not self.head.timestamp < timestamp < FURTHEST_TIME:
            raise invalid(f"timestamp {timestamp} is not after the last block's, {self.head.timestamp}")
        self._next_timestamp = timestamp

    def put_clock_forward(self, seconds: int) -> int:
        """Add to the clock; all seconds added so far."""
        if self.clock() + seconds >= FURTHEST_TIME:
            raise invalid(f"{seconds} seconds lead past the end of time")
        self._offset += seconds
        return int(self._offset)

    def set_balance(self, address: bytes, wei: int) -> None:
        """Give an account `wei` from now on, outside of any block."""
        execution = self.execution_after(self.head)
        execution.state.set_balance(Address(address), wei)
        self.head.state_root = execution.persist()

    def snapshot(self) -> int:
        """Remember the chain as it is; a number to revert to."""
        self._last_snapshot += 1
        self._snapshots[self._last_snapshot] = Snapshot(
            list(self._blocks), self.head.state_root, tuple(self.mempool), self._offset, self._next_timestamp
        )
        if len(self._snapshots) > SNAPSHOTS_KEPT:
            del self._snapshots[min(self._snapshots)]
        return self._last_snapshot

    def revert(self, number: int) -> bool:
        """Go back to a snapshot, which is used up with all later ones; False if there is none of that number."""
        if (snapshot := self._snapshots.get(number)) is None:
            return False
        self._snapshots = {key: kept for key, kept in self._snapshots.items() if key < number}
        common = min(len(self._blocks), len(snapshot.blocks))
        while self._blocks[common - 1] is not snapshot.blocks[common - 1]:
            common -= 1
        self._drop_after(common - 1)
        for block in snapshot.blocks[common:]:
            self._append(block)
        self.head.state_root = snapshot.state_root
        self.mempool = Mempool(snapshot.pooled)
        self._pending = None
        self._offset, self._next_timestamp = snapshot.offset, snapshot.next_timestamp
        return True

    def reorganise(self, depth: int) -> None:
        """Replace the last `depth` blocks by empty ones at the same times; their transactions wait again."""
        if not 0 < depth <= min(BLOCKHASH_WINDOW, self.head.number):
            raise invalid(f"a reorganisation of depth {depth} is not possible at block {self.head.number}")
        base = self._blocks[-1 - depth]
        if not self._store.holds(base.state_root):
            raise missing_state(base.number)
        dropped = self._drop_after(base.number)
        self._forks += 1
        for block in dropped:
            self._append(self._build(block.timestamp, with_pool=False)[0])
        self.mempool.put_back(receipt.pooled for block in dropped for receipt in block.receipts)

    def _timestamp(self, wanted: int | None) -> int:
        if wanted is None:
            wanted = self._next_timestamp
        return wanted if wanted is not None else max(int(self.clock()), self.head.timestamp + 1)

    def _seal(self, wanted: int | None) -> None:
        if wanted is not None:
            self.set_next_timestamp(wanted)
        exact = self._next_timestamp is not None
        timestamp = self._timestamp(None)
        block, hopeless = self._build(timestamp, with_pool=True)
        self._next_timestamp = None
        if exact or timestamp > self.clock():
            self._offset = timestamp - time.time()
        self._append(block)
        self.mempool.remove(receipt.pooled for receipt in block.receipts)
        self.mempool.remove(hopeless)
        self._sweep_if_due()

    def _build(self, timestamp: int, *, with_pool: bool) -> tuple[Block, list[Pooled]]:
        number = self.head.number + 1
        prevrandao = keccak(self._seed + number.to_bytes(8, "big") + self._forks.to_bytes(8, "big"))
        header = next_header(self.head, timestamp, prevrandao)
        offer = self.mempool.offer(header.base_fee) if with_pool and len(self.mempool) else None
        return build(self._store, header, self._hashes(number) if offer else (), self.chain_id, offer)

    def _append(self, block: Block) -> None:
        self._blocks.append(block)
        self._by_hash[block.hash] = block
        for receipt in block.receipts:
            self._places[receipt.pooled.hash] = block, receipt
        self._logs.add(block.placed_logs())

    def _drop_after(self, number: int) -> list[Block]:
        dropped = self._blocks[number + 1 :]
        del self._blocks[number + 1 :]
        self._logs.drop_after(number)
        for block in dropped:
            del self._by_hash[block.hash]
            for receipt in block.receipts:
                del self._places[receipt.pooled.hash]
        return dropped

    def _sweep_if_due(self) -> None:
        if len(self._store) < self._sweep_at:
            return
        self._pending = None
        self._store.sweep(set(self._kept_roots()))
        self._sweep_at = len(self._store) + SWEEP_AT

    def _kept_roots(self) -> Iterable[bytes]:
        for blocks in [self._blocks, *(snapshot.blocks for snapshot in self._snapshots.values())]:
            for block in blocks[-STATES_KEPT:]:
                yield block.header.state_root
                yield block.state_root
        for snapshot in self._snapshots.values():
            yield snapshot.state_root
