"""Transactions that wait for a block: a queue of nonces for each sender, replaced by higher fees, picked by tip."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eth.abc import SignedTransactionAPI
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_utils.crypto import keccak

from coordinator.devnet.execution import LONGEST_INITCODE, TRANSACTION_GAS_CAP, initcode_too_long, least_gas
from coordinator.devnet.wire import SERVER_ERROR, RpcError, to_hex

MOST_PENDING = 20_000
MOST_OF_A_SENDER = 2_000
LONGEST_TRANSACTION = 128 * 1024
TYPES = {0x01: "EIP-2930", 0x02: "EIP-1559"}
HALF_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """A signed transaction, decoded once. Fees in wei for a unit of gas."""

    transaction: SignedTransactionAPI
    hash: bytes
    sender: bytes
    size: int
    type_id: int

    @property
    def nonce(self) -> int:
        """The sender's nonce it needs."""
        return self.transaction.nonce

    @property
    def max_fee(self) -> int:
        """The most it pays for a unit of gas; a legacy transaction's gas price."""
        return self.transaction.max_fee_per_gas

    @property
    def max_tip(self) -> int:
        """The most of that which is tip."""
        return self.transaction.max_priority_fee_per_gas

    @property
    def cost(self) -> int:
        """Wei the sender must own: value and all gas at the highest fee."""
        return self.transaction.value + self.transaction.gas * self.max_fee

    def tip(self, base_fee: int) -> int:
        """What the block's producer gets for a unit of gas; negative if it cannot pay the base fee."""
        return min(self.max_tip, self.max_fee - base_fee)


def refused(why: str) -> RpcError:
    """The node does not take a transaction, code -32000 as geth's."""
    return RpcError(SERVER_ERROR, why)


def decode(raw: bytes, chain_id: int) -> Pooled:
    """A transaction from its bytes, with all checks that need no state. Raises RpcError in geth's words."""
    if len(raw) > LONGEST_TRANSACTION:
        raise refused(f"oversized data: transaction size {len(raw)}, limit {LONGEST_TRANSACTION}")
    if raw[:1] and raw[0] < 0xC0 and raw[0] not in TYPES:
        raise refused(f"transaction type not supported: {raw[0]}; send a legacy, EIP-2930 or EIP-1559 transaction")
    try:
        transaction = PragueTransactionBuilder.decode(raw)
        if transaction.s > HALF_CURVE_ORDER:
            raise ValueError("the signature's s is above half the curve order")
        transaction.validate()
        sender = transaction.sender
    except Exception as error:  # whatever the decoders make of an attacker's bytes, it is his mistake
        raise refused(f"invalid transaction: {str(error)[:200]}") from error
    if transaction.encode() != raw:
        raise refused("invalid transaction: not the canonical encoding")
    if transaction.chain_id is None:
        raise refused("only replay-protected (EIP-155) transactions allowed over RPC")
    if transaction.chain_id != chain_id:
        raise refused(f"invalid chain id for signer: have {transaction.chain_id} want {chain_id}")
    type_id = raw[0] if raw[0] in TYPES else 0
    pooled = Pooled(transaction, keccak(raw), bytes(sender), len(raw), type_id)
    _check_terms(pooled)
    return pooled


def _check_terms(pooled: Pooled) -> None:
    transaction = pooled.transaction
    if transaction.gas > TRANSACTION_GAS_CAP:
        raise refused(f"transaction gas limit too high (cap: {TRANSACTION_GAS_CAP}, tx: {transaction.gas})")
    if not transaction.to and len(transaction.data) > LONGEST_INITCODE:
        raise initcode_too_long(len(transaction.data))
    if transaction.gas < (least := least_gas(transaction)):
        raise refused(f"intrinsic gas too low: gas {transaction.gas}, minimum needed {least}")
    if pooled.max_tip > pooled.max_fee:
        raise refused(
            "max priority fee per gas higher than max fee per gas: "
            f"maxPriorityFeePerGas: {pooled.max_tip}, maxFeePerGas: {pooled.max_fee}"
        )


class Mempool:
    """Pending transactions by sender and nonce. `revision` changes with every change."""

    def __init__(self, pooled: Iterable[Pooled] = ()) -> None:
        self._queues: dict[bytes, dict[int, Pooled]] = {}
        self._by_hash: dict[bytes, Pooled] = {}
        self.revision = 0
        self.put_back(pooled)

    def __len__(self) -> int:
        return len(self._by_hash)

    def __iter__(self) -> Iterator[Pooled]:
        return iter(list(self._by_hash.values()))

    def get(self, transaction_hash: bytes) -> Pooled | None:
        """The pending transaction with this hash."""
        return self._by_hash.get(transaction_hash)

    def add(self, pooled: Pooled, nonce: int, balance: int) -> None:
        """Take a transaction of a sender with this nonce and balance (wei). Raises RpcError in geth's words."""
        if pooled.hash in self._by_hash:
            raise refused("already known")
        if pooled.nonce < nonce:
            raise refused(f"nonce too low: next nonce {nonce}, tx nonce {pooled.nonce}")
        queue = self._queues.get(pooled.sender, {})
        others = sum(one.cost for one in queue.values() if one.nonce < pooled.nonce)
        if balance < pooled.cost:
            raise refused(
                "insufficient funds for gas * price + value: "
                f"address {to_hex(pooled.sender)} have {balance} want {pooled.cost}"
            )
        if balance < others + pooled.cost:
            raise refused(
                "insufficient funds for gas * price + value: "
                f"address {to_hex(pooled.sender)} have {balance} queued cost {others}, tx cost {pooled.cost}"
            )
        old = queue.get(pooled.nonce)
        if old is None:
            self._require_room(queue)
        elif not _outbids(pooled, old):
            raise refused("replacement transaction underpriced")
        self._put(pooled)

    def _require_room(self, queue: dict[int, Pooled]) -> None:
        if len(self._by_hash) >= MOST_PENDING or len(queue) >= MOST_OF_A_SENDER:
            raise refused(f"txpool is full: {len(self._by_hash)} transactions wait, {len(queue)} of this sender")

    def _put(self, pooled: Pooled) -> None:
        queue = self._queues.setdefault(pooled.sender, {})
        if old := queue.get(pooled.nonce):
            del self._by_hash[old.hash]
        queue[pooled.nonce] = pooled
        self._by_hash[pooled.hash] = pooled
        self.revision += 1

    def put_back(self, dropped: Iterable[Pooled]) -> None:
        """Transactions of blocks that are no more: pending again, where nothing took their nonce meanwhile."""
        for pooled in dropped:
            if pooled.nonce not in self._queues.get(pooled.sender, {}):
                self._put(pooled)

    def remove(self, gone: Iterable[Pooled]) -> None:
        """Forget transactions: mined, or never to be mined."""
        for pooled in gone:
            queue = self._queues.get(pooled.sender, {})
            if (there := queue.get(pooled.nonce)) is None:
                continue
            del queue[pooled.nonce]
            del self._by_hash[there.hash]
            if not queue:
                del self._queues[pooled.sender]
            self.revision += 1

    def next_nonce(self, sender: bytes, nonce: int) -> int:
        """The first nonce at or above `nonce` that no pending transaction holds."""
        queue = self._queues.get(sender, {})
        while nonce in queue:
            nonce += 1
        return nonce

    def offer(self, base_fee: int) -> Offer:
        """The pending transactions in the order a block takes them: best tip first, each sender's by nonce."""
        return Offer(self._queues, base_fee)


def _outbids(new: Pooled, old: Pooled) -> bool:
    return new.max_fee * 10 >= old.max_fee * 11 and new.max_tip * 10 >= old.max_tip * 11 and new.max_fee > old.max_fee


class Offer:
    """One block's walk through a mempool, which it does not change."""

    def __init__(self, queues: dict[bytes, dict[int, Pooled]], base_fee: int) -> None:
        self._queues = queues
        self._base_fee = base_fee
        self._heap: list[tuple[int, int, Pooled]] = []
        self._pushed = 0
        for queue in queues.values():
            self._push(queue[min(queue)])

    def _push(self, pooled: Pooled | None) -> None:
        if pooled is not None and (tip := pooled.tip(self._base_fee)) >= 0:
            heapq.heappush(self._heap, (-tip, self._pushed, pooled))
            self._pushed += 1

    def take(self) -> Pooled | None:
        """The best transaction left, or None. The sender's next comes only after `advance`."""
        return heapq.heappop(self._heap)[2] if self._heap else None

    def advance(self, taken: Pooled) -> None:
        """`taken` is in the block: offer its sender's next one, if no nonce is missing between."""
        self._push(self._queues[taken.sender].get(taken.nonce + 1))
